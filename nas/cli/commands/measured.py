"""Commands of proxies, benchmark tables and latency, and the discovery of B0."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.options import duration
from nas.cli.panels import ACCURACY, MACHINE, NETWORK, SEARCH
from nas.cli.parameters import (
    Data,
    Device,
    Jobs,
    Json,
    Quiet,
    Seeds,
    Verbose,
    out_option,
    seed_option,
    space_option,
    time_option,
)
from nas.runs.fidelity.table_sample import SAMPLES


def latency(
    space: Annotated[str, space_option(NETWORK)] = "efficientnet",
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input resolution of the networks.",
            show_default="that of the space",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of classes of the networks.",
            show_default="that of the space",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Runtime that latency is measured in: pytorch or onnxruntime.",
            show_default="pytorch",
            autocompletion=completion.one_of("pytorch", "onnxruntime"),
            rich_help_panel=MACHINE,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Batch size that latency is measured at.",
            show_default="1",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    device: Device = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Measure again instead of using the cached table.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    out: Annotated[
        str | None,
        out_option("FILE", "Write the table to this file, for --latency-table on any machine."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Measure the latency of a space's blocks on this machine, for budgets such as 20ms-latency."""
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
        str,
        typer.Option(
            metavar="FILE",
            help="Benchmark table (JSON Lines): networks whose accuracy is known.",
            rich_help_panel=ACCURACY,
        ),
    ],
    space: Annotated[str, space_option(NETWORK)] = "efficientnet",
    samples: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of networks drawn from the table, and from each band.",
            rich_help_panel=NETWORK,
        ),
    ] = SAMPLES,
    band: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOW-HIGH",
            help="Range of FLOPs to rank within, such as 300M-330M; may be given several times.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    seed: Annotated[int, seed_option(NETWORK)] = 0,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Proxy to judge; 'nas-search proxies' lists them.",
            show_default="as in a search",
            autocompletion=completion.proxies,
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    data: Data = None,
    time: Annotated[
        str | None,
        time_option("Time limit for preparing the proxy and for all evaluations"),
    ] = None,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None,
        out_option("DIR", "Folder to keep the result in; rerun the command to resume."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Measure how well a proxy ranks networks whose accuracy is known, and FLOPs alone beside it.

    nas-search fidelity --table table.jsonl --proxy supernet --band 300M-330M
    """
    from nas.cli.fidelity import show_fidelity

    show_fidelity(
        Path(table),
        space,
        None if out is None else Path(out),
        proxy=proxy,
        data=data,
        samples=samples,
        bands=tuple(band or ()),
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=device or "cpu",
        json=json,
        quiet=quiet,
    )


def table(
    flops: Annotated[
        str,
        typer.Option(
            metavar="LOW-HIGH",
            help="Range of FLOPs that networks are drawn from, such as 300M-330M.",
            rich_help_panel=NETWORK,
        ),
    ],
    out: Annotated[str, out_option("DIR", "Folder of the table; rerun the command to resume.")],
    space: Annotated[str, space_option(NETWORK)] = "efficientnet",
    networks: Annotated[
        int,
        typer.Option(
            metavar="N", help="Number of networks to draw at random.", rich_help_panel=NETWORK
        ),
    ] = 24,
    seed: Annotated[int, seed_option(NETWORK)] = 0,
    data: Data = None,
    seeds: Seeds = 2,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of images that each training sees, repetitions included.",
            show_default="by the size of the data set",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    time: Annotated[
        str | None, time_option("Time limit: no training starts that would exceed it")
    ] = None,
    jobs: Jobs = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Make a benchmark table: train random networks of a space, and record their accuracy.

    nas-search table --space joint-block --flops 14.5M-16.1M --out joint
    """
    from nas.cli.benchmark import show_table

    show_table(
        space,
        flops,
        Path(out),
        data=data,
        networks=networks,
        seeds=seeds,
        images=images,
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=device or "cpu",
        json=json,
        quiet=quiet,
    )


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="accel-nasbench",
            help="Benchmark to import.",
            autocompletion=completion.one_of("accel-nasbench"),
        ),
    ],
    archive: Annotated[
        str, typer.Argument(metavar="ARCHIVE", help="Archive as the benchmark's authors released.")
    ],
    out: Annotated[str, out_option("FILE.jsonl", "Benchmark table to write (JSON Lines).")],
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Import a published benchmark as a table, for --proxy table:FILE and fidelity --table."""
    from nas.cli.tables import import_table

    import_table(source, Path(archive), Path(out), json)


def fit_predictor(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="Benchmark table (JSON Lines) to fit to.")
    ],
    out: Annotated[
        str,
        out_option("DIR/NAME", "Path of the two files to write, without .safetensors and .json."),
    ],
    space: Annotated[str, space_option(NETWORK)] = "efficientnet",
    seed: Annotated[int, seed_option(NETWORK, "Seed of the splits and the fit.")] = 0,
    metric: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Name of what is predicted, recorded in the file.",
            rich_help_panel=ACCURACY,
        ),
    ] = "accuracy",
    data: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Name of the data that accuracies were measured on, recorded in the file.",
            rich_help_panel=ACCURACY,
        ),
    ] = "",
    source: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Source and licence of the table, recorded in the file.",
            rich_help_panel=ACCURACY,
        ),
    ] = "",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Fit an accuracy predictor to a benchmark table, and report its errors on held-out rows."""
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
            help="Discovery to reproduce: b0, that of EfficientNet-B0.",
            autocompletion=completion.one_of("b0"),
        ),
    ],
    random: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of random networks that B0 is ranked among.",
            rich_help_panel=SEARCH,
        ),
    ] = 100_000,
    trials: Annotated[
        int,
        typer.Option(metavar="N", help="Number of trials of each search.", rich_help_panel=SEARCH),
    ] = 300,
    samplers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Samplers to compare, separated by commas.",
            show_default="all",
            autocompletion=completion.samplers,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of searches with each sampler, with a seed each.",
            rich_help_panel=SEARCH,
        ),
    ] = 20,
    seed: Annotated[int, seed_option(SEARCH, "Seed of the first search.")] = 0,
    jobs: Jobs = None,
    out: Annotated[str, out_option("DIR", "Folder to write.", True)] = "results/b0-discovery",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Reproduce the discovery of EfficientNet-B0, on predicted ImageNet accuracy."""
    from nas.cli.reproduce import run_reproduce

    numbers = {"random": random, "trials": trials, "seeds": seeds, "seed": seed}
    run_reproduce(target, Path(out), numbers, samplers, jobs, json=json, quiet=quiet)
