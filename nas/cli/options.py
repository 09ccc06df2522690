"""What options of several commands mean: durations, devices, how networks are trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nas.errors import InputError, Interrupted


@dataclass(frozen=True)
class Training:
    """Options of how a command trains networks; its settings say what they mean."""

    data: str | None
    seeds: int
    seed: int = 0
    seconds: float | None = None
    jobs: int | None = None
    device: str = "cpu"


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


@contextmanager
def kept(folder: Path | None) -> Iterator[None]:
    """Say, where the user interrupts what runs inside, that its folder keeps finished work."""
    try:
        yield
    except KeyboardInterrupt:
        if folder is None:
            raise
        raise Interrupted(
            "interrupted; finished work is saved: rerun the command to resume"
        ) from None
