"""The command ``compare``: whether the accuracies of networks differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli import completion
from nas.cli.console import print_json, print_table, print_written
from nas.cli.network_tables import comparison_table
from nas.cli.option_values import duration, note_device
from nas.cli.panels import ACCURACY
from nas.cli.parameters import (
    Augment,
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
    Verbose,
    WeightsArch,
    out_option,
    seed_option,
    time_option,
)
from nas.cli.pretrained import pretrained
from nas.cli.terminal_progress import TerminalProgress, resumable
from nas.environment import chosen_device
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.runs.comparison import ComparisonSettings


def compare(
    arch: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCH",
            help="Networks to compare, two or more: architecture files (JSON), or "
            "efficientnet-b0 … b7. The last one is the reference.",
            autocompletion=completion.architectures,
        ),
    ],
    data: Data = None,
    fit: FitOption = "crop",
    augment: Augment = None,
    max_pixels: MaxPixels = None,
    no_test: NoTest = False,
    groups: Groups = None,
    weights: InheritedWeights = None,
    weights_architecture: WeightsArch = None,
    seeds: Seeds = 3,
    seed: Annotated[int, seed_option(ACCURACY)] = 0,
    time: Annotated[str | None, time_option("Time limit for all trainings")] = None,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None,
        out_option("DIR", "Folder to keep trainings, result and plot in; rerun to resume."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Train networks under the same conditions, and test whether their accuracies differ.

    nas-search compare baseline.json efficientnet-b0 --data my-images/ --seeds 5
    """
    from nas.data.dataset import ImageOptions
    from nas.runs.comparison import ComparisonSettings

    settings = ComparisonSettings(
        tuple(load_architecture(name) for name in arch),
        data=data,
        image_options=ImageOptions(fit, augment, max_pixels, not no_test, groups),
        seeds=seeds,
        seed=seed,
        seconds=duration(time),
        jobs=jobs,
        device=chosen_device(device),
        out=None if out is None else Path(out),
        weights=pretrained(weights, weights_architecture),
    )
    print_comparison(settings, device, json=json, quiet=quiet)


def print_comparison(
    settings: ComparisonSettings, device: str | None, *, json: bool, quiet: bool
) -> None:
    """Compare networks, and print how they differ; ``device`` is what the user asked for."""
    from nas.runs.comparison import compare as compare_networks

    with TerminalProgress(quiet=quiet) as progress, resumable(settings.out):
        note_device(progress, device, settings.device)
        result = compare_networks(settings, progress)
    if json:
        print_json(result.document.to_dict())
    elif not quiet:
        print_table(comparison_table(result.comparison, settings.title, result.against, None))
        if settings.out is not None:
            print_written(settings.out)
