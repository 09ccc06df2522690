"""Studies on disk, as Optuna's: a row is written once, whole, when its evaluation has ended.

A study in a database may have several drivers, on several machines; see
:mod:`nas.evaluation.leases`.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nas.evaluation.database import already_made, is_transient, making_tables, with_retries
from nas.evaluation.leases import Answer, Claim, Claims
from nas.evaluation.storage import StorageLocation, close_storage
from nas.evaluation.study_row import Param, StudyRow, row_from_trial, row_to_trial

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Changes:
    """What other drivers of a study have done since the last refresh, and what has become ours.

    Attributes:
        rows: what they have written.
        elsewhere: what they have claimed and not written yet: networks' keys by number.
        inherited: claims that this driver has taken over from dead drivers, or left itself when it
            was killed; they are to be evaluated as they are.
    """

    rows: tuple[StudyRow, ...] = ()
    elsewhere: Mapping[int, str] = field(default_factory=dict)
    inherited: tuple[Claim, ...] = ()


class Study:
    """An Optuna study that holds only evaluations that have ended, so nothing in it goes stale.

    It opens with ``optuna.load_study`` and optuna-dashboard. Close it, or use it in a ``with``,
    where it has an owner.

    Args:
        location: a folder (the study is ``study.log`` in it) or a storage URL.
        name: the study's name; one location holds any number of studies.
        choices: the values that each parameter may take.
        owner: this driver's name, where others may share the study; every evaluation must then be
            claimed first. A journal has one driver and no claims.
        metric: the name of a row's value, for dashboards; set when the study is made.

    Raises:
        InputError: the storage cannot be opened.
    """

    def __init__(
        self,
        location: Path | str,
        name: str,
        choices: Mapping[str, Sequence[Param]],
        owner: str | None = None,
        metric: str | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self._location = StorageLocation(location)
        self._claims: Claims | None = None
        self._metric = metric
        self._storage: Any = None
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            key: optuna.distributions.CategoricalDistribution(tuple(values))
            for key, values in choices.items()
        }
        try:
            url = self._location.url
            with nullcontext() if url is None else making_tables(url):
                self._study, trials = self._opened(name)
                if url is not None and owner is not None:
                    self._claims = Claims(url, name, owner)
        except Exception as error:
            raise self._location.error("opened", error) from error
        self._rows: dict[int, StudyRow] = {}
        self._words = self._location.study(name)
        self._learn(trials)
        if self._claims is not None:
            self._forget(self._claims)
        logger.info("%s opened with %d rows", self._words, len(self._rows))

    def rows(self) -> dict[int, StudyRow]:
        """Return all rows by number."""
        return dict(self._rows)

    def claim(self, number: int, key: str, params: Mapping[str, Param]) -> Answer:
        """Claim an evaluation before it begins; a study of one driver grants every claim.

        Args:
            number: of the row.
            key: no two evaluations may have the same, such as the network's.
            params: what was chosen, for a driver that takes the claim over.
        """
        if self._claims is None:
            return "ours"
        try:
            return self._claims.take(number, key, params)
        except Exception as error:
            raise self._location.error("written", error, lost=True) from error

    def refresh(self, most: int) -> Changes:
        """Return what other drivers have done; nothing where there is one driver.

        Args:
            most: how many claims of dead drivers to take over at most.
        """
        if self._claims is None:
            return Changes()
        try:
            # The claims first: what another driver finishes in between is then among the rows.
            elsewhere = self._claims.elsewhere()
            new = self._learn(with_retries(lambda again: self._study.get_trials(deepcopy=False)))
            inherited = self._claims.inherit(most, self._rows)
        except Exception as error:
            raise self._location.error("read", error, lost=True) from error
        ours = {claim.number for claim in inherited}
        return Changes(
            rows=tuple(new),
            elsewhere={
                number: key
                for number, key in elsewhere.items()
                if number not in self._rows and number not in ours
            },
            inherited=tuple(inherited),
        )

    def add(self, row: StudyRow) -> bool:
        """Write one row, durably, before this returns.

        Returns:
            Whether it was written. False where the claim had expired, perhaps while the machine was
            suspended, and another driver has taken it over.

        Raises:
            Lost: the storage cannot be written any more; what it held is still there.
        """
        trial = row_to_trial(row, self._distributions)

        def write(again: bool) -> None:
            if again and any(new.number == row.number for new in self._fresh()):
                return  # the first attempt succeeded, and only the answer was lost
            self._study.add_trial(trial)

        try:
            if self._claims is not None and not self._claims.confirm(row.number):
                return False
            with_retries(write)
            self._rows[row.number] = row
            if self._claims is not None:
                self._claims.finish(row.number)
        except Exception as error:
            raise self._location.error("written", error, lost=True) from error
        return True

    def close(self) -> None:
        """Release the claims that are not finished, and close the connections to the database."""
        if self._claims is not None:
            self._claims.close()
        close_storage(self._storage)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _opened(self, name: str) -> tuple[Any, list[Any]]:
        """Return the study and its trials; other drivers may make it at the same time."""
        import optuna

        for attempt in range(3):
            try:
                self._storage = self._location.open()
                try:  # not create_study: each call adds a line to a journal
                    study = optuna.load_study(study_name=name, storage=self._storage)
                except KeyError:
                    study = optuna.create_study(
                        storage=self._storage,
                        study_name=name,
                        direction="maximize",
                        load_if_exists=True,
                    )
                    if self._metric is not None:
                        with warnings.catch_warnings():  # experimental since Optuna 3.2
                            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                            study.set_metric_names([self._metric])
                return study, study.get_trials(deepcopy=False)
            except Exception as error:
                close_storage(self._storage)
                if attempt == 2 or not (is_transient(error) or already_made(error)):
                    raise
                time.sleep(0.3)
        raise AssertionError

    def _forget(self, claims: Claims) -> None:
        """Drop the claims of rows that are gone because somebody has deleted the study."""
        closed = claims.closed()
        self._learn(self._study.get_trials(deepcopy=False))  # after closed()
        claims.forget(closed - self._rows.keys())

    def _fresh(self) -> list[StudyRow]:
        trials = self._study.get_trials(deepcopy=False)
        return [row_from_trial(trial, self._words) for trial in trials]

    def _learn(self, trials: Sequence[Any]) -> list[StudyRow]:
        """Take in trials that are new, and return their rows.

        If a number occurs twice, the first one counts. (That takes a driver that is suspended for
        longer than a lease between confirming its claim and writing.)
        """
        new = []
        for trial in trials:
            number = trial.user_attrs.get("number")
            if isinstance(number, int) and number in self._rows:
                continue  # validated before
            row = row_from_trial(trial, self._words)
            self._rows[row.number] = row
            new.append(row)
        return new


def agreed(location: str, name: str, content: Any) -> Any:
    """Return what the first of the drivers that share a database decided, as JSON values.

    Args:
        location: the storage's URL.
        name: of the decision, the same for all drivers.
        content: what this driver would decide; JSON values only.

    Raises:
        InputError: the storage cannot be used.
    """
    place = StorageLocation(location)
    assert place.url is not None
    try:
        with making_tables(place.url):
            claims = Claims(place.url, name, "agreed")
        try:
            return claims.agree(content)
        finally:
            claims.close()
    except Exception as error:
        raise place.error("written", error) from error
