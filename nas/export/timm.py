"""An architecture as timm's EfficientNet: an ``arch_def`` and the keyword arguments beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from nas.errors import InputError
from nas.networks.architecture import Activation, Architecture, Layer, stage_layers

_ACTIVATIONS: dict[Activation, str] = {
    "relu": "relu",
    "relu6": "relu6",
    "silu": "silu",
    "hardswish": "hard_swish",
}
_DIVISOR = 8
"""timm rounds the inner channels of a block to a multiple of it, and leaves outer ones as given."""

_OUTPUT_STRIDE = 32
"""By default timm dilates convolutions that would exceed this stride."""

_SOURCE = '''"""{name} for timm: ``build()`` returns a timm EfficientNet."""

from functools import partial

from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torch import nn

ARCH_DEF = [
{arch_def}
]

ARGUMENTS = {{
{arguments}
}}


def build(**changes):
    """Return the network; ``changes`` replace arguments: drop_path_rate, global_pool, …"""
    arguments = {{
        **ARGUMENTS,
        "norm_layer": partial(nn.BatchNorm2d, eps={eps!r}, momentum={momentum!r}),
        "round_chs_fn": int,  # widths are what they are, multiples of 8 or not
    }}
    return EfficientNet(decode_arch_def(ARCH_DEF), **(arguments | changes))
'''


def timm_definition(architecture: Architecture) -> dict[str, Any]:
    """Return ``arch_def``, ``arguments``, ``norm`` and ``round_chs_fn`` of timm's EfficientNet.

    A string of ``arch_def`` is one layer or several equal ones, a list of strings a stage. The
    squeeze-excite ratio is written so that timm's rounding gives the architecture's channels.

    Raises:
        InputError: names the field that timm cannot express.
    """
    if architecture.stem.stride != 2:
        raise _cannot("stem.stride", architecture.stem.stride, "its stem has stride 2")
    arch_def, width, stride = [], architecture.stem.width, architecture.stem.stride
    for number, stage in enumerate(architecture.stages, 1):
        layers = stage_layers(stage, width)
        width = stage.width
        if not layers:
            continue
        # All have the first one's stride: timm strides in the first layer of a stage alone.
        strided = [layer._replace(stride=stage.stride) for layer in layers]
        blocks = [_block(f"stage{number}", layer, stage.se_ratio) for layer in strided]
        arch_def.append([_repeated(block, len(list(same))) for block, same in groupby(blocks)])
        stride *= stage.stride
    if not arch_def:
        raise _cannot("stages", [], "it needs at least one")
    arguments = {
        "num_classes": architecture.num_classes,
        "in_chans": architecture.in_channels,
        "stem_size": architecture.stem.width,
        "stem_kernel_size": architecture.stem.kernel,
        "fix_stem": True,
        "num_features": architecture.head.width,
        "act_layer": _ACTIVATIONS[architecture.activation],
        "drop_rate": architecture.head.dropout,
        **({"pad_type": "same"} if architecture.padding == "same" else {}),
        **({"output_stride": stride} if stride > _OUTPUT_STRIDE else {}),
    }
    norm = {"eps": architecture.norm.eps, "momentum": architecture.norm.momentum}
    return {"arch_def": arch_def, "arguments": arguments, "norm": norm, "round_chs_fn": "int"}


def timm_source(architecture: Architecture, definition: dict[str, Any]) -> str:
    """Return the Python file that builds the network with timm."""
    return _SOURCE.format(
        name=plain(architecture.name),
        arch_def=_items(map(json.dumps, definition["arch_def"])),
        arguments=_items(
            f'"{key}": {json.dumps(value) if isinstance(value, str) else repr(value)}'
            for key, value in definition["arguments"].items()
        ),
        **definition["norm"],
    )


def plain(name: str) -> str:
    """Return free text without quotes, backslashes and control codes, as fits in a docstring."""
    return "".join(c if c.isprintable() and c not in "\"\\'" else " " for c in name)


def _items(values: Iterable[str]) -> str:
    return "\n".join(f"    {value}," for value in values)


def _block(stage: str, layer: Layer, ratio: float) -> str:
    """Return one layer as timm's string, less the number of repeats."""
    if layer.op == "skip":
        raise _cannot(f"{stage}.op", layer.op, "a 1×1 convolution alone has an activation there")
    if layer.stride > 2:
        raise _cannot(f"{stage}.stride", layer.stride, "its blocks have stride 1 or 2")
    inner = layer.in_width * layer.expansion
    if layer.expansion != 1 and inner % _DIVISOR:
        message = f"it rounds the {inner} inner channels to a multiple of {_DIVISOR}"
        raise _cannot(f"{stage}.expansion", layer.expansion, message)
    kind = {"mbconv": ("ds", "ir"), "fused_mbconv": ("cn", "er")}[layer.op][layer.expansion != 1]
    words = [kind, f"k{layer.kernel}", f"s{layer.stride}", f"e{layer.expansion}", f"c{layer.width}"]
    if layer.se_width:
        words.append(f"se{_ratio(layer, ratio)}")
    if kind == "cn":
        words.append("skip")  # where the shapes agree, and only there
    return "_".join(words)


def _ratio(layer: Layer, ratio: float) -> str:
    """Return the shortest ratio that timm rounds to the layer's squeeze-excite channels."""
    inner = layer.in_width * layer.expansion
    exact = layer.se_width / layer.in_width
    for text in (f"{ratio:g}", *(f"{exact:.{digits}f}" for digits in range(2, 12))):
        if "e" not in text and round(inner * (float(text) / layer.expansion)) == layer.se_width:
            return text
    raise AssertionError("a ratio of eleven digits is the layer's own")


def _repeated(block: str, times: int) -> str:
    kind, _, rest = block.partition("_")
    return f"{kind}_r{times}_{rest}"


def _cannot(field: str, value: str | int | Sequence[str], why: str) -> InputError:
    return InputError(f"timm cannot express {field} {value}: {why}")
