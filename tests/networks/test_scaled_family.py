"""Families that keep their promise: realised FLOPs, shares of the growth, nothing that shrinks."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nas
from nas.errors import InputError
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.compound_scaling import DROPOUTS, PAPER, Coefficients
from nas.networks.cost import measure_cost
from nas.networks.scaled_family import (
    FLOPS_TOLERANCE,
    SHARE_TOLERANCE,
    ScaledMember,
    _flops,
    _widths,
    family,
    scaled_family,
    scaled_member,
    scaled_to_flops,
)
from nas.networks.scaling_direction import DIMENSIONS, Direction

B0 = efficientnet_b0()
PAPERS = Direction.of(PAPER)
SPACES = ("efficientnet", "efficientnetv2", "mnasnet", "proxyless", "joint-block", "tiny")


@st.composite
def directions(draw: st.DrawFn) -> Direction:
    parts = [draw(st.integers(0, 10)) for _ in DIMENSIONS]
    parts[draw(st.integers(0, 1))] += 3  # some depth or width
    return Direction(*(part / sum(parts) for part in parts))


def network(space: str, seed: int) -> Architecture:
    loaded = nas.load_space(space)
    return loaded.decode(loaded.sample(random.Random(seed)))


def sizes(member: ScaledMember) -> list[int]:
    own = member.architecture
    return [*(stage.layers for stage in own.stages), *_widths(own), own.resolution]


@given(st.sampled_from(SPACES), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_solver_counts_as_fvcore_does(space: str, seed: int) -> None:
    own = network(space, seed)
    layers = np.array([[stage.layers for stage in own.stages]])
    pixels = np.array([own.resolution, own.resolution + 13])
    found = _flops(own, layers, np.array([_widths(own)]), pixels)[0, :, 0]
    assert found.tolist() == [measure_cost(own, int(size)).flops for size in pixels]


def test_the_family_of_b0() -> None:
    members = scaled_family(B0, PAPERS)
    assert [member.architecture.name for member in members] == [f"b{i}" for i in range(8)]
    assert members[0].architecture == replace(B0, name="b0")
    assert members[0].shares is None
    assert [member.architecture.head.dropout for member in members] == list(DROPOUTS)
    for number, member in enumerate(members):
        assert member.flops == measure_cost(member.architecture).flops
        assert member.ratio == pytest.approx(2**number, rel=0.006)
        assert member.on_direction


@given(st.sampled_from(SPACES[:4]), st.integers(0, 10**6), directions())
@settings(max_examples=12, deadline=None)
def test_families_of_large_spaces_double_their_flops(
    space: str, seed: int, direction: Direction
) -> None:
    members = scaled_family(network(space, seed), direction, 5)
    for number, member in enumerate(members):
        assert abs(member.ratio / 2**number - 1) <= FLOPS_TOLERANCE


@given(st.sampled_from(SPACES), st.integers(0, 10**6), directions())
@settings(max_examples=12, deadline=None)
def test_nothing_shrinks_and_flops_and_parameters_grow(
    space: str, seed: int, direction: Direction
) -> None:
    baseline = network(space, seed)
    try:
        members = scaled_family(baseline, direction, 5)
    except InputError as error:
        assert "would not grow" in str(error)  # noqa: PT017
        return
    assert members == scaled_family(baseline, direction, 5)
    for smaller, larger in pairwise(members):
        assert all(a <= b for a, b in zip(sizes(smaller), sizes(larger), strict=True))
        less, more = (measure_cost(one.architecture) for one in (smaller, larger))
        assert less.flops < more.flops
        assert less.params < more.params
    for member in members[1:]:
        assert member.shares is not None
        gap = max(
            abs(have - want)
            for have, want in zip(
                member.shares.shares().values(), direction.shares().values(), strict=True
            )
        )
        assert member.on_direction == (gap <= SHARE_TOLERANCE + 1e-9)


def test_shares_are_measured_one_dimension_at_a_time() -> None:
    member = scaled_member(B0, Direction(0.5, 0.5, 0.0), 2.0)
    own = member.architecture
    deeper = replace(
        B0,
        stages=tuple(
            replace(s, layers=t.layers) for s, t in zip(B0.stages, own.stages, strict=True)
        ),
    )
    depth = np.log(measure_cost(deeper).flops / measure_cost(B0).flops)
    assert member.shares is not None
    assert own.resolution == B0.resolution
    assert member.shares.resolution == 0
    whole = depth / member.shares.depth
    assert whole * member.shares.width == pytest.approx(whole - depth)
    assert whole == pytest.approx(np.log(member.ratio), rel=0.05)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_one_dimension_alone(dimension: str) -> None:
    member = scaled_member(B0, Direction.along(dimension), 2.0)  # type: ignore[arg-type]
    assert member.ratio == pytest.approx(4, rel=0.01)
    own = member.architecture
    changed = {
        "depth": [s.layers for s in own.stages] != [s.layers for s in B0.stages],
        "width": _widths(own) != _widths(B0),
        "resolution": own.resolution != B0.resolution,
    }
    assert [name for name in DIMENSIONS if changed[name]] == [dimension]


def test_a_triple_is_read_as_a_direction() -> None:
    for factor in (0.5, 1.0, 2.0):
        triple = Coefficients(PAPER.alpha**factor, PAPER.beta**factor, PAPER.gamma**factor)
        normal = Direction.of(triple).coefficients()
        assert normal.product == pytest.approx(2)
        assert family(B0, triple, 3) == family(B0, PAPER, 3)


def test_skips_stay_one_layer_and_narrow_widths_keep_their_divisor() -> None:
    tiny = nas.load_space("tiny")
    choices = {**tiny.sample(random.Random(0)), "stage2.block": "skip", "stage2.width": 16}
    scaled = scaled_member(tiny.decode(choices), PAPERS, 3.0).architecture
    assert [s.layers for s in scaled.stages if s.op == "skip"] == [1]
    narrow = replace(B0, stem=replace(B0.stem, width=12))
    assert any(width % 8 for width in _widths(scaled_member(narrow, PAPERS, 1.0).architecture))
    assert not any(width % 4 for width in _widths(scaled_member(narrow, PAPERS, 1.0).architecture))


def test_dropout_never_falls_below_the_baselines() -> None:
    baseline = replace(B0, head=replace(B0.head, dropout=0.35))
    dropouts = [member.head.dropout for member in family(baseline, PAPER)]
    assert dropouts == [0.35, 0.35, 0.35, 0.35, 0.4, 0.4, 0.5, 0.5]


def test_resolution_alone_is_no_family() -> None:
    with pytest.raises(InputError, match="parameters would not grow"):
        family(B0, Coefficients(1, 1, 1.4))
    with pytest.raises(InputError, match="one at least exceeds 1"):
        family(B0, Coefficients(1, 1, 1))


def test_where_layers_end_widths_and_pixels_grow_in_their_place() -> None:
    """B0 has 16 layers; b7 on depth alone would have 2,048, and a stage may have 256."""
    for direction, kept in ((Direction.along("depth"), False), (Direction(0.87, 0.13, 0.0), True)):
        last = scaled_family(B0, direction)[-1]
        assert max(s.layers for s in last.architecture.stages) <= 256
        assert abs(last.deviation) <= FLOPS_TOLERANCE
        assert last.on_direction is kept


@given(st.floats(1, 30), directions())
@settings(max_examples=15, deadline=None)
def test_a_number_of_flops_is_not_exceeded(factor: float, direction: Direction) -> None:
    own = measure_cost(B0).flops
    target = int(own * factor)
    within = scaled_to_flops(B0, direction, target)
    assert within.flops <= target
    nearest = scaled_to_flops(B0, direction, target, nearest=True)
    assert abs(nearest.flops / target - 1) <= FLOPS_TOLERANCE


def test_a_number_of_flops_below_the_baseline_is_refused() -> None:
    with pytest.raises(InputError, match="efficientnet-b0 alone has 385,814,752"):
        scaled_to_flops(B0, PAPERS, 385_814_751)
    assert scaled_to_flops(B0, PAPERS, 385_814_752).architecture.key() == B0.key()
    with pytest.raises(InputError, match="target-flops"):
        scaled_to_flops(B0, PAPERS, 10**17)


@pytest.mark.parametrize("shares", [(0.5, 0.6, 0.1), (-0.1, 0.6, 0.5), (float("nan"), 0.5, 0.5)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="share"):
        Direction(*shares)
