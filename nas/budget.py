"""Budgets: limits on costs, and their parsing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from nas.cost import METRICS, Cost
from nas.errors import InputError
from nas.files import parse_toml, read_text, validate

ACCEPTED = (
    "terms joined by '+', each <number><K|M|G>-<flops|params|activations>, "
    "for example 400M-flops or 400M-flops+5.5M-params"
)
LATENCY_LATER = (
    "latency is not a limit that this version can measure; use flops, params or activations"
)

_AMOUNT = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([KMG]?)"
_TERM = re.compile(rf"{_AMOUNT}-(flops|params|activations)")
_RANGE = re.compile(f"{_AMOUNT}-{_AMOUNT}")
_LATENCY_TERM = re.compile(r"[0-9]+(?:\.[0-9]+)?ms-latency")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_SYMBOLS = (("G", 10**9), ("M", 10**6), ("K", 10**3))


@dataclass(frozen=True)
class Budget:
    """Hard limits: nothing that a search returns exceeds one.

    Attributes:
        name: what the user called it; names the results folder.
        flops: multiply-adds (``nas.cost.CONVENTION``), or None: not limited.
        params: trainable weights and biases, or None.
        activations: output elements of all convolutions, or None.
        description: free text.
    """

    name: str
    flops: int | None = None
    params: int | None = None
    activations: int | None = None
    description: str = ""

    @classmethod
    def of(cls, name: str, limits: Mapping[str, int]) -> Budget:
        """Return the budget of that name with limits by metric."""
        return cls(name, limits.get("flops"), limits.get("params"), limits.get("activations"))

    def allows(self, cost: Cost) -> bool:
        """Say whether a network of this cost is within every limit."""
        return all(getattr(cost, metric) <= limit for metric, limit in self.limits.items())

    @property
    def limits(self) -> dict[str, int]:
        """The limits that are set, by metric."""
        return {
            metric: getattr(self, metric) for metric in METRICS if getattr(self, metric) is not None
        }

    def __str__(self) -> str:
        """Return the limits in the grammar of the command line, exactly."""
        return "+".join(f"{_exact(limit)}-{metric}" for metric, limit in self.limits.items())


def amount(value: float) -> str:
    """Return a number rounded to three digits, with K, M or G: 400M, 1.23G."""
    rounded = float(f"{value:.3g}")
    for symbol, unit in _SYMBOLS:
        if rounded >= unit:
            scaled = rounded / unit
            return (f"{scaled:.0f}" if scaled >= 100 else f"{scaled:.3g}") + symbol
    return f"{rounded:g}"


def _exact(value: int) -> str:
    """Return a whole number with K, M or G, all its digits kept: 385.814752M."""
    for symbol, unit in _SYMBOLS:
        if value >= unit:
            text = f"{value // unit}.{value % unit:0{len(str(unit)) - 1}}"
            return text.rstrip("0").rstrip(".") + symbol
    return str(value)


def parse_budget(text: str) -> Budget:
    """Return the budget that a text such as ``400M-flops+5.5M-params`` names.

    Raises:
        InputError: the text is not of that form; says what is accepted.
    """
    limits: dict[str, int] = {}
    for term in text.split("+"):
        if _LATENCY_TERM.fullmatch(term):
            raise InputError(f"budget {text!r}: {term!r}: {LATENCY_LATER}")
        match = _TERM.fullmatch(term)
        if match is None:
            raise InputError(f"budget {text!r}: {term!r} is not accepted: {ACCEPTED}")
        number, unit, metric = match.groups()
        value = _whole(number, unit)
        if value < 1:
            raise InputError(f"budget {text!r}: {term!r} is not accepted: a limit is at least 1")
        if metric in limits:
            raise InputError(f"budget {text!r}: {metric} is limited twice")
        limits[metric] = value
    return Budget.of(text, limits)


def parse_range(text: str) -> tuple[int, int]:
    """Return the lowest and the highest FLOPs of a range such as ``300M-330M``, both within it.

    Raises:
        InputError: the text is not of that form, or the range is empty.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise InputError(f"band {text!r} is not accepted: LOW-HIGH in FLOPs, such as 300M-330M")
    low, high = _whole(match[1], match[2]), _whole(match[3], match[4])
    if low >= high:
        raise InputError(f"band {text!r} is not accepted: the first must be less than the second")
    return low, high


def range_text(low: int, high: int) -> str:
    """Return a range as :func:`parse_range` reads it, exactly."""
    return f"{_exact(low)}-{_exact(high)}"


def _whole(number: str, unit: str) -> int:
    return int(Decimal(number) * _UNITS[unit])


_Limit = Annotated[int, Field(ge=1, le=10**18)]


class _LimitsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    flops: _Limit | None = None
    params: _Limit | None = None
    activations: _Limit | None = None
    latency_ms: Any = None

    @model_validator(mode="after")
    def _check(self) -> _LimitsFile:
        if self.latency_ms is not None:
            raise ValueError(f"latency_ms: {LATENCY_LATER}")
        if self.flops is self.params is self.activations is None:
            raise ValueError("no limit is set; accepted: flops, params, activations")
        return self


class _BudgetFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    schema_: Annotated[Literal["nas-search-budget/1"], Field(alias="schema")]
    description: str = ""
    limits: _LimitsFile


_ADAPTER: TypeAdapter[_BudgetFile] = TypeAdapter(_BudgetFile)


def read_budget(path: Path) -> Budget:
    """Return the budget of a TOML file, named after the file.

    Raises:
        InputError: the file cannot be read or is not a budget.
    """
    file = validate(_ADAPTER, parse_toml(read_text(path), str(path)), str(path))
    limits = file.limits
    return Budget(path.stem, limits.flops, limits.params, limits.activations, file.description)
