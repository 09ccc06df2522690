"""The command ``verify``: how a folder of results differs from what is recomputed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nas.cli import completion
from nas.cli.console import escape, plain_table, print_json, print_lines, print_table
from nas.cli.parameters import Json, Quiet, Verbose
from nas.cli.terminal_progress import TerminalProgress

if TYPE_CHECKING:
    from nas.runs.verify.json_diff import JsonDifference

SHOWN = 40
"""So many differences the terminal shows."""


LENGTH = 40
"""So many characters of a value it shows."""


def verify(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="Folder of results: of a run, comparison, training, table, fidelity or "
            "reproduction.",
            autocompletion=completion.folders,
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Verify a folder of results: check the hashes of its files and recompute its numbers."""
    with TerminalProgress(quiet=quiet) as progress:
        progress.phase("verify", None)
        from nas.runs.verify.verify import verify as verify_folder

        result = verify_folder(Path(folder), progress)
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
