"""The command ``status``: how far a run is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from nas.budget import amount
from nas.cli.show import escape, print_json
from nas.status import PhaseStatus, Status, read_status


def show_status(folder: Path, storage: str | None, *, json: bool) -> None:
    """Print how far a run is."""
    status = read_status(folder, storage)
    if json:
        print_json(status.to_dict())
        return
    console = Console(highlight=False)
    by = f" (process {status.pid})" if status.state == "running" else ""
    phase = "" if status.phase is None or status.state == "finished" else f", {status.phase}"
    console.print(escape(f"{status.folder}: {status.state}{by}{phase}"), soft_wrap=True)
    if status.supernet is not None and status.state != "finished":
        console.print(f"supernet  {status.supernet:.0%} of its training is on disk")
    if status.phases:
        console.print(_table(status))
    for line in (*_failures(status), *_best(status), *_left(status)):
        console.print(escape(line), soft_wrap=True)


def _table(status: Status) -> Table:
    """Return the phases with what of each is on disk; columns of nothing are left out."""
    columns: dict[str, Callable[[PhaseStatus], str]] = {
        "done": lambda phase: f"{phase.done:,}/{phase.total:,}",
        "finished": lambda phase: f"{phase.finished:,}",
        "stopped early": lambda phase: f"{phase.stopped:,}",
        "failed": lambda phase: f"{phase.failed:,}",
        "retries": lambda phase: f"{phase.retries:,}",
        "running": lambda phase: f"{phase.claimed or 0:,}",
        "left by the dead": lambda phase: f"{phase.abandoned or 0:,}",
        "a minute": lambda phase: _rate(phase.per_minute),
    }
    cells = {heading: [cell(phase) for phase in status.phases] for heading, cell in columns.items()}
    shown = [
        heading
        for heading, found in cells.items()
        if heading in ("done", "finished") or set(found) - {"0", ""}
    ]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("phase", no_wrap=True)
    for heading in shown:
        table.add_column(heading, justify="right")
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


def _failures(status: Status) -> list[str]:
    """Return why trials failed, a line each kind."""
    lines = []
    for phase in status.phases:
        for failure in phase.failures:
            trials = ", ".join(map(str, failure.trials))
            more = ", …" if failure.count > len(failure.trials) else ""
            lines.append(
                f"failed    {failure.count}× in {phase.name}: {failure.reason} "
                f"(trials {trials}{more})"
            )
    return lines


def _best(status: Status) -> list[str]:
    best = status.best
    if best is None:
        return []
    found = best["accuracy"] or {}
    accuracy = f"{found.get('mean', 0):.4f} ± {found.get('standard_error', 0):.4f}"
    return [
        f"best      {best['architecture']} (trial {best['number']}): "
        f"{amount(best['flops'])} FLOPs, accuracy {accuracy}"
    ]


def _left(status: Status) -> list[str]:
    if status.seconds_left is None:
        return []
    seconds = status.seconds_left
    time = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    return [f"left      about {time} of this phase"]
