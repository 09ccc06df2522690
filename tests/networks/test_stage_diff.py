"""A network's parts add up to it; what differs between two is named."""

import random
from dataclasses import replace

import pytest

import nas
from nas.networks.architecture import Stage
from nas.networks.compound_scaling import official
from nas.networks.stage_diff import differences, parts

B0 = nas.load_architecture("efficientnet-b0")


def networks() -> list[nas.Architecture]:
    made = [official(index) for index in range(8)]
    for name in ("efficientnet", "mnasnet", "proxyless", "efficientnetv2", "tiny"):
        space = nas.load_space(name)
        made += [space.decode(space.sample(random.Random(seed))) for seed in range(4)]
    return made


@pytest.mark.parametrize("network", networks(), ids=lambda network: network.name)
def test_parts_add_up(network: nas.Architecture) -> None:
    cost, all_parts = nas.measure_cost(network), parts(network)
    assert [part.name for part in all_parts] == [
        *("stem", *(f"stage{i}" for i in range(1, len(network.stages) + 1)), "head"),
    ]
    assert sum(part.cost.flops for part in all_parts) == cost.flops
    assert sum(part.cost.params for part in all_parts) == cost.params
    assert sum(part.cost.activations for part in all_parts) == cost.activations


def test_what_differs_is_named() -> None:
    other = list(B0.stages)
    other[1] = replace(other[1], kernel=5, layers=3)
    other[4] = replace(other[4], se_ratio=0.0)
    rows = differences(B0, replace(B0, stages=tuple(other)))
    assert {row.name: row.fields for row in rows if row.fields} == {
        "stage2": ("kernel", "layers"),
        "stage5": ("se_ratio",),
    }
    assert rows[2].first.to_dict()["kernel"] == 3
    assert rows[2].second.to_dict()["kernel"] == 5
    assert rows[2].second.cost.flops > rows[2].first.cost.flops
    assert rows[0].first.to_dict() == rows[0].second.to_dict()
    assert all(row.fields == () for row in differences(B0, B0))


def test_other_numbers_of_stages_are_refused() -> None:
    longer = replace(B0, stages=(*B0.stages, Stage("mbconv", 3, 1, 1, 320, 1, 0.0)))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        differences(B0, longer)
