"""A place where the command meets hostile input: watched, limited, and surrounded by canaries."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from nas.cli import _run as command
from nas.errors import InputError

Act = list[str] | Callable[[], object]
"""Words of the command line, or a function of the package that raises InputError or returns."""

KILLED_AFTER = 30
"""Seconds after which a case counts as hung: many, since nothing is known of the machine."""

SECONDS = 5
"""That a case may take on a machine that does nothing else."""

MEMORY = 2 << 30
"""Bytes of address space that a case may add to what the process has."""

LONGEST = 1_050
"""Characters of a line that says what is wrong."""


class Hang(BaseException):
    """A case took too long; no handler of ``Exception`` is to catch it."""


@dataclass(frozen=True)
class Box:
    """A user's surroundings.

    Attributes:
        root: of all of it.
        given: the input, which nobody may change.
        out: the output folder, the one place that may be written.
        canary: what lies beside them.
    """

    root: Path
    given: Path
    out: Path
    canary: Path

    @classmethod
    def make(cls, root: Path) -> Box:
        """Make the surroundings in an empty folder."""
        box = cls(root, root / "given", root / "out", root / "canary")
        for folder in (
            box.given,
            box.out,
            box.canary / "folder",
            root / "home",
            root / "temporary",
        ):
            folder.mkdir(parents=True)
        for name in ("precious.txt", "study.log", "baseline.json", ".lock", "folder/b0.json"):
            (box.canary / name).write_text("a line of it\nand half a line", encoding="utf-8")
        return box

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """Return what everything but the output folder is, by path."""
        found: dict[str, tuple[object, ...]] = {}
        for parent, folders, names in os.walk(self.root):
            if Path(parent) == self.root:
                folders.remove("out")
            for name in {*folders, *names} - {".ses"}:  # which ONNX Runtime leaves
                path = Path(parent, name)
                at = path.lstat()
                size = at.st_size if name in names else 0
                found[str(path)] = (at.st_mode, size, at.st_mtime_ns if name in names else 0)
        return found


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        status: exit status.
        out: standard output.
        err: standard error.
        trace: of an exception that nobody caught; empty: none.
        seconds: that it took, those left out in which it waited for a processor.
        touched: what it wrote, removed, started or connected to where it must not.
    """

    status: int
    out: str
    err: str
    trace: str
    seconds: float
    touched: tuple[str, ...]

    @property
    def hung(self) -> bool:
        """Say whether it had to be killed."""
        return "Hang" in self.trace

    def faults(self, *statuses: int) -> list[str]:
        """Return how it is not what a hostile input must come to."""
        found = [f"touched {what}" for what in self.touched]
        if self.hung:
            return [*found, "hung"]
        if self.trace:
            return [*found, f"a traceback: {self.trace}"]
        if self.status not in statuses:
            found.append(f"status {self.status}, not {statuses}: {self.err}{self.out[:500]}")
        lines = self.err.splitlines()
        if self.status == 2 and len(lines) != 1:
            found.append(f"{len(lines)} lines on standard error: {self.err[:500]!r}")
        if self.status == 2 and not self.err.startswith("nas-search: "):
            found.append(f"not a line of ours: {self.err[:200]!r}")
        if max(map(len, lines), default=0) > LONGEST:
            found.append(f"a line of {max(map(len, lines)):,} characters")
        for stream in (self.err, self.out):
            odd = sorted({c for c in stream if c != "\n" and not _harmless(c)})
            if odd:
                found.append(f"control characters {odd!r}")
        return found


def tally(outcomes: Sequence[Outcome]) -> str:
    """Return what came of cases, in a line."""
    return ", ".join(
        (
            f"{len(outcomes):,} cases",
            f"{sum(bool(one.trace) and not one.hung for one in outcomes)} tracebacks",
            f"{sum(one.hung or one.seconds > SECONDS for one in outcomes)} over {SECONDS} s",
            f"{sum(bool(one.touched) for one in outcomes)} that touched anything outside",
            f"the slowest {max(one.seconds for one in outcomes):.2f} s",
        )
    )


def _harmless(character: str) -> bool:
    """Say whether a terminal shows a character and does nothing else with it."""
    if character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f":
        return False  # they turn the direction of what follows
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


def meet(box: Box, act: Act, seconds: int = KILLED_AFTER) -> Outcome:
    """Let the command, or a function, meet what lies in the box; see what it does."""
    before = box.snapshot()
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", newline="", write_through=True)
    err = io.TextIOWrapper(
        io.BytesIO(), "utf-8", "backslashreplace", newline="", write_through=True
    )
    status, trace = 0, ""
    start, waited = time.monotonic(), _waited()
    with (
        _surroundings(box),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _watched(box) as touched,
        _limited(),
    ):
        try:
            with _alarm(seconds):
                status = command(act) if isinstance(act, list) else _call(act)
        except (Exception, SystemExit, Hang) as error:
            trace = "".join(traceback.format_exception(error)[-6:]) + type(error).__name__
    took = time.monotonic() - start - (_waited() - waited)
    after = box.snapshot()
    changed = [
        f"{path}: changed" for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    ]  # fmt: skip
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Outcome(status, *said, trace, took, (*touched, *changed))


def _waited() -> float:
    """Return how many seconds this thread was ready and others had the processor; Linux says."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _call(act: Callable[[], object]) -> int:
    try:
        act()
    except InputError as error:
        from nas.cli import _say

        return _say(error, 2)
    return 0


@contextlib.contextmanager
def _surroundings(box: Box) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(box.root)
        patch.setenv("HOME", str(box.root / "home"))
        patch.setenv("TMPDIR", str(box.root / "temporary"))
        patch.setattr(tempfile, "tempdir", str(box.root / "temporary"))
        patch.setenv("COLUMNS", "100")
        patch.setattr(sys, "dont_write_bytecode", True)
        yield


@contextlib.contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Refuse the process more than so much memory beyond what it has; where the system can."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most if soft < 0 else min(most, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# What Python does to files, processes and the network is told to an audit hook, which cannot be
# taken away again: so there is one, and it looks at what is being watched.

_WATCHING: list[tuple[tuple[str, ...], list[str]]] = []
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.mkdir": 1,
    "os.rename": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.truncate": 1,
    "os.link": 2,
}
_STARTS = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "socket.getaddrinfo",
}
_PROGRAMS = {"git", "uname", "lscpu"}
"""What the package itself may ask, of its commit and of the machine."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _WATCHING:
        return
    allowed, touched = _WATCHING[-1]
    if event == "open":
        path, _, flags = arguments
        if (
            isinstance(path, str | bytes | os.PathLike)
            and isinstance(flags, int)
            and flags & _WRITES
            and not _within(os.fspath(path), allowed)
        ):
            touched.append(f"open for writing {path!r}")
    elif event in _CHANGES:
        for path in arguments[: _CHANGES[event]]:
            if isinstance(path, str | bytes | os.PathLike):
                place = _named(os.fsdecode(path), arguments[-1])
                if not _within(place, allowed):
                    touched.append(f"{event} {place!r}")
    elif event == "subprocess.Popen":
        program = os.fspath(arguments[0]) if arguments[0] else ""
        if os.path.basename(str(program)) not in _PROGRAMS:
            touched.append(f"started {program!r}")
    elif event in _STARTS:
        touched.append(f"{event} {arguments!r}")


def _named(path: str, folder: object) -> str:
    """Return what is renamed or removed: the link itself, not what it points to."""
    if isinstance(folder, int) and folder >= 0:
        path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _within(path: str | bytes, allowed: tuple[str, ...]) -> bool:
    try:
        real = os.path.realpath(os.fsdecode(path))
    except (OSError, ValueError):
        return True  # nothing can be there
    return any(real == root or real.startswith(root + os.sep) for root in allowed)


@contextlib.contextmanager
def _watched(box: Box) -> Iterator[list[str]]:
    if not _HOOKED:
        sys.addaudithook(_hook)
        _HOOKED.append(True)
    places = (box.out, box.root / "temporary", os.environ["XDG_CACHE_HOME"], "/dev/null")
    touched: list[str] = []
    _WATCHING.append((tuple(os.path.realpath(place) for place in places), touched))
    try:
        yield touched
    finally:
        _WATCHING.pop()


_HOOKED: list[bool] = []
