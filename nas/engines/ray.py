"""Evaluations on a Ray cluster: warm actors, the data set held once a node.

Ray's actors are driven directly, and not through Tune: what Tune would add a trial is measured by
``benchmarks/engines.py``, and what it would bring, the search has already (its own proposals,
early stopping, study and resuming). So all of Ray's own state is scratch.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from typing import Any

from nas.data import ImageData
from nas.engines.task import Outcome, Task, reason, run_task
from nas.errors import InputError
from nas.proxies.protocol import Proxy

RETRIES = 3
"""So often an evaluation is begun again whose worker, or node, has died."""

FALSE_STARTS = 3
"""So many workers, one after the other, may die before they are ready."""

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it when it is imported, on every system: 0 keeps a cluster of one node on loopback."""

_SOCKETS = 60
"""Longest folder whose sockets' names, Ray's own below it included, are not too long."""


@contextmanager
def cluster(
    address: str | None = None, *, cpus: float = 1.0, gpus: float = 0.0, **local: Any
) -> Iterator[Cluster]:
    """Connect to a cluster, or start one of this machine, for as long as the context lasts.

    Args:
        address: of its head, ``HOST:PORT``, or ``auto``; None: one of this machine.
        cpus: CPUs of an evaluation.
        gpus: GPUs of an evaluation, also a part of one.
        local: for ``ray.init`` where one is started.

    Raises:
        InputError: it cannot be reached, or no node of it has what an evaluation needs.
    """
    if cpus <= 0 or gpus < 0:
        raise InputError(
            f"an evaluation of {cpus:g} CPUs and {gpus:g} GPUs is not accepted: more than 0 CPUs"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    scratch = None
    if address is None:
        os.environ.setdefault(_LOOPBACK, "0")
        scratch = tempfile.mkdtemp(prefix="nas-ray-")
        local = {"include_dashboard": False, **local}
        if len(scratch) <= _SOCKETS:
            local["_temp_dir"] = scratch
    import ray

    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        try:
            with warnings.catch_warnings(), _same_path():
                warnings.simplefilter("ignore")
                ray.init(
                    address=address or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **local,
                )
        except Exception as error:
            where = "on this machine" if address is None else f"at {address}"
            raise InputError(f"ray: no cluster {where}: {reason(error)}") from None
        finally:
            if main:  # Ray puts its own handler in place, which would end this process at once
                signal.signal(signal.SIGTERM, before)
        ray.util.register_serializer(ImageData, serializer=_apart, deserializer=_together)
        yield Cluster(cpus, gpus)
    finally:
        ray.shutdown()
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _same_path() -> Iterator[None]:
    """Let processes that start in here find the modules that this one finds."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(place for place in sys.path if place)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


class Cluster:
    """A connection to Ray; its workers stay warm from one engine to the next."""

    def __init__(self, cpus: float, gpus: float) -> None:
        import ray

        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        self.capacity = sum(_fits(node["Resources"], cpus, gpus) for node in nodes if node["Alive"])
        if self.capacity == 0:
            raise InputError(
                f"ray: no node has {cpus:g} CPUs and {gpus:g} GPUs, as an evaluation needs; give "
                "less with --cpus-per-trial or --gpus-per-trial"
            )
        self._kind: Any = ray.remote(_Worker).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0
        )
        self._threads = max(1, int(cpus))
        self._kept: list[Any] = []

    def engine(self, proxy: Proxy, jobs: int | None = None) -> RayEngine:
        """Return an engine of ``jobs`` workers; None: as many as the cluster has room for.

        Raises:
            InputError: the proxy cannot be sent to another process, or jobs is not positive.
        """
        slots = self.capacity if jobs is None else jobs
        if slots < 1:
            raise InputError(f"jobs: {slots} is not accepted: at least 1")
        return RayEngine(self, proxy, slots)

    def take(self) -> Any:
        """Return a worker, a warm one if there is one."""
        return self._kept.pop() if self._kept else self._kind.remote(self._threads)

    def keep(self, worker: Any) -> None:
        """Take back a worker that has nothing to do."""
        self._kept.append(worker)


@dataclass(frozen=True)
class _Try:
    task: Task
    deaths: int = 0


class RayEngine:
    """Evaluations by actors of a cluster.

    An evaluation whose worker or node dies is begun again, by whichever worker is free first, up
    to ``RETRIES`` times; its outcome says how often.
    """

    def __init__(self, cluster: Cluster, proxy: Proxy, slots: int) -> None:
        import ray

        self.slots = slots
        self._cluster = cluster
        self._name = type(proxy).__name__
        self._waiting: deque[_Try] = deque()
        self._over: deque[Outcome] = deque()
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, _Try]] = {}
        self._false_starts = 0
        try:
            self._proxy: Any = ray.put(proxy)
        except Exception as error:
            raise InputError(
                f"proxy {self._name}: cannot be sent to Ray's workers ({reason(error)}); "
                "accepted: a picklable proxy"
            ) from None

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._waiting.append(_Try(task))
        self._hand_out()

    def next(self) -> Outcome:
        """Wait for the first task to end.

        Raises:
            InputError: workers cannot even start with this proxy.
        """
        import ray

        while not self._over:
            # In short waits, for the sake of signals.
            ready, _ = ray.wait([*self._starting, *self._busy], num_returns=1, timeout=1.0)
            for reference in ready:
                if reference in self._starting:
                    self._started(reference)
                else:
                    self._ended(reference)
            self._hand_out()
        return self._over.popleft()

    def close(self) -> None:
        """End what is running, at once; idle workers stay, for the next engine."""
        for worker in (*self._starting.values(), *(worker for worker, _ in self._busy.values())):
            _end(worker)
        for worker in self._idle:
            self._cluster.keep(worker)
        for each in (self._starting, self._busy, self._idle, self._waiting, self._over):
            each.clear()
        self._proxy = None

    def _hand_out(self) -> None:
        """Give what waits to idle workers; where there are too few, and may be more, start them."""
        while self._waiting and self._idle:
            worker = self._idle.pop()
            attempt = self._waiting.popleft()
            self._busy[worker.evaluate.remote(attempt.task)] = (worker, attempt)
        while (
            len(self._starting) < len(self._waiting)
            and len(self._starting) + len(self._busy) < self.slots
        ):
            worker = self._cluster.take()
            self._starting[worker.use.remote(self._proxy)] = worker

    def _started(self, reference: Any) -> None:
        import ray

        worker = self._starting.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayActorError as error:
            _end(worker)
            self._false_starts += 1
            if self._false_starts < FALSE_STARTS:
                return
            problem: Exception = error
        except Exception as error:
            _end(worker)
            problem = error
        else:
            self._false_starts = 0
            self._idle.append(worker)
            return
        raise InputError(
            f"proxy {self._name}: a worker of Ray cannot start with it ({reason(problem)}); "
            "accepted: a proxy that all nodes can import"
        ) from None

    def _ended(self, reference: Any) -> None:
        import ray

        worker, attempt = self._busy.pop(reference)
        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.RayActorError:  # the worker died, or its node
            _end(worker)
            if attempt.deaths < RETRIES:
                self._waiting.appendleft(replace(attempt, deaths=attempt.deaths + 1))
                return
            outcome = _failed(attempt, f"its worker died {attempt.deaths + 1} times")
        except Exception as error:  # it answered, but nothing that can be sent
            _end(worker)
            outcome = _failed(attempt, reason(error))
        else:
            self._idle.append(worker)
        self._over.append(replace(outcome, retries=attempt.deaths))


class _Worker:
    """What runs in a worker process; evaluates by the proxy that it was given last."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)

    def use(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def evaluate(self, task: Task) -> Outcome:
        return run_task(self._proxy, task)


def _failed(attempt: _Try, error: str) -> Outcome:
    return Outcome(attempt.task.number, None, (), False, error, 0.0)


def _end(worker: Any) -> None:
    import ray

    with suppress(Exception):
        ray.kill(worker)


def _fits(resources: dict[str, float], cpus: float, gpus: float) -> int:
    """Return how many evaluations a node has room for."""
    count = int(resources.get("CPU", 0.0) / cpus + 1e-9)
    return min(count, int(resources.get("GPU", 0.0) / gpus + 1e-9)) if gpus else count


# Tensors as arrays: those Ray keeps in the memory that all processes of a node share, and hands
# out without copying. Nothing writes to a data set.


def _apart(data: ImageData) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {}
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, torch.Tensor):
            images = value.ndim == 4  # stored channels_last, that is, in this order
            plain = value.detach().cpu()
            plain = plain.permute(0, 2, 3, 1) if images else plain
            value = _Array(plain.contiguous().numpy(), images, str(value.device))
        found[field.name] = value
    return found


def _together(found: dict[str, Any]) -> ImageData:
    import torch

    values: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, _Array):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it cannot be written to
                tensor = torch.from_numpy(value.array)
            tensor = tensor.permute(0, 3, 1, 2) if value.images else tensor
            values[name] = tensor.to(value.device)
        else:
            values[name] = value
    return ImageData(**values)


@dataclass(frozen=True, eq=False)
class _Array:
    array: Any
    images: bool
    device: str
