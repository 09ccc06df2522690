"""A fully resolved network: integers only, no choice left, no search space known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from nas.errors import InputError
from nas.files import validate

Op = Literal["mbconv", "fused_mbconv", "skip"]
Activation = Literal["relu", "relu6", "silu", "hardswish"]
Padding = Literal["symmetric", "same"]
"""How convolutions pad their inputs: by half of the kernel on all sides, or as TensorFlow does, by
as much as the output needs and one pixel more at the end where that is odd."""

# Numbers are strict (no "3", no True, no 3.0 for 3) one by one: a strict dataclass as a whole would
# take no plain data at all.
CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
Kernel = Annotated[int, Field(strict=True, ge=1, le=31)]
Stride = Annotated[int, Field(strict=True, ge=1, le=4)]
Width = Annotated[int, Field(strict=True, ge=1, le=65_536)]
Layers = Annotated[int, Field(strict=True, ge=1, le=256)]
Expansion = Annotated[int, Field(strict=True, ge=1, le=64)]
Ratio = Annotated[float, Field(strict=True, ge=0, le=1)]
Dropout = Annotated[float, Field(strict=True, ge=0, lt=1)]
Resolution = Annotated[int, Field(strict=True, ge=1, le=16_384)]
Channels = Annotated[int, Field(strict=True, ge=1, le=1_024)]
Classes = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


def check_kernel(kernel: int) -> int:
    """Return an odd kernel size unchanged; an even one cannot be centred and is refused."""
    if kernel % 2 == 0:
        raise ValueError(f"kernel {kernel} is even; accepted: odd sizes 1 to 31")
    return kernel


@dataclass(frozen=True, slots=True, config=CONFIG)
class Norm:
    """Batch normalisation's constants, in PyTorch's convention of momentum."""

    eps: Annotated[float, Field(strict=True, gt=0, le=1)] = 1e-5
    momentum: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.1


@dataclass(frozen=True, slots=True, config=CONFIG)
class Stem:
    """The first convolution, with batch norm and activation."""

    kernel: Kernel
    stride: Stride
    width: Width

    @model_validator(mode="after")
    def _check(self) -> Stem:
        check_kernel(self.kernel)
        return self


@dataclass(frozen=True, slots=True, config=CONFIG)
class Stage:
    """Layers of one kind: the first has the stride and changes the width, the others stride 1.

    A ``skip`` has kernel 1, expansion 1, one layer and no squeeze-excite; a fused MBConv of
    expansion 1 is one k by k convolution and has no squeeze-excite either.
    """

    op: Op
    kernel: Kernel
    stride: Stride
    expansion: Expansion
    width: Width
    layers: Layers
    se_ratio: Ratio

    @model_validator(mode="after")
    def _check(self) -> Stage:
        check_kernel(self.kernel)
        if self.op == "skip" and (self.kernel, self.expansion, self.layers, self.se_ratio) != (
            (1, 1, 1, 0.0)
        ):
            raise ValueError("a skip has kernel 1, expansion 1, layers 1 and se_ratio 0")
        if self.op == "fused_mbconv" and self.expansion == 1 and self.se_ratio != 0:
            raise ValueError("a fused_mbconv of expansion 1 is one convolution: se_ratio must be 0")
        return self


@dataclass(frozen=True, slots=True, config=CONFIG)
class Head:
    """A 1x1 convolution to ``width``, pooling, dropout and the classifier."""

    width: Width
    dropout: Dropout


MAX_LAYERS = 1_000
"""Of a network that is read; EfficientNet-B7 has 55."""

MAX_WEIGHTS = 2**29
"""Of a network that is read; EfficientNet-L2 has 480 million."""

MAX_IMAGE = 2**28
"""Values of one image that it takes: 3 channels of 9,459 px square."""


class Layer(NamedTuple):
    """One block as it is built: what a stage's row means for each of its layers."""

    op: Op
    kernel: int
    stride: int
    expansion: int
    in_width: int
    width: int
    se_width: int
    """Channels inside squeeze-excite; 0: none."""

    @property
    def is_identity(self) -> bool:
        """A skip where input and output shapes agree: it does nothing."""
        return self.op == "skip" and self.stride == 1 and self.in_width == self.width

    @property
    def weights(self) -> int:
        """Weights of its convolutions; batch norms and biases left out."""
        inner, area = self.in_width * self.expansion, self.kernel**2
        squeeze = 2 * inner * self.se_width
        if self.op == "skip":
            return 0 if self.is_identity else self.in_width * self.width
        if self.op == "fused_mbconv":
            if self.expansion == 1:
                return self.in_width * self.width * area
            return inner * (self.in_width * area + self.width) + squeeze
        expand = self.in_width * inner if self.expansion > 1 else 0
        return expand + inner * (area + self.width) + squeeze


@dataclass(frozen=True, slots=True, config=CONFIG)
class Architecture:
    """A network, complete: a stranger can build it from these values alone.

    Two architectures are the same network if their :meth:`key` agree; ``name`` is free text and
    no part of it.
    """

    name: Annotated[str, Field(strict=True, min_length=1, max_length=200)]
    resolution: Resolution
    in_channels: Channels
    num_classes: Classes
    activation: Activation
    norm: Norm
    stem: Stem
    stages: Annotated[tuple[Stage, ...], Field(max_length=100)]
    head: Head
    padding: Padding = "symmetric"

    def layers(self) -> tuple[Layer, ...]:
        """Return every block in order, identities left out."""
        result: list[Layer] = []
        width = self.stem.width
        for stage in self.stages:
            result += stage_layers(stage, width)
            width = stage.width
        return tuple(result)

    def canonical(self) -> Architecture:
        """Return the same network without the stages that do nothing."""
        kept: list[Stage] = []
        width = self.stem.width
        for stage in self.stages:
            if stage_layers(stage, width):
                kept.append(stage)
            width = stage.width
        return self if len(kept) == len(self.stages) else replace(self, stages=tuple(kept))

    def key(self) -> str:
        """Return 64 hex digits that are equal exactly where the networks are equal.

        The head's dropout and the norm's constants count; the name does not.
        """
        padding = [] if self.padding == "symmetric" else [self.padding]
        return _key(
            self.resolution,
            self.in_channels,
            self.num_classes,
            self.activation,
            self.norm,
            self.stem,
            self.layers(),
            self.head,
            *padding,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the architecture as plain data, in the order of the file format.

        Symmetric padding is left out: files had no such field at first.
        """
        data = asdict(self)
        if self.padding == "symmetric":
            del data["padding"]
        data["stages"] = [dict(stage) for stage in data["stages"]]
        return data


@lru_cache(maxsize=65_536)
def stage_layers(stage: Stage, in_width: int) -> tuple[Layer, ...]:
    """Return the blocks of one stage for the given input width, identities left out."""
    result = []
    for index in range(stage.layers):
        layer = Layer(
            op=stage.op,
            kernel=stage.kernel,
            stride=stage.stride if index == 0 else 1,
            expansion=stage.expansion,
            in_width=in_width,
            width=stage.width,
            se_width=max(1, int(in_width * stage.se_ratio)) if stage.se_ratio else 0,
        )
        if not layer.is_identity:
            result.append(layer)
        in_width = stage.width
    return tuple(result)


def _key(*parts: object) -> str:
    text = json.dumps(parts, default=asdict, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_ADAPTER: TypeAdapter[Architecture] = TypeAdapter(Architecture)


def architecture_from_dict(data: Any, source: str = "architecture") -> Architecture:
    """Return a validated architecture from plain data.

    Raises:
        InputError: naming ``source``, the key, the value and what is accepted.
    """
    return within_reach(validate(_ADAPTER, data, source), source)


def within_reach(architecture: Architecture, source: str) -> Architecture:
    """Return an architecture that can be built and costed in bounded memory and time.

    Raises:
        InputError: its layers, weights or images are more than anybody's.
    """
    layers, stem = architecture.layers(), architecture.stem
    width = layers[-1].width if layers else stem.width
    weights = (
        architecture.in_channels * stem.width * stem.kernel**2
        + sum(layer.weights for layer in layers)
        + (width + architecture.num_classes) * architecture.head.width
    )
    for what, count, most in (
        ("layers", len(layers), MAX_LAYERS),
        ("weights", weights, MAX_WEIGHTS),
        (
            "values in an image",
            architecture.in_channels * architecture.resolution**2,
            MAX_IMAGE,
        ),
    ):
        if count > most:
            raise InputError(f"{source}: {count:,} {what} are not accepted: at most {most:,}")
    return architecture


_B0_ROWS: tuple[tuple[int, int, int, int, int], ...] = (
    # expansion, kernel, width, layers, stride: Tan & Le 2019 (arXiv 1905.11946), Table 1
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


def efficientnet_b0() -> Architecture:
    """Return EfficientNet-B0 (Tan & Le 2019, Table 1; strides and SE from the official code)."""
    return Architecture(
        name="efficientnet-b0",
        resolution=224,
        in_channels=3,
        num_classes=1000,
        activation="silu",
        norm=Norm(),
        stem=Stem(kernel=3, stride=2, width=32),
        stages=tuple(
            Stage("mbconv", kernel, stride, expansion, width, layers, 0.25)
            for expansion, kernel, width, layers, stride in _B0_ROWS
        ),
        head=Head(width=1280, dropout=0.2),
    )
