"""What a network costs: FLOPs by fvcore, parameters, activations; measured per block, summed."""

from __future__ import annotations

import atexit
import json
import logging
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as validated

from nas.environment import cache_folder
from nas.errors import InputError
from nas.files import parse_json, read_text, validate, write_json
from nas.networks.architecture import (
    Architecture,
    Layer,
    Norm,
    Stage,
    efficientnet_b0,
    stage_layers,
)

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

CONVENTION = "fvcore conv+linear MACs"
"""Multiply-adds of convolutions and linear layers, batch 1, eval mode, own resolution."""

METRICS: tuple[Literal["flops", "params", "activations"], ...] = ("flops", "params", "activations")

MAX_BLOCK_WEIGHTS = 2**28
"""Of a block that is counted: it is held in memory for that, and those of EfficientNet-L2 have 12
million."""

_Count = Annotated[int, Field(ge=0, strict=True)]
_Positive = Annotated[int, Field(ge=1, strict=True)]
_Grids = tuple[_Count, _Count, _Count]
_CACHE: TypeAdapter[dict[str, tuple[_Positive, _Count, _Grids, _Grids]]] = TypeAdapter(
    dict[str, tuple[_Positive, _Count, _Grids, _Grids]]
)
_CACHE_FORMAT = 1
_SAVE_INTERVAL_SECONDS = 2.0


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Cost:
    """Costs of one network.

    Attributes:
        flops: multiply-adds (see :data:`CONVENTION`).
        params: trainable weights and biases.
        activations: output elements of all convolutions (Dollár et al. 2021).
    """

    flops: int = Field(ge=0, strict=True)
    params: int = Field(ge=0, strict=True)
    activations: int = Field(ge=0, strict=True)

    def to_dict(self) -> dict[str, int]:
        """Return the costs as plain data."""
        return {"flops": self.flops, "params": self.params, "activations": self.activations}


class Parts(NamedTuple):
    """Costs that add up: of a block, a stage or a network."""

    flops: int
    params: int
    activations: int


@dataclass(frozen=True, slots=True)
class _Measured:
    """A block's cost at any resolution.

    Each convolution of a block runs on the block's input grid, on its output grid or, inside
    squeeze-excite and after pooling, on one point. So what the block costs at input size h is
    ``per_input * h**2 + per_output * ceil(h / stride)**2 + fixed``, exactly, and fvcore needs to
    see it only once. The three stand in this order in ``flops`` and ``activations``.
    """

    stride: int
    params: int
    flops: tuple[int, int, int]
    activations: tuple[int, int, int]

    def at(self, size: int) -> Parts:
        inputs, outputs = size * size, (-(-size // self.stride)) ** 2
        f, a = self.flops, self.activations
        return Parts(
            f[0] * inputs + f[1] * outputs + f[2],
            self.params,
            a[0] * inputs + a[1] * outputs + a[2],
        )


def measure_cost(architecture: Architecture, resolution: int | None = None) -> Cost:
    """Return what an architecture costs at its own resolution, or at another one.

    Blocks are measured once, by fvcore, and remembered in memory and on disk; an architecture of
    known blocks costs microseconds. Sums equal fvcore's count of the whole network to the unit.

    Args:
        architecture: the network.
        resolution: height and width of the images in pixels; None: the architecture's own.

    Raises:
        InputError: the resolution is not positive.
    """
    size = architecture.resolution if resolution is None else resolution
    if size < 1:
        raise InputError(f"resolution: {size} is not accepted: at least 1")
    flops, params, activations = stem_cost(architecture, size)
    size = -(-size // architecture.stem.stride)
    width = architecture.stem.width
    for stage in architecture.stages:
        part = stage_cost(stage, width, size)
        flops += part.flops
        params += part.params
        activations += part.activations
        size = -(-size // stage.stride)
        width = stage.width
    part = head_cost(architecture, width, size)
    return Cost(flops + part.flops, params + part.params, activations + part.activations)


def count_module(module: nn.Module, in_channels: int, resolution: int) -> Cost:
    """Return what any torch module costs, counted by fvcore as a whole: whoever made it.

    Args:
        module: maps (1, in_channels, resolution, resolution) to anything; its mode is kept.
        in_channels: of the images.
        resolution: height and width of the images in pixels.
    """
    import torch
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    image = torch.zeros(1, in_channels, resolution, resolution)
    training = module.training
    module.eval()  # in training mode, counting would change batch norm's statistics
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which is deprecated
            flops, activations = (
                kind(module, image)
                .unsupported_ops_warnings(False)
                .uncalled_modules_warnings(False)
                .by_operator()
                for kind in (FlopCountAnalysis, ActivationCountAnalysis)
            )
    finally:
        module.train(training)
    return Cost(
        flops=int(flops["conv"] + flops["linear"]),
        params=sum(p.numel() for p in module.parameters() if p.requires_grad),
        activations=int(activations["conv"]),
    )


@lru_cache(maxsize=1 << 18)
def stage_cost(stage: Stage, in_width: int, size: int) -> Parts:
    """Return what one stage costs for an input of ``in_width`` channels, ``size`` px square."""
    total = Parts(0, 0, 0)
    for layer in stage_layers(stage, in_width):
        part = _measured_layer(layer).at(size)
        total = Parts(*(a + b for a, b in zip(total, part, strict=True)))
        size = -(-size // layer.stride)
    return total


def stem_cost(architecture: Architecture, size: int) -> Parts:
    """Return what the first convolution costs at ``size`` px."""
    stem = architecture.stem
    return _measured_stem(architecture.in_channels, stem.width, stem.kernel, stem.stride).at(size)


def head_cost(architecture: Architecture, in_width: int, size: int) -> Parts:
    """Return what the head costs for an input of ``in_width`` channels, ``size`` px square."""
    return _measured_head(in_width, architecture.head.width, architecture.num_classes).at(size)


def save_measured() -> None:
    """Write what was measured so far to the cache now, for processes that start from here."""
    _store().save()


@lru_cache(maxsize=1 << 16)
def _measured_layer(layer: Layer) -> _Measured:
    key = "layer " + json.dumps(layer, separators=(",", ":"))

    def make() -> nn.Module:
        from nas.networks.modules import block

        return block(layer, "relu", Norm())

    return _remembered(key, make, layer.in_width, layer.stride)


@lru_cache(maxsize=1024)
def _measured_stem(in_channels: int, width: int, kernel: int, stride: int) -> _Measured:
    def make() -> nn.Module:
        from nas.networks.modules import ConvNormAct

        return ConvNormAct(
            in_channels, width, kernel, stride=stride, activation="relu", norm=Norm()
        )

    return _remembered(f"stem {[in_channels, width, kernel, stride]}", make, in_channels, stride)


@lru_cache(maxsize=4096)
def _measured_head(in_width: int, width: int, num_classes: int) -> _Measured:
    def make() -> nn.Module:
        from nas.networks.modules import head

        b0 = efficientnet_b0()
        architecture = Architecture(
            b0.name, 1, 1, num_classes, "relu", b0.norm, b0.stem, (), type(b0.head)(width, 0.0)
        )
        return head(architecture, in_width)

    return _remembered(f"head {[in_width, width, num_classes]}", make, in_width, 1)


def _remembered(key: str, make: Any, in_width: int, stride: int) -> _Measured:
    store = _store()
    found = store.blocks.get(key)
    if found is None:
        found = store.blocks[key] = _measure(key, make, in_width, stride)
        store.changed()
    return found


def _measure(key: str, make: Any, in_width: int, stride: int) -> _Measured:
    """Let fvcore count one block, once, at the smallest size that tells its grids apart."""
    import torch
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import conv_flop_jit, get_shape

    def conv(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
        batch, width, extent, _ = get_shape(outputs[0])
        flops = conv_flop_jit(inputs, outputs)["conv"]
        # Per point of its own grid: what fvcore counts of a convolution is a multiple of the grid.
        return Counter(
            {f"flops {extent}": flops // extent**2, f"activations {extent}": batch * width}
        )

    with torch.device("meta"):
        module: nn.Module = make()
    weights = sum(parameter.numel() for parameter in module.parameters())
    if weights > MAX_BLOCK_WEIGHTS:
        raise InputError(
            f"{key}: {weights:,} weights of one block are not accepted: at most "
            f"{MAX_BLOCK_WEIGHTS:,}"
        )
    # Counting reads shapes only: weights without values, and no work to initialise them.
    module = module.to_empty(device="cpu").eval()
    inputs, outputs = stride + 1, 2 if stride > 1 else stride + 1
    with warnings.catch_warnings(), torch.no_grad(), _one_thread():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which is deprecated
        counts = (
            FlopCountAnalysis(module, torch.zeros(1, in_width, inputs, inputs))
            .set_op_handle("aten::_convolution", conv)
            .unsupported_ops_warnings(False)
            .uncalled_modules_warnings(False)
            .by_operator()
        )

    def grids(metric: str, fixed: float = 0) -> tuple[int, int, int]:
        per_output = int(counts[f"{metric} {outputs}"])
        per_input = int(counts[f"{metric} {inputs}"]) if inputs != outputs else 0
        return per_input, per_output, int(counts[f"{metric} 1"] + fixed)

    return _Measured(
        stride=stride,
        params=weights,
        flops=grids("flops", counts["linear"]),
        activations=grids("activations"),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: what is traced is tiny, and waking others takes far longer."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Store:
    """Measured blocks, in memory and in one JSON file a set of versions."""

    def __init__(self) -> None:
        self.blocks: dict[str, _Measured] = {}
        self._saved = 0
        self._saved_at = time.monotonic()
        versions = f"{_CACHE_FORMAT}-fvcore{version('fvcore')}-torch{version('torch')}"
        self._path = cache_folder() / f"costs-{versions}.json"
        self._load()
        atexit.register(self.save)

    def _load(self) -> None:
        try:
            data = validate(_CACHE, parse_json(read_text(self._path), str(self._path)), "costs")
        except InputError:
            data = {}  # a cache: what cannot be read is measured again
        self.blocks = {key: _Measured(*parts) for key, parts in data.items()}
        self._saved = len(self.blocks)
        logger.debug("%s: costs of %d blocks read", self._path, self._saved)

    def changed(self) -> None:
        if time.monotonic() - self._saved_at > _SAVE_INTERVAL_SECONDS:
            self.save()

    def save(self) -> None:
        self._saved_at = time.monotonic()
        if len(self.blocks) == self._saved:
            return
        data = {
            key: [block.stride, block.params, block.flops, block.activations]
            for key, block in self.blocks.items()
        }
        try:
            write_json(self._path, data)
            logger.debug("%s: costs of %d blocks written", self._path, len(data))
            self._saved = len(self.blocks)
        except InputError:
            self._saved = len(self.blocks)  # no place for a cache is no reason to fail


@lru_cache(maxsize=1)
def _store() -> _Store:
    return _Store()
