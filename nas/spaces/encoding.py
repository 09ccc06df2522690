"""A space in numbers: networks as rows of value indices, with their costs and likenesses.

What a model-guided sampler needs of thousands of networks at once is here computed for all of them
together, by tables a stage: canonical forms, costs, neighbours, features.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Choices, Value

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


class Encoding:
    """A space in numbers: rows of value indices, what they cost, and how alike they are."""

    def __init__(self, feasible: Feasible) -> None:
        space = feasible.space
        self.space = space
        self.names = list(space.choices)
        self.values = list(space.choices.values())
        self.counts = np.array([len(values) for values in self.values], dtype=np.intp)
        self.metrics = feasible.metrics
        self.limits = _limits(feasible)
        self._stages: list[_StageEncoding] = []
        widths = [space.stem.width]
        first = 1 if space.resolutions else 0
        for index, stage in enumerate(space.stages):
            fields = list(stage.values().values())
            table = _StageEncoding(feasible, index, widths, first, fields)
            self._stages.append(table)
            first += len(fields)
            widths = table.widths
        self._fixed = np.array(
            [[costs.fixed_parts(width) for width in widths] for costs in feasible.costs.values()],
            dtype=np.float64,
        )
        self._hash = np.array(
            [random.Random(place).getrandbits(62) | 1 for place in range(len(self.names))],
            dtype=np.int64,
        )
        self.moves = np.array(
            [
                (place, value)
                for place, count in enumerate(self.counts)
                for value in range(1, count)
            ],
            dtype=np.intp,
        ).reshape(-1, 2)
        fields_of = [name.partition(".") for name in self.names]
        groups = list(dict.fromkeys([f for _, _, f in fields_of] + [s for s, _, _ in fields_of]))
        self.groups = np.array(
            [[group in (stage, name) for group in groups] for stage, _, name in fields_of],
            dtype=np.float64,
        ).reshape(len(self.names), len(groups))
        self._codes = [_code(values) for values in self.values]
        self._summing = self._summed()

    def _summed(self) -> list[Floats]:
        """Return, for each choice, what each of its values adds to the network's totals.

        A total is of one field over all stages: how far up its list a number stands, on average,
        or how often a label is chosen. What helps in one stage often does in the others too.
        """
        fields = [name.partition(".")[2] for name in self.names]
        totals: dict[tuple[str, Value | None], int] = {}
        for field_, values in zip(fields, self.values, strict=True):
            for value in values if isinstance(values[0], str) else (None,):
                totals.setdefault((field_, value), len(totals))
        adds = []
        for field_, values in zip(fields, self.values, strict=True):
            add = np.zeros((len(values), len(totals)))
            for place, value in enumerate(values):
                if isinstance(value, str):
                    add[place, totals[field_, value]] = 1.0 / fields.count(field_)
                else:
                    rank = sorted(values, key=float).index(value) / max(1, len(values) - 1)
                    add[place, totals[field_, None]] = rank / fields.count(field_)
            adds.append(add)
        return adds

    def totals(self, rows: Rows, costs: Floats) -> Floats:
        """Return what is said of a network as a whole: logarithms of costs, sums over stages."""
        logs = np.log(costs + 1)
        if not self._summing:
            return logs
        sums = sum(add[rows[:, place]] for place, add in enumerate(self._summing))
        return np.hstack([logs, sums])

    def row(self, choices: Choices) -> Rows:
        return np.array(
            [
                values.index(choices[name])
                for name, values in zip(self.names, self.values, strict=True)
            ],
            dtype=np.intp,
        )

    def choices(self, row: Rows) -> dict[str, Value]:
        return {
            name: values[place]
            for name, values, place in zip(self.names, self.values, row.tolist(), strict=True)
        }

    def settle(self, rows: Rows) -> tuple[Rows, Floats]:
        """Return the rows in canonical form, and the costs of each in every metric."""
        canonical = rows.copy()
        costs = np.zeros((len(rows), len(self.metrics)))
        widths = np.zeros(len(rows), dtype=np.intp)
        sizes = rows[:, 0] if self.space.resolutions else np.zeros(len(rows), dtype=np.intp)
        for stage in self._stages:
            widths = stage.settle(rows, sizes, widths, canonical, costs)
        return canonical, costs + self._fixed[sizes, widths]

    def allowed(self, costs: Floats) -> NDArray[np.bool_]:
        within: NDArray[np.bool_] = np.all(costs <= self.limits, axis=1)
        return within

    def hashes(self, rows: Rows) -> NDArray[np.int64]:
        """Return a number a row that other rows do not have (but by a chance of 2^-64)."""
        with np.errstate(over="ignore"):
            found: NDArray[np.int64] = ((rows.astype(np.int64) + 1) * self._hash).sum(axis=1)
        return found

    def features(self, rows: Rows, weights: Floats) -> Floats:
        """Return vectors whose products are similarities in [0, 1], weighted by choice."""
        return np.hstack(
            [np.zeros((len(rows), 1))]
            + [
                code[rows[:, place]] * np.sqrt(weights[place])
                for place, code in enumerate(self._codes)
            ]
        )

    def neighbours(self, rows: Rows) -> Rows:
        """Return all rows that differ in one place from one of ``rows``."""
        near = np.repeat(rows[:, None, :], len(self.moves), axis=1)
        places = np.arange(len(self.moves))
        where = self.moves[:, 0]
        near[:, places, where] = (near[:, places, where] + self.moves[:, 1]) % self.counts[where]
        return near.reshape(len(rows) * len(self.moves), rows.shape[1])


class _StageEncoding:
    """One stage: for every width before it and every combination, the costs and the width after.

    Costs are by resolution, too.
    """

    def __init__(
        self,
        feasible: Feasible,
        index: int,
        before: Sequence[int],
        first: int,
        fields: Sequence[tuple[Value, ...]],
    ) -> None:
        counts = [len(values) for values in fields]
        self.columns = slice(first, first + len(fields))
        self.strides = np.array(
            [int(np.prod(counts[place + 1 :])) for place in range(len(counts))], dtype=np.intp
        )
        rows = {values: row for row, values in enumerate(product(*fields))}
        places = np.array(list(product(*map(range, counts))), dtype=np.intp)
        self.widths: list[int] = []
        shape = (len(before), len(rows))
        resolutions = list(feasible.costs.values())
        self.costs = np.zeros((len(resolutions), *shape, len(feasible.metrics)))
        self.after = np.zeros(shape, dtype=np.intp)
        self.canonical = np.zeros((*shape, len(fields)), dtype=np.intp)
        known: dict[int, tuple[list[tuple[int, ...]], int, int]] = {}
        for column, width in enumerate(before):
            known.clear()
            for values, option in feasible.space.filled(index, width).items():
                found = known.get(id(option))
                if found is None:
                    if option.width not in self.widths:
                        self.widths.append(option.width)
                    found = known[id(option)] = (
                        [one.stage_parts(index, width, option.stage) for one in resolutions],
                        self.widths.index(option.width),
                        rows[tuple(value for _, value in option.choices)],
                    )
                row = rows[values]
                self.costs[:, column, row] = found[0]
                self.after[column, row] = found[1]
                self.canonical[column, row] = places[found[2]]

    def settle(self, rows: Rows, sizes: Rows, widths: Rows, canonical: Rows, costs: Floats) -> Rows:
        """Add this stage's costs, make its choices canonical; return the widths after it."""
        code = rows[:, self.columns] @ self.strides
        costs += self.costs[sizes, widths, code]
        canonical[:, self.columns] = self.canonical[widths, code]
        after: Rows = self.after[widths, code]
        return after


def _limits(feasible: Feasible) -> Floats:
    caps = feasible.caps()
    return np.array([caps.get(metric, np.inf) for metric in feasible.metrics])


def _code(values: Sequence[Value]) -> Floats:
    """Return a vector a value: products are 1 for the same value, less the further apart.

    Numbers are alike by half for being equal and by half for being near in rank; labels are equal
    or not.
    """
    count = len(values)
    same = np.eye(count)
    if count < 2 or any(isinstance(value, str) for value in values):
        return same
    rank = np.argsort(np.argsort(np.array(values, dtype=np.float64)))
    above = (rank[:, None] > np.arange(count - 1)).astype(np.float64)
    near = np.hstack([above, 1 - above]) / np.sqrt(count - 1)
    code: Floats = np.hstack([same, near]) / np.sqrt(2)
    return code
