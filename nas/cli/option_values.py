"""What the values of options mean: durations and positive numbers."""

from __future__ import annotations

import re

from nas.errors import InputError


def positive(name: str, value: int | None) -> int | None:
    """Return a number that was given, or None where none was.

    Raises:
        InputError: it is not positive.
    """
    if value is not None and value < 1:
        raise InputError(f"{name}: {value} is not accepted: at least 1")
    return value


def duration(text: str | None) -> float | None:
    """Return seconds from ``90s``, ``10m``, ``1.5h``; None from None.

    Raises:
        InputError: not of that form.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise InputError(f"time {text!r} is not accepted: a number with s, m or h, such as 10m")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
