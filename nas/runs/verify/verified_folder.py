"""A folder of results as it is verified: its documents, its study, and what is computed of it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.evaluation.executor import Outcome, Task
from nas.evaluation.journal import JOURNAL, MAX_JOURNAL_BYTES
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.study import Study
from nas.files import file_size, parse_json, read_text
from nas.networks.architecture import Architecture
from nas.runs.verify.json_diff import JsonDifference

NO_STUDY = f"{JOURNAL} is missing: what depends on it is not recomputed"

PAST = -math.inf
"""A deadline after which nothing is evaluated: what the study has is all there is."""


class NoRows(Exception):
    """A study has no rows of that name."""


@dataclass(frozen=True)
class VerifyStep:
    """Something that can be computed again.

    Attributes:
        name: in a word.
        file: that it is mostly about.
        compute: yields where it differs.
    """

    name: str
    file: str
    compute: Callable[[], Iterable[JsonDifference]]


@dataclass
class VerifiedFolder:
    """A folder, its main document, and what could not be checked of it so far."""

    path: Path
    file: str
    document: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        """Say whether a file is there."""
        return os.path.isfile(self.path / name)

    def read(self, name: str) -> Any:
        """Return what a JSON file holds.

        Raises:
            InputError: it cannot be read.
        """
        return parse_json(read_text(self.path / name), name)

    def note(self, text: str) -> None:
        """Say, once, what could not be checked."""
        if text not in self.notes:
            self.notes.append(text)

    @contextmanager
    def study(self, name: str) -> Iterator[Study | None]:
        """Yield a study of the folder, or None where it has none of that name.

        It is that of a copy: opening a study may write to it.
        """
        if not self.has(JOURNAL):
            self.note(NO_STUDY)
            yield None
            return
        file_size(self.path / JOURNAL, MAX_JOURNAL_BYTES)
        with TemporaryDirectory() as temporary:
            copied = Path(temporary)
            shutil.copyfile(self.path / JOURNAL, copied / JOURNAL)
            study = Study(copied, name, {})
            yield study if study.rows() else None


class NoEngine:
    """Evaluates nothing: what a study does not have stays unknown."""

    slots = 1

    def submit(self, task: Task) -> None:
        """Refuse."""
        raise AssertionError("verification evaluates nothing")

    def next(self) -> Outcome:
        """Refuse."""
        raise AssertionError("verification evaluates nothing")

    def close(self) -> None:
        """Do nothing."""


def runs_of(
    networks: list[Architecture], study: Study, objective: Objective, seed: int, purpose: str
) -> SeededRuns:
    """Return the evaluations that a study has of some networks; no more are made."""
    return SeededRuns(
        networks, study, NoEngine(), objective, seed=seed, purpose=purpose, deadline=PAST
    )
