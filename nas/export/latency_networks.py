"""Which networks are timed, so that every block of a space is measured."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from nas.networks.architecture import Architecture, Stage
from nas.seeding import derived_rng
from nas.spaces.latency_table import (
    head_key,
    keys,
    stage_keys,
    style_of,
)
from nas.spaces.search_space import SearchSpace

COVERS = 3
"""Every block is timed in about so many networks."""


def _others(space: SearchSpace, count: int, taken: set[str], seed: int) -> list[Architecture]:
    """Return random networks that are not taken, as far as a small space has such."""
    rng = derived_rng(seed, "latency check")
    found: list[Architecture] = []
    for spare in range(20 * count, 0, -1):
        network = space.decode(space.sample(rng))
        if network.key() not in taken or spare <= count - len(found):
            found.append(network)
        if len(found) == count:
            break
    return found


def covering(space: SearchSpace, known: set[str], seed: int = 0) -> list[Architecture]:
    """Return networks that together have every block of a space that is not known yet.

    Each is the one with the most that is missing; every block comes about ``COVERS`` times.
    """
    rng = derived_rng(seed, "latency")
    times = dict.fromkeys(known, COVERS)
    found: list[Architecture] = []
    for pixels in space.pixels:
        at = space.at_resolution(pixels)
        while True:
            gain, stages = _Way(at, times, rng).best(0, space.stem.width)
            network = at.architecture(stages)
            gain += _missing(keys(network)[:1], times)
            if gain == 0:
                break
            for key in keys(network):
                times[key] = times.get(key, 0) + 1
            found.append(network)
    return found


class _Way:
    """The network of a space with the most blocks that are missing, found backwards."""

    def __init__(self, space: SearchSpace, times: Mapping[str, int], rng: random.Random) -> None:
        self._space = space
        self._times = times
        self._rng = rng
        self._sizes = [-(-space.resolution // space.stem.stride)]
        for stage in space.stages:
            self._sizes.append(-(-self._sizes[-1] // stage.stride))
        self._ends: dict[tuple[int, int], tuple[float, tuple[Stage, ...]]] = {}

    def best(self, index: int, width: int) -> tuple[float, tuple[Stage, ...]]:
        """Return the most that stages from ``index`` on can add, and how they are filled."""
        known = self._ends.get((index, width))
        if known is not None:
            return known
        space, size = self._space, self._sizes[index]
        if index == len(space.stages):
            return _missing([head_key(space.architecture(()), width, size)], self._times), ()
        options = list(space.options(index, width))
        self._rng.shuffle(options)
        found: tuple[float, tuple[Stage, ...]] | None = None
        for option in options:
            gain, rest = self.best(index + 1, option.width)
            stage = () if option.stage is None else (option.stage,)
            for own in stage:
                gain += _missing(stage_keys(own, width, size, style_of(space)), self._times)
            if found is None or gain > found[0]:
                found = gain, (*stage, *rest)
        assert found is not None
        self._ends[index, width] = found
        return found


def _missing(names: Iterable[str], times: Mapping[str, int]) -> float:
    """Return how much is still missing of some blocks; what is not there at all counts most."""
    return sum(1 / (1 + times.get(name, 0)) ** 2 for name in names if times.get(name, 0) < COVERS)
