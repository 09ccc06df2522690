"""The command ``verify``: shows where a folder of results differs from its recomputation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from nas.cli.console import Show, escape, plain_table, print_json, print_lines, print_table

if TYPE_CHECKING:
    from nas.runs.verify.json_diff import JsonDifference

SHOWN = 40
"""So many differences the terminal shows."""

LENGTH = 40
"""So many characters of a value it shows."""


def show_verification(folder: Path, *, json: bool, quiet: bool) -> None:
    """Print how a folder differs from what is recomputed; exit with 1 where it does."""
    with Show(quiet=quiet) as show:
        show.phase("verify", None)
        from nas.runs.verify.verify import verify

        result = verify(folder, show)
    if json:
        print_json({"folder": str(folder), **result.to_dict()})
    elif not quiet:
        if result.differences:
            print_table(_table(result.differences[:SHOWN]))
        lines = [f"note      {note}" for note in result.notes]
        more = len(result.differences) - SHOWN
        if more > 0:
            lines.insert(0, f"          and {more} more; --json shows all")
        count = len(result.differences)
        verdict = {0: "no differences", 1: "1 difference"}.get(count, f"{count} differences")
        lines.append(f"verified  {folder} ({result.kind}, {result.files} files): {verdict}")
        print_lines(*lines)
    if result.differences:
        raise typer.Exit(1)


def _table(differences: Sequence[JsonDifference]) -> Table:
    headings = ("file", "key", "written", "computed")
    table = plain_table("Differences", headings, left=headings)
    for one in differences:
        values = (_short(one.written), _short(one.computed))
        table.add_row(*(escape(value) for value in (one.file, one.key, *values)))
    return table


def _short(text: str) -> str:
    return text if len(text) <= LENGTH else f"{text[: LENGTH - 1]}…"
