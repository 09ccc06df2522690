"""The command ``table``: random networks, each trained from scratch, as a benchmark table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.console import print_json, print_lines, print_written
from nas.cli.option_values import duration, note_device
from nas.cli.panels import ACCURACY, NETWORK
from nas.cli.parameters import (
    Augment,
    CountedAt,
    Data,
    Device,
    FitOption,
    Groups,
    InheritedWeights,
    Jobs,
    Json,
    MaxPixels,
    NoTest,
    Quiet,
    Seeds,
    SpaceOrAround,
    TrainResolution,
    TrainWidth,
    Verbose,
    WeightsArch,
    out_option,
    seed_option,
    time_option,
)
from nas.cli.pretrained import pretrained, space_for
from nas.cli.terminal_progress import TerminalProgress, resumable
from nas.environment import chosen_device
from nas.spaces.budget import parse_range

if TYPE_CHECKING:
    from nas.runs.benchmark_table.make import MadeTable


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
    space: SpaceOrAround = None,
    resolution: CountedAt = None,
    networks: Annotated[
        int,
        typer.Option(
            metavar="N", help="Number of networks to draw at random.", rich_help_panel=NETWORK
        ),
    ] = 24,
    seed: Annotated[int, seed_option(NETWORK)] = 0,
    data: Data = None,
    fit: FitOption = "crop",
    augment: Augment = None,
    max_pixels: MaxPixels = None,
    no_test: NoTest = False,
    groups: Groups = None,
    weights: InheritedWeights = None,
    weights_architecture: WeightsArch = None,
    seeds: Seeds = 2,
    train_width: TrainWidth = None,
    train_resolution: TrainResolution = None,
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
    from nas.data.dataset import ImageOptions
    from nas.runs.benchmark_table.make import TableSettings, make_table

    inherited = pretrained(weights, weights_architecture)
    settings = TableSettings(
        space_for(space, inherited, resolution)[0],
        parse_range(flops),
        Path(out),
        data=data,
        image_options=ImageOptions(fit, augment, max_pixels, not no_test, groups),
        networks=networks,
        seeds=seeds,
        images=images,
        width=train_width,
        resolution=train_resolution,
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=chosen_device(device),
        weights=inherited,
    )
    with TerminalProgress(quiet=quiet) as progress, resumable(settings.out):
        note_device(progress, device, settings.device)
        made = make_table(settings, progress)
    if json:
        print_json(
            {
                "out": str(made.file),
                "networks": networks,
                "rows": len(made.rows),
                "failed": made.failed,
            }
        )
    elif not quiet:
        _print(made, networks)


def _print(table: MadeTable, networks: int) -> None:
    accuracies = [row["accuracy"] for row in table.rows]
    print_lines(
        f"{len(table.rows)} rows of {networks} networks, validation accuracy "
        f"{min(accuracies):.3f} to {max(accuracies):.3f}"
        + (f"; {table.failed} trainings failed" if table.failed else "")
    )
    print_written(table.file.parent)
