"""The document of a run's folder, ``run.json``, and what its study and files are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from nas.errors import InputError
from nas.evaluation.database import resolved, without_password
from nas.evaluation.journal import JOURNAL
from nas.files import digest
from nas.records.document import Document
from nas.records.plan import Plan

RUN_FILE = "run.json"
LATENCY_FILE = "latency.json"
"""The latencies that the budget means; the run's identity has their hash."""


class RunDocument(Document):
    """``run.json``: so far, what a resumed run needs of it."""

    model_config = ConfigDict(extra="allow")

    KIND: ClassVar[str] = "run"
    FILE: ClassVar[str] = RUN_FILE
    SCHEMA: ClassVar[str] = "nas-search-run/2"
    PRECEDED_BY: ClassVar[frozenset[str]] = frozenset({LATENCY_FILE})

    command: dict[str, Any]
    plan: Plan | None
    study: str
    driver: str | None = None
    driver_at: str | None = None
    seconds: dict[str, float]
    sessions: int


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
