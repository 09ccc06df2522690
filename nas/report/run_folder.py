"""A run's folder as a report needs it: finished, half finished, or without its study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from nas.accuracy import RankBy
from nas.errors import InputError
from nas.evaluation.journal import JOURNAL
from nas.evaluation.study_reader import read_study
from nas.evaluation.study_row import StudyRow
from nas.files import parse_json, read_text, validate
from nas.networks.architecture_file import ArchitectureRecord, read_record, record_from_dict
from nas.proxies.registry import recorded_rank_by
from nas.records.coefficients_file import CoefficientsFile
from nas.records.finalists_file import FinalistsFile
from nas.records.run_state import FAMILY, RunState
from nas.records.training_document import TrainingDocument
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace

T = TypeVar("T")

Count = Annotated[int, Field(ge=0)]
Interval = tuple[float, float]
CONFIG = ConfigDict(allow_inf_nan=False)


class _ReportPart(BaseModel):
    model_config = CONFIG


class _Front(_ReportPart):
    points: list[dict[str, Any]]


_COEFFICIENTS: TypeAdapter[CoefficientsFile] = TypeAdapter(CoefficientsFile)
_FINALS: TypeAdapter[FinalistsFile] = TypeAdapter(FinalistsFile)
_FRONT: TypeAdapter[_Front] = TypeAdapter(_Front)


@dataclass(frozen=True)
class RunFolder:
    """What a run's folder holds.

    Attributes:
        name: of the folder.
        state: ``run.json``.
        budget: its limits.
        space: what was searched, or None: it is not known here as the run had it.
        rank_by: what stands for accuracy in the ranking.
        rows: of the search's study, by number; None: it is not here.
        front: ``front.json``; None: not there yet. Likewise the rest.
        family: b0, b1, … as far as they are there.
        training: of the baseline, in the end; None: there was none, or its folder is not here.
        missing: what is not there, a sentence each.
    """

    name: str
    state: RunState
    budget: Budget
    space: SearchSpace | None
    rank_by: RankBy
    rows: tuple[StudyRow, ...] | None
    baseline: ArchitectureRecord | None
    front: tuple[ArchitectureRecord, ...] | None
    finals: FinalistsFile | None
    scaling: CoefficientsFile | None
    family: tuple[ArchitectureRecord, ...]
    training: TrainingDocument | None
    missing: tuple[str, ...]


def read_run(folder: Path, storage: str | None = None) -> RunFolder:
    """Return what a run's folder holds; changes nothing in it.

    Args:
        folder: of a run, finished or not, with its study or without.
        storage: the study's URL with a password, where ``run.json`` has it without.

    Raises:
        InputError: no run's folder, or a file that cannot be read or is not what it should be.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    state = RunState.read(folder)
    limits = state.identity["budget"]
    try:
        budget = Budget.of(state.budget, dict(limits))
    except TypeError:
        path = folder / RunState.FILE
        raise InputError(f"{path}: identity.budget: {list(limits)} is not accepted") from None
    missing: list[str] = []
    space = state.known_space()
    if space is None:
        missing.append(
            f"The search space {state.space!r} is not available here as the run "
            "used it: only networks that have a file are shown."
        )
    rows = _rows(folder, state, storage, missing)
    baseline = _optional(folder / "baseline.json", read_record)
    if baseline is None:
        missing.append("The run has no baseline yet: the best network so far is shown.")
    front = _optional(folder / "front.json", _read_front)
    finals = _optional(folder / "finalists.json", lambda at: _read(_FINALS, at))
    scaling = _optional(folder / "coefficients.json", lambda at: _read(_COEFFICIENTS, at))
    members = (folder / FAMILY / f"b{index}.json" for index in range(8))
    family = tuple(read_record(path) for path in members if path.is_file())
    if scaling is None and (state.command is None or state.command.scale):
        missing.append("The run has no scaling coefficients yet, and therefore no family.")
    if state.status != "finished":
        missing.insert(0, "The run is not finished: rerun the command to resume it.")
    return RunFolder(
        name=folder.resolve().name,
        state=state,
        budget=budget,
        space=space,
        rank_by=_rank_by(state, baseline),
        rows=rows,
        baseline=baseline,
        front=front,
        finals=finals,
        scaling=scaling,
        family=family,
        training=_training(folder, state),
        missing=tuple(missing),
    )


def _rank_by(state: RunState, baseline: ArchitectureRecord | None) -> RankBy:
    said = None if baseline is None else baseline.provenance.get("rank_by")
    if said is None:
        proxy = state.identity["proxy"]
        said = recorded_rank_by(str(proxy.get("name") if isinstance(proxy, dict) else proxy))
    return "loss" if said == "loss" else "accuracy"


def _rows(
    folder: Path,
    state: RunState,
    storage: str | None,
    missing: list[str],
) -> tuple[StudyRow, ...] | None:
    """Return the rows of the search's study, or None, saying why."""
    url = storage or state.storage
    name = state.study_name("search")
    if url is None and not (folder / JOURNAL).is_file():
        missing.append(
            f"{JOURNAL} is missing: only the trials on the front are known; progress and the "
            "importance of choices are left out."
        )
        return None
    try:
        written = read_study(folder if url is None else url, name)
    except InputError as error:
        if url is None:
            raise
        missing.append(f"The study cannot be read, and its trials are left out: {error}.")
        return None
    if not written:
        missing.append("The study has no trials of this run yet.")
        return None
    return tuple(sorted(written, key=lambda row: row.number))


def _training(folder: Path, state: RunState) -> TrainingDocument | None:
    trained = state.trained
    if trained is None or not (folder / trained.folder / TrainingDocument.FILE).is_file():
        return None
    return TrainingDocument.read(folder / trained.folder)


def _optional(path: Path, read: Any) -> Any:
    return read(path) if path.is_file() else None


def _read(adapter: TypeAdapter[T], path: Path) -> T:
    return validate(adapter, parse_json(read_text(path), str(path)), str(path))


def _read_front(path: Path) -> tuple[ArchitectureRecord, ...]:
    return tuple(
        record_from_dict(point, f"{path}: points{index}")
        for index, point in enumerate(_read(_FRONT, path).points, 1)
    )
