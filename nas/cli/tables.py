"""Commands about benchmark tables: import, fit-predictor."""

from __future__ import annotations

import random
import time
from pathlib import Path

from nas.cli.console import Show, print_json, print_lines
from nas.errors import InputError
from nas.proxies.benchmark_table import read_table
from nas.spaces.registry import load_space

SPEED_SAMPLES = 20_000


def import_table(source: str, archive: Path, out: Path, json: bool) -> None:
    """Write a table from a released archive."""
    from nas.proxies.accel_nasbench import import_accel_nasbench

    if source != "accel-nasbench":
        raise InputError(f"source {source!r} is not accepted: accel-nasbench")
    rows, different = import_accel_nasbench(archive, out)
    if json:
        print_json({"out": str(out), "rows": rows, "architectures": different})
        return
    print_lines(f"{out}: {rows:,} rows, {different:,} different architectures")


def show_fit(
    path: Path,
    out: Path,
    space_name: str,
    *,
    metric: str,
    data: str,
    source: str,
    seed: int,
    json: bool,
    quiet: bool,
) -> None:
    """Fit a predictor, write it, and print its errors on held-out rows."""
    from nas.proxies.predictor_file import read_predictor, write_predictor
    from nas.proxies.predictor_fit import fit_predictor

    table, space = read_table(path), load_space(space_name)
    with Show(quiet=quiet) as show:
        predictor = fit_predictor(
            table, space, metric=metric, data=data, source=source, seed=seed, say=show.note
        )
    size = write_predictor(predictor, out.parent, out.name)
    written = read_predictor(out.parent, out.name, space)
    rng = random.Random(seed)
    choices = [space.sample(rng) for _ in range(SPEED_SAMPLES)]
    start = time.perf_counter()
    written.predict(choices)
    speed = round(SPEED_SAMPLES / (time.perf_counter() - start))
    scores, optimism = written.metadata.scores, written.metadata.optimism
    if json:
        print_json(
            {
                "out": str(out),
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
