"""The command ``evaluate``: the accuracy of a network by a proxy."""

from __future__ import annotations

from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.console import print_facts, print_json, print_lines
from nas.cli.option_values import duration, note_device
from nas.cli.panels import ACCURACY
from nas.cli.parameters import (
    Arch,
    Augment,
    Data,
    Device,
    FitOption,
    Groups,
    InheritedWeights,
    Json,
    MaxPixels,
    NoTest,
    Quiet,
    Verbose,
    WeightsArch,
    seed_option,
    space_option,
    time_option,
)
from nas.cli.pretrained import pretrained
from nas.cli.terminal_progress import TerminalProgress
from nas.environment import chosen_device
from nas.spaces.registry import load_architecture, load_space


def evaluate(
    arch: Arch,
    proxy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Proxy that measures accuracy: training, supernet, imagenet, zero-cost:NAME or "
            "table:FILE.",
            autocompletion=completion.proxies,
            rich_help_panel=ACCURACY,
        ),
    ] = "training",
    space: Annotated[
        str, space_option(ACCURACY, "Search space that a supernet, predictor or table is of.")
    ] = "efficientnet",
    data: Data = None,
    fit: FitOption = "crop",
    augment: Augment = None,
    max_pixels: MaxPixels = None,
    no_test: NoTest = False,
    groups: Groups = None,
    weights: InheritedWeights = None,
    weights_architecture: WeightsArch = None,
    seed: Annotated[int, seed_option(ACCURACY, "Seed of the first training.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N", help="Number of trainings, with a seed each.", rich_help_panel=ACCURACY
        ),
    ] = 1,
    time: Annotated[str | None, time_option("Approximate time for all trainings")] = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Measure the accuracy of a network by a proxy, with its standard error.

    nas-search evaluate efficientnet-b0 --data my-images/ --seeds 3
    """
    from nas.data.dataset import ImageOptions
    from nas.runs.network_accuracy import AccuracySettings, measure_accuracy

    architecture = load_architecture(arch)
    settings = AccuracySettings(
        architecture,
        load_space(space),
        proxy,
        data=data,
        image_options=ImageOptions(fit, augment, max_pixels, not no_test, groups),
        seeds=seeds,
        seed=seed,
        seconds=duration(time),
        device=chosen_device(device),
        weights=pretrained(weights, weights_architecture),
    )
    with TerminalProgress(quiet=quiet) as progress:
        note_device(progress, device, settings.device)
        accuracy = measure_accuracy(settings, progress)
    if json:
        print_json(accuracy.to_dict())
    elif not quiet:
        print_lines(f"{architecture.name}: {accuracy.mean:.4f} ± {accuracy.standard_error:.4f}")
        facts = [
            ("loss", "" if accuracy.loss is None else f"{accuracy.loss:.4f}"),
            ("metric", accuracy.metric),
            ("data", accuracy.data),
            ("seeds", str(accuracy.n)),
        ]
        print_facts([(name, text) for name, text in facts if text], indent=2)
