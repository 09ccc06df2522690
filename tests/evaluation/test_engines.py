import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Never

import pytest

from nas.accuracy import Accuracy
from nas.environment import available_cores
from nas.errors import InputError, Interrupted
from nas.evaluation.executor import Engine, Outcome, Task, run_task
from nas.evaluation.local import InProcess, Processes, default_jobs, local_engine
from nas.evaluation.worker import start_worker
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.proxies.protocol import ProxyCapabilities
from nas.testing import ToyProxy, raising
from tests.support.paths import ROOT
from tests.support.toys import Fated, Scripted, half, returns
from tests.support.waiting import HANG, is_running, wait_until

B0 = efficientnet_b0()
Report = Callable[[int, float], bool]


def plain() -> ToyProxy:
    return ToyProxy(half)


def learns() -> ToyProxy:
    """Reports 0.1, 0.2, … 0.5 until told to stop."""
    return ToyProxy(half, steps=5)


def task(number: int = 0, seed: int = 0, **floors: float) -> Task:
    return Task(number, B0, seed, {int(step[1:]): floor for step, floor in floors.items()})


def without_time(outcome: Outcome) -> tuple[object, ...]:
    assert outcome.seconds >= 0
    return (outcome.number, outcome.accuracy, outcome.steps, outcome.stopped, outcome.error)


class TestRunTask:
    def test_what_the_proxy_returns(self) -> None:
        assert without_time(run_task(plain(), task(3, seed=7))) == (
            3,
            Accuracy(0.5, 0.0, seeds=(7,)),
            (),
            False,
            "",
        )

    @pytest.mark.parametrize(
        ("problem", "error"),
        [
            (ValueError("two\nlines\tand  more"), "ValueError: two lines and more"),
            (MemoryError(), "MemoryError:"),
            (SystemExit(3), "SystemExit: 3"),
            (RecursionError("deep"), "RecursionError: deep"),
            (StopIteration(), "StopIteration:"),
        ],
    )
    def test_whatever_it_raises_is_the_error(self, problem: BaseException, error: str) -> None:
        outcome = run_task(ToyProxy(half, steps=2, fault=raising(problem)), task())
        assert without_time(outcome) == (0, None, ((1, 0.25), (2, 0.5)), False, error)

    def test_a_long_reason_is_cut(self) -> None:
        error = run_task(ToyProxy(fault=raising(ValueError("x" * 5000))), task()).error
        assert error.startswith("ValueError: xxx")
        assert error.endswith("xxx...")
        assert len(error) == 300

    @pytest.mark.parametrize("wish", [KeyboardInterrupt(), Interrupted()])
    def test_the_users_wish_to_stop_is_no_failed_trial(self, wish: BaseException) -> None:
        with pytest.raises(type(wish)):
            run_task(ToyProxy(fault=raising(wish)), task())

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (0.7, "float"),
            (None, "NoneType"),
        ],
    )
    def test_a_wrong_type_is_an_error(self, value: object, error: str) -> None:
        outcome = run_task(returns(value), task())
        assert (outcome.accuracy, outcome.stopped) == (None, False)
        assert error in outcome.error

    def test_not_a_number_is_an_error_that_says_so(self) -> None:
        proxy = Scripted({0: lambda: Accuracy(float("nan"), 0.0)})
        outcome = run_task(proxy, task())
        assert outcome.accuracy is None
        assert outcome.error.startswith("Accuracy: ")
        assert "nan" in outcome.error

    def test_who_ranks_by_loss_must_return_one(self) -> None:
        proxy = returns(Accuracy(0.5, 0.0))
        proxy.capabilities = ProxyCapabilities(rank_by="loss")
        outcome = run_task(proxy, task())
        assert outcome.accuracy is None
        assert "loss" in outcome.error

    def test_stops_below_a_floor_and_not_at_it(self) -> None:
        assert run_task(learns(), task(s2=0.2, s9=1.0)).accuracy == Accuracy(0.5, 0.0, seeds=(0,))
        stopped = run_task(learns(), task(s3=0.31))
        assert without_time(stopped) == (0, None, ((1, 0.1), (2, 0.2), (3, 0.3)), True, "")

    def test_steps_are_kept_in_order_the_last_value_of_each_and_finite_ones_only(self) -> None:
        class Odd(ToyProxy):
            def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
                for step, value in ((3, 1), (1, 0.5), (2, float("nan")), (1, 0.25)):
                    assert report(step, value) is False
                return Accuracy(1.0, 0.0)

        assert run_task(Odd(), task(s2=0.1)).steps == ((1, 0.25), (3, 1.0))


def test_in_process_takes_tasks_in_order_and_forgets_them_when_closed() -> None:
    engine = InProcess(plain())
    assert engine.slots == 1
    engine.submit(task(4))
    engine.submit(task(2))
    assert engine.next().number == 4
    engine.close()
    with pytest.raises(IndexError):
        engine.next()


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs_are_refused(jobs: int) -> None:
    with pytest.raises(InputError, match=f"jobs: {jobs} "):
        local_engine(plain(), jobs)


def test_one_job_needs_no_picklable_proxy_and_several_do() -> None:
    class Local(ToyProxy):
        pass

    assert isinstance(local_engine(Local(), 1), InProcess)
    with pytest.raises(InputError, match="proxy Local: "):
        local_engine(Local(), 2)


def test_default_jobs() -> None:
    assert 1 <= default_jobs("cpu") <= available_cores()
    assert default_jobs("cuda") == 1


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Processes(Fated(), 2)
    yield engine
    engine.close()


def test_parallel_processes(engine: Processes) -> None:
    assert engine.slots == 2
    # Whatever happens to a task, its neighbour is not touched, and the next one has a worker.
    for seed, error in (
        (6, "SystemExit: 6"),
        (2, "ValueError: two"),
        (1, "SIGKILL"),
        (3, "status 3"),
    ):
        engine.submit(task(seed, seed=seed))
        engine.submit(task(10 + seed))
        outcomes = {outcome.number: outcome for outcome in (engine.next(), engine.next())}
        assert without_time(outcomes[seed])[:4] == (seed, None, (), False)
        assert error in outcomes[seed].error
        assert outcomes[10 + seed].accuracy is not None
    accuracy = outcomes[13].accuracy
    assert accuracy is not None
    pid, threads = int(accuracy.metric), accuracy.n
    assert pid != os.getpid()
    assert threads == max(1, available_cores() // 2)

    # A worker that died while it had nothing to do is no task's fault.
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), "the idle worker has died")
    engine.submit(task(20))
    outcome = engine.next()
    assert outcome.error == ""
    assert outcome.accuracy is not None

    # Nor is one that dies with a task in its pipe that it has not taken yet.
    stopped = int(outcome.accuracy.metric)
    os.kill(stopped, signal.SIGSTOP)
    engine.submit(task(22))
    os.kill(stopped, signal.SIGKILL)
    outcome = engine.next()
    assert outcome.error == ""
    assert outcome.accuracy is not None
    assert int(outcome.accuracy.metric) != stopped

    # Closing does not wait for what is running.
    busy = int(outcome.accuracy.metric)
    engine.submit(task(21, seed=4))
    engine.close()
    wait_until(lambda: not is_running(busy), "the busy worker has ended")


class WaitsForFile(ToyProxy):
    """Says by a file that it evaluates, and goes on when there is another."""

    def __init__(self, folder: Path) -> None:
        super().__init__(half, fault=self.wait)
        self.begun, self.may_end = folder / "begun", folder / "may end"

    def wait(self, arch: Architecture, seed: int) -> None:
        self.begun.touch()
        wait_until(self.may_end.exists, "the test allows it")


def test_workers_leave_the_signals_of_a_job_to_the_driver(tmp_path: Path) -> None:
    def signal_workers() -> None:
        for child in multiprocessing.active_children():
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(child.pid or 0, number)

    proxy = WaitsForFile(tmp_path)
    processes = Processes(proxy, 2)
    try:
        signal_workers()  # as they start
        processes.submit(task(0))
        wait_until(proxy.begun.exists, "the evaluation has begun")
        signal_workers()
        proxy.may_end.touch()
        assert processes.next().error == ""
    finally:
        processes.close()


UNCLOSED = """
import sys
sys.path.insert(0, {root!r})
from nas.evaluation.executor import Task
from nas.networks.architecture import efficientnet_b0
from tests.support.toys import Fated
from nas.evaluation.local import Processes
if __name__ == "__main__":
    engine = Processes(Fated(), 2)
    engine.submit(Task(0, efficientnet_b0(), 0))
    engine.next()
"""


def test_an_engine_that_nobody_closed_ends_with_its_driver(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(UNCLOSED.format(root=str(ROOT)))
    subprocess.run([sys.executable, str(path)], check=True, timeout=HANG)


class Signalled(SpawnProcess):
    """The user presses Ctrl-C as it has just started."""

    def start(self) -> None:
        super().start()
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_while_a_worker_starts_leaves_none() -> None:
    process = Signalled(target=signal.pause)
    with pytest.raises(KeyboardInterrupt):
        start_worker(process)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def no() -> Never:
    raise RuntimeError("cannot be made here")


class Unreadable(ToyProxy):
    def __reduce__(self) -> Any:
        return no, ()


def test_a_proxy_that_workers_cannot_read_is_wrong_input(
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = local_engine(Unreadable(), 2)
    engine.submit(task())
    try:
        with pytest.raises(InputError, match="proxy Unreadable: ") as caught:
            engine.next()
    finally:
        engine.close()
    assert "\n" not in str(caught.value)
    assert "cannot be made here" in capfd.readouterr().err


UNGUARDED = """
import sys
sys.path.insert(0, {root!r})
from nas.evaluation.executor import Task
from nas.networks.architecture import efficientnet_b0
from nas.testing import ToyProxy
from nas.evaluation.local import local_engine

class Large(ToyProxy):
    content = None

proxy = Large()
proxy.content = bytes(1_000_000)
engine = local_engine(proxy, 2)
engine.submit(Task(0, efficientnet_b0(), 0))
engine.next()
"""


def test_a_large_proxy_in_a_script_that_starts_itself_anew_is_wrong_input(tmp_path: Path) -> None:
    """A process that died before it read what it was started with would be waited for forever."""
    path = tmp_path / "script.py"
    path.write_text(UNGUARDED.format(root=str(ROOT)))
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=HANG, check=False
    )
    assert done.returncode == 1
    assert "InputError: proxy Large: " in done.stderr


def test_workers_die_with_a_killed_driver(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, threading
            from nas.networks.architecture import efficientnet_b0
            from nas.evaluation.local import local_engine
            from nas.evaluation.executor import Task

            class Sleeps:
                def prepare(self, *_): ...
                def evaluate(self, arch, *, seed, report):
                    print(os.getpid(), flush=True)
                    threading.Event().wait()

            if __name__ == "__main__":
                engine = local_engine(Sleeps(), 2)
                for number in range(2):
                    engine.submit(Task(number, efficientnet_b0(), 0))
                engine.next()
            """
        )
    )
    driver = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    pids: list[int] = []
    try:
        assert driver.stdout is not None
        pids = [int(driver.stdout.readline()) for _ in range(2)]
        assert all(map(is_running, pids))
        driver.kill()
        driver.wait()
        wait_until(lambda: not any(map(is_running, pids)), "the workers have ended")
    finally:
        driver.kill()
        for pid in filter(is_running, pids):
            os.kill(pid, signal.SIGKILL)
        driver.communicate()
