"""Networks evaluated one by one into a study, each once, as long as there is time.

Several drivers that share the study share the work; each ends when all of it is done.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.evaluation.executor import Engine, Outcome, Task
from nas.evaluation.leases import Claim
from nas.evaluation.objective import Objective
from nas.evaluation.study import POLL, Study
from nas.evaluation.study_row import Param, StudyRow


@dataclass(frozen=True)
class Planned:
    """An evaluation to do, and what the study says of it besides what is measured."""

    task: Task
    params: Mapping[str, Param] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)


def evaluate(
    planned: Sequence[Planned],
    study: Study,
    engine: Engine,
    objective: Objective,
    deadline: float | None,
) -> Iterator[StudyRow]:
    """Evaluate what the study does not have yet; yield each row as soon as it is on disk.

    Args:
        planned: what is begun in this order; numbers are the study's.
        study: where evaluations are kept.
        engine: where they run; the caller ends it.
        objective: what a score is, by accuracy or by loss; costs do not count.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
    """
    done = study.rows()
    open_ = {one.task.number: one for one in planned if one.task.number not in done}
    running: set[int] = set()
    claimed: dict[int, Claim] = {}
    seconds = [row.attrs.get("seconds", 0.0) for row in done.values() if row.state == "finished"]

    def late() -> bool:
        usual = statistics.median(seconds) if seconds else 0.0
        return deadline is not None and time.monotonic() + usual > deadline

    while open_:
        news = study.hear(engine.slots - len(running))
        claimed |= {claim.number: claim for claim in news.inherited}
        for row in news.rows:
            if open_.pop(row.number, None) is not None:
                yield row
        for number, one in list(open_.items()):
            if len(running) == engine.slots or late():
                break
            if number in running or number in news.elsewhere:
                continue
            claim = claimed.pop(number, None)
            if claim is not None and claim.hopeless:
                row = _row(one, Outcome(number, None, (), False, claim.hopeless, 0.0), objective)
            elif claim is None and study.claim(number, str(number), one.params) != "ours":
                continue
            else:
                engine.submit(one.task)
                running.add(number)
                continue
            if study.add(row):
                del open_[number]
                yield row
        if running:
            outcome = engine.next()
            running.discard(outcome.number)
            mine = open_.get(outcome.number)
            if mine is None:
                continue  # the claim had expired, and another driver has finished it
            row = _row(mine, outcome, objective)
            if study.add(row):
                del open_[outcome.number]
                if row.state == "finished":
                    seconds.append(row.attrs.get("seconds", 0.0))
                yield row
        elif late():
            return
        elif open_:
            time.sleep(POLL)  # the rest is with other drivers


def _row(one: Planned, outcome: Outcome, objective: Objective) -> StudyRow:
    accuracy = outcome.accuracy
    return StudyRow(
        number=outcome.number,
        params=one.params,
        state="failed" if accuracy is None else "finished",
        value=None if accuracy is None else objective.quality(accuracy),
        steps=outcome.steps,
        attrs={
            **one.attrs,
            "accuracy": None if accuracy is None else accuracy.to_dict(),
            "reason": outcome.error,
            "seconds": round(outcome.seconds, 3),
            **({"retries": outcome.retries} if outcome.retries else {}),
        },
    )
