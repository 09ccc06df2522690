"""The scheduler: begins evaluations in their order, and writes each into a study as it ends.

What is to be evaluated comes from a source: a fixed list, or the proposals of a search. Several
drivers that share a study share the work; each ends when all of it is done.
"""

from __future__ import annotations

import logging
import time
from bisect import insort
from collections.abc import Iterable

from nas.errors import EvaluationFailed
from nas.evaluation.executor import Engine, Outcome, failed_outcome
from nas.evaluation.leases import Claim
from nas.evaluation.source import Planned, TaskSource
from nas.evaluation.study import Study
from nas.evaluation.study_row import StudyRow

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 6
"""So many failed evaluations, one after the other, end a run: no network is at fault then."""

POLL = 0.5
"""Seconds between two looks at what other drivers do, where nothing else is to be done."""


class FailureStreak:
    """Ends a run in which evaluations fail one after the other.

    Failures of earlier sessions count, but do not end this one: a run that ended so can be resumed
    when the fault is repaired, and ends again only after as many more.

    Args:
        resumed: numbers of the rows that earlier sessions have written.
        tolerant: the proxy knows only part of the space, so that failures are no fault.
    """

    def __init__(self, resumed: Iterable[int] = (), *, tolerant: bool = False) -> None:
        self._resumed = frozenset(resumed)
        self._tolerant = tolerant
        self._counted: set[int] = set()
        self._length = 0

    def add(self, row: StudyRow) -> None:
        """Count a row; each once, in the order of the evaluations.

        Raises:
            EvaluationFailed: too many in a row failed; names the last one's reason.
        """
        if row.number in self._counted:
            return
        self._counted.add(row.number)
        self._length = self._length + 1 if row.state == "failed" else 0
        if (
            self._length
            and self._length % FAILURES_IN_A_ROW == 0
            and row.number not in self._resumed
            and not self._tolerant
        ):
            raise EvaluationFailed(
                f"{FAILURES_IN_A_ROW} evaluations in a row failed, the last with: "
                f"{row.attrs.get('reason')}"
            )


class Scheduler:
    """Evaluates what a study does not have yet.

    Args:
        source: says what is evaluated.
        study: where evaluations are kept: each is written whole when it has ended.
        engine: where they run; the caller closes it.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
        failures: counts failures in a row, over several lists where they are parts of one run.

    Attributes:
        exhausted: the source has no further evaluations.
        out_of_time: the deadline came before all were done.
    """

    def __init__(
        self,
        source: TaskSource,
        study: Study,
        engine: Engine,
        deadline: float | None = None,
        failures: FailureStreak | None = None,
    ) -> None:
        self._source = source
        self._study = study
        self._engine = engine
        self._deadline = deadline
        self._done = study.rows()
        self._failures = FailureStreak(self._done) if failures is None else failures
        self._seconds = sorted(
            row.attrs.get("seconds", 0.0) for row in self._done.values() if row.state == "finished"
        )
        self._numbers = source.numbers
        self._wanted = frozenset(self._numbers)
        self._running: dict[int, Planned] = {}
        self._elsewhere: set[int] = set()  # numbers that other drivers have claimed
        self._inherited: dict[int, Claim] = {}
        self._next = 0  # place of the next to begin
        self._learned = 0  # all before this place are learned, or skipped
        self._skipped: set[int] = set()  # numbers to learn when other drivers have written them
        self.exhausted = False
        self.out_of_time = False

    def run(self) -> None:
        """Evaluate until all is done or the time is over.

        Raises:
            EvaluationFailed: too many evaluations in a row failed.
            InputError: the storage of the study cannot be used any more.
        """
        while True:
            self._refresh()
            self._begin()
            if self._running:
                outcome = self._engine.next()
                self._write(self._running.pop(outcome.number), outcome)
            elif self.out_of_time or not self._others_work():
                break
            elif self._late():
                self.out_of_time = True
            else:
                time.sleep(POLL)
        self._learn(len(self._numbers))

    def _refresh(self) -> None:
        """Take in what other drivers have done, and what they or an earlier session left."""
        changes = self._study.refresh(self._engine.slots - len(self._running))
        for row in changes.rows:
            self._take(row)
        for key in changes.elsewhere.values():
            self._source.exclude(key)
        self._elsewhere = set(changes.elsewhere)
        for claim in changes.inherited:
            self._inherited[claim.number] = claim
            if claim.number in self._wanted:
                self._next = min(self._next, self._numbers.index(claim.number))

    def _begin(self) -> None:
        """Begin as many evaluations as there is room and time for."""
        while self._next < len(self._numbers) and len(self._running) < self._engine.slots:
            number = self._numbers[self._next]
            if (
                number in self._done
                or number in self._running
                or number in self._elsewhere
                or (self.exhausted and number not in self._inherited)
            ):
                self._next += 1
                continue
            if self.out_of_time or not self._ready():
                break
            if self._late():
                self.out_of_time = True
                break
            planned = self._claimed(number)
            if planned is not None:
                logger.debug("evaluation %d proposed: %s", number, planned.task.architecture.name)
                self._running[number] = planned
                self._engine.submit(planned.task)

    def _ready(self) -> bool:
        """Return whether the next evaluation may begin: the source has learned what it must."""
        lag = self._source.lag
        if lag is None:
            self._learn(self._next)
            return True
        return self._learn(self._next - lag + 1) or self.exhausted

    def _claimed(self, number: int) -> Planned | None:
        """Return what an evaluation is to be, claimed by this driver; None: it is not for us."""
        claim = self._inherited.pop(number, None)
        if claim is not None:
            planned = self._source.restore(number, claim.params)
            self._source.exclude(planned.key)
            if not claim.reason_to_give_up:
                return planned
            self._write(planned, failed_outcome(planned.task, claim.reason_to_give_up))
            return None
        while (proposed := self._source.plan(number)) is not None:
            answer = self._study.claim(number, proposed.key, proposed.params)
            if answer == "number":
                self._elsewhere.add(number)
                return None
            self._source.exclude(proposed.key)
            if answer == "ours":
                return proposed
        self.exhausted = True
        return None

    def _write(self, planned: Planned, outcome: Outcome) -> None:
        """Write what came of an evaluation, unless another driver has taken it over."""
        accuracy = outcome.accuracy
        score = None if accuracy is None else self._source.score(planned, accuracy)
        row = row_of(planned, outcome, score)
        if row.state == "failed":
            logger.warning("evaluation %d failed: %s", row.number, outcome.error)
        else:
            logger.info(
                "evaluation %d %s in %.3g s, score %s",
                row.number,
                row.state,
                outcome.seconds,
                score,
            )
        if self._study.add(row):
            self._take(row)
        else:
            self._elsewhere.add(row.number)

    def _take(self, row: StudyRow) -> None:
        """Take in a row that is on disk, whoever has written it."""
        self._done[row.number] = row
        if row.state == "finished":
            insort(self._seconds, row.attrs.get("seconds", 0.0))
        self._source.add(row)
        if row.number in self._skipped:
            self._skipped.discard(row.number)
            self._learn_row(row)

    def _learn(self, end: int) -> bool:
        """Let the source learn what is before a place; False where one of these is running."""
        for place in range(self._learned, end):
            number = self._numbers[place]
            if number in self._done:
                self._learn_row(self._done[number])
            elif number in self._elsewhere:
                self._skipped.add(number)
            else:
                return False
            self._learned = place + 1
        return True

    def _learn_row(self, row: StudyRow) -> None:
        self._source.learn(row)
        self._failures.add(row)

    def _others_work(self) -> bool:
        """Return whether other drivers, alive or dead, have what is not done yet."""
        return any(n in self._wanted and n not in self._done for n in self._elsewhere)

    def _late(self) -> bool:
        """Return whether an evaluation that starts now would probably end too late."""
        if self._deadline is None:
            return False
        median = self._seconds[len(self._seconds) // 2] if self._seconds else 0.0
        return time.monotonic() + median > self._deadline


def row_of(planned: Planned, outcome: Outcome, score: float | None) -> StudyRow:
    """Return the row of an evaluation that has ended.

    Args:
        planned: what was evaluated.
        outcome: what came of it.
        score: what the study maximises; None where there is no accuracy.
    """
    accuracy = outcome.accuracy
    return StudyRow(
        number=outcome.number,
        params=planned.params,
        state="stopped" if outcome.stopped else "failed" if accuracy is None else "finished",
        value=score,
        steps=outcome.steps,
        attrs={
            **planned.attrs,
            # Again, as a number of its own: dashboards sort and draw by it.
            **({} if accuracy is None else {"accuracy_mean": accuracy.mean}),
            "accuracy": None if accuracy is None else accuracy.to_dict(),
            "reason": outcome.error,
            "seconds": round(outcome.seconds, 3),
            **({"retries": outcome.retries} if outcome.retries else {}),
        },
    )
