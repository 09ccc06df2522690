"""The command ``predict``: the classes of images by a trained network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import escape, plain_table, print_json, print_lines, print_table
from nas.cli.option_values import note_device
from nas.cli.panels import NETWORK, OUTPUT
from nas.cli.parameters import Device, Json, Quiet, Verbose, weights_arch_option
from nas.cli.terminal_progress import TerminalProgress
from nas.environment import chosen_device
from nas.errors import InputError
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.runs.prediction import Prediction

NAMED = 10
"""Images that cannot be read are named up to so many."""


def predict(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="Weights of a trained network, or the folder of a training or run.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Image files, folders, or - for a list of files on stdin."
        ),
    ],
    top: Annotated[
        int,
        typer.Option(metavar="K", help="Number of classes of each image.", rich_help_panel=OUTPUT),
    ] = 5,
    weights_architecture: Annotated[str | None, weights_arch_option(NETWORK)] = None,
    batch_size: Annotated[
        int,
        typer.Option(metavar="N", help="Images computed at once.", rich_help_panel=NETWORK),
    ] = 64,
    table: Annotated[
        str | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write a table: image, rank, class and probability.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Print the most probable classes of images by a trained network.

    Images are prepared as those of the training were. Exit status 1: some cannot be read, and the
    others are printed. Example:

    nas-search predict trained/ photo.jpg
    """
    from nas.runs.prediction import ImageClassifier, image_files, write_predictions

    files = image_files(images, sys.stdin if "-" in images else ())
    where = chosen_device(device)
    with TerminalProgress(quiet=quiet) as progress:
        note_device(progress, device, where)
        classifier = ImageClassifier(
            weights,
            None if weights_architecture is None else load_architecture(weights_architecture),
            where,
        )
        found = list(classifier.predict(files, top=top, batch_size=batch_size, progress=progress))
    unread = [one for one in found if one.error is not None]
    if len(unread) == len(found):
        raise InputError(_unread(unread, len(found)))
    if table is not None:
        write_predictions(found, Path(table))
    if json:
        print_json(
            {
                "weights": str(weights),
                "architecture": classifier.architecture.name,
                "classes": list(classifier.classes),
                "images": [_plain(one) for one in found],
            }
        )
    elif not quiet:
        _print(found)
    if unread:
        print("nas-search:", _unread(unread, len(found)), file=sys.stderr)
        raise typer.Exit(1)


def _plain(one: Prediction) -> dict[str, Any]:
    if one.error is not None:
        return {"path": str(one.image), "error": one.error}
    top = [{"class": c.name, "probability": c.probability} for c in one.top]
    return {"path": str(one.image), "top": top}


def _unread(unread: Sequence[Prediction], total: int) -> str:
    reasons = "; ".join(str(one.error) for one in unread[:NAMED])
    more = f" and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
    if total == 1:
        return reasons
    return f"{len(unread)} of {total:,} images cannot be read: {reasons}{more}"


def _print(found: Sequence[Prediction]) -> None:
    """Print a table: of one image a row a class, of several a row an image."""
    read = [one for one in found if one.error is None]
    if len(read) == 1:
        rows = plain_table(str(read[0].image), ("class", "probability"), left=("class",))
        for guess in read[0].top:
            rows.add_row(escape(guess.name), f"{guess.probability:.4f}")
        print_table(rows)
        return
    rows = plain_table(
        f"{len(read):,} images",
        ("image", "class", "probability", "then"),
        left=("image", "class", "then"),
    )
    for one in read:
        first, *others = one.top
        rows.add_row(
            escape(str(one.image)),
            escape(first.name),
            f"{first.probability:.4f}",
            escape(", ".join(f"{guess.name} {guess.probability:.2f}" for guess in others)),
        )
    print_table(rows)
    print_lines()
