"""Which networks of a space fit a budget: the cheapest, whether any does, and all of them.

Costs add up stage by stage, and what a stage costs depends on what came before it only through
its input width. So the cheapest ways to finish a network from any stage and width can be found
backwards, once; with them a network is filled forwards without ever running into a dead end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from nas.architecture import Stage
from nas.budget import Budget, amount
from nas.cost import METRICS, Cost, Parts, head_cost, measure_cost, stage_cost, stem_cost
from nas.errors import InputError
from nas.space import Option, SearchSpace, Value

Vector = tuple[int, ...]


class Feasible:
    """The part of a space that is within a budget."""

    def __init__(self, space: SearchSpace, budget: Budget) -> None:
        self.space = space
        self.budget = budget
        self._metrics = [METRICS.index(metric) for metric in budget.limits]
        self._limit: Vector = tuple(budget.limits.values())
        self._sizes = self._stage_sizes()
        self._ends: dict[tuple[int, int], tuple[Vector, ...]] = {}

    def check(self) -> None:
        """Raise :class:`InputError`, naming the cheapest network, if nothing fits the budget."""
        lowest = {metric: getattr(self.cheapest(metric), metric) for metric in self.budget.limits}
        for metric, minimum in lowest.items():
            limit = self.budget.limits[metric]
            if minimum > limit:
                raise InputError(
                    f"budget {self.budget.name!r}: no network of space {self.space.name!r} at "
                    f"{self.space.resolution} px is within {limit:,} {metric}; "
                    f"the cheapest has {minimum:,} ({amount(minimum)})"
                )
        if not self._fits(self._start(), self._finish(0, self.space.stem.width)):
            least = ", ".join(f"{value:,} {metric}" for metric, value in lowest.items())
            raise InputError(
                f"budget {self.budget.name!r}: each limit can be met, but no network of space "
                f"{self.space.name!r} at {self.space.resolution} px meets them together; the "
                f"cheapest in each: {least}"
            )

    def cheapest(self, metric: str = "flops") -> Cost:
        """Return the cost of the network of the space with the least of one metric, exactly."""
        only = Feasible(self.space, Budget(metric, **{metric: 1}))  # type: ignore[arg-type]
        least = min(only._finish(0, self.space.stem.width))[0] + only._start()[0]
        exact = Feasible(self.space, Budget(metric, **{metric: least}))  # type: ignore[arg-type]
        return measure_cost(self.space.decode(next(iter(exact))))

    def sample(self, rng: random.Random, tries: int = 64) -> dict[str, Value]:
        """Return choices within the budget.

        Uniform over the feasible choices wherever rejection finds one in ``tries`` draws; under
        tighter budgets filled stage by stage with what can still be finished, which always ends.

        Raises:
            InputError: no network of the space is within the budget.
        """
        for _ in range(tries):
            choices = self.space.sample(rng)
            if self.budget.allows(measure_cost(self.space.decode(choices))):
                return choices
        self.check()
        return next(self.walk(rng))

    def __iter__(self) -> Iterator[dict[str, Value]]:
        """Yield choices of every network within the budget, in a fixed order; see :meth:`walk`."""
        return self.walk(None)

    def walk(self, rng: random.Random | None) -> Iterator[dict[str, Value]]:
        """Yield choices of every network within the budget, in an order drawn by ``rng``.

        No choices come twice, nor do ways to fill one stage that make the same layers. A network
        that several stages can share out among them in several ways comes once for each.
        """

        def fill(index: int, width: int, spent: Vector) -> Iterator[tuple[Option, ...]]:
            if index == len(self.space.stages):
                yield ()
                return
            options = list(self.space.options(index, width))
            if rng is not None:
                rng.shuffle(options)
            for option in options:
                total = _add(spent, self._cost(index, width, option.stage))
                if self._fits(total, self._finish(index + 1, option.width)):
                    for rest in fill(index + 1, option.width, total):
                        yield (option, *rest)

        for options in fill(0, self.space.stem.width, self._start()):
            yield {name: value for option in options for name, value in option.choices}

    def holds_at_least(self, count: int) -> bool:
        """Say whether at least ``count`` different networks are within the budget."""
        keys: set[str] = set()
        if count <= 0:
            return True
        for choices in self:
            keys.add(self.space.decode(choices).key())
            if len(keys) >= count:
                return True
        return False

    def _stage_sizes(self) -> list[int]:
        sizes = [-(-self.space.resolution // self.space.stem.stride)]
        for stage in self.space.stages:
            sizes.append(-(-sizes[-1] // stage.stride))
        return sizes

    def _start(self) -> Vector:
        return self._vector(stem_cost(self.space.architecture(()), self.space.resolution))

    def _cost(self, index: int, width: int, stage: Stage | None) -> Vector:
        if stage is None:
            return tuple(0 for _ in self._metrics)
        return self._vector(stage_cost(stage, width, self._sizes[index]))

    def _vector(self, parts: Parts) -> Vector:
        return tuple(parts[metric] for metric in self._metrics)

    def _fits(self, spent: Vector, ends: tuple[Vector, ...]) -> bool:
        return any(
            all(a + b <= limit for a, b, limit in zip(spent, end, self._limit, strict=True))
            for end in ends
        )

    def _finish(self, index: int, width: int) -> tuple[Vector, ...]:
        """Return the cheapest costs of all that follows stage ``index``: a Pareto front."""
        found = self._ends.get((index, width))
        if found is None:
            if index == len(self.space.stages):
                head = head_cost(self.space.architecture(()), width, self._sizes[index])
                found = (self._vector(head),)
            else:
                found = _least(
                    {
                        _add(cost, end)
                        for option in self.space.options(index, width)
                        for cost in (self._cost(index, width, option.stage),)
                        for end in self._finish(index + 1, option.width)
                    }
                )
            self._ends[index, width] = found
        return found


def _add(a: Vector, b: Vector) -> Vector:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _least(vectors: set[Vector]) -> tuple[Vector, ...]:
    """Return the vectors that no other one is below or equal to in every entry."""
    kept: list[Vector] = []
    for vector in sorted(vectors):
        if not any(all(a <= b for a, b in zip(other, vector, strict=True)) for other in kept):
            kept.append(vector)
    return tuple(kept)
