"""A family on a direction, whose members cost what they promise: b_k is 2**k times the baseline.

A dimension's multiplier alone cannot do that: layers are whole, widths are multiples of a divisor,
pixels are even. So each member is solved by itself: layers are shared out over the stages by
largest remainder, widths and pixels are rounded to the nearest, and among all networks near the
direction, single layers more in one stage included, the one is taken whose *realised* FLOPs are
nearest to the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from nas.errors import InputError
from nas.files import describe
from nas.networks.architecture import Architecture, Stage
from nas.networks.compound_scaling import DROPOUTS, Coefficients
from nas.networks.cost import measure_cost
from nas.networks.scaling_direction import Direction

MEMBERS = 8
"""Of a family: b0 … b7."""

SHARE_TOLERANCE = 0.05
"""How far a realised share of the growth may be from the nominal one, where such a network is."""

EQUAL_FLOPS = 0.005
"""Networks whose FLOPs are so near to each other, relative to the target, count as equally near:
the one with the nearest shares is taken."""

FLOPS_TOLERANCE = 0.05
"""Relative; no shares are worth a larger distance from the target."""

DIVISOR = 8
"""Widths are multiples of it, unless those of the baseline are not."""

_WINDOW = 1.3
"""Layers, widths and pixels are looked for up to this factor from those of the direction …"""

_CHOICES = 32
"""… and of each at most so many, the nearest."""

_MAX_LAYERS = 256
"""Of a stage; see :data:`nas.networks.architecture.Layers`."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ScaledMember:
    """A scaled network.

    Attributes:
        architecture: the network.
        doublings: what was asked for: 2**doublings times the FLOPs of the baseline.
        flops: that it really has.
        ratio: of its FLOPs to the baseline's.
        shares: of the growth in log FLOPs that depth, width and resolution have, each measured by
            the FLOPs of the baseline with that dimension alone as it is in this network; None
            where nothing has grown.
        on_direction: whether each share is within :data:`SHARE_TOLERANCE` of the nominal one.
    """

    architecture: Architecture
    doublings: float
    flops: int
    ratio: float
    shares: Direction | None
    on_direction: bool

    @property
    def deviation(self) -> float:
        """Its distance from the FLOPs that were asked for, relative to them."""
        return self.ratio / 2**self.doublings - 1

    def to_dict(self) -> dict[str, Any]:
        """Return what was asked for and what came of it, as files of the network state it."""
        shares = None if self.shares is None else self.shares.shares()
        return {
            "phi": self.doublings,
            "ratio": round(self.ratio, 6),
            "shares": None if shares is None else {k: round(v, 4) for k, v in shares.items()},
            "on_direction": self.on_direction,
        }


def family(
    baseline: Architecture, coefficients: Coefficients, members: int = MEMBERS
) -> list[Architecture]:
    """Return b0, b1, …: the baseline, and networks of 2, 4, 8, … times its FLOPs.

    Args:
        baseline: what is scaled.
        coefficients: read as a direction: only their proportions count.
        members: how many, b0 among them.

    Raises:
        InputError: FLOPs or parameters would not grow with each member, or a member would be larger
            than any architecture may be.
    """
    return [
        member.architecture
        for member in scaled_family(baseline, Direction.of(coefficients), members)
    ]


def scaled_family(
    baseline: Architecture, direction: Direction, members: int = MEMBERS
) -> list[ScaledMember]:
    """Return b0, b1, … as :func:`family` does, with what was asked of each and realised.

    No dimension shrinks from one member to the next.

    Raises:
        InputError: see :func:`family`.
    """
    if direction.depth == 0 and direction.width == 0:
        raise InputError(
            f"direction {direction}: parameters would not grow; accepted: some depth or width"
        )
    found = [_of(baseline, replace(baseline, name="b0"), 0.0, direction)]
    for number in range(1, members):
        found.append(
            scaled_member(
                baseline,
                direction,
                float(number),
                at_least=found[-1].architecture,
                name=f"b{number}",
            )
        )
    for smaller, larger in pairwise(found):
        less, more = (measure_cost(member.architecture) for member in (smaller, larger))
        if not (less.flops < more.flops and less.params < more.params):
            raise InputError(
                f"direction {direction}: FLOPs and parameters of {baseline.name} would not grow "
                f"from {smaller.architecture.name} to {larger.architecture.name}"
            )
    return found


def scaled_member(
    baseline: Architecture,
    direction: Direction,
    doublings: float,
    *,
    at_least: Architecture | None = None,
    within: bool = False,
    name: str | None = None,
) -> ScaledMember:
    """Return the network on a direction whose FLOPs are nearest to 2**doublings the baseline's.

    Args:
        baseline: what is scaled.
        direction: shares of the growth.
        doublings: how often the FLOPs are doubled; from 0.
        at_least: a smaller member of the family: no dimension becomes smaller than its, and layers
            or widths are more than its unless they do not grow at all.
        within: no network whose FLOPs exceed the target.
        name: of the result; None: says what was done.

    Where a stage would need more layers than it may have, widths and pixels grow in their place.

    Raises:
        InputError: the network would be larger than any architecture may be, or nothing is there
            within the target.
    """
    if not (math.isfinite(doublings) and 0 <= doublings <= 20):
        raise InputError(f"phi: {doublings} is not accepted: 0 to 20")
    title = name or f"{baseline.name[:150]}-phi{doublings:.4g}"
    found: ScaledMember | None = None
    for attempt in (direction, *_with_less_depth(direction)):
        grid = _Grid.around(baseline, attempt, doublings, at_least or baseline)
        place = grid.nearest(2.0**doublings, attempt, at_least, within)
        if place is not None:
            layers, widths, pixels = grid.at(place)
            network = _resized(baseline, layers, widths, pixels, doublings, title)
            member = _of(baseline, network, doublings, direction)
            if found is None or abs(member.deviation) < abs(found.deviation):
                found = member
            if abs(found.deviation) <= FLOPS_TOLERANCE or not grid.full_depth:
                return found
        elif not grid.full_depth:
            break
    if found is None:
        raise InputError(
            f"{baseline.name}: no network on direction {direction} has "
            f"{'at most ' if within else ''}{2**doublings:.4g} times its FLOPs"
        )
    return found


def _with_less_depth(direction: Direction) -> list[Direction]:
    """Return directions with ever less depth, for networks that have all layers they may have."""
    rest = direction.width + direction.resolution
    width = direction.width / rest if rest else 1.0
    steps = range(1, 40) if direction.depth else ()
    depths = [direction.depth * (1 - step / 40) for step in steps]
    return [Direction(one, (1 - one) * width, (1 - one) * (1 - width)) for one in depths]


def scaled_to_flops(
    baseline: Architecture, direction: Direction, flops: int, *, nearest: bool = False
) -> ScaledMember:
    """Return the network on a direction whose FLOPs are nearest to a limit, and within it.

    Args:
        baseline: what is scaled.
        direction: shares of the growth.
        flops: limit.
        nearest: take the network nearest to it instead, above or below.

    Raises:
        InputError: the baseline exceeds the limit, or the network would be larger than any
            architecture may be.
    """
    own = measure_cost(baseline).flops
    if own > flops:
        raise InputError(
            f"target-flops: {flops:,} is not accepted: {baseline.name} alone has {own:,}"
        )
    doublings = math.log2(flops / own)
    if doublings > 20:
        raise InputError(
            f"target-flops: {flops:,} is not accepted: more than {2**20:,} times {baseline.name}"
        )
    return scaled_member(baseline, direction, doublings, within=not nearest)


def _of(
    baseline: Architecture, network: Architecture, doublings: float, direction: Direction
) -> ScaledMember:
    """Return a network as a member, its FLOPs measured."""
    flops, own = measure_cost(network).flops, measure_cost(baseline).flops
    alone = (
        _resized(baseline, [s.layers for s in network.stages], _widths(baseline), None, 0, "x"),
        _resized(baseline, [s.layers for s in baseline.stages], _widths(network), None, 0, "x"),
        replace(baseline, resolution=network.resolution),
    )
    growths = [math.log(measure_cost(one).flops / own) for one in alone]
    if sum(growths) <= 0:
        return ScaledMember(network, doublings, flops, flops / own, None, doublings == 0)
    shares = Direction(*(growth / sum(growths) for growth in growths))
    gap = max(
        abs(have - want)
        for have, want in zip(shares.shares().values(), direction.shares().values(), strict=True)
    )
    return ScaledMember(
        network, doublings, flops, flops / own, shares, gap <= SHARE_TOLERANCE + 1e-9
    )


def _resized(
    baseline: Architecture,
    layers: Sequence[int],
    widths: Sequence[int],
    pixels: int | None,
    doublings: float,
    name: str,
) -> Architecture:
    """Return the baseline with other layers a stage, widths and pixels.

    The dropout of the head rises with the doublings as published for B0 … B7, never below the
    baseline's.
    """
    published = DROPOUTS[min(len(DROPOUTS) - 1, math.floor(doublings))]
    dropout = baseline.head.dropout if doublings == 0 else max(baseline.head.dropout, published)
    try:
        return replace(
            baseline,
            name=name,
            resolution=pixels or baseline.resolution,
            stem=replace(baseline.stem, width=widths[0]),
            stages=tuple(
                replace(stage, layers=count, width=width)
                for stage, count, width in zip(baseline.stages, layers, widths[1:-1], strict=True)
            ),
            head=replace(baseline.head, width=widths[-1], dropout=dropout),
        )
    except ValidationError as error:
        raise InputError(f"{baseline.name} scaled: {describe(error)}") from None


def _widths(architecture: Architecture) -> list[int]:
    """Return all widths: of the stem, the stages and the head."""
    return [
        architecture.stem.width,
        *(stage.width for stage in architecture.stages),
        architecture.head.width,
    ]


@dataclass(frozen=True)
class _Grid:
    """The networks near a point of the direction, and what each costs over the baseline.

    Attributes:
        layers: (depths, stages).
        widths: (widths, stages + 2).
        pixels: (resolutions,).
        ratios: (widths, resolutions, depths).
        full_depth: whether a stage would have needed more layers than it may have.
        alone: of each dimension, in the order depth, width, resolution: the ratios where it alone
            is changed, with the others as in the baseline.
    """

    layers: Ints
    widths: Ints
    pixels: Ints
    ratios: Floats
    full_depth: bool
    alone: tuple[Floats, Floats, Floats]

    @classmethod
    def around(
        cls,
        baseline: Architecture,
        direction: Direction,
        doublings: float,
        at_least: Architecture,
    ) -> _Grid:
        depth, width, resolution = direction.multipliers(doublings)
        own = np.array([[stage.layers for stage in baseline.stages]])
        wide, size = np.array([_widths(baseline)]), np.array([baseline.resolution])
        base = float(_flops(baseline, own, wide, size)[0, 0, 0])

        def by_depth(layers: Ints) -> Floats:
            return _flops(baseline, layers, wide, size)[0, 0, :] / base

        def by_width(widths: Ints) -> Floats:
            return _flops(baseline, own, widths, size)[:, 0, 0] / base

        def by_pixels(pixels: Ints) -> Floats:
            return _flops(baseline, own, wide, pixels)[0, :, 0] / base

        # Around where each dimension alone makes its share of the growth.
        layers = _depths(baseline, at_least, depth if direction.depth else None)
        layers = _nearest(layers, by_depth(layers), depth)
        layers = _with_one_more(baseline, layers) if direction.depth else layers
        allowed = (layers <= _MAX_LAYERS).all(1)
        full_depth, layers = not allowed.all(), layers[allowed]
        widths = _width_choices(baseline, at_least, width if direction.width else None)
        widths = _nearest(widths, by_width(widths), width**2)
        pixels = _pixel_choices(baseline, at_least, resolution if direction.resolution else None)
        pixels = _nearest(pixels, by_pixels(pixels), resolution**2)
        return cls(
            layers,
            widths,
            pixels,
            _flops(baseline, layers, widths, pixels) / base,
            full_depth,
            (by_depth(layers), by_width(widths), by_pixels(pixels)),
        )

    def nearest(
        self, target: float, direction: Direction, at_least: Architecture | None, within: bool
    ) -> tuple[int, int, int] | None:
        """Return the place of the network to take, (width, resolution, depth); None: there is none.

        Of those on the direction, the nearest to the target; where there is none within
        :data:`FLOPS_TOLERANCE`, of all of those within it the one nearest to the direction; and
        where there is none of these either, the nearest to the target.
        """
        growths = [np.log(one) for one in self.alone]
        depth = growths[0][None, None, :]
        width, size = growths[1][:, None, None], growths[2][None, :, None]
        whole = np.maximum(depth + width + size, 1e-12)
        gap = np.max(
            [
                np.abs(depth / whole - direction.depth),
                np.abs(width / whole - direction.width),
                np.abs(size / whole - direction.resolution),
            ],
            axis=0,
        )
        gap = np.where(depth + width + size <= 0, 0.0, gap)  # nothing grows, in any direction
        allowed = np.ones(self.ratios.shape, bool)
        if at_least is not None and (direction.depth or direction.width):
            own = [stage.layers for stage in at_least.stages]
            same = (self.layers == own).all(1)[None, None, :]
            narrow = (self.widths == _widths(at_least)).all(1)[:, None, None]
            allowed &= ~(same & narrow)
        if within:
            allowed &= self.ratios <= target * (1 + 1e-12)
        if not allowed.any():
            return None
        distance = np.where(allowed, np.abs(np.log(self.ratios / target)), np.inf)
        on_direction = allowed & (gap <= SHARE_TOLERANCE)
        close = np.log1p(FLOPS_TOLERANCE)
        for pool, by_gap in (
            (on_direction & (distance <= close), False),
            (allowed & (distance <= close), True),
            (allowed, False),
        ):
            if not pool.any():
                continue
            if by_gap:
                order = np.where(pool, gap + distance, np.inf)
            else:
                least = distance[pool].min()
                pool = pool & (distance <= max(least, EQUAL_FLOPS))
                order = np.where(pool, gap, np.inf)
            place = np.unravel_index(int(order.argmin()), order.shape)
            return int(place[0]), int(place[1]), int(place[2])
        return None

    def at(self, place: tuple[int, int, int]) -> tuple[list[int], list[int], int]:
        """Return layers, widths and pixels of a place."""
        width, size, depth = place
        return self.layers[depth].tolist(), self.widths[width].tolist(), int(self.pixels[size])


def _depths(baseline: Architecture, at_least: Architecture, multiplier: float | None) -> Ints:
    """Return layers by stage, (choices, stages), of at least those of another network.

    Every number of layers in all, shared out in proportion to the baseline's by largest remainder.
    A skip stays one layer.
    """
    least = np.array([stage.layers for stage in at_least.stages])
    own = np.array([stage.layers for stage in baseline.stages])
    grows = _growing(baseline)
    if multiplier is None or not grows.any():
        return least[None, :]
    total = int(own[grows].sum())
    first = max(int(least[grows].sum()), math.floor(total * multiplier / _WINDOW))
    last = max(first, math.ceil(total * multiplier * _WINDOW)) + 1
    found: dict[tuple[int, ...], None] = {tuple(least.tolist()): None}
    for count in range(first, last + 1):
        shared = least.copy()
        exact = own[grows] * count / total
        shared[grows] = np.maximum(least[grows], np.floor(exact).astype(np.int64))
        while shared[grows].sum() < count:
            short = np.where(grows, own * count / total - shared, -np.inf)
            shared[int(short.argmax())] += 1
        found[tuple(shared.tolist())] = None
    return np.array(list(found))


def _with_one_more(baseline: Architecture, layers: Ints) -> Ints:
    """Return layers by stage, and the same with one layer more in each stage in turn."""
    steps = np.eye(layers.shape[1], dtype=np.int64)[_growing(baseline)]
    more = (layers[:, None, :] + steps[None]).reshape(-1, layers.shape[1])
    return np.unique(np.concatenate([layers, more]), axis=0)


def _growing(baseline: Architecture) -> npt.NDArray[np.bool_]:
    """Return which stages can have more layers, (stages,)."""
    return np.array([stage.op != "skip" for stage in baseline.stages], bool)


def _width_choices(
    baseline: Architecture, at_least: Architecture, multiplier: float | None
) -> Ints:
    """Return widths, (choices, stem + stages + head), of at least those of another network."""
    own, least = np.array(_widths(baseline)), np.array(_widths(at_least))
    if multiplier is None:
        return least[None, :]
    divisor = math.gcd(DIVISOR, *own.tolist())
    found: dict[tuple[int, ...], None] = {tuple(least.tolist()): None}
    for factor in np.geomspace(max(1.0, multiplier / _WINDOW), multiplier * _WINDOW, 200):
        rounded = np.floor(own * factor / divisor + 0.5).astype(np.int64) * divisor
        found.setdefault(tuple(np.maximum(rounded, least).tolist()))
    return np.array(list(found))


def _pixel_choices(
    baseline: Architecture, at_least: Architecture, multiplier: float | None
) -> Ints:
    """Return pixels of a side, (choices,): even numbers, and those of another network."""
    least = at_least.resolution
    if multiplier is None:
        return np.array([least])
    first = max(least, baseline.resolution * multiplier / _WINDOW)
    even = np.arange(2 * math.ceil(first / 2), baseline.resolution * multiplier * _WINDOW + 2, 2)
    return np.unique(np.concatenate([[least], even]).astype(np.int64))


def _nearest(choices: Ints, ratios: Floats, target: float) -> Ints:
    """Return the :data:`_CHOICES` choices whose ratio is nearest to the target, in their order."""
    order = np.argsort(np.abs(np.log(ratios / target)), kind="stable")
    return choices[np.sort(order[:_CHOICES])]


def _flops(baseline: Architecture, layers: Ints, widths: Ints, pixels: Ints) -> Floats:
    """Return the FLOPs of every combination, (widths, resolutions, depths).

    They are multiply-adds of convolutions and of the classifier, as
    :func:`nas.networks.cost.measure_cost` counts them; a test holds the two equal. It is asked
    for the result only: fvcore would have to see thousands of blocks.
    """
    width = widths[:, :1].astype(float)
    size = np.ceil(pixels[None, :] / baseline.stem.stride)
    fixed = baseline.in_channels * width * baseline.stem.kernel**2 * size**2
    total = np.repeat(fixed[:, :, None], len(layers), axis=2)
    for number, stage in enumerate(baseline.stages):
        out = widths[:, number + 1 : number + 2].astype(float)
        after = np.ceil(size / stage.stride)
        first = _layer_flops(stage, width, out, size, after)
        repeat = _layer_flops(replace(stage, stride=1), out, out, after, after)
        if stage.op == "skip" and stage.stride == 1:
            first = np.where(width == out, 0.0, first)
        total += first[:, :, None] + repeat[:, :, None] * (layers[:, number] - 1)[None, None, :]
        width, size = out, after
    head = widths[:, -1:].astype(float)
    total += (width * head * size**2 + head * baseline.num_classes)[:, :, None]
    return total


def _layer_flops(stage: Stage, width: Floats, out: Floats, size: Floats, after: Floats) -> Floats:
    """Return the FLOPs of a layer, (widths, resolutions).

    Args:
        stage: says what the layer is.
        width: of its input, (widths, 1).
        out: of its output, (widths, 1).
        size: pixels of a side of its input, (1, resolutions).
        after: likewise of its output.
    """
    inner, area = width * stage.expansion, stage.kernel**2
    squeeze = np.maximum(1, np.floor(width * stage.se_ratio)) if stage.se_ratio else 0.0
    if stage.op == "skip":
        return width * out * after**2
    if stage.op == "fused_mbconv":
        if stage.expansion == 1:
            return width * out * area * after**2
        return (width * area + out) * inner * after**2 + 2 * inner * squeeze
    expand = width * inner * size**2 if stage.expansion > 1 else 0.0
    return expand + inner * (area + out) * after**2 + 2 * inner * squeeze
