"""Tables of networks: compared ones, and the members of a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from nas.cli.console import escape, plain_table
from nas.spaces.budget import amount

if TYPE_CHECKING:
    from nas.networks.architecture_file import ArchitectureRecord
    from nas.statistics import PairedDifference
    from nas.strategies.comparison import SeededComparison


def comparison_table(
    comparison: SeededComparison,
    title: str,
    against: int,
    best: int | None,
    tied: Sequence[int] = (),
) -> Table:
    """Return networks that were compared, with their differences to one of them."""
    table = plain_table(
        title,
        ("", "architecture", "FLOPs", "accuracy", "seeds", "difference to R"),
        left=("", "architecture"),
        caption="* chosen   = not significantly different from it   R reference\n"
        "( ) not significant (95 % CI)",
    )
    for index, network in enumerate(comparison.networks):
        accuracy = network.accuracy
        marks = "*" if index == best else "=" if index in tied else ""
        table.add_row(
            marks + ("R" if index == against else ""),
            escape(network.name),
            amount(network.cost.flops),
            "–" if accuracy is None else f"{accuracy.mean:.4f} ± {accuracy.standard_error:.4f}",
            "0" if accuracy is None else str(accuracy.n),
            "" if index == against else _brief(comparison.difference(index, against)),
            style="bold" if index == best else "",
        )
    return table


def _brief(difference: PairedDifference | None) -> str:
    """Return a difference with its interval; in parentheses where it is not significant."""
    if difference is None:
        return "–"
    if difference.half_width is None:
        return f"({difference.mean:+.4f})"
    text = f"{difference.mean:+.4f} ± {difference.half_width:.4f}"
    return text if difference.real else f"({text})"


def family_table(
    family: Sequence[ArchitectureRecord],
    title: str = "Family",
    beside: tuple[str, Sequence[str]] | None = None,
    base_flops: int | None = None,
) -> Table:
    """Return the scaled networks with what they cost, and a column of the caller's beside it.

    Ratios are to ``base_flops``, or to the first network's.
    """
    base = base_flops or family[0].cost.flops
    table = plain_table(
        title,
        [
            *("name", "px", "layers", "FLOPs", "×", "params", "dropout"),
            *([] if beside is None else [beside[0]]),
        ],
        left=("name",),
    )
    for index, record in enumerate(family):
        architecture = record.architecture
        table.add_row(
            escape(architecture.name),
            str(architecture.resolution),
            str(sum(stage.layers for stage in architecture.stages)),
            amount(record.cost.flops),
            f"{record.cost.flops / base:.2f}",
            amount(record.cost.params),
            f"{architecture.head.dropout:g}",
            *([] if beside is None else [beside[1][index]]),
        )
    return table
