"""This machine: how much memory it has, and where what may be lost is kept."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""A container's, in the second and the first version of control groups."""


def cache_folder() -> Path:
    """Return where caches lie: ``NAS_SEARCH_CACHE``, or the user's own place for such."""
    return Path(os.environ.get("NAS_SEARCH_CACHE") or user_cache_path("nas-search"))


def memory() -> int | None:
    """Return the bytes of memory of this machine, or of this container; None: not known."""
    if not hasattr(os, "sysconf"):
        return None
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _LIMITS:
        try:
            found = min(found, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return found
