"""The main job: from a budget to a family; and its versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.panels import ACCURACY, OUTPUT, SEARCH
from nas.cli.parameters import (
    Augment,
    Budget_,
    CpusPerTrial,
    Data,
    Device,
    FitOption,
    GpusPerTrial,
    Groups,
    Jobs,
    Json,
    LatencyBackend,
    LatencyBatch,
    LatencyTable_,
    MaxPixels,
    NoTest,
    Quiet,
    RayAddress,
    Storage,
    Time,
    TrainImages,
    TrainResolution,
    TrainWidth,
    Trials,
    Verbose,
    engine_option,
    out_option,
    seed_option,
    space_option,
    weights_arch_option,
    weights_option,
)
from nas.errors import InputError
from nas.strategies.samplers import DEFAULT, SAMPLERS


def main_job(
    context: typer.Context,
    budget: Budget_ = None,
    latency_table: LatencyTable_ = None,
    latency_backend: LatencyBackend = None,
    latency_batch: LatencyBatch = None,
    space: Annotated[
        str | None,
        space_option(
            SEARCH,
            show_default="efficientnet; with --weights, what can be cut out of their network",
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input resolution at which FLOPs are counted.",
            show_default="that of the space",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            metavar="accuracy|reward",
            help="What is maximised: accuracy, or accuracy × (FLOPs / limit)^−0.07.",
            autocompletion=completion.one_of("accuracy", "reward"),
            rich_help_panel=SEARCH,
        ),
    ] = "accuracy",
    sampler: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"Search strategy: {', '.join(SAMPLERS)}; 'nas-search samplers' explains them.",
            autocompletion=completion.samplers,
            rich_help_panel=SEARCH,
        ),
    ] = DEFAULT,
    trials: Trials = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARCH",
            help="Network to evaluate first; may be given several times.",
            autocompletion=completion.architectures,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    seed: Annotated[int, seed_option(SEARCH)] = 0,
    no_scale: Annotated[
        bool,
        typer.Option(
            "--no-scale",
            help="Stop at the baseline, without coefficients and family.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
    weights: Annotated[
        str | None,
        weights_option(
            "Trained weights that all networks inherit and are fine-tuned from: a file, or "
            "timm:NAME or the like; needs --data.",
            "trained from scratch",
            SEARCH,
        ),
    ] = None,
    weights_architecture: Annotated[str | None, weights_arch_option(SEARCH)] = None,
    data: Data = None,
    fit: FitOption = "crop",
    augment: Augment = None,
    max_pixels: MaxPixels = None,
    no_test: NoTest = False,
    groups: Groups = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Proxy that measures accuracy in the search; 'nas-search proxies' lists them.",
            show_default="imagenet without --data if it covers the space, else supernet",
            autocompletion=completion.proxies,
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    coefficients: Annotated[
        str | None,
        typer.Option(
            metavar="prior|training",
            help="Evidence by which the scaling coefficients are chosen: published trainings "
            "(prior), or these and trainings of small networks on the images (training).",
            show_default="training with --data, else prior",
            autocompletion=completion.one_of("prior", "training"),
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    finalists: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Number of best networks to train from scratch before the baseline is chosen.",
            show_default="3 with --data, else 0",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Network to train under the same conditions as the finalists, for comparison.",
            show_default="efficientnet-b0",
            autocompletion=completion.architectures,
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    no_check: Annotated[
        bool,
        typer.Option(
            "--no-check",
            help="Skip the check of the proxy's ranking against longer trainings.",
            rich_help_panel=ACCURACY,
        ),
    ] = False,
    train_width: TrainWidth = None,
    train_resolution: TrainResolution = None,
    train_images: TrainImages = None,
    no_train: Annotated[
        bool,
        typer.Option(
            "--no-train",
            help="Skip the final training of the baseline.",
            rich_help_panel=ACCURACY,
        ),
    ] = False,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Export the trained baseline in the end: timm, torchvision, onnx or torch.",
            autocompletion=completion.one_of(*completion.TARGETS),
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    time: Time = None,
    jobs: Jobs = None,
    device: Device = None,
    engine: Annotated[str, engine_option()] = "local",
    ray_address: RayAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    storage: Storage = None,
    out: Annotated[
        str | None,
        out_option(
            "DIR",
            "Folder of the run; one that already holds this run is resumed.",
            "results/SPACE-BUDGET",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the versions of nas-search and its dependencies."),
    ] = False,
) -> None:
    """Search for the most accurate classifier within a budget, and scale it to a family.

    Rerun the command to resume an interrupted run. Example:

    nas-search --budget 400M-flops --data my-images/
    """
    if version:
        _print_versions(json)
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if budget is None:
        raise InputError("--budget is needed, for example: nas-search --budget 400M-flops")
    from nas.cli.run_command import run_job
    from nas.records.run_state import RunCommand

    command = RunCommand(
        budget=budget,
        space=space,
        data=data,
        fit=fit,
        augment=augment,
        max_pixels=max_pixels,
        hold_out=not no_test,
        groups=groups,
        resolution=resolution,
        proxy=proxy,
        coefficients=coefficients,
        objective=objective,
        sampler=sampler,
        trials=trials,
        time=time,
        seed=seed,
        jobs=jobs,
        engine=engine,
        ray_address=ray_address,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        storage=storage,
        device=device,
        latency_table=latency_table,
        latency_backend=latency_backend,
        latency_batch=latency_batch,
        start=start or [],
        scale=not no_scale,
        finalists=finalists,
        reference=reference,
        check=not no_check,
        weights=weights,
        weights_architecture=weights_architecture,
        train=not no_train and data is not None,
        export=export,
        train_width=train_width,
        train_resolution=train_resolution,
        train_images=train_images,
    )
    run_job(command, None if out is None else Path(out), json=json, quiet=quiet)


def _print_versions(json: bool) -> None:
    from nas.environment import versions
    from nas.files import to_json

    found = versions()
    lines = "".join(f"{name} {number}\n" for name, number in found.items())
    typer.echo(to_json(found) if json else lines, nl=False)
