"""Networks with the weights of a file, for the same images or transferred to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.pretrained_names import Layout, rename
from nas.networks.weights_file import Weights, read_weights

if TYPE_CHECKING:
    from torch import Tensor

    from nas.networks.modules import Backbone, Network

CLASSIFIER = ("head.4.weight", "head.4.bias")
"""The parameters whose shapes depend on the number of classes."""

FIRST = "stem.0.weight"
"""The parameter whose shape depends on the number of channels of the images."""

_COUNTER = "num_batches_tracked"
"""Batch norm's counter of training steps: no result depends on it, and older files lack it."""

_LISTED = 3
"""How many wrong tensors an error message lists."""


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
    """Return the network with the weights of a file: ours, or another library's EfficientNet.

    The names of the tensors are those of timm, torchvision or ``efficientnet_pytorch``, perhaps
    with a prefix that wrappers add (``module.``); a checkpoint may have the state dict as one of
    its entries, of which a moving average is taken first.

    The architecture must supply what the file does not contain: batch norm's ``eps`` of
    ``efficientnet_b5`` … ``b7`` is 1e-5 in timm and 1e-3 in torchvision. Networks that pad as
    TensorFlow does (timm's ``tf_…``) compute another function with tensors of the same names, and
    nothing in the file tells them apart.

    Args:
        path: of a safetensors file, or of a state dict or a checkpoint of PyTorch.
        architecture: the network; None: the one that the file names.
        transfer: for training on other images: a classifier that the file lacks, or that is of
            another number of classes, is newly initialised, the first convolution is adapted to the
            architecture's channels, and its stride may differ.
        features_only: return the feature pyramid instead (:class:`nas.networks.modules.Backbone`).

    Raises:
        InputError: names the tensors that are missing, unknown or of a wrong shape, or the fields
            in which the architecture differs from the file's.
    """
    weights = read_weights(Path(path))
    architecture = architecture or weights.architecture
    if architecture is None:
        raise InputError(f"{path}: names no architecture; name the network")
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
    with torch.device("meta"):  # every tensor is assigned below
        network = Network(architecture)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    ours = rename({name: name for name in shapes}, architecture, weights.layout)
    tensors = {ours.get(name, name): value for name, value in weights.tensors.items()}
    if transfer:
        tensors |= _transferred(tensors, build(architecture).state_dict())
    counters = {name for name in shapes if name.endswith(_COUNTER)}
    tensors |= {name: torch.tensor(0) for name in counters if name not in tensors}
    _check(weights, tensors, shapes, {name: there for there, name in ours.items()})
    for name in tensors.keys() - counters:
        tensors[name] = tensors[name].float()
        if not torch.isfinite(tensors[name]).all():
            raise InputError(f"{weights.source}: {name} contains values that are not finite")
    tensors = {name: aligned(tensor) for name, tensor in tensors.items()}
    network.load_state_dict(tensors, assign=True)
    return network


def state_shapes(
    architecture: Architecture, layout: Layout, only: Sequence[str] | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's tensors by their names in a library.

    Args:
        architecture: of the network.
        layout: the library.
        only: names in our networks of those that are wanted; None: all.

    Raises:
        InputError: a block of this architecture has no name there.
    """
    import torch

    from nas.networks.modules import Network

    with torch.device("meta"):
        state = Network(architecture).state_dict()
    shapes = {name: tuple(state[name].shape) for name in (state if only is None else only)}
    return rename(shapes, architecture, layout)


def aligned(tensor: Tensor) -> Tensor:
    """Return a contiguous copy in memory that PyTorch allocates, at a multiple of 64 bytes.

    A tensor that is mapped from a file lies wherever the file has it. Convolutions choose their
    inner loops by that address, and different loops round differently: networks of equal weights
    would have unequal logits.
    """
    import torch

    return tensor.clone(memory_format=torch.contiguous_format)


def _transferred(
    tensors: Mapping[str, Tensor], fresh: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return replacements of the tensors that are for other classes or other channels."""
    changed: dict[str, Tensor] = {}
    classifier = tensors.get(CLASSIFIER[0])
    classes = len(fresh[CLASSIFIER[0]])
    headless = not any(name in tensors for name in CLASSIFIER)
    if headless or (classifier is not None and classifier.ndim == 2 and len(classifier) != classes):
        changed |= {name: fresh[name] for name in CLASSIFIER}
    first, channels = tensors.get(FIRST), fresh[FIRST].shape[1]
    if first is not None and first.ndim == 4 and first.shape[1] not in (0, channels):
        changed[FIRST] = _of_channels(first, channels)
    return changed


def _of_channels(weight: Tensor, channels: int) -> Tensor:
    """Return a convolution for another number of channels, with the same outputs on grey images."""
    have = weight.shape[1]
    if channels < have:
        return weight.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
    colours = [index % have for index in range(channels)]
    shares = weight.new_tensor([colours.count(colour) for colour in colours])
    return weight[:, colours] / shares[:, None, None]


def _check(
    weights: Weights,
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
        more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        tried = "; ".join((f"read by the names of {weights.layout}", *weights.steps))
        raise InputError(f"{weights.source}: {', '.join(wrong[:_LISTED])}{more} ({tried})")


def _check_architecture(
    source: str, known: Architecture, architecture: Architecture, transfer: bool
) -> None:
    """Raise, naming the fields that differ, if a file's network computes another function."""
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
    raise InputError(f"{source}: the weights are of a network with another {', '.join(differing)}")
