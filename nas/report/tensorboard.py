"""Event files, as TensorBoard reads them, of a run's search or of a training.

They are made of what the folder has, so they can be made at any time, and made again: then what is
new is appended, and a TensorBoard that has them open goes on reading.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nas.errors import InputError
from nas.evaluation.objective import ranked_rows
from nas.evaluation.study_reader import read_study
from nas.evaluation.study_row import StudyRow
from nas.files import write_bytes
from nas.records.run_state import RunState
from nas.records.training_document import TrainingDocument

FOLDER = "tensorboard"
"""Of a run's or a training's folder, for ``tensorboard --logdir``."""

EVENT_FILE = "events.out.tfevents"
"""TensorBoard reads files that have its second half in their name."""


TOP = 50
"""So many trials, the best, have their choices in the table of hyperparameters."""

_VERSION = "brain.Event:2"


@dataclass(frozen=True)
class Scalar:
    """A number at a step.

    Attributes:
        tag: what it is called; what stands before a ``/`` is a group.
        step: of the search, a trial's number; of a training, the steps done.
        value: the number.
        when: in seconds since 1970, or since the beginning of a training.
    """

    tag: str
    step: int
    value: float
    when: float


@dataclass(frozen=True)
class Session:
    """What was chosen, for the table of hyperparameters; ``name`` tells it from the others."""

    name: str
    choices: Mapping[str, int | float | str | bool]


@dataclass(frozen=True)
class Series:
    """What goes into one event file: perhaps a session, and its numbers."""

    scalars: Sequence[Scalar]
    session: Session | None = None


def write_events(folder: Path, *, storage: str | None = None, top: int = TOP) -> list[Path]:
    """Write the event files of a folder, and return them; those of an earlier time go.

    Args:
        folder: of a run or of a training, also of one that goes on.
        storage: the study's URL with a password, where ``run.json`` has it without.
        top: so many trials, the best, have their choices in the table of hyperparameters.

    Raises:
        InputError: no such folder, nothing in it yet, or TensorBoard is not installed.
    """
    check_installed()
    if (folder / RunState.FILE).is_file():
        series = search_series(_rows(folder, storage), top)
    elif (folder / TrainingDocument.FILE).is_file():
        series = {"training": training_series(TrainingDocument.read(folder))}
    else:
        raise InputError(
            f"{folder}: holds neither {RunState.FILE} nor {TrainingDocument.FILE}: a run or a "
            "training"
        )
    if not any(one.scalars for one in series.values()):
        raise InputError(f"{folder}: nothing has been measured yet")
    place = folder / FOLDER
    written = {place / name / EVENT_FILE: content(one) for name, one in series.items()}
    for path in sorted(place.rglob(EVENT_FILE)):
        if path not in written:
            path.unlink()
            path.parent.rmdir()
    for path, events in written.items():
        _write(path, events)
    return list(written)


def check_installed() -> None:
    """Raise :class:`InputError` where TensorBoard is not installed."""
    _module("tensorboard")


def search_series(rows: Sequence[StudyRow], top: int) -> dict[str, Series]:
    """Return the numbers of a search by trial, and its best trials with their choices.

    ``search`` has all that were measured; ``trials/0042`` is a session of trial 42.
    """
    measured = sorted(
        (row for row in rows if row.value is not None and row.attrs.get("accuracy")),
        key=lambda row: row.number,
    )
    scalars: list[Scalar] = []
    best: list[StudyRow] = []
    for row in measured:
        # By the objective: of what is ranked by loss, accuracy may fall from one best to the next.
        best = ranked_rows([*best, row])[:1]
        so_far = best[0].attrs["accuracy"]["mean"]
        scalars += _of_trial(row, "search", {"best so far": so_far})
    series = {"search": Series(scalars)}
    for row in ranked_rows(measured)[:top]:
        name = f"trials/{row.number:04}"
        scalars = list(_of_trial(row, "trial", {}))
        for step, value in row.steps:
            scalars.append(Scalar("trial/intermediate", step, value, row.written_at or 0.0))
        series[name] = Series(scalars, Session(name, row.params))
    return series


def training_series(history: TrainingDocument) -> Series:
    """Return the numbers of a training by step."""
    scalars = []
    when = 0.0
    step = 0
    for row in history.epochs:
        when += row.seconds
        step = round(row.epoch * history.schedule.steps_per_epoch)
        for tag, value in (
            ("accuracy/validation", row.validation_accuracy),
            ("loss/training", row.loss),
            ("loss/validation", row.validation_loss),
            ("training/epoch", row.epoch),
            ("training/learning rate", row.learning_rate),
            ("training/resolution", row.resolution),
            ("training/images per second", row.images_per_second),
        ):
            scalars.append(Scalar(tag, step, value, when))
    if history.test is not None:
        scalars.append(Scalar("accuracy/test", step, history.test.accuracy.mean, when))
    choices = {
        key: value
        for key, value in asdict(history.recipe).items()
        if isinstance(value, int | float | str | bool)
    }
    return Series(scalars, Session("training", {"architecture": history.architecture, **choices}))


def content(series: Series) -> bytes:
    """Return the bytes of an event file; the same numbers, the same bytes."""
    events = _module("tensorboard.compat.proto.event_pb2")
    buffer = io.BytesIO()
    records = _module("tensorboard.summary.writer.record_writer").RecordWriter(buffer)
    first = series.scalars[0].when if series.scalars else 0.0
    messages = [events.Event(wall_time=first, file_version=_VERSION)]
    if series.session is not None:
        summary = _session(series.session, first)
        messages.append(events.Event(wall_time=first, summary=summary))
    messages += _messages(series.scalars)
    for message in messages:
        records.write(message.SerializeToString(deterministic=True))
    return buffer.getvalue()


def _messages(scalars: Iterable[Scalar]) -> Iterator[Any]:
    events = _module("tensorboard.compat.proto.event_pb2")
    summary = _module("tensorboard.compat.proto.summary_pb2").Summary
    for one in scalars:
        value = summary.Value(tag=one.tag, simple_value=one.value)
        yield events.Event(wall_time=one.when, step=one.step, summary=summary(value=[value]))


def _session(session: Session, when: float) -> Any:
    """Return a session as the plugin of hyperparameters has it."""
    proto = _module("tensorboard.compat.proto.summary_pb2")
    known = _module("tensorboard.plugins.hparams.metadata")
    data = _module("tensorboard.plugins.hparams.plugin_data_pb2")
    start = data.SessionStartInfo(group_name=session.name, start_time_secs=when)
    for name, value in session.choices.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    plugin = proto.SummaryMetadata.PluginData(
        plugin_name=known.PLUGIN_NAME,
        content=data.HParamsPluginData(
            session_start_info=start, version=known.PLUGIN_DATA_VERSION
        ).SerializeToString(deterministic=True),  # it is a map
    )
    value = proto.Summary.Value(
        tag=known.SESSION_START_INFO_TAG, metadata=proto.SummaryMetadata(plugin_data=plugin)
    )
    return proto.Summary(value=[value])


def _of_trial(row: StudyRow, group: str, more: Mapping[str, float]) -> Iterator[Scalar]:
    accuracy, cost = row.attrs["accuracy"], row.attrs.get("cost", {})
    numbers = {
        "accuracy": accuracy["mean"],
        **more,
        "loss": accuracy.get("loss"),
        "FLOPs": cost.get("flops"),
        "parameters": cost.get("params"),
        "seconds": row.attrs.get("seconds"),
    }
    for name, number in numbers.items():
        if number is not None:
            yield Scalar(f"{group}/{name}", row.number, float(number), row.written_at or 0.0)


def _rows(folder: Path, storage: str | None) -> list[StudyRow]:
    run = RunState.read(folder)
    if storage is not None and run.storage is None:
        raise InputError(f"{folder}: --storage: not accepted, its study is a file in the folder")
    url = storage or run.storage
    search = run.phases.get("search")
    return [] if search is None else read_study(folder if url is None else url, search.study)


def _write(path: Path, events: bytes) -> None:
    before = path.read_bytes() if path.is_file() else b""
    if not before or not events.startswith(before):
        write_bytes(path, events)
        return
    try:
        with path.open("ab") as stream:
            stream.write(events[len(before) :])
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or name).partition(".")[0]
        raise InputError(
            f"{missing} is not installed: pip install 'nas-search[tensorboard]', or {missing} "
            "itself"
        ) from None
