"""Search spaces: what may be chosen; sample, decode, encode, neighbours."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import product, takewhile
from math import prod
from typing import Any

from nas.errors import InputError
from nas.files import digest
from nas.networks.architecture import (
    Activation,
    Architecture,
    Head,
    Layer,
    Norm,
    Op,
    Padding,
    Stage,
    Stem,
    stage_layers,
)

Value = int | float | str
"""What a choice may be."""

Choices = Mapping[str, Value]
"""One sample of a space: ``{"stage1.kernel": 3, ...}``."""

FIELDS = ("op", "kernel", "expansion", "layers", "width", "se_ratio")


@dataclass(frozen=True, slots=True)
class BlockChoice:
    """One whole block of a stage that chooses among blocks."""

    op: Op
    kernel: int = 1
    expansion: int = 1
    se_ratio: float = 0.0

    @property
    def label(self) -> str:
        """The value of the choice: ``skip``, ``mbconv_k5_e6_se0.25``."""
        if self.op == "skip":
            return "skip"
        se = f"_se{self.se_ratio:g}" if self.se_ratio else ""
        return f"{self.op}_k{self.kernel}_e{self.expansion}{se}"


@dataclass(frozen=True, slots=True)
class Option:
    """One way to fill a stage: its choices and what they make (None: nothing, an identity)."""

    choices: tuple[tuple[str, Value], ...]
    stage: Stage | None
    width: int


@dataclass(frozen=True)
class StageSpace:
    """What may be chosen in one stage; a field with one value is fixed.

    ``blocks`` is not empty in the joint form, where op, kernel, expansion and se_ratio go
    together.
    """

    stride: int
    layers: tuple[int, ...]
    width: tuple[int, ...]
    op: tuple[Op, ...] = ()
    kernel: tuple[int, ...] = ()
    expansion: tuple[int, ...] = ()
    se_ratio: tuple[float, ...] = ()
    blocks: tuple[BlockChoice, ...] = ()
    listed: frozenset[str] = field(default_factory=frozenset)
    """The fields that the file gives as a list: a list of one is a choice too, of one value."""

    def values(self) -> dict[str, tuple[Value, ...]]:
        """Return the values of each field that is a choice, in the order of the format."""
        if self.blocks:
            named: dict[str, tuple[Value, ...]] = {
                "block": tuple(block.label for block in self.blocks),
                "layers": self.layers,
                "width": self.width,
            }
        else:
            named = {name: getattr(self, name) for name in FIELDS}
        return {name: values for name, values in named.items() if name in self.listed}

    def make(self, chosen: Mapping[str, Value], in_width: int) -> tuple[Stage | None, int]:
        """Return the stage that the chosen fields make, None for an identity, and its width."""
        layers = int(chosen.get("layers", self.layers[0]))
        width = int(chosen.get("width", self.width[0]))
        if self.blocks:
            label = chosen.get("block", self.blocks[0].label)
            block = next(block for block in self.blocks if block.label == label)
            op, kernel, expansion, se = block.op, block.kernel, block.expansion, block.se_ratio
        else:
            op = next(op for op in self.op if op == chosen.get("op", op))
            kernel = int(chosen.get("kernel", self.kernel[0])) if self.kernel else 1
            expansion = int(chosen.get("expansion", self.expansion[0])) if self.expansion else 1
            se = float(chosen.get("se_ratio", self.se_ratio[0]))
        if op == "skip":
            kernel, expansion, se, layers = 1, 1, 0.0, 1
        elif op == "fused_mbconv" and expansion == 1:
            se = 0.0
        stage = Stage(op, kernel, self.stride, expansion, width, layers, se)
        return (stage if stage_layers(stage, in_width) else None), width


@dataclass(frozen=True)
class SearchSpace:
    """What may be chosen, and what is fixed. Made by ``load_space``; immutable.

    The network's input (``in_channels``, ``num_classes``) may be replaced (``dataclasses.replace``)
    to suit a user's data; for the resolution see :meth:`at_resolution`.

    Attributes:
        resolution: of its networks; the largest one where it is a choice.
        resolutions: to choose from; empty: it is fixed.
    """

    name: str
    source: str
    resolution: int
    in_channels: int
    num_classes: int
    activation: Activation
    norm: Norm
    stem: Stem
    head: Head
    stages: tuple[StageSpace, ...]
    padding: Padding = "symmetric"
    resolutions: tuple[int, ...] = ()

    @property
    def pixels(self) -> tuple[int, ...]:
        """The resolutions of its networks, one or several."""
        return self.resolutions or (self.resolution,)

    def at_resolution(self, pixels: int) -> SearchSpace:
        """Return the space with this resolution alone."""
        return replace(self, resolution=pixels, resolutions=())

    def fingerprint(self) -> str:
        """Return a hash of the space; what files did not have at first counts only where it is."""
        data = asdict(self)
        if self.padding == "symmetric":
            del data["padding"]
        if not self.resolutions:
            del data["resolutions"]
        return digest(data)

    @cached_property
    def choices(self) -> dict[str, tuple[Value, ...]]:
        """All choices by name, each with its values in the file's order.

        The names are ``stage<i>.<field>``, and ``resolution``, which is the first.
        """
        return ({"resolution": self.resolutions} if self.resolutions else {}) | {
            f"stage{index}.{name}": values
            for index, stage in enumerate(self.stages, 1)
            for name, values in stage.values().items()
        }

    @property
    def size(self) -> int:
        """How many different choices there are (different networks may be fewer)."""
        return prod(len(values) for values in self.choices.values())

    def sample(self, rng: random.Random) -> dict[str, Value]:
        """Return choices drawn uniformly."""
        return {name: rng.choice(values) for name, values in self.choices.items()}

    def decode(self, choices: Choices) -> Architecture:
        """Return the architecture that choices make, in canonical form.

        Raises:
            InputError: a choice is missing, unknown, or has a value the space does not offer.
        """
        self.check(choices)
        stages: list[Stage] = []
        width = self.stem.width
        for index, space in enumerate(self.stages, 1):
            prefix = f"stage{index}."
            chosen = {name: choices[prefix + name] for name in space.values()}
            stage, width = space.make(chosen, width)
            if stage is not None:
                stages.append(stage)
        return self.architecture(stages, self.pixels_of(choices))

    def pixels_of(self, choices: Choices) -> int:
        """Return the resolution of the network that choices make."""
        return int(choices["resolution"]) if self.resolutions else self.resolution

    def architecture(
        self, stages: list[Stage] | tuple[Stage, ...], resolution: int | None = None
    ) -> Architecture:
        """Return the architecture of this space with the given stages, named by its content.

        Args:
            stages: the stages.
            resolution: pixels; None: those of the space.
        """
        unnamed = Architecture(
            self.name,
            resolution or self.resolution,
            self.in_channels,
            self.num_classes,
            self.activation,
            self.norm,
            self.stem,
            tuple(stages),
            self.head,
            self.padding,
        )
        return replace(unnamed, name=f"{self.name}-{unnamed.key()[:8]}")

    def check(self, choices: Choices) -> None:
        """Raise :class:`InputError` unless ``choices`` are choices of this space."""
        for name, values in self.choices.items():
            if name not in choices:
                raise InputError(f"choices: {name}: missing; accepted: {_listed(values)}")
            if not any(type(v) is type(choices[name]) and v == choices[name] for v in values):
                raise InputError(
                    f"choices: {name}: {choices[name]!r} is not accepted: {_listed(values)}"
                )
        for name in choices:
            if name not in self.choices:
                raise InputError(
                    f"choices: {name}: unknown; space {self.name!r} has no such choice"
                )

    def encode(self, architecture: Architecture) -> dict[str, Value]:
        """Return choices that make ``architecture``: the first, in the file's order.

        ``decode(encode(a))`` has the layers of ``a``; the same ``key`` too, if ``a`` is of this
        space. The input (resolution where it is no choice, channels, classes), the norm's constants
        and the head's dropout are the space's to say and not compared.

        Raises:
            InputError: the architecture is not in this space; names what differs.
        """
        where = f"architecture {architecture.name!r} is not in space {self.name!r}"
        if self.resolutions and architecture.resolution not in self.resolutions:
            raise InputError(
                f"{where}: resolution is {architecture.resolution}, the space has "
                f"{_listed(self.resolutions)}"
            )
        for key in ("activation", "padding", "stem"):
            theirs, ours = getattr(architecture, key), getattr(self, key)
            if theirs != ours:
                raise InputError(f"{where}: {key} is {theirs!r}, the space has {ours!r}")
        if architecture.head.width != self.head.width:
            raise InputError(
                f"{where}: head.width is {architecture.head.width}, the space has {self.head.width}"
            )
        wanted = architecture.layers()
        furthest = (0, 0, self.stem.width)
        dead: set[tuple[int, int, int]] = set()

        def align(done: int, index: int, width: int) -> list[Option] | None:
            nonlocal furthest
            furthest = max(furthest, (done, index, width))
            if index == len(self.stages):
                return [] if done == len(wanted) else None
            if (done, index, width) in dead:
                return None
            for option in self.options(index, width):
                layers = stage_layers(option.stage, width) if option.stage else ()
                if layers == wanted[done : done + len(layers)]:
                    rest = align(done + len(layers), index + 1, option.width)
                    if rest is not None:
                        return [option, *rest]
            dead.add((done, index, width))
            return None

        found = align(0, 0, self.stem.width)
        if found is None:
            done, index, width = furthest
            raise InputError(f"{where}: {self._difference(wanted, done, index, width)}")
        first = {"resolution": architecture.resolution} if self.resolutions else {}
        return first | {name: value for option in found for name, value in option.choices}

    def _difference(self, wanted: tuple[Layer, ...], done: int, index: int, width: int) -> str:
        """Say why no option of stage ``index`` (from 0) makes the layers from ``done`` on."""
        rest = wanted[done:]
        where = f"stage{index + 1}"
        if done and rest and _continues(wanted[done - 1], rest[0]):
            return f"before {where}: more layers than the space has, the next is {rest[0]}"
        if index == len(self.stages):
            return f"it goes on after the space's last stage with {rest[0]}"
        offered = [
            layers
            for option in self.options(index, width)
            if option.stage and (layers := stage_layers(option.stage, width))
        ]
        if not rest:
            return f"it ends before {where}"
        for name in Layer._fields:
            values = {getattr(layers[0], name) for layers in offered}
            if getattr(rest[0], name) not in values:
                return (
                    f"{where}: {name} is {getattr(rest[0], name)!r}, "
                    f"the space has {_listed(tuple(sorted(values)))}"
                )
        count = 1 + sum(1 for _ in takewhile(lambda layer: _continues(rest[0], layer), rest[1:]))
        counts = {len(layers) for layers in offered if layers[:1] == rest[:1]}
        if counts and count not in counts:
            return f"{where}: layers is {count}, the space has {_listed(tuple(sorted(counts)))}"
        return f"{where}: the space does not have {rest[0]} and what follows together"

    def neighbours(self, choices: Choices) -> Iterator[dict[str, Value]]:
        """Yield all choices that differ from the given ones in exactly one place."""
        for name, values in self.choices.items():
            for value in values:
                if value != choices[name]:
                    yield {**choices, name: value}

    def options(self, index: int, in_width: int) -> tuple[Option, ...]:
        """Return every way to fill stage ``index`` (from 0) behind ``in_width`` channels.

        Ways that make the same layers are listed once, the first in the file's order.
        """
        return self._fill(index, in_width)[1]

    def filled(self, index: int, in_width: int) -> Mapping[tuple[Value, ...], Option]:
        """Return what each combination of the stage's choices makes, as one of ``options``."""
        return self._fill(index, in_width)[0]

    def _fill(self, index: int, in_width: int) -> _Fillings:
        cache: dict[tuple[int, int], _Fillings] = self._fillings
        found = cache.get((index, in_width))
        if found is None:
            space = self.stages[index]
            fields = space.values()
            options: dict[tuple[Any, int], Option] = {}
            filled: dict[tuple[Value, ...], Option] = {}
            for values in product(*fields.values()):
                chosen = dict(zip(fields, values, strict=True))
                stage, width = space.make(chosen, in_width)
                identity = (stage_layers(stage, in_width) if stage else None, width)
                if identity not in options:
                    named = tuple((f"stage{index + 1}.{k}", v) for k, v in chosen.items())
                    options[identity] = Option(named, stage, width)
                filled[values] = options[identity]
            found = cache[index, in_width] = (filled, tuple(options.values()))
        return found

    @cached_property
    def _fillings(self) -> dict[tuple[int, int], _Fillings]:
        return {}


_Fillings = tuple[dict[tuple[Value, ...], Option], tuple[Option, ...]]


def _continues(first: Layer, layer: Layer) -> bool:
    """Say whether ``layer`` may be a further layer of the stage that ``first`` is in."""
    return layer.stride == 1 and all(
        getattr(first, name) == getattr(layer, name)
        for name in ("op", "kernel", "expansion", "width")
    )


def _listed(values: tuple[Value, ...]) -> str:
    return ", ".join(repr(value) for value in values)
