"""Networks trained alike: who wins, and what is said of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from nas.accuracy import Accuracy
from nas.errors import Interrupted
from nas.evaluation.local import InProcess
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.study import Study
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.proxies.protocol import Report
from nas.records.comparison_document import ComparedEntry
from nas.seeding import derived_rng
from nas.strategies.comparison import SeededComparison, compare_networks
from nas.testing import ToyProxy

B0 = efficientnet_b0()
NETWORKS = [replace(B0, name=name, resolution=224 + 8 * i) for i, name in enumerate("abcd")]
TRUTH = {"a": 0.70, "b": 0.71, "c": 0.60, "d": 0.5}


class Toy(ToyProxy):
    """Knows the truth but for what a seed does to all networks, and for noise of their own."""

    def __init__(self, noise: float = 0.002, fails: frozenset[tuple[str, int]] = frozenset()):
        super().__init__(self.measured, fault=self.break_down)
        self.noise = noise
        self.fails = fails

    def measured(self, arch: Architecture, seed: int) -> float:
        luck = random.Random(seed).gauss(0, 0.05)
        own = derived_rng(seed, arch.name).gauss(0, self.noise)
        return min(1.0, TRUTH[arch.name] + luck + own)

    def break_down(self, arch: Architecture, seed: int) -> None:
        calls = zip(self.evaluated, self.seeds, strict=True)
        earlier = {other for network, other in calls if network.name == arch.name} - {seed}
        if (arch.name, len(earlier)) in self.fails:
            raise RuntimeError("out of memory")


def play(
    proxy: Toy, folder: Path, seeds: int = 3, deadline: float | None = None
) -> SeededComparison:
    study = Study(folder, "comparison", {})
    rounds = SeededRuns(
        NETWORKS,
        study,
        InProcess(proxy),
        Objective("accuracy"),
        seed=0,
        purpose="compare",
        deadline=deadline,
        total=seeds * len(NETWORKS),
    )
    return compare_networks(rounds, seeds)


def test_the_better_wins_and_real_differences_are_told_from_noise(tmp_path: Path) -> None:
    result = play(Toy(), tmp_path)
    assert result.best(range(4)) == 1
    assert result.best((0, 2)) == 0
    assert result.best(()) is None
    far, near = result.difference(1, 3), result.difference(1, 0)
    assert far is not None
    assert near is not None
    assert far.real
    assert far.mean == pytest.approx(0.21, abs=0.01)
    assert near.half_width is not None
    # The seeds' luck of five points is common to all, and not in the interval.
    assert near.half_width < 0.02
    noisy = play(Toy(noise=0.03), tmp_path / "noisy")
    unsure = noisy.difference(1, 0)
    assert unsure is not None
    assert not unsure.real


class Level(Toy):
    """Finds all networks equally accurate."""

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        return Accuracy(0.5, 0.0, seeds=(seed,))


def test_ties_go_to_fewer_flops_then_to_the_earlier(tmp_path: Path) -> None:
    networks = [
        replace(B0, name="dear", resolution=256),
        replace(B0, name="cheaper", resolution=232),
        replace(B0, name="cheapest"),
        replace(B0, name="as cheap"),
    ]
    runs = SeededRuns(
        networks, Study(tmp_path, "ties", {}), InProcess(Level()), Objective(),
        seed=0, purpose="compare",
    )  # fmt: skip
    result = compare_networks(runs, 2)
    assert list(result.scores.means) == pytest.approx([0.5] * 4, abs=1e-12)
    assert result.best(range(4)) == 2
    assert result.best((3, 0, 1)) == 3
    assert result.best((0, 1)) == 1


def test_all_have_the_same_seeds_and_a_resumed_comparison_repeats_none(tmp_path: Path) -> None:
    first = Toy()
    play(first, tmp_path, seeds=1)
    second = Toy()
    result = play(second, tmp_path)
    both = first.evaluated + second.evaluated
    calls = [(a.name, s) for a, s in zip(both, first.seeds + second.seeds, strict=True)]
    assert len(calls) == len(set(calls)) == 12
    seeds = {frozenset(seed for other, seed in calls if other == name) for name in "abcd"}
    assert len(seeds) == 1
    assert result == play(Toy(), tmp_path)


def test_who_fails_is_recorded_and_does_not_win(tmp_path: Path) -> None:
    result = play(Toy(fails=frozenset({("b", 1)})), tmp_path)
    assert result.best(range(4)) == 0
    assert "out of memory" in result.networks[1].reason
    assert result.networks[1].accuracy is not None
    assert result.networks[1].accuracy.n == 2
    never = play(Toy(fails=frozenset({("b", t) for t in range(9)} | {("b", 0)})), tmp_path / "n")
    assert never.networks[1].accuracy is None
    assert never.difference(1, 0) is None


class Ends(Toy):
    """The time is over after so many evaluations."""

    def __init__(self, after: int, **more: Any) -> None:
        super().__init__(**more)
        self.after = after

    def break_down(self, arch: Architecture, seed: int) -> None:
        if len(self.evaluated) > self.after:
            raise Interrupted("the time is over")
        super().break_down(arch, seed)


def cut_off(folder: Path, after: int, **more: Any) -> SeededComparison:
    """A comparison whose time ended after so many evaluations."""
    with pytest.raises(Interrupted):
        play(Ends(after, **more), folder)
    return play(Toy(), folder, deadline=0.0)


def test_a_round_that_was_cut_off_does_not_decide_by_position(tmp_path: Path) -> None:
    for after in range(4, 13):
        result = cut_off(tmp_path / str(after), after) if after < 12 else play(Toy(), tmp_path)
        assert result.best(range(4)) == 1, after
    # c alone, whose place is third, would have had the second seed's luck.
    assert [len(row.accuracy.seeds) for row in cut_off(tmp_path / "x", 5).networks if row.accuracy]\
        == [2, 1, 1, 1]  # fmt: skip
    assert cut_off(tmp_path / "first", 1).best(range(4)) == 0  # all that there is


def test_who_fails_in_a_round_that_was_cut_off_does_not_win(tmp_path: Path) -> None:
    result = cut_off(tmp_path, 6, fails=frozenset({("b", 1)}))
    assert result.networks[1].reason
    assert result.best(range(4)) == 0
    assert result.best((1, 2)) == 2
    assert result.best((1,)) == 1


def test_without_time_nothing_is_measured(tmp_path: Path) -> None:
    result = play(Toy(), tmp_path, deadline=0.0)
    assert result.best(range(4)) is None
    assert [network.accuracy for network in result.networks] == [None] * 4


def test_it_is_plain_data(tmp_path: Path) -> None:
    data = json.loads(json.dumps(play(Toy(), tmp_path).to_dict(against=2), allow_nan=False))
    assert data["against"] == "c"
    assert [entry["name"] for entry in data["entries"]] == list("abcd")
    assert data["entries"][2]["difference"] is None
    low, high = data["entries"][1]["difference"]["ci95"]
    assert low < 0.11 < high
    one = play(Toy(), tmp_path / "one", seeds=1).to_dict(against=2)
    assert one["entries"][1]["difference"]["ci95"] is None
    assert one["entries"][1]["difference"]["real"] is False


def test_the_same_follows_from_what_is_written(tmp_path: Path) -> None:
    result = play(Toy(fails=frozenset({("b", 1)})), tmp_path)
    data = json.loads(json.dumps(result.to_dict(against=2)))
    entries = TypeAdapter(tuple[ComparedEntry, ...]).validate_python(data["entries"])
    assert [len(entry.runs) for entry in entries] == [3] * 4
    assert [run.score is None for run in entries[1].runs] == [False, True, False]
    again = SeededComparison.of([entry.measured for entry in entries])
    assert again.to_dict(against=2) == result.to_dict(against=2)
