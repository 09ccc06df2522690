"""Seeds and random generators that depend on named parts and on nothing else."""

from __future__ import annotations

import hashlib
import random


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on all parts and nothing else."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def derived_rng(*parts: object) -> random.Random:
    """Return a random generator that depends on all parts and nothing else."""
    return random.Random(derived_seed(*parts))
