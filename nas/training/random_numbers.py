"""Random numbers of a training: PyTorch generators that depend on what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nas.seeding import derived_seed


def seeded_generator(*parts: object) -> torch.Generator:
    """Return a generator on the CPU that depends on all parts and nothing else."""
    return torch.Generator().manual_seed(derived_seed(*parts))


@contextmanager
def isolated_rng(device: str, seed: int | None = None) -> Iterator[None]:
    """Restore PyTorch's global random state, of the CPU and of a GPU, at the end of the block.

    Args:
        device: whose state is restored, besides that of the CPU.
        seed: what the global generators are seeded with in the block; None: they go on.
    """
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        if seed is not None:
            torch.manual_seed(seed)
        yield
