"""The states of Ray's evaluations and workers, event by event, without a cluster."""

import pickle
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from ray.tune.experiment import Trial

from nas.errors import InputError
from nas.evaluation.executor import RETRIES, Outcome, failed_outcome
from nas.evaluation.ray_engine import RayEngine
from nas.evaluation.ray_queue import (
    MAX_FAILED_STARTS,
    EngineState,
    EvaluationQueue,
    RayEvaluation,
    TuneRunEnded,
)
from nas.evaluation.ray_scheduler import WorkerScheduler
from nas.evaluation.ray_trainable import TrialPayload, WorkerInput
from tests.support.ray_toys import Toy, task


def engine(number: int = 1) -> EngineState:
    return EngineState(number, "proxy Toy", "a reference")


def outcome(number: int) -> Outcome:
    return failed_outcome(task(number), "for a test")


def test_an_outcome_goes_to_the_engine_that_submitted_its_task() -> None:
    queue, one, two = EvaluationQueue(), engine(1), engine(2)
    queue.submit(RayEvaluation(task(0), one))
    queue.submit(RayEvaluation(task(1), two))
    for trial_id in ("a", "b"):
        assert queue.take(trial_id) is not None
        queue.start(trial_id)
    assert queue.take("c") is None
    queue.finish("b", outcome(1))
    queue.finish("a", outcome(0))
    for state, number in ((one, 0), (two, 1)):
        found = queue.poll(state, 0)
        assert found is not None
        assert found.number == number
        assert queue.poll(state, 0) is None


def test_an_evaluation_is_restarted_before_others_until_it_has_no_retries_left() -> None:
    queue, one = EvaluationQueue(), engine()
    queue.submit(RayEvaluation(task(0), one))
    queue.submit(RayEvaluation(task(1), one))
    for death in range(RETRIES + 1):
        assert queue.poll(one, 0) is None
        evaluation = queue.take(str(death))
        assert evaluation is not None
        assert (evaluation.task.number, evaluation.deaths) == (0, death)
        queue.start(str(death))
        queue.lose(str(death), "killed")
    found = queue.poll(one, 0)
    assert found is not None
    assert (found.number, found.accuracy, found.retries) == (0, None, RETRIES)
    following = queue.take("next")
    assert following is not None
    assert following.task.number == 1


def test_workers_that_never_start_are_no_deaths_and_end_the_engine() -> None:
    queue, one = EvaluationQueue(), engine()
    queue.submit(RayEvaluation(task(0), one))
    for start in range(MAX_FAILED_STARTS):
        assert queue.poll(one, 0) is None
        evaluation = queue.take(str(start))
        assert evaluation is not None
        assert evaluation.deaths == 0
        queue.lose(str(start), "no such module")
    with pytest.raises(InputError, match="no such module"):
        queue.poll(one, 0)


def test_a_worker_that_starts_forgives_those_that_did_not() -> None:
    queue, one = EvaluationQueue(), engine()
    for number in range(2 * MAX_FAILED_STARTS):
        queue.submit(RayEvaluation(task(number), one))
        queue.take("fails")
        queue.lose("fails", "no such module")
        queue.take("works")
        queue.start("works")
        queue.finish("works", outcome(number))
        found = queue.poll(one, 0)
        assert found is not None
        assert found.number == number


def test_an_idle_worker_that_has_died_counts_for_nothing() -> None:
    queue, one = EvaluationQueue(), engine()
    queue.submit(RayEvaluation(task(0), one))
    for attempt in range(2 * MAX_FAILED_STARTS):
        evaluation = queue.take(str(attempt))
        assert evaluation is not None
        assert evaluation.deaths == 0
        queue.reuse_worker(str(attempt))
        queue.lose(str(attempt), "killed")
        assert queue.poll(one, 0) is None


def test_a_closed_engine_leaves_nothing_behind() -> None:
    queue, one, two = EvaluationQueue(), engine(1), engine(2)
    for number in range(3):
        queue.submit(RayEvaluation(task(number), one))
    queue.submit(RayEvaluation(task(3), two))
    for trial_id in ("placed", "running"):
        queue.take(trial_id)
    queue.start("running")
    queue.close(one)
    assert [queue.is_dropped(trial_id) for trial_id in ("placed", "running")] == [True, True]
    queue.remove("placed")
    queue.lose("running", "killed")
    evaluation = queue.take("next")
    assert evaluation is not None
    assert evaluation.engine is two
    assert not queue.is_dropped("next")
    assert queue.take("more") is None


def test_a_queue_that_ends_ends_tune_when_no_trial_is_left() -> None:
    queue, one = EvaluationQueue(), engine()
    queue.submit(RayEvaluation(task(0), one))
    queue.submit(RayEvaluation(task(1), one))
    queue.take("a")
    queue.end()
    assert queue.take("b") is None
    queue.lose("a", "killed")
    with pytest.raises(TuneRunEnded):
        queue.take("b")
    queue.fail("no longer connected")
    with pytest.raises(RuntimeError, match="no longer connected"):
        queue.poll(one, 0)


def test_tune_waits_for_a_task_where_it_has_nothing_else_to_do() -> None:
    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.set()
            return super().wait(timeout)

    queue, one, waits = EvaluationQueue(), engine(), threading.Event()
    queue._changed = Condition()
    taken: list[RayEvaluation | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take("a")))
    thread.start()
    waits.wait()
    assert taken == []
    queue.submit(RayEvaluation(task(0), one))
    thread.join()
    assert [evaluation and evaluation.task.number for evaluation in taken] == [0]


def test_a_payload_is_pickled_as_what_a_worker_needs_and_keeps_nothing_alive() -> None:
    evaluation = RayEvaluation(task(7), engine(3))
    payload = TrialPayload(evaluation)
    assert isinstance(payload, str)
    received = pickle.loads(pickle.dumps(payload))
    assert received == WorkerInput(3, "a reference", task(7))
    del evaluation
    assert pickle.loads(pickle.dumps(payload)) == str(payload)


def test_no_two_engines_have_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker would go on with the proxy of a closed engine, whose address is used again."""
    monkeypatch.setattr("nas.evaluation.ray_engine.ray.put", lambda proxy: "a reference")
    run: Any = None
    numbers = [RayEngine(run, Toy(), 1)._state.number for _ in range(20)]
    assert len(set(numbers)) == len(numbers)


@dataclass(eq=False)
class FakeTrial:
    trial_id: str
    status: str = Trial.PENDING


class FakeController:
    """Tune's controller, as far as the scheduler uses it."""

    def __init__(self, capacity: int) -> None:
        self.queue = EvaluationQueue()
        self.scheduler = WorkerScheduler(self.queue, lambda: capacity)
        self.trials: list[Any] = []

    def add(self, trial_id: str, engine: EngineState) -> Any:
        self.queue.submit(RayEvaluation(task(0), engine))
        assert self.queue.take(trial_id) is not None
        trial: Any = FakeTrial(trial_id)
        self.trials.append(trial)
        self.scheduler.on_trial_add(self, trial)
        return trial

    def choose(self) -> Any:
        return self.scheduler.choose_trial_to_run(self)

    def start(self, trial: Any) -> None:
        self.queue.start(trial.trial_id)
        trial.status = Trial.RUNNING

    def finish(self, trial: Any) -> None:
        assert self.scheduler.on_trial_result(self, trial, {}) == WorkerScheduler.NOOP
        self.queue.finish(trial.trial_id, outcome(0))

    def get_live_trials(self) -> list[Any]:
        return [trial for trial in self.trials if trial.status != Trial.TERMINATED]

    def stop_trial(self, trial: Any) -> None:
        if trial.status == Trial.PENDING:
            self.scheduler.on_trial_remove(self, trial)
        trial.status = Trial.TERMINATED


def test_an_idle_worker_is_given_to_the_next_trial() -> None:
    tune = FakeController(capacity=1)
    first = tune.add("first", engine(1))
    assert tune.choose() is None  # no worker is idle: Tune starts one
    tune.start(first)
    tune.finish(first)
    second = tune.add("second", engine(2))
    assert tune.scheduler.is_assigning()
    assert tune.choose() is second
    assert not tune.scheduler.is_assigning()
    assert first.status == Trial.TERMINATED  # its worker is the second's
    assert tune.choose() is None


def test_an_idle_worker_is_not_given_to_a_trial_whose_engine_was_closed() -> None:
    tune, two = FakeController(capacity=1), engine(2)
    first = tune.add("first", engine(1))
    tune.choose()
    tune.start(first)
    tune.finish(first)
    second = tune.add("second", two)
    tune.queue.close(two)
    assert tune.choose() is None
    assert (first.status, second.status) == (Trial.RUNNING, Trial.TERMINATED)


@pytest.mark.parametrize("capacity", [1, 2])
def test_an_idle_worker_is_given_to_a_trial_whose_own_has_no_room(capacity: int) -> None:
    tune = FakeController(capacity)
    first = tune.add("first", engine(1))
    tune.choose()
    tune.start(first)
    second = tune.add("second", engine(1))
    assert tune.choose() is None
    tune.finish(first)
    assert tune.choose() is (second if capacity == 1 else None)
