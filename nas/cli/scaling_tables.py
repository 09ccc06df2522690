"""The evidence for compound scaling, on the terminal."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

from nas.cli.console import plain_table
from nas.spaces.budget import amount


def compared_table(data: dict[str, Any]) -> Table:
    """Return directions at equal multiples of the FLOPs, beside the paper's."""
    table = plain_table(
        "Top-1 error relative to the baseline's, predicted from published trainings",
        ["× FLOPs", "direction", "FLOPs", "layers", "px", "error", "against the paper's (90 %)"],
        left=("direction",),
    )
    factor = None
    for row in data["compared"]:
        if factor not in (None, row["factor"]):
            table.add_section()
        low, high = row["interval_90"]
        gap = f"{_percent(row['against_paper'])} ({_percent(low)} to {_percent(high)})"
        table.add_row(
            "" if factor == row["factor"] else str(row["factor"]),
            row["direction"],
            amount(row["flops"]),
            str(row["layers"]),
            str(row["resolution"]),
            f"{math.exp(row['ln_error']):.3f}",
            "" if (low, high) == (0, 0) else gap,
        )
        factor = row["factor"]
    return table


def best_table(data: dict[str, Any]) -> Table:
    """Return the best directions."""
    table = plain_table(
        "Best direction: posterior mean, with 90 % intervals of the shares",
        ["over", "α", "β", "γ", "depth", "width", "resolution", "the paper's costs (90 %)"],
        left=("over",),
    )
    for members, one in data["best"].items():
        low, high = one["cost_of_paper_interval_90"]
        table.add_row(
            members,
            *(f"{one[name]:.3f}" for name in ("alpha", "beta", "gamma")),
            *(
                f"{100 * one['shares'][name]:.0f} % ({100 * ends[0]:.0f} to {100 * ends[1]:.0f})"
                for name, ends in one["intervals"].items()
            ),
            f"{_percent(one['cost_of_paper'])} ({_percent(low)} to {_percent(high)})",
        )
    return table


def _percent(change: float) -> str:
    return f"{100 * math.expm1(change):+.1f} %"
