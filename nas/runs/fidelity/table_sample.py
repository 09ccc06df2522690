"""Networks of a benchmark table, drawn at random: over all of it, and within bands of FLOPs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.cost import Cost, measure_cost
from nas.proxies.benchmark_table import Identity, Table, identity
from nas.seeding import derived_seed
from nas.spaces.budget import parse_range, range_text
from nas.spaces.search_space import SearchSpace

SAMPLES = 200
LEAST = 10
"""Fewer networks than these say nothing of a ranking."""


@dataclass(frozen=True)
class SampledNetwork:
    """A network of a benchmark table.

    Attributes:
        number: its place among the table's different networks, from 0.
        architecture: as the space makes it.
        cost: of that.
        accuracies: what the table says of it, a row each.
    """

    number: int
    architecture: Architecture
    cost: Cost
    accuracies: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """The mean of its rows."""
        return statistics.fmean(self.accuracies)


@dataclass(frozen=True)
class SampleGroup:
    """Networks that are ranked among themselves: of the whole table, or of a band of FLOPs.

    Attributes:
        flops: the band, both ends within it; None: all.
        networks: those drawn, in the order of the draw.
        available: how many the table has.
    """

    flops: tuple[int, int] | None
    networks: tuple[SampledNetwork, ...]
    available: int

    def __str__(self) -> str:
        """Return the band as it is written on the command line, or ``all``."""
        return "all" if self.flops is None else range_text(*self.flops)


@dataclass(frozen=True)
class TableSample:
    """The networks that a proxy is to rank: the first group of all, then one a band."""

    table: Table
    space: SearchSpace
    groups: tuple[SampleGroup, ...]
    seed: int

    @property
    def networks(self) -> list[SampledNetwork]:
        """Each network once, those that are first in some group first."""
        placed: dict[int, tuple[int, SampledNetwork]] = {}
        for group in self.groups:
            for place, network in enumerate(group.networks):
                known = placed.get(network.number, (place, network))
                placed[network.number] = (min(place, known[0]), network)
        return [placed[n][1] for n in sorted(placed, key=lambda n: (placed[n][0], n))]


def draw_networks(
    table: Table,
    space: SearchSpace,
    *,
    samples: int = SAMPLES,
    bands: Sequence[str] = (),
    seed: int = 0,
) -> TableSample:
    """Draw networks of a table, in all and in each band of FLOPs.

    All networks are put into one random order, which the seed alone decides, and each group takes
    its first. So a draw of more networks has those of a smaller one, a network that suits several
    groups is in all of them, and what is drawn does not depend on the order of the rows.

    Args:
        table: rows of ``space``; those of one network count as one, with their mean.
        space: what the rows are of. FLOPs are counted at its resolution and with its classes.
        samples: how many in each group; a group of fewer has all it has.
        bands: ranges of FLOPs such as ``300M-330M``.
        seed: of the order.

    Raises:
        InputError: a row is not of the space, a band is no range, or a group has too few networks.
    """
    if samples < LEAST:
        raise InputError(f"samples: {samples} is not accepted: at least {LEAST}")
    limits: list[tuple[int, int] | None] = [None, *map(parse_range, bands)]
    networks = _networks(table, space)
    networks.sort(key=lambda network: derived_seed(seed, "draw", network.architecture.key()))
    groups = []
    for flops in limits:
        within = [n for n in networks if flops is None or flops[0] <= n.cost.flops <= flops[1]]
        if len(within) < LEAST:
            where = f"{table.path}" if flops is None else f"band {range_text(*flops)!r}"
            raise InputError(
                f"{where}: {len(within)} different networks of the table are not enough: "
                f"at least {LEAST}"
            )
        groups.append(SampleGroup(flops, tuple(within[:samples]), len(within)))
    return TableSample(table, space, tuple(groups), seed)


def _networks(table: Table, space: SearchSpace) -> list[SampledNetwork]:
    found: dict[Identity, tuple[Architecture, list[float]]] = {}
    for row, architecture in zip(table.rows, table.architectures(space), strict=True):
        found.setdefault(identity(architecture, space), (architecture, []))[1].append(row.accuracy)
    return [
        SampledNetwork(
            number,
            architecture,
            measure_cost(architecture),
            tuple(values),
        )
        for number, (architecture, values) in enumerate(found.values())
    ]
