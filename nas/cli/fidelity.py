"""The command ``fidelity``: how well a proxy ranks, as tables and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nas.cli.console import (
    Show,
    escape,
    plain_table,
    print_json,
    print_lines,
    print_table,
    print_written,
)
from nas.cli.options import kept
from nas.spaces.registry import load_space

if TYPE_CHECKING:
    from nas.runs.fidelity.rank_agreement import Fidelity, Measured
    from nas.statistics import Agreement


def show_fidelity(
    table: Path, space: str, out: Path | None, *, json: bool, quiet: bool, **options: Any
) -> None:
    """Measure how well a proxy ranks, and print it; ``options`` are those of its settings."""
    from nas.runs.fidelity.measure import FidelitySettings, measure_proxy

    settings = FidelitySettings(table, load_space(space), out=out, **options)
    with Show(quiet=quiet) as show, kept(out):
        result = measure_proxy(settings, show)
    if json:
        print_json(result.to_dict())
    elif not quiet:
        print_table(_table(result))
        print_lines(*result.notes, *_repeats(result), _conclusion(result))
        if out is not None:
            print_written(out)


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
