"""What all tests share: the development data, threads, a cache of their own, hypothesis."""

import atexit
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Before any test imports torch, ray or datasets, since they read these when they are imported.
# One thread, unless the environment says otherwise: the networks of the tests are too small for
# two, and sums are taken in an order that depends on the number. Processes that tests start inherit
# these variables, and so compute with as many threads as the test itself.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # Ray's processes use loopback only

# A shell starts what is in the background with SIGINT ignored, and processes inherit that: those
# that tests start and interrupt would never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is remembered between runs (measured costs, prepared data) is kept apart from the user's.
# Processes that test in parallel share it with the one that started them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="nas-search-tests-", ignore_cleanup_errors=True)
    os.environ["XDG_CACHE_HOME"] = _cache.name
    atexit.register(_cache.cleanup)  # last of all: nas.networks.cost saves what it measured then

try:
    from hypothesis import settings
except ModuleNotFoundError:  # a test that needs it says so itself
    pass
else:
    settings.register_profile("dev", deadline=None)
    settings.register_profile("ci", deadline=None, derandomize=True, database=None)
    settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def _as_many_threads_as_other_processes() -> None:
    """Undo changes that an earlier test, or the code it tested, made to torch's threads."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def shared() -> Callable[..., Path]:
    """`shared("data", "cifar10")`: a path of the development data beside the checkout.

    The data is not redistributed with the project; without it the test is skipped.
    """

    def path(*parts: str) -> Path:
        found = ROOT.parent.joinpath("shared", *parts)
        if not found.exists():
            pytest.skip(f"needs the development data {'/'.join(('shared', *parts))}")
        return found

    return path
