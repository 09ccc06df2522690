"""The command ``train``: one network trained at full width and resolution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nas.cli import completion
from nas.cli.console import escape, plain_table, print_facts, print_json, print_table, print_written
from nas.cli.option_values import duration, note_device
from nas.cli.panels import ACCURACY, NETWORK, OUTPUT, TRAINING
from nas.cli.parameters import (
    Arch,
    Device,
    Json,
    Quiet,
    Verbose,
    augment_option,
    data_option,
    fit_option,
    groups_option,
    max_pixels_option,
    no_test_option,
    out_option,
    seed_option,
    time_option,
    weights_arch_option,
    weights_option,
)
from nas.cli.terminal_progress import TerminalProgress, resumable
from nas.environment import chosen_device
from nas.spaces.budget import amount
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.accuracy import Accuracy
    from nas.runs.training.train import Trained
    from nas.training.class_metrics import ClassScore

SHOWN = 30
"""Most classes that the table shows, those with the lowest F1; ``history.json`` has all."""


def train(
    arch: Arch,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input resolution that the network is trained at and used at.",
            show_default="that of ARCH",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    stem_stride: Annotated[
        int | None,
        typer.Option(
            metavar="1|2",
            help="Stride of the stem convolution.",
            show_default="that of ARCH, or 1 if its last feature map would be 1 × 1",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        weights_option(
            "Trained weights to begin with, of ARCH or of another network: a file, timm:NAME or "
            "torchvision:NAME.",
            "random",
            NETWORK,
        ),
    ] = None,
    weights_architecture: Annotated[str | None, weights_arch_option(NETWORK)] = None,
    freeze: Annotated[
        bool,
        typer.Option(
            "--freeze",
            help="Train nothing but the classifier; for very few images. Needs --weights.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    data: Annotated[str | None, data_option(TRAINING)] = None,
    fit: Annotated[str, fit_option(TRAINING)] = "crop",
    augment: Annotated[str | None, augment_option(TRAINING)] = None,
    max_pixels: Annotated[int | None, max_pixels_option(TRAINING)] = None,
    no_test: Annotated[bool, no_test_option(TRAINING)] = False,
    groups: Annotated[str | None, groups_option(TRAINING)] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of epochs to train.",
            show_default="20",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of images in a batch.",
            show_default="64",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Peak learning rate.",
            show_default="scaled with the batch size",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Parts of a batch that are computed at once, each by a thread of its own and with "
            "batch norms of its own.",
            show_default="2 on a CPU, else 1",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Teacher network for knowledge distillation; needs --teacher-weights.",
            autocompletion=completion.architectures,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    teacher_weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Weights of the teacher network.", rich_help_panel=TRAINING
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Temperature that the teacher's logits are divided by.",
            show_default="2",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[int, seed_option(TRAINING)] = 0,
    eval_test: Annotated[
        bool,
        typer.Option(
            "--eval-test",
            help="Measure accuracy on the test images too, once, after the training.",
            rich_help_panel=ACCURACY,
        ),
    ] = False,
    time: Annotated[
        str | None, time_option("Time to train for, instead of --epochs", False)
    ] = None,
    device: Device = None,
    out: Annotated[
        str | None,
        out_option(
            "DIR", "Folder of the training; rerun the command to resume.", "results/ARCH-DATA"
        ),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write TensorBoard event files during the training.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Train one network at full width and resolution, and write its weights.

    Rerun the command to resume an interrupted training. Example:

    nas-search train baseline.json --data my-images/ --time 60m
    """
    began = monotonic()
    from nas.data.dataset import ImageOptions
    from nas.runs.training.settings import TrainSettings
    from nas.runs.training.train import train as train_network

    settings = TrainSettings(
        architecture=load_architecture(arch),
        data=data,
        image_options=ImageOptions(fit, augment, max_pixels, not no_test, groups),
        out=None if out is None else Path(out),
        weights=weights,
        weights_architecture=None
        if weights_architecture is None
        else load_architecture(weights_architecture),
        freeze=freeze,
        teacher=None if teacher is None else load_architecture(teacher),
        teacher_weights=None if teacher_weights is None else Path(teacher_weights),
        temperature=temperature,
        resolution=resolution,
        stem_stride=stem_stride,
        epochs=epochs,
        seconds=duration(time),
        batch_size=batch_size,
        learning_rate=learning_rate,
        shards=shards,
        seed=seed,
        device=chosen_device(device),
        test=eval_test,
        tensorboard=tensorboard,
        began=began,
    )
    with TerminalProgress(quiet=quiet) as progress, resumable(settings.folder):
        note_device(progress, device, settings.device)
        trained = train_network(settings, progress)
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
