"""Reads a study while others write it, and changes nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import InputError
from nas.evaluation.database import (
    database_url,
    options,
    printable,
)
from nas.evaluation.journal import JOURNAL, _journal
from nas.evaluation.leases import Claims
from nas.evaluation.study import StudyRow, _disconnect, _foreign, _record, _unusable

if TYPE_CHECKING:
    pass


def read_study(location: Path | str, name: str) -> list[StudyRow]:
    """Return all rows of a study, also while others write it; changes nothing.

    Empty where there is no such study yet.

    Raises:
        InputError: the storage cannot be read.
    """
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    url = None if isinstance(location, Path) else database_url(location)
    where = str(Path(location) / JOURNAL) if url is None else printable(url)
    storage: Any = None
    try:
        if url is None:
            if not os.path.lexists(Path(location) / JOURNAL):
                return []
            storage = _journal(Path(location) / JOURNAL)
        else:
            if url.drivername.startswith("sqlite") and not Path(url.database or "").is_file():
                raise InputError(f"storage {where}: no such file")
            storage = optuna.storages.RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs=options(url),
                skip_table_creation=True,
            )
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return []
        trials = study.get_trials(deepcopy=False)
        return [
            _record(trial, _foreign(where, name))
            for trial in trials
            if "number" in trial.user_attrs
        ]
    except Exception as error:
        raise _unusable(where, url, "read", error) from error
    finally:
        _disconnect(storage)


def census(location: str, name: str) -> tuple[int, int]:
    """Return how many rows of a study drivers are evaluating, and how many dead ones have left."""
    url = database_url(location)
    claims = Claims(url, name, "nobody", make=False)
    try:
        return claims.census()
    except Exception as error:
        raise _unusable(printable(url), url, "read", error) from error
    finally:
        claims.close()
