"""Names of tensors in timm's and torchvision's EfficientNet, and in our networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar

from nas.errors import InputError
from nas.networks.architecture import Architecture, Layer, stage_layers

Layout = Literal["nas-search", "timm", "torchvision", "efficientnet_pytorch"]
"""The library whose names the tensors of a state dict have."""

T = TypeVar("T")

FIRST_TENSORS: Mapping[str, Layout] = {
    "stem.0.weight": "nas-search",
    "conv_stem.weight": "timm",
    "features.0.0.weight": "torchvision",
    "_conv_stem.weight": "efficientnet_pytorch",
}
"""The name of the first convolution in each library, by which a state dict is recognised."""

# Convolution and batch norm of each part of a block, or both convolutions of squeeze-excite.
_TIMM: Mapping[tuple[str, bool], Mapping[str, tuple[str, str]]] = {
    # op, whether it expands
    ("mbconv", True): {
        "expand": ("conv_pw", "bn1"),
        "depthwise": ("conv_dw", "bn2"),
        "squeeze": ("se.conv_reduce", "se.conv_expand"),
        "project": ("conv_pwl", "bn3"),
    },
    ("mbconv", False): {
        "depthwise": ("conv_dw", "bn1"),
        "squeeze": ("se.conv_reduce", "se.conv_expand"),
        "project": ("conv_pw", "bn2"),
    },
    ("fused_mbconv", True): {
        "expand": ("conv_exp", "bn1"),
        "squeeze": ("se.conv_reduce", "se.conv_expand"),
        "project": ("conv_pwl", "bn2"),
    },
    ("fused_mbconv", False): {"single": ("conv", "bn1")},
}


def recognise(names: Mapping[str, object]) -> Layout:
    """Return the library whose names these are; one of :data:`FIRST_TENSORS` must be there."""
    return next(layout for name, layout in FIRST_TENSORS.items() if name in names)


def rename(tensors: Mapping[str, T], architecture: Architecture, layout: Layout) -> dict[str, T]:
    """Return a state dict of one of our networks with the names of ``layout``, in the same order.

    Raises:
        InputError: a block of this architecture has no name there (a ``skip`` that computes).
    """
    if layout == "nas-search":
        return dict(tensors)
    theirs = dict(_modules(architecture, layout))
    result = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        result[f"{theirs[module]}.{kind}"] = tensor
    return result


def _modules(architecture: Architecture, layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield our name and the library's of every convolution, batch norm and linear layer."""
    if layout == "efficientnet_pytorch":
        yield from _efficientnet_pytorch(architecture)
        return
    timm = layout == "timm"
    yield "stem.0", "conv_stem" if timm else "features.0.0"
    yield "stem.1", "bn1" if timm else "features.0.1"
    block, stages, width = 0, 0, architecture.stem.width
    for number, stage in enumerate(architecture.stages, 1):
        layers = stage_layers(stage, width)
        width = stage.width
        for index, layer in enumerate(layers):
            if layer.op == "skip":
                raise InputError(f"stage{number}.op: a skip that computes has no name in {layout}")
            place = f"blocks.{stages}.{index}" if timm else f"features.{stages + 1}.{index}"
            names = _timm(layer) if timm else _torchvision(layer)
            for ours, theirs in names:
                yield f"blocks.{block}.{ours}", f"{place}.{theirs}"
            block += 1
        stages += bool(layers)
    yield "head.0.0", "conv_head" if timm else f"features.{stages + 1}.0"
    yield "head.0.1", "bn2" if timm else f"features.{stages + 1}.1"
    yield "head.4", "classifier" if timm else "classifier.1"


def _parts(layer: Layer) -> list[str]:
    """Return the parts of a block in their order, which is that of ``branch``."""
    if layer.op == "fused_mbconv" and layer.expansion == 1:
        return ["single"]
    expand = ["expand"] if layer.expansion != 1 else []
    depthwise = ["depthwise"] if layer.op == "mbconv" else []
    return [*expand, *depthwise, *(["squeeze"] if layer.se_width else []), "project"]


def _ours(part: str) -> tuple[str, str]:
    return ("reduce", "expand") if part == "squeeze" else ("0", "1")


def _timm(layer: Layer) -> Iterator[tuple[str, str]]:
    names = _TIMM[layer.op, layer.expansion != 1]
    for index, part in enumerate(_parts(layer)):
        for ours, theirs in zip(_ours(part), names[part], strict=True):
            yield f"branch.{index}.{ours}", theirs


def _torchvision(layer: Layer) -> Iterator[tuple[str, str]]:
    for index, part in enumerate(_parts(layer)):
        names = ("fc1", "fc2") if part == "squeeze" else ("0", "1")
        for ours, theirs in zip(_ours(part), names, strict=True):
            yield f"branch.{index}.{ours}", f"block.{index}.{theirs}"


# Convolution and batch norm of each part, or both convolutions of squeeze-excite.
_EFFICIENTNET_PYTORCH: Mapping[str, tuple[str, str]] = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "squeeze": ("_se_reduce", "_se_expand"),
    "project": ("_project_conv", "_bn2"),
}


def _efficientnet_pytorch(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """Yield our names and those of the package ``efficientnet_pytorch``."""
    yield from (("stem.0", "_conv_stem"), ("stem.1", "_bn0"))
    block, width = 0, architecture.stem.width
    for number, stage in enumerate(architecture.stages, 1):
        for layer in stage_layers(stage, width):
            if layer.op != "mbconv":
                raise InputError(
                    f"stage{number}.op: {layer.op} has no name in efficientnet_pytorch"
                )
            for index, part in enumerate(_parts(layer)):
                for ours, theirs in zip(_ours(part), _EFFICIENTNET_PYTORCH[part], strict=True):
                    yield f"blocks.{block}.branch.{index}.{ours}", f"_blocks.{block}.{theirs}"
            block += 1
        width = stage.width
    yield from (("head.0.0", "_conv_head"), ("head.0.1", "_bn1"), ("head.4", "_fc"))
