"""The lock of a folder, held by the process that writes there."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.errors import InputError
from nas.files import read_bytes, why

LOCK = ".lock"

logger = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that exists.

    The system releases it when the process ends, however it ends; the file ``.lock`` stays.

    Raises:
        InputError: another process holds it (the message has its pid), or the folder cannot be
            written.
    """
    lock = folder / LOCK
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(lock, flags, 0o666)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {why(error)}") from None
    with open(handle, "rb+", buffering=0) as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise InputError(f"{lock}: not a regular file, or it has several hard links")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = _process(lock)
            raise InputError(
                f"{folder}: in use by another process (pid {owner or 'unknown'})"
            ) from None
        try:
            stream.truncate(0)
            stream.write(str(os.getpid()).encode())
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {why(error)}") from None
        logger.debug("%s: locked by process %d", folder, os.getpid())
        yield


def holder(folder: Path) -> int | None:
    """Return the process that holds a folder's lock, or None, without trying to take it.

    Only processes of this machine are seen.
    """
    lock = folder / LOCK
    pid = _process(lock)
    if pid is None:
        return None
    try:
        inode = lock.stat().st_ino
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # the process exists, and is another user's
    try:  # the number may be another process's by now: Linux tells who has locked what
        held = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return pid
    places = {line.split()[5].rpartition(":")[2] for line in held.splitlines() if "FLOCK" in line}
    return pid if str(inode) in places else None


def _process(lock: Path) -> int | None:
    """Return the number of a process that a lock names, or None where it names none."""
    try:
        text = read_bytes(lock, 1024).decode("ascii")
    except (InputError, ValueError):
        return None
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,8}", text) else None
