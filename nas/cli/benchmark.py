"""The command ``table``: networks of a space, each trained alone, as a benchmark table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.console import Show, print_json, print_lines, print_written
from nas.cli.options import kept
from nas.spaces.budget import parse_range
from nas.spaces.registry import load_space

if TYPE_CHECKING:
    from nas.runs.benchmark_table.make import MadeTable


def show_table(
    space: str, flops: str, out: Path, *, json: bool, quiet: bool, **options: Any
) -> None:
    """Make a table, and print what it has; ``options`` are those of its settings."""
    from nas.runs.benchmark_table.make import TableSettings, make_table

    settings = TableSettings(load_space(space), parse_range(flops), out, **options)
    with Show(quiet=quiet) as show, kept(out):
        table = make_table(settings, show)
    if json:
        print_json(
            {
                "out": str(table.file),
                "networks": settings.networks,
                "rows": len(table.rows),
                "failed": table.failed,
            }
        )
    elif not quiet:
        _print(table, settings.networks)


def _print(table: MadeTable, networks: int) -> None:
    accuracies = [row["accuracy"] for row in table.rows]
    print_lines(
        f"{len(table.rows)} rows of {networks} networks, validation accuracy "
        f"{min(accuracies):.3f} to {max(accuracies):.3f}"
        + (f"; {table.failed} trainings failed" if table.failed else "")
    )
    print_written(table.file.parent)
