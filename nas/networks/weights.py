"""Weights in files: safetensors with the architecture inside; timm's and torchvision's by name."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, overload

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as validated

from nas.errors import InputError, one_line
from nas.files import file_size, opened, parse_json, validate, write_bytes
from nas.networks.architecture import Architecture, architecture_from_dict
from nas.networks.pretrained_names import Layout, recognise, rename

if TYPE_CHECKING:
    from torch import Tensor

    from nas.networks.modules import Backbone, Network

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation that timm's and torchvision's published weights were trained with."""

_COUNTER = "num_batches_tracked"
"""Batch norm's counter of training steps: no result depends on it, and older files lack it."""

CLASSIFIER = ("head.4.weight", "head.4.bias")
"""The parameters that depend on the number of classes."""
_FIRST = "stem.0.weight"
_NAMED = 3
"""So many wrong tensors a message names."""

MAX_BYTES = 4 * 1024 * 1024 * 1024
"""Largest file of weights that is read: of a thousand million numbers in single precision."""


_Channels = Annotated[tuple[float, ...], Field(min_length=1)]


@validated(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class TrainedOn:
    """What the images were that weights were trained on: those to classify must be like them.

    Attributes:
        mean: of each channel, scaled to 0…1; subtracted first.
        std: of each channel; divided by then.
        resolution: height and width in pixels.
        classes: names, in the order of the network's outputs.
    """

    mean: _Channels
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    resolution: Annotated[int, Field(strict=True, ge=1)]
    classes: tuple[str, ...]


_TRAINED_ON: TypeAdapter[TrainedOn] = TypeAdapter(TrainedOn)


@dataclass(frozen=True)
class Weights:
    """The tensors of a file.

    Attributes:
        source: the file, for messages.
        layout: whose names the tensors have.
        tensors: by name, on the CPU.
        architecture: what the file says of the network; None where it says nothing.
        trained_on: what it says of the images; None where it says nothing.
    """

    source: str
    layout: Layout
    tensors: Mapping[str, Tensor]
    architecture: Architecture | None
    trained_on: TrainedOn | None = None

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return the mean and deviation that images must be normalised by; None: nobody says.

        Of published weights, which say nothing themselves, ImageNet's.

        Args:
            channels: of the images; who trained on others says nothing of these.
        """
        known: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        if self.trained_on is not None:
            known = self.trained_on.mean, self.trained_on.std
        elif self.architecture is None and self.layout != "nas-search":
            known = IMAGENET
        return known if known is not None and len(known[0]) == channels else None


def read_weights(path: Path) -> Weights:
    """Return the tensors of a ``.safetensors`` file, or of a ``.pt`` or ``.pth`` state dict.

    Neither can run code: PyTorch's format is read with ``weights_only``.

    Raises:
        InputError: no such file, not one of these, or not a network's that is known.
    """
    file_size(path, MAX_BYTES)
    metadata: Mapping[str, str] = {}
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    elif path.suffix in (".pt", ".pth"):
        tensors = _read_state_dict(path)
    else:
        raise InputError(f"{path}: weights are accepted as .safetensors, .pt or .pth")
    layout = recognise(tensors, str(path))
    text = metadata.get("architecture")
    source = f"{path}: architecture in the metadata"
    known = None if text is None else architecture_from_dict(parse_json(text, source), source)
    return Weights(str(path), layout, tensors, known, _trained_on(path, metadata, known))


def save_weights(
    network: Network,
    architecture: Architecture,
    path: Path | str,
    layout: Layout = "nas-search",
    trained_on: TrainedOn | None = None,
) -> None:
    """Write the weights of a network as safetensors, whole or not at all.

    Args:
        network: what :func:`nas.networks.modules.build` made of ``architecture``.
        architecture: kept in the metadata, so that the file is enough to build the network.
        path: of the file.
        layout: whose names the tensors get.
        trained_on: kept in the metadata too, so that images can be prepared as they must be.

    Raises:
        InputError: the network is not the architecture's, or the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if shapes != _shapes(architecture):
        raise InputError(f"{architecture.name}: the network is not this architecture's")
    metadata = {"format": "pt", "architecture": json.dumps(architecture.to_dict())}
    if trained_on is not None:
        metadata["trained_on"] = json.dumps(asdict(trained_on))
    write_bytes(Path(path), _ordered(save(rename(tensors, architecture, layout), metadata)))


def _ordered(content: bytes) -> bytes:
    """Return a safetensors file with its metadata in order: the library's is another each time."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors are aligned
    return len(text).to_bytes(8, "little") + text + content[start:]


@overload
def load_weights(
    path: Path | str,
    architecture: Architecture | None = ...,
    *,
    transfer: bool = ...,
    features_only: Literal[False] = ...,
) -> Network: ...


@overload
def load_weights(
    path: Path | str,
    architecture: Architecture | None = ...,
    *,
    transfer: bool = ...,
    features_only: Literal[True],
) -> Backbone: ...


def load_weights(
    path: Path | str,
    architecture: Architecture | None = None,
    *,
    transfer: bool = False,
    features_only: bool = False,
) -> Network | Backbone:
    """Return the network with the weights of a file: ours, timm's or torchvision's EfficientNet.

    What a file does not say, the architecture must: batch norm's ``eps`` of ``efficientnet_b5`` …
    ``b7`` is 1e-5 in timm and 1e-3 in torchvision. Networks that pad as TensorFlow does (timm's
    ``tf_…``) compute something else with the same names, and nothing in the file says so.

    Args:
        path: of a ``.safetensors``, ``.pt`` or ``.pth`` file.
        architecture: the network; None: as the file says.
        transfer: for training on other images: a classifier of other classes is left as freshly
            initialised, the first convolution is made to take the architecture's channels, and its
            stride may be another.
        features_only: return the feature pyramid instead (:class:`nas.networks.modules.Backbone`).

    Raises:
        InputError: names the tensors that are missing, unknown or of a wrong shape, or what of the
            architecture is not the file's.
    """
    weights = read_weights(Path(path))
    architecture = architecture or weights.architecture
    if architecture is None:
        raise InputError(f"{path}: says nothing of the architecture; name the network")
    network = network_with(weights, architecture, transfer=transfer)
    if not features_only:
        return network
    import torch

    from nas.networks.modules import Backbone

    with torch.device("meta"):
        backbone = Backbone(architecture)
    backbone.load_state_dict(network.state_dict(), assign=True)
    return backbone


def network_with(
    weights: Weights, architecture: Architecture, *, transfer: bool = False
) -> Network:
    """Return the architecture's network with these weights; see :func:`load_weights`."""
    import torch

    from nas.networks.modules import Network, build

    if weights.architecture is not None:
        _check_architecture(weights.source, weights.architecture, architecture, transfer)
    with torch.device("meta"):  # all its tensors are the file's, or those of a fresh one below
        network = Network(architecture)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    ours = rename({name: name for name in shapes}, architecture, weights.layout)
    tensors = {ours.get(name, name): value for name, value in weights.tensors.items()}
    if transfer:
        tensors |= _transferred(tensors, build(architecture).state_dict())
    counters = [name for name in shapes if name.endswith(_COUNTER)]
    tensors |= {name: torch.tensor(0) for name in counters if name not in tensors}
    _check(weights.source, tensors, shapes, {name: there for there, name in ours.items()})
    for name in tensors.keys() - set(counters):
        tensors[name] = tensors[name].float()
        if not torch.isfinite(tensors[name]).all():
            raise InputError(f"{weights.source}: {name} holds what is no finite number")
    network.load_state_dict(tensors, assign=True)
    return network


def _transferred(
    tensors: Mapping[str, Tensor], fresh: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return what replaces tensors that are of other classes or of other channels."""
    changed: dict[str, Tensor] = {}
    classifier = tensors.get(CLASSIFIER[0])
    classes = len(fresh[CLASSIFIER[0]])
    if classifier is not None and classifier.ndim == 2 and len(classifier) != classes:
        changed |= {name: fresh[name] for name in CLASSIFIER}
    first, channels = tensors.get(_FIRST), fresh[_FIRST].shape[1]
    if first is not None and first.ndim == 4 and first.shape[1] not in (0, channels):
        changed[_FIRST] = _of_channels(first, channels)
    return changed


def _of_channels(weight: Tensor, channels: int) -> Tensor:
    """Return a convolution for other inputs that answers what is grey as it did before."""
    have = weight.shape[1]
    if channels < have:
        return weight.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
    colours = [index % have for index in range(channels)]
    shares = weight.new_tensor([colours.count(colour) for colour in colours])
    return weight[:, colours] / shares[:, None, None]


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    import torch

    from nas.networks.modules import Network

    with torch.device("meta"):
        return {n: tuple(v.shape) for n, v in Network(architecture).state_dict().items()}


def _check(
    source: str,
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    theirs: Mapping[str, str],
) -> None:
    wrong = [f"{theirs[name]} is missing" for name in shapes if name not in tensors]
    wrong += [f"{name} is unknown" for name in tensors if name not in shapes]
    wrong += [
        f"{theirs[name]} is {list(tensors[name].shape)} and not {list(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    wrong += [
        f"{theirs[name]} is {str(tensors[name].dtype).removeprefix('torch.')}"
        for name in shapes
        if name in tensors and not name.endswith(_COUNTER) and not tensors[name].is_floating_point()
    ]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise InputError(f"{source}: {', '.join(wrong[:_NAMED])}{more}")


def _check_architecture(
    source: str, known: Architecture, architecture: Architecture, transfer: bool
) -> None:
    """Raise, naming what differs, if a file's network would compute something else."""
    head = replace(architecture.head, dropout=known.head.dropout)
    alike = replace(architecture, resolution=known.resolution, head=head)
    if transfer:
        alike = replace(
            alike,
            num_classes=known.num_classes,
            in_channels=known.in_channels,
            stem=replace(alike.stem, stride=known.stem.stride),
        )
    if alike.key() == known.key():
        return
    have, wanted = asdict(known.canonical()), asdict(alike.canonical())
    differing = [key for key in have if key != "name" and have[key] != wanted[key]]
    raise InputError(f"{source}: the weights of a network of other {', '.join(differing)}")


def _trained_on(
    path: Path, metadata: Mapping[str, str], known: Architecture | None
) -> TrainedOn | None:
    text = metadata.get("trained_on")
    if text is None:
        return None
    source = f"{path}: trained_on in the metadata"
    found = validate(_TRAINED_ON, parse_json(text, source), source)
    if known is not None:
        for key, have, wanted in (
            ("mean", len(found.mean), known.in_channels),
            ("std", len(found.std), known.in_channels),
            ("classes", len(found.classes), known.num_classes),
        ):
            if have != wanted:
                raise InputError(f"{source}: {key}: {have} values and not {wanted}")
    return found


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except Exception as error:  # whatever its reader trips over: the bytes may be anything
        raise InputError(f"{path}: not safetensors that can be read: {one_line(error)}") from None


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    import torch

    _refuse_packed(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever its parser trips over: the bytes may be anything
        raise InputError(f"{path}: not a state dict that PyTorch reads as weights only") from None
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        for name, value in found.items()
    ):
        raise InputError(f"{path}: not a state dict: accepted: dense tensors by name, nothing else")
    return dict(found)


def _refuse_packed(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: PyTorch stores, it does not compress."""
    size = file_size(path, MAX_BYTES)
    try:
        with opened(path, MAX_BYTES) as stream:
            if stream.read(2) != b"PK" and not zipfile.is_zipfile(stream):
                return  # as PyTorch wrote them before
            with zipfile.ZipFile(stream) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # whatever its reader trips over: the bytes may be anything
        raise InputError(f"{path}: not a state dict: its archive cannot be read") from None
    if unpacked > size:
        raise InputError(f"{path}: unpacks to {unpacked:,} bytes, more than its {size:,}: refused")
