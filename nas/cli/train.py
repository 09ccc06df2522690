"""The command ``train``: one architecture trained at full width and resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

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
from nas.cli.options import check_device, duration, kept, positive
from nas.errors import InputError
from nas.spaces.budget import amount
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.runs.training import Trained

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
    architecture = load_architecture(name)
    if (teacher is None) != (teacher_weights is None):
        raise InputError("--teacher and --teacher-weights need each other")
    if temperature is not None and teacher is None:
        raise InputError("--temperature needs --teacher")
    if epochs is not None and time is not None:
        raise InputError("--epochs and --time: accepted: one of them")
    positive("epochs", epochs)
    for what, value, least, most in (
        ("resolution", resolution, 8, 4_096),
        ("stem-stride", stem_stride, 1, 2),
        ("batch-size", batch_size, 2, 65_536),
        ("temperature", temperature, 0.1, 100),
        ("learning-rate", learning_rate, 1e-8, 10),
    ):
        if value is not None and not least <= value <= most:
            raise InputError(f"{what}: {value:g} is not accepted: {least:g} to {most:g}")
    seconds = duration(time)
    check_device(device)
    if tensorboard:
        from nas.report.tensorboard import check_installed

        check_installed()
    from nas.runs.training import Request, train

    request = Request(
        architecture=architecture,
        data=data,
        out=out,
        weights=None if weights is None else Path(weights),
        teacher=None if teacher is None else load_architecture(teacher),
        teacher_weights=None if teacher_weights is None else Path(teacher_weights),
        temperature=temperature or 2.0,
        resolution=resolution,
        stem_stride=stem_stride,
        epochs=epochs,
        seconds=seconds,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        test=test,
        tensorboard=tensorboard,
        began=began,
    )
    with Show(quiet=quiet) as show, kept(request.folder):
        trained = train(request, show)
    if json:
        print_json({"out": str(trained.folder), **trained.document})
    elif not quiet:
        _print(trained)


def _print(trained: Trained) -> None:
    document = trained.document
    part = "test" if document["test"] else "validation"
    print_table(_table(document[part]["classes"], part))
    schedule, cost = document["schedule"], document["cost"]
    epochs = schedule["steps"] / schedule["steps_per_epoch"]
    network = (
        f"{trained.architecture.name}: {amount(cost['flops'])} FLOPs, "
        f"{amount(cost['params'])} parameters, {document['resolution']} px, "
        f"stem stride {document['stem_stride']}"
    )
    print_facts(
        [
            ("network", network),
            ("trained", f"{epochs:.4g} epochs in {document['seconds'] / 60:.1f} min"),
            *((key, _words(document, key)) for key in ("validation", "test") if document[key]),
        ]
    )
    print_written(trained.folder)


def _words(document: Mapping[str, Any], part: str) -> str:
    found = document[part]["accuracy"]
    return (
        f"{found['mean']:.4f} ± {found['standard_error']:.4f}, "
        f"loss {found['loss']:.3f} ({found['metric']})"
    )


def _table(classes: Sequence[Mapping[str, Any]], part: str) -> Table:
    """Return precision, recall and F1 by class; of many classes, the weakest."""
    table = plain_table(
        f"Per-class metrics on {part} images",
        ("class", "precision", "recall", "F1", "images"),
        left=("class",),
    )
    shown = classes
    if len(classes) > SHOWN:
        shown = sorted(classes, key=lambda row: -1 if row["f1"] is None else row["f1"])[:SHOWN]
        table.caption = f"the {SHOWN} of {len(classes):,} classes with the lowest F1"
    for row in shown:
        table.add_row(
            escape(row["name"]),
            *("–" if row[key] is None else f"{row[key]:.3f}" for key in _SHARES),
            f"{row['support']:,}",
        )
    return table


_SHARES = ("precision", "recall", "f1")
