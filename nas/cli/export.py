"""The command ``export``: a network for another library or format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from nas.cli.console import Show, print_json, print_lines
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.data import ImageData
    from nas.export.export import Calibration, Export
    from nas.export.int8 import Quantised

_NAMED = 8
"""So many layers left in float are named; ``export.json`` names them all."""


def show_export(
    name: str,
    target: str,
    out: Path,
    *,
    weights: Path | None,
    data: str | None,
    int8: bool,
    dynamic_resolution: bool,
    seed: int,
    json: bool,
    quiet: bool,
) -> None:
    """Export a network, and print how it compares with the original."""
    architecture = load_architecture(name)
    for option, given in (("--int8", int8), ("--dynamic-resolution", dynamic_resolution)):
        if given and target != "onnx":
            raise InputError(f"{option} needs --to onnx")
    if int8 and weights is None:
        raise InputError("--int8 needs --weights: the accuracy of random weights means nothing")
    if data is not None and not int8:
        raise InputError("--data needs --int8: its images are for calibration")
    from nas.export.export import export_network
    from nas.export.targets import Target

    for known in get_args(Target):
        if target == known:
            break
    else:
        raise InputError(f"target {target!r} is not accepted: {', '.join(get_args(Target))}")
    with Show(quiet=quiet) as show:
        made = export_network(
            architecture,
            known,
            out,
            weights=weights,
            seed=seed,
            dynamic_resolution=dynamic_resolution,
            calibration=_calibration(architecture, data, show) if int8 else None,
            progress=show,
        )
    if json:
        print_json({"out": str(out), **made.document})
    elif not quiet:
        _print(architecture, target, made)


def _calibration(architecture: Architecture, data: str | None, show: Show) -> Calibration:
    from nas.data import BUILT_IN
    from nas.export.export import Calibration

    def load() -> ImageData:
        from nas.data.dataset import load_data

        if data is None:
            show.note("no --data: calibration uses the built-in fractals")
        # As a training at the network's resolution sees them.
        return load_data(data, architecture.in_channels, show, show.note, architecture.resolution)

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
    interval = "" if error is None else f" ± {100 * error:.2f} points (95 % CI)"
    return [
        f"  accuracy    {accuracy:.2%} on them, float {before:.2%}; difference "
        f"{100 * (accuracy - before):+.2f}{interval or ' points'}"
    ]
