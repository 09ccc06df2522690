"""Studies on disk, as Optuna's: an evaluated trial is written once, whole, when it is done."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nas.errors import InputError

Param = int | float | str

JOURNAL = "study.log"


@dataclass(frozen=True)
class Record:
    """One row of a study.

    Attributes:
        number: its place in the order of proposals; the key of a row.
        params: what was chosen, by name.
        state: ``finished``, ``stopped`` or ``failed``.
        value: what the study maximises; None unless finished.
        steps: intermediate values by step.
        attrs: anything else, JSON values only.
    """

    number: int
    params: Mapping[str, Param]
    state: Literal["finished", "stopped", "failed"]
    value: float | None
    steps: tuple[tuple[int, float], ...]
    attrs: Mapping[str, Any]


class Study:
    """An Optuna study of finished rows only: nothing in it can go stale.

    It opens with ``optuna.load_study`` and optuna-dashboard.

    Args:
        location: a folder (the study is ``study.log`` in it) or a storage URL.
        name: the study's name; one location holds any number of studies.
        choices: the values that each parameter may take; a parameter with none listed is a
            number between the given (low, high).

    Raises:
        InputError: the storage cannot be opened.
    """

    def __init__(
        self,
        location: Path | str,
        name: str,
        choices: Mapping[str, Sequence[Param]],
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self._where, self._secret = _printable(location)
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            key: optuna.distributions.CategoricalDistribution(tuple(values))
            for key, values in choices.items()
        }
        for key, (low, high) in (ranges or {}).items():
            self._distributions[key] = optuna.distributions.FloatDistribution(low, high)
        try:
            storage = _storage(location)
            try:  # a journal grows by each attempt to create what is there
                self._study = optuna.load_study(study_name=name, storage=storage)
            except KeyError:
                self._study = optuna.create_study(
                    storage=storage, study_name=name, direction="maximize", load_if_exists=True
                )
            trials = self._study.get_trials(deepcopy=False)
        except Exception as error:
            raise self._unusable("opened", error) from error
        try:
            self._rows = {row.number: row for row in map(_record, trials)}
        except KeyError:
            raise InputError(
                f"storage {self._where}: study {name!r} was not written by this program"
            ) from None

    def rows(self) -> dict[int, Record]:
        """Return all rows by number."""
        return dict(self._rows)

    def add(self, row: Record) -> None:
        """Write one row, durably, before this returns.

        Raises:
            InputError: the storage cannot be written; what it held is still there.
        """
        import optuna

        states = {
            "finished": optuna.trial.TrialState.COMPLETE,
            "stopped": optuna.trial.TrialState.PRUNED,
            "failed": optuna.trial.TrialState.FAIL,
        }
        trial = optuna.trial.create_trial(
            state=states[row.state],
            value=row.value,
            params=dict(row.params),
            distributions={key: self._distributions[key] for key in row.params},
            user_attrs={"number": row.number, **row.attrs},
            intermediate_values=dict(row.steps),
        )
        try:
            self._study.add_trial(trial)
        except Exception as error:
            raise self._unusable("written", error) from error
        self._rows[row.number] = row

    def _unusable(self, verb: str, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or str(getattr(error, "orig", None) or error)
        if self._secret:
            reason = reason.replace(self._secret, "***")
        line = " ".join(reason.split())[:200]
        return InputError(
            f"storage {self._where}: cannot be {verb}: {line or type(error).__name__}"
        )


def _record(trial: Any) -> Record:
    states: dict[str, Literal["finished", "stopped", "failed"]] = {
        "COMPLETE": "finished",
        "PRUNED": "stopped",
        "FAIL": "failed",
    }
    attrs = dict(trial.user_attrs)
    return Record(
        number=attrs.pop("number"),
        params=trial.params,
        state=states[trial.state.name],
        value=trial.value if trial.state.name == "COMPLETE" else None,
        steps=tuple(sorted(trial.intermediate_values.items())),
        attrs=attrs,
    )


def _storage(location: Path | str) -> Any:
    from optuna.storages import RDBStorage
    from optuna.storages.journal import (
        JournalFileBackend,
        JournalFileOpenLock,
        JournalStorage,
    )

    if isinstance(location, str):
        return RDBStorage(location)
    path = location / JOURNAL
    path.parent.mkdir(parents=True, exist_ok=True)
    _mend(path)
    # Not Optuna's default lock, a symbolic link: some file systems have none, and one made with a
    # relative path points nowhere, on which a second process waits forever.
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))


def _mend(path: Path) -> None:
    """Cut off a line that a killed process left half written, and its lock.

    Only the owner of the run's folder comes here, so nobody else can be writing.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("r+b") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            stream.truncate(whole)
            stream.flush()
            os.fsync(stream.fileno())


def _printable(location: Path | str) -> tuple[str, str | None]:
    """Return a location for messages, and the password it holds, which no message may show."""
    if isinstance(location, Path):
        return str(location / JOURNAL), None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(location)
        return url.set(query={}).render_as_string(hide_password=True), url.password
    except (ArgumentError, ValueError):
        raise InputError(
            "storage: not a URL that is accepted: sqlite:///FILE or postgresql://…"
        ) from None
