"""What a network's latency is on one device: a table of its blocks' latencies, summed.

A table is measured by :mod:`nas.export.latency_benchmark`, once a device, and may be taken
elsewhere: to search on a large machine for a small one. Sums are whole nanoseconds, so that a
budget is held exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as validated

from nas.errors import InputError
from nas.files import digest, parse_json, read_text, validate, write_json
from nas.networks.architecture import Architecture, Layer, Stage, stage_layers
from nas.spaces.search_space import SearchSpace

SCHEMA = "nas-search-latency/1"

Backend = Literal["pytorch", "onnxruntime"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Nanoseconds = Annotated[int, Field(ge=1, le=10**15, strict=True)]
_Share = Annotated[float, Field(ge=-1e6, le=1e6)]


@validated(frozen=True, config=_STRICT)
class Setting:
    """Where and how latencies are measured; what else they depend on.

    Attributes:
        backend: ``pytorch``: eager, eval mode, default memory format. ``onnxruntime``: on the CPU.
        device: ``cpu``, ``cuda`` or ``mps``.
        processor: its name.
        batch: images at once.
        threads: of the backend.
        versions: of the backend.
    """

    backend: Backend
    device: str
    processor: str
    batch: Annotated[int, Field(ge=1, le=4096, strict=True)]
    threads: Annotated[int, Field(ge=1, le=4096, strict=True)]
    versions: dict[str, str]

    def __str__(self) -> str:
        """Return it in words."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        count = f"{self.threads} thread{'s' if self.threads > 1 else ''}, "
        threads = count if self.device == "cpu" else ""
        return f"{self.processor}, {threads}batch {self.batch}, {versions}"


@validated(frozen=True, config=_STRICT)
class Timing:
    """Nanoseconds that one block takes: the median, its 95 % interval, of so many repeats."""

    median: _Nanoseconds
    low: _Nanoseconds
    high: _Nanoseconds
    repeats: Annotated[int, Field(ge=1, strict=True)]


@validated(frozen=True, config=_STRICT)
class Check:
    """How far the sums agree with whole networks, measured end to end.

    Attributes:
        networks: how many, drawn at random; others than gave the table its blocks' latencies, where
            a space has others.
        error: mean of |sum / measured - 1|.
        bias: mean of sum / measured - 1.
        kendall_tau: rank correlation of the sums with the measured medians.
        kendall_tau_repeats: the same between two halves of the measurement itself.
        fastest, slowest: of these networks, in nanoseconds.
    """

    networks: Annotated[int, Field(ge=2, strict=True)]
    error: _Share
    bias: _Share
    kendall_tau: Annotated[float, Field(ge=-1, le=1)]
    kendall_tau_repeats: Annotated[float, Field(ge=-1, le=1)]
    fastest: _Nanoseconds
    slowest: _Nanoseconds

    def __str__(self) -> str:
        """Return it in one line."""
        return (
            f"{self.networks} whole networks, {milliseconds(self.fastest)} to "
            f"{milliseconds(self.slowest)}: sums are {self.error:.1%} off on average "
            f"({self.bias:+.1%}), τ {self.kendall_tau:.3f} (two halves of the measurement: "
            f"{self.kendall_tau_repeats:.3f})"
        )


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of blocks, by their keys, each where it stands in a network.

    Attributes:
        setting: where and how they were measured.
        blocks: by key (:func:`stem_key`, :func:`layer_key`, :func:`head_key`).
        check: against whole networks; None: not checked.
    """

    setting: Setting
    blocks: dict[str, Timing]
    check: Check | None = None

    def stage(self, stage: Stage, in_width: int, size: int, style: str) -> int:
        """Return nanoseconds of a stage for ``in_width`` channels, ``size`` px square.

        Raises:
            InputError: a block of it is not in the table.
        """
        known = self._stages.get((stage, in_width, size, style))
        if known is None:
            known = sum(map(self._median, stage_keys(stage, in_width, size, style)))
            self._stages[stage, in_width, size, style] = known
        return known

    def stem(self, architecture: Architecture, size: int) -> int:
        """Return nanoseconds of the first convolution at ``size`` px."""
        return self._median(stem_key(architecture, size))

    def head(self, architecture: Architecture, in_width: int, size: int) -> int:
        """Return nanoseconds of the head behind ``in_width`` channels, ``size`` px square."""
        return self._median(head_key(architecture, in_width, size))

    def of(self, architecture: Architecture) -> int:
        """Return nanoseconds of a network at its own resolution.

        Raises:
            InputError: a block of it is not in the table.
        """
        return sum(self._median(key) for key in keys(architecture))

    def covers(self, space: SearchSpace) -> None:
        """Raise :class:`InputError`, naming one, if a block of a space is not in the table."""
        for key in block_keys(space):
            self._median(key)

    def fingerprint(self) -> str:
        """Return what tells it from other tables."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the content of its file."""
        return {
            "schema": SCHEMA,
            "setting": asdict(self.setting),
            "check": None if self.check is None else asdict(self.check),
            "blocks": {key: asdict(timing) for key, timing in sorted(self.blocks.items())},
        }

    @cached_property
    def _stages(self) -> dict[tuple[Stage, int, int, str], int]:
        return {}

    def _median(self, key: str) -> int:
        found = self.blocks.get(key)
        if found is None:
            raise InputError(f"latency table: has no {key}; measure it for this space")
        return found.median


@dataclass(frozen=True)
class TableFile:
    """A table that was measured elsewhere, or earlier: by ``nas-search latency --out FILE``."""

    path: Path

    def table(self, space: SearchSpace, progress: Any = None) -> LatencyTable:
        """Return the file's table, if it has all blocks of a space."""
        table = read_table(self.path)
        try:
            table.covers(space)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None
        return table

    def setting(self) -> Setting | None:
        """Return None: nothing is measured here."""
        return None

    def whole(self, network: Architecture) -> Timing | None:
        """Return None: the device may be another."""
        return None


@validated(frozen=True, config=_STRICT)
class _LatencyFile:
    schema: Literal["nas-search-latency/1"]
    setting: Setting
    check: Check | None
    blocks: dict[str, Timing]


_ADAPTER: TypeAdapter[_LatencyFile] = TypeAdapter(_LatencyFile)


def read_table(path: Path) -> LatencyTable:
    """Return the table of a file.

    Raises:
        InputError: the file cannot be read or is not a table of latencies.
    """
    return table_of(parse_json(read_text(path), str(path)), str(path))


def table_of(content: Any, source: str) -> LatencyTable:
    """Return the table of a file's content; ``source`` names it in errors.

    Raises:
        InputError: it is not a table of latencies.
    """
    file = validate(_ADAPTER, content, source)
    return LatencyTable(file.setting, file.blocks, file.check)


def write_table(path: Path, table: LatencyTable) -> None:
    """Write a table, whole or not at all."""
    write_json(path, table.to_dict())


def style_of(network: Architecture | SearchSpace) -> str:
    """Return what all blocks of a network, or of a space, have in common, as keys name it."""
    padded = "" if network.padding == "symmetric" else f" {network.padding}"
    return f"{network.activation}{padded}"


def stem_key(architecture: Architecture, size: int) -> str:
    """Return the key of the first convolution at ``size`` px."""
    stem = architecture.stem
    parts = [architecture.in_channels, stem.width, stem.kernel, stem.stride]
    return f"stem {_listed(parts)} {style_of(architecture)} {size}px"


def layer_key(layer: Layer, size: int, style: str) -> str:
    """Return the key of a block for an input of ``size`` px square; see :func:`style_of`."""
    return f"block {_listed(layer)} {style} {size}px"


def head_key(architecture: Architecture, in_width: int, size: int) -> str:
    """Return the key of the head behind ``in_width`` channels, ``size`` px square."""
    parts = [in_width, architecture.head.width, architecture.num_classes]
    return f"head {_listed(parts)} {style_of(architecture)} {size}px"


def keys(architecture: Architecture) -> list[str]:
    """Return the keys of stem, blocks and head of a network, in order."""
    size = architecture.resolution
    found = [stem_key(architecture, size)]
    size = -(-size // architecture.stem.stride)
    width = architecture.stem.width
    for layer in architecture.layers():
        found.append(layer_key(layer, size, style_of(architecture)))
        size = -(-size // layer.stride)
        width = layer.width
    return [*found, head_key(architecture, width, size)]


def stage_keys(stage: Stage, in_width: int, size: int, style: str) -> Iterator[str]:
    """Yield the keys of a stage's blocks; see :func:`style_of`."""
    for layer in stage_layers(stage, in_width):
        yield layer_key(layer, size, style)
        size = -(-size // layer.stride)


def block_keys(space: SearchSpace) -> Iterator[str]:
    """Yield the keys of all that networks of a space are made of, some of them repeatedly."""
    for pixels in space.pixels:
        yield from _keys_at(space, pixels)


def _keys_at(space: SearchSpace, pixels: int) -> Iterator[str]:
    empty = space.architecture(())
    yield stem_key(empty, pixels)
    size = -(-pixels // space.stem.stride)
    widths = {space.stem.width}
    for index, stage in enumerate(space.stages):
        after: set[int] = set()
        for width in widths:
            for option in space.options(index, width):
                after.add(option.width)
                if option.stage is not None:
                    yield from stage_keys(option.stage, width, size, style_of(space))
        widths, size = after, -(-size // stage.stride)
    for width in widths:
        yield head_key(empty, width, size)


def milliseconds(nanoseconds: float) -> str:
    """Return a latency in milliseconds, three digits."""
    value = nanoseconds / 1e6
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} ms"


def _listed(parts: Any) -> str:
    return json.dumps(list(parts), separators=(",", ":"))
