"""The command ``resume``: goes on with a run by the command that began it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    from nas.cli.run_command import resume_job

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
