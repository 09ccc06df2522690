"""The main job: from a budget to a family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.parameters import (
    Budget_,
    CpusPerTrial,
    Data,
    Device,
    GpusPerTrial,
    Jobs,
    Json,
    LatencyBackend,
    LatencyBatch,
    LatencyTable_,
    Quiet,
    RayAddress,
    Resolution,
    Space,
    Storage,
    Time,
    Trials,
)
from nas.errors import InputError


def main_job(
    context: typer.Context,
    budget: Budget_ = None,
    space: Space = "efficientnet",
    data: Data = None,
    resolution: Resolution = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Measures accuracy: supernet, training, imagenet, table:FILE (see proxies). "
            "Default: imagenet where there is no --data and it knows the space, else supernet.",
            autocompletion=completion.proxies,
        ),
    ] = None,
    grid_proxy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Measures it for the coefficients.",
            autocompletion=completion.one_of("training"),
        ),
    ] = "training",
    objective: Annotated[
        str,
        typer.Option(
            metavar="accuracy|reward", autocompletion=completion.one_of("accuracy", "reward")
        ),
    ] = "accuracy",
    sampler: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="guided, evolution, tpe, nsga2, random.",
            autocompletion=completion.samplers,
        ),
    ] = "guided",
    trials: Trials = None,
    time: Time = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="Where evaluations run.",
            autocompletion=completion.one_of("local", "ray"),
        ),
    ] = "local",
    ray_address: RayAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    storage: Storage = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Default: results/<space>-<budget>.")
    ] = None,
    device: Device = None,
    latency_table: LatencyTable_ = None,
    latency_backend: LatencyBackend = None,
    latency_batch: LatencyBatch = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARCH",
            help="Evaluated first; may be repeated.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    finalists: Annotated[
        int | None,
        typer.Option(metavar="K", help="Trained anew before one is chosen; 3 with --data."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Beside them; default efficientnet-b0.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not check the proxy by longer trainings.")
    ] = False,
    no_scale: Annotated[
        bool, typer.Option("--no-scale", help="Stop at the baseline: no family.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print it, and those that matter; also with --json.")
    ] = False,
) -> None:
    """Search within the budget, find the coefficients, write the family. The same command resumes.

    nas-search --budget 400M-flops --data my-images/
    """
    if version:
        _print_versions(json)
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if budget is None:
        raise InputError("--budget is needed, for example: nas-search --budget 400M-flops")
    command = {
        "budget": budget,
        "space": space,
        "data": data,
        "resolution": resolution,
        "proxy": proxy,
        "grid_proxy": grid_proxy,
        "objective": objective,
        "sampler": sampler,
        "trials": trials,
        "time": time,
        "seed": seed,
        "jobs": jobs,
        "engine": engine,
        "ray_address": ray_address,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
        "storage": storage,
        "device": device,
        "latency_table": latency_table,
        "latency_backend": latency_backend,
        "latency_batch": latency_batch,
        "start": start or [],
        "scale": not no_scale,
        "finalists": finalists,
        "reference": reference,
        "check": not no_check,
    }
    from nas.cli.job import run_job

    run_job(command, None if out is None else Path(out), json=json, quiet=quiet)


def _print_versions(json: bool) -> None:
    from nas.environment import versions
    from nas.files import to_json

    found = versions()
    lines = "".join(f"{name} {number}\n" for name, number in found.items())
    typer.echo(to_json(found) if json else lines, nl=False)
