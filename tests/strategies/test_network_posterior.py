"""The Bayesian model of networks that were trained a few times."""

import numpy as np
import pytest

from nas.strategies import network_posterior
from nas.strategies.network_posterior import Candidates, candidates, posterior

NETWORKS = 40


def world(seed: int, worth: float = 1.0) -> tuple[Candidates, np.ndarray, np.ndarray]:
    """Return candidates, their true merits, and features; a source is worth so much."""
    rng = np.random.default_rng(seed)
    choices = rng.integers(0, 3, (NETWORKS, 8))
    features = np.concatenate([np.eye(3)[choices[:, place]] for place in range(8)], axis=1)
    features = features / np.sqrt(8)
    effect = features @ rng.standard_normal(24) * np.sqrt(8)
    source = rng.standard_normal(NETWORKS)
    merits = 0.1 * (worth * source + 0.5 * effect / effect.std())
    return candidates({"supernet": source}, features), merits, source


def measurements(
    merits: np.ndarray, networks: list[int], rng: np.random.Generator, noise: float = 0.04
) -> list[tuple[int, float]]:
    return [(index, float(merits[index] + noise * rng.standard_normal())) for index in networks]


def test_without_trainings_the_sources_decide() -> None:
    known, _, source = world(0)
    assert posterior(known, [], 0).best == int(np.argmax(source))


def test_a_source_that_is_constant_is_left_out() -> None:
    features = np.eye(3)
    known = candidates({"flops": np.ones(3), "params": np.array([1.0, 2.0, 3.0])}, features)
    assert known.sources.shape == (3, 1)
    assert known.weights == pytest.approx([network_posterior.SOURCES["params"]])
    assert known.covariance.diagonal() == pytest.approx(np.ones(3))


def test_many_trainings_overrule_sources_that_are_wrong() -> None:
    rng = np.random.default_rng(1)
    known, merits, source = world(1, worth=-1.0)
    everyone = measurements(merits, 3 * list(range(NETWORKS)), rng, 0.02)
    found = posterior(known, everyone, 0)
    assert merits[found.best] > np.quantile(merits, 0.9)
    assert np.corrcoef(found.mean, merits)[0, 1] > 0.95
    assert np.corrcoef(source, merits)[0, 1] < 0


def test_a_network_and_those_alike_are_known_better_once_it_is_trained() -> None:
    known, merits, _ = world(2)
    before = posterior(known, measurements(merits, [1, 2, 3], np.random.default_rng(0)), 0)
    after = posterior(known, measurements(merits, [1, 2, 3, 0, 0, 0], np.random.default_rng(0)), 0)
    assert after.draws[:, 0].std() < before.draws[:, 0].std()


def test_the_same_in_other_units_of_the_mean() -> None:
    known, merits, _ = world(3)
    some = measurements(merits, [0, 5, 9, 12, 20], np.random.default_rng(3))
    moved = [(index, merit - 5.0) for index, merit in some]
    assert posterior(known, moved, 0).mean == pytest.approx(posterior(known, some, 0).mean - 5.0)


def test_what_is_said_of_two_networks() -> None:
    known, merits, _ = world(4)
    found = posterior(known, measurements(merits, 4 * list(range(10)), np.random.default_rng(4)), 0)
    best, worst = int(np.argmax(merits[:10])), int(np.argmin(merits[:10]))
    assert found.better(best, worst) > 0.95
    mean, low, high = found.gain(best, worst)
    assert low < mean < high
    assert mean == pytest.approx(merits[best] - merits[worst], abs=0.06)
    assert found.better(best, worst) + found.better(worst, best) == pytest.approx(1.0)


def test_proposals_are_different_and_lean_to_the_better() -> None:
    known, merits, _ = world(5)
    some = measurements(merits, list(range(0, NETWORKS, 3)), np.random.default_rng(5))
    found = posterior(known, some, 0)
    proposed = found.proposals(8)
    assert len(set(proposed)) == 8
    assert merits[proposed].mean() > merits.mean()
    assert sorted(found.proposals(NETWORKS + 5)) == list(range(NETWORKS))


def test_nine_of_ten_further_trainings_are_in_the_interval() -> None:
    inside = []
    for seed in range(12):
        known, merits, _ = world(10 + seed, worth=0.6)
        rng = np.random.default_rng(seed)
        trained = rng.permutation(NETWORKS)
        found = posterior(known, measurements(merits, trained[:16].tolist(), rng), seed)
        for index in trained[16:].tolist():
            low, high = found.next_training(index, rng)
            inside.append(low <= measurements(merits, [index], rng)[0][1] <= high)
    assert 0.85 <= np.mean(inside) <= 0.97, np.mean(inside)


def test_the_same_for_the_same_seed() -> None:
    known, merits, _ = world(6)
    some = measurements(merits, [0, 1, 2], np.random.default_rng(6))
    assert np.array_equal(posterior(known, some, 7).draws, posterior(known, some, 7).draws)
