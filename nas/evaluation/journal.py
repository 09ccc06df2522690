"""The study as a journal file in a run's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import InputError
from nas.evaluation.database import (
    options,
)
from nas.files import file_size

if TYPE_CHECKING:
    pass


JOURNAL = "study.log"


MAX_JOURNAL_BYTES = 256 * 1024 * 1024
"""Largest study file that is read: some hundred thousand rows."""


def _storage(location: Path | str, url: Any) -> Any:
    from optuna.storages import RDBStorage

    if isinstance(location, str):
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options(url))
    path = location / JOURNAL
    path.parent.mkdir(parents=True, exist_ok=True)
    _mend(path)
    return _journal(path)


def _journal(path: Path) -> Any:
    _check_journal(path)
    from optuna.storages.journal import (
        JournalFileBackend,
        JournalFileOpenLock,
        JournalStorage,
    )

    # Not Optuna's default lock, a symbolic link: some file systems have none, and one made with a
    # relative path points nowhere, on which a second process waits forever.
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))


def _check_journal(path: Path) -> bool:
    """Say whether there is a journal; raise :class:`InputError` if it cannot be one."""
    if not os.path.lexists(path):
        return False
    try:
        file_size(path, MAX_JOURNAL_BYTES)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"storage {path}: cannot be opened: {reason}") from None
    return True


def _mend(path: Path) -> None:
    """Cut off a line that a killed process left half written, and its lock.

    Only the owner of the run's folder comes here, so nobody else can be writing.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    if not _check_journal(path):
        return
    with path.open("r+b") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            stream.truncate(whole)
            stream.flush()
            os.fsync(stream.fileno())
