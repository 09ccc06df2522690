"""The command ``latency``, and the options of a budget in milliseconds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from nas.cli.console import Show, print_facts, print_json, print_lines
from nas.cli.options import positive
from nas.environment import check_device
from nas.errors import InputError
from nas.runs.settings import LatencySource
from nas.spaces.budget import Budget
from nas.spaces.latency_table import Backend, TableFile, write_table
from nas.spaces.registry import load_space

if TYPE_CHECKING:
    from nas.export.latency_benchmark import Device
    from nas.records.run_state import RunCommand


def latency_source(command: RunCommand, budget: Budget) -> LatencySource | None:
    """Return where a budget has its latencies from, by the command's options; None: no such limit.

    Raises:
        InputError: options that mean nothing together.
    """
    file, backend, batch = command.latency_table, command.latency_backend, command.latency_batch
    given = [
        f"--latency-{name}"
        for name, value in (("table", file), ("backend", backend), ("batch", batch))
        if value is not None
    ]
    if budget.latency_ms is None:
        if given:
            raise InputError(f"{given[0]}: not accepted without a limit on latency: 20ms-latency")
        return None
    if file is not None:
        if given != ["--latency-table"]:
            raise InputError(f"{given[1]}: not accepted with --latency-table, which has its own")
        return TableFile(Path(file))
    return _device(backend, command.device, batch)


def show_latency(
    space_name: str,
    *,
    resolution: int | None,
    classes: int | None,
    backend: str | None,
    device: str | None,
    batch: int | None,
    again: bool,
    out: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Measure the latencies of a space's blocks here, check their sums, print how good they are."""
    space = load_space(space_name)
    space = replace(
        space,
        resolution=positive("resolution", resolution) or space.resolution,
        num_classes=positive("classes", classes) or space.num_classes,
    )
    source = _device(backend, device, batch, again=again)
    with Show(quiet=quiet) as show:
        table = source.table(space, show)
    if out is not None:
        write_table(out, table)
    assert table.check is not None
    if json:
        print_json(
            {
                "out": None if out is None else str(out),
                "blocks": len(table.blocks),
                "setting": asdict(table.setting),
                "check": asdict(table.check),
            }
        )
    elif not quiet:
        print_lines(f"{len(table.blocks):,} blocks of space {space.name} at {space.resolution} px")
        print_facts(
            [
                ("measured", str(table.setting)),
                ("checked", str(table.check)),
                *([] if out is None else [("written", str(out))]),
            ]
        )


def _device(
    backend: str | None, device: str | None, batch: int | None, *, again: bool = False
) -> Device:
    from nas.export.latency_benchmark import Device

    chosen = backend or "pytorch"
    for known in get_args(Backend):
        if chosen == known:
            return Device(
                known, check_device(device or "cpu"), positive("batch", batch) or 1, again
            )
    raise InputError(
        f"latency backend {chosen!r} is not accepted: {' or '.join(get_args(Backend))}"
    )
