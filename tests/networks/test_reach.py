"""Kernels that reach beyond their feature maps."""

from dataclasses import replace

import pytest
import torch

from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.modules import build
from nas.networks.reach import computed

LAST = len(efficientnet_b0().stages) - 1


def with_kernel(kernel: int, resolution: int, stage: int = LAST) -> Architecture:
    network = efficientnet_b0()
    stages = list(network.stages)
    stages[stage] = replace(stages[stage], kernel=kernel)
    return replace(network, stages=tuple(stages), resolution=resolution)


@pytest.mark.parametrize(("resolution", "same"), [(32, True), (64, True), (96, False)])
def test_kernels_beyond_the_feature_map_make_no_difference(resolution: int, same: bool) -> None:
    small, large = with_kernel(3, resolution), with_kernel(5, resolution)
    assert (computed(small) == computed(large)) is same
    torch.manual_seed(0)
    one, other = build(large).eval().double(), build(small).eval().double()
    weights = one.state_dict()
    for name, weight in other.state_dict().items():
        if weight.shape != weights[name].shape:
            weights[name] = weights[name][..., 1:4, 1:4]
    other.load_state_dict(weights)
    images = torch.randn(2, 3, resolution, resolution, dtype=torch.float64)
    with torch.inference_mode():
        ours, theirs = one(images), other(images)
    assert (float((ours - theirs).abs().max() / ours.std()) < 1e-9) is same


def test_what_differs_elsewhere_is_another_network() -> None:
    for stage in range(3):
        assert computed(with_kernel(3, 32, stage)) != computed(with_kernel(5, 32, stage))
    base = with_kernel(3, 32)
    assert computed(base) == computed(replace(base, name="other", num_classes=7))
    assert computed(base) != computed(replace(base, activation="relu"))
