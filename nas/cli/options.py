"""What options of several commands mean: durations, devices, how networks are trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import InputError, Interrupted


@dataclass(frozen=True)
class Training:
    """On what, how often, how long and where a command trains networks.

    Attributes:
        data: images; None: the built-in ones.
        seeds: trainings of each network.
        seed: of all draws, or the first.
        seconds: for all trainings; None: no limit.
        jobs: how many run at once; None: what suits the device.
        device: where.

    Raises:
        InputError: a number that means nothing, or a device that is not there.
    """

    data: str | None
    seeds: int
    seed: int = 0
    seconds: float | None = None
    jobs: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= 100:
            raise InputError(f"seeds: {self.seeds} is not accepted: 1 to 100")
        positive("jobs", self.jobs)
        check_device(self.device)


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


def check_device(device: str) -> str:
    """Return a device that this machine has.

    Raises:
        InputError: unknown, or not there.
    """
    if re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", device) is None:
        raise InputError(f"device {device!r} is not accepted: cpu, cuda, cuda:<n>, mps")
    if device != "cpu":
        import torch

        kind = device.split(":")[0]
        there: Any = torch.cuda.is_available() if kind == "cuda" else torch.mps.is_available()
        index = int(device.split(":")[1]) if ":" in device else 0
        if not there or (kind == "cuda" and index >= torch.cuda.device_count()):
            raise InputError(f"device {device!r}: this machine has none that torch can use")
    return device


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
