"""Where studies are kept: in the journal of a folder, or in a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nas.errors import InputError, Lost
from nas.evaluation.database import database_url, masked, options, printable
from nas.evaluation.journal import JOURNAL, open_journal, repair_journal
from nas.files import FAULTS


class StorageLocation:
    """The journal of a folder, or a database.

    Args:
        location: the folder, or a storage URL.

    Attributes:
        url: of the database; None for a journal.

    Raises:
        InputError: not a URL that is accepted.
    """

    def __init__(self, location: Path | str) -> None:
        self.url = None if isinstance(location, Path) else database_url(location)
        self._journal = location / JOURNAL if isinstance(location, Path) else None

    def __str__(self) -> str:
        """Return it for messages, without a password."""
        return printable(self.url) if self.url is not None else str(self._journal)

    def study(self, name: str) -> str:
        """Return the words for one of its studies, for messages."""
        return f"storage {self}: study {name!r}"

    def open(self) -> Any:
        """Return Optuna's storage, to read and to write; what is missing is made.

        Of a journal, only the owner of its folder may call this.
        """
        if self._journal is None:
            return self._open_database(make_tables=True)
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        repair_journal(self._journal)
        return open_journal(self._journal)

    def open_to_read(self) -> Any | None:
        """Return Optuna's storage while others may write it; None where there is no journal.

        Raises:
            InputError: there is no such file.
        """
        if self._journal is not None:
            return open_journal(self._journal) if os.path.lexists(self._journal) else None
        assert self.url is not None
        if self.url.drivername.startswith("sqlite") and not Path(self.url.database or "").is_file():
            raise InputError(f"storage {self}: no such file")
        return self._open_database(make_tables=False)

    def error(self, verb: str, error: Exception, *, lost: bool = False) -> InputError:
        """Return what to raise where a storage could not be used: one line, without a password.

        Args:
            verb: what could not be done: ``opened``, ``read`` or ``written``.
            error: why.
            lost: the storage could be opened before, so the input is not at fault.

        Returns:
            :class:`Lost` where the input is not at fault, else :class:`InputError`.
        """
        if isinstance(error, InputError):
            return error
        cause = error.__cause__ if getattr(error.__cause__, "orig", None) is not None else error
        reason = getattr(error, "strerror", None) or str(getattr(cause, "orig", None) or cause)
        line = " ".join(masked(reason, self.url).split())[:200] or type(error).__name__
        kind = Lost if lost or getattr(error, "errno", None) in FAULTS else InputError
        return kind(f"storage {self}: cannot be {verb}: {line}")

    def _open_database(self, *, make_tables: bool) -> Any:
        from optuna.storages import RDBStorage

        assert self.url is not None
        return RDBStorage(
            self.url.render_as_string(hide_password=False),
            engine_kwargs=options(self.url),
            skip_table_creation=not make_tables,
        )


def close_storage(storage: Any) -> None:
    """Close the connections that Optuna keeps to a database."""
    engine = getattr(storage, "engine", None)
    if engine is not None:
        storage.remove_session()
        engine.dispose()
