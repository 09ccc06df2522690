"""Which networks of a space fit a budget: the cheapest, whether any does, and all of them.

Costs add up stage by stage, and what a stage costs depends on what came before it only through
its input width. So the cheapest ways to finish a network from any stage and width can be found
backwards, once; with them a network is filled forwards without ever running into a dead end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from nas.errors import InputError
from nas.networks.architecture import Layer, Stage, stage_layers
from nas.networks.cost import METRICS, head_cost, stage_cost, stem_cost
from nas.spaces.budget import LATENCY, Budget, amount
from nas.spaces.latency_table import milliseconds, style_of
from nas.spaces.search_space import Choices, Option, SearchSpace, Value

Vector = tuple[int, ...]

_NANOSECONDS = 1_000_000  # a millisecond


class Feasible:
    """The part of a space that is within a budget.

    Costs are whole numbers, latency in nanoseconds.

    Attributes:
        metrics: what a network costs here, in the order of :meth:`SpaceCosts.stage_parts`.
        costs: of the networks of the space, by resolution.

    Raises:
        InputError: there is a limit on latency, and nothing says what it is.
    """

    def __init__(self, space: SearchSpace, budget: Budget) -> None:
        self.space = space
        self.budget = budget
        if budget.latency_ms is not None and budget.latencies is None:
            raise InputError(f"budget {budget.name!r}: a limit on latency needs a latency table")
        self.metrics = METRICS if budget.latencies is None else (*METRICS, LATENCY)
        self._limit: Vector = tuple(
            _whole(metric, limit) for metric, limit in budget.limits.items()
        )
        self.costs = {
            pixels: SpaceCosts(space, budget, pixels, self.metrics, self._limit)
            for pixels in space.pixels
        }
        self._names = [
            [f"stage{index}.{name}" for name in stage.values()]
            for index, stage in enumerate(space.stages, 1)
        ]

    def check(self) -> None:
        """Raise :class:`InputError`, naming the cheapest network, if nothing fits the budget."""
        lowest = {metric: self.least(metric) for metric in self.budget.limits}
        for (metric, minimum), limit in zip(lowest.items(), self._limit, strict=True):
            if minimum > limit:
                raise InputError(
                    f"budget {self.budget.name!r}: no network of space {self.space.name!r} at "
                    f"{self._pixels()} px is within {said(metric, limit)}; the cheapest "
                    f"has {said(metric, minimum)}"
                    + (f" ({amount(minimum)})" if metric != LATENCY else "")
                )
        if not any(costs.fits(costs.start(), 0) for costs in self.costs.values()):
            least = ", ".join(said(metric, value) for metric, value in lowest.items())
            raise InputError(
                f"budget {self.budget.name!r}: each limit can be met, but no network of space "
                f"{self.space.name!r} at {self._pixels()} px meets them together; the "
                f"cheapest in each: {least}"
            )

    def least(self, metric: str = "flops") -> int:
        """Return the least of one metric that a network of the space costs, exactly."""
        only = Feasible(
            self.space, replace(Budget.of(metric, {metric: 1}), latencies=self.budget.latencies)
        )
        return min(
            min(costs.finish(0, self.space.stem.width))[0] + costs.start()[0]
            for costs in only.costs.values()
        )

    def _pixels(self) -> str:
        return " or ".join(map(str, self.space.pixels))

    def caps(self) -> dict[str, int]:
        """Return the limits by metric, latency in nanoseconds."""
        return dict(zip(self.budget.limits, self._limit, strict=True))

    def over(self, choices: Choices) -> dict[str, tuple[int, int]]:
        """Return the limits that choices exceed, by metric: what they cost, and the limit."""
        spent = self._settle(choices)[1]
        return {
            metric: (cost, limit)
            for metric, cost, limit in zip(self.budget.limits, spent, self._limit, strict=True)
            if cost > limit
        }

    def sample(self, rng: random.Random, tries: int = 64) -> dict[str, Value]:
        """Return choices within the budget.

        Uniform over the feasible choices wherever rejection finds one in ``tries`` draws; under
        tighter budgets a draw that is repaired, which always ends.

        Raises:
            InputError: no network of the space is within the budget.
        """
        for _ in range(tries):
            choices = self.space.sample(rng)
            if self.allows(choices):
                return choices
        return self.repair(self.space.sample(rng), rng)

    def allows(self, choices: Choices) -> bool:
        """Say whether choices of the space are within the budget, in microseconds."""
        return self._excess(choices) == 0

    def canonical(self, choices: Choices) -> dict[str, Value]:
        """Return the first choices, in the file's order, that fill each stage the same way.

        Choices that mean nothing for what else is chosen (the kernel of a skip) so become one.
        """
        return self._first(self.space.pixels_of(choices)) | {
            name: value for option in self._settle(choices)[0] for name, value in option.choices
        }

    def _first(self, pixels: int) -> dict[str, Value]:
        """Return the choice of a resolution, if it is one."""
        return {"resolution": pixels} if self.space.resolutions else {}

    def repair(self, choices: Choices, rng: random.Random) -> dict[str, Value]:
        """Return choices within the budget that differ from the given ones in few places.

        Changes that lower what is over the budget are made in an order drawn by ``rng`` until
        nothing is; those that turn out not to be needed are taken back.

        Raises:
            InputError: no network of the space is within the budget.
        """
        repaired = dict(choices)
        over = self._excess(repaired)
        while over > 0:
            moves = [
                (name, value)
                for name, values in self.space.choices.items()
                for value in values
                if value != repaired[name]
            ]
            rng.shuffle(moves)
            before = over
            for name, value in moves:
                kept, repaired[name] = repaired[name], value
                now = self._excess(repaired)
                if now < over:
                    over = now
                else:
                    repaired[name] = kept
                if over == 0:
                    break
            if over == before:  # several limits may leave no single change that lowers all
                self.check()
                return next(self.walk(rng))
        changed = [name for name, value in choices.items() if repaired[name] != value]
        rng.shuffle(changed)
        for name in changed:
            kept, repaired[name] = repaired[name], choices[name]
            if self._excess(repaired) > 0:
                repaired[name] = kept
        return repaired

    def __iter__(self) -> Iterator[dict[str, Value]]:
        """Yield choices of every network within the budget, in a fixed order; see :meth:`walk`."""
        return self.walk(None)

    def walk(self, rng: random.Random | None) -> Iterator[dict[str, Value]]:
        """Yield choices of every network within the budget, in an order drawn by ``rng``.

        Every network comes once, whatever choices make it. The work for the first ``n`` is bounded
        by ``n``, the layers and the stages: what several stages can share out among them in
        several ways is gone through once.
        """
        resolutions = list(self.space.pixels)
        if rng is not None:
            rng.shuffle(resolutions)
        for pixels in resolutions:
            yield from self._walk(rng, pixels)

    def _walk(self, rng: random.Random | None, pixels: int) -> Iterator[dict[str, Value]]:
        made: dict[tuple[int, Layer], int] = {}
        been: set[tuple[int, int]] = set()
        costs = self.costs[pixels]

        def fill(
            index: int, width: int, spent: Vector, so_far: int
        ) -> Iterator[tuple[Option, ...]]:
            if index == len(self.space.stages):
                yield ()
                return
            options = list(self.space.options(index, width))
            if rng is not None:
                rng.shuffle(options)
            for option in options:
                after = so_far
                for layer in stage_layers(option.stage, width) if option.stage else ():
                    after = made.setdefault((after, layer), len(made) + 1)
                if (index, after) in been:
                    continue
                been.add((index, after))
                total = _add(spent, costs.of(index, width, option.stage))
                if costs.fits(total, index + 1, option.width):
                    for rest in fill(index + 1, option.width, total, after):
                        yield (option, *rest)

        for options in fill(0, self.space.stem.width, costs.start(), 0):
            yield self._first(pixels) | {
                name: value for option in options for name, value in option.choices
            }

    def _settle(self, choices: Choices) -> tuple[list[Option], Vector]:
        """Return what choices make of each stage, and the cost of it all."""
        costs = self.costs[self.space.pixels_of(choices)]
        width, spent = self.space.stem.width, costs.start()
        options = []
        for index, names in enumerate(self._names):
            row = costs.filled.get((index, width)) or costs.fill(index, width)
            option, cost = row[tuple([choices[name] for name in names])]
            options.append(option)
            spent = _add(spent, cost)
            width = option.width
        return options, _add(spent, costs.finish(len(self._names), width)[0])

    def _excess(self, choices: Choices) -> float:
        """Return by how much choices exceed the limits, in parts of them, summed; 0: by nothing."""
        spent = self._settle(choices)[1]
        return sum(
            (cost - limit) / limit
            for cost, limit in zip(spent, self._limit, strict=True)
            if cost > limit
        )


class SpaceCosts:
    """What the networks of a space cost at one resolution, stage by stage.

    Args:
        space: the search space.
        budget: limits of the costs.
        pixels: the resolution.
        metrics: what a network costs.
        limit: on each metric of the budget.
    """

    def __init__(
        self,
        space: SearchSpace,
        budget: Budget,
        pixels: int,
        metrics: Sequence[str],
        limit: Vector,
    ) -> None:
        self._space = space
        self._table = budget.latencies
        self._style = style_of(space)
        self._pixels = pixels
        self._count = len(metrics)
        self._metrics = [metrics.index(metric) for metric in budget.limits]
        self._limit = limit
        self._sizes = [-(-pixels // space.stem.stride)]
        for stage in space.stages:
            self._sizes.append(-(-self._sizes[-1] // stage.stride))
        self._start: Vector | None = None
        self._ends: dict[tuple[int, int], tuple[Vector, ...]] = {}
        self.filled: dict[tuple[int, int], dict[tuple[Value, ...], tuple[Option, Vector]]] = {}
        """What :meth:`fill` has returned, by stage and width."""

    def stage_parts(self, index: int, in_width: int, stage: Stage | None) -> Vector:
        """Return what one way to fill stage ``index`` (from 0) costs, in every metric."""
        if stage is None:
            return (0,) * self._count
        size = self._sizes[index]
        parts: Vector = stage_cost(stage, in_width, size)
        if self._table is None:
            return parts
        return (*parts, self._table.stage(stage, in_width, size, self._style))

    def fixed_parts(self, width: int) -> Vector:
        """Return what the stem and a head behind ``width`` channels cost, in every metric."""
        return _add(self._stem_parts(), self._head_parts(width))

    def _stem_parts(self) -> Vector:
        empty = self._space.architecture(())
        parts: Vector = stem_cost(empty, self._pixels)
        return parts if self._table is None else (*parts, self._table.stem(empty, self._pixels))

    def _head_parts(self, width: int) -> Vector:
        empty, size = self._space.architecture(()), self._sizes[-1]
        parts: Vector = head_cost(empty, width, size)
        return parts if self._table is None else (*parts, self._table.head(empty, width, size))

    def fill(self, index: int, width: int) -> dict[tuple[Value, ...], tuple[Option, Vector]]:
        """Return what each combination of a stage's choices makes, and what that costs."""
        row = {
            values: (option, self.of(index, width, option.stage))
            for values, option in self._space.filled(index, width).items()
        }
        self.filled[index, width] = row
        return row

    def start(self) -> Vector:
        """Return what the stem costs, in the metrics of the budget."""
        if self._start is None:
            self._start = self._vector(self._stem_parts())
        return self._start

    def of(self, index: int, width: int, stage: Stage | None) -> Vector:
        """Return what one way to fill a stage costs, in the metrics of the budget."""
        return self._vector(self.stage_parts(index, width, stage))

    def _vector(self, parts: Vector) -> Vector:
        return tuple(parts[metric] for metric in self._metrics)

    def fits(self, spent: Vector, index: int, width: int | None = None) -> bool:
        """Say whether something that follows from a stage on is within the budget.

        Args:
            spent: by the stages before.
            index: of the stage, from 0.
            width: before it; None: that of the stem.
        """
        ends = self.finish(index, self._space.stem.width if width is None else width)
        return any(
            all(a + b <= limit for a, b, limit in zip(spent, end, self._limit, strict=True))
            for end in ends
        )

    def finish(self, index: int, width: int) -> tuple[Vector, ...]:
        """Return the cheapest costs of all that follows from a stage on: a Pareto front."""
        found = self._ends.get((index, width))
        if found is None:
            if index == len(self._space.stages):
                found = (self._vector(self._head_parts(width)),)
            else:
                found = _least(
                    {
                        _add(cost, end)
                        for option in self._space.options(index, width)
                        for cost in (self.of(index, width, option.stage),)
                        for end in self.finish(index + 1, option.width)
                    }
                )
            self._ends[index, width] = found
        return found


def said(metric: str, value: int) -> str:
    """Return a cost, or a limit on one, in words."""
    return f"{milliseconds(value)} latency" if metric == LATENCY else f"{value:,} {metric}"


def _whole(metric: str, limit: float) -> int:
    return int(limit * _NANOSECONDS) if metric == LATENCY else int(limit)


def _add(a: Vector, b: Vector) -> Vector:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _least(vectors: set[Vector]) -> tuple[Vector, ...]:
    """Return the vectors that no other one is below or equal to in every entry."""
    kept: list[Vector] = []
    for vector in sorted(vectors):
        if not any(all(a <= b for a, b in zip(other, vector, strict=True)) for other in kept):
            kept.append(vector)
    return tuple(kept)
