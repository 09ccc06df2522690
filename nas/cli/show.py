"""What is shown on the terminal: progress on standard error, tables on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich import box, markup
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from nas.budget import amount
from nas.cost import measure_cost
from nas.errors import visible
from nas.files import to_json
from nas.latency import milliseconds

if TYPE_CHECKING:
    from nas.accuracy import Accuracy
    from nas.contest import Contest
    from nas.grid import GridResult
    from nas.paired import Difference
    from nas.record import Record
    from nas.run import RunResult


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


class Show:
    """Progress of a run: a bar on a terminal, plain lines in a pipe, nothing if quiet."""

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self._quiet = quiet
        self._json = json
        self._errors = Console(stderr=True, highlight=False)
        self._out = Console(highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._phase, self._done, self._total = "", 0, 0
        self._spoke = 0.0

    def __enter__(self) -> Self:
        """Start the bar, where there is a terminal."""
        if not self._quiet and self._errors.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=self._errors,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()

    def phase(self, name: str, total: int | None) -> None:
        """Begin a phase of ``total`` steps."""
        again = name == self._phase
        self._phase, self._done, self._total = name, 0, total or 0
        if self._bar is not None:
            if again and self._task is not None:
                self._bar.update(self._task, total=total, completed=0)
                return
            if self._task is not None:
                self._bar.update(self._task, text="")
                self._bar.stop_task(self._task)
            self._task = self._bar.add_task(escape(name), total=total, text="")
        elif not self._quiet and not again:
            self._line(name)

    def advance(self, done: int, text: str = "") -> None:
        """Say how many more steps are done."""
        self._done += done
        if self._bar is not None and self._task is not None:
            if self._total:
                self._bar.update(self._task, advance=done, text=escape(text))
            else:
                self._bar.update(self._task, completed=done, text=escape(text))
        elif not self._quiet and self._total:
            # A line for each of what takes milliseconds and has nothing to say would be noise.
            if text or self._done == self._total or time.monotonic() - self._spoke > 1:
                self._line(f"{self._phase} {self._done}/{self._total} {text}")
        elif not self._quiet and time.monotonic() - self._spoke > 10:
            self._line(f"{self._phase} {done} {text}")

    def note(self, text: str) -> None:
        """Say something that stays."""
        if not self._quiet:
            self._line(text)

    def table(self, table: Table) -> None:
        """Print a table."""
        self._out.print(table)

    def summary(self, result: RunResult) -> None:
        """Print what was found in a few lines, with the place of the files."""
        best = result.baseline
        seconds = sum(result.phase_seconds.values())
        lines = [
            f"baseline  {best.architecture.name}: {amount(best.cost.flops)} FLOPs, "
            f"{amount(best.cost.params)} parameters",
            f"accuracy  {_accuracy(best.accuracy)}" if best.accuracy else "",
            _corrected(best.provenance.get("corrected")),
            *_tested(result.test),
            "" if result.check is None else f"proxy     {result.check}",
            f"time      {seconds / 60:.1f} min ("
            + ", ".join(f"{name} {value:.0f} s" for name, value in result.phase_seconds.items())
            + ")",
            f"written   {result.folder}",
        ]
        for line in lines:
            if line:
                self._out.print(escape(line), soft_wrap=True)

    def _line(self, text: str) -> None:
        self._spoke = time.monotonic()
        self._errors.print(escape(text.rstrip()), soft_wrap=True)


def _corrected(accuracy: dict[str, Any] | None) -> str:
    if accuracy is None:
        return ""
    return (
        f"corrected {accuracy['mean']:.4f} ± {accuracy['standard_error']:.4f} "
        "(for being the best of many)"
    )


def _tested(test: Contest | None) -> list[str]:
    """Return the baseline's test accuracy, and what the reference has if there is one."""
    if test is None or test.entries[0].accuracy is None:
        return []
    lines = [f"test      {_accuracy(test.entries[0].accuracy)}"]
    reference = test.entries[-1]
    if len(test.entries) > 1 and reference.accuracy is not None:
        name = escape(reference.architecture.name)
        lines.append(
            f"          {name}, trained alike: {reference.accuracy.mean:.4f} ± "
            f"{reference.accuracy.standard_error:.4f}; the baseline is at "
            f"{_difference(test.difference(0, len(test.entries) - 1))} to it"
        )
    return lines


def _difference(difference: Difference | None) -> str:
    """Return a difference with its interval, and whether it is real."""
    if difference is None:
        return "–"
    if difference.half_width is None:
        return f"{difference.mean:+.4f} (its error is not known)"
    verdict = "" if difference.real else ", not told apart (95 %)"
    return f"{difference.mean:+.4f} ± {difference.half_width:.4f}{verdict}"


def contest_table(
    contest: Contest, title: str, against: int, best: int | None, tied: Sequence[int] = ()
) -> Table:
    """Return networks trained alike, with their differences to one of them."""
    table = Table(
        title=escape(title),
        caption="* chosen   = cannot be told from it   R reference\n( ) not told apart (95 %)",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in ("", "architecture", "FLOPs", "accuracy", "seeds", "difference to R"):
        left = heading in ("", "architecture")
        # A name too long for the terminal goes on in the next line: its end tells it apart.
        fold = heading == "architecture"
        table.add_column(
            heading, justify="left" if left else "right", overflow="fold", no_wrap=not fold
        )
    for index, entry in enumerate(contest.entries):
        accuracy = entry.accuracy
        marks = "*" if index == best else "=" if index in tied else ""
        table.add_row(
            marks + ("R" if index == against else ""),
            escape(entry.architecture.name),
            amount(measure_cost(entry.architecture).flops),
            "–" if accuracy is None else f"{accuracy.mean:.4f} ± {accuracy.standard_error:.4f}",
            "0" if accuracy is None else str(accuracy.n),
            "" if index == against else _brief(contest.difference(index, against)),
            style="bold" if index == best else "",
        )
    return table


def _brief(difference: Difference | None) -> str:
    """Return a difference with its interval; in brackets where it is not told apart."""
    if difference is None:
        return "–"
    if difference.half_width is None:
        return f"({difference.mean:+.4f})"
    text = f"{difference.mean:+.4f} ± {difference.half_width:.4f}"
    return text if difference.real else f"({text})"


def _accuracy(accuracy: Accuracy) -> str:
    loss = "" if accuracy.loss is None else f", loss {accuracy.loss:.3f}"
    return (
        f"{accuracy.mean:.4f} ± {accuracy.standard_error:.4f}{loss} ({accuracy.metric}; "
        f"{accuracy.data or accuracy.proxy})"
    )


def front_table(result: RunResult) -> Table:
    """Return the Pareto front, accuracy against FLOPs."""
    search = result.search
    table = Table(
        title=f"Front of {len(search.trials)} trials ({search.count('finished')} finished, "
        f"{search.count('stopped')} stopped early, {search.count('failed')} failed)"
    )
    timed = any("latency" in record.provenance for record in result.front)
    latency = ("latency",) if timed else ()
    for heading in ("architecture", "FLOPs", "params", *latency, "accuracy", "loss"):
        table.add_column(heading, justify="left" if heading == "architecture" else "right")
    for record in result.front:
        accuracy = record.accuracy
        assert accuracy is not None
        best = record.architecture.name == result.baseline.architecture.name
        table.add_row(
            escape(record.architecture.name) + (" *" if best else ""),
            amount(record.cost.flops),
            amount(record.cost.params),
            *([milliseconds(record.provenance["latency"]["nanoseconds"])] if timed else []),
            f"{accuracy.mean:.4f} ± {accuracy.standard_error:.4f}",
            "" if accuracy.loss is None else f"{accuracy.loss:.4f}",
            style="bold" if best else "",
        )
    table.caption = "* the baseline"
    return table


def grid_table(grid: GridResult) -> Table:
    """Return the coefficients evaluated, the best first."""
    table = Table(
        title="Coefficients: α depth, β width, γ resolution",
        caption="* chosen   = cannot be told from the best: of these the most balanced is chosen\n"
        "P the paper's   ! off the target   ↑ the proxy only enlarges its images for this γ",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in ("", "α", "β", "γ", "α·β²·γ²", "FLOPs", "proxy", "accuracy", "loss", "seeds"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in grid.points:
        point, accuracy = row.point, row.accuracy
        c = point.coefficients
        chosen = row is grid.chosen
        marks = (
            "*" if chosen else "=" if row in grid.tied else "",
            "P" if point.architecture.key() == grid.reference.point.architecture.key() else "",
            "" if point.eligible else "!",
            "↑" if point.only_enlarges else "",
        )
        table.add_row(
            "".join(marks),
            f"{c.alpha:g}",
            f"{c.beta:g}",
            f"{c.gamma:g}",
            f"{c.product:.2f}",
            f"{point.ratio:.2f}×",
            f"{point.proxy_ratio:.2f}×",
            "–" if accuracy is None else f"{accuracy.mean:.3f}±{accuracy.standard_error:.3f}",
            "–" if accuracy is None or accuracy.loss is None else f"{accuracy.loss:.3f}",
            "0" if accuracy is None else str(accuracy.n),
            style="bold" if chosen else "",
        )
    return table


def family_table(
    family: Sequence[Record],
    title: str = "Family",
    beside: tuple[str, Sequence[str]] | None = None,
    base_flops: int | None = None,
) -> Table:
    """Return the scaled networks with what they cost, and a column of the caller's beside it.

    Ratios are to ``base_flops``, or to the first network's.
    """
    base = base_flops or family[0].cost.flops
    table = Table(title=escape(title))
    for heading in ("name", "px", "layers", "FLOPs", "×", "params", "dropout"):
        left = heading == "name"
        table.add_column(heading, justify="left" if left else "right", no_wrap=left)
    if beside is not None:
        table.add_column(beside[0], justify="right")
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
