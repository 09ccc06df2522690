"""A benchmark table of one's own: random networks of a space, each trained alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nas.errors import InputError
from nas.evaluation.seeded_runs import MeasuredNetwork
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.seeding import derived_rng
from nas.spaces.budget import range_text
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace

TRIES = 2_000
"""Draws for each network that is wanted, before a band counts as empty."""


def draw_band(
    feasible: Feasible, flops: tuple[int, int], count: int, seed: int
) -> list[Architecture]:
    """Return different random networks within a band of FLOPs, both ends in it.

    Args:
        feasible: the space, within the band's upper end.
        flops: the band.
        count: how many.
        seed: decides which.

    Raises:
        InputError: so many were not found.
    """
    rng = derived_rng(seed, "benchmark")
    found: dict[str, Architecture] = {}
    for _ in range(TRIES * count):
        architecture = feasible.space.decode(feasible.sample(rng))
        if flops[0] <= measure_cost(architecture).flops <= flops[1]:
            found.setdefault(architecture.key(), architecture)
        if len(found) == count:
            return list(found.values())
    raise InputError(
        f"band {range_text(*flops)!r}: {len(found)} different networks of space "
        f"{feasible.space.name!r} were found in it, not {count}; take fewer or a wider band"
    )


def rows(
    networks: Sequence[Architecture], space: SearchSpace, measured: Sequence[MeasuredNetwork]
) -> list[dict[str, Any]]:
    """Return the rows of the table: one for each network and seed that was measured."""
    return [
        {
            "choices": space.encode(network),
            "accuracy": accuracy.mean,
            "loss": accuracy.loss,
            "seed": turn,
        }
        for network, found in zip(networks, measured, strict=True)
        for turn, accuracy in found.accuracies.items()
    ]


def to_lines(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as :func:`nas.proxies.benchmark_table.read_table` reads them."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
