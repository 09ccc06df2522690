"""The command ``cost``: FLOPs, parameters and activations of a network."""

from __future__ import annotations

from typing import Annotated

import typer

from nas.cli.console import print_json, print_lines
from nas.cli.panels import NETWORK
from nas.cli.parameters import Arch, Json
from nas.networks.cost import CONVENTION, measure_cost
from nas.spaces.registry import load_architecture


def cost(
    arch: Arch,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input resolution at which FLOPs are counted.",
            show_default="that of ARCH",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a network costs: FLOPs, parameters and activations."""
    architecture = load_architecture(arch)
    found = measure_cost(architecture, resolution)
    pixels = resolution or architecture.resolution
    if json:
        print_json({**found.to_dict(), "resolution": pixels, "convention": CONVENTION})
        return
    print_lines(
        f"{architecture.name} at {pixels} px",
        *(f"  {metric:<12}{value:>16,}" for metric, value in found.to_dict().items()),
        f"  ({CONVENTION})",
    )
