"""``nas-search reproduce b0``: gathers the evidence and writes a folder of it, all at the end."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from nas.discovery.document import Documents, identity
from nas.discovery.evidence import OBJECTIVES, Question, Settings, gather
from nas.discovery.picture import draw
from nas.engines.parallel import Tell, WorkerDied, in_parallel
from nas.errors import InputError
from nas.files import parse_json, read_text, to_json, validate, write_bytes, write_json
from nas.folder import RUN_FILE, environment, locked
from nas.search import SearchFailed

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

    Nothing is written before everything is known. The same settings write the same bytes, whatever
    the jobs; ``run.json`` alone has times and the machine.

    Raises:
        InputError: the folder holds something else, or cannot be written.
        SearchFailed: a worker process was killed.
    """
    start = time.monotonic()
    question = Question()
    own = identity(question, settings)
    with locked(folder):
        _check(folder, own)
        try:
            evidence = gather(settings, jobs, tell)
            [documents] = in_parallel([Documents(evidence)], 1, tell)
        except WorkerDied as error:
            raise SearchFailed(str(error)) from None
        gathered = time.monotonic()
        files = {name: to_json(content).encode() for name, content in documents.items()}
        data = documents["discovery.json"]
        files |= {f"discovery.{kind}": part for kind, part in draw(evidence, data).items()}
        for name in FILES:
            write_bytes(folder / name, files[name])
        write_json(
            folder / RUN_FILE,
            {
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
            },
        )
    return data


def _check(folder: Path, own: dict[str, Any]) -> None:
    """Raise :class:`InputError` if the folder holds anything but this very question's answer."""
    path = folder / RUN_FILE
    if path.exists():
        before = validate(_BEFORE, parse_json(read_text(path), str(path)), str(path))
        differing = [key for key in own if before.identity.get(key) != own[key]]
        if differing:
            raise InputError(
                f"{folder}: made with other settings: {', '.join(differing)} differ; "
                "name another folder with --out, or remove it first"
            )
    foreign = sorted(
        p.name
        for p in folder.iterdir()
        if not p.name.startswith(".") and p.name not in (*FILES, RUN_FILE)
    )
    if foreign:
        raise InputError(
            f"{folder}: holds {foreign[0]!r}, which this command does not write; "
            "name an empty folder with --out"
        )
    for left in folder.glob(".*.tmp"):  # half written by a killed process
        left.unlink(missing_ok=True)
