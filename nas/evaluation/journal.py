"""The journal: the file in a run's folder that keeps its studies, where no database is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import InputError
from nas.files import file_size

if TYPE_CHECKING:
    from optuna.storages.journal import JournalStorage

JOURNAL = "study.log"
"""Its name."""

MAX_JOURNAL_BYTES = 256 * 1024 * 1024
"""Largest journal that is read: some hundred thousand rows."""


def open_journal(path: Path) -> JournalStorage:
    """Return a journal as Optuna's storage; one that is missing is made by the first write.

    Raises:
        InputError: there is something else at the path.
    """
    from optuna.storages.journal import (
        JournalFileBackend,
        JournalFileOpenLock,
        JournalStorage,
    )

    _exists(path)
    # Not Optuna's default lock, a symbolic link: some file systems have none, and one made with a
    # relative path points nowhere, on which a second process waits forever.
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))


def repair_journal(path: Path) -> None:
    """Cut off a line that a killed process left half written, and remove its lock.

    Only the owner of the run's folder may call this, so nobody else can be writing.

    Raises:
        InputError: there is something else at the path.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    if not _exists(path):
        return
    with path.open("r+b") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            stream.truncate(whole)
            stream.flush()
            os.fsync(stream.fileno())


def _exists(path: Path) -> bool:
    """Return whether there is a journal; raise :class:`InputError` where it cannot be one."""
    if not os.path.lexists(path):
        return False
    try:
        file_size(path, MAX_JOURNAL_BYTES)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"storage {path}: cannot be opened: {reason}") from None
    return True
