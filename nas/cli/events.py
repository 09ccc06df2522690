"""The command ``events``: a run's or a training's numbers, as TensorBoard reads them."""

from __future__ import annotations

import shlex
from pathlib import Path

from nas.cli.console import print_json, print_lines
from nas.errors import InputError


def show_events(folder: Path, storage: str | None, top: int, *, json: bool, quiet: bool) -> None:
    """Write the event files of a folder, and print where they are."""
    if not 0 <= top <= 10_000:
        raise InputError(f"top: {top} is not accepted: 0 to 10000")
    from nas.report.tensorboard import FOLDER, write_events

    written = write_events(folder, storage=storage, top=top)
    place = folder / FOLDER
    if json:
        print_json({"out": str(place), "files": [str(path) for path in written]})
    elif not quiet:
        print_lines(
            f"written {place}: {len(written)} event files",
            f"  tensorboard --logdir {shlex.quote(str(place))}",
        )
