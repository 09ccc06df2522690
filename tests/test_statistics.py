"""Rank correlations against their definitions, the bootstrap, and regret."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.statistics import (
    Floats,
    agreement,
    interval,
    kendall_tau,
    kendall_taus,
    regret,
    resample,
    spearman,
)

# Few different values: many ties.
PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=25)


def tau_by_definition(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall 1945: over all pairs of networks."""
    score = untied_a = untied_b = 0
    for i, j in combinations(range(len(a)), 2):
        above_a = (a[i] > a[j]) - (a[i] < a[j])
        above_b = (b[i] > b[j]) - (b[i] < b[j])
        score += above_a * above_b
        untied_a += above_a != 0
        untied_b += above_b != 0
    return score / math.sqrt(untied_a * untied_b) if untied_a and untied_b else 0.0


def rho_by_definition(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation of ranks, a tie having the mean of the places it fills."""

    def ranks(values: Sequence[float]) -> list[float]:
        return [
            sum(other < value for other in values)
            + (1 + sum(other == value for other in values)) / 2
            for value in values
        ]

    one, other = ranks(a), ranks(b)
    middle = (len(a) + 1) / 2
    both = math.fsum((x - middle) * (y - middle) for x, y in zip(one, other, strict=True))
    spread = [math.fsum((x - middle) ** 2 for x in own) for own in (one, other)]
    return both / math.sqrt(spread[0] * spread[1]) if all(spread) else 0.0


def arrays(pairs: list[tuple[int, int]]) -> tuple[Floats, Floats]:
    both = np.array(pairs, dtype=float)
    return both[:, 0], both[:, 1]


@given(PAIRS)
def test_correlations_are_their_definitions(pairs: list[tuple[int, int]]) -> None:
    a, b = arrays(pairs)
    assert kendall_tau(a, b) == pytest.approx(tau_by_definition(a.tolist(), b.tolist()), abs=1e-12)
    assert spearman(a, b) == pytest.approx(rho_by_definition(a.tolist(), b.tolist()), abs=1e-12)


@given(PAIRS, st.integers(0, 99))
def test_a_sample_counts_as_its_networks_written_out(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    a, b = arrays(pairs)
    samples = resample(len(a), seed, 5)
    assert samples.sum(axis=1).tolist() == [len(a)] * 5
    for tau, counts in zip(kendall_taus(a, b, samples), samples, strict=True):
        drawn = np.repeat(np.arange(len(a)), counts.astype(int))
        assert tau == pytest.approx(
            tau_by_definition(a[drawn].tolist(), b[drawn].tolist()), abs=1e-12
        )


def test_kendall_tau() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert kendall_tau(a, a) == 1
    assert kendall_tau(a, -a) == -1
    assert kendall_tau(a, np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(2 / 3)
    # Knight 1966: ties count on neither side.
    assert kendall_tau(a, np.array([1.0, 1.0, 2.0, 3.0])) == pytest.approx(5 / 30**0.5)


def test_what_tells_nothing_apart_correlates_with_nothing() -> None:
    a, same = np.arange(5.0), np.ones(5)
    assert kendall_tau(a, same) == kendall_tau(same, a) == kendall_tau(same, same) == 0
    assert spearman(a, same) == spearman(same, same) == 0
    one = np.array([0.5])
    assert kendall_tau(one, one) == spearman(one, one) == 0


def test_more_networks_than_a_block_holds() -> None:
    rng = np.random.default_rng(0)
    # Exact, too, where single precision could not tell the values apart.
    truth = 1e9 + np.arange(1_300.0)
    score = truth + rng.normal(0, 300, len(truth)).round()
    sample = resample(len(truth), 1, 3)
    plain = np.sign(truth[:, None] - truth) * np.sign(score[:, None] - score)
    untied = (np.sign(score[:, None] - score) ** 2).sum() * (len(truth) * (len(truth) - 1))
    assert kendall_tau(truth, score) == pytest.approx(plain.sum() / untied**0.5, abs=1e-12)
    counts = sample.astype(float)
    expected = np.einsum("si,ij,sj->s", counts, plain, counts)
    ones = np.ones((len(truth), len(truth))) - np.eye(len(truth))
    untied_truth = np.einsum("si,ij,sj->s", counts, ones, counts)
    signs = np.sign(score[:, None] - score) ** 2
    untied_score = np.einsum("si,ij,sj->s", counts, signs, counts)
    assert kendall_taus(truth, score, sample) == pytest.approx(
        expected / np.sqrt(untied_truth * untied_score), abs=1e-12
    )


def test_regret() -> None:
    truth = np.array([0.5, 0.9, 0.7, 0.8])
    assert regret(truth, truth) == 0
    assert regret(truth, -truth) == pytest.approx(0.4)
    assert regret(truth, -truth, top=2) == pytest.approx(0.2)
    assert regret(truth, -truth, top=9) == 0
    assert regret(truth, np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.4)  # the earlier


def test_the_interval_holds_what_it_says() -> None:
    assert interval(np.arange(1_001.0)) == (25.0, 975.0)


def test_the_bootstrap_is_by_its_seed_and_near_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 40))
    score = truth + rng.normal(size=truth.shape)
    # τ of two normal variables correlated by ρ: 2/π·asin(ρ).
    real = 2 / math.pi * math.asin(1 / math.sqrt(2))
    held = 0
    for i in range(len(truth)):
        found = agreement(truth[i], score[i], resample(40, 0, 400))
        assert found == agreement(truth[i], score[i], resample(40, 0, 400))
        low, high = found.kendall_tau_ci95
        assert low < found.kendall_tau < high
        held += low <= real <= high
    assert 0.88 * len(truth) <= held <= 0.99 * len(truth)
    assert not np.array_equal(resample(40, 0), resample(40, 1))


def test_a_perfect_score() -> None:
    truth = np.arange(10.0)
    found = agreement(truth, 3 * truth, resample(10, 0))
    assert (found.kendall_tau, found.kendall_tau_ci95, found.spearman) == (1, (1, 1), 1)
    assert (found.regret, found.regret_top5) == (0, 0)
