"""Reads a study that others may be writing, without changing it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nas.evaluation.leases import Claims
from nas.evaluation.storage import StorageLocation, close_storage
from nas.evaluation.study_row import StudyRow, row_from_trial


def read_study(location: Path | str, name: str) -> list[StudyRow]:
    """Return the rows of a study, in the order in which they were written.

    Empty where there is no such study yet. If a number occurs twice, the first one counts.

    Args:
        location: a folder (the study is in its journal) or a storage URL.
        name: the study's name.

    Raises:
        InputError: the storage cannot be read.
    """
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    place = StorageLocation(location)
    storage: Any = None
    try:
        storage = place.open_to_read()
        if storage is None:
            return []
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return []
        rows: dict[int, StudyRow] = {}
        for trial in study.get_trials(deepcopy=False):
            if "number" in trial.user_attrs:
                row = row_from_trial(trial, place.study(name))
                rows.setdefault(row.number, row)
        return list(rows.values())
    except Exception as error:
        raise place.error("read", error) from error
    finally:
        close_storage(storage)


def count_claims(location: str, name: str) -> tuple[int, int]:
    """Return how many evaluations of a study are running, and how many dead drivers have left.

    Raises:
        InputError: the storage cannot be read.
    """
    place = StorageLocation(location)
    assert place.url is not None
    claims = Claims(place.url, name, "nobody", make=False)
    try:
        return claims.count_claims()
    except Exception as error:
        raise place.error("read", error) from error
    finally:
        claims.close()
