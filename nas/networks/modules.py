"""The torch modules: MBConv, FusedMBConv, SqueezeExcite, and the network made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import InputError
from nas.networks.architecture import Activation, Architecture, Layer, Norm, Padding

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "relu6": partial(nn.ReLU6, inplace=True),
    "silu": partial(nn.SiLU, inplace=True),
    "hardswish": partial(nn.Hardswish, inplace=True),
}


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Return the activation of a tensor of any shape."""
    result: Tensor = _ACTIVATIONS[activation]()(x.clone())
    return result


class SamePadConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does (``SAME``), by the size of its input.

    So many pixels are added that an output of ceil(n / stride) sees all of them; where their number
    is odd, the last row and column have one more.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_width, h, w) to (batch, width, ceil(h / stride), ceil(w / stride))."""
        top, bottom = same_padding(x.shape[2], self.kernel_size[0], self.stride[0])
        left, right = same_padding(x.shape[3], self.kernel_size[1], self.stride[1])
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many pixels ``SAME`` padding adds before and after an input of so many pixels."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm and, unless ``activation`` is None, an activation."""

    def __init__(
        self,
        in_width: int,
        width: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation | None,
        norm: Norm,
        padding: Padding = "symmetric",
    ) -> None:
        # With stride 1 and an odd kernel both are the same.
        if padding == "same" and stride > 1 and kernel > 1:
            conv: nn.Conv2d = SamePadConv2d(
                in_width, width, kernel, stride, groups=groups, bias=False
            )
        else:
            conv = nn.Conv2d(
                in_width, width, kernel, stride, padding=kernel // 2, groups=groups, bias=False
            )
        modules: list[nn.Module] = [
            conv,
            nn.BatchNorm2d(width, eps=norm.eps, momentum=norm.momentum),
        ]
        if activation is not None:
            modules.append(_ACTIVATIONS[activation]())
        super().__init__(*modules)


class SqueezeExcite(nn.Module):
    """Channel gates from the pooled input (Hu et al. 2018), sigmoid-gated."""

    def __init__(self, width: int, squeeze_width: int, activation: Activation) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, squeeze_width, 1)
        self.activation = _ACTIVATIONS[activation]()
        self.expand = nn.Conv2d(squeeze_width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, h, w) to the same shape."""
        pooled = x.mean((2, 3), keepdim=True)
        gate: Tensor = self.expand(self.activation(self.reduce(pooled))).sigmoid()
        return x * gate


class RandomModule(nn.Module):
    """A module that draws random numbers in training.

    Attributes:
        generator: which they are drawn from, on the device; None: PyTorch's global one.
    """

    generator: torch.Generator | None = None


class Dropout(nn.Dropout, RandomModule):
    """Dropout whose random numbers may be drawn from a generator."""

    def forward(self, input: Tensor) -> Tensor:
        """Map a tensor to the same shape; what is kept is scaled up by 1 / (1 - p)."""
        if self.generator is None or not self.training:
            return super().forward(input)
        keep = 1 - self.p
        return input * torch.empty_like(input).bernoulli_(keep, generator=self.generator).div_(keep)


class StochasticDepth(RandomModule):
    """Drops the whole branch of a sample with a probability, in training (Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, ...) to the same shape; samples kept are scaled up by 1 / (1 - p)."""
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        mask = torch.empty((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * mask.bernoulli_(keep, generator=self.generator).div_(keep)


class Block(nn.Module):
    """One layer of a stage; the residual is added where stride is 1 and the widths agree."""

    def __init__(self, branch: nn.Module, residual: bool, stochastic_depth: float) -> None:
        super().__init__()
        self.branch = branch
        self.residual = residual
        self.stochastic_depth = StochasticDepth(stochastic_depth)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_width, h, w) to (batch, width, ceil(h / stride), ceil(w / stride))."""
        out: Tensor = self.branch(x)
        if self.residual:
            out = x + self.stochastic_depth(out)
        return out


def mbconv(
    layer: Layer, activation: Activation, norm: Norm, padding: Padding = "symmetric"
) -> nn.Sequential:
    """Return an inverted bottleneck: expand 1x1, depthwise k x k, squeeze-excite, project 1x1."""
    inner = layer.in_width * layer.expansion
    modules: list[nn.Module] = []
    if layer.expansion != 1:
        modules.append(ConvNormAct(layer.in_width, inner, 1, activation=activation, norm=norm))
    modules.append(
        ConvNormAct(
            inner,
            inner,
            layer.kernel,
            stride=layer.stride,
            groups=inner,
            activation=activation,
            norm=norm,
            padding=padding,
        )
    )
    if layer.se_width:
        modules.append(SqueezeExcite(inner, layer.se_width, activation))
    modules.append(ConvNormAct(inner, layer.width, 1, activation=None, norm=norm))
    return nn.Sequential(*modules)


def fused_mbconv(
    layer: Layer, activation: Activation, norm: Norm, padding: Padding = "symmetric"
) -> nn.Sequential:
    """Return a fused bottleneck: expand by k x k, squeeze-excite, project 1x1 (Tan & Le 2021).

    With expansion 1 it is the single k x k convolution.
    """
    if layer.expansion == 1:
        return nn.Sequential(
            ConvNormAct(
                layer.in_width,
                layer.width,
                layer.kernel,
                stride=layer.stride,
                activation=activation,
                norm=norm,
                padding=padding,
            )
        )
    inner = layer.in_width * layer.expansion
    modules: list[nn.Module] = [
        ConvNormAct(
            layer.in_width,
            inner,
            layer.kernel,
            stride=layer.stride,
            activation=activation,
            norm=norm,
            padding=padding,
        )
    ]
    if layer.se_width:
        modules.append(SqueezeExcite(inner, layer.se_width, activation))
    modules.append(ConvNormAct(inner, layer.width, 1, activation=None, norm=norm))
    return nn.Sequential(*modules)


def block(
    layer: Layer,
    activation: Activation,
    norm: Norm,
    stochastic_depth: float = 0.0,
    padding: Padding = "symmetric",
) -> nn.Module:
    """Return the module of one layer, weights as PyTorch's defaults left them."""
    if layer.op == "skip":
        if layer.is_identity:
            return nn.Identity()
        return ConvNormAct(
            layer.in_width, layer.width, 1, stride=layer.stride, activation=None, norm=norm
        )
    make = mbconv if layer.op == "mbconv" else fused_mbconv
    residual = layer.stride == 1 and layer.in_width == layer.width
    return Block(make(layer, activation, norm, padding), residual, stochastic_depth)


def stem(architecture: Architecture) -> nn.Module:
    """Return the first convolution."""
    return ConvNormAct(
        architecture.in_channels,
        architecture.stem.width,
        architecture.stem.kernel,
        stride=architecture.stem.stride,
        activation=architecture.activation,
        norm=architecture.norm,
        padding=architecture.padding,
    )


def head(architecture: Architecture, in_width: int) -> nn.Sequential:
    """Return the 1x1 convolution, pooling, dropout and classifier."""
    return nn.Sequential(
        ConvNormAct(
            in_width,
            architecture.head.width,
            1,
            activation=architecture.activation,
            norm=architecture.norm,
        ),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
        Dropout(architecture.head.dropout),
        nn.Linear(architecture.head.width, architecture.num_classes),
    )


class Network(nn.Module):
    """An architecture as a network: stem, blocks, head."""

    def __init__(self, architecture: Architecture, *, stochastic_depth: float = 0.0) -> None:
        super().__init__()
        layers = architecture.layers()
        self.stem = stem(architecture)
        self.blocks = nn.Sequential(*_blocks(architecture, stochastic_depth))
        last_width = layers[-1].width if layers else architecture.stem.width
        self.head = head(architecture, last_width)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, h, w) to logits (batch, num_classes)."""
        logits: Tensor = self.head(self.blocks(self.stem(x)))
        return logits


PYRAMID = (4, 32)
"""From which stride to which detection and segmentation use feature maps, as a rule."""


class Backbone(nn.Module):
    """An architecture as a feature pyramid: the last map of each stride, and no head.

    The modules are named as in :class:`Network`, whose state dict it loads as it is: what it has no
    part for, the head and blocks after the last map, is left out. Nothing else may be missing.

    Attributes:
        strides: of the maps, in pixels of the image, rising.
        channels: of the maps.

    Args:
        architecture: what to build.
        strides: which maps; None: those from 4 to 32 that there are, or else the last one.
        stochastic_depth: drop probability of the architecture's last block.

    Raises:
        InputError: no strides, or the architecture has no map of one; names those it has.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        strides: Sequence[int] | None = None,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        layers = architecture.layers()
        # Where the last map of each stride is: after so many blocks, with so many channels.
        last = {architecture.stem.stride: (0, architecture.stem.width)}
        stride = architecture.stem.stride
        for count, layer in enumerate(layers, 1):
            stride *= layer.stride
            last[stride] = (count, layer.width)
        if strides is None:
            strides = [one for one in last if PYRAMID[0] <= one <= PYRAMID[1]] or [max(last)]
        missing = [one for one in strides if one not in last]
        if missing or not strides:
            raise InputError(
                f"strides: {list(strides)} is not accepted: {architecture.name} has "
                f"{', '.join(map(str, last))}"
            )
        self.strides = tuple(sorted(set(strides)))
        self.channels = tuple(last[one][1] for one in self.strides)
        self._ends = tuple(last[one][0] for one in self.strides)
        self._left_out = ("head.", *(f"blocks.{i}." for i in range(self._ends[-1], len(layers))))
        self.stem = stem(architecture)
        self.blocks = nn.Sequential(*_blocks(architecture, stochastic_depth)[: self._ends[-1]])
        nn.Module.register_load_state_dict_pre_hook(self, _leave_out)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (batch, in_channels, h, w) of any size to the maps, the largest first.

        Each is (batch, channels, ceil(h / stride), ceil(w / stride)).
        """
        x = self.stem(x)
        maps = [x] if self._ends[0] == 0 else []
        for count, module in enumerate(self.blocks, 1):
            x = module(x)
            if count in self._ends:
                maps.append(x)
        return maps


def _leave_out(module: Backbone, tensors: dict[str, Any], prefix: str, *_: object) -> None:
    """Drop from a state dict that is being loaded what a backbone has no part for."""
    left_out = tuple(prefix + name for name in module._left_out)
    for name in [name for name in tensors if name.startswith(left_out)]:
        del tensors[name]


def _blocks(architecture: Architecture, stochastic_depth: float) -> list[nn.Module]:
    """Return the module of each layer; the drop probability rises linearly from 0."""
    layers = architecture.layers()
    return [
        block(
            layer,
            architecture.activation,
            architecture.norm,
            stochastic_depth * index / max(1, len(layers)),
            architecture.padding,
        )
        for index, layer in enumerate(layers)
    ]


@overload
def build(
    architecture: Architecture,
    *,
    stochastic_depth: float = ...,
    zero_init_residual: bool = ...,
    features_only: Literal[False] = ...,
) -> Network: ...


@overload
def build(
    architecture: Architecture,
    *,
    stochastic_depth: float = ...,
    zero_init_residual: bool = ...,
    features_only: Literal[True],
    strides: Sequence[int] | None = ...,
) -> Backbone: ...


def build(
    architecture: Architecture,
    *,
    stochastic_depth: float = 0.0,
    zero_init_residual: bool = False,
    features_only: bool = False,
    strides: Sequence[int] | None = None,
) -> Network | Backbone:
    """Return the network of an architecture with freshly initialised weights.

    Modules and initialisation are those of torchvision's EfficientNet: convolutions normal with
    variance 2 / fan_out, the classifier uniform, biases 0. Its bound, 1 / sqrt(num_classes),
    is meant for a thousand classes: with ten the first logits would be so large that training
    starts by unlearning them. So the larger of the classifier's two sides bounds it.

    Args:
        architecture: what to build.
        stochastic_depth: drop probability of the last block, rising linearly from 0.
        zero_init_residual: start every residual branch at zero (Goyal et al. 2017, section 5.1),
            which helps trainings of few steps most.
        features_only: return the feature pyramid instead, for detection and segmentation.
        strides: of its maps; see :class:`Backbone`.

    Raises:
        InputError: the architecture has no map of such a stride, or there is to be none.
    """
    network: Network | Backbone
    if features_only:
        network = Backbone(architecture, strides=strides, stochastic_depth=stochastic_depth)
    elif strides is not None:
        raise InputError("strides: not accepted without features_only")
    else:
        network = Network(architecture, stochastic_depth=stochastic_depth)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(max(module.in_features, module.out_features))
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
        elif zero_init_residual and isinstance(module, Block) and module.residual:
            last = [norm for norm in module.branch.modules() if isinstance(norm, nn.BatchNorm2d)]
            nn.init.zeros_(last[-1].weight)
    return network
