"""How two networks differ, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from nas.networks.architecture import Architecture, Stage
from nas.networks.cost import Parts, head_cost, stage_cost, stem_cost

FIELDS = ("op", "kernel", "stride", "expansion", "width", "layers", "se_ratio")


@dataclass(frozen=True)
class StagePart:
    """A part of a network and what it costs; the parts' costs add up to the network's.

    Attributes:
        name: ``stem``, ``stage1`` …, ``head``.
        stage: what it is; None for stem and head.
        cost: FLOPs, parameters and activations at the network's resolution.
    """

    name: str
    stage: Stage | None
    cost: Parts

    def to_dict(self) -> dict[str, Any]:
        """Return the part ready for JSON."""
        fields = {} if self.stage is None else asdict(self.stage)
        return {**fields, "flops": self.cost.flops, "params": self.cost.params}


def parts(architecture: Architecture) -> tuple[StagePart, ...]:
    """Return a network's parts, from the stem to the head."""
    return tuple(_parts(architecture))


def _parts(architecture: Architecture) -> Iterator[StagePart]:
    size, width = architecture.resolution, architecture.stem.width
    yield StagePart("stem", None, stem_cost(architecture, size))
    size = -(-size // architecture.stem.stride)
    for index, stage in enumerate(architecture.stages, 1):
        yield StagePart(f"stage{index}", stage, stage_cost(stage, width, size))
        size, width = -(-size // stage.stride), stage.width
    yield StagePart("head", None, head_cost(architecture, width, size))


@dataclass(frozen=True)
class PartDifference:
    """One part of two networks; ``fields`` names what differs, in the order of the format."""

    name: str
    first: StagePart
    second: StagePart
    fields: tuple[str, ...]


def differences(first: Architecture, second: Architecture) -> tuple[PartDifference, ...]:
    """Return every part of two networks of as many stages, beside each other.

    Raises:
        ValueError: one has more stages than the other.
    """
    return tuple(
        PartDifference(a.name, a, b, _fields(a.stage, b.stage))
        for a, b in zip(parts(first), parts(second), strict=True)
    )


def _fields(first: Stage | None, second: Stage | None) -> tuple[str, ...]:
    if first is None or second is None:
        return ()
    return tuple(name for name in FIELDS if getattr(first, name) != getattr(second, name))
