"""What the tests of the engine ``ray`` share: toy proxies, killers, and what must hold."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nas.accuracy import Accuracy
from nas.evaluation.executor import RETRIES, Outcome, Task
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_space
from nas.strategies.search import SearchResult, search

B0 = efficientnet_b0()
STORE = 80 * 1024 * 1024
Report = Callable[[int, float], bool]

# Ray leaves sockets and files of its own processes to the end of the process, and warns of what
# it will change.
QUIET = (
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
)


class Toy:
    """What the seed says; where ``folder`` is, it counts there what is begun.

    The first so many evaluations kill the process that they are in.
    """

    def __init__(self, folder: Path | None = None, pause: float = 0.0, deaths: int = 0) -> None:
        self.folder, self.pause, self.deaths = folder, pause, deaths

    def prepare(self, *_: object) -> None: ...

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Any:
        if self.folder is not None:
            self.folder.joinpath(f"{arch.key()}-{time.time_ns()}-{os.getpid()}").touch()
            for death in range(self.deaths):
                with suppress(FileExistsError):
                    self.folder.with_name(f"death-{death}").touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.pause)
        match seed:
            case 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case 2:
                raise ValueError("two")
            case 3:
                os._exit(3)
            case 4:
                threading.Event().wait()  # for ever
            case 5:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)  # the signal ends it before
        for step in (1, 2):
            if report(step, int(arch.key()[:6], 16) / 16**6 * step / 2):
                break
        return Accuracy(
            int(arch.key()[:6], 16) / 16**6, 0.0, seeds=(seed,), metric=str(os.getpid())
        )


def task(number: int, seed: int = 9) -> Task:
    return Task(number, B0, seed)


def results(engine: Any, tasks: list[Task]) -> dict[int, Outcome]:
    waiting, found, running = list(tasks), {}, 0
    while waiting or running:
        while waiting and running < engine.slots:
            engine.submit(waiting.pop(0))
            running += 1
        outcome = engine.next()
        running -= 1
        found[outcome.number] = outcome
    return found


def facts(result: SearchResult) -> list[Any]:
    return [
        (t.number, t.architecture.key(), t.state, t.accuracy and t.accuracy.mean, t.steps, t.reason)
        for t in result.trials
    ]


def found(engine: Any, proxy: Any, storage: Path | None = None, trials: int = 20) -> SearchResult:
    return search(
        load_space("tiny"), parse_budget("100M-flops"), proxy, trials=trials, seed=3,
        sampler="evolution", storage=storage, engine=engine,
    )  # fmt: skip


def kill_workers(folder: Path, times: int, every: float, done: threading.Event) -> None:
    """Kill so many processes, now and then, that are evaluating.

    The same evaluation once less often than it may be tried again, since its node may go too.
    """
    rng = random.Random(0)
    killed: set[str] = set()
    kills: Counter[str] = Counter()
    while len(killed) < times and not done.wait(every):
        latest = sorted(folder.iterdir(), key=lambda path: path.name.split("-")[1])[-2:]
        key, _, pid = rng.choice(latest).name.split("-") if latest else ("", "", "")
        if pid and pid not in killed and kills[key] < RETRIES - 1:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.add(pid)
            kills[key] += 1


def lossless(folder: Path, result: SearchResult, trials: int) -> int:
    """How many evaluations were begun again, where none was lost and none finished twice."""
    assert [trial.number for trial in result.trials] == list(range(trials))
    assert {trial.state for trial in result.trials} <= {"finished", "stopped"}
    keys = [trial.architecture.key() for trial in result.trials]
    assert len(set(keys)) == trials
    begun = Counter(path.name.split("-")[0] for path in folder.iterdir())
    assert set(begun) == set(keys)
    return sum(trial.retries for trial in result.trials)
