"""``nas-search reproduce b0``: gathers the evidence and writes a folder of it, all at the end."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from nas.environment import environment
from nas.evaluation.process_pool import Tell, WorkerDied, in_parallel
from nas.files import to_json, write_bytes, write_json
from nas.records.lock import locked
from nas.records.workspace import RUN_FILE, check_identity, read_own, sealed
from nas.report.reproduction_plot import draw
from nas.runs.reproduction.document import Documents, identity
from nas.runs.reproduction.evidence import OBJECTIVES, Evidence, Question, Settings, gather
from nas.strategies.loop import SearchFailed

RUN_SCHEMA = "nas-search-discovery-run/1"
FILES = (
    "discovery.json",
    "b0.json",
    *(f"best-{objective}.json" for objective in OBJECTIVES),
    "discovery.png",
    "discovery.svg",
)


class _Before(BaseModel):
    """What of ``run.json`` is asked before anything is replaced."""

    schema_: Annotated[Literal["nas-search-discovery-run/1"], Field(alias="schema")]
    identity: dict[str, Any]


_BEFORE: TypeAdapter[_Before] = TypeAdapter(_Before)


def reproduce(
    settings: Settings, folder: Path, *, jobs: int, tell: Tell, command: dict[str, Any]
) -> dict[str, Any]:
    """Ask how B0 comes out of its space; write the folder; return ``discovery.json``.

    Nothing is written before everything is known, and ``run.json`` first, which makes the folder
    ours. The same settings write the same bytes, whatever the jobs; ``run.json`` alone has times
    and the machine.

    Raises:
        InputError: the folder holds something else, or cannot be written.
        SearchFailed: a worker process was killed.
    """
    start = time.monotonic()
    question = Question()
    own = identity(question, settings)
    with locked(folder):
        before = read_own(folder, RUN_FILE, _BEFORE)
        if before is not None:
            check_identity(folder, before.identity, own)
        try:
            evidence = gather(settings, jobs, tell)
            [documents] = in_parallel([Documents(evidence)], 1, tell)
        except WorkerDied as error:
            raise SearchFailed(str(error)) from None
        gathered = time.monotonic()
        files = {name: to_json(content).encode() for name, content in documents.items()}
        data = documents["discovery.json"]
        files |= {f"discovery.{kind}": part for kind, part in _picture(evidence, data).items()}
        state = {
            "schema": RUN_SCHEMA,
            "command": command,
            "identity": own,
            "jobs": jobs,
            **environment(),
            "seconds": {
                "evidence": round(gathered - start, 1),
                "writing": round(time.monotonic() - gathered, 1),
            },
            "files": {name: hashlib.sha256(files[name]).hexdigest() for name in FILES},
        }
        write_json(folder / RUN_FILE, sealed(state))
        for name in FILES:
            write_bytes(folder / name, files[name])
    return data


def _picture(evidence: Evidence, data: dict[str, Any]) -> dict[str, bytes]:
    draws = evidence.draws
    trials = {
        objective: [(t.cost.flops, t.accuracy.mean) for t in found.trials if t.accuracy is not None]
        for objective, found in evidence.searches.items()
    }
    return draw((draws.flops.astype(float), draws.accuracy), trials, data)
