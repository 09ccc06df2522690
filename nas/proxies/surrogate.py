"""A predictor of accuracy: arrays in a file, numpy to read them, no training and no images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from nas.environment import one_thread
from nas.errors import InputError
from nas.files import parse_json, read_bytes, read_text, to_json, validate, write_bytes, write_text
from nas.spaces.search_space import Choices, SearchSpace, StageSpace, Value

Floats = npt.NDArray[np.floating[Any]]
Options = npt.NDArray[np.integer[Any]]
"""Networks, a row each: which option of each stage (see :func:`stage_options`)."""

MAX_ARRAY_BYTES = 64 * 1024 * 1024
_CHUNK = 250
_FEW = 16
"""So many networks or fewer are predicted in double precision."""


class Scores(BaseModel):
    """What a predictor reached on rows that it was not fitted on, means over random splits."""

    model_config = ConfigDict(extra="forbid")
    kendall_tau: float
    kendall_tau_splits: list[float]
    rmse: float
    rmse_splits: list[float]
    coverage_90: float
    splits: int
    held_out: float


class Optimism(BaseModel):
    """By how much the best of many predictions is too high; see ``nas.proxies.surrogate_fit``."""

    model_config = ConfigDict(extra="forbid")
    mean: Annotated[float, Field(ge=0)]
    standard_deviation: Annotated[float, Field(ge=0)]
    n: int


class About(BaseModel):
    """What stands beside the arrays: where they come from and what they are worth."""

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
    scores: Scores
    optimism: Optimism
    arrays_sha256: str


_ABOUT: TypeAdapter[About] = TypeAdapter(About)


@dataclass(frozen=True)
class Arrays:
    """A Gaussian process's mean, ready to be evaluated, and its calibrated error.

    A network's features are those of its stages' options, side by side, and a few of the whole.
    The prediction is ``offset + features @ linear + kernel(features, rows) @ weights``, with the
    kernel ``exp(-|(a - b) * scale|^2 / 2)``.

    Attributes:
        embeddings: a stage each, (options, features of a stage).
        sums: a stage each, (options, quantities): what adds up over a network; the first: FLOPs.
        constant: of each quantity, what stem and head add.
        centre: of the logarithms of the sums; taken away.
        spread: of them; divided by.
        scale: of each feature, an inverse length.
        linear: of each feature.
        offset: one number.
        rows: options of the networks that were measured.
        accuracy: of them.
        weights: of them.
        levels: predictions, rising, at which ``errors`` is known.
        errors: standard errors; between the levels along straight lines.
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

        Of a few networks in double precision, which is the same on every machine to more digits
        than anyone reads; of many in single precision, twice as fast and right to 0.00001.
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
        """Return the numbers of all rows, the nearest to one network first."""
        away = self._scaled(self.features(self.rows)) - self._scaled(self.features(options))
        return np.argsort((away * away).sum(axis=1), kind="stable")

    def _scaled(self, features: Floats) -> Floats:
        # About the middle of the rows: single precision is finest near 0.
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
        about: what it is.
        arrays: its numbers.
        space: the space it was fitted for.

    Raises:
        InputError: the space has other choices.
    """

    def __init__(self, about: About, arrays: Arrays, space: SearchSpace) -> None:
        choices = {name: list(values) for name, values in space.choices.items()}
        if choices != about.choices:
            raise InputError(
                f"predictor of {about.metric!r}: fitted for a space {about.space!r} of other "
                "choices than this one's; fit it again"
            )
        self.about = about
        self.arrays = arrays
        self.space = space

    def predict(self, choices: Sequence[Choices]) -> tuple[Floats, Floats]:
        """Return means and standard errors for many networks at once, in [0, 1].

        ``mean ± 1.645 × standard error`` holds what one training measures in 90 of 100 cases.
        """
        options = options_of(choices, self.space)
        with one_thread() if len(options) <= _FEW else nullcontext():
            mean = self.arrays.mean(options)
        return np.clip(mean, 0.0, 1.0), self.arrays.error(mean)

    def nearest(self, choices: Choices, count: int = 5) -> list[tuple[dict[str, Value], float]]:
        """Return the measured networks that are nearest as the predictor sees it, the first first.

        Each with its choices and its accuracy, which was measured and not predicted.
        """
        arrays = self.arrays
        order = arrays.nearest(options_of([choices], self.space))[:count]
        return [
            (choices_of(arrays.rows[row], self.space), float(arrays.accuracy[row])) for row in order
        ]

    def was_fitted_on(self, choices: Choices) -> bool:
        """Say whether a network is among those that were measured."""
        return tuple(options_of([choices], self.space)[0].tolist()) in self._measured

    @cached_property
    def _measured(self) -> frozenset[tuple[int, ...]]:
        return frozenset(map(tuple, self.arrays.rows.tolist()))


def stage_options(stage: StageSpace) -> list[dict[str, Value]]:
    """Return all ways to choose in one stage, in the order that :data:`Options` counts."""
    fields = stage.values()
    return [dict(zip(fields, values, strict=True)) for values in product(*fields.values())]


def options_of(choices: Sequence[Choices], space: SearchSpace) -> Options:
    """Return choices as numbers, (networks, stages)."""
    columns = []
    for index, stage in enumerate(space.stages, 1):
        column: Options = np.zeros(len(choices), dtype=np.int64)
        for field, values in stage.values().items():
            name, number = f"stage{index}.{field}", {value: i for i, value in enumerate(values)}
            chosen = np.array([number[one[name]] for one in choices], dtype=np.int64)
            column = column * len(values) + chosen
        columns.append(column)
    return np.stack(columns, axis=1)


def choices_of(options: Options, space: SearchSpace) -> dict[str, Value]:
    """Return one network's choices from its row of numbers."""
    return {
        f"stage{index}.{field}": value
        for index, (option, stage) in enumerate(zip(options, space.stages, strict=True), 1)
        for field, value in stage_options(stage)[int(option)].items()
    }


def write_predictor(predictor: Predictor, folder: Path, name: str) -> int:
    """Write ``<name>.safetensors`` and ``<name>.json``; return the size of both in bytes.

    Raises:
        InputError: the place cannot be written.
    """
    from safetensors.numpy import save

    arrays = predictor.arrays
    plain: dict[str, npt.NDArray[Any]] = {}
    for key in Arrays.__dataclass_fields__:
        value = getattr(arrays, key)
        if isinstance(value, tuple):
            plain |= {f"{key}.{i}": part.astype(np.float32) for i, part in enumerate(value)}
        elif key == "rows":
            plain[key] = value.astype(np.int32)
        else:
            plain[key] = value.astype(np.float64 if value.size < 1_000 else np.float32)
    packed = save({key: np.ascontiguousarray(value) for key, value in plain.items()})
    about = predictor.about.model_copy(
        update={"arrays_sha256": hashlib.sha256(packed).hexdigest()}
    ).model_dump(by_alias=True)
    write_bytes(folder / f"{name}.safetensors", packed)
    write_text(folder / f"{name}.json", to_json(about))
    return len(packed) + len(to_json(about).encode())


def read_predictor(folder: Path, name: str, space: SearchSpace) -> Predictor:
    """Return a predictor from its two files.

    Raises:
        InputError: they cannot be read, or are not a predictor's of this space.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path, packed = folder / f"{name}.json", folder / f"{name}.safetensors"
    about = validate(_ABOUT, parse_json(read_text(path), str(path)), str(path))
    content = read_bytes(packed, MAX_ARRAY_BYTES)
    if hashlib.sha256(content).hexdigest() != about.arrays_sha256:
        raise InputError(f"{packed}: does not match the SHA-256 in {path.name}")
    stages = range(len(space.stages))
    try:
        plain = load(content)
        parts: dict[str, Any] = {
            key: tuple(plain[f"{key}.{i}"] for i in stages)
            if key in ("embeddings", "sums")
            else plain[key]
            for key in Arrays.__dataclass_fields__
        }
        arrays = Arrays(**parts)
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{packed}: not a predictor's arrays: {error}") from None
    expected = [prod(map(len, stage.values().values())) for stage in space.stages]
    if [len(table) for table in arrays.embeddings] != expected:
        raise InputError(f"{packed}: not arrays for space {space.name!r}")
    return Predictor(about, arrays, space)
