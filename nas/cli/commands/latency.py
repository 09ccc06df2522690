"""The command ``latency``: the latency of the blocks of a space on this machine."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from nas.cli import completion
from nas.cli.console import print_facts, print_json, print_lines
from nas.cli.option_values import positive
from nas.cli.panels import MACHINE, NETWORK
from nas.cli.parameters import Device, Json, Quiet, Verbose, out_option, space_option
from nas.cli.terminal_progress import TerminalProgress
from nas.environment import AUTO, check_device
from nas.errors import InputError
from nas.spaces.latency_table import Backend, write_table
from nas.spaces.registry import load_space

if TYPE_CHECKING:
    from nas.export.latency_benchmark import Device as LatencyDevice


def latency(
    space: Annotated[str, space_option(NETWORK)] = "efficientnet",
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input resolution of the networks.",
            show_default="that of the space",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of classes of the networks.",
            show_default="that of the space",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Runtime that latency is measured in: pytorch or onnxruntime.",
            show_default="pytorch",
            autocompletion=completion.one_of("pytorch", "onnxruntime"),
            rich_help_panel=MACHINE,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Batch size that latency is measured at.",
            show_default="1",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    device: Device = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Measure again instead of using the cached table.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    out: Annotated[
        str | None,
        out_option("FILE", "Write the table to this file, for --latency-table on any machine."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Measure the latency of a space's blocks on this machine, for budgets such as 20ms-latency."""
    known = load_space(space)
    pixels = positive("resolution", resolution)
    known = known if pixels is None else known.at_resolution(pixels)
    known = replace(known, num_classes=positive("classes", classes) or known.num_classes)
    source = measured_here(backend, device, batch, again=again)
    with TerminalProgress(quiet=quiet) as progress:
        table = source.table(known, progress)
    if out is not None:
        write_table(Path(out), table)
    assert table.check is not None
    if json:
        print_json(
            {
                "out": out,
                "blocks": len(table.blocks),
                "setting": asdict(table.setting),
                "check": asdict(table.check),
            }
        )
    elif not quiet:
        pixels_shown = " or ".join(map(str, known.pixels))
        print_lines(f"{len(table.blocks):,} blocks of space {known.name} at {pixels_shown} px")
        print_facts(
            [
                ("measured", str(table.setting)),
                ("checked", str(table.check)),
                *([] if out is None else [("written", out)]),
            ]
        )


def measured_here(
    backend: str | None, device: str | None, batch: int | None, *, again: bool = False
) -> LatencyDevice:
    """Return this machine as a source of latencies; errors name the option."""
    from nas.export.latency_benchmark import Device

    chosen = backend or "pytorch"
    for known in get_args(Backend):
        if chosen == known:
            return Device(
                known,
                "cpu" if device in (None, AUTO) else check_device(device),
                positive("batch", batch) or 1,
                again,
            )
    raise InputError(
        f"latency backend {chosen!r} is not accepted: {' or '.join(get_args(Backend))}"
    )
