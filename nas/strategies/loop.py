"""The search loop: trials in the order of their numbers, wherever each is evaluated."""

from __future__ import annotations

import sys
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from nas.evaluation.executor import Engine, Outcome, Task
from nas.evaluation.leases import Claim
from nas.evaluation.objective import Objective, pareto_front, ranked
from nas.evaluation.study import POLL, Study
from nas.evaluation.trial import Trial, _record, _trial
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.seeding import derived_seed
from nas.spaces.search_space import SearchSpace, Value
from nas.strategies.proposer import Proposer
from nas.strategies.pruning import StopFloors

FAILURES_IN_A_ROW = 6
"""So many failed trials, one after the other, end a run: the fault is not the architecture's."""


class SearchFailed(RuntimeError):
    """The search cannot go on or found nothing; the message says why in one line."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        trials: all of them, by number.
        front: the Pareto front, accuracy against FLOPs, by FLOPs.
        baseline: the best within the budget by the objective.
        exhausted: True where the space has no further network within the budget.
        out_of_time: True where the time ended before the trials.
    """

    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    baseline: Trial
    exhausted: bool
    out_of_time: bool

    def count(self, state: str) -> int:
        """Return how many trials ended in a state."""
        return sum(trial.state == state for trial in self.trials)


OnTrial = Callable[[Trial], None]


class _Loop:
    """Trials in the order of their numbers, wherever and whenever each is evaluated."""

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        study: Study,
        engine: Engine,
        seed: int,
        early_stopping: bool,
        patient: bool,
        on_trial: OnTrial | None,
    ) -> None:
        self._space = space
        self._objective = objective
        self._study = study
        self._engine = engine
        self._seed = seed
        self._early_stopping = early_stopping
        self._patient = patient
        self._on_trial = on_trial
        self._lag = 1 if engine.slots == 1 else 2 * engine.slots
        self._done = {row.number: _trial(row, space) for row in study.rows().values()}
        self._resumed = frozenset(self._done)
        self._history: list[Trial] = []
        self._reached = 0
        self._elsewhere: set[int] = set()
        self._passed: set[int] = set()
        self._inherited: dict[int, Claim] = {}
        self._floors = StopFloors()
        self._seconds = sorted(t.seconds for t in self._done.values() if t.state == "finished")
        self._failures = 0
        self._exhausted = False
        self._out_of_time = False

    def resumed(self, total: int) -> list[Trial]:
        """Return those of trials 0 … total - 1 that the study had from the beginning."""
        return [self._done[number] for number in sorted(self._resumed) if number < total]

    def run(self, proposer: Proposer, total: int, deadline: float | None) -> None:
        """Evaluate trials 0 … total - 1 that are not done yet."""
        # Also of rows with higher numbers, where a run with several jobs was killed: what it would
        # propose for the missing ones is none of them, but with other jobs it might be.
        seen = {trial.architecture.key() for trial in self._done.values()}
        running: dict[int, tuple[dict[str, Value], Architecture]] = {}
        number = 0
        while True:
            number = min(number, self._hear(seen, self._engine.slots - len(running)))
            while number < total and len(running) < self._engine.slots and not self._out_of_time:
                if (
                    number in self._done
                    or number in self._elsewhere
                    or number in running
                    or (self._exhausted and number not in self._inherited)
                ):
                    number += 1
                    continue
                if not self._extend(number - self._lag):
                    break
                if self._late(deadline):
                    self._out_of_time = True
                    break
                choices = self._next(number, proposer, seen)
                if choices is None:
                    continue
                architecture = self._space.decode(choices)
                seen.add(architecture.key())
                running[number] = (choices, architecture)
                self._engine.submit(
                    Task(
                        number,
                        architecture,
                        derived_seed(self._seed, "trial", number),
                        self._floors.by_step() if self._early_stopping else {},
                    )
                )
                number += 1
            if running:
                outcome = self._engine.next()
                self._record(outcome, *running.pop(outcome.number))
            elif self._out_of_time or not any(other < total for other in self._elsewhere):
                break
            elif self._late(deadline):
                self._out_of_time = True
            else:
                time.sleep(POLL)
        self._extend(max(self._done, default=-1))

    def _hear(self, seen: set[str], free: int) -> int:
        """Take in what other drivers have done; return the least number to go on from."""
        news = self._study.hear(free)
        for row in news.rows:
            trial = _trial(row, self._space)
            seen.add(trial.architecture.key())
            self._take(trial)
        seen |= set(news.elsewhere.values())
        self._elsewhere = set(news.elsewhere)
        for claim in news.inherited:
            self._inherited[claim.number] = claim
        return min((claim.number for claim in news.inherited), default=sys.maxsize)

    def _next(self, number: int, proposer: Proposer, seen: set[str]) -> dict[str, Value] | None:
        """Return what trial ``number`` is to evaluate, claimed; None where there is nothing."""
        claim = self._inherited.pop(number, None)
        if claim is not None:
            choices: dict[str, Value] | None = dict(claim.params)
            assert choices is not None
            if not claim.hopeless:
                return choices
            hopeless = Outcome(number, None, (), False, claim.hopeless, 0.0)
            self._record(hopeless, choices, self._space.decode(choices))
            return None
        while True:
            choices = proposer.propose(number, self._history, seen)
            if choices is None:
                self._exhausted = True
                return None
            key = self._space.decode(choices).key()
            answer = self._study.claim(number, key, choices)
            if answer == "ours":
                return choices
            if answer == "number":
                self._elsewhere.add(number)
                return None
            seen.add(key)

    def result(self) -> SearchResult:
        """Return what was found; raise :class:`SearchFailed` if nothing was."""
        trials = tuple(self._done[number] for number in sorted(self._done))
        best = ranked(trials)
        if not best:
            reasons = [trial.reason for trial in trials if trial.reason]
            if self._out_of_time and not trials:
                raise SearchFailed("the time ended before the first trial")
            raise SearchFailed(
                f"none of {len(trials)} trials finished"
                + (f"; the last failed with: {reasons[-1]}" if reasons else "")
            )
        front = tuple(pareto_front(trials, self._objective))
        return SearchResult(trials, front, best[0], self._exhausted, self._out_of_time)

    def _extend(self, last: int) -> bool:
        """Take the trials up to ``last`` into the history; False while one is still running.

        Raises:
            SearchFailed: too many in a row failed. A run that ended so can be resumed, once what
                was wrong is mended: then it takes as many again.
        """
        for number in range(self._reached, last + 1):
            trial = self._done.get(number)
            if trial is not None:
                self._learn(trial)
            elif number in self._elsewhere:
                self._passed.add(number)
            else:
                return False
            self._reached = number + 1
        return True

    def _learn(self, trial: Trial) -> None:
        self._history.append(trial)
        self._floors.add(trial)
        self._failures = self._failures + 1 if trial.state == "failed" else 0
        if (
            not self._patient
            and self._failures
            and self._failures % FAILURES_IN_A_ROW == 0
            and trial.number not in self._resumed
        ):
            raise SearchFailed(
                f"{FAILURES_IN_A_ROW} trials in a row failed, the last with: {trial.reason}"
            )

    def _late(self, deadline: float | None) -> bool:
        if deadline is None:
            return False
        usual = self._seconds[len(self._seconds) // 2] if self._seconds else 0.0
        return time.monotonic() + usual > deadline

    def _record(
        self, outcome: Outcome, choices: dict[str, Value], architecture: Architecture
    ) -> None:
        cost = measure_cost(architecture)
        score = reason = None
        if outcome.accuracy is not None:
            score = self._objective.score(outcome.accuracy, cost)
        elif not outcome.stopped:
            reason = outcome.error
        trial = Trial(
            number=outcome.number,
            choices=choices,
            architecture=architecture,
            cost=cost,
            state="failed" if reason is not None else "stopped" if outcome.stopped else "finished",
            accuracy=outcome.accuracy,
            score=score,
            steps=outcome.steps,
            reason=reason or "",
            seconds=round(outcome.seconds, 3),
            retries=outcome.retries,
        )
        if self._study.add(_record(trial)):
            self._take(trial)
        else:
            self._elsewhere.add(trial.number)

    def _take(self, trial: Trial) -> None:
        """Take in a trial that is on disk."""
        self._done[trial.number] = trial
        if trial.number in self._passed:
            self._passed.discard(trial.number)
            self._learn(trial)
        if trial.state == "finished":
            insort(self._seconds, trial.seconds)
        if self._on_trial is not None:
            self._on_trial(trial)
