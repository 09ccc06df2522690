"""An architecture as torchvision's EfficientNet: rows of ``MBConvConfig``, and ``last_channel``."""

from __future__ import annotations

from typing import Any

from nas.errors import InputError
from nas.export.timm import plain
from nas.networks.architecture import Architecture, Layer, stage_layers

_DIVISOR = 8
"""torchvision makes widths, and the inner channels of a block, multiples of it."""

_ROW = ("expand_ratio", "kernel", "stride", "input_channels", "out_channels", "num_layers")

_SOURCE = '''"""{name} for torchvision: ``build()`` returns a torchvision EfficientNet."""

from functools import partial

from torch import nn
from torchvision.models.efficientnet import {names}

ROWS = [
    # {columns}
{rows}
]

LAST_CHANNEL = {last_channel}


def build(stochastic_depth_prob=0.2, num_classes={num_classes}):
    """Return the network; the probability is of dropping the last block in training."""
    return EfficientNet(
        ROWS,
        dropout={dropout!r},
        stochastic_depth_prob=stochastic_depth_prob,
        num_classes=num_classes,
        norm_layer=partial(nn.BatchNorm2d, eps={eps!r}, momentum={momentum!r}),
        last_channel=LAST_CHANNEL,
    )
'''


def torchvision_definition(architecture: Architecture) -> dict[str, Any]:
    """Return ``rows`` and the arguments of torchvision's EfficientNet as plain data.

    Raises:
        InputError: names the field that torchvision cannot express.
    """
    stem = architecture.stem
    for field, value, wanted, why in (
        ("in_channels", architecture.in_channels, 3, "its stem takes 3"),
        ("activation", architecture.activation, "silu", "it is always silu"),
        ("padding", architecture.padding, "symmetric", "it pads all sides alike"),
        ("stem.kernel", stem.kernel, 3, "its stem is 3×3"),
        ("stem.stride", stem.stride, 2, "its stem has stride 2"),
    ):
        if value != wanted:
            raise _cannot(field, value, why)
    rows, width, before = [], stem.width, "stem.width"
    for number, stage in enumerate(architecture.stages, 1):
        layers = stage_layers(stage, width)
        for layer in layers:
            _check(f"stage{number}", before, layer, stage.se_ratio)
        if layers:
            config = "MBConvConfig" if stage.op == "mbconv" else "FusedMBConvConfig"
            values = (stage.expansion, stage.kernel, stage.stride, width, stage.width, len(layers))
            rows.append({"config": config, **dict(zip(_ROW, values, strict=True))})
        width, before = stage.width, f"stage{number}.width"
    if not rows:
        raise _cannot("stages", [], "it needs at least one")
    return {
        "rows": rows,
        "dropout": architecture.head.dropout,
        "num_classes": architecture.num_classes,
        "norm": {"eps": architecture.norm.eps, "momentum": architecture.norm.momentum},
        "last_channel": architecture.head.width,
    }


def torchvision_source(architecture: Architecture, definition: dict[str, Any]) -> str:
    """Return the Python file that builds the network with torchvision."""
    rows = [
        f"    {row['config']}({', '.join(str(row[key]) for key in _ROW)}),"
        for row in definition["rows"]
    ]
    return _SOURCE.format(
        name=plain(architecture.name),
        names=", ".join(sorted({"EfficientNet", *(row["config"] for row in definition["rows"])})),
        columns=", ".join(_ROW),
        rows="\n".join(rows),
        last_channel=definition["last_channel"],
        num_classes=definition["num_classes"],
        dropout=definition["dropout"],
        **definition["norm"],
    )


def _check(stage: str, before: str, layer: Layer, ratio: float) -> None:
    """Raise, naming the field, if a block is none of torchvision's; ``before``: its input's."""
    if layer.op == "skip":
        raise _cannot(f"{stage}.op", layer.op, "it has mbconv and fused_mbconv")
    if layer.stride > 2:
        raise _cannot(f"{stage}.stride", layer.stride, "its blocks have stride 1 or 2")
    squeeze = max(1, layer.in_width // 4)
    if layer.op == "mbconv" and layer.se_width != squeeze:
        message = f"its mbconv always has squeeze-excite, here of {squeeze} channels"
        raise _cannot(f"{stage}.se_ratio", ratio, message)
    if layer.op == "fused_mbconv" and layer.se_width:
        raise _cannot(f"{stage}.se_ratio", ratio, "its fused_mbconv has no squeeze-excite")
    if layer.in_width * layer.expansion % _DIVISOR:
        message = f"it makes the {layer.in_width * layer.expansion} inner channels a multiple of 8"
        raise _cannot(f"{stage}.expansion", layer.expansion, message)
    for field, width in ((before, layer.in_width), (f"{stage}.width", layer.width)):
        if layer.op == "mbconv" and width % _DIVISOR:
            raise _cannot(field, width, "its mbconv makes widths multiples of 8")


def _cannot(field: str, value: object, why: str) -> InputError:
    return InputError(f"torchvision cannot express {field} {value}: {why}")
