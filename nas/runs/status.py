"""How far a run is, read from its folder and its study while it goes on, or after it ended."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from nas.accuracy import Accuracy
from nas.errors import InputError
from nas.evaluation.objective import ranked_rows
from nas.evaluation.study_reader import count_claims, read_study
from nas.evaluation.study_row import StudyRow
from nas.files import parse_json, read_text, validate
from nas.networks.cost import Cost
from nas.records.lock import holder
from nas.records.run_state import PhaseSummary, RunState

SUPERNET_STATE = "supernet/state.json"
"""Where the proxy of that name keeps what it goes on from; importing it would take seconds."""

REASONS = 5
"""So many kinds of failure are told, the most frequent first."""

RECENT = 30
"""The rate is that of so many trials, the last ones."""


_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_Count = Annotated[int, Field(ge=0, lt=10**15)]


class _Step(BaseModel):
    model_config = _STRICT
    step: _Count


class _Checkpoint(BaseModel):
    state: _Step


class _Best(BaseModel):
    architecture: str
    cost: Cost
    accuracy: Accuracy | None


_BEST: TypeAdapter[_Best] = TypeAdapter(_Best)
_CHECKPOINT: TypeAdapter[_Checkpoint] = TypeAdapter(_Checkpoint)


@dataclass(frozen=True)
class Failure:
    """A kind of failure: why, how often, and in which trials (the first few numbers)."""

    reason: str
    count: int
    trials: tuple[int, ...]


@dataclass(frozen=True)
class PhaseStatus:
    """What of a phase is done.

    Attributes:
        name: of the phase.
        total: how many evaluations there will be, or at most.
        finished, stopped, failed: how many are on disk, by state.
        retries: evaluations begun again since a worker or a node had died.
        claimed: evaluations going on by all drivers that share the storage; None without one.
        abandoned: those whose driver has died, and that nobody has taken over yet.
        per_minute: rate of the last ones; None where there are too few.
        failures: what failed and why, the most frequent first.
    """

    name: str
    total: int
    finished: int
    stopped: int
    failed: int
    retries: int
    claimed: int | None
    abandoned: int | None
    per_minute: float | None
    failures: tuple[Failure, ...]

    @property
    def done(self) -> int:
        """How many are on disk."""
        return self.finished + self.stopped + self.failed


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        folder: the run's.
        state: ``running``; ``finished``; ``stopped``: nobody works on it in this folder.
        pid: of the process that does.
        phase: the one that it is in, or was in when it stopped.
        phases: those with evaluations, in their order.
        seconds: of each phase that ended, over all sessions.
        supernet: share of its training that is on disk; None where there is none.
        best: the best trial so far: number, architecture, flops, accuracy.
        seconds_left: of the phase at its rate, or of the time given, what is less; None: unknown.
    """

    folder: Path
    state: Literal["running", "finished", "stopped"]
    pid: int | None
    phase: str | None
    phases: tuple[PhaseStatus, ...]
    seconds: dict[str, float]
    supernet: float | None
    best: dict[str, Any] | None
    seconds_left: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self) | {"folder": str(self.folder)}


def read_status(folder: Path, storage: str | None = None) -> Status:
    """Return how far a run is; writes nothing and takes no lock.

    Args:
        folder: the run's.
        storage: its URL with a password, where ``run.json`` has it without and libpq needs one.

    Raises:
        InputError: not a run's folder, or its storage cannot be read.
    """
    run = RunState.read(folder)
    url = storage or run.storage
    if storage is not None and run.storage is None:
        raise InputError(f"{folder}: --storage: not accepted, its study is a file in the folder")
    pid = holder(folder)
    state: Literal["running", "finished", "stopped"] = (
        "finished" if run.status == "finished" else "stopped" if pid is None else "running"
    )
    phases = []
    best = None
    for name, phase in run.phases.items():
        rows = read_study(folder if url is None else url, phase.study)
        phases.append(_phase(name, phase, rows, url))
        if name == "search":
            best = _best(rows)
    left = None
    current = next((phase for phase in phases if phase.name == run.phase), None)
    if state == "running" and current is not None and current.per_minute:
        left = 60 * max(0, current.total - current.done) / current.per_minute
    if state == "running" and run.until is not None:
        rest = max(0.0, run.until - time.time())
        left = rest if left is None else min(left, rest)
    return Status(
        folder=folder,
        state=state,
        pid=pid,
        phase=run.phase,
        phases=tuple(phases),
        seconds=run.seconds,
        supernet=_supernet(folder, run),
        best=best,
        seconds_left=None if left is None else round(left, 1),
    )


def _phase(
    name: str, phase: PhaseSummary, rows: Sequence[StudyRow], url: str | None
) -> PhaseStatus:
    states = Counter(row.state for row in rows)
    reasons: dict[str, list[int]] = {}
    for row in rows:
        if row.state == "failed":
            reason = row.attrs.get("reason") or "unknown"
            reasons.setdefault(reason, []).append(row.number)
    failures = [
        Failure(reason, len(numbers), tuple(sorted(numbers)[:5]))
        for reason, numbers in reasons.items()
    ]
    claimed, abandoned = (None, None) if url is None else count_claims(url, phase.study)
    return PhaseStatus(
        name=name,
        total=max(phase.total, len(rows)),  # of some phases it is estimated when they begin
        finished=states["finished"],
        stopped=states["stopped"],
        failed=states["failed"],
        retries=sum(row.attrs.get("retries", 0) for row in rows),
        claimed=claimed,
        abandoned=abandoned,
        per_minute=_rate([row.written_at for row in rows if row.written_at is not None]),
        failures=tuple(sorted(failures, key=lambda f: (-f.count, f.trials))[:REASONS]),
    )


def _supernet(folder: Path, run: RunState) -> float | None:
    if run.plan is None or run.plan.supernet is None:
        return None
    plan = run.plan.supernet
    path = folder / SUPERNET_STATE
    if not os.path.lexists(path):
        return 0.0
    found = validate(_CHECKPOINT, parse_json(read_text(path), str(path)), str(path))
    # A batch is no more than the training images there are.
    batch = min(plan.batch_size, max(1, run.data.images[0]) if run.data else plan.batch_size)
    steps = max(1, plan.images_seen // (batch * plan.paths))
    return round(min(1.0, found.state.step / steps), 3)


def _rate(moments: Sequence[float]) -> float | None:
    """Return evaluations a minute, by the times at which the last ones ended.

    What is much longer than usual between two of them was a pause, between two sessions perhaps.
    """
    last = sorted(moments)[-RECENT:]
    gaps = [after - before for before, after in pairwise(last)]
    if not gaps:
        return None
    usual = statistics.median(gaps)
    mean = statistics.fmean(gap for gap in gaps if gap <= max(10 * usual, 1.0))
    return round(60 / mean, 2) if mean > 0 else None


def _best(rows: Sequence[StudyRow]) -> dict[str, Any] | None:
    best = next(iter(ranked_rows(rows)), None)
    if best is None:
        return None
    attrs = validate(_BEST, dict(best.attrs), f"study: trial {best.number}")
    return {
        "number": best.number,
        "architecture": attrs.architecture,
        "score": best.value,
        "flops": attrs.cost.flops,
        "accuracy": None if attrs.accuracy is None else attrs.accuracy.to_dict(),
    }
