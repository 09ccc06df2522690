"""The command ``events``: the metrics of a run or a training, for TensorBoard."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.console import print_json, print_lines
from nas.cli.panels import OUTPUT
from nas.cli.parameters import Json, Quiet, Storage, Verbose, as_before
from nas.errors import InputError


def events(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="Folder of a run or of a training.",
            autocompletion=completion.folders,
        ),
    ],
    storage: Annotated[str | None, as_before(Storage)] = None,
    top: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of best trials to write with their choices, as hyperparameters.",
            rich_help_panel=OUTPUT,
        ),
    ] = 50,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Write the metrics of a run or a training as TensorBoard events, into DIR/tensorboard."""
    if not 0 <= top <= 10_000:
        raise InputError(f"top: {top} is not accepted: 0 to 10000")
    from nas.report.tensorboard import FOLDER, write_events

    written = write_events(Path(folder), storage=storage, top=top)
    place = Path(folder) / FOLDER
    if json:
        print_json({"out": str(place), "files": [str(path) for path in written]})
    elif not quiet:
        print_lines(
            f"written {place}: {len(written)} event files",
            f"  tensorboard --logdir {shlex.quote(str(place))}",
        )
