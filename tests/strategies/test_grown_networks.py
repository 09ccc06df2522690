"""Small networks that grow."""

from __future__ import annotations

import math

import pytest

import nas
from nas.strategies.grown_networks import grown_networks, pixels_for

B0 = nas.load_architecture("efficientnet-b0")


@pytest.mark.parametrize("with_resolution", [True, False])
def test_all_cost_eight_times_the_small_one(with_resolution: bool) -> None:
    found = grown_networks(B0, 2e6, 32, with_resolution, 3, 10)
    assert len({one.architecture.key() for one in found}) == 12
    for one in found:
        assert nas.measure_cost(one.architecture).flops == one.flops
        assert sum(one.growth) == pytest.approx(math.log(8), abs=0.1)
        for share, growth in zip(one.direction.shares().values(), one.growth, strict=True):
            assert growth / sum(one.growth) == pytest.approx(share, abs=0.06)
        assert one.architecture.head.dropout == 0
        assert with_resolution or one.architecture.resolution == 32
    assert max(one.architecture.resolution for one in found) <= 92


@pytest.mark.parametrize(
    ("images", "space", "found"),
    [
        (32, 224, (32, False)),
        (28, 224, (28, False)),
        (56, 224, (32, False)),
        (57, 224, (20, True)),
        (64, 224, (22, True)),
        (128, 224, (32, True)),
        (128, 24, (24, True)),
    ],
)
def test_resolution_grows_where_the_images_have_the_pixels(
    images: int, space: int, found: tuple[int, bool]
) -> None:
    assert pixels_for(images, space) == found
