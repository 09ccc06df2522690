"""What is shown on the terminal: progress on standard error, tables on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich import box, markup
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from nas.cli.file_descriptions import contents
from nas.cli.progress_line import Lines, LiveLine, ShownPhase
from nas.errors import visible
from nas.files import to_json
from nas.spaces.budget import amount

if TYPE_CHECKING:
    from nas.networks.architecture_file import ArchitectureRecord
    from nas.statistics import PairedDifference
    from nas.strategies.comparison import SeededComparison

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


class Show:
    """Progress of a command: a live line on a terminal, plain lines in a pipe, nothing if quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        errors = Console(stderr=True, highlight=False, emoji=False)
        # Not what FORCE_COLOR says: colours may be forced upon a log, a cursor that moves may not.
        drawn = errors.file.isatty() and not errors.is_dumb_terminal
        self._shown = None if quiet else LiveLine(errors) if drawn else Lines(errors)
        self._phase: ShownPhase | None = None
        self._ended = True

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._shown is not None:
            self._shown.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the last phase."""
        if self._shown is not None:
            if kind is None:
                self._end()
            begun = not self._ended and self._phase is not None and self._phase.own > 0
            self._shown.stop(self._phase if begun else None)

    def phase(self, name: str, total: int | None, *, seconds: float | None = None) -> None:
        """Begin a phase of ``total`` steps, or as many as end in so many seconds."""
        if self._shown is None:
            return
        now = began = time.monotonic()
        name = visible(name)
        again = not self._ended and self._phase is not None and self._phase.name == name
        if again and self._phase is not None:
            began = self._phase.began  # now the total is known
        else:
            self._end()
        self._phase = ShownPhase(name, total, began, None if seconds is None else now + seconds)
        self._ended = False
        self._shown.began(self._phase, again)

    def advance(self, done: int, text: str = "", *, best: str = "") -> None:
        """Say how many more steps are done."""
        if self._shown is None or self._phase is None:
            return
        self._phase.step(done, visible(text), visible(best), time.monotonic())
        if self._phase.complete:
            self._end()
        elif not self._ended:
            self._shown.stepped(self._phase)

    def note(self, text: str) -> None:
        """Say something that stays."""
        if self._shown is not None:
            self._shown.say(visible(text))

    def _end(self) -> None:
        if not self._ended and self._phase is not None and self._shown is not None:
            self._shown.ended(self._phase)
        self._ended = True


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
