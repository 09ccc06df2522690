"""The command ``status``: how far a run is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table

from nas.cli.console import escape, plain_table, print_facts, print_json, print_lines, print_table
from nas.cli.parameters import Folder, Json, Storage, Verbose, as_before
from nas.spaces.budget import amount

if TYPE_CHECKING:
    from nas.runs.status import PhaseStatus, Status


def status(
    folder: Folder,
    storage: Annotated[str | None, as_before(Storage)] = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Show the progress of a run, also while it runs: trials, best network, time left, failures."""
    from nas.runs.status import read_status

    found = read_status(Path(folder), storage)
    if json:
        print_json(found.to_dict())
        return
    by = f" (process {found.pid})" if found.state == "running" else ""
    phase = "" if found.phase is None or found.state == "finished" else f", {found.phase}"
    print_lines(f"{found.folder}: {found.state}{by}{phase}")
    if found.phases:
        print_table(_table(found))
    facts = [*_failures(found), *_best(found), *_left(found)]
    if found.supernet is not None and found.state != "finished":
        facts.insert(0, ("supernet", f"checkpoint at {found.supernet:.0%} of its training"))
    if facts:
        print_facts(facts)


def _table(status: Status) -> Table:
    """Return the phases with their counts; columns that are empty are left out."""
    columns: dict[str, Callable[[PhaseStatus], str]] = {
        "done": lambda phase: f"{phase.done:,}/{phase.total:,}",
        "finished": lambda phase: f"{phase.finished:,}",
        "stopped early": lambda phase: f"{phase.stopped:,}",
        "failed": lambda phase: f"{phase.failed:,}",
        "retries": lambda phase: f"{phase.retries:,}",
        "running": lambda phase: f"{phase.claimed or 0:,}",
        "abandoned": lambda phase: f"{phase.abandoned or 0:,}",
        "per minute": lambda phase: _rate(phase.per_minute),
    }
    cells = {heading: [cell(phase) for phase in status.phases] for heading, cell in columns.items()}
    shown = [
        heading
        for heading, found in cells.items()
        if heading in ("done", "finished") or set(found) - {"0", ""}
    ]
    table = plain_table(None, ("phase", *shown), left=("phase",))
    for index, phase in enumerate(status.phases):
        now = phase.name == status.phase and status.state == "running"
        table.add_row(
            escape(phase.name),
            *(cells[heading][index] for heading in shown),
            style="bold" if now else "",
        )
    return table


def _rate(per_minute: float | None) -> str:
    if per_minute is None:
        return ""
    return f"{per_minute:,.0f}" if per_minute >= 100 else f"{per_minute:.1f}"


def _failures(status: Status) -> list[tuple[str, str]]:
    """Return why trials failed, one line per reason."""
    lines = []
    for phase in status.phases:
        for failure in phase.failures:
            trials = ", ".join(map(str, failure.trials))
            more = ", …" if failure.count > len(failure.trials) else ""
            words = f"{failure.count}× in {phase.name}: {failure.reason} (trials {trials}{more})"
            lines.append(("failed", words))
    return lines


def _best(status: Status) -> list[tuple[str, str]]:
    best = status.best
    if best is None:
        return []
    found = best["accuracy"] or {}
    accuracy = f"{found.get('mean', 0):.4f} ± {found.get('standard_error', 0):.4f}"
    words = f"{best['architecture']} (trial {best['number']}): {amount(best['flops'])} FLOPs"
    return [("best", f"{words}, accuracy {accuracy}")]


def _left(status: Status) -> list[tuple[str, str]]:
    if status.seconds_left is None:
        return []
    seconds = status.seconds_left
    time = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    return [("time left", f"about {time} in this phase")]
