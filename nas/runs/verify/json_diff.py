"""What is written against what is computed: where they differ, and how that is told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-9
"""Relative, of numbers with a fraction: their last digits depend on the machine's arithmetic."""

NEARLY_ZERO = 1e-12
"""Differences of accuracies below this are the same: what is left where equal ones cancel."""

NOTHING = "nothing"


@dataclass(frozen=True)
class JsonDifference:
    """Where a folder says something else than what was computed.

    Attributes:
        file: in the folder.
        key: in the file, entries of lists counted from 1; empty: the file as a whole.
        written: what stands there, as text.
        computed: what should.
    """

    file: str
    key: str
    written: str
    computed: str

    def to_dict(self) -> dict[str, str]:
        """Return it as plain data."""
        return {
            "file": self.file,
            "key": self.key,
            "written": self.written,
            "computed": self.computed,
        }


def differing(file: str, written: Any, computed: Any, key: str = "") -> Iterator[JsonDifference]:
    """Yield where two values of JSON differ: exact, but for numbers with a fraction."""
    written, computed = (list(v) if isinstance(v, tuple) else v for v in (written, computed))
    if isinstance(written, dict) and isinstance(computed, dict):
        for name in (*computed, *(name for name in written if name not in computed)):
            where = f"{key}.{name}" if key else str(name)
            if name not in written:
                yield JsonDifference(file, where, NOTHING, text(computed[name]))
            elif name not in computed:
                yield JsonDifference(file, where, text(written[name]), NOTHING)
            else:
                yield from differing(file, written[name], computed[name], where)
    elif isinstance(written, list) and isinstance(computed, list):
        if len(written) != len(computed):
            counts = (f"{len(one)} entries" for one in (written, computed))
            yield JsonDifference(file, key, *counts)
        for index, (one, other) in enumerate(zip(written, computed, strict=False), 1):
            yield from differing(file, one, other, f"{key}{index}")
    elif not _same(written, computed):
        yield JsonDifference(file, key, text(written), text(computed))


def counted(file: str, data: Any, key: str = "") -> Iterator[JsonDifference]:
    """Yield where an accuracy, anywhere in a document, is not of as many trainings as seeds."""
    if isinstance(data, dict):
        seeds = data.get("seeds")
        if isinstance(seeds, list) and seeds and "n" in data:
            yield from differing(file, data["n"], len(seeds), f"{key}.n" if key else "n")
        for name, value in data.items():
            yield from counted(file, value, f"{key}.{name}" if key else str(name))
    elif isinstance(data, list):
        for index, value in enumerate(data, 1):
            yield from counted(file, value, f"{key}{index}")


def _same(written: Any, computed: Any) -> bool:
    numbers = [type(value) in (int, float) for value in (written, computed)]
    if all(numbers) and float in (type(written), type(computed)):
        return math.isclose(written, computed, rel_tol=TOLERANCE, abs_tol=NEARLY_ZERO)
    return type(written) is type(computed) and bool(written == computed)


def text(value: Any) -> str:
    """Return a value of JSON on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
