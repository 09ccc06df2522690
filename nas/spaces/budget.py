"""Budgets: limits on costs, and their parsing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from nas.errors import InputError
from nas.files import parse_toml, read_text, validate
from nas.networks.cost import METRICS, Cost
from nas.spaces.latency_table import LatencyTable

ACCEPTED = (
    f"terms joined by '+', each <number><K|M|G>-<{'|'.join(METRICS)}> or <number>ms-latency, "
    "for example 400M-flops or 400M-flops+15ms-latency"
)
LATENCY = "latency_ms"

_AMOUNT = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([KMG]?)"
_TERM = re.compile(rf"{_AMOUNT}-({'|'.join(METRICS)})")
_RANGE = re.compile(f"{_AMOUNT}-{_AMOUNT}")
_LATENCY_TERM = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)ms-latency")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_SYMBOLS = (("G", 10**9), ("M", 10**6), ("K", 10**3))


@dataclass(frozen=True)
class Budget:
    """Hard limits: nothing that a search returns exceeds one.

    Attributes:
        name: what the user called it; names the results folder.
        flops: multiply-adds (``nas.networks.cost.CONVENTION``), or None: not limited.
        params: trainable weights and biases, or None.
        activations: output elements of all convolutions, or None.
        description: free text.
        latency_ms: milliseconds on the device of ``latencies``, or None.
        latencies: what latency is: sums of this table. Needed where there is a limit on it, and
            networks are to be kept within it.
    """

    name: str
    flops: int | None = None
    params: int | None = None
    activations: int | None = None
    description: str = ""
    latency_ms: float | None = None
    latencies: LatencyTable | None = None

    @classmethod
    def of(cls, name: str, limits: Mapping[str, float]) -> Budget:
        """Return the budget of that name with limits by metric."""
        return cls(name, **cast(dict[str, Any], dict(limits)))

    def allows(self, cost: Cost) -> bool:
        """Say whether what is counted of a network is within every limit on it."""
        return all(
            getattr(cost, metric) <= limit
            for metric, limit in self.limits.items()
            if metric != LATENCY
        )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by metric: whole numbers, but for ``latency_ms``."""
        return {
            metric: getattr(self, metric)
            for metric in (*METRICS, LATENCY)
            if getattr(self, metric) is not None
        }

    def __str__(self) -> str:
        """Return the limits in the grammar of the command line, exactly."""
        return "+".join(
            f"{limit:.6f}".rstrip("0").rstrip(".") + "ms-latency"
            if metric == LATENCY
            else f"{_exact(int(limit))}-{metric}"
            for metric, limit in self.limits.items()
        )


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
    limits: dict[str, float] = {}
    for term in text.split("+"):
        latency = _LATENCY_TERM.fullmatch(term)
        match = _TERM.fullmatch(term)
        if latency is not None:
            metric, value = LATENCY, float(latency[1])
            least, at_least = 1e-6, "more than 0"
        elif match is not None:
            number, unit, metric = match.groups()
            value = _whole(number, unit)
            least, at_least = 1, "at least 1"
        else:
            raise InputError(f"budget {text!r}: {term!r} is not accepted: {ACCEPTED}")
        if value < least:
            raise InputError(f"budget {text!r}: {term!r} is not accepted: a limit is {at_least}")
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
    latency_ms: Annotated[float, Field(ge=1e-6, le=1e9, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _check(self) -> _LimitsFile:
        if self.flops is self.params is self.activations is self.latency_ms is None:
            raise ValueError("no limit is set; accepted: flops, params, activations, latency_ms")
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
    return Budget(
        path.stem,
        limits.flops,
        limits.params,
        limits.activations,
        file.description,
        limits.latency_ms,
    )
