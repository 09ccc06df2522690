"""One architecture evaluated: what a search knows of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nas.accuracy import Accuracy
from nas.architecture import Architecture
from nas.cost import Cost
from nas.space import Value

State = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Trial:
    """An evaluated architecture.

    Attributes:
        number: its place in the order of proposals, from 0.
        choices: what the sampler proposed.
        architecture: what the choices make, at the space's resolution.
        cost: measured before anything was trained.
        state: ``stopped``: given up early because it was weak; ``failed``: see ``reason``.
        accuracy: None unless finished.
        score: what the objective makes of it, higher is better; None unless finished.
        steps: intermediate values, higher is better, by step.
        reason: why it failed, one line; empty otherwise.
        seconds: wall time of its evaluation.
        retries: so often it was begun again, since a worker or a node had died.
    """

    number: int
    choices: Mapping[str, Value]
    architecture: Architecture
    cost: Cost
    state: State
    accuracy: Accuracy | None = None
    score: float | None = None
    steps: tuple[tuple[int, float], ...] = ()
    reason: str = ""
    seconds: float = 0.0
    retries: int = 0


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on all parts and nothing else."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def derived_rng(*parts: object) -> random.Random:
    """Return a random generator that depends on all parts and nothing else."""
    return random.Random(derived_seed(*parts))
