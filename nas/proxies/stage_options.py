"""Choices of a search space as numbers: one option for each stage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.spaces.search_space import Choices, SearchSpace, StageSpace, Value

Options = npt.NDArray[np.integer[Any]]
"""Networks, one per row: which option of each stage they have (see :func:`stage_options`)."""


def stage_options(stage: StageSpace) -> list[dict[str, Value]]:
    """Return all combinations of the choices of one stage, in the order that they are numbered."""
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
    """Return the choices of one network, given its row of numbers."""
    return {
        f"stage{index}.{field}": value
        for index, (option, stage) in enumerate(zip(options, space.stages, strict=True), 1)
        for field, value in stage_options(stage)[int(option)].items()
    }
