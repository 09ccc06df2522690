"""Networks evaluated one by one into a study, each once, as long as there is time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.engines.task import Engine, Task
from nas.objective import Objective
from nas.storage import Param, Record, Study


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
) -> Iterator[Record]:
    """Evaluate what the study does not have yet; yield each row as soon as it is on disk.

    Args:
        planned: what is begun in this order; numbers are the study's.
        study: where evaluations are kept.
        engine: where they run; the caller ends it.
        objective: what a score is, by accuracy or by loss; costs do not count.
        deadline: nothing starts that would probably end later than this ``time.monotonic()``.
    """
    done = study.rows()
    waiting = [one for one in planned if one.task.number not in done]
    running: dict[int, Planned] = {}
    seconds = [row.attrs["seconds"] for row in done.values() if row.state == "finished"]
    while waiting or running:
        usual = statistics.median(seconds) if seconds else 0.0
        while waiting and len(running) < engine.slots:
            if deadline is not None and time.monotonic() + usual > deadline:
                break
            one = waiting.pop(0)
            engine.submit(one.task)
            running[one.task.number] = one
        if not running:
            return
        outcome = engine.next()
        one, accuracy = running.pop(outcome.number), outcome.accuracy
        row = Record(
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
            },
        )
        if row.state == "finished":
            seconds.append(row.attrs["seconds"])
        study.add(row)
        yield row
