"""What the values of options mean: durations and positive numbers."""

from __future__ import annotations

import re

from nas.environment import AUTO
from nas.errors import InputError
from nas.progress import Progress


def positive(name: str, value: int | None) -> int | None:
    """Return a number that was given, or None where none was.

    Raises:
        InputError: it is not positive.
    """
    if value is not None and value < 1:
        raise InputError(f"{name}: {value} is not accepted: at least 1")
    return value


def note_device(progress: Progress, asked: str | None, found: str) -> None:
    """Say which device was found where none was asked for, unless it is the CPU."""
    if asked in (None, AUTO) and found != "cpu":
        progress.note(f"device: {found}; --device cpu computes without it")


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
