"""Benchmark tables: architectures with their measured accuracies, a JSON object per line."""

from __future__ import annotations

import hashlib
import io
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from nas.errors import InputError
from nas.files import decoded, parse_json, read_bytes, validate
from nas.networks.architecture import Architecture
from nas.spaces.search_space import Choices, SearchSpace, Value

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024
MAX_LINES = 1_000_000
MAX_LINE = 1024 * 1024

Identity = tuple[object, ...]
"""What architectures that differ in name, input and classes only have in common."""

_Integer = Annotated[int, Field(strict=True)]
_Number = Annotated[float, Field(strict=True)]
_Word = Annotated[str, Field(strict=True)]


class _Line(BaseModel):
    """One line of the file; further keys are kept."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    choices: dict[str, _Integer | _Number | _Word]
    accuracy: Annotated[float, Field(strict=True, ge=0, le=1)]


_LINE: TypeAdapter[_Line] = TypeAdapter(_Line)


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        line: its number in the file, from 1.
        choices: of the architecture, as the file has them.
        accuracy: in [0, 1].
        more: the other keys of the line.
    """

    line: int
    choices: dict[str, Value]
    accuracy: float
    more: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A benchmark table.

    Attributes:
        path: the file.
        sha256: of its bytes.
        rows: its lines in their order, without blank ones.
    """

    path: Path
    sha256: str
    rows: tuple[Row, ...]

    def canonical(self, space: SearchSpace) -> list[dict[str, Value]]:
        """Return the choices of each row in the canonical form of its architecture in ``space``.

        Raises:
            InputError: a row is not of this space; names the file and the line.
        """
        return [space.encode(architecture) for architecture in self.architectures(space)]

    def measurements(self, space: SearchSpace) -> dict[Identity, list[float]]:
        """Return all accuracies of each architecture; see :meth:`canonical`."""
        found: dict[Identity, list[float]] = {}
        for row, architecture in zip(self.rows, self.architectures(space), strict=True):
            found.setdefault(identity(architecture, space), []).append(row.accuracy)
        return found

    def architectures(self, space: SearchSpace) -> list[Architecture]:
        """Return each row's architecture; see :meth:`canonical`."""
        return [self._decode(row, space) for row in self.rows]

    def _decode(self, row: Row, space: SearchSpace) -> Architecture:
        try:
            return space.decode(_with_values_of(space, row.choices))
        except InputError as error:
            raise InputError(
                f"{self.path}: line {row.line}: not of space {space.name!r}: {error}"
            ) from None


def read_table(path: Path | str) -> Table:
    """Return a benchmark table.

    Raises:
        InputError: the file cannot be read, or a line is not a row; names the line.
    """
    path = Path(path)
    content = read_bytes(path, MAX_BYTES)
    rows = []
    for number, line in enumerate(io.StringIO(decoded(content, str(path))), 1):
        where = f"{path}: line {number}"
        if number > MAX_LINES:
            raise InputError(f"{path}: more than {MAX_LINES:,} lines, refused")
        if len(line) > MAX_LINE:
            raise InputError(f"{where}: longer than {MAX_LINE >> 10} KiB, refused")
        if not line.strip():
            continue
        row = validate(_LINE, parse_json(line, where), where)
        rows.append(Row(number, row.choices, row.accuracy, dict(row.__pydantic_extra__ or {})))
    if not rows:
        raise InputError(f"{path}: holds no rows")
    logger.info("%s: %d rows read", path, len(rows))
    return Table(path, hashlib.sha256(content).hexdigest(), tuple(rows))


def identity(architecture: Architecture, space: SearchSpace) -> Identity:
    """Return what distinguishes the networks of a space, whatever their names, input and classes.

    The resolution does where the space has several.
    """
    return (
        architecture.resolution if space.resolutions else None,
        architecture.activation,
        architecture.padding,
        architecture.stem,
        architecture.layers(),
        architecture.head.width,
    )


def spread_of_repeats(measurements: Mapping[Identity, list[float]]) -> float | None:
    """Return the pooled standard deviation of repeated measurements; None if there are none."""
    squares, degrees_of_freedom = 0.0, 0
    for values in measurements.values():
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        degrees_of_freedom += len(values) - 1
    return math.sqrt(squares / degrees_of_freedom) if degrees_of_freedom else None


def _with_values_of(space: SearchSpace, choices: Choices) -> dict[str, Value]:
    """Return choices with the values of the space: writers of JSON mix up 0 and 0.0."""
    return {
        name: next((own for own in space.choices.get(name, ()) if own == value), value)
        for name, value in choices.items()
    }
