"""A connection to a Ray cluster, or one of this machine, and all that belongs to it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.data import ImageData
from nas.errors import InputError
from nas.evaluation.executor import reason
from nas.evaluation.shared_arrays import apart, together
from nas.evaluation.worker import environment
from nas.proxies.protocol import Proxy

if TYPE_CHECKING:
    from nas.evaluation.ray_tune import RayEngine

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it when it is imported, on every system: 0 keeps a cluster of one node on loopback."""

_SCRATCH = "nas-ray-"
"""Names of scratch folders begin so; the process that made it comes next."""

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
    _sweep()
    scratch = tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-")
    if address is None:
        os.environ.setdefault(_LOOPBACK, "0")
        local = {"include_dashboard": False, **local}
        if len(scratch) <= _SOCKETS:
            local["_temp_dir"] = scratch
    import ray

    try:
        with _signals_kept(), environment({"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}):
            try:
                with warnings.catch_warnings():
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
        from nas.evaluation.ray_tune import SETTINGS

        ray.util.register_serializer(ImageData, serializer=apart, deserializer=together)
        with environment(SETTINGS), _unprinted(), _quiet("ray.tune", "ray.air", "ray.train"):
            connected = Cluster(cpus, gpus, Path(scratch))
            try:
                yield connected
            finally:
                connected.close()
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo the handler of Ray, which would end this process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _unprinted() -> Iterator[None]:
    """Keep Ray's notices, of workers that died, from standard output, where --json has its own.

    Ray has no option for it: they come whatever ``log_to_driver`` is.
    """
    from ray._private import worker

    name = "print_to_stdstream"
    before = getattr(worker, name, None)
    if before is not None:
        setattr(worker, name, lambda *_, **__: None)
    try:
        yield
    finally:
        if before is not None:
            setattr(worker, name, before)


def _sweep() -> None:
    """Remove the scratch of drivers that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        with suppress(OSError, ValueError):
            pid = int(path.name.removeprefix(_SCRATCH).partition("-")[0])
            if path.stat().st_uid != os.getuid():
                continue
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let nothing be logged: what is to be said of a lost worker, its evaluation's outcome says."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class Cluster:
    """A connection to Ray; its workers stay warm from one engine to the next."""

    def __init__(self, cpus: float, gpus: float, scratch: Path) -> None:
        from nas.evaluation.ray_tune import TuneRun

        self._run = TuneRun(cpus, gpus, scratch)
        self.capacity = self._run.rooms()
        if self.capacity == 0:
            raise InputError(
                f"ray: no node has {cpus:g} CPUs and {gpus:g} GPUs, as an evaluation needs; give "
                "less with --cpus-per-trial or --gpus-per-trial"
            )

    def engine(self, proxy: Proxy, jobs: int | None = None) -> RayEngine:
        """Return an engine of ``jobs`` workers; None: as many as the cluster has room for.

        Raises:
            InputError: the proxy cannot be sent to another process, or jobs is not positive.
        """
        from nas.evaluation.ray_tune import RayEngine

        slots = self.capacity if jobs is None else jobs
        if slots < 1:
            raise InputError(f"jobs: {slots} is not accepted: at least 1")
        return RayEngine(self._run, proxy, slots)

    def close(self) -> None:
        """End all that runs."""
        self._run.end()
