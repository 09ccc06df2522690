"""What fits a budget, against trying every network of a small space."""

import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.networks.cost import METRICS, Cost, measure_cost
from nas.spaces.budget import Budget, parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace
from nas.spaces.toml import read_space, space_from_dict
from tests.support.paths import ROOT

TINY = read_space(ROOT / "search_spaces/tiny.toml")
EFFICIENTNET = read_space(ROOT / "search_spaces/efficientnet.toml")

# Where costs pull against each other: one full convolution has fewer activations than a depthwise
# and a pointwise one, and more FLOPs and parameters.
TORN = space_from_dict(
    {
        "schema": "nas-search-space/1",
        "name": "torn",
        "resolution": 9,
        "num_classes": 3,
        "activation": "relu",
        "stem": {"kernel": 3, "stride": 1, "width": 4},
        "head": {"width": 8, "dropout": 0.0},
        "stage": [
            {
                "stride": 1,
                "layers": [1, 2],
                "width": [4, 6, 12],
                "block": [
                    {"op": "mbconv", "kernel": 7, "expansion": 1},
                    {"op": "mbconv", "kernel": 1, "expansion": 3},
                    {"op": "fused_mbconv", "kernel": 3, "expansion": 1},
                ],
            },
            {
                "stride": 1,
                "layers": [1, 3],
                "width": [4, 12],
                "op": ["mbconv", "skip"],
                "kernel": [1, 5],
                "expansion": [1, 2],
                "se_ratio": [0.0, 1.0],
            },
        ],
    }
)
SPACES = {"tiny": TINY, "torn": TORN}


@cache
def every(name: str) -> Mapping[str, Cost]:
    """The cost of every network of a small space, by key."""
    space = SPACES[name]
    found: dict[str, Cost] = {}
    for values in itertools.product(*space.choices.values()):
        architecture = space.decode(dict(zip(space.choices, values, strict=True)))
        found.setdefault(architecture.key(), measure_cost(architecture))
    return found


def keys(space: SearchSpace, budget: Budget) -> list[str]:
    return [space.decode(choices).key() for choices in Feasible(space, budget)]


@st.composite
def budgets(draw: st.DrawFn, name: str) -> Budget:
    """Limits around what the networks of a space cost, most of them exactly met by one."""
    costs = list(every(name).values())
    limits = {
        metric: draw(st.none() | st.sampled_from(costs).map(lambda c, m=metric: getattr(c, m)))
        for metric in METRICS
    }
    off = draw(st.sampled_from([0, 0, -1, 1]))
    return Budget("drawn", **{m: v if v is None else v + off for m, v in limits.items()})


# ── The cheapest ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("metric", METRICS)
def test_the_cheapest_is_the_least_of_all(name: str, metric: str) -> None:
    least = min(getattr(cost, metric) for cost in every(name).values())
    assert Feasible(SPACES[name], parse_budget("1G-flops")).least(metric) == least


def test_the_cheapest_of_efficientnet() -> None:
    least = Feasible(EFFICIENTNET, parse_budget("400M-flops")).least()
    choices = {
        name: min(values)  # type: ignore[type-var]
        for name, values in EFFICIENTNET.choices.items()
    }
    assert least == measure_cost(EFFICIENTNET.decode(choices)).flops


def test_the_cheapest_follows_the_input() -> None:
    small = replace(TINY, resolution=16, num_classes=2)
    assert (
        Feasible(small, parse_budget("1G-flops")).least()
        < Feasible(TINY, parse_budget("1G-flops")).least()
    )


# ── Whether anything fits ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=60)
@given(data=st.data())
def test_check_accepts_exactly_what_some_network_meets(name: str, data: st.DataObject) -> None:
    budget = data.draw(budgets(name))
    fits = any(budget.allows(cost) for cost in every(name).values())
    try:
        Feasible(SPACES[name], budget).check()
    except InputError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("metric", METRICS)
def test_the_error_names_the_minimum(metric: str) -> None:
    least = min(getattr(cost, metric) for cost in every("tiny").values())
    Feasible(TINY, Budget("just", **{metric: least})).check()
    with pytest.raises(InputError) as error:
        Feasible(TINY, Budget("less", **{metric: least - 1})).check()
    assert str(error.value).startswith(
        f"budget 'less': no network of space 'tiny' at 32 px is within {least - 1:,} {metric}; "
        f"the cheapest has {least:,} {metric} ("
    )
    assert "\n" not in str(error.value)


def test_the_error_of_the_issue() -> None:
    with pytest.raises(InputError, match="no network of space 'efficientnet' at 224 px is within"):
        Feasible(EFFICIENTNET, parse_budget("1M-flops")).check()


def test_limits_that_can_be_met_only_one_by_one() -> None:
    costs = list(every("torn").values())
    budget = Budget(
        "torn", flops=min(c.flops for c in costs), activations=min(c.activations for c in costs)
    )
    assert not any(budget.allows(cost) for cost in costs)
    with pytest.raises(InputError, match="each limit can be met, but no network of space 'torn'"):
        Feasible(TORN, budget).check()


# ── All that fits ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=12)
@given(data=st.data())
def test_all_that_fits_is_found(name: str, data: st.DataObject) -> None:
    budget = data.draw(budgets(name))
    expected = {key for key, cost in every(name).items() if budget.allows(cost)}
    assert set(keys(SPACES[name], budget)) == expected


@pytest.mark.parametrize("name", SPACES)
def test_no_choices_come_twice(name: str) -> None:
    budget = parse_budget("1G-flops")
    found = [tuple(sorted(choices.items())) for choices in Feasible(SPACES[name], budget)]
    assert len(set(found)) == len(found)
    for choices in Feasible(SPACES[name], budget):
        SPACES[name].check(choices)


def test_a_generator_decides_the_order() -> None:
    feasible = Feasible(TINY, parse_budget("1M-flops"))
    walks = [list(feasible.walk(random.Random(seed))) for seed in (0, 0, 1)]
    assert walks[0] == walks[1] != walks[2]
    # Which of the choices that make a network stand for it is for the order to say.
    networks = [[TINY.decode(choices).key() for choices in walk] for walk in walks]
    assert sorted(networks[0]) == sorted(networks[2])
    assert len(set(networks[0])) == len(networks[0])
    assert list(feasible) == list(feasible.walk(None))


def test_a_walk_begins_at_once_in_a_space_of_any_size() -> None:
    least = Feasible(EFFICIENTNET, parse_budget("1-flops")).least()
    for limit in (least, least + 1_000_000, 400_000_000):
        budget = Budget("b", flops=limit)
        for choices in itertools.islice(Feasible(EFFICIENTNET, budget).walk(random.Random(0)), 20):
            assert budget.allows(measure_cost(EFFICIENTNET.decode(choices)))


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=10)
@given(data=st.data())
def test_counting_different_networks(name: str, data: st.DataObject) -> None:
    budget = data.draw(budgets(name))
    feasible = Feasible(SPACES[name], budget)
    assert len(list(feasible)) == sum(budget.allows(cost) for cost in every(name).values())


# ── Sampling ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=30)
@given(data=st.data())
def test_a_sample_is_within_the_budget(name: str, data: st.DataObject) -> None:
    budget = data.draw(budgets(name))
    space, rng = SPACES[name], random.Random(data.draw(st.integers(0, 99)))
    feasible = Feasible(space, budget)
    if not any(budget.allows(cost) for cost in every(name).values()):
        with pytest.raises(InputError):
            feasible.sample(rng)
    else:
        for _ in range(3):
            assert budget.allows(measure_cost(space.decode(feasible.sample(rng, tries=4))))


@pytest.mark.parametrize("metric", METRICS)
def test_a_sample_of_the_cheapest_alone(metric: str) -> None:
    feasible = Feasible(EFFICIENTNET, parse_budget("1-flops"))
    least = feasible.least(metric)
    tight = Feasible(EFFICIENTNET, Budget("tight", **{metric: least}))
    for seed in range(3):
        choices = tight.sample(random.Random(seed))
        assert getattr(measure_cost(EFFICIENTNET.decode(choices)), metric) == least


def test_samples_are_decided_by_the_generator_and_differ() -> None:
    feasible = Feasible(EFFICIENTNET, parse_budget("300M-flops"))
    drawn = [feasible.sample(random.Random(seed)) for seed in (0, 0, *range(1, 10))]
    assert drawn[0] == drawn[1]
    assert len({tuple(choices.items()) for choices in drawn}) == 10


def test_samples_are_uniform_where_the_budget_is_loose() -> None:
    feasible = Feasible(TINY, parse_budget("1G-flops"))
    rng = random.Random(0)
    drawn = [feasible.sample(rng)["stage3.kernel"] for _ in range(1000)]
    assert drawn.count(3) == pytest.approx(500, abs=80)


# ── Near what was proposed ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=30)
@given(data=st.data())
def test_allows_what_the_whole_networks_cost_allows(name: str, data: st.DataObject) -> None:
    budget = data.draw(budgets(name))
    space, rng = SPACES[name], random.Random(data.draw(st.integers(0, 99)))
    feasible = Feasible(space, budget)
    for _ in range(5):
        choices = space.sample(rng)
        architecture = space.decode(choices)
        assert feasible.allows(choices) == budget.allows(measure_cost(architecture))
        canonical = feasible.canonical(choices)
        assert space.decode(canonical).key() == architecture.key()
        assert feasible.canonical(canonical) == canonical


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=30)
@given(data=st.data())
def test_repaired_choices_are_within_the_budget(name: str, data: st.DataObject) -> None:
    budget = data.draw(budgets(name))
    space, rng = SPACES[name], random.Random(data.draw(st.integers(0, 99)))
    feasible = Feasible(space, budget)
    choices = space.sample(rng)
    if not any(budget.allows(cost) for cost in every(name).values()):
        with pytest.raises(InputError):
            feasible.repair(choices, rng)
        return
    repaired = feasible.repair(choices, rng)
    space.check(repaired)
    assert budget.allows(measure_cost(space.decode(repaired)))
    if feasible.allows(choices):
        assert repaired == choices


def test_repairing_changes_nothing_that_could_stay() -> None:
    feasible = Feasible(EFFICIENTNET, parse_budget("150M-flops"))
    for seed in range(20):
        rng = random.Random(seed)
        choices = EFFICIENTNET.sample(rng)
        repaired = feasible.repair(choices, rng)
        for name in choices:
            if repaired[name] != choices[name]:
                assert not feasible.allows({**repaired, name: choices[name]})


def test_many_stages_of_one_width_are_gone_through_once() -> None:
    """2^40 choices make 41 networks: they only say how many of the 40 stages are not skipped."""
    stage = {
        "stride": 1,
        "layers": 1,
        "width": 4,
        "block": [{"op": "skip"}, {"op": "mbconv", "kernel": 3, "expansion": 1}],
    }
    space = space_from_dict(
        {
            "schema": "nas-search-space/1",
            "name": "shared",
            "resolution": 8,
            "num_classes": 3,
            "activation": "relu",
            "stem": {"kernel": 3, "stride": 1, "width": 4},
            "head": {"width": 8, "dropout": 0.0},
            "stage": [stage] * 40,
        }
    )
    feasible = Feasible(space, parse_budget("1G-flops"))
    assert len({space.decode(choices).key() for choices in feasible}) == 41
    assert len(list(feasible.walk(random.Random(0)))) == 41
