"""An export from beginning to end: weights, files, proof, folder."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas._version import __version__
from nas.data import ImageData
from nas.errors import InputError, NotProved, one_line
from nas.export.equivalence import Proof, load_source, prove, randomised
from nas.export.folder import export_folder, finish
from nas.export.int8 import Quantised, quantise
from nas.export.onnx import count, onnx_model, run, session
from nas.export.optional_packages import package, versions
from nas.export.timm import timm_definition, timm_source
from nas.export.torch_source import torch_source
from nas.export.torchvision import torchvision_definition, torchvision_source
from nas.files import sha256, to_json, write_bytes, write_text
from nas.networks.architecture import Architecture, Norm
from nas.networks.architecture_file import read_record, save_architecture
from nas.networks.cost import count_module, measure_cost
from nas.networks.modules import Network
from nas.networks.pretrained_names import rename
from nas.networks.weights import load_weights, network_with
from nas.networks.weights_file import Weights, read_weights, save_weights
from nas.progress import Progress

logger = logging.getLogger(__name__)

Target = Literal["timm", "torchvision", "onnx", "torch", "json"]

_PACKAGES: Mapping[Target, tuple[str, ...]] = {
    "timm": ("timm", "torchvision"),
    "torchvision": ("torchvision",),
    "onnx": ("onnx", "onnxruntime"),
    "torch": (),
    "json": (),
}
TARGETS = tuple(_PACKAGES)

_REASON = 300
"""So many characters of torch's list of tensors are told."""

MAX_ACTIVATIONS = 2**31
"""Of a network that is exported: 8 GiB, were they all kept; EfficientNet-B7 has 0.9 thousand
million."""

RANDOM = "the weights are random: they prove the export and are good for nothing else"


@dataclass(frozen=True)
class Calibration:
    """Images for eight bits: loaded only when all else has gone well."""

    name: str
    load: Callable[[], ImageData]


@dataclass(frozen=True)
class Export:
    """What was made.

    Attributes:
        folder: where it is.
        proof: that it is the network, with the weights that it has.
        structure: the same with random weights, in which every part is felt: given ones may leave
            some unfelt; None where the weights are random.
        quantised: what it is worth in eight bits; None where that was not asked for.
        document: the content of ``export.json``.
    """

    folder: Path
    proof: Proof
    structure: Proof | None
    quantised: Quantised | None
    document: Mapping[str, Any]


@dataclass(frozen=True)
class _Source:
    """The network to export, and where its weights are from."""

    architecture: Architecture
    network: Network
    weights: Weights | None
    seed: int


def export_network(
    architecture: Architecture,
    target: Target,
    folder: Path,
    *,
    weights: Path | None = None,
    seed: int = 0,
    dynamic_resolution: bool = False,
    calibration: Calibration | None = None,
    progress: Progress,
) -> Export:
    """Write a network as others build it, and the proof that it is the same one.

    Args:
        architecture: what to export.
        target: for whom.
        folder: for the files: whole, with ``export.json``, or not there at all.
        weights: a file of ours, timm's or torchvision's, which are exported too; the proof is on
            random ones as well, or without a file on these alone.
        seed: of random weights and images.
        dynamic_resolution: an ONNX graph takes images of any size.
        calibration: where it is given, an ONNX graph in eight bits is made as well.
        progress: what is told of the steps.

    Raises:
        InputError: the target cannot express a field, a package is missing, the weights are not the
            network's, or the folder is not free.
        NotProved: what was made is not the same network; nothing is left of it.
    """
    if calibration is not None and weights is None:
        raise InputError("int8: needs weights; what random ones lose in eight bits says nothing")
    activations = measure_cost(architecture).activations
    if activations > MAX_ACTIVATIONS:
        raise InputError(
            f"{architecture.name}: {activations:,} activations at {architecture.resolution} px are "
            f"not accepted: at most {MAX_ACTIVATIONS:,}, for the proof runs the network"
        )
    for name in _PACKAGES[target]:
        package(name)
    command = {
        "target": target,
        "architecture": architecture.key(),
        "name": architecture.name,
        "weights": None if weights is None else sha256(weights),
        "seed": seed,
        "dynamic_resolution": dynamic_resolution,
        "int8": None if calibration is None else calibration.name,
    }
    definition = _definition(architecture, target)
    with export_folder(folder, command) as place:
        progress.phase(f"{architecture.name} for {target}", None)
        read = None if weights is None else read_weights(weights)
        network = (
            randomised(architecture, seed) if read is None else network_with(read, architecture)
        )
        source = _Source(architecture, network.eval(), read, seed)
        proof, structure = _write(source, target, definition, dynamic_resolution, place), None
        if read is not None:
            felt = replace(source, network=randomised(architecture, seed))
            with TemporaryDirectory() as scratch:
                structure = _write(felt, target, definition, dynamic_resolution, Path(scratch))
        trained_on = None if read is None else read.trained_on
        quantised = None
        if calibration is not None:
            data = calibration.load()
            quantised = quantise(
                network,
                architecture,
                data,
                (read and read.normalisation(data.channels)) or (data.mean, data.std),
                place / "model-int8.onnx",
                dynamic_resolution=dynamic_resolution,
                float_bytes=(place / "model.onnx").stat().st_size,
                labelled=trained_on is not None and trained_on.classes == data.classes,
                seed=seed,
                progress=progress,
            )
        document = {
            "architecture": architecture.to_dict(),
            "weights": "random" if weights is None else weights.name,
            "proof": {
                **proof.to_dict(),
                **({} if structure is None else {"random_weights": structure.to_dict()["logits"]}),
            },
            **({} if quantised is None else {"int8": quantised.to_dict()}),
            **({} if trained_on is None else {"trained_on": asdict(trained_on)}),
            "notes": _notes(source, quantised),
            "versions": {
                "nas-search": __version__,
                "python": platform.python_version(),
                **versions("torch", *_PACKAGES[target]),
            },
        }
        document = finish(place, command, document)
    logger.info(
        "%s exported for %s to %s: %d parameters, %d FLOPs, logits differ by at most %.1e",
        architecture.name,
        target,
        folder,
        proof.params,
        proof.flops,
        proof.difference,
    )
    return Export(folder, proof, structure, quantised, document)


def _definition(architecture: Architecture, target: Target) -> dict[str, Any] | None:
    """Return what timm or torchvision make of it: found out before anything is computed."""
    if target == "timm":
        return timm_definition(architecture)
    return torchvision_definition(architecture) if target == "torchvision" else None


def _write(
    source: _Source,
    target: Target,
    definition: dict[str, Any] | None,
    dynamic_resolution: bool,
    place: Path,
) -> Proof:
    """Write a target's files; return the proof, made with what was written."""
    match target:
        case "onnx":
            return _onnx(source, dynamic_resolution, place)
        case "json":
            return _json(source, place)
        case "torch":
            write_text(place / "model.py", torch_source(source.architecture))
            tensors: Mapping[str, Tensor] = source.network.state_dict()
            if source.weights is not None:
                file, content = place / "weights.pt", BytesIO()
                torch.save(tensors, content)
                write_bytes(file, content.getvalue())
                tensors = torch.load(file, weights_only=True)
            return _python(source, tensors, place)
        case _:
            assert definition is not None
            make = timm_source if target == "timm" else torchvision_source
            write_text(place / "model.py", make(source.architecture, definition))
            write_text(place / "model.json", to_json(definition))
            tensors = rename(source.network.state_dict(), source.architecture, target)
            if source.weights is not None:
                file = place / "model.safetensors"
                save_weights(
                    source.network, source.architecture, file, target, source.weights.trained_on
                )
                tensors = read_weights(file).tensors
            return _python(source, tensors, place)


def _python(source: _Source, tensors: Mapping[str, Tensor], place: Path) -> Proof:
    """Build the network from the file that was written, with the tensors that go with it."""
    built: nn.Module = load_source(place / "model.py").build()
    try:
        built.load_state_dict(tensors)
    except RuntimeError as error:
        reason = one_line(error, _REASON)
        raise NotProved(f"{source.architecture.name}: not the same tensors: {reason}") from None
    return _same(source, built)


def _json(source: _Source, place: Path) -> Proof:
    file = place / "architecture.json"
    save_architecture(source.architecture, file)
    again = read_record(file).architecture
    kept = place / "weights.safetensors"
    trained_on = None if source.weights is None else source.weights.trained_on
    save_weights(source.network, again, kept, trained_on=trained_on)
    built = load_weights(kept, again)
    if source.weights is None:
        kept.unlink()
    return _same(source, built)


def _same(source: _Source, built: nn.Module) -> Proof:
    architecture = source.architecture
    built.eval()
    cost = count_module(built, architecture.in_channels, architecture.resolution)
    counted = cost.params, cost.flops
    return prove(architecture, source.network, built, counted, seed=source.seed)


def _onnx(source: _Source, dynamic_resolution: bool, place: Path) -> Proof:
    architecture = source.architecture
    model = onnx_model(source.network, architecture, dynamic_resolution=dynamic_resolution)
    write_bytes(place / "model.onnx", model.SerializeToString(deterministic=True))
    running = session(str(place / "model.onnx"))
    return prove(
        architecture,
        source.network,
        lambda images: run(running, images),
        count(model, architecture.resolution),
        seed=source.seed,
        resolutions=(architecture.resolution + 32,) if dynamic_resolution else (),
    )


def _notes(source: _Source, quantised: Quantised | None) -> list[str]:
    notes = [] if source.weights is not None else [RANDOM]
    if quantised is not None and len(quantised.left_out) == quantised.layers:
        notes.append("no layer bears eight bits: model-int8.onnx is the float network")
    weights = source.weights
    if weights is None or weights.architecture is not None:
        return notes
    if weights.layout == "timm":
        notes.append(
            "timm's tf_… networks pad otherwise and have the same names: these are taken for others"
        )
        if source.architecture.norm != Norm():
            notes.append(
                "timm's efficientnet_b5 … b7 have batch norm's eps 1e-5, "
                f"{source.architecture.name} has {source.architecture.norm.eps:g}"
            )
    return notes
