"""The grid of coefficients, with toy proxies: nothing is trained here."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.accuracy import Accuracy
from nas.errors import EvaluationFailed
from nas.evaluation.executor import Outcome, Task
from nas.evaluation.local import InProcess
from nas.evaluation.objective import Objective
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import PAPER, Coefficients, scale
from nas.networks.scaled_family import family
from nas.proxies.protocol import Report
from nas.strategies.scaling_candidates import (
    ScalingCandidate,
    candidates,
    imbalance,
    make_point,
    reference_point,
    spread,
)
from nas.strategies.scaling_grid import grid_search
from nas.testing import ToyProxy
from tests.support.clock import stopped_clock

RANGES = {"alpha": (1.0, 4.0), "beta": (1.0, 4.0), "gamma": (1.0, 4.0)}
B0 = nas.load_architecture("efficientnet-b0")


def as_it_is(architecture: Architecture) -> Architecture:
    return architecture


def small(architecture: Architecture) -> Architecture:
    """Half width at 64 px for 224, as the grid's proxy trains."""
    pixels = max(2, round(architecture.resolution * 64 / 224 / 2) * 2)
    return scale(architecture, width=0.5, resolution=pixels)


@cache
def all_points() -> tuple[ScalingCandidate, ...]:
    return tuple(candidates(B0, view=small, image_resolution=32))


@cache
def spread_points() -> tuple[ScalingCandidate, ...]:
    return tuple(spread(all_points(), 12))


@cache
def reference() -> ScalingCandidate:
    return reference_point(B0, view=small, image_resolution=32)


class OnPoints(ToyProxy):
    """Accuracy by the point's network, with noise of its own by seed."""

    def __init__(
        self, points: Sequence[ScalingCandidate], means: Callable[[int], float], noise: float = 0.0
    ) -> None:
        super().__init__(self.measured, fault=self.curse, standard_error=0.01)
        self.order = [point.architecture.key() for point in points]
        self.means, self.noise = means, noise
        self.die_after: int | None = None
        self.failing: set[int] = set()

    @property
    def calls(self) -> list[tuple[int, int]]:
        """The points and seeds of all evaluations."""
        return list(zip(map(self.index, self.evaluated), self.seeds, strict=True))

    def index(self, arch: Architecture) -> int:
        """Which point it is; -1: none, so it is the reference."""
        key = arch.key()
        return self.order.index(key) if key in self.order else -1

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        if self.die_after is not None and len(self.evaluated) >= self.die_after:
            raise KeyboardInterrupt
        return super().evaluate(arch, seed=seed, report=report)

    def measured(self, arch: Architecture, seed: int) -> float:
        noise = random.Random(f"{arch.key()}{seed}").gauss(0, self.noise)
        return min(1, max(0, self.means(self.index(arch)) + noise))

    def curse(self, arch: Architecture, seed: int) -> None:
        if self.index(arch) in self.failing:
            raise RuntimeError(f"point {self.index(arch)} is cursed")


def search_grid(
    proxy: OnPoints,
    folder: Path | str,
    points: Sequence[ScalingCandidate] | None = None,
    deadline: float | None = None,
    ref: ScalingCandidate | None = None,
    on_evaluation: Callable[[int, int], None] | None = None,
    tolerant: bool = False,
) -> Any:
    return grid_search(
        B0,
        spread_points() if points is None else points,
        ref or reference(),
        Study(folder, "grid", {}, RANGES),
        InProcess(proxy),
        Objective("accuracy"),
        seed=0,
        deadline=deadline,
        tolerant=tolerant,
        on_evaluation=on_evaluation,
    )


def test_candidates_cost_twice_the_baseline_and_are_distinct_to_the_proxy() -> None:
    base = nas.measure_cost(B0).flops
    points = all_points()
    assert len(points) > 50
    for point in points:
        assert point.flops == nas.measure_cost(point.architecture).flops
        assert 1.9 <= point.flops / base <= 2.1
        assert point.ratio == point.flops / base
        assert point.proxy_flops == nas.measure_cost(small(point.architecture)).flops
        assert point.eligible
        assert point.architecture == replace(
            nas.compound(B0, point.coefficients, 1), name=point.architecture.name
        )
    assert len({small(point.architecture).key() for point in points}) == len(points)
    alone = candidates(B0)
    assert len(alone) > len(points)  # those that half width cannot tell apart are gone


def test_the_family_of_every_candidate_grows() -> None:
    for point in spread_points():
        costs = [nas.measure_cost(member) for member in family(B0, point.coefficients)]
        assert all(a.flops < b.flops and a.params < b.params for a, b in pairwise(costs))


def test_the_nominal_option_constrains_the_product() -> None:
    points = candidates(B0, nominal=True)
    assert all(abs(point.coefficients.product / 2 - 1) <= 0.05 for point in points)
    assert min(point.ratio for point in points) < 1.95
    assert max(point.ratio for point in points) > 2.5


def test_the_paper_s_coefficients_are_a_reference_that_b0_cannot_choose() -> None:
    point = reference()
    assert point.coefficients == PAPER
    assert point.ratio == pytest.approx(2.57, abs=0.01)
    assert not point.eligible
    deep = replace(B0, stages=tuple(replace(stage, layers=5) for stage in B0.stages))
    other = reference_point(scale(deep, resolution=160), view=as_it_is, image_resolution=None)
    assert other.ratio == pytest.approx(1.97, abs=0.01)
    assert other.eligible


def test_only_enlarges_is_said_of_small_images() -> None:
    steps = Coefficients(1.2, 1.1, 1.15)
    assert make_point(B0, steps, view=small, image_resolution=32).only_enlarges
    assert not make_point(B0, steps, view=small, image_resolution=256).only_enlarges
    assert not make_point(B0, steps, view=small).only_enlarges
    flat = Coefficients(1.5, 1.2, 1.0)
    assert not make_point(B0, flat, view=small, image_resolution=32).only_enlarges


def test_the_spread_shares_the_growth_out_in_different_ways() -> None:
    points = spread_points()
    assert len(points) == 12
    assert len({point.architecture.key() for point in points}) == 12
    assert set(points) <= set(all_points())
    assert {point.proxy_ratio < 2.3 for point in points} == {True}
    alphas = [p.coefficients.alpha for p in points]
    betas = [p.coefficients.beta for p in points]
    gammas = [p.coefficients.gamma for p in points]
    for values, least in ((alphas, 0.5), (betas, 0.2), (gammas, 0.2)):
        assert max(values) - min(values) >= least
        assert len(set(values)) >= 4
    assert spread(points, 12) == list(points)
    assert spread(points[:5], 12) == list(points[:5])
    assert spread([], 12) == []


def test_the_better_half_gets_more_seeds_and_the_best_is_chosen(tmp_path: Path) -> None:
    points = spread_points()
    proxy = OnPoints(points, lambda i: 0.5 + 0.02 * i, noise=0.001)
    told: list[tuple[int, int]] = []
    result = search_grid(
        proxy, tmp_path, on_evaluation=lambda done, total: told.append((done, total))
    )
    seeds = Counter(index for index, _ in proxy.calls)
    assert [seeds[i] for i in range(12)] == [1] * 5 + [2] * 3 + [3] * 4
    assert seeds[-1] == 3  # the reference stays, whatever its rank
    assert result.chosen.point == points[11]
    assert result.tied == ()
    assert result.noise is not None
    assert result.noise == pytest.approx(0.001, rel=1)
    assert result.reference.point.coefficients == PAPER
    assert result.reference.accuracy is not None
    assert [p.score for p in result.points] == sorted(
        (p.score or 0 for p in result.points), reverse=True
    )
    assert len(set(proxy.calls)) == len(proxy.calls) == len(told)
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert result.chosen.accuracy is not None
    assert result.chosen.accuracy.n == 3
    by_turn = {seed for index, seed in proxy.calls if index == 11}
    assert by_turn == {seed for index, seed in proxy.calls if index == -1}  # the same seeds for all


def test_ties_are_named(tmp_path: Path) -> None:
    points = spread_points()
    # Three alike at the top, the others far below.
    proxy = OnPoints(points, lambda i: 0.8 if i in (2, 5, 7) else 0.3, noise=0.01)
    result = search_grid(proxy, tmp_path)
    best = {points[i].architecture.key() for i in (2, 5, 7)}
    named = {e.point.architecture.key() for e in (result.chosen, *result.tied)}
    assert named == best
    assert result.chosen not in result.tied
    assert result.best is result.points[0]
    # Measurements decide nothing between these three: growing evenly does.
    assert result.chosen.point == min((points[i] for i in (2, 5, 7)), key=imbalance)


def test_the_reference_is_never_chosen_over_the_budget(tmp_path: Path) -> None:
    proxy = OnPoints(spread_points(), lambda i: 0.9 if i == -1 else 0.5)
    result = search_grid(proxy, tmp_path)
    assert result.points[0].point.coefficients == PAPER
    assert not result.points[0].point.eligible
    assert result.chosen.point.eligible
    assert all(e.point.eligible for e in result.tied)


def test_a_reference_among_the_points_is_evaluated_once(tmp_path: Path) -> None:
    points = list(spread_points())
    ref = replace(points[3], coefficients=PAPER)
    proxy = OnPoints(points, lambda i: 0.5 + 0.01 * i)
    result = search_grid(proxy, tmp_path, points, ref=ref)
    assert len(result.points) == 12
    assert result.reference.point.coefficients == PAPER
    assert result.reference.score == pytest.approx(0.53)
    assert len(set(proxy.calls)) == len(proxy.calls)


@pytest.mark.parametrize("killed_after", [0, 1, 7, 13, 16, 22])
def test_a_killed_grid_evaluates_nothing_twice(tmp_path: Path, killed_after: int) -> None:
    points = spread_points()

    def means(i: int) -> float:
        return 0.5 + 0.02 * ((i * 5) % 12)

    whole = OnPoints(points, means, noise=0.03)
    expected = search_grid(whole, tmp_path / "whole")
    killed = OnPoints(points, means, noise=0.03)
    killed.die_after = killed_after
    with pytest.raises(KeyboardInterrupt):
        search_grid(killed, tmp_path / "killed")
    killed.die_after = None
    result = search_grid(killed, tmp_path / "killed")
    assert killed.calls == whole.calls
    assert result.to_dict() == expected.to_dict()
    assert search_grid(killed, tmp_path / "killed").to_dict() == expected.to_dict()
    assert len(killed.calls) == len(whole.calls)


@pytest.mark.parametrize("wave", range(4))
def test_a_finished_grid_evaluates_nothing_more_whatever_later_rounds_said(
    tmp_path: Path, wave: int
) -> None:
    proxy = OnPoints(spread_points(), lambda i: 0.5 + 0.001 * ((i * (wave + 3)) % 12), noise=0.2)
    expected = search_grid(proxy, tmp_path).to_dict()
    calls = list(proxy.calls)
    assert search_grid(proxy, tmp_path).to_dict() == expected
    assert proxy.calls == calls


def test_failing_points_are_recorded_and_not_chosen(tmp_path: Path) -> None:
    points = spread_points()
    proxy = OnPoints(points, lambda i: 0.5 + 0.02 * i)
    proxy.failing = {11, 4}
    result = search_grid(proxy, tmp_path)
    assert result.chosen.point == points[10]
    failed = [e for e in result.points if e.score is None]
    assert {e.point for e in failed} == {points[11], points[4]}
    assert failed[0].reason == "RuntimeError: point 4 is cursed"
    assert result.points[-2:] == tuple(failed)
    assert failed[0].to_dict()["accuracy"] is None
    rows = Study(tmp_path, "grid", {}, RANGES).rows()
    assert rows[11].state == "failed"
    assert rows[11].attrs["reason"] == "RuntimeError: point 11 is cursed"
    calls = len(proxy.calls)
    search_grid(proxy, tmp_path)
    assert len(proxy.calls) == calls


def test_all_failing_is_one_line(tmp_path: Path) -> None:
    proxy = OnPoints(spread_points(), lambda i: 0.5)
    proxy.failing = {*range(-1, 12)}
    with pytest.raises(EvaluationFailed, match=r"^6 evaluations in a row failed.*point 5 is curs"):
        search_grid(proxy, tmp_path)
    # A proxy that knows only part of the networks is asked for all of them.
    with pytest.raises(EvaluationFailed, match=r"^no coefficients .*RuntimeError: point .* is cur"):
        search_grid(proxy, tmp_path, tolerant=True)


def test_out_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stopped_clock(monkeypatch)
    points = spread_points()
    proxy = OnPoints(points, lambda i: 0.5 + 0.02 * i)
    assert search_grid(proxy, tmp_path, deadline=clock.now - 1) is None
    assert proxy.calls == []

    class Slow(OnPoints):
        """Each evaluation takes ten seconds."""

        def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
            clock.sleep(10)
            return super().evaluate(arch, seed=seed, report=report)

    slow = Slow(points, lambda i: 0.5 + 0.02 * i)
    result = search_grid(slow, tmp_path, deadline=clock.now + 45)
    assert len(slow.calls) == 5
    measured = [e for e in result.points if e.score is not None]
    assert result.chosen in measured
    assert result.noise is None
    assert len(result.tied) == len(measured) - 1  # nothing is known that tells them apart
    full = search_grid(proxy, tmp_path)  # later, with time
    assert full.chosen.point == points[11]
    assert len(slow.calls) + len(proxy.calls) == len(set(slow.calls + proxy.calls))


def test_no_eligible_points_is_said() -> None:
    proxy = OnPoints([], lambda i: 0.5)
    with pytest.raises(EvaluationFailed, match="no coefficients"):
        grid_search(
            B0,
            [],
            reference(),
            None,  # type: ignore[arg-type]
            InProcess(proxy),
            Objective("accuracy"),
            seed=0,
        )


def test_several_slots_give_the_same_result(tmp_path: Path) -> None:
    class Two(InProcess):
        """Ends tasks in the other order."""

        slots = 2

        def next(self) -> Outcome:
            self._waiting.reverse()
            return super().next()

        def submit(self, task: Task) -> None:
            assert len(self._waiting) < 2
            super().submit(task)

    points = spread_points()
    results = []
    for engine in (InProcess, Two):
        results.append(
            grid_search(
                B0,
                points,
                reference(),
                Study(tmp_path / engine.__name__, "grid", {}, RANGES),
                engine(OnPoints(points, lambda i: 0.5 + 0.02 * i, noise=0.03)),
                Objective("accuracy"),
                seed=0,
            ).to_dict()
        )
    assert results[0] == results[1]


def test_what_is_written(tmp_path: Path) -> None:
    result = search_grid(OnPoints(spread_points(), lambda i: 0.5 + 0.02 * i), tmp_path).to_dict()
    assert list(result) == [
        "points", "chosen", "best", "tied", "reference", "seed_to_seed_deviation"
    ]  # fmt: skip
    assert set(result["points"][0]) >= {
        "alpha",
        "beta",
        "gamma",
        "product",
        "realised_flops",
        "ratio",
        "proxy_flops",
        "accuracy",
    }
    assert result["chosen"] in result["points"]
    assert "Tan & Le" in result["reference"]["name"]
