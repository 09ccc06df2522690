"""What one would do without a search: take a trained network, smaller in one way."""

from __future__ import annotations

from dataclasses import replace

from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import scale
from nas.networks.cost import measure_cost
from nas.spaces.budget import Budget

LEAST_RESOLUTION = 32
"""Pixels of a network that is reduced to fewer."""

STEPS = 200
"""Factors of the width that are tried between 1 and 0."""


def reduced_sources(source: Architecture, budget: Budget) -> tuple[Architecture, ...]:
    """Return a network at the largest resolution within a budget, and as wide as it may be.

    A network that is within the budget as it is, is returned alone, and so is one that cannot meet
    it in either way. What cannot meet it in one of the two ways is left out.

    Args:
        source: the network.
        budget: limits of its cost; one on latency is not looked at.
    """
    if within_budget(source, budget):
        return (source,)
    found = []
    for pixels in range(source.resolution - source.resolution % 2, LEAST_RESOLUTION - 1, -2):
        smaller = replace(source, resolution=pixels, name=f"{source.name}-{pixels}px"[:200])
        if within_budget(smaller, budget):
            found.append(smaller)
            break
    for step in range(STEPS - 1, 0, -1):
        factor = step / STEPS
        try:
            narrow = scale(source, width=factor, name=f"{source.name}-width-{factor:g}"[:200])
        except InputError:
            break
        if within_budget(narrow, budget):
            found.append(narrow)
            break
    return tuple(found) or (source,)


def within_budget(network: Architecture, budget: Budget) -> bool:
    """Return whether a network costs no more than a budget allows; latency is not looked at."""
    cost = measure_cost(network)
    return all(getattr(cost, name, 0) <= limit for name, limit in budget.limits.items())
