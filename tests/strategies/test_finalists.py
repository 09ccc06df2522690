"""The finals: the best of a search and a reference trained alike, and a baseline chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas.accuracy import Accuracy
from nas.errors import EvaluationFailed
from nas.evaluation.local import InProcess
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.study import Study
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.compound_scaling import scale
from nas.networks.cost import measure_cost
from nas.seeding import derived_rng
from nas.strategies.finalists import FinalistsResult, compare_finalists, finalists, with_references
from nas.testing import ToyProxy

B0 = efficientnet_b0()
OTHERS = [replace(scale(B0, width=width), name=f"n{i}") for i, width in enumerate((0.5, 0.7, 0.9))]


def trial(number: int, architecture: Architecture, score: float) -> Trial:
    cost = measure_cost(architecture)
    return Trial(number, {}, architecture, cost, "finished", Accuracy(score, 0.01), score)


TRIALS = [trial(i, architecture, 0.5 + 0.1 * i) for i, architecture in enumerate(OTHERS)]


def toy(truth: dict[str, float], noise: float = 0.001) -> ToyProxy:
    """A proxy that knows the truth by the networks' names, but for noise."""

    def value(arch: Architecture, seed: int) -> float:
        return truth[arch.name] + derived_rng(seed, arch.name).gauss(0, noise)

    return ToyProxy(value, standard_error=0.01)


def play(
    proxy: ToyProxy, folder: Path, count: int = 3, objective: Objective | None = None,
    reference: Architecture = B0,
) -> FinalistsResult:  # fmt: skip
    objective = objective or Objective("accuracy")
    chosen = finalists(TRIALS, count)
    networks = with_references((trial.architecture for trial in chosen), [reference])
    study = Study(folder, "finals", {})
    rounds = SeededRuns(networks, study, InProcess(proxy), objective, seed=0, purpose="finals")
    return compare_finalists(chosen, networks, reference, rounds, objective, seeds=3)


def test_the_longer_training_decides_and_the_reference_is_never_chosen(tmp_path: Path) -> None:
    result = play(toy({"n0": 0.6, "n1": 0.72, "n2": 0.65, B0.name: 0.9}), tmp_path)
    assert result.trials == (2, 1, 0)
    assert result.baseline(TRIALS) == TRIALS[1]
    assert result.reference == 3
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["chosen"] == "n1"
    assert data["reference"] == B0.name
    assert data["tied"] == []
    entry = data["entries"][1]
    assert entry["trial"] == 1
    assert entry["difference"]["real"]
    assert entry["difference"]["mean"] == pytest.approx(0.72 - 0.9, abs=0.01)
    assert data["entries"][3]["trial"] is None


def test_fewer_are_finalists_where_fewer_are_asked_for(tmp_path: Path) -> None:
    result = play(toy({"n1": 0.72, "n2": 0.65, B0.name: 0.9}), tmp_path, count=2)
    assert result.trials == (2, 1)


def test_what_cannot_be_told_apart_is_named(tmp_path: Path) -> None:
    result = play(toy({"n0": 0.2, "n1": 0.7, "n2": 0.7, B0.name: 0.5}, noise=0.02), tmp_path)
    assert result.chosen in (0, 1)
    assert set(result.tied) == {0, 1} - {result.chosen}


def test_a_reference_that_was_found_is_trained_once_and_may_win(tmp_path: Path) -> None:
    again = replace(OTHERS[1], name="the same")
    result = play(toy({"n0": 0.6, "n1": 0.8, "n2": 0.7}), tmp_path, reference=again)
    assert len(result.comparison.networks) == 3
    assert result.reference == result.chosen == 1


def test_a_reward_counts_in_the_finals_too(tmp_path: Path) -> None:
    truth = {"n0": 0.70, "n1": 0.71, "n2": 0.72, B0.name: 0.9}
    reward = Objective("reward", target_flops=400_000_000)
    result = play(toy(truth), tmp_path, objective=reward)
    assert result.baseline(TRIALS) == TRIALS[0]  # cheaper by more than it is worse


def test_no_finalist_measured_chooses_nothing(tmp_path: Path) -> None:
    result = play(toy({B0.name: 0.5}), tmp_path)
    assert result.baseline(TRIALS) is None
    assert result.tied == ()
    assert result.to_dict()["chosen"] is None
    assert "KeyError" in result.to_dict()["entries"][0]["reason"]


def test_failures_in_a_row_end_the_finals(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed, match="KeyError"):
        play(toy({}), tmp_path)


def test_finalists_no_better_than_chance_choose_nothing(tmp_path: Path) -> None:
    result = play(toy({"n0": 0.001, "n1": 0.0012, "n2": 0.001, B0.name: 0.9}, 0.0), tmp_path)
    assert result.measured
    assert result.chosen is None


def test_networks_that_look_alike_are_one_finalist() -> None:
    half = finalists(TRIALS, 3, lambda architecture: architecture.name != "n2")
    assert [trial.number for trial in half] == [2, 1]
    assert len(finalists(TRIALS, 2)) == 2
