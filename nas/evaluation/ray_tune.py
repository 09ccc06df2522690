"""Evaluations as the trials of one run of Ray Tune, which lasts as long as a cluster is connected.

The project's own loop decides everything: what is evaluated, with which seed, and when to stop
early. So a search is the same wherever it runs, and its study is all that resuming needs. Tune
gives what it is better at: placement, resources, and workers that are reused. A thin searcher
hands it what the loop has submitted; nothing of its own is kept.

Tune's ASHA is not used: it decides by what happens to have arrived, and by Tune's own record, which
no resumed run has. The loop's early stopping is the same algorithm, decided before a task is
submitted (its ``floors``), and replayed from the study.
"""

from __future__ import annotations

import pickle
import shutil
import signal
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from nas.errors import InputError, Lost
from nas.evaluation.executor import RETRIES, Outcome, Task, reason, run_task
from nas.proxies.protocol import Proxy

FALSE_STARTS = 6
"""So many new workers, one after the other, may die before they are ready."""

LOOK, NO_ROOM = 30.0, 900.0
"""Seconds between looks at whether any node has room, and after which none has ends the run."""

SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the other one cannot be kept from saying where it begins
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a proxy's relative paths stay what they are
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # a custom searcher's workers start one by one else
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
"""What Tune reads from the environment when a run of it begins."""

_ANSWER = 0.05
"""Seconds in which the loop's next task is waited for, after an outcome; Tune polls at 0.1."""

_PATIENCE = 30.0
"""Seconds in which a new worker starts, where there is room for it; then a trial takes another."""

_END = 15.0
"""Seconds after which the end of Tune's own run is not waited for."""


class RayEngine:
    """Evaluations by workers that Ray Tune places; they are warm from one engine to the next.

    An evaluation whose worker or node dies is begun again, by whichever worker is free first, up
    to ``RETRIES`` times; its outcome says how often.
    """

    def __init__(self, run: TuneRun, proxy: Proxy, slots: int) -> None:
        self.slots = slots
        self._run = run
        name = f"proxy {type(proxy).__name__}"
        try:
            self._client = _Client(name, ray.put(proxy))
        except Exception as error:
            raise InputError(
                f"{name}: cannot be sent to Ray's workers ({reason(error)}); "
                "accepted: a picklable proxy"
            ) from None

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._run.submit(_Evaluation(task, self._client))

    def next(self) -> Outcome:
        """Wait for the first task to end.

        Raises:
            InputError: workers cannot even start with this proxy.
            RuntimeError: Tune's run has ended.
        """
        return self._run.next(self._client)

    def close(self) -> None:
        """End what is running, at once; idle workers stay, for the next engine."""
        self._run.close(self._client)


@dataclass(eq=False)
class _Client:
    """An engine, as Tune's run sees it."""

    name: str
    proxy: Any
    over: deque[Outcome] = field(default_factory=deque)
    false_starts: int = 0
    problem: str = ""
    closed: bool = False


@dataclass(eq=False)
class _Evaluation:
    task: Task
    client: _Client
    deaths: int = 0
    started: bool = False
    warm: bool = False


class TuneRun:
    """A run of Tune in a thread of its own, from the first task to the end of the connection."""

    def __init__(self, cpus: float, gpus: float, scratch: Path) -> None:
        self._cpus, self._gpus = cpus, gpus
        self._threads = max(1, int(cpus))
        self._scratch = scratch
        self._thread = threading.Thread(target=self._tune, name="ray-tune", daemon=True)
        self._changed = threading.Condition()  # guards all below
        self._waiting: deque[_Evaluation] = deque()
        self._placed: dict[str, _Evaluation] = {}  # by the trial that carries it
        self._answer = False
        self._ending = False
        self._problem: str | None = None

    def rooms(self) -> int:
        """Return how many evaluations the cluster has room for."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return sum(_fits(one["Resources"], self._cpus, self._gpus) for one in nodes if one["Alive"])

    # -- the loop's side ------------------------------------------------------------------------

    def submit(self, evaluation: _Evaluation) -> None:
        """Take an evaluation; the first one begins the run."""
        with self._changed:
            self._waiting.append(evaluation)
            self._changed.notify_all()
        if not self._thread.ident:
            self._thread.start()

    def next(self, client: _Client) -> Outcome:
        """Wait for the first outcome.

        Raises:
            InputError: the proxy cannot be made on a node.
            RuntimeError: Tune's run has ended.
            Lost: for long no node has been large enough.
        """
        full, looked = None, time.monotonic()  # since when there is no room; when that was asked
        with self._changed:
            while not client.over:
                if client.problem:
                    raise InputError(
                        f"{client.name}: a worker of Ray cannot start with it ({client.problem}); "
                        "accepted: a proxy that all nodes can import"
                    )
                if self._problem is not None:
                    raise RuntimeError(f"ray: the run of Ray Tune has ended: {self._problem}")
                self._changed.wait(1.0)  # in short waits, for the sake of signals
                now = time.monotonic()
                if now - looked >= LOOK:
                    looked = now
                    full = None if self.rooms() else full or now
                if full is not None and now - full > NO_ROOM:
                    raise Lost(
                        f"ray: for {NO_ROOM / 60:.0f} minutes no node has had the {self._cpus:g} "
                        f"CPUs and {self._gpus:g} GPUs of one evaluation; with such nodes the same "
                        "command goes on"
                    )
            return client.over.popleft()

    def close(self, client: _Client) -> None:
        """Forget an engine and all that it has submitted."""
        with self._changed:
            client.closed = True
            client.proxy = None
            client.over.clear()
            self._waiting = deque(one for one in self._waiting if one.client is not client)
            self._changed.notify_all()

    def end(self) -> None:
        """End the run and its workers."""
        with self._changed:
            self._ending = True
            self._waiting.clear()
            for evaluation in self._placed.values():
                evaluation.client.closed = True
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join(_END)

    # -- Tune's side, in its thread ---------------------------------------------------------------

    def _tune(self) -> None:
        problem = "the cluster is no longer connected"
        scheduler = _Scheduler(self)
        try:
            tune.run(
                tune.with_resources(_Worker, {"cpu": self._cpus, "gpu": self._gpus}),
                name=self._scratch.name,
                storage_path=str(self._scratch),
                num_samples=-1,
                search_alg=_Searcher(self, scheduler),
                scheduler=scheduler,
                callbacks=[_Callback(self)],
                reuse_actors=True,
                raise_on_failed_trial=False,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                trial_dirname_creator=_trial_id,
                verbose=0,
            )
        except _Over:
            pass
        except BaseException as error:
            problem = reason(error)
        with self._changed:
            self._problem = problem
            self._changed.notify_all()

    def hand_out(self, trial: str) -> dict[str, Any] | None:
        """Return what a new trial is to carry; None: nothing, for now.

        Where there is nothing else to do for Tune, it waits here for the loop.
        """
        with self._changed:
            if not self._placed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
            elif self._answer:
                self._changed.wait_for(lambda: self._waiting or self._ending, _ANSWER)
            self._answer = False
            if self._ending and not self._placed:
                raise _Over
            if not self._waiting:
                return None
            evaluation = self._placed[trial] = self._waiting.popleft()
            return {"parcel": _Parcel(evaluation), "threads": self._threads}

    def dropped(self, trial: str) -> bool:
        """Say whether nobody waits for what a trial carries any more."""
        return trial in self._placed and self._placed[trial].client.closed

    def on_warm(self, trial: str) -> None:
        """Take note that a trial is given a worker that has worked before."""
        self._placed[trial].warm = True

    def on_start(self, trial: str) -> None:
        """Take note that a trial's worker is ready."""
        evaluation = self._placed[trial]
        evaluation.started = True
        evaluation.client.false_starts = 0

    def on_result(self, trial: str, found: Outcome | str) -> None:
        """Pass an outcome on, or why a worker has none."""
        with self._changed:
            evaluation = self._placed.pop(trial)
            if isinstance(found, str):
                evaluation.client.problem = found
            elif not evaluation.client.closed:
                evaluation.client.over.append(replace(found, retries=evaluation.deaths))
            self._answer = True
            self._changed.notify_all()

    def on_loss(self, trial: str, why: str) -> None:
        """Begin again what was lost with its worker, if it may."""
        with self._changed:
            lost = self._placed.pop(trial, None)
            if lost is None or lost.client.closed:
                return
            again = _Evaluation(lost.task, lost.client, lost.deaths + lost.started)
            if again.deaths > RETRIES:
                error = f"its worker died {again.deaths} times"
                lost.client.over.append(_failed(lost.task, error, lost.deaths))
            else:
                self._waiting.appendleft(again)
            if not lost.started and not lost.warm:  # a warm one had died before, of something else
                lost.client.false_starts += 1
                if lost.client.false_starts == FALSE_STARTS:
                    lost.client.problem = why
            self._changed.notify_all()


class _Parcel(str):
    """What a worker is handed: whose proxy it is, the proxy and the task.

    To Tune it is a word: Tune copies what it is given, prints it, writes it, and keeps it for good.
    """

    _evaluation: weakref.ref[_Evaluation]

    def __new__(cls, evaluation: _Evaluation) -> _Parcel:
        parcel = str.__new__(cls, f"{evaluation.client.name}, {evaluation.task.number}")
        parcel._evaluation = weakref.ref(evaluation)
        return parcel

    def __deepcopy__(self, memo: Any) -> _Parcel:
        return self

    def __reduce__(self) -> Any:
        evaluation = self._evaluation()
        if evaluation is None:  # it is over
            return str, (str(self),)
        return _content, (id(evaluation.client), evaluation.client.proxy, evaluation.task)


def _content(*content: Any) -> tuple[Any, ...]:
    return content


class _Over(Exception):
    """Ends Tune's run without its last words, the record of all its trials."""


class _Searcher(Searcher):
    """Hands Tune what the loop has submitted."""

    def __init__(self, run: TuneRun, scheduler: _Scheduler) -> None:
        super().__init__()
        self._run = run
        self._scheduler = scheduler

    def suggest(self, trial_id: str) -> Any:
        return None if self._scheduler.busy() else self._run.hand_out(trial_id)

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Scheduler(FIFOScheduler):
    """First in, first out; workers without work stay, which Tune would end but for one.

    A trial that has its result is left as it is, until its worker is needed by another.
    """

    def __init__(self, run: TuneRun) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._run = run
        self._new: list[Trial] = []
        self._waiting: dict[Trial, float] = {}  # since when, for a worker that Tune starts
        self._idle: list[Trial] = []

    def busy(self) -> bool:
        """Say whether a trial is yet to be given a worker that is there."""
        return bool(self._new and self._idle)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._new.append(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Any) -> str:
        self._idle.append(trial)
        return self.NOOP

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._run.on_loss(trial.trial_id, "")

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Any) -> None:
        shutil.rmtree(str(trial.local_path), ignore_errors=True)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        for trial in list(tune_controller.get_live_trials()):
            if self._run.dropped(trial.trial_id):
                if trial.status == Trial.RUNNING:
                    with suppress(Exception):  # it is dead, or will be at the next look
                        ray.kill(trial.temporary_state.ray_actor)
                else:
                    tune_controller.stop_trial(trial)
        self._waiting = {
            trial: since for trial, since in self._waiting.items() if trial.status == Trial.PENDING
        }
        chosen = None
        if self._idle:
            first = next(iter(self._waiting), None)
            if first is not None and self._in_vain(first, tune_controller):
                chosen = first
                del self._waiting[first]
            elif self._new:
                chosen = self._new.pop()
        self._waiting |= dict.fromkeys(self._new, time.monotonic())
        self._new.clear()
        if chosen is not None:
            tune_controller.stop_trial(self._idle.pop())  # its worker is the chosen one's then
            self._run.on_warm(chosen.trial_id)
        return chosen

    def _in_vain(self, trial: Trial, tune_controller: Any) -> bool:
        """Say whether there is no room for the new worker that a trial waits for."""
        if time.monotonic() - self._waiting[trial] > _PATIENCE:
            return True
        workers = [one for one in tune_controller.get_live_trials() if one.status == Trial.RUNNING]
        return len(workers) >= self._run.rooms()


class _Callback(TrialProgressCallback):
    """Tells the run what became of its trials, in place of what would print it."""

    def __init__(self, run: TuneRun) -> None:
        self._run = run

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        pass

    def on_trial_start(self, iteration: int, trials: Any, trial: Trial, **_: Any) -> None:
        self._run.on_start(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        self._run.on_result(trial.trial_id, result.pop("found"))

    def on_trial_error(self, iteration: int, trials: Any, trial: Trial, **_: Any) -> None:
        lines = Path(str(trial.error_file)).read_text(encoding="utf-8").split("\n")
        self._run.on_loss(trial.trial_id, " ".join(line for line in lines[1:] if line)[:300])


class _Worker(tune.Trainable):
    """What runs in a worker process; evaluates by the proxy that it was given last."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.set_num_threads(config["threads"])
        # Ray would raise SystemExit in the middle of an evaluation, which would be its failure; of
        # a worker that is gone the evaluation is begun again.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._client = 0
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._problem:
            return {"found": self._problem}
        outcome = run_task(self._proxy, self._task)
        try:
            pickle.dumps(outcome)
        except Exception as error:
            outcome = _failed(self._task, reason(error), 0)
        return {"found": outcome}

    def _take(self, config: dict[str, Any]) -> None:
        client, proxy, self._task = config["parcel"]
        self.config = {}  # Tune would send it back with each result
        shutil.rmtree(self.logdir, ignore_errors=True)
        if client == self._client:
            return
        self._problem, self._client = "", client
        self._proxy: Any = None  # before another comes
        try:
            self._proxy = ray.get(proxy)
        except Exception as error:
            self._problem = reason(error)


def _failed(task: Task, error: str, retries: int) -> Outcome:
    return Outcome(task.number, None, (), False, error, 0.0, retries)


def _trial_id(trial: Trial) -> str:
    return str(trial.trial_id)


def _fits(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """Return how many evaluations a node has room for."""
    count = int(resources.get("CPU", 0.0) / cpus + 1e-9)
    return min(count, int(resources.get("GPU", 0.0) / gpus + 1e-9)) if gpus else count
