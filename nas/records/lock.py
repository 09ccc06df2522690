"""The lock of a folder, held by the process that writes there."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from nas.errors import InputError, one_line
from nas.files import read_bytes, why

LOCK = ".lock"

MARKER = ".lock-marker"
"""The file whose existence is the lock, where the file system has no locks."""

TAKE_OVER = 1.0
"""Seconds to take over the marker of a process that has died."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
"""How file systems answer that cannot lock: NFS without its daemon, Lustre, FUSE."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """The process that a lock names.

    Attributes:
        pid: its number.
        host: where it runs; None: not known.
    """

    pid: int
    host: str | None

    def __str__(self) -> str:
        """Return the process as a message names it."""
        return f"pid {self.pid}" + (f" on {one_line(self.host)[:80]}" if self.host else "")


@contextmanager
def locked(folder: Path, note: Callable[[str], None] = logger.warning) -> Iterator[None]:
    """Hold the lock of a folder that exists.

    The system releases it when the process ends, however it ends; the file ``.lock`` stays. Where
    the file system has no locks, a marker file stands for one: a process of this machine that finds
    the marker of a dead one takes it over.

    Args:
        folder: the folder.
        note: told where there is a marker only.

    Raises:
        InputError: another process holds it (the message has its pid and machine), or the folder
            cannot be written.
    """
    _check(folder)
    lock = _native(folder) or _marker(folder, note)
    try:
        if isinstance(lock, FileLock):
            _sign(folder)
        logger.debug("%s: locked by process %d", folder, os.getpid())
        yield
    finally:
        lock.release()


def holder(folder: Path) -> int | None:
    """Return the process that holds a folder's lock, or None, without trying to take it.

    Only processes of this machine are seen.
    """
    for name in (LOCK, MARKER):
        owner = _owner(folder / name)
        if owner is None or owner.host not in (None, socket.gethostname()):
            continue
        try:
            inode = (folder / name).stat().st_ino
            os.kill(owner.pid, 0)
        except ProcessLookupError:
            continue
        except OSError:
            pass  # the process exists, and is another user's
        if name == MARKER or _is_locked(inode):
            return owner.pid
    return None


def _is_locked(inode: int) -> bool:
    """Return whether a file is locked: Linux tells. Elsewhere a process that lives is enough."""
    try:
        held = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return True
    places = {line.split()[5].rpartition(":")[2] for line in held.splitlines() if "FLOCK" in line}
    return str(inode) in places


def _check(folder: Path) -> None:
    """Refuse a lock that is not a file of its own: what it leads to would be written to."""
    for name in (LOCK, MARKER):
        try:
            found = os.lstat(folder / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {why(error)}") from None
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise InputError(f"{folder / name}: not a regular file, or it has several hard links")


def _native(folder: Path) -> BaseFileLock | None:
    """Return the system's lock, acquired; None: the file system has none."""
    lock = FileLock(folder / LOCK, blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise _in_use(folder, _owner(folder / LOCK)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise InputError(f"{folder}: cannot be written: {why(error)}") from None
        logger.info("%s: no locks on this file system: %s", folder, why(error))
        return None
    return lock


def _marker(folder: Path, note: Callable[[str], None]) -> BaseFileLock:
    """Return a marker, acquired."""
    path = folder / MARKER
    lock = SoftFileLock(path, timeout=TAKE_OVER, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        owner = _owner(path)
        here = owner is not None and owner.host == socket.gethostname()
        raise _in_use(
            folder, owner, "" if here else f"; if that process has ended, remove {path}"
        ) from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {why(error)}") from None
    note(
        f"{folder}: the file system has no locks; the file {MARKER} keeps other processes out "
        "while this one runs"
    )
    return lock


def _in_use(folder: Path, owner: Owner | None, advice: str = "") -> InputError:
    return InputError(f"{folder}: in use by another process ({owner or 'pid unknown'}){advice}")


def _sign(folder: Path) -> None:
    """Write into the lock that is held which process holds it."""
    flags = os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(os.open(folder / LOCK, flags), "wb", buffering=0) as stream:
            stream.write(f"{os.getpid()}\n{socket.gethostname()}\n".encode())
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {why(error)}") from None


def _owner(lock: Path) -> Owner | None:
    """Return the process that a lock names, or None where it names none."""
    try:
        lines = read_bytes(lock, 1024).decode("utf-8").splitlines()
    except (InputError, ValueError):
        return None
    if not lines or not re.fullmatch(r"[1-9][0-9]{0,8}", lines[0]):
        return None
    return Owner(int(lines[0]), lines[1] if len(lines) > 1 and lines[1] else None)
