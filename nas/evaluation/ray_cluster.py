"""The connection to a Ray cluster, or to one started on this machine.

Ray and Tune change the process that uses them: environment variables, a signal handler, loggers and
what is printed. :func:`connect_to_ray` changes or undoes these for as long as it is connected.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.data import ImageData
from nas.errors import InputError
from nas.evaluation.executor import reason
from nas.evaluation.shared_arrays import image_data_from_arrays, image_data_to_arrays
from nas.evaluation.worker import environment_variables
from nas.proxies.protocol import Proxy

if TYPE_CHECKING:
    from nas.evaluation.ray_engine import RayEngine

logger = logging.getLogger(__name__)

_LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it on import, on every system: with 0, a cluster of one node uses loopback only."""

_SCRATCH_PREFIX = "nas-ray-"
"""Scratch folders are named by this, the process that made them, and a random part."""

_MAX_SOCKET_FOLDER = 60
"""Longest path of a folder below which the paths of Ray's sockets are not too long."""


@contextmanager
def connect_to_ray(
    address: str | None = None, *, cpus: float = 1.0, gpus: float = 0.0, **local: Any
) -> Iterator[RayCluster]:
    """Connect to a cluster, or start one on this machine, for as long as the context lasts.

    Args:
        address: of the cluster's head, ``HOST:PORT``, or ``auto``; None: start one here.
        cpus: CPUs of an evaluation.
        gpus: GPUs of an evaluation; may be a fraction.
        local: further arguments of ``ray.init`` if a cluster is started.

    Raises:
        InputError: the cluster cannot be reached or started, or no node of it has the resources
            of an evaluation.
    """
    if cpus <= 0 or gpus < 0:
        raise InputError(
            f"an evaluation of {cpus:g} CPUs and {gpus:g} GPUs is not accepted: more than 0 CPUs"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    remove_stale_scratch()
    scratch = tempfile.mkdtemp(prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-")
    if address is None:
        os.environ.setdefault(_LOOPBACK_VARIABLE, "0")
        local = {"include_dashboard": False, **local}
        if len(scratch) <= _MAX_SOCKET_FOLDER:
            local["_temp_dir"] = scratch
    import ray

    search_path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        with _sigterm_handler_kept(), environment_variables(search_path):
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
        from nas.evaluation.ray_engine import TUNE_ENVIRONMENT

        ray.util.register_serializer(
            ImageData, serializer=image_data_to_arrays, deserializer=image_data_from_arrays
        )
        with (
            environment_variables(TUNE_ENVIRONMENT),
            _worker_notices_suppressed(),
            _loggers_disabled("ray.tune", "ray.air", "ray.train"),
        ):
            connected = RayCluster(cpus, gpus, Path(scratch))
            logger.info(
                "connected to Ray %s: room for %d evaluations",
                "on this machine" if address is None else f"at {address}",
                connected.capacity,
            )
            try:
                yield connected
            finally:
                connected.close()
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


class RayCluster:
    """A connected cluster; its workers are kept from one engine to the next.

    Args:
        cpus: CPUs of an evaluation.
        gpus: GPUs of an evaluation; may be a fraction.
        scratch: a folder for what Tune writes.

    Attributes:
        capacity: how many evaluations fit on the cluster's nodes, when it was connected.

    Raises:
        InputError: no node has the resources of an evaluation.
    """

    def __init__(self, cpus: float, gpus: float, scratch: Path) -> None:
        from nas.evaluation.ray_engine import TuneRun

        self._run = TuneRun(cpus, gpus, scratch)
        self.capacity = self._run.capacity()
        if self.capacity == 0:
            raise InputError(
                f"ray: no node has {cpus:g} CPUs and {gpus:g} GPUs, as an evaluation needs; give "
                "less with --cpus-per-trial or --gpus-per-trial"
            )

    def engine(self, proxy: Proxy, jobs: int | None = None) -> RayEngine:
        """Return an engine that runs ``jobs`` evaluations at a time; None: ``capacity``.

        Raises:
            InputError: the proxy cannot be sent to another process, or jobs is not positive.
        """
        from nas.evaluation.ray_engine import RayEngine

        slots = self.capacity if jobs is None else jobs
        if slots < 1:
            raise InputError(f"jobs: {slots} is not accepted: at least 1")
        return RayEngine(self._run, proxy, slots)

    def close(self) -> None:
        """End all evaluations and workers."""
        self._run.end()


def remove_stale_scratch() -> None:
    """Remove the scratch folders of this user's processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_SCRATCH_PREFIX}*-*"):
        with suppress(OSError, ValueError):
            pid = int(path.name.removeprefix(_SCRATCH_PREFIX).partition("-")[0])
            if path.stat().st_uid != os.getuid():
                continue
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _sigterm_handler_kept() -> Iterator[None]:
    """Restore the SIGTERM handler: Ray installs one that ends this process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _worker_notices_suppressed() -> Iterator[None]:
    """Keep Ray from printing notices of dead workers on standard output, where --json prints.

    Ray has no option for it: they are printed whatever ``log_to_driver`` is.
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


@contextmanager
def _loggers_disabled(*names: str) -> Iterator[None]:
    """Disable loggers: what they report of lost workers is part of the outcomes."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
