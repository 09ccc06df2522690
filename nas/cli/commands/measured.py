"""Commands of what is measured: latencies, proxies, tables, the discovery of B0."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.options import duration
from nas.cli.parameters import Data, Device, Jobs, Json, Quiet, Resolution, Space
from nas.runs.fidelity.table_sample import SAMPLES


def latency(
    space: Space = "efficientnet",
    resolution: Resolution = None,
    classes: Annotated[int | None, typer.Option(metavar="N", help="Default: the space's.")] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="pytorch|onnxruntime",
            help="Default pytorch.",
            autocompletion=completion.one_of("pytorch", "onnxruntime"),
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Default 1.")] = None,
    device: Device = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what is remembered.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="For --latency-table, on other machines.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how long the blocks of a space take here, for budgets such as 20ms-latency."""
    from nas.cli.latency import show_latency

    show_latency(
        space,
        resolution=resolution,
        classes=classes,
        backend=backend,
        device=device,
        batch=batch,
        again=again,
        out=None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


def fidelity(
    table: Annotated[
        str, typer.Option(metavar="FILE", help="Networks whose accuracy is known: JSON Lines.")
    ],
    space: Space = "efficientnet",
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="supernet, training, imagenet, table:FILE. Default: as in a search.",
            autocompletion=completion.proxies,
        ),
    ] = None,
    data: Data = None,
    samples: Annotated[
        int, typer.Option(metavar="N", help="Networks drawn of the table, and of each band.")
    ] = SAMPLES,
    band: Annotated[
        list[str] | None,
        typer.Option(metavar="LOW-HIGH", help="FLOPs, as 300M-330M; may be repeated."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="10m", help="For the proxy's preparation and all evaluations."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep it there; the same command goes on.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how far a proxy can be trusted: how well it ranks networks whose accuracy is known."""
    from nas.cli.fidelity import show_fidelity

    show_fidelity(
        Path(table),
        space,
        proxy,
        data,
        samples=samples,
        bands=band or [],
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=device or "cpu",
        out=None if out is None else Path(out),
        json=json,
        quiet=quiet,
    )


def table(
    flops: Annotated[str, typer.Option(metavar="LOW-HIGH", help="Of the networks, as 300M-330M.")],
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Keep it there; the same command goes on.")
    ],
    space: Space = "efficientnet",
    data: Data = None,
    networks: Annotated[int, typer.Option(metavar="N", help="How many, drawn at random.")] = 24,
    seeds: Annotated[int, typer.Option(metavar="N", help="Trainings of each.")] = 2,
    images: Annotated[
        int | None, typer.Option(metavar="N", help="Shown in each training, repeats included.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="10m", help="Nothing starts that would end later.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a benchmark table: random networks, each trained alone; see fidelity --table."""
    from nas.cli.benchmark import make_table

    make_table(
        space,
        data,
        flops=flops,
        networks=networks,
        seeds=seeds,
        images=images,
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=device or "cpu",
        out=Path(out),
        json=json,
        quiet=quiet,
    )


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="accel-nasbench",
            help="What it is.",
            autocompletion=completion.one_of("accel-nasbench"),
        ),
    ],
    archive: Annotated[str, typer.Argument(metavar="ARCHIVE", help="The file as released.")],
    out: Annotated[str, typer.Option(metavar="FILE.jsonl", help="The table.")],
    json: Json = False,
) -> None:
    """Make a benchmark table of what others have released; see --proxy table:FILE."""
    from nas.cli.tables import import_table

    import_table(source, Path(archive), Path(out), json)


def fit_predictor(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A benchmark table.")],
    out: Annotated[str, typer.Option(metavar="DIR/NAME", help="Two files: .safetensors, .json.")],
    space: Space = "efficientnet",
    metric: Annotated[str, typer.Option(metavar="TEXT", help="What is predicted.")] = "accuracy",
    data: Annotated[str, typer.Option(metavar="TEXT", help="What it was measured on.")] = "",
    source: Annotated[str, typer.Option(metavar="TEXT", help="Who measured it; licence.")] = "",
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a predictor to a benchmark table, and say what it is worth on rows held out."""
    from nas.cli.tables import show_fit

    show_fit(
        Path(table),
        Path(out),
        space,
        metric=metric,
        data=data,
        source=source,
        seed=seed,
        json=json,
        quiet=quiet,
    )


def reproduce(
    target: Annotated[
        str,
        typer.Argument(
            metavar="b0",
            help="What is to be discovered.",
            autocompletion=completion.one_of("b0"),
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Where it is written.")
    ] = "results/b0-discovery",
    random: Annotated[
        int, typer.Option(metavar="N", help="Random networks that B0 is ranked among.")
    ] = 100_000,
    trials: Annotated[int, typer.Option(metavar="N", help="Of each search, at most.")] = 300,
    seeds: Annotated[int, typer.Option(metavar="N", help="Searches of each sampler.")] = 20,
    samplers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Compared; without it: all.",
            autocompletion=completion.samplers,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    jobs: Jobs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Discover EfficientNet-B0 anew, on predicted ImageNet accuracy; says what that is worth."""
    from nas.cli.reproduce import run_reproduce

    numbers = {"random": random, "trials": trials, "seeds": seeds, "seed": seed}
    run_reproduce(target, Path(out), numbers, samplers, jobs, json=json, quiet=quiet)
