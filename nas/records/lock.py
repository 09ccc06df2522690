"""The lock of a folder of results."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas.errors import InputError
from nas.files import (
    read_bytes,
    why,
)
from nas.records.workspace import RUN_FILE


@contextmanager
def locked(folder: Path, name: str = RUN_FILE) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it when the owner ends, however it ends.

    Where no run begins, for wrong input say, and so no file ``name``, no folder is left behind.

    Raises:
        InputError: another process holds it (names its pid), it cannot be written, or a symbolic
            link in it leads out of it: what is written here is written nowhere else.
    """
    lock = folder / ".lock"
    try:
        made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_links(folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(lock, flags, 0o666)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: cannot be written: {_why(error)}") from None
    with open(handle, "rb+", buffering=0) as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise InputError(f"{lock}: is no regular file of this folder alone")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = _process(lock)
            raise InputError(
                f"{folder}: in use by another process (pid {owner or 'unknown'})"
            ) from None
        try:
            try:
                stream.truncate(0)
                stream.write(str(os.getpid()).encode())
            except OSError as error:
                raise InputError(f"{folder}: cannot be written: {why(error)}") from None
            yield
        finally:
            if not (folder / name).exists():
                lock.unlink(missing_ok=True)
                with suppress(OSError):
                    for path in made:
                        path.rmdir()


def holder(folder: Path) -> int | None:
    """Return the process that holds a folder's lock, or None, without trying to take it.

    Seen on the machine where it runs only.
    """
    lock = folder / ".lock"
    pid = _process(lock)
    if pid is None:
        return None
    try:
        inode = lock.stat().st_ino
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it runs, as somebody else
    try:  # a number may have become another process's: Linux tells who has locked what
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


def _refuse_links(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise InputError(
                    f"{folder}: {entry.name!r} is a symbolic link; a folder that is written to "
                    "must have none"
                )


def _why(error: OSError | ValueError) -> str:
    return why(error) if isinstance(error, OSError) else str(error)
