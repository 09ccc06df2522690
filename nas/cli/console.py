"""What commands print on standard output: tables, facts, lines and JSON."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box, markup
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from nas.cli.file_descriptions import contents
from nas.errors import visible
from nas.files import to_json

if TYPE_CHECKING:
    pass

_UNBOUNDED = 100_000
"""Columns of what has no edge: a pipe."""


def escape(text: str) -> str:
    """Return text that somebody else has written as it is to be shown: no markup, no controls."""
    return markup.escape(visible(text))


def print_json(data: Any) -> None:
    """Print one JSON document on standard output, escapes for what a terminal would obey."""
    text = to_json(data)
    if not text.replace("\n", "").isprintable():
        text = "".join(one if one.isprintable() or one == "\n" else _unit(one) for one in text)
    sys.stdout.write(text)


def _unit(character: str) -> str:
    """Return a character as JSON escapes it, a pair of them where it takes one."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def plain_table(
    title: str | None,
    headings: Sequence[str],
    *,
    left: Container[str] = ("",),
    caption: str | None = None,
) -> Table:
    """Return an empty table as all of them look; a cell with no room goes on in the next line.

    Args:
        title: above it.
        headings: of its columns.
        left: headings of the columns that are words; the others are numbers.
        caption: below it.
    """
    table = Table(
        title=None if title is None else escape(title),
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table on standard output: as wide as it is in a pipe, folded on a terminal."""
    console = Console(highlight=False, emoji=False)
    if console.is_terminal:
        console.print(table)
        return
    free = console.options.update(max_width=_UNBOUNDED)
    widest = Measurement.get(console, free, table).maximum
    console = Console(highlight=False, emoji=False, width=max(console.width, widest))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), soft_wrap=True, markup=False)


def print_lines(*lines: str) -> None:
    """Print lines on standard output as they stand; a terminal wraps what is too long for it."""
    console = Console(highlight=False, emoji=False)
    for line in lines:
        console.print(visible(line), soft_wrap=True, markup=False)


def print_facts(facts: Iterable[tuple[str, str]], indent: int = 0, least: int = 8) -> None:
    """Print what is called what, a line each; on a terminal the text is wrapped beside its name.

    Args:
        facts: names, and what they are.
        indent: columns before the names.
        least: columns that the names take at least.
    """
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=least)
    grid.add_column(overflow="fold")
    for name, text in facts:
        grid.add_row(" " * indent + escape(name), escape(text))
    print_table(grid)


def print_written(folder: Path) -> None:
    """Print what lies in a folder now, and what each of it is."""
    print_lines("", f"Written to {folder}")
    print_facts(contents(folder), indent=2)
