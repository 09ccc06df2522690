"""The check of a proxy: networks drawn whatever was found, and an honest sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from nas.evaluation.local import InProcess
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.spaces.budget import parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.strategies.proxy_check import ProxyCheck, check, sample
from nas.testing import ToyProxy

SPACE = load_space("efficientnet")
FEASIBLE = Feasible(SPACE, parse_budget("400M-flops"))


def few_params(arch: Architecture) -> float:
    return 1 / (1 + measure_cost(arch).params / 1e6)


def run(
    proxy: Callable[[Architecture], float],
    truth: Callable[[Architecture], float],
    folder: Path,
    count: int = 16,
) -> ProxyCheck | None:
    networks = sample(FEASIBLE, count, 0)

    def rounds(name: str, function: Callable[[Architecture], float]) -> SeededRuns:
        toy = ToyProxy(lambda arch, seed: function(arch))
        return SeededRuns(
            networks, Study(folder, name, {}), InProcess(toy),
            Objective("accuracy"), seed=0, purpose=name,
        )  # fmt: skip

    judged, trained = rounds("proxy", proxy), rounds("trained", truth)
    for each in (judged, trained):
        each.run(0, range(len(networks)))
    return check(networks, judged, trained, 0)


def test_the_sample_is_within_the_budget_different_and_the_seeds_own() -> None:
    networks = sample(FEASIBLE, 12, 3)
    assert len({network.key() for network in networks}) == 12
    assert all(measure_cost(network).flops <= 400_000_000 for network in networks)
    assert networks == sample(FEASIBLE, 12, 3)
    assert networks != sample(FEASIBLE, 12, 4)


def test_a_perfect_proxy_is_said_to_be_better_than_flops(tmp_path: Path) -> None:
    found = run(few_params, few_params, tmp_path)
    assert found is not None
    assert found.proxy.kendall_tau == 1
    assert found.samples == 16
    assert found.minus_flops_ci95[0] > 0
    assert "better" in str(found)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["kendall_tau_minus_flops_ci95"][0] > 0


def test_flops_as_the_truth_leave_another_proxy_behind(tmp_path: Path) -> None:
    def flops(arch: Architecture) -> float:
        return measure_cost(arch).flops / 1e9

    found = run(few_params, flops, tmp_path)
    assert found is not None
    assert found.flops.kendall_tau == 1
    assert found.minus_flops_ci95[1] < 0
    assert "worse" in str(found)
    same = run(flops, flops, tmp_path / "same")
    assert same is not None
    assert same.minus_flops_ci95 == (0.0, 0.0)
    assert "better" not in str(same)
    assert "worse" not in str(same)


def test_too_few_say_nothing(tmp_path: Path) -> None:
    assert run(few_params, few_params, tmp_path, count=3) is None
    failing = iter(range(100))

    def often(arch: Architecture) -> float:
        if next(failing) > 2:
            raise RuntimeError("no")
        return 0.5

    assert run(often, few_params, tmp_path / "failing", count=8) is None
