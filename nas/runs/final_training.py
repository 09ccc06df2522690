"""The end of a run on images: its baseline, trained at its own resolution, its weights kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from nas.errors import InputError, NotEquivalent
from nas.export.export import export_network
from nas.export.folder import EXPORT_FILE
from nas.export.targets import PACKAGES, Target, check_expressible
from nas.files import parse_json, read_text, sha256, write_bytes
from nas.networks.architecture import Architecture
from nas.networks.optional_packages import package
from nas.proxies.presets import middle_network
from nas.records.beside import WEIGHTS
from nas.records.results import BASELINE_WEIGHTS, EXPORTED
from nas.records.run_state import TrainedBaseline
from nas.runs.session import RunSession
from nas.runs.settings import RunSettings
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train

FOLDER = "training"
"""Of the training, in a run's folder."""

SECONDS = 600.0
"""Of the training, where a run has no limit on time."""

MIN_SECONDS = 5.0
"""Of the training, where nothing is left of the time."""


def train_in_run(session: RunSession, baseline: Architecture) -> TrainedBaseline:
    """Train a run's baseline, or resume that; return what it is worth.

    Args:
        session: of the run.
        baseline: the network.
    """
    settings, folder = session.context.settings, session.folder.path
    given = session.seconds_for("train")
    before = session.state.trained_seconds
    seconds = before or round(SECONDS if given is None else max(MIN_SECONDS, given), 1)
    session.save(trained_seconds=seconds)
    trained = train(
        TrainSettings(
            architecture=baseline,
            data=settings.data,
            out=folder / FOLDER,
            weights=settings.weights,
            seconds=seconds,
            seed=settings.seed,
            device=settings.device,
            test=True,
            image_options=settings.image_options,
        ),
        session.progress,
    )
    write_bytes(folder / BASELINE_WEIGHTS, (trained.folder / WEIGHTS).read_bytes())
    document = trained.document
    result = TrainedBaseline(
        file=BASELINE_WEIGHTS,
        folder=FOLDER,
        epochs=round(document.schedule.epochs, 3),
        resolution=document.resolution,
        validation=None if document.validation is None else document.validation.accuracy.to_dict(),
        test=None if document.test is None else document.test.accuracy.to_dict(),
        export=_export(session, baseline),
    )
    session.save(trained=result)
    return result


def check_export(settings: RunSettings) -> None:
    """Raise :class:`InputError` for an export that could not be made in the end."""
    if settings.export is None:
        return
    target = _target(settings.export)
    if not settings.trains:
        raise InputError(f"--export {target}: needs --data, and no --no-train: trained weights")
    for name in PACKAGES[target]:
        package(name)
    check_expressible(middle_network(settings.space), target)


def _target(text: str) -> Target:
    for known in PACKAGES:
        if text == known != "json":  # the baseline is JSON as it is
            return known
    accepted = ", ".join(known for known in PACKAGES if known != "json")
    raise InputError(f"export {text!r} is not accepted: {accepted}")


def _export(session: RunSession, baseline: Architecture) -> str | None:
    """Export the trained baseline; return the folder, or None where it was not, and say why."""
    asked, folder = session.context.settings.export, session.folder.path
    place = folder / EXPORTED
    if asked is None:
        return EXPORTED if place.is_dir() else None
    if place.is_dir() and _is_export(place, asked, folder / BASELINE_WEIGHTS):
        return EXPORTED
    # Of other weights, or for something else: the run's own, which is made again.
    shutil.rmtree(place, ignore_errors=True)
    try:
        export_network(
            baseline,
            _target(asked),
            place,
            weights=folder / BASELINE_WEIGHTS,
            seed=session.context.settings.seed,
            progress=session.progress,
        )
    except (InputError, NotEquivalent) as error:
        session.notes.add(f"the baseline is not exported: {error}")
        return None
    return EXPORTED


def _is_export(place: Path, target: str, weights: Path) -> bool:
    """Return whether a folder holds an export of these weights for this target."""
    file = place / EXPORT_FILE
    if not file.is_file():
        return False
    command = parse_json(read_text(file), str(file)).get("command", {})
    return bool(command.get("target") == target and command.get("weights") == sha256(weights))
