"""A performance predictor: predicts the accuracy of any network of one search space.

It is a Gaussian process that was fitted to a benchmark table (``predictor_fit``) and kept in two
files (``predictor_file``). Predicting needs neither torch nor images.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from nas.environment import one_thread
from nas.errors import InputError
from nas.proxies.stage_options import Options, choices_of, options_of
from nas.spaces.search_space import Choices, SearchSpace, Value

Floats = npt.NDArray[np.floating[Any]]

_CHUNK = 250
"""So many networks are predicted at once, so that the kernel matrix fits the caches."""

_FEW = 16
"""So many networks or fewer are predicted in double precision."""


class HeldOutScores(BaseModel):
    """What a predictor reaches on rows that it was not fitted on: means over random splits.

    Attributes:
        kendall_tau: of predicted and measured accuracies; ``kendall_tau_splits``: of each split.
        rmse: root mean squared error; ``rmse_splits``: of each split.
        coverage_90: share of the rows that are within the predicted 90 % intervals.
        splits: how many.
        held_out: share of the rows that each split holds out.
    """

    model_config = ConfigDict(extra="forbid")
    kendall_tau: float
    kendall_tau_splits: list[float]
    rmse: float
    rmse_splits: list[float]
    coverage_90: float
    splits: int
    held_out: float


class Optimism(BaseModel):
    """By how much the best of many predictions is too high (see ``predictor_validation``).

    Attributes:
        mean: in accuracy.
        standard_deviation: from search to search.
        n: how many searches.
    """

    model_config = ConfigDict(extra="forbid")
    mean: Annotated[float, Field(ge=0)]
    standard_deviation: Annotated[float, Field(ge=0)]
    n: int


class PredictorMetadata(BaseModel):
    """Where a predictor comes from, and how accurate it is; kept beside its arrays.

    Attributes:
        metric: what it predicts, in words.
        data: what that was measured on.
        source: who measured it, and the licence.
        made_by: the version that fitted it.
        space: name of the search space; ``choices``: its choices.
        rows: different networks that it was fitted on; ``table_sha256``: of their table.
        method: how it was fitted, in words.
        scores: on held-out rows.
        optimism: of the best of many predictions.
        arrays_sha256: of the file with the arrays.
    """

    model_config = ConfigDict(extra="forbid")
    schema_: Annotated[Literal["nas-search-predictor/1"], Field(alias="schema")]
    metric: str
    data: str
    source: str
    made_by: str
    space: str
    choices: dict[str, list[int | float | str]]
    rows: int
    table_sha256: str
    method: str
    scores: HeldOutScores
    optimism: Optimism
    arrays_sha256: str


@dataclass(frozen=True)
class PredictorArrays:
    """The mean of a Gaussian process, ready to be evaluated, and its calibrated standard error.

    The features of a network are those of the options of its stages, side by side, and a few of
    the whole network. The prediction is
    ``offset + features @ linear + kernel(features, rows) @ weights``, with the kernel
    ``exp(-|(a - b) * scale|^2 / 2)``.

    Attributes:
        embeddings: for each stage, (options, features of a stage).
        sums: for each stage, (options, quantities): what adds up over a network, FLOPs first.
        constant: what stem and head add to each quantity.
        centre: subtracted from the logarithms of the sums.
        spread: by which these are divided then.
        scale: inverse length scale of each feature.
        linear: linear coefficient of each feature.
        offset: one number.
        rows: options of the networks that were measured.
        accuracy: what was measured of them.
        weights: of their kernel functions.
        levels: predictions, in rising order, at which ``errors`` is known.
        errors: standard errors, to be interpolated linearly between the levels.
    """

    embeddings: tuple[Floats, ...]
    sums: tuple[Floats, ...]
    constant: Floats
    centre: Floats
    spread: Floats
    scale: Floats
    linear: Floats
    offset: Floats
    rows: Options
    accuracy: Floats
    weights: Floats
    levels: Floats
    errors: Floats

    def totals(self, options: Options) -> Floats:
        """Return the sums over whole networks, (networks, quantities)."""
        parts = [table[options[:, stage]] for stage, table in enumerate(self.sums)]
        total: Floats = np.sum(parts, axis=0) + self.constant
        return total

    def features(self, options: Options) -> Floats:
        """Return (networks, features)."""
        stages = [table[options[:, stage]] for stage, table in enumerate(self.embeddings)]
        whole = (np.log(self.totals(options)) - self.centre) / self.spread
        return np.concatenate([*stages, whole], axis=1)

    def mean(self, options: Options) -> Floats:
        """Return predictions.

        A few networks are predicted in double precision, which agrees between machines to more
        digits than are shown; many in single precision, twice as fast and exact to 0.00001.
        """
        known = self._known
        precision: type[np.floating[Any]] = np.float32
        if len(options) <= _FEW:
            known, precision = self._known_exactly, np.float64
        weights = self.weights.astype(precision)
        result = np.empty(len(options))
        for start in range(0, len(options), _CHUNK):
            features = self.features(options[start : start + _CHUNK])
            here = self._scaled(features).astype(precision)
            # -|a - b|^2 / 2 = a·b - |a|^2/2 - |b|^2/2, as one product.
            squares = -0.5 * (here * here).sum(axis=1, keepdims=True)
            kernel = np.concatenate([here, squares, np.ones_like(squares)], axis=1) @ known
            np.exp(kernel, out=kernel)
            part = kernel @ weights + features @ self.linear + self.offset
            result[start : start + _CHUNK] = part
        return result

    def nearest(self, options: Options) -> npt.NDArray[np.intp]:
        """Return the indices of all rows, the nearest to one network first."""
        away = self._scaled(self.features(self.rows)) - self._scaled(self.features(options))
        return np.argsort((away * away).sum(axis=1), kind="stable")

    def _scaled(self, features: Floats) -> Floats:
        # Relative to the mean of the rows, since single precision is finest near 0.
        scaled: Floats = (features - self._middle) * self.scale
        return scaled

    @cached_property
    def _middle(self) -> Floats:
        middle: Floats = self.features(self.rows).mean(axis=0)
        return middle

    @cached_property
    def _known(self) -> Floats:
        return self._matrix(np.float32)

    @cached_property
    def _known_exactly(self) -> Floats:
        return self._matrix(np.float64)

    def _matrix(self, precision: type[np.floating[Any]]) -> Floats:
        rows = self._scaled(self.features(self.rows)).astype(precision)
        squares = -0.5 * (rows * rows).sum(axis=1, keepdims=True)
        both = np.concatenate([rows, np.ones_like(squares), squares], axis=1)
        return np.ascontiguousarray(both.T)

    def error(self, mean: Floats) -> Floats:
        """Return the standard errors of predictions."""
        return np.interp(mean, self.levels, self.errors)


class Predictor:
    """Predicts the accuracy of any network of one space.

    Args:
        metadata: where it comes from.
        arrays: its numbers.
        space: the space it was fitted for.

    Raises:
        InputError: the space has other choices.
    """

    def __init__(
        self, metadata: PredictorMetadata, arrays: PredictorArrays, space: SearchSpace
    ) -> None:
        choices = {name: list(values) for name, values in space.choices.items()}
        if choices != metadata.choices:
            raise InputError(
                f"predictor of {metadata.metric!r}: fitted for a space {metadata.space!r} of other "
                "choices than this one's; fit it again"
            )
        self.metadata = metadata
        self.arrays = arrays
        self.space = space

    def predict(self, choices: Sequence[Choices]) -> tuple[Floats, Floats]:
        """Return means and standard errors for many networks at once, in [0, 1].

        In 90 of 100 cases one training measures a value within 1.645 standard errors of the mean.
        """
        options = options_of(choices, self.space)
        with one_thread() if len(options) <= _FEW else nullcontext():
            mean = self.arrays.mean(options)
        return np.clip(mean, 0.0, 1.0), self.arrays.error(mean)

    def nearest(self, choices: Choices, count: int = 5) -> list[tuple[dict[str, Value], float]]:
        """Return the measured networks that are nearest in the features, the nearest first.

        Each comes with its choices and its accuracy, which was measured and not predicted.
        """
        arrays = self.arrays
        order = arrays.nearest(options_of([choices], self.space))[:count]
        return [
            (choices_of(arrays.rows[row], self.space), float(arrays.accuracy[row])) for row in order
        ]

    def was_fitted_on(self, choices: Choices) -> bool:
        """Return whether a network is among those that were measured."""
        return tuple(options_of([choices], self.space)[0].tolist()) in self._measured

    @cached_property
    def _measured(self) -> frozenset[tuple[int, ...]]:
        return frozenset(map(tuple, self.arrays.rows.tolist()))
