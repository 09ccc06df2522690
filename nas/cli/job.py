"""The main job: from the command line to a run, and its result on the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from nas.cli.console import Show, print_json
from nas.cli.latency import latency_source
from nas.cli.options import check_device, duration, kept, positive
from nas.errors import InputError
from nas.evaluation.database import resolved, without_password
from nas.files import parse_json, read_text, validate
from nas.records.document import check_schema
from nas.records.run_document import RunDocument
from nas.spaces.registry import load_architecture, load_budget, load_space

RAY_OPTIONS = ("ray_address", "cpus_per_trial", "gpus_per_trial")


class _Command(BaseModel):
    """A command as ``run.json`` remembers it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    budget: str
    space: str
    data: str | None
    resolution: int | None
    proxy: str | None
    grid_proxy: str
    objective: str
    sampler: str
    trials: int | None
    time: str | None
    seed: int
    jobs: int | None
    engine: str
    ray_address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    storage: str | None
    latency_table: str | None = None
    latency_backend: str | None = None
    latency_batch: int | None = None
    device: str | None
    start: list[str]
    scale: bool
    finalists: int | None
    reference: str | None
    check: bool


def run_job(command: dict[str, Any], out: Path | None, *, json: bool, quiet: bool) -> None:
    """Run the pipeline that the command's words describe, and print what it found."""
    from nas.runs.pipeline import run
    from nas.runs.settings import Settings

    if command["engine"] not in ("local", "ray"):
        raise InputError(f"engine {command['engine']!r} is not accepted: local or ray")
    for option in RAY_OPTIONS:
        if command[option] is not None and command["engine"] != "ray":
            raise InputError(f"--{option.replace('_', '-')}: not accepted without --engine ray")
    space = load_space(command["space"])
    if command["resolution"] is not None:
        if not 1 <= command["resolution"] <= 16_384:
            raise InputError(
                f"resolution: {command['resolution']} is not accepted: 1 to 16384 pixels"
            )
        space = replace(space, resolution=command["resolution"])
    reference, storage = command["reference"], command["storage"]
    storage = None if storage is None else resolved(storage)
    budget = load_budget(command["budget"])
    settings = Settings(
        space=space,
        budget=budget,
        data=command["data"],
        proxy=command["proxy"],
        grid_proxy=command["grid_proxy"],
        objective=command["objective"],
        sampler=command["sampler"],
        trials=positive("trials", command["trials"]),
        seconds=duration(command["time"]),
        seed=command["seed"],
        jobs=positive("jobs", command["jobs"]),
        storage=storage,
        engine=command["engine"],
        ray_address=command["ray_address"],
        cpus_per_trial=command["cpus_per_trial"],
        gpus_per_trial=command["gpus_per_trial"],
        out=out,
        device=check_device(command["device"] or "cpu"),
        start=tuple(load_architecture(name) for name in command["start"]),
        scale=command["scale"],
        finalists=_finalists(command["finalists"]),
        reference=None if reference is None else load_architecture(reference),
        check=command["check"],
        latency=latency_source(command, budget),
        # run.json remembers the command, and no password.
        command=command | {"storage": None if storage is None else without_password(storage)},
    )
    with Show(quiet=quiet) as show, kept(settings.folder):
        result = run(settings, show)
    if json:
        print_json(
            {
                "out": str(result.folder),
                "trials": {
                    "finished": result.search.count("finished") + result.search.count("stopped"),
                    "failed": result.search.count("failed"),
                },
                "baseline": result.baseline.to_dict(),
                "coefficients": None
                if result.grid is None
                else {
                    "alpha": result.grid.chosen.point.coefficients.alpha,
                    "beta": result.grid.chosen.point.coefficients.beta,
                    "gamma": result.grid.chosen.point.coefficients.gamma,
                    "ratio": result.grid.chosen.point.ratio,
                },
                "family": [
                    {
                        "name": member.architecture.name,
                        "flops": member.cost.flops,
                        "params": member.cost.params,
                        "resolution": member.architecture.resolution,
                    }
                    for member in result.family
                ],
            }
        )
    elif not quiet:
        from nas.cli.summary import print_ending

        print_ending(result, settings.budget, settings.data)


def resume_job(folder: Path, changes: dict[str, Any], *, json: bool, quiet: bool) -> None:
    """Run again the command that a run's folder remembers."""
    path = folder / "run.json"
    data = parse_json(read_text(path), str(path))
    check_schema(data, [RunDocument.SCHEMA], str(path))
    command = data.get("command") if isinstance(data, dict) else None
    if not isinstance(command, dict) or not command:
        raise InputError(f"{path}: command: missing; not a run of this command line")
    known = validate(TypeAdapter(_Command), command, f"{path}: command")
    began = known.model_dump()
    if changes.get("engine") == "local":
        began |= dict.fromkeys(RAY_OPTIONS)
    run_job({**began, **changes}, folder, json=json, quiet=quiet)


def _finalists(count: int | None) -> int | None:
    if count is not None and not 0 <= count <= 1_000:
        raise InputError(f"finalists: {count} is not accepted: 0 (none) to 1000")
    return count
