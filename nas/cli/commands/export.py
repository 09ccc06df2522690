"""The command ``export``: a network for another library or format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from nas.cli import completion
from nas.cli.console import print_json, print_lines
from nas.cli.panels import ACCURACY, NETWORK, OUTPUT
from nas.cli.parameters import Arch, Json, Quiet, Verbose, out_option, seed_option
from nas.cli.terminal_progress import TerminalProgress
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.data import ImageData
    from nas.export.export import Calibration, Export
    from nas.export.int8 import Quantised

_NAMED = 8
"""So many layers left in float are named; ``export.json`` names them all."""


def export(
    arch: Arch,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="Export format: timm, torchvision, onnx, torch or json.",
            autocompletion=completion.one_of(*completion.TARGETS),
            rich_help_panel=OUTPUT,
        ),
    ],
    out: Annotated[str, out_option("DIR", "Folder to write the files to.")],
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights to export: of nas-search, timm or torchvision; none: random ones.",
            show_default="those beside ARCH, or random",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    seed: Annotated[int, seed_option(NETWORK, "Seed of random weights and test images.")] = 0,
    dynamic_resolution: Annotated[
        bool,
        typer.Option(
            "--dynamic-resolution",
            help="With --to onnx: accept images of any size.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="With --to onnx: write an 8-bit quantised model too, and measure its accuracy.",
            rich_help_panel=ACCURACY,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="With --int8: images for calibration and evaluation.",
            show_default="built-in fractals",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Export a network to another library or format, and check that it is equivalent.

    nas-search export architecture.json --weights weights.safetensors --to onnx --out exported
    """
    from nas.records.beside import architecture_in, weights_beside

    file = architecture_in(Path(arch))
    architecture = load_architecture(arch if file is None else file)
    beside, notes = None, list[str]()
    if weights is None and file is not None:
        beside = weights_beside(file, architecture, notes.append)
        weights = None if beside is None else str(beside)
    elif weights == "none":
        weights = None
    for option, wanted in (("--int8", int8), ("--dynamic-resolution", dynamic_resolution)):
        if wanted and to != "onnx":
            raise InputError(f"{option} needs --to onnx")
    if int8 and weights is None:
        raise InputError("--int8 needs --weights: the accuracy of random weights means nothing")
    if data is not None and not int8:
        raise InputError("--data needs --int8: its images are for calibration")
    from nas.export.export import export_network
    from nas.export.targets import Target

    for known in get_args(Target):
        if to == known:
            break
    else:
        raise InputError(f"target {to!r} is not accepted: {', '.join(get_args(Target))}")
    with TerminalProgress(quiet=quiet) as progress:
        for text in notes:
            progress.note(text)
        if beside is not None:
            progress.note(f"weights: {beside}, which lies beside {file}")
        made = export_network(
            architecture,
            known,
            Path(out),
            weights=None if weights is None else Path(weights),
            seed=seed,
            dynamic_resolution=dynamic_resolution,
            calibration=_calibration(architecture, data, progress) if int8 else None,
            progress=progress,
        )
    if json:
        print_json({"out": out, **made.document})
    elif not quiet:
        _print(architecture, to, made)


def _calibration(
    architecture: Architecture, data: str | None, progress: TerminalProgress
) -> Calibration:
    from nas.data import BUILT_IN
    from nas.export.export import Calibration

    def load() -> ImageData:
        from nas.data.dataset import load_data

        if data is None:
            progress.note("no --data: calibration uses the built-in fractals")
        # As a training at the network's resolution sees them.
        return load_data(
            data, architecture.in_channels, progress, progress.note, architecture.resolution
        )

    return Calibration(data or BUILT_IN, load)


def _print(architecture: Architecture, target: str, made: Export) -> None:
    from nas.export.folder import EXPORT_FILE

    found, quantised = made.equivalence, made.quantised
    sizes = ", ".join("×".join(map(str, shape)) for shape in found.shapes)
    lines = [
        f"{architecture.name} for {target}: equivalent to the original",
        f"  parameters  {found.params:,}",
        f"  FLOPs       {found.flops:,} at {architecture.resolution} px",
        f"  logits      differ by at most {found.difference:.1e} in {found.precision} "
        f"(accepted: {found.accepted:.1e}, the largest is {found.largest:.3g}), on {sizes} random "
        "images",
        *_structure(made),
        f"  weights     {made.document['weights']}",
    ]
    if quantised is not None:
        left_out = ", ".join(quantised.left_out[:_NAMED]) or "none"
        left_out += ", …" if len(quantised.left_out) > _NAMED else ""
        lines += [
            f"  int8        top-1 agreement with float {quantised.agreement:.1%} on "
            f"{quantised.held_out} held-out images of {quantised.data}",
            *_accuracy(quantised),
            f"  size        {quantised.bytes / 1e6:.1f} MB, "
            f"{quantised.bytes / quantised.float_bytes:.1%} of the float model's "
            f"{quantised.float_bytes / 1e6:.1f} MB",
            f"  in float    {len(quantised.left_out)} of {quantised.layers} layers: {left_out}",
        ]
    lines += [f"  note        {note}" for note in made.document["notes"]]
    files = ", ".join([*made.document["files"], EXPORT_FILE])
    lines.append(f"  written     {made.folder}: {files}")
    print_lines(*lines)


def _structure(made: Export) -> list[str]:
    if made.structure is None:
        return []
    return [
        f"              with random weights by {made.structure.difference:.1e} (largest "
        f"{made.structure.largest:.3g})"
    ]


def _accuracy(quantised: Quantised) -> list[str]:
    accuracy, before, error = quantised.accuracy, quantised.float_accuracy, quantised.half_width
    if accuracy is None or before is None:
        return []
    interval = " points; too few images for an interval"
    if error is not None:
        interval = f" ± {100 * error:.2f} points (95 % CI)"
    return [
        f"  accuracy    {accuracy:.2%} on them, float {before:.2%}; difference "
        f"{100 * (accuracy - before):+.2f}{interval}"
    ]
