"""Waiting for what other threads and processes do: until it has happened, however long it takes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

HANG = 600.0
"""Seconds after which a test that waits is taken to hang. Nothing is measured by it."""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as a condition holds; fail, naming it, where it never does."""
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has waited for yet, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()


def cpu_seconds(pid: int) -> float:
    """The seconds for which a process has computed; 0 where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """A process's children, theirs, and so on."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = [int(child) for child in path.read_text().split()]
        except OSError:  # the thread has ended
            continue
        for child in own:
            found += [child, *descendants(child)]
    return found
