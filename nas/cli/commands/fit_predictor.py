"""The command ``fit-predictor``: an accuracy predictor, and its errors on held-out rows."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Annotated

import typer

from nas.cli.console import print_json, print_lines
from nas.cli.panels import ACCURACY, NETWORK
from nas.cli.parameters import Json, Quiet, Verbose, out_option, seed_option, space_option
from nas.cli.terminal_progress import TerminalProgress
from nas.proxies.benchmark_table import read_table
from nas.spaces.registry import load_space

SPEED_SAMPLES = 20_000


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
    from nas.proxies.predictor_file import read_predictor, write_predictor
    from nas.proxies.predictor_fit import fit_predictor as fit

    rows, found = read_table(Path(table)), load_space(space)
    folder, name = Path(out).parent, Path(out).name
    with TerminalProgress(quiet=quiet) as progress:
        predictor = fit(
            rows, found, metric=metric, data=data, source=source, seed=seed, say=progress.note
        )
    size = write_predictor(predictor, folder, name)
    written = read_predictor(folder, name, found)
    rng = random.Random(seed)
    choices = [found.sample(rng) for _ in range(SPEED_SAMPLES)]
    start = time.perf_counter()
    written.predict(choices)
    speed = round(SPEED_SAMPLES / (time.perf_counter() - start))
    scores, optimism = written.metadata.scores, written.metadata.optimism
    if json:
        print_json(
            {
                "out": out,
                "bytes": size,
                "rows": written.metadata.rows,
                "predictions_per_second": speed,
                "scores": scores.model_dump(),
                "optimism": optimism.model_dump(),
            }
        )
    elif not quiet:
        print_lines(
            f"{out}: {written.metadata.rows:,} architectures, {size / 1024:.0f} KiB, "
            f"{speed:,} predictions per second",
            f"errors on {scores.held_out:.0%} held-out rows, mean of {scores.splits} splits:",
            f"  Kendall τ        {scores.kendall_tau:.4f}",
            f"  RMSE             {100 * scores.rmse:.3f} points",
            f"  90 % intervals   cover {scores.coverage_90:.1%}",
            f"  selection bias   +{100 * optimism.mean:.2f} ± "
            f"{100 * optimism.standard_deviation:.2f} points of the best of a search "
            f"({optimism.n} searches)",
        )
