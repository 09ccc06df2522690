"""Search space files: TOML in, a validated space out."""

from __future__ import annotations

import json
from collections.abc import Sized
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    field_validator,
    model_validator,
)

from nas.errors import InputError
from nas.files import parse_toml, read_text, validate
from nas.networks.architecture import (
    Activation,
    Channels,
    Classes,
    Expansion,
    Head,
    Kernel,
    Layers,
    Norm,
    Op,
    Padding,
    Ratio,
    Resolution,
    Stem,
    Stride,
    Width,
    check_kernel,
)
from nas.spaces.search_space import FIELDS, BlockChoice, SearchSpace, StageSpace

MAX_OPTIONS = 50_000
"""So many ways to fill a stage behind each width, over all stages: each is looked at and costed."""

SCHEMA = "nas-search-space/1"

_MODEL = ConfigDict(extra="forbid", allow_inf_nan=False)
_OneOrMore = "accepted: a value or a list of different values"


def _tuple(value: Any) -> Any:
    """Return a scalar or a list as a tuple; an empty list and a repeated value are errors."""
    if not isinstance(value, list):
        return (value,)
    if not value:
        raise ValueError(f"the list is empty; {_OneOrMore}")
    if len(value) > 64:
        raise ValueError("more than 64 values")
    if any(value[i] == value[j] for i in range(len(value)) for j in range(i)):
        raise ValueError(f"a value stands twice; {_OneOrMore}")
    return tuple(value)


class _BlockFile(BaseModel):
    model_config = _MODEL
    op: Op
    kernel: Kernel | None = None
    expansion: Expansion | None = None
    se_ratio: Ratio | None = None

    @model_validator(mode="after")
    def _check(self) -> _BlockFile:
        if self.op == "skip":
            for name in ("kernel", "expansion", "se_ratio"):
                if getattr(self, name) is not None:
                    raise ValueError(f"a skip takes no {name}")
        else:
            for name in ("kernel", "expansion"):
                if getattr(self, name) is None:
                    raise ValueError(f"{self.op} needs {name}")
            check_kernel(self.kernel or 1)
        return self

    def block(self) -> BlockChoice:
        return BlockChoice(self.op, self.kernel or 1, self.expansion or 1, self.se_ratio or 0.0)


class _StageFile(BaseModel):
    model_config = _MODEL
    stride: Stride
    layers: tuple[Layers, ...]
    width: tuple[Width, ...]
    op: tuple[Op, ...] | None = None
    kernel: tuple[Kernel, ...] | None = None
    expansion: tuple[Expansion, ...] | None = None
    se_ratio: tuple[Ratio, ...] | None = None
    block: Annotated[list[_BlockFile], Field(min_length=1, max_length=64)] | None = None

    _tuples = field_validator(*FIELDS, mode="before")(_tuple)

    @model_validator(mode="after")
    def _check(self) -> _StageFile:
        if self.block is not None:
            for name in ("op", "kernel", "expansion", "se_ratio"):
                if getattr(self, name) is not None:
                    raise ValueError(f"a stage with block takes no {name} beside it")
            labels = [entry.block().label for entry in self.block]
            if len(set(labels)) < len(labels):
                raise ValueError("a block stands twice")
            return self
        if self.op is None:
            raise ValueError("a stage needs op, or block")
        if self.op == ("skip",):
            for name in ("kernel", "expansion", "se_ratio"):
                if getattr(self, name) is not None:
                    raise ValueError(f"a skip takes no {name}")
        else:
            for name in ("kernel", "expansion"):
                if getattr(self, name) is None:
                    raise ValueError(f"a stage of {', '.join(self.op)} needs {name}")
        for kernel in self.kernel or ():
            check_kernel(kernel)
        return self

    def stage(self, listed: frozenset[str]) -> StageSpace:
        return StageSpace(
            stride=self.stride,
            layers=self.layers,
            width=self.width,
            op=self.op or (),
            kernel=self.kernel or (),
            expansion=self.expansion or (),
            se_ratio=tuple(float(ratio) for ratio in self.se_ratio or (0.0,)),
            blocks=tuple(entry.block() for entry in self.block or ()),
            listed=listed,
        )


class _SpaceFile(BaseModel):
    model_config = _MODEL
    schema_: Annotated[Literal["nas-search-space/1"], Field(alias="schema")]
    name: Annotated[str, Field(strict=True, min_length=1, max_length=100)]
    source: Annotated[str, Field(strict=True)] = ""
    resolution: Annotated[tuple[Resolution, ...], BeforeValidator(_tuple)]
    in_channels: Channels = 3
    num_classes: Classes
    activation: Activation
    norm: Norm = Norm()
    padding: Padding = "symmetric"
    stem: Stem
    head: Head
    stage: Annotated[list[_StageFile], Field(min_length=1, max_length=64)]


_ADAPTER: TypeAdapter[_SpaceFile] = TypeAdapter(_SpaceFile)


def space_from_dict(data: dict[str, Any], source: str = "space") -> SearchSpace:
    """Return the search space that parsed TOML describes.

    Raises:
        InputError: naming ``source``, the key, the value and what is accepted.
    """
    file = validate(_ADAPTER, data, source)
    _check_size(file, source)
    listed = [
        frozenset(name for name, value in stage.items() if isinstance(value, list))
        for stage in data["stage"]
    ]
    return SearchSpace(
        name=file.name,
        source=file.source,
        resolution=max(file.resolution),
        resolutions=file.resolution if isinstance(data["resolution"], list) else (),
        in_channels=file.in_channels,
        num_classes=file.num_classes,
        activation=file.activation,
        norm=file.norm,
        padding=file.padding,
        stem=file.stem,
        head=file.head,
        stages=tuple(stage.stage(names) for stage, names in zip(file.stage, listed, strict=True)),
    )


def _check_size(file: _SpaceFile, source: str) -> None:
    """Raise :class:`InputError` where the options of all stages are more than can be looked at."""
    behind, total = 1, 0
    for number, stage in enumerate(file.stage, 1):
        fields: list[Sized] = [stage.block or stage.op or (), stage.layers, stage.width]
        if stage.block is None:
            fields += [field or () for field in (stage.kernel, stage.expansion, stage.se_ratio)]
        total += behind * prod(max(1, len(values)) for values in fields)
        if total > MAX_OPTIONS:
            raise InputError(
                f"{source}: stage{number}: with what its lists offer together, and those before "
                f"it, there are more than {MAX_OPTIONS:,} ways to fill a stage: shorten them"
            )
        behind = len(stage.width)


def read_space(path: Path) -> SearchSpace:
    """Return the search space of a TOML file (format: the README's section on search spaces).

    Raises:
        InputError: the file cannot be read or is not a search space.
    """
    return space_from_dict(parse_toml(read_text(path), str(path)), str(path))


def space_to_dict(space: SearchSpace) -> dict[str, Any]:
    """Return a search space as :func:`space_from_dict` reads it."""
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "name": space.name,
        "source": space.source,
        "resolution": list(space.resolutions) or space.resolution,
        "in_channels": space.in_channels,
        "num_classes": space.num_classes,
        "activation": space.activation,
        "norm": asdict(space.norm),
        "padding": space.padding,
        "stem": asdict(space.stem),
        "head": asdict(space.head),
    }
    return data | {"stage": [_stage_to_dict(stage) for stage in space.stages]}


def _stage_to_dict(stage: StageSpace) -> dict[str, Any]:
    def value(name: str) -> Any:
        values = getattr(stage, name)
        return list(values) if name in stage.listed else values[0]

    fields = ("layers", "width") if stage.blocks else FIELDS
    data: dict[str, Any] = {"stride": stage.stride}
    if stage.blocks:
        data["block"] = [_block_to_dict(block) for block in stage.blocks]
    skips = stage.op == ("skip",)
    for name in fields:
        if getattr(stage, name) and not (skips and name == "se_ratio"):
            data[name] = value(name)
    return data


def _block_to_dict(block: BlockChoice) -> dict[str, Any]:
    return {"op": block.op} if block.op == "skip" else asdict(block)


def space_to_toml(space: SearchSpace) -> str:
    """Return a search space as the text of its file."""
    data = space_to_dict(space)
    lines = [f"{key} = {_toml(value)}" for key, value in data.items() if key != "stage"]
    for stage in data["stage"]:
        lines += ["", "[[stage]]", *(f"{key} = {_toml(value)}" for key, value in stage.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
