"""Commands of runs: resume them, watch them, report on them, verify them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.panels import OUTPUT
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
    Verbose,
    as_before,
    engine_option,
    out_option,
)


def resume(
    folder: Folder,
    trials: Annotated[int | None, as_before(Trials)] = None,
    time: Annotated[str | None, as_before(Time)] = None,
    jobs: Annotated[int | None, as_before(Jobs)] = None,
    device: Annotated[str | None, as_before(Device)] = None,
    engine: Annotated[str | None, engine_option("as the run began")] = None,
    ray_address: Annotated[str | None, as_before(RayAddress)] = None,
    cpus_per_trial: Annotated[float | None, as_before(CpusPerTrial)] = None,
    gpus_per_trial: Annotated[float | None, as_before(GpusPerTrial)] = None,
    storage: Annotated[str | None, as_before(Storage)] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Resume a run with the command that began it; options given here replace its own."""
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
    storage: Annotated[str | None, as_before(Storage)] = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Show the progress of a run, also while it runs: trials, best network, time left, failures."""
    from nas.cli.status import show_status

    show_status(Path(folder), storage, json=json)


def report(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR",
            help="Folder of a run; several are compared on one page.",
            autocompletion=completion.folders,
        ),
    ],
    out: Annotated[
        str | None,
        out_option(
            "FILE",
            "Write the page alone, to this file.",
            "report.html and plots in DIR; for several runs ./report.html",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Write report.html and plots of a run, finished or not, or a page that compares several."""
    from nas.cli.report import show_report

    show_report(
        [Path(folder) for folder in folders],
        None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


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
    from nas.cli.events import show_events

    show_events(Path(folder), storage, top, json=json, quiet=quiet)


def verify(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="Folder of results: of a run, comparison, training, table, fidelity or "
            "reproduction.",
            autocompletion=completion.folders,
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Verify a folder of results: check the hashes of its files and recompute its numbers."""
    from nas.cli.verify import show_verification

    show_verification(Path(folder), json=json, quiet=quiet)
