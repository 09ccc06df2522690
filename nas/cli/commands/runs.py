"""Commands of a run: go on, look at it, hold it against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.parameters import (
    CpusPerTrial,
    Device,
    Folder,
    GpusPerTrial,
    Jobs,
    Json,
    Quiet,
    RayAddress,
    Storage,
    Time,
    Trials,
)


def resume(
    folder: Folder,
    trials: Trials = None,
    time: Time = None,
    jobs: Jobs = None,
    device: Device = None,
    storage: Storage = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="local|ray",
            help="Where evaluations run.",
            autocompletion=completion.one_of("local", "ray"),
        ),
    ] = None,
    ray_address: RayAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run, by the command that began it; the options given here replace its own."""
    from nas.cli.job import resume_job

    changes = {
        "trials": trials,
        "time": time,
        "jobs": jobs,
        "device": device,
        "storage": storage,
        "engine": engine,
        "ray_address": ray_address,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
    }
    resume_job(
        Path(folder), {k: v for k, v in changes.items() if v is not None}, json=json, quiet=quiet
    )


def status(
    folder: Folder,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Say how far a run is, also while it goes on: trials, best so far, time left, failures."""
    from nas.cli.status import show_status

    show_status(Path(folder), storage, json=json)


def report(
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR [DIR …]", help="A run's, or several to compare.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The page alone. Default: in DIR; of several, report.html here."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a run's report.html and pictures, finished or not, or a page that compares several."""
    from nas.cli.report import show_report

    show_report(
        [Path(folder) for folder in folders],
        None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


def events(
    folder: Folder,
    storage: Storage = None,
    top: Annotated[
        int, typer.Option(metavar="N", help="Trials, the best, with their choices.")
    ] = 50,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's or a training's numbers as TensorBoard reads them, into DIR/tensorboard."""
    from nas.cli.events import show_events

    show_events(Path(folder), storage, top, json=json, quiet=quiet)


def verify(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="A run's, or others' of results.",
            autocompletion=completion.folders,
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a folder of results against its hashes, and compute its numbers again: what differs."""
    from nas.cli.verify import show_verification

    show_verification(Path(folder), json=json, quiet=quiet)
