"""Comparing networks by common seeds: intervals that hold what they promise."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nas.statistics import compare, t_quantile


# Student's t, two-sided 95 %, from any statistical table.
@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.30265), (4, 2.77645), (10, 2.22814), (30, 2.04227), (1000, 1.96234)],
)
def test_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert t_quantile(freedom) == pytest.approx(expected, rel=1e-4)


def test_no_freedom_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="degree of freedom"):
        t_quantile(0)


def test_two_networks_are_the_paired_t_test() -> None:
    first, second = [0.52, 0.55, 0.49, 0.60], [0.50, 0.51, 0.48, 0.55]
    found = compare([dict(enumerate(first)), dict(enumerate(second))])
    gaps = np.array(first) - np.array(second)
    difference = found.difference(0, 1)
    assert difference.mean == pytest.approx(gaps.mean())
    assert difference.half_width == pytest.approx(t_quantile(3) * gaps.std(ddof=1) / 2, rel=1e-9)
    assert found.difference(1, 0).mean == pytest.approx(-gaps.mean())
    assert found.means == pytest.approx((np.mean(first), np.mean(second)))


def test_what_a_seed_does_to_all_alike_is_no_noise() -> None:
    found = compare([{0: 0.5, 1: 0.6, 2: 0.4}, {0: 0.45, 1: 0.55, 2: 0.35}])
    assert found.deviation == pytest.approx(0.0, abs=1e-12)
    assert found.difference(0, 1).real


def test_who_missed_the_lucky_seed_is_not_the_worse_for_it() -> None:
    # Seed 1 gives everybody 0.1 more; the third network never had it.
    found = compare([{0: 0.5, 1: 0.6}, {0: 0.4, 1: 0.5}, {0: 0.52}])
    assert found.means[2] is not None
    assert found.means[0] is not None
    assert found.means[2] - found.means[0] == pytest.approx(0.02)


def test_one_seed_says_nothing_of_noise() -> None:
    found = compare([{0: 0.5}, {0: 0.4}, {}])
    assert found.deviation is None
    assert found.difference(0, 1).half_width is None
    assert not found.difference(0, 1).real
    assert found.means[2] is None
    with pytest.raises(ValueError, match="without a score"):
        found.difference(0, 2)


def test_without_a_common_seed_the_difference_is_not_known() -> None:
    apart = [{0: 0.50, 1: 0.61}, {2: 0.40, 3: 0.50}, {0: 0.70, 1: 0.80}]
    found = compare(apart)
    assert found.deviation is not None
    assert found.difference(0, 2).half_width is not None
    for network in (0, 2):
        unknown = found.difference(network, 1)
        assert unknown.half_width is None
        assert not unknown.real
    # What each group has is at its own seeds' average.
    assert found.means == pytest.approx((0.555, 0.45, 0.75))
    # A fourth network has a seed of both groups: now they can be told apart through it.
    joined = compare([*apart, {1: 0.71, 2: 0.50}])
    difference = joined.difference(0, 1)
    assert difference.half_width is not None
    assert difference.mean == pytest.approx(0.0, abs=0.02)
    # Of whom nothing was measured joins nobody.
    assert compare([{0: 0.5, 1: 0.6}, {}, {0: 0.4, 1: 0.51}]).difference(0, 2).half_width


def test_nothing_measured_is_nothing_known() -> None:
    found = compare([{}, {}])
    assert found.means == (None, None)
    assert found.deviation is None


def test_of_a_hundred_intervals_about_95_hold_the_truth() -> None:
    rng = random.Random(0)
    held = 0
    for _ in range(1000):
        seeds = [rng.gauss(0, 0.05) for _ in range(3)]
        scores = [
            {s: truth + seeds[s] + rng.gauss(0, 0.01) for s in range(3 if place < 2 else 1)}
            for place, truth in enumerate((0.5, 0.51, 0.47, 0.48))
        ]
        difference = compare(scores).difference(1, 0)
        assert difference.half_width is not None
        held += abs(difference.mean - 0.01) <= difference.half_width
    assert 930 <= held <= 970
