"""The loop: propose, cost, accuracy, record; resuming is reading what is done and going on.

Trial ``n`` is proposed from the trials up to ``n - lag``, never from whichever happen to be done:
so parallel runs, too, are decided by the seed alone. With one job the lag is 1; with more it is
twice the jobs, which keeps all of them busy while a slow trial is waited for.

Where several drivers share a study in a database, each claims the next number that nobody has, with
a network that nobody has, and proposes it from what is finished by then, whoever finished it: no
driver waits for another's trials but at the end. So then the seed alone no longer decides, and what
is promised is that no trial is lost and no network evaluated twice.
"""

from __future__ import annotations

import random
import sys
import time
from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from pydantic import BaseModel, TypeAdapter

from nas.accuracy import Accuracy
from nas.architecture import Architecture
from nas.budget import Budget
from nas.claims import Claim
from nas.cost import Cost, measure_cost
from nas.engines.local import local_engine
from nas.engines.task import Engine, Outcome, Task
from nas.errors import InputError
from nas.feasibility import Feasible, said
from nas.files import validate
from nas.objective import Objective, make_objective, pareto_front, ranked
from nas.proxies.protocol import Proxy
from nas.samplers import DEFAULT, Sampler, make_sampler
from nas.space import Choices, SearchSpace, Value
from nas.storage import POLL, Record, Study
from nas.trial import Trial, derived_rng, derived_seed

ASKS = 8
"""How often a sampler is asked again before a proposal is mended by hand."""

FARTHEST = 6
"""In how many places a mended proposal may differ from what was proposed."""

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


def search(
    space: SearchSpace,
    budget: Budget,
    proxy: Proxy,
    *,
    trials: int = 32,
    seed: int = 0,
    storage: Path | str | None = None,
    study_name: str = "search",
    sampler: str | Sampler = DEFAULT,
    objective: str = "accuracy",
    jobs: int = 1,
    start: Sequence[Architecture] = (),
    seconds: float | None = None,
    early_stopping: bool = True,
    on_trial: OnTrial | None = None,
    on_resume: Callable[[Sequence[Trial]], None] | None = None,
    engine: Engine | None = None,
    folder: Path | None = None,
    driver: str | None = None,
) -> SearchResult:
    """Search a space for the best network within a budget.

    Args:
        space: what may be chosen.
        budget: hard limits; costs are known before anything is evaluated, so no trial exceeds one.
        proxy: how accuracy is measured; ``prepare`` is called first unless an engine is given.
        trials: how many architectures to evaluate in all, failed ones included.
        seed: decides all that is drawn.
        storage: a folder for the study's journal, a storage URL, or None: a temporary study.
            A study that has trials already is continued.
        study_name: the study's name in the storage.
        sampler: a name of ``nas.samplers.SAMPLERS``, or a sampler.
        objective: ``accuracy`` or ``reward``.
        jobs: how many evaluations run at once, in processes of their own where more than one.
        start: networks to evaluate first; they must be in the space and within the budget.
        seconds: no trial starts that would probably end later than this.
        early_stopping: stop a trial whose intermediate values are among the weakest quarter.
        on_trial: called with every trial as soon as it is on disk.
        on_resume: told, before the first trial, which of them the study has already.
        engine: where evaluations run; None: this machine, with ``jobs``.
        folder: where the proxy may keep what it prepares; None: a temporary folder.
        driver: this driver's name among those that share a storage URL, 64 characters at most. One
            that was killed and comes again under its name goes on with what it was evaluating at
            once; under another (None: a new one), when its claims have expired.

    Raises:
        InputError: the budget cannot be met, a start is outside the space or over the budget.
        SearchFailed: too many failures in a row, or nothing finished.
    """
    feasible = Feasible(space, budget)
    feasible.check()
    if trials < 1:
        raise InputError(f"trials: {trials} is not accepted: at least 1")
    goal = make_objective(objective, budget, getattr(proxy, "rank_by", "accuracy"))
    proposer = Proposer(
        space, budget, make_sampler(sampler) if isinstance(sampler, str) else sampler, seed, start
    )
    with TemporaryDirectory() as temporary:
        place: Path | str = Path(temporary) if storage is None else storage
        with Study(
            place, study_name, space.choices, owner=driver or uuid4().hex, metric=goal.name
        ) as study:
            if engine is None:
                proxy.prepare(space, budget, folder or Path(temporary))
            with _closing(engine or local_engine(proxy, jobs)) as running:
                patient = bool(getattr(proxy, "partial", False))
                loop = _Loop(space, goal, study, running, seed, early_stopping, patient, on_trial)
                if on_resume is not None:
                    on_resume(loop.resumed(trials))
                loop.run(proposer, trials, None if seconds is None else time.monotonic() + seconds)
    return loop.result()


@contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.close()


class Proposer:
    """Turns a sampler's proposals into new architectures within the budget.

    Raises:
        InputError: a start is not in the space or exceeds the budget.
    """

    def __init__(
        self,
        space: SearchSpace,
        budget: Budget,
        sampler: Sampler,
        seed: int,
        start: Sequence[Architecture] = (),
    ) -> None:
        self._space = space
        self._sampler = sampler
        self._seed = seed
        self._feasible = Feasible(space, budget)
        self._keys: dict[tuple[Value, ...], str] = {}
        self._walk = self._feasible.walk(derived_rng(seed, "walk"))
        self._next: dict[str, Value] | None = None
        self._starts: dict[str, dict[str, Value]] = {}
        for architecture in start:
            choices = space.encode(architecture)
            decoded = space.decode(choices)
            exceeded = self._feasible.over(choices)
            if exceeded:
                over = ", ".join(
                    f"{said(metric, cost)} of {said(metric, limit).partition(' ')[0]}"
                    for metric, (cost, limit) in exceeded.items()
                )
                raise InputError(
                    f"start {architecture.name!r}: over budget {budget.name!r}: {over}"
                )
            self._starts.setdefault(decoded.key(), choices)

    def propose(
        self, number: int, history: Sequence[Trial], seen: Set[str]
    ) -> dict[str, Value] | None:
        """Return choices of a network within the budget that is not in ``seen``; None: no more.

        ``seen`` may only grow from one call to the next.
        """
        for key, choices in self._starts.items():
            if key not in seen:
                return dict(choices)
        last: Mapping[str, Value] = {}
        for attempt in range(ASKS):
            rng = derived_rng(self._seed, "propose", number, attempt)
            last = self._sampler.propose(self._feasible, history, rng)
            self._space.check(last)
            if self._is_new(last, seen):
                return dict(last)
        near = self._near(last, derived_rng(self._seed, "mend", number), seen)
        return self._first_unseen(seen) if near is None else near

    def _is_new(self, choices: Choices, seen: Set[str]) -> bool:
        return self._feasible.allows(choices) and self._key(choices) not in seen

    def _key(self, choices: Choices) -> str:
        canonical = tuple(self._feasible.canonical(choices).values())
        key = self._keys.get(canonical)
        if key is None:
            key = self._keys[canonical] = self._space.decode(choices).key()
        return key

    def _near(
        self, choices: Choices, rng: random.Random, seen: Set[str]
    ) -> dict[str, Value] | None:
        """Return new feasible choices that differ from a rejected proposal in few places."""
        centre = self._feasible.mend(choices, rng)
        if self._is_new(centre, seen):
            return centre
        names = [name for name, values in self._space.choices.items() if len(values) > 1]
        for changes in range(1, min(len(names), FARTHEST) + 1):
            for _ in range(16):
                mutated = dict(centre)
                for name in rng.sample(names, changes):
                    others = [v for v in self._space.choices[name] if v != centre[name]]
                    mutated[name] = rng.choice(others)
                if self._is_new(mutated, seen):
                    return mutated
        return None

    def _first_unseen(self, seen: Set[str]) -> dict[str, Value] | None:
        """Return the first of a walk through all that fits that is not in ``seen``.

        The walk's order depends on the seed alone, and what it has passed stays seen: so it is
        gone through once, and a resumed search, which begins it anew, comes to the same place.
        """
        while self._next is None or self._key(self._next) in seen:
            self._next = next(self._walk, None)
            if self._next is None:
                return None
        return dict(self._next)


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


class StopFloors:
    """The value below which a trial is among the weakest quarter of those so far, by step.

    The percentile stopping rule of Vizier (Golovin et al. 2017), at a quarter, not the median:
    values in mid-training rank networks poorly, and a good one must not be lost.

    Args:
        at_least: a step that fewer trials have reached has no floor.
    """

    def __init__(self, at_least: int = 6) -> None:
        self._at_least = at_least
        self._values: dict[int, list[float]] = {}

    def add(self, trial: Trial) -> None:
        """Take in the intermediate values of a trial."""
        for step, value in trial.steps:
            insort(self._values.setdefault(step, []), value)

    def by_step(self) -> dict[int, float]:
        """Return the floors of all steps that have one."""
        return {
            step: values[len(values) // 4]
            for step, values in self._values.items()
            if len(values) >= self._at_least
        }


def read_trials(study: Study, space: SearchSpace) -> list[Trial]:
    """Return the trials that a study of ``space`` holds, by number.

    Raises:
        InputError: a row's choices are not the space's.
    """
    rows = study.rows()
    return [_trial(rows[number], space) for number in sorted(rows)]


def _record(trial: Trial) -> Record:
    return Record(
        number=trial.number,
        params=trial.choices,
        state=trial.state,
        value=trial.score,
        steps=trial.steps,
        attrs={
            "architecture": trial.architecture.name,
            "cost": trial.cost.to_dict(),
            # Again, as numbers of their own: dashboards sort and draw by them.
            "flops": trial.cost.flops,
            "params": trial.cost.params,
            **({} if trial.accuracy is None else {"accuracy_mean": trial.accuracy.mean}),
            "accuracy": None if trial.accuracy is None else trial.accuracy.to_dict(),
            "reason": trial.reason,
            "seconds": trial.seconds,
            **({"retries": trial.retries} if trial.retries else {}),
        },
    )


class _Attrs(BaseModel):
    cost: Cost
    accuracy: Accuracy | None
    reason: str
    seconds: float
    retries: int = 0


_ATTRS: TypeAdapter[_Attrs] = TypeAdapter(_Attrs)


def _trial(row: Record, space: SearchSpace) -> Trial:
    attrs = validate(_ATTRS, dict(row.attrs), f"study: trial {row.number}")
    return Trial(
        number=row.number,
        choices=row.params,
        architecture=space.decode(row.params),
        cost=attrs.cost,
        state=row.state,
        accuracy=attrs.accuracy,
        score=row.value,
        steps=row.steps,
        reason=attrs.reason,
        seconds=attrs.seconds,
        retries=attrs.retries,
    )
