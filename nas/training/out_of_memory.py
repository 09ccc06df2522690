"""Out of memory: told in a line that says what needs less of it, on every device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nas.errors import OutOfMemory

# PyTorch has a class for GPUs only; on the CPU its allocator, oneDNN and C++ say it in words.
_WORDS = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|bad_alloc"
    r"|could not (create|execute) a primitive",
    re.IGNORECASE,
)


@contextmanager
def out_of_memory_told(device: str, batch_size: int, resolution: int) -> Iterator[None]:
    """Within it, memory that does not suffice raises :class:`nas.errors.OutOfMemory`.

    Args:
        device: that torch computes on.
        batch_size: images a batch.
        resolution: pixels a side.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"{device}: out of memory with batches of {batch_size} images of {resolution} px: "
            "a smaller --batch-size or --resolution needs less"
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory does not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None
    )
