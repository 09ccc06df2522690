"""Compound scaling: the official rounding, the published table, and what scaling promises."""

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nas.errors import InputError
from nas.networks.architecture import Architecture, Norm, efficientnet_b0
from nas.networks.compound_scaling import (
    DROPOUTS,
    OFFICIAL,
    PAPER,
    Coefficients,
    compound,
    official,
    round_filters,
    round_repeats,
    round_resolution,
    scale,
)
from nas.networks.cost import measure_cost
from nas.spaces.toml import read_space
from tests.support.paths import ROOT

GOLDEN = json.loads((ROOT / "tests/golden/efficientnet.json").read_text(encoding="utf-8"))
B0 = efficientnet_b0()
TINY = read_space(ROOT / "search_spaces/tiny.toml")

multipliers = st.floats(0.1, 8)


def flops(architecture: Architecture) -> int:
    return measure_cost(architecture).flops


# ── Rounding ─────────────────────────────────────────────────────────────────────────────────────


def official_round_filters(filters: int, multiplier: float) -> int:
    """The official code: `round_filters` of efficientnet_builder.py, divisor 8."""
    divisor = 8
    scaled = filters * multiplier
    new_filters = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
    if new_filters < 0.9 * scaled:
        new_filters += divisor
    return int(new_filters)


@given(st.integers(1, 400).map(lambda n: 8 * n), multipliers)
def test_round_filters_is_the_official_formula(width: int, multiplier: float) -> None:
    assert round_filters(width, multiplier) == official_round_filters(width, multiplier)


@given(st.integers(1, 4000), multipliers)
def test_round_filters_of_any_width(width: int, multiplier: float) -> None:
    assume(multiplier != 1)
    rounded = round_filters(width, multiplier)
    assert rounded >= 0.9 * width * multiplier
    if multiplier > 1:
        assert rounded == max(width, official_round_filters(width, multiplier))
    else:
        assert rounded == official_round_filters(width, multiplier)


@given(st.integers(1, 4000), st.floats(1, 4), st.floats(1, 4))
def test_round_filters_never_falls(width: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert width <= round_filters(width, low) <= round_filters(width, high)


@pytest.mark.parametrize(
    ("width", "multiplier", "rounded"),
    [(32, 1.1, 32), (40, 1.1, 48), (32, 1.4, 48), (1280, 1.1, 1408), (16, 0.25, 8), (17, 1.01, 17)],
)
def test_round_filters_by_hand(width: int, multiplier: float, rounded: int) -> None:
    assert round_filters(width, multiplier) == rounded


@given(st.integers(1, 30), multipliers)
def test_round_repeats_is_the_official_formula(layers: int, multiplier: float) -> None:
    exact = layers * multiplier
    assume(abs(exact - round(exact)) > 1e-8)  # there the official one depends on the last bit
    assert round_repeats(layers, multiplier) == math.ceil(multiplier * layers)


@given(st.integers(1, 10), st.integers(100, 310))
def test_round_repeats_of_decimal_multipliers_is_exact(layers: int, hundredths: int) -> None:
    assert round_repeats(layers, hundredths / 100) == -(-layers * hundredths // 100)


def test_round_repeats_ignores_the_last_bit() -> None:
    assert math.ceil(1.1**2 * 100) == 122  # the trap
    assert round_repeats(100, 1.1**2) == 121


@given(st.integers(1, 2000), st.floats(1, 4))
def test_round_resolution_is_even_and_near(resolution: int, multiplier: float) -> None:
    rounded = round_resolution(resolution, multiplier)
    assert rounded >= resolution
    if multiplier == 1:
        assert rounded == resolution
    else:
        assert rounded % 2 == 0
        assert abs(rounded - resolution * multiplier) <= 1


@given(st.integers(1, 4000))
def test_rounding_is_the_identity_at_one(value: int) -> None:
    assert round_filters(value, 1.0) == value
    assert round_repeats(value, 1.0) == value
    assert round_resolution(value, 1.0) == value


# ── What is published ────────────────────────────────────────────────────────────────────────────


def test_the_official_table() -> None:
    rows = [
        (row["width"], row["depth"], row["resolution"], row["dropout"])
        for row in GOLDEN["networks"]
    ]
    assert [(*row, dropout) for row, dropout in zip(OFFICIAL, DROPOUTS, strict=True)] == rows


def test_the_official_networks() -> None:
    assert official(0) == B0
    b7 = official(7)
    # torchvision's efficientnet_b7: widths and layers as it builds them.
    assert [(stage.width, stage.layers) for stage in b7.stages] == [
        (32, 4), (48, 7), (80, 7), (160, 10), (224, 10), (384, 13), (640, 4),
    ]  # fmt: skip
    assert (b7.stem.width, b7.head.width, b7.head.dropout, b7.resolution) == (64, 2560, 0.5, 600)
    assert [official(index).norm for index in (4, 5)] == [Norm(), Norm(eps=1e-3, momentum=0.01)]


@pytest.mark.parametrize("index", [-1, 8, 100])
def test_no_other_official_network(index: int) -> None:
    with pytest.raises(InputError, match=f"index: {index} is not accepted: 0 to 7"):
        official(index)


def test_the_table_on_a_baseline_of_ones_own() -> None:
    baseline = replace(B0, resolution=32, name="mine")
    assert official(0, baseline) == replace(baseline, name="mine-b0")
    b1 = official(1, baseline)
    assert (b1.name, b1.resolution) == ("mine-b1", 34)  # 32 * 240 / 224 = 34.3
    assert [stage.layers for stage in b1.stages] == [s.layers for s in official(1).stages]


def test_the_official_family_by_flops() -> None:
    # The table, not the formula: by how much each member exceeds B0.
    ratios = [flops(official(index)) / flops(B0) for index in range(1, 8)]
    assert [float(f"{ratio:.3g}") for ratio in ratios] == [1.78, 2.58, 4.74, 11.4, 26.6, 49.4, 97.8]


def test_the_papers_coefficients_cost_more_than_they_say() -> None:
    assert PAPER.product == pytest.approx(1.920, abs=5e-4)
    b1 = compound(B0, PAPER, 1)
    assert flops(b1) == 992_629_472  # 0.993G
    assert flops(b1) / flops(B0) == pytest.approx(2.57, abs=0.005)
    assert (b1.resolution, b1.stem.width, b1.head.width) == (258, 32, 1408)


def test_single_dimensions_by_the_official_rounding() -> None:
    single = [scale(B0, depth=4), scale(B0, width=2), scale(B0, resolution=448)]
    assert [round(flops(network) / 1e9, 2) for network in single] == [1.58, 1.45, 1.54]


# ── Scaling ──────────────────────────────────────────────────────────────────────────────────────


def test_scaling_by_one_changes_only_the_name() -> None:
    for architecture in (B0, TINY.decode(TINY.sample(random.Random(1)))):
        same = scale(architecture)
        assert replace(same, name=architecture.name) == architecture
        assert same.key() == architecture.key()
        assert compound(architecture, PAPER, 0).key() == architecture.key()


def test_scaling_says_what_was_done() -> None:
    assert scale(B0, depth=1.4, width=1.2, resolution=300).name == "efficientnet-b0-d1.4-w1.2-r300"
    assert scale(B0, depth=1.4, name="b1").name == "b1"
    assert compound(B0, PAPER, 1.5).name == "efficientnet-b0-phi1.5"


def test_names_do_not_outgrow_their_limit() -> None:
    network = B0
    for _ in range(40):
        network = compound(scale(network, depth=1.0001), PAPER, 0)
    assert len(network.name) <= 200


def test_a_skip_gets_wider_but_not_deeper() -> None:
    choices = {**TINY.sample(random.Random(0)), "stage2.block": "skip", "stage2.width": 16}
    scaled = scale(TINY.decode(choices), depth=3, width=2)
    [skip] = [stage for stage in scaled.stages if stage.op == "skip"]
    assert (skip.layers, skip.width) == (1, 32)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"depth": 0}, "depth"),
        ({"depth": math.nan}, "depth"),
        ({"width": -1}, "width"),
        ({"width": math.inf}, "width"),
        ({"resolution": 0}, "resolution"),
        ({"resolution": 20_000}, "resolution"),
        ({"depth": 65}, "layers"),  # 4 · 65 > 256
        ({"width": 52}, "width"),  # 1,280 · 52 > 65,536
        ({"dropout": 1.0}, "dropout"),
        ({"name": "n" * 201}, "name"),
    ],
)
def test_scaling_too_far_is_an_input_error(arguments: dict[str, float], key: str) -> None:
    with pytest.raises(InputError, match=f"{key}: .* is not accepted") as error:
        scale(B0, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [0.99, 0, -1, 4.01, math.nan, math.inf])
@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
def test_coefficients_are_from_1_to_4(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}: .* is not accepted: a number from 1 to 4"):
        Coefficients(**{"alpha": 1, "beta": 1, "gamma": 1, name: value})
