"""Threads that compute with PyTorch at once, each on its own cores."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 * 1024 * 1024


class Map(Protocol):
    """Applies a function to each item, perhaps in several threads; results keep their order."""

    def __call__(self, function: Callable[[A], B], items: Sequence[A], /) -> list[B]:
        """Return the results."""
        ...


def in_order(function: Callable[[A], B], items: Sequence[A], /) -> list[B]:
    """Apply a function to one item after the other."""
    return [function(item) for item in items]


@contextmanager
def compute_threads(device: str, count: int) -> Iterator[Map]:
    """Provide at most ``count`` threads on a CPU, and the calling thread alone elsewhere.

    Each has an equal share of the cores, so that up to ``count`` cores a thread computes on one
    and what it computes does not depend on how many cores there are.

    Args:
        device: where is computed; a GPU computes in parallel by itself.
        count: how many items there will be at once.

    Yields:
        What applies a function to items in these threads.
    """
    cores = torch.get_num_threads()
    threads = min(cores, count)
    if device != "cpu":
        yield in_order
        return
    keep_freed_memory()
    each = max(1, cores // count)
    torch.set_num_threads(each)
    try:
        if threads == 1:
            yield in_order
            return
        with ThreadPoolExecutor(
            threads, "compute", initializer=torch.set_num_threads, initargs=(each,)
        ) as pool:
            yield lambda function, items: list(pool.map(function, items))
    finally:
        torch.set_num_threads(cores)


def keep_freed_memory() -> None:
    """Tell the C library not to return freed memory to the system, where it is GNU's.

    A training frees all its activations in each step; to return them costs thousands of page
    faults a step, about 8 % of the time (`benchmarks/shards.py`).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
