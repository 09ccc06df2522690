"""The whole command with ``--engine ray``: the files of ``local``, whatever interrupts it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.evaluation.ray_cluster import connect_to_ray
from tests.runs.test_pipeline import (  # noqa: F401  (fixtures)
    IMAGES_SEEN,
    SCRIPT,
    _quick,
    finished,
    load,
    pictures,
    process,
    trials,
    words,
)
from tests.runs.test_pipeline import results as files
from tests.support.interrupted import resumable
from tests.support.ray_toys import QUIET, STORE, Toy, task

pytestmark = [
    *(pytest.mark.filterwarnings(line) for line in QUIET),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc"),
]

RAY = ("--engine", "ray", "--cpus-per-trial", "1")


def of_ray(mark: str) -> set[int]:
    """The processes that were started with ``mark`` in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def gone(mark: str, seconds: float) -> bool:
    """Wait until no process is left that was started with ``mark``."""
    until = time.monotonic() + seconds
    while (left := of_ray(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    return not left


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What all processes of the test, and only they, have in their environment."""
    monkeypatch.setenv("NAS_TEST_OF_RAY", str(tmp_path))
    return f"NAS_TEST_OF_RAY={tmp_path}"


def wait_for(condition: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 90
    while running.poll() is None and time.monotonic() < until and not condition():
        time.sleep(0.05)


def lines(folder: Path) -> int:
    log = folder / "study.log"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_the_files_are_those_of_local(
    pictures: Path,  # noqa: F811
    finished: Path,  # noqa: F811
    tmp_path: Path,
    mark: str,
) -> None:
    out = tmp_path / finished.name
    done = process(words(pictures, out, *RAY, "--quiet"))
    stdout, err = done.communicate(timeout=180)
    assert done.returncode == 0, err
    assert (stdout, err) == ("", "")
    assert files(out) == files(finished)
    assert trials(out) == trials(finished)
    assert gone(mark, 10)


@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        (signal.SIGTERM, False),
        pytest.param(signal.SIGINT, True, marks=pytest.mark.soak),
    ],
)
def test_a_signal_ends_it_soon(
    pictures: Path,  # noqa: F811
    tmp_path: Path,
    mark: str,
    number: signal.Signals,
    to_all: bool,
) -> None:
    out = tmp_path / "r"
    arguments = words(pictures, out, *RAY, "--quiet")
    running = process(
        arguments, SCRIPT.replace(f"images_seen={IMAGES_SEEN}", "images_seen=100_000")
    )
    wait_for(lambda: lines(out) >= 1, running)
    time.sleep(5)  # well into a training
    begin = time.monotonic()
    (os.killpg if to_all else os.kill)(running.pid, number)
    stdout, err = running.communicate(timeout=60)
    assert time.monotonic() - begin < 30
    assert running.returncode == 130
    assert err.count("\n") == 1
    assert resumable(err)
    assert stdout == ""
    assert gone(mark, 10)
    assert load(out / "run.json")["status"] == "running"


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_in_the_middle_it_ends_the_same(
    pictures: Path,  # noqa: F811
    finished: Path,  # noqa: F811
    tmp_path: Path,
    mark: str,
    number: signal.Signals,
) -> None:
    out = tmp_path / finished.name
    arguments = words(pictures, out, *RAY, "--quiet")
    moment = lines(finished) // 3
    running = process(arguments)
    wait_for(lambda: lines(out) >= moment, running)
    running.send_signal(number)
    running.communicate(timeout=60)
    assert running.returncode == (130 if number == signal.SIGTERM else -number)
    assert gone(mark, 150)  # a node whose head is gone waits for it, up to a minute
    done = process(arguments)
    _, err = done.communicate(timeout=180)
    assert done.returncode == 0, err
    assert files(out) == files(finished)
    assert trials(out) == trials(finished)


def test_where_tune_itself_fails_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from nas.evaluation.ray_queue import EvaluationQueue

    def fails(self: Any, trial_id: str) -> None:
        raise OSError("no more of it")

    monkeypatch.setattr(EvaluationQueue, "take", fails)
    with connect_to_ray(num_cpus=1, object_store_memory=STORE) as connected:
        engine = connected.engine(Toy())
        engine.submit(task(0))
        with pytest.raises(RuntimeError, match=r"Ray Tune has ended: .*no more of it"):
            engine.next()
        engine.close()
    assert capfd.readouterr() == ("", "")
