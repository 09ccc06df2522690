"""The scheduler: a fixed list and the proposals of a search go through the same code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import nas.evaluation.scheduler
from nas.accuracy import Accuracy
from nas.errors import EvaluationFailed
from nas.evaluation.executor import Outcome, Task
from nas.evaluation.leases import TAKEOVERS, Claims
from nas.evaluation.objective import Objective
from nas.evaluation.scheduler import FAILURES_IN_A_ROW, FailureStreak, Scheduler
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.source import FixedList, Planned, TaskSource
from nas.evaluation.study import Changes, Study
from nas.evaluation.study_row import Param, StudyRow
from nas.networks.architecture import efficientnet_b0
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_space
from nas.strategies.proposals import Proposals
from nas.strategies.proposer import Proposer
from nas.strategies.samplers import make_sampler
from tests.support.clock import Clock, stopped_clock

TINY = load_space("tiny")
LOOSE = parse_budget("100M-flops")
B0 = efficientnet_b0()
TOTAL = 10

KINDS = ("list", "search")


class Killed(BaseException):
    """The driver is killed."""


@dataclass
class Toy:
    """An engine whose tasks end in an order of its own: the newest first.

    Attributes:
        slots: at a time.
        failing: numbers of tasks that fail.
        kill: ends the driver when so many tasks have begun.
        begun: numbers of tasks, in the order in which they began.
    """

    slots: int = 1
    failing: frozenset[int] | range = frozenset()
    kill: int | None = None
    pause: float = 0.0
    begun: list[int] = field(default_factory=list)
    running: list[Task] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def submit(self, task: Task) -> None:
        assert len(self.running) < self.slots
        self.begun.append(task.number)
        self.keys.append(f"{task.number} {task.architecture.key()}")
        self.running.append(task)

    def next(self) -> Outcome:
        if self.kill is not None and len(self.begun) >= self.kill:
            raise Killed
        time.sleep(self.pause)
        task = self.running.pop()
        if task.number in self.failing:
            return Outcome(task.number, None, (), False, f"ValueError: {task.number}", 0.0)
        return Outcome(task.number, Accuracy(0.5, 0.0), (), False, "", 0.0)

    def close(self) -> None:
        self.running.clear()


def planned(number: int) -> Planned:
    return Planned(Task(number, replace(B0, resolution=32 + number), seed=number), str(number))


def source_of(kind: str, study: Study, slots: int = 1, total: int = TOTAL) -> TaskSource:
    if kind == "list":
        return FixedList(map(planned, range(total)), Objective())
    return Proposals(
        TINY,
        Proposer(TINY, LOOSE, make_sampler("random"), 0),
        Objective(),
        study.rows(),
        total=total,
        lag=1 if slots == 1 else 2 * slots,
        seed=0,
    )


def open_study(kind: str, location: Path | str, owner: str | None = None) -> Study:
    return Study(location, kind, {} if kind == "list" else TINY.choices, owner=owner)


def run(kind: str, location: Path | str, engine: Toy, **more: Any) -> dict[int, StudyRow]:
    """Evaluate all that is not evaluated yet; return the study's rows."""
    with open_study(kind, location, more.pop("owner", None)) as study:
        source = source_of(kind, study, engine.slots)
        scheduler = Scheduler(source, study, engine, **more)
        scheduler.run()
        assert not scheduler.exhausted
        return study.rows()


# --- order and resuming -------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_all_are_evaluated_once_in_their_order(kind: str, slots: int, tmp_path: Path) -> None:
    engine = Toy(slots)
    rows = run(kind, tmp_path, engine)
    assert engine.begun == list(range(TOTAL))
    assert sorted(rows) == list(range(TOTAL))
    assert {(row.state, row.value) for row in rows.values()} == {("finished", 0.5)}
    again = Toy(slots)
    assert run(kind, tmp_path, again) == rows
    assert again.begun == []


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_anywhere_and_resumed_is_the_same(kind: str, slots: int, tmp_path: Path) -> None:
    whole = Toy(slots)
    run(kind, tmp_path / "whole", whole)
    for after in (1, 4, TOTAL):
        place = tmp_path / str(after)
        with pytest.raises(Killed):
            run(kind, place, Toy(slots, kill=after))
        done = set(open_study(kind, place).rows())
        engine = Toy(slots)
        rows = run(kind, place, engine)
        assert sorted(rows) == list(range(TOTAL))
        assert engine.begun == [n for n in range(TOTAL) if n not in done]
        # Each number is the same network as in the run that nothing interrupted.
        assert set(engine.keys) <= set(whole.keys)


def test_what_failed_is_in_the_study_with_its_reason(tmp_path: Path) -> None:
    rows = run("list", tmp_path, Toy(failing=frozenset({2})))
    assert (rows[2].state, rows[2].value) == ("failed", None)
    assert rows[2].attrs["reason"] == "ValueError: 2"
    assert rows[1].attrs["reason"] == ""


class Recorded:
    """A source of three evaluations that writes down what it is asked and told."""

    numbers = (7, 3, 5)

    def __init__(self, lag: int | None) -> None:
        self.lag = lag
        self.events: list[str] = []
        self.excluded: list[str] = []

    def plan(self, number: int) -> Planned | None:
        self.events.append(f"plan {number}")
        return planned(number)

    def restore(self, number: int, params: Mapping[str, Param]) -> Planned:
        return planned(number)

    def score(self, one: Planned, accuracy: Accuracy) -> float:
        return accuracy.mean

    def exclude(self, key: str) -> None:
        self.excluded.append(key)

    def add(self, row: StudyRow) -> None:
        self.events.append(f"add {row.number}")

    def learn(self, row: StudyRow) -> None:
        self.events.append(f"learn {row.number}")


def test_the_source_learns_in_its_own_order_before_it_plans(tmp_path: Path) -> None:
    def events(lag: int | None, slots: int) -> list[str]:
        source = Recorded(lag)
        study = Study(tmp_path / f"{lag} {slots}", "recorded", {})
        Scheduler(source, study, Toy(slots)).run()
        return source.events

    # One after the other: each is learned before the next is planned.
    in_turn = [f"{event} {n}" for n in (7, 3, 5) for event in ("plan", "add", "learn")]
    assert events(1, 2) == events(1, 1) == in_turn
    # With a lag of 2 two may run; the newest ends first, and the third waits for the first.
    assert events(2, 2) == [
        *("plan 7", "plan 3", "add 3", "add 7", "learn 7"),
        *("plan 5", "add 5", "learn 3", "learn 5"),
    ]
    # Without a lag the third waits for room alone.
    assert events(None, 2) == [
        *("plan 7", "plan 3", "add 3", "plan 5", "add 5", "add 7", "learn 7", "learn 3", "learn 5"),
    ]


def test_a_source_that_has_no_more_ends_the_run(tmp_path: Path) -> None:
    class Short(Recorded):
        def plan(self, number: int) -> Planned | None:
            return None if number == 3 else super().plan(number)

    study = Study(tmp_path, "short", {})
    scheduler = Scheduler(Short(1), study, Toy())
    scheduler.run()
    assert scheduler.exhausted
    assert not scheduler.out_of_time
    assert list(study.rows()) == [7]


# --- the deadline -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_begins_after_the_deadline(kind: str, tmp_path: Path) -> None:
    with open_study(kind, tmp_path) as study:
        late = Scheduler(source_of(kind, study), study, Toy(), deadline=time.monotonic())
        late.run()
        assert late.out_of_time
        assert study.rows() == {}
    run(kind, tmp_path, Toy())
    with open_study(kind, tmp_path) as study:
        done = Scheduler(source_of(kind, study), study, Toy(), deadline=time.monotonic())
        done.run()
        assert not done.out_of_time  # there was nothing left to begin


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stopped_clock(monkeypatch)


def test_what_would_end_after_the_deadline_does_not_begin(tmp_path: Path, clock: Clock) -> None:
    class Slow(Toy):
        """Each task takes ten seconds."""

        def next(self) -> Outcome:
            clock.sleep(10)
            return replace(super().next(), seconds=10.0)

    with open_study("list", tmp_path) as study:
        scheduler = Scheduler(source_of("list", study), study, Slow(), deadline=35)
        scheduler.run()
    assert scheduler.out_of_time
    assert sorted(study.rows()) == [0, 1, 2]


# --- failures in a row --------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_failures_in_a_row_end_a_run_that_can_be_resumed(
    kind: str, slots: int, tmp_path: Path
) -> None:
    broken = Toy(slots, failing=range(2, TOTAL))
    with pytest.raises(EvaluationFailed, match=r"^6 evaluations in a row failed, .*ValueError: 7$"):
        run(kind, tmp_path, broken)
    assert len(broken.begun) < TOTAL or slots > 1
    rows = run(kind, tmp_path, Toy(slots))
    assert sorted(rows) == list(range(TOTAL))


@pytest.mark.parametrize("kind", KINDS)
def test_failures_are_counted_across_a_kill(kind: str, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(kind, tmp_path, Toy(failing=range(TOTAL), kill=5))
    engine = Toy(failing=range(TOTAL))
    with pytest.raises(EvaluationFailed):
        run(kind, tmp_path, engine)
    assert engine.begun == [4, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_failures_and_those_of_a_tolerant_run_do_not_end_it(
    kind: str, tmp_path: Path
) -> None:
    few = Toy(failing=frozenset(range(TOTAL)) - {5})
    assert len(run(kind, tmp_path / "few", few)) == TOTAL
    all_fail = Toy(failing=range(TOTAL))
    rows = run(kind, tmp_path / "all", all_fail, failures=FailureStreak(tolerant=True))
    assert {row.state for row in rows.values()} == {"failed"}
    assert len(rows) == TOTAL


def failed(number: int) -> StudyRow:
    return StudyRow(number, {}, "failed", None, (), {"reason": "broken"})


def test_a_row_counts_once_and_an_earlier_sessions_does_not_end_this_one() -> None:
    streak = FailureStreak(range(FAILURES_IN_A_ROW + 1))
    for number in range(2 * FAILURES_IN_A_ROW - 1):
        streak.add(failed(number))
        streak.add(failed(number))
    with pytest.raises(EvaluationFailed, match="broken"):
        streak.add(failed(2 * FAILURES_IN_A_ROW))


def test_failures_count_over_the_rounds_of_seeded_runs(tmp_path: Path) -> None:
    def rounds(engine: Toy, folder: Path, **more: Any) -> Iterator[bool]:
        networks = [replace(B0, resolution=32 + number) for number in range(4)]
        runs = SeededRuns(
            networks,
            Study(folder, "rounds", {}),
            engine,
            Objective(),
            seed=0,
            purpose="test",
            **more,
        )
        for turn in range(3):
            yield runs.run(turn, range(4))

    broken = Toy(failing=range(12))
    with pytest.raises(EvaluationFailed, match="ValueError: 5"):
        list(rounds(broken, tmp_path))
    assert broken.begun == [0, 1, 2, 3, 4, 5]
    # What was wrong is repaired; what failed stays as it is.
    repaired = Toy()
    assert list(rounds(repaired, tmp_path)) == [True] * 3
    assert repaired.begun == list(range(6, 12))
    assert list(rounds(Toy(failing=range(12)), tmp_path / "partial", tolerant=True)) == [True] * 3


# --- several drivers ----------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def together(*drivers: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=driver) for driver in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_two_drivers_share_the_evaluations(kind: str, url: str) -> None:
    engines = Toy(pause=0.05), Toy(slots=2, pause=0.05)
    found: list[Mapping[int, StudyRow]] = []
    together(
        lambda: found.append(run(kind, url, engines[0], owner="one")),
        lambda: found.append(run(kind, url, engines[1], owner="two")),
    )
    assert len(found) == 2
    assert found[0] == found[1]
    assert sorted(found[0]) == list(range(TOTAL))
    assert sorted(engines[0].begun + engines[1].begun) == list(range(TOTAL))


def die(claims: Claims) -> None:
    """Leave what a killed driver leaves, when its claims have expired."""
    for number in claims._held:
        claims._change(claims._of(number), expires=1.0)
    claims._held.clear()
    claims._finished.clear()


def killed_with(kind: str, url: str, owner: str, engine: Toy) -> None:
    """Let a driver be killed when its engine says so."""
    with open_study(kind, url, owner) as study:
        scheduler = Scheduler(source_of(kind, study, engine.slots), study, engine)
        with pytest.raises(Killed):
            scheduler.run()
        assert study._claims is not None
        die(study._claims)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_dead_driver_left_is_done_as_it_stood(kind: str, url: str) -> None:
    dead = Toy(slots=2, kill=4)
    killed_with(kind, url, "dead", dead)
    with open_study(kind, url) as study:
        left = set(dead.begun) - set(study.rows())
    assert left
    engine = Toy()
    rows = run(kind, url, engine, owner="other")
    assert sorted(rows) == list(range(TOTAL))
    assert sorted(engine.begun) == sorted(set(range(TOTAL)) - (set(dead.begun) - left))
    assert {key for key in dead.keys if int(key.split()[0]) in left} <= set(engine.keys)


@pytest.mark.parametrize("kind", KINDS)
def test_what_kills_its_drivers_is_given_up(kind: str, url: str) -> None:
    for death in range(TAKEOVERS):
        killed_with(kind, url, str(death), Toy(kill=1))
    engine = Toy()
    rows = run(kind, url, engine, owner="last")
    assert sorted(rows) == list(range(TOTAL))
    assert rows[0].state == "failed"
    assert f"{TAKEOVERS} drivers died" in rows[0].attrs["reason"]
    assert engine.begun == list(range(1, TOTAL))


@pytest.mark.parametrize("kind", KINDS)
def test_a_driver_that_comes_again_goes_on_with_what_it_had_begun(kind: str, url: str) -> None:
    first = Toy(slots=2, kill=2)
    killed_with(kind, url, "one", first)
    again = Toy(slots=2)
    rows = run(kind, url, again, owner="one")
    assert sorted(rows) == list(range(TOTAL))
    assert again.keys[:2] == first.keys  # at once, as they stood


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_driver_took_over_is_not_written_twice(
    kind: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this driver's machine had slept during an evaluation."""
    monkeypatch.setattr(nas.evaluation.scheduler, "POLL", 0.05)
    other = Toy()

    class Sleeps(Toy):
        def next(self) -> Outcome:
            if self.begun == [0]:
                assert study._claims is not None
                study._claims._change(study._claims._of(0), expires=1.0)
                study._claims._renewed -= 10_000
                run(kind, url, other, owner="other")
            return super().next()

    sleeper = Sleeps()
    with open_study(kind, url, "one") as study:
        Scheduler(source_of(kind, study), study, sleeper).run()
        rows = study.rows()
    assert sorted(rows) == list(range(TOTAL))
    assert sleeper.begun == [0]
    assert sorted(other.begun) == list(range(TOTAL))


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline_ends_the_wait_for_other_drivers(kind: str, url: str, clock: Clock) -> None:
    with open_study(kind, url, "other") as theirs, open_study(kind, url, "one") as study:
        for number in range(TOTAL):
            assert theirs.claim(number, str(number), {}) == "ours"
        engine = Toy()
        scheduler = Scheduler(source_of(kind, study), study, engine, deadline=5.0)
        scheduler.run()
    assert scheduler.out_of_time
    assert engine.begun == []
    assert clock.now > 5.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim_that_expires_later_is_taken_over_then(kind: str, url: str) -> None:
    dead = Toy(kill=1)
    with open_study(kind, url, "dead") as theirs:
        with pytest.raises(Killed):
            Scheduler(source_of(kind, theirs), theirs, dead).run()

        class Later(Toy):
            """Its fourth task ends when the dead driver's claim has expired."""

            def next(self) -> Outcome:
                if len(self.begun) == 4:
                    assert theirs._claims is not None
                    die(theirs._claims)
                return super().next()

        engine = Later()
        rows = run(kind, url, engine, owner="other")
    assert sorted(rows) == list(range(TOTAL))
    assert engine.begun == [1, 2, 3, 4, 0, *range(5, TOTAL)]
    assert dead.keys[0] == engine.keys[4]


def test_what_another_driver_writes_late_is_learned_when_it_is_there(url: str) -> None:
    with (
        Study(url, "late", {}, owner="other") as theirs,
        Study(url, "late", {}, owner="one") as ours,
    ):
        assert theirs.claim(7, "theirs", {}) == "ours"

        class Late(Toy):
            """The other driver writes its row while the second task runs."""

            def next(self) -> Outcome:
                if self.begun == [3, 5]:
                    theirs.add(StudyRow(7, {}, "finished", 0.5, (), {}))
                return super().next()

        source = Recorded(1)
        Scheduler(source, ours, Late()).run()
    assert source.events == [
        *("plan 3", "add 3", "learn 3"),
        *("plan 5", "add 5", "add 7", "learn 7", "learn 5"),
    ]
    assert list(dict.fromkeys(source.excluded)) == ["theirs", "3", "5"]


def test_what_another_driver_has_just_begun_is_not_begun(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.evaluation.scheduler, "POLL", 0.0)
    with (
        Study(url, "race", {}, owner="other") as theirs,
        Study(url, "race", {}, owner="one") as ours,
    ):

        class Slow(Recorded):
            """While it plans, the other driver claims: a number, and then a network."""

            def plan(self, number: int) -> Planned | None:
                one = super().plan(number)
                assert one is not None
                if self.events.count("plan 7") == 1 and number == 7:
                    theirs.claim(7, "theirs", {})
                if number == 3 and self.events.count("plan 3") == 1:
                    theirs.claim(9, "3", {})
                    return one
                return replace(one, key=f"another {number}") if number == 3 else one

            def add(self, row: StudyRow) -> None:
                super().add(row)
                if row.number == 5:  # the last that is not with the other driver
                    theirs.add(StudyRow(7, {}, "finished", 0.5, (), {}))

        source, engine = Slow(None), Toy()
        Scheduler(source, ours, engine).run()
        rows = ours.rows()
    assert engine.begun == [3, 5]
    assert sorted(rows) == [3, 5, 7]
    # A number that is taken says nothing of the network that was proposed for it.
    assert "7" not in source.excluded
    assert source.events.count("plan 3") == 2
    assert {"theirs", "3", "another 3"} <= set(source.excluded)


class TakenOver(Study):
    """A study in which another driver has written evaluation 2 before this one could."""

    def add(self, row: StudyRow) -> bool:
        written = super().add(row)
        if row.number != 2:
            return written
        self.theirs = (row,)
        return False

    def refresh(self, room: int) -> Changes:
        changes = super().refresh(room)
        theirs, self.theirs = getattr(self, "theirs", ()), ()
        return replace(changes, rows=(*changes.rows, *theirs))


def test_each_row_is_told_once_whoever_has_written_it(tmp_path: Path) -> None:
    study = TakenOver(tmp_path, "toy", {})
    told: list[int] = []
    source = FixedList(
        map(planned, range(5)), Objective(), on_row=lambda row: told.append(row.number)
    )
    Scheduler(source, study, Toy()).run()
    assert sorted(told) == list(range(5))
