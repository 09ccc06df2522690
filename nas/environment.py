"""This machine: its memory and devices, its versions, and where caches are kept."""

from __future__ import annotations

import importlib
import math
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from threadpoolctl import ThreadpoolController

from nas._version import __version__
from nas.errors import InputError

_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""A container's, in the second and the first version of control groups."""

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cache_folder() -> Path:
    """Return where caches lie: ``NAS_SEARCH_CACHE``, or the user's own place for such.

    A user without a home has it among the temporary files.
    """
    given = os.environ.get("NAS_SEARCH_CACHE")
    if given:
        return Path(given)
    found = user_cache_path("nas-search")
    if found.is_absolute():
        return found
    own = Path(tempfile.gettempdir()) / f"nas-search-{os.getuid()}"
    with suppress(OSError):
        own.mkdir(mode=0o700)
    # Others may write where temporary files are: theirs is not used.
    mine = not own.is_symlink() and own.is_dir() and own.stat().st_uid == os.getuid()
    return own if mine else Path(tempfile.mkdtemp(prefix="nas-search-"))


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


def available_cores() -> int:
    """Return how many processors this process may use at once, at least 1.

    Those that it is bound to, and no more than the CPU quota of its control groups (a container's,
    in the second and the first version) pays for, rounded up.
    """
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    else:
        found = os.cpu_count() or 1
    quotas = [quota for folder in _cpu_groups() if (quota := _cpu_quota(folder)) is not None]
    return max(1, min(found, *(math.ceil(quota - 1e-6) for quota in quotas), found))


def _cpu_groups() -> Iterator[Path]:
    """Yield the control groups that this process is in, and those around them."""
    try:
        lines = _MEMBERSHIP.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in ["0::/", ":cpu:/", *lines]:  # a container often sees its own group as the root
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        bases = [_GROUPS / name for name in ("cpu", "cpu,cpuacct")] if controllers else [_GROUPS]
        for base in bases:
            group = base / path.strip("/")
            yield from (group, *(p for p in group.parents if p.is_relative_to(base)))


def _cpu_quota(group: Path) -> float | None:
    """Return the processors that a control group pays for; None: it has no quota."""
    try:
        if (group / "cpu.max").is_file():
            quota, _, period = (group / "cpu.max").read_text(encoding="ascii").partition(" ")
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        found = int(quota) / int(period or 100_000)
    except (OSError, ValueError, ZeroDivisionError):  # "max": no quota
        return None
    return found if found > 0 else None  # -1: no quota


AUTO = "auto"

_DEVICE, _ACCEPTED = r"cpu|mps|cuda(:\d{1,3})?", "cpu, cuda, cuda:<n>, mps"


def chosen_device(asked: str | None) -> str:
    """Return the device that is asked for; with ``auto`` or None, a GPU if this machine has one.

    Raises:
        InputError: the device is unknown, or this machine has none such.
    """
    if asked not in (None, AUTO):
        if re.fullmatch(_DEVICE, asked) is None:
            raise InputError(f"device {asked!r} is not accepted: {AUTO}, {_ACCEPTED}")
        return check_device(asked)
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str) -> str:
    """Return a device that this machine has.

    Raises:
        InputError: the device is unknown, or this machine has none such.
    """
    if re.fullmatch(_DEVICE, device) is None:
        raise InputError(f"device {device!r} is not accepted: {_ACCEPTED}")
    if device == "cpu":
        return device
    import torch

    kind = device.split(":")[0]
    there: bool = torch.cuda.is_available() if kind == "cuda" else torch.mps.is_available()
    index = int(device.split(":")[1]) if ":" in device else 0
    if not there or (kind == "cuda" and index >= torch.cuda.device_count()):
        raise InputError(f"device {device!r}: not available on this machine")
    return device


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which numpy's linear algebra takes one thread."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    importlib.import_module("numpy")  # its library must be loaded to be found
    return ThreadpoolController()


PACKAGES = ("torch", "optuna", "ray", "fvcore", "numpy", "datasets")


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the packages below it, by name.

    They are read from what is installed; nothing is imported.
    """
    return {
        "nas-search": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def environment() -> dict[str, Any]:
    """Return versions, machine and commit: what else a run's numbers depend on."""
    return {
        "versions": versions(),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout that this code runs from, or None in an installation.

    An installation may lie inside the checkout of something else: then the package is not its nas/.
    """
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--show-prefix", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    prefix, _, commit = done.stdout.strip().partition("\n")
    return commit if prefix == "nas/" else None
