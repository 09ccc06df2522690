"""What each target's export consists of: its files, and the check that they are equivalent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor, nn

from nas.errors import NotEquivalent, one_line
from nas.export.equivalence import Equivalence, check_equivalence
from nas.export.onnx import count, onnx_model, run, session
from nas.export.timm import timm_definition, timm_source
from nas.export.torch_source import torch_source
from nas.export.torchvision import torchvision_definition, torchvision_source
from nas.files import read_text, to_json, write_bytes, write_text
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import read_record, save_architecture
from nas.networks.cost import count_module
from nas.networks.modules import Network
from nas.networks.pretrained_names import rename
from nas.networks.weights import load_weights
from nas.networks.weights_file import Weights, read_weights, save_weights

Target = Literal["timm", "torchvision", "onnx", "torch", "json"]

PACKAGES: Mapping[Target, tuple[str, ...]] = {
    "timm": ("timm", "torchvision"),
    "torchvision": ("torchvision",),
    "onnx": ("onnx", "onnxruntime"),
    "torch": (),
    "json": (),
}
"""The packages of the extra ``export`` that each target needs."""

_REASON = 300
"""How many characters of PyTorch's list of wrong tensors an error message shows."""


@dataclass(frozen=True)
class Original:
    """The network that is exported.

    Attributes:
        architecture: of the network.
        network: in eval mode, with its weights.
        weights: the file that they are from, which is exported too; None: they are random.
        seed: of the random images that the export is checked with.
    """

    architecture: Architecture
    network: Network
    weights: Weights | None
    seed: int


def check_expressible(architecture: Architecture, target: Target) -> None:
    """Raise :class:`InputError`, naming the field, if a target cannot express an architecture."""
    if target == "timm":
        timm_definition(architecture)
    elif target == "torchvision":
        torchvision_definition(architecture)


def write_target(
    original: Original, target: Target, folder: Path, *, dynamic_resolution: bool = False
) -> Equivalence:
    """Write a target's files, and check what was written.

    Args:
        original: what to export.
        target: one that can express it.
        folder: for the files.
        dynamic_resolution: an ONNX graph takes images of any size.

    Raises:
        NotEquivalent: what was written computes another function.
    """
    match target:
        case "onnx":
            return _write_onnx(original, folder, dynamic_resolution)
        case "json":
            return _write_json(original, folder)
        case "torch":
            return _write_torch(original, folder)
        case "timm" | "torchvision":
            return _write_library(original, target, folder)


def load_source(path: Path) -> ModuleType:
    """Return the module in a Python file that an export has just written.

    The text is this package's own, made of validated numbers; no code of anybody else is loaded.
    """
    loader = _SourceText(path)
    module = module_from_spec(ModuleSpec(f"nas_search_export_{path.stem}", loader))
    loader.exec_module(module)
    return module


class _SourceText(InspectLoader):
    """Loads a file's text as a module, without leaving bytecode beside it as an import would."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_source(self, fullname: str) -> str:
        return read_text(self._path)


def _write_torch(original: Original, folder: Path) -> Equivalence:
    write_text(folder / "model.py", torch_source(original.architecture))
    tensors: Mapping[str, Tensor] = original.network.state_dict()
    if original.weights is not None:
        file, content = folder / "weights.pt", BytesIO()
        torch.save(tensors, content)
        write_bytes(file, content.getvalue())
        tensors = torch.load(file, weights_only=True)
    return _check_source(original, tensors, folder)


def _write_library(
    original: Original, target: Literal["timm", "torchvision"], folder: Path
) -> Equivalence:
    architecture, network, weights = original.architecture, original.network, original.weights
    if target == "timm":
        definition = timm_definition(architecture)
        source = timm_source(architecture, definition)
    else:
        definition = torchvision_definition(architecture)
        source = torchvision_source(architecture, definition)
    write_text(folder / "model.py", source)
    write_text(folder / "model.json", to_json(definition))
    tensors: Mapping[str, Tensor] = rename(network.state_dict(), architecture, target)
    if weights is not None:
        file = folder / "model.safetensors"
        save_weights(network, architecture, file, target, weights.trained_on)
        tensors = read_weights(file).tensors
    return _check_source(original, tensors, folder)


def _write_json(original: Original, folder: Path) -> Equivalence:
    file = folder / "architecture.json"
    save_architecture(original.architecture, file)
    again = read_record(file).architecture
    kept = folder / "weights.safetensors"
    trained_on = None if original.weights is None else original.weights.trained_on
    save_weights(original.network, again, kept, trained_on=trained_on)
    built = load_weights(kept, again)
    if original.weights is None:
        kept.unlink()
    return _check_module(original, built)


def _write_onnx(original: Original, folder: Path, dynamic_resolution: bool) -> Equivalence:
    architecture = original.architecture
    model = onnx_model(original.network, architecture, dynamic_resolution=dynamic_resolution)
    write_bytes(folder / "model.onnx", model.SerializeToString(deterministic=True))
    running = session(str(folder / "model.onnx"))
    return check_equivalence(
        architecture,
        original.network,
        lambda images: run(running, images),
        count(model, architecture.resolution),
        precision="float32",  # of the graph, and of ONNX Runtime's convolutions on a CPU
        seed=original.seed,
        resolutions=(architecture.resolution + 32,) if dynamic_resolution else (),
    )


def _check_source(original: Original, tensors: Mapping[str, Tensor], folder: Path) -> Equivalence:
    """Check the network that the written Python file builds, with the tensors that go with it."""
    built: nn.Module = load_source(folder / "model.py").build()
    try:
        built.load_state_dict(tensors)
    except RuntimeError as error:
        reason = one_line(error, _REASON)
        name = original.architecture.name
        raise NotEquivalent(f"{name}: the export has other tensors: {reason}") from None
    return _check_module(original, built)


def _check_module(original: Original, built: nn.Module) -> Equivalence:
    architecture = original.architecture
    cost = count_module(built.eval(), architecture.in_channels, architecture.resolution)
    return check_equivalence(
        architecture,
        original.network,
        built.double(),
        (cost.params, cost.flops),
        precision="float64",
        seed=original.seed,
    )
