"""The lock of a folder, on file systems with locks and without."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas.errors import InputError
from nas.records.lock import LOCK, MARKER, holder, locked
from tests.support.paths import ROOT

NO_LOCKS = ("ENOLCK", "ENOSYS", "EOPNOTSUPP")

HOLD = """
import sys
from pathlib import Path
from nas.records.lock import locked
with locked(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""

# Takes the place of flock as such a file system answers.
SHIM = """
import errno, fcntl, os
def flock(fd, operation):
    raise OSError(errno.{code}, os.strerror(errno.{code}))
fcntl.flock = flock
"""


@contextmanager
def elsewhere(folder: Path, shim: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in another process, which is killed at the end."""
    paths = [str(ROOT), *([] if shim is None else [str(shim)])]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(reversed(paths))},
    )
    assert process.stdout is not None
    try:
        while process.stdout.readline() != "held\n":
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=NO_LOCKS)
def shim(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system without locks: for this process, and for those that have it on their path."""
    import fcntl

    code = getattr(errno, request.param)

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = tmp_path / "shim"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIM.format(code=request.param))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "results"
    made.mkdir()
    return made


def test_the_lock_names_process_and_machine(folder: Path) -> None:
    with locked(folder):
        lines = (folder / LOCK).read_text().splitlines()
        assert lines == [str(os.getpid()), socket.gethostname()]
        assert not (folder / MARKER).exists()
    with locked(folder):
        pass


def test_it_is_refused_while_another_process_has_it_and_not_after(folder: Path) -> None:
    with elsewhere(folder) as process:
        assert holder(folder) == process.pid
        with (
            pytest.raises(InputError, match=f"pid {process.pid} on {socket.gethostname()}"),
            locked(folder),
        ):
            pass
    with locked(folder):
        assert holder(folder) == os.getpid()
    assert holder(folder) is None


def test_without_locks_a_marker_stands_for_one(folder: Path, shim: Path) -> None:
    notes: list[str] = []
    with locked(folder, notes.append):
        assert (folder / MARKER).exists()
        assert holder(folder) == os.getpid()
    assert not (folder / MARKER).exists()
    assert len(notes) == 1
    assert "no locks" in notes[0]


def test_a_marker_keeps_others_out_until_its_process_has_died(folder: Path, shim: Path) -> None:
    with elsewhere(folder, shim) as process:
        assert holder(folder) == process.pid
        with (
            pytest.raises(InputError, match=f"pid {process.pid} on {socket.gethostname()}"),
            locked(folder, lambda text: None),
        ):
            pass
    assert (folder / MARKER).exists()  # it was killed
    assert holder(folder) is None
    with locked(folder, lambda text: None):
        assert holder(folder) == os.getpid()


def test_a_marker_of_another_machine_is_explained(folder: Path, shim: Path) -> None:
    (folder / MARKER).write_text("7\nelsewhere\n")
    with (
        pytest.raises(InputError, match=r"pid 7 on elsewhere.*if that process has ended, remove"),
        locked(folder, lambda text: None),
    ):
        pass
    assert holder(folder) is None


@pytest.mark.parametrize("name", [LOCK, MARKER])
@pytest.mark.parametrize("kind", ["link", "hard link", "folder"])
def test_what_is_no_file_of_its_own_is_refused(
    folder: Path, tmp_path: Path, name: str, kind: str
) -> None:
    other = tmp_path / "precious"
    other.write_text("precious")
    if kind == "link":
        (folder / name).symlink_to(other)
    elif kind == "hard link":
        (folder / name).hardlink_to(other)
    else:
        (folder / name).mkdir()
    with pytest.raises(InputError, match="not a regular file"), locked(folder):
        pass
    assert other.read_text() == "precious"


@pytest.mark.parametrize("code", ["EIO", "EACCES", "EROFS"])
def test_other_errors_are_said_as_they_are(
    folder: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refusing(path: object, *arguments: object, **options: object) -> int:
        if str(path).endswith(LOCK):
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), str(path))
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(InputError, match="cannot be written: "), locked(folder):
        pass
