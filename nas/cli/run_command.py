"""From the command of a run to its settings, the run, and its result on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.commands.latency import measured_here
from nas.cli.console import print_json
from nas.cli.option_values import duration, note_device, positive
from nas.cli.pretrained import pretrained, space_for
from nas.cli.terminal_progress import TerminalProgress, resumable
from nas.environment import AUTO, check_device, chosen_device
from nas.errors import InputError
from nas.proxies.registry import proxy_capabilities
from nas.spaces.latency_table import TableFile
from nas.spaces.registry import load_architecture, load_budget

if TYPE_CHECKING:
    from nas.records.coefficients_file import CoefficientsBy
    from nas.records.run_paths import RunPath
    from nas.records.run_state import RunCommand
    from nas.runs.pipeline import RunResult
    from nas.runs.settings import LatencySource, RunSettings
    from nas.spaces.budget import Budget

RAY_OPTIONS = ("ray_address", "cpus_per_trial", "gpus_per_trial")


def run_job(
    command: RunCommand,
    out: Path | None,
    *,
    json: bool,
    quiet: bool,
    paths: Mapping[str, RunPath] | None = None,
) -> None:
    """Run the pipeline that a command's options describe, and print what it found.

    Args:
        command: the options.
        out: folder of the run; None: the default one.
        json: print one JSON document.
        quiet: print nothing else.
        paths: where an earlier session found what the command names.
    """
    from nas.records.run_paths import found_again, run_paths
    from nas.runs.pipeline import run

    asked = command.device
    command = command.model_copy(update={"device": _device(command)})
    known = paths or {}
    places = {} if out is None else found_again(known, out)
    settings = _settings(command.at(places), out)
    words = {word: places.get(word, word) for word in command.words if word is not None}
    now = run_paths(words, settings.folder)
    settings = replace(settings, command=command, paths={**known, **now})
    with TerminalProgress(quiet=quiet) as progress, resumable(settings.folder):
        note_device(progress, asked, settings.device)
        result = run(settings, progress)
    if json:
        print_json(_document(result))
    elif not quiet:
        from nas.cli.summary import print_summary

        print_summary(result, settings.budget, settings.data, _image_options(command))


def _settings(command: RunCommand, out: Path | None) -> RunSettings:
    from nas.data.dataset import ImageOptions
    from nas.runs.settings import RunSettings
    from nas.spaces.toml import space_to_dict

    if command.engine not in ("local", "ray"):
        raise InputError(f"engine {command.engine!r} is not accepted: local or ray")
    for option in RAY_OPTIONS:
        if getattr(command, option) is not None and command.engine != "ray":
            raise InputError(f"--{option.replace('_', '-')}: not accepted without --engine ray")
    weights = pretrained(command.weights, command.weights_architecture)
    space, made = space_for(command.space, weights, command.resolution)
    reference = command.reference
    budget = load_budget(command.budget)
    return RunSettings(
        space=space,
        budget=budget,
        data=command.data,
        image_options=ImageOptions(
            command.fit, command.augment, command.max_pixels, command.hold_out, command.groups
        ),
        proxy=command.proxy,
        coefficients=_evidence(command.coefficients),
        objective=command.objective,
        sampler=command.sampler,
        trials=positive("trials", command.trials),
        seconds=duration(command.time),
        seed=command.seed,
        jobs=positive("jobs", command.jobs),
        storage=command.storage,
        engine=command.engine,
        ray_address=command.ray_address,
        cpus_per_trial=command.cpus_per_trial,
        gpus_per_trial=command.gpus_per_trial,
        out=out,
        device=check_device(command.device or "cpu"),
        start=tuple(load_architecture(name) for name in command.start),
        scale=command.scale,
        finalists=_finalists(command.finalists),
        reference=None if reference is None else load_architecture(reference),
        check=command.check,
        weights=weights,
        made_space=space_to_dict(space) if made else None,
        train=command.train,
        export=command.export,
        train_width=command.train_width,
        train_resolution=command.train_resolution,
        train_images=command.train_images,
        latency=_latency_source(command, budget),
        command=command,
    )


def _image_options(command: RunCommand) -> list[str]:
    """Return the options of a command that say how its images are prepared, unless by default."""
    words = [] if command.fit == "crop" else ["--fit", command.fit]
    for name in ("augment", "max_pixels", "groups"):
        value = getattr(command, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    return words if command.hold_out else [*words, "--no-test"]


def _device(command: RunCommand) -> str:
    """Return the device of a run: unless one is named, a GPU only where this machine trains."""
    if command.device not in (None, AUTO):
        return chosen_device(command.device)
    proxy = None if command.proxy is None else proxy_capabilities(command.proxy)
    trains = command.data is not None or (
        proxy is not None and (proxy.trains_candidates or proxy.shares_weights)
    )
    return chosen_device(AUTO) if trains and command.engine == "local" else "cpu"


def _evidence(given: str | None) -> CoefficientsBy | None:
    """Return by what the coefficients are chosen; None: as the images decide.

    Raises:
        InputError: neither of the two.
    """
    known: dict[str | None, CoefficientsBy | None]
    known = {None: None, "prior": "prior", "training": "training"}
    if given not in known:
        raise InputError(f"coefficients {given!r} is not accepted: prior or training")
    return known[given]


def _latency_source(command: RunCommand, budget: Budget) -> LatencySource | None:
    """Return where a budget has its latencies from, by the command's options; None: no such limit.

    Raises:
        InputError: options that mean nothing together.
    """
    file, backend, batch = command.latency_table, command.latency_backend, command.latency_batch
    given = [
        f"--latency-{name}"
        for name, value in (("table", file), ("backend", backend), ("batch", batch))
        if value is not None
    ]
    if budget.latency_ms is None:
        if given:
            raise InputError(f"{given[0]}: not accepted without a limit on latency: 20ms-latency")
        return None
    if file is not None:
        if given != ["--latency-table"]:
            raise InputError(f"{given[1]}: not accepted with --latency-table, which has its own")
        return TableFile(Path(file))
    return measured_here(backend, command.device, batch)


def _document(result: RunResult) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    scaling = result.scaling
    return {
        "out": str(result.folder),
        "trials": {
            "finished": result.search.count("finished") + result.search.count("stopped"),
            "failed": result.search.count("failed"),
        },
        "baseline": result.baseline.to_dict(),
        "coefficients": None
        if scaling is None
        else {
            **asdict(scaling.coefficients),
            "ratio": result.family[1].cost.flops / result.family[0].cost.flops,
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
        "trained": None if result.trained is None else result.trained.model_dump(mode="json"),
    }


def resume_job(folder: Path, changes: dict[str, Any], *, json: bool, quiet: bool) -> None:
    """Run again the command that a run's folder remembers."""
    from nas.records.run_state import RunState

    state = RunState.read(folder)
    command = state.command
    if command is None:
        raise InputError(f"{folder / RunState.FILE}: the run was not started from the command line")
    if changes.get("engine") == "local":
        changes = dict.fromkeys(RAY_OPTIONS) | changes
    # Runs from before there was a choice were on the CPU.
    changed = command.model_copy(update={"device": command.device or "cpu"} | changes)
    run_job(changed, folder, json=json, quiet=quiet, paths=state.paths)


def _finalists(count: int | None) -> int | None:
    if count is not None and not 0 <= count <= 1_000:
        raise InputError(f"finalists: {count} is not accepted: 0 (none) to 1000")
    return count
