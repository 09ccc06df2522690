"""The command ``fidelity``: how well a proxy ranks, as a table and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nas.cli import completion
from nas.cli.console import escape, plain_table, print_json, print_lines, print_table, print_written
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
    SpaceOrAround,
    Verbose,
    WeightsArch,
    out_option,
    seed_option,
    time_option,
)
from nas.cli.pretrained import pretrained, space_for
from nas.cli.terminal_progress import TerminalProgress, resumable
from nas.environment import chosen_device
from nas.runs.fidelity.table_sample import SAMPLES

if TYPE_CHECKING:
    from nas.runs.fidelity.rank_agreement import Fidelity, Measured
    from nas.statistics import Agreement


def fidelity(
    table: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Benchmark table (JSON Lines): networks whose accuracy is known.",
            rich_help_panel=ACCURACY,
        ),
    ],
    space: SpaceOrAround = None,
    resolution: CountedAt = None,
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
    weights: InheritedWeights = None,
    weights_architecture: WeightsArch = None,
    data: Data = None,
    fit: FitOption = "crop",
    augment: Augment = None,
    max_pixels: MaxPixels = None,
    no_test: NoTest = False,
    groups: Groups = None,
    time: Annotated[
        str | None, time_option("Time limit for preparing the proxy and for all evaluations")
    ] = None,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None, out_option("DIR", "Folder to keep the result in; rerun the command to resume.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Measure how well a proxy ranks networks whose accuracy is known, and FLOPs alone beside it.

    nas-search fidelity --table table.jsonl --proxy supernet --band 300M-330M
    """
    from nas.data.dataset import ImageOptions
    from nas.runs.fidelity.measure import FidelitySettings, measure_proxy

    folder = None if out is None else Path(out)
    inherited = pretrained(weights, weights_architecture)
    settings = FidelitySettings(
        Path(table),
        space_for(space, inherited, resolution)[0],
        proxy=proxy,
        data=data,
        image_options=ImageOptions(fit, augment, max_pixels, not no_test, groups),
        samples=samples,
        bands=tuple(band or ()),
        seconds=duration(time),
        seed=seed,
        jobs=jobs,
        device=chosen_device(device),
        out=folder,
        weights=inherited,
    )
    with TerminalProgress(quiet=quiet) as progress, resumable(folder):
        note_device(progress, device, settings.device)
        result = measure_proxy(settings, progress)
    if json:
        print_json(result.to_dict())
    elif not quiet:
        print_table(_table(result))
        print_lines(*result.notes, *_counts(result), *_repeats(result), _conclusion(result))
        if folder is not None:
            print_written(folder)


def _table(result: Fidelity) -> Table:
    proxy = str(result.proxy["name"])
    table = plain_table(
        f"Rank correlation of {escape(proxy)}, FLOPs and parameters: Kendall τ (95 % CI)",
        ("", "samples", "τ", "Spearman", "τ FLOPs", "τ params", "regret", "top 5"),
        caption="regret: accuracy lost by choosing its first, or the best of its top 5",
    )
    for measured in (result.overall, *result.bands):
        ranking = measured.ranking
        table.add_row(
            str(measured.group),
            str(measured.finished),
            *(
                ("–",) * 6
                if ranking is None
                else (
                    _tau(ranking.proxy),
                    _number(ranking.proxy.spearman),
                    _tau(ranking.flops),
                    _tau(ranking.params),
                    f"{ranking.proxy.regret:.4f}",
                    f"{ranking.proxy.regret_top5:.4f}",
                )
            ),
        )
    return table


def _counts(result: Fidelity) -> list[str]:
    """Return how well counts of layers rank, which need no proxy."""
    lines = []
    for measured in (result.overall, *result.bands):
        ranking = measured.ranking
        known = (
            {}
            if ranking is None
            else {
                "layers": ranking.layers,
                "layers that reduce the resolution": ranking.strided,
            }
        )
        parts = [
            f"of {name} {_number(found.kendall_tau)} ({_number(found.kendall_tau_ci95[0], 2)} to "
            f"{_number(found.kendall_tau_ci95[1], 2)})"
            for name, found in known.items()
            if found is not None
        ]
        if parts:
            lines.append(f"{measured.group}: τ of the number {', '.join(parts)}")
    return lines


def _repeats(result: Fidelity) -> list[str]:
    """Return how well the table's own measurements agree, where it has two of each network."""
    lines = []
    for measured in (result.overall, *result.bands):
        repeats = measured.ranking and measured.ranking.repeats
        if repeats:
            low, high = (_number(value, 2) for value in repeats.kendall_tau_ci95)
            lines.append(
                f"{measured.group}: τ between the table's first and second measurements "
                f"{_number(repeats.kendall_tau)} (95 % CI {low} to {high})"
            )
    return lines


def _tau(score: Agreement) -> str:
    low, high = score.kendall_tau_ci95
    return f"{_number(score.kendall_tau)}\n{_number(low, 2)}…{_number(high, 2)}"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


_VERDICTS = {
    "better": "ranks better than FLOPs alone",
    "worse": "ranks worse than FLOPs alone",
    "equal": "does not rank significantly differently from FLOPs alone",
}


def _conclusion(result: Fidelity) -> str:
    """Return in one sentence where the proxy ranks better than FLOPs (paired bootstrap)."""
    found: dict[str, list[str]] = {}
    for measured in (result.overall, *result.bands):
        found.setdefault(_verdict(measured), []).append(
            "over all networks" if measured.group.flops is None else f"in {measured.group}"
        )
    parts = [f"{verdict} {', '.join(where)}" for verdict, where in found.items()]
    return f"{result.proxy['name']} " + "; it ".join(parts) + " (95 % CI)."


def _verdict(measured: Measured) -> str:
    if measured.ranking is None:
        return "ranked too few networks"
    return _VERDICTS[measured.ranking.verdict]
