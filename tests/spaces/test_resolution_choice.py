"""Spaces in which the resolution is a choice."""

from __future__ import annotations

import random
import tomllib
from dataclasses import replace
from itertools import islice, product

import pytest

import nas
from nas.errors import InputError
from nas.networks.compound_scaling import published
from nas.networks.cost import measure_cost
from nas.spaces.around import space_around
from nas.spaces.encoding import Encoding
from nas.spaces.feasible import Feasible
from nas.spaces.registry import shipped
from nas.spaces.search_space import SearchSpace
from nas.spaces.toml import space_from_dict, space_to_dict, space_to_toml
from nas.strategies.samplers import SAMPLERS
from nas.testing.toy_proxy import ToyProxy

TEXT = """
schema = "nas-search-space/1"
name = "several"
resolution = [48, 32, 64]
num_classes = 10
activation = "relu"
stem = { kernel = 3, stride = 2, width = 8 }
head = { width = 16, dropout = 0.0 }

[[stage]]
op = "mbconv"
kernel = [3, 5]
expansion = [1, 2]
layers = [1, 2]
width = [8, 12]
stride = 2

[[stage]]
op = ["mbconv", "skip"]
kernel = 3
expansion = [2, 4]
layers = 1
width = 16
stride = 2
"""


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return space_from_dict(tomllib.loads(TEXT))


def every(space: SearchSpace) -> list[dict]:
    names = list(space.choices)
    return [dict(zip(names, values, strict=True)) for values in product(*space.choices.values())]


def test_the_choice_is_the_first_and_decides_the_network(space):
    assert next(iter(space.choices)) == "resolution"
    assert space.choices["resolution"] == (48, 32, 64)
    for choices in every(space):
        network = space.decode(choices)
        assert network.resolution == choices["resolution"]
        again = space.encode(network)
        assert space.decode(again).key() == network.key()


def test_a_network_of_another_resolution_is_not_in_the_space(space):
    network = replace(space.decode(every(space)[0]), resolution=40)
    with pytest.raises(InputError, match="resolution is 40, the space has 48, 32, 64"):
        space.encode(network)
    fixed = space.at_resolution(40)
    assert "resolution" not in fixed.choices
    assert fixed.decode(fixed.encode(network)).resolution == 40


def test_the_cheapest_and_all_that_fit_are_exact(space):
    costs = {}
    for choices in every(space):
        network = space.decode(choices)
        costs[network.key()] = measure_cost(network).flops
    assert Feasible(space, nas.Budget("none")).least() == min(costs.values())
    for limit in (min(costs.values()), sorted(costs.values())[len(costs) // 2]):
        feasible = Feasible(space, nas.Budget("some", flops=limit))
        found = [space.decode(choices).key() for choices in feasible]
        assert len(found) == len(set(found))
        assert set(found) == {key for key, flops in costs.items() if flops <= limit}
        rng = random.Random(0)
        for _ in range(50):
            drawn = feasible.sample(rng)
            assert costs[space.decode(drawn).key()] <= limit
            assert costs[space.decode(feasible.canonical(drawn)).key()] <= limit
    with pytest.raises(InputError, match=r"at 48 or 32 or 64 px .* the cheapest"):
        Feasible(space, nas.Budget("none", flops=min(costs.values()) - 1)).check()


def test_the_encoding_has_the_costs_of_every_network(space):
    table = Encoding(Feasible(space, nas.Budget("none")))
    for choices in islice(every(space), 0, None, 3):
        row = table.row(choices)
        canonical, costs = table.settle(row[None])
        cost = measure_cost(space.decode(choices))
        assert tuple(costs[0]) == (cost.flops, cost.params, cost.activations)
        assert space.decode(table.choices(canonical[0])).key() == space.decode(choices).key()


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_searches_it(space, sampler, tmp_path):
    limit = Feasible(space, nas.Budget("none")).least() * 3
    found = nas.search(
        space,
        nas.Budget("tight", flops=limit),
        ToyProxy(),
        trials=12,
        seed=0,
        storage=tmp_path,
        sampler=sampler,
    )
    assert len(found.trials) == 12
    assert all(trial.cost.flops <= limit for trial in found.trials)
    assert len({trial.architecture.resolution for trial in found.trials}) > 1


def test_a_fixed_resolution_leaves_the_fingerprint_as_it_was():
    assert nas.load_space("efficientnet").fingerprint() == (
        "945d41d1814dd6229a550945e9d8eb91e71d3cc60de64607780424d27ecde326"
    )


@pytest.mark.parametrize("name", [*sorted(shipped("search_spaces")), "several", "around"])
def test_a_space_is_written_as_it_is_read(name, space):
    source = published()["efficientnet-lite1"]
    known = {"several": space, "around": space_around(source, "around")}
    one = known[name] if name in known else nas.load_space(name)
    assert space_from_dict(tomllib.loads(space_to_toml(one))) == one
    assert space_from_dict(space_to_dict(one)) == one


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-b3"])
def test_a_space_around_a_network_contains_it_as_the_largest(name):
    source = published()[name]
    space = space_around(source, "around")
    assert space.decode(space.encode(source)).key() == source.key()
    most = measure_cost(source).flops
    rng = random.Random(0)
    assert all(measure_cost(space.decode(space.sample(rng))).flops <= most for _ in range(20))


def test_a_table_tells_resolutions_apart(space, tmp_path):
    """Rows that differ in nothing but the resolution are three networks."""
    import json

    from nas.proxies.registry import known_proxy

    some = every(space)[0]
    file = tmp_path / "table.jsonl"
    rows = [
        {"choices": {**some, "resolution": pixels}, "accuracy": accuracy}
        for pixels, accuracy in ((48, 0.4), (32, 0.2), (64, 0.9))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    proxy = known_proxy(f"table:{file}", space)
    for row in rows:
        network = space.decode(row["choices"])
        found = proxy.evaluate(network, seed=0, report=lambda *of: False)
        assert found.mean == row["accuracy"]


def test_a_start_of_another_resolution_begins_where_it_fits(space):
    from nas.progress import SilentProgress
    from nas.runs.context import _started
    from nas.runs.notes import Notes

    network = replace(space.decode(every(space)[0]), resolution=80)
    flops = measure_cost(replace(network, resolution=48)).flops
    notes = Notes(SilentProgress())
    found = _started(network, space, nas.Budget("b", flops=flops), notes)
    assert found.resolution == 48
    assert "starts at 48 px" in notes.texts[0]
