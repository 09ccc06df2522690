"""Linear algebra in one thread, where matrices are so small that threads wait for each other.

And with one thread the last bits of a result do not depend on how many cores there are.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which numpy's linear algebra takes one thread."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    import numpy as np  # noqa: F401  (its library must be loaded to be found)

    return ThreadpoolController()
