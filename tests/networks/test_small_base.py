"""The small network that stands for a baseline."""

from __future__ import annotations

import math
import random

import pytest

import nas
from nas.networks.small_base import LAST_MAP, small_base, without_late_strides

B0 = nas.load_architecture("efficientnet-b0")


def _last_map(network: nas.Architecture) -> int:
    strides = [network.stem.stride, *(stage.stride for stage in network.stages)]
    return math.ceil(network.resolution / math.prod(strides))


@pytest.mark.parametrize("space", ["efficientnet", "mnasnet", "proxyless", "efficientnetv2"])
@pytest.mark.parametrize("pixels", [20, 28, 32])
def test_it_is_small_and_its_last_map_is_not(space: str, pixels: int) -> None:
    loaded = nas.load_space(space)
    baseline = loaded.decode(loaded.sample(random.Random(pixels)))
    small = small_base(baseline, 2e6, pixels, 3, 10)
    assert _last_map(small) >= LAST_MAP
    assert nas.measure_cost(small).flops == pytest.approx(2e6, rel=0.15)
    assert (small.resolution, small.in_channels, small.num_classes) == (pixels, 3, 10)
    for own, stage in zip(small.stages, baseline.stages, strict=True):
        assert own.layers == math.ceil(stage.layers / 2)
        assert own.width <= stage.width
        assert (own.op, own.kernel, own.expansion) == (stage.op, stage.kernel, stage.expansion)
    nas.build(small)


def test_the_first_strides_stay() -> None:
    strides = [stage.stride for stage in without_late_strides(B0, 32).stages]
    assert strides == [1, 2, 2, 1, 1, 1, 1]
    assert without_late_strides(B0, 224) == B0


def test_no_network_becomes_wider_than_the_baseline() -> None:
    tiny = nas.load_space("tiny")
    baseline = tiny.decode(tiny.sample(random.Random(1)))
    small = small_base(baseline, 1e9, 32, 3, 10)
    assert [s.width for s in small.stages] == [s.width for s in baseline.stages]
