"""A run's folder: its lock, its own file, and what a killed process left in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter

from nas.errors import InputError
from nas.evaluation.database import resolved, without_password
from nas.evaluation.journal import JOURNAL
from nas.files import (
    digest,
    parse_json,
    read_text,
    sha256,
    to_json,
    validate,
    write_json,
)
from nas.records.plan import Plan

RUN_FILE = "run.json"
LATENCY_FILE = "latency.json"
"""The latencies that the budget means: there before the run's own file, which has their hash."""

SCHEMA = "nas-search-run/1"
FAMILY = "family"
SEAL = "sha256"
"""The last key of a finished document: the SHA-256 of its text without that key."""

T = TypeVar("T")


class _Began(BaseModel):
    storage: str | None = None


class Before(BaseModel):
    """What of ``run.json`` a resumed run goes by."""

    schema_: Annotated[Literal["nas-search-run/1"], Field(alias="schema")]
    command: _Began = _Began()
    identity: dict[str, Any]
    plan: Plan | None
    study: str
    driver: str | None = None
    driver_at: str | None = None
    seconds: dict[str, float]
    sessions: int


_BEFORE: TypeAdapter[Before] = TypeAdapter(Before)


def read_before(folder: Path) -> Before | None:
    """Return ``run.json`` as an earlier process left it, or None for a new run.

    Raises:
        InputError: the folder holds files and no run, or the file is not a run's.
    """
    return read_own(folder, RUN_FILE, _BEFORE)


def read_own(folder: Path, name: str, adapter: TypeAdapter[T]) -> T | None:
    """Return what an earlier process left in the file that makes a folder ours, or None: it is new.

    Raises:
        InputError: the folder holds other files and not that one, or the file cannot be read.
    """
    path = folder / name
    before = None
    if os.path.lexists(path):
        before = validate(adapter, parse_json(read_text(path), str(path)), str(path))
    else:
        foreign = [
            p.name
            for p in folder.iterdir()
            if not p.name.startswith(".") and p.name != LATENCY_FILE
        ]
        if foreign:
            raise InputError(
                f"{folder}: holds {sorted(foreign)[0]!r} but no {name}: not a run's "
                "folder; name an empty one with --out"
            )
    for place in (folder, folder / FAMILY):
        for left in place.glob(".*.*.[0-9]*.tmp"):  # half written by a killed process
            left.unlink(missing_ok=True)
    return before


def check_identity(folder: Path, before: dict[str, Any], identity: dict[str, Any]) -> None:
    """Raise :class:`InputError`, naming what differs, if the folder holds another run."""
    differing = [key for key in identity if before.get(key) != identity[key]]
    if differing:
        raise InputError(
            f"{folder}: holds another run: {', '.join(differing)} differ; "
            "name another folder with --out"
        )


def check_storage(folder: Path, before: str | None, storage: str | None) -> None:
    """Raise :class:`InputError`, naming both, if a run's trials are in another storage than asked.

    Args:
        folder: the run's.
        before: its storage's URL; None: the folder.
        storage: likewise, of who goes on with it.
    """
    one, other = (
        str(folder / JOURNAL) if url is None else without_password(resolved(url))
        for url in (before, storage)
    )
    if one != other:
        raise InputError(
            f"{folder}: the trials of its run are in {one}, not in {other}; go on there, or name "
            "another folder with --out"
        )


def study_name(study: str, phase: str, identity: dict[str, Any], *more: str) -> str:
    """Return what a phase's study is called, given how all those of a run begin.

    ``more`` is what else its rows belong to: other networks are another study.
    """
    return f"{study}-{phase}-{digest([identity, *more])[:10]}"


def hashes(folder: Path, *names: str) -> dict[str, str]:
    """Return the SHA-256 of each of these files that is there, by path in the folder.

    Without names, of every result of a run and of its study; not of its own file, nor of what a
    proxy keeps there to go on from.
    """
    found = [folder / name for name in names]
    if not names:
        found = sorted((*folder.glob("*.json"), *(folder / FAMILY).glob("*.json")))
        found.append(folder / JOURNAL)
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in found
        if path.name != RUN_FILE and path.is_file()
    }


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a finished document with its :data:`SEAL`, by which any change of it is found."""
    rest = {key: value for key, value in document.items() if key != SEAL}
    return {**rest, SEAL: hashlib.sha256(to_json(rest).encode()).hexdigest()}


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write ``run.json``, whole or not at all; that of a finished run is sealed."""
    finished = state["status"] == "finished"
    write_json(folder / RUN_FILE, sealed(state) if finished else state)
