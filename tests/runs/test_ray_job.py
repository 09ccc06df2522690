"""The whole command with ``--engine ray``: the files of ``local``, whatever interrupts it."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from nas.evaluation.ray_cluster import connect_to_ray
from tests.support.interrupted import resumable
from tests.support.job import IMAGES_SEEN, SCRIPT, load, process, results, trials, words
from tests.support.ray_toys import QUIET, STORE, Toy, task
from tests.support.waiting import HANG, descendants, is_running, wait_until

pytestmark = [
    *(pytest.mark.filterwarnings(line) for line in QUIET),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc"),
]

RAY = ("--engine", "ray", "--cpus-per-trial", "1")


def marked(mark: str) -> set[int]:
    """The processes that were started with ``mark`` in their environment.

    Not all: Ray's workers write their names over their environment.
    """
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until_gone(mark: str, pids: Iterable[int] = ()) -> None:
    """Wait until no process of a cluster is left."""
    wait_until(
        lambda: not marked(mark) and not any(map(is_running, pids)), "Ray's processes have ended"
    )


def trains(pid: int) -> bool:
    """Whether a process is a worker of Tune with a trial."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return name.startswith(b"ray::") and b".train" in name


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What all processes of the test, and only they, have in their environment."""
    monkeypatch.setenv("NAS_TEST_OF_RAY", str(tmp_path))
    return f"NAS_TEST_OF_RAY={tmp_path}"


def lines(folder: Path) -> int:
    log = folder / "study.log"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_the_files_are_those_of_local(
    pictures: Path, finished: Path, tmp_path: Path, mark: str
) -> None:
    out = tmp_path / finished.name
    done = process(words(pictures, out, *RAY, "--quiet"))
    stdout, err = done.communicate(timeout=HANG)
    assert done.returncode == 0, err
    assert (stdout, err) == ("", "")
    assert results(out) == results(finished)
    assert trials(out) == trials(finished)
    wait_until_gone(mark)


@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        (signal.SIGTERM, False),
        pytest.param(signal.SIGINT, True, marks=pytest.mark.soak),
    ],
)
def test_a_signal_ends_it_and_leaves_no_process(
    pictures: Path, tmp_path: Path, mark: str, number: signal.Signals, to_all: bool
) -> None:
    out = tmp_path / "r"
    endless = SCRIPT.replace(f"images_seen={IMAGES_SEEN}", "images_seen=100_000_000")
    running = process(words(pictures, out, *RAY, "--quiet"), endless)

    def training() -> bool:
        assert running.poll() is None, running.communicate()
        return any(map(trains, descendants(running.pid)))

    wait_until(training, "a worker trains")
    processes = descendants(running.pid)
    (os.killpg if to_all else os.kill)(running.pid, number)
    stdout, err = running.communicate(timeout=HANG)
    assert running.returncode == 130
    assert err.count("\n") == 1
    assert resumable(err)
    assert stdout == ""
    wait_until_gone(mark, processes)
    assert load(out / "run.json")["status"] == "running"


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_in_the_middle_it_ends_the_same(
    pictures: Path, finished: Path, tmp_path: Path, mark: str, number: signal.Signals
) -> None:
    out = tmp_path / finished.name
    arguments = words(pictures, out, *RAY, "--quiet")
    moment = lines(finished) // 3
    running = process(arguments)

    def reached() -> bool:
        assert running.poll() is None, running.communicate()
        return lines(out) >= moment

    wait_until(reached, "a third of the trials are done")
    processes = descendants(running.pid)
    running.send_signal(number)
    running.communicate(timeout=HANG)
    assert running.returncode == (130 if number == signal.SIGTERM else -number)
    wait_until_gone(mark, processes)  # a node whose head is gone waits for it, up to a minute
    done = process(arguments)
    _, err = done.communicate(timeout=HANG)
    assert done.returncode == 0, err
    assert results(out) == results(finished)
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
        with pytest.raises(RuntimeError, match="no more of it"):
            engine.next()
        engine.close()
    assert capfd.readouterr() == ("", "")
