"""The command ``train``: one architecture trained at full width and resolution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rich.table import Table

from nas.cli.console import (
    Show,
    escape,
    plain_table,
    print_facts,
    print_json,
    print_table,
    print_written,
)
from nas.cli.options import duration, kept
from nas.spaces.budget import amount
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.accuracy import Accuracy
    from nas.runs.training.train import Trained
    from nas.training.class_metrics import ClassScore

SHOWN = 30
"""Most classes that the table shows, those with the lowest F1; ``history.json`` has all."""


def train_network(
    name: str,
    *,
    data: str | None,
    out: Path | None,
    weights: str | None,
    teacher: str | None,
    teacher_weights: str | None,
    temperature: float | None,
    resolution: int | None,
    stem_stride: int | None,
    epochs: int | None,
    time: str | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    device: str,
    test: bool,
    tensorboard: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Train a network, and print its accuracy."""
    began = monotonic()
    from nas.runs.training.settings import TrainSettings
    from nas.runs.training.train import train

    settings = TrainSettings(
        architecture=load_architecture(name),
        data=data,
        out=out,
        weights=None if weights is None else Path(weights),
        teacher=None if teacher is None else load_architecture(teacher),
        teacher_weights=None if teacher_weights is None else Path(teacher_weights),
        temperature=temperature,
        resolution=resolution,
        stem_stride=stem_stride,
        epochs=epochs,
        seconds=duration(time),
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        test=test,
        tensorboard=tensorboard,
        began=began,
    )
    with Show(quiet=quiet) as show, kept(settings.folder):
        trained = train(settings, show)
    if json:
        print_json({"out": str(trained.folder), **trained.document.to_dict()})
    elif not quiet:
        _print(trained)


def _print(trained: Trained) -> None:
    document = trained.document
    scores = {"validation": document.validation, "test": document.test}
    known = {part: score for part, score in scores.items() if score is not None}
    part = list(known)[-1]
    print_table(_table(known[part].classes, part))
    network = (
        f"{document.architecture}: {amount(document.cost.flops)} FLOPs, "
        f"{amount(document.cost.params)} parameters, {document.resolution} px, "
        f"stem stride {document.stem_stride}"
    )
    minutes = (document.seconds or 0.0) / 60
    print_facts(
        [
            ("network", network),
            ("trained", f"{document.schedule.epochs:.4g} epochs in {minutes:.1f} min"),
            *((part, _words(score.accuracy)) for part, score in known.items()),
        ]
    )
    print_written(trained.folder)


def _words(found: Accuracy) -> str:
    return f"{found.mean:.4f} ± {found.standard_error:.4f}, loss {found.loss:.3f} ({found.metric})"


def _table(classes: Sequence[ClassScore], part: str) -> Table:
    """Return precision, recall and F1 by class; of many classes, the weakest."""
    table = plain_table(
        f"Per-class metrics on {part} images",
        ("class", "precision", "recall", "F1", "images"),
        left=("class",),
    )
    shown = classes
    if len(classes) > SHOWN:
        shown = sorted(classes, key=lambda row: -1 if row.f1 is None else row.f1)[:SHOWN]
        table.caption = f"the {SHOWN} of {len(classes):,} classes with the lowest F1"
    for row in shown:
        shares = (row.precision, row.recall, row.f1)
        table.add_row(
            escape(row.name),
            *("–" if share is None else f"{share:.3f}" for share in shares),
            f"{row.support:,}",
        )
    return table
