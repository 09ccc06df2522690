"""The engine ``ray``, on clusters of this machine: the same trials, and none lost to any death."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray._private.worker

import nas.evaluation.ray_cluster
import nas.evaluation.ray_engine
from nas.accuracy import Accuracy
from nas.data import ImageData
from nas.errors import InputError, Lost
from nas.evaluation.executor import RETRIES
from nas.evaluation.local import local_engine
from nas.evaluation.ray_cluster import RayCluster, connect_to_ray
from nas.networks.architecture import Architecture
from tests.support.ray_toys import (
    QUIET,
    STORE,
    Report,
    Toy,
    facts,
    found,
    lossless,
    results,
    task,
)
from tests.support.waiting import HANG, is_running, wait_until

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]


@pytest.fixture(scope="module")
def two() -> Iterator[RayCluster]:
    """A cluster of this machine, with room for two evaluations."""
    with connect_to_ray(num_cpus=2, object_store_memory=STORE) as connected:
        yield connected


def test_workers_are_reused_and_what_fails_fails_alone(two: RayCluster) -> None:
    assert two.capacity == 2
    engine = two.engine(Toy())
    try:
        found = results(engine, [task(n, 2 if n == 3 else 9) for n in range(8)])
    finally:
        engine.close()
    assert found.pop(3).error == "ValueError: two"
    assert {outcome.error for outcome in found.values()} == {""}
    pids = {outcome.accuracy.metric for outcome in found.values() if outcome.accuracy}
    assert len(pids) <= 2
    assert str(os.getpid()) not in pids
    engine = two.engine(Toy())  # warm: the same processes
    try:
        [again] = results(engine, [task(0)]).values()
    finally:
        engine.close()
    assert again.accuracy is not None
    assert again.accuracy.metric in pids
    for pid in pids:  # without work: that they die costs no evaluation a retry
        os.kill(int(pid), signal.SIGKILL)
    engine = two.engine(Toy())
    try:
        [again] = results(engine, [task(0)]).values()
    finally:
        engine.close()
    assert again.accuracy is not None
    assert again.accuracy.metric not in pids
    assert again.retries == 0


@pytest.mark.parametrize(
    "by",
    [pytest.param(1, id="SIGKILL"), pytest.param(5, id="SIGTERM", marks=pytest.mark.soak)],
)
def test_a_worker_that_dies_is_replaced_and_its_evaluation_tried_again_so_often(
    by: int, two: RayCluster, tmp_path: Path
) -> None:
    engine = two.engine(Toy(tmp_path), 1)
    try:
        found = results(engine, [task(0, by), task(1)])
    finally:
        engine.close()
    assert found[0].accuracy is None
    assert found[0].error == f"its worker died {RETRIES + 1} times"
    assert found[0].retries == RETRIES
    assert found[1].error == ""
    assert found[1].retries == 0
    assert len(list(tmp_path.iterdir())) == RETRIES + 2


def test_closing_does_not_wait(two: RayCluster, tmp_path: Path) -> None:
    engine = two.engine(Toy(tmp_path), 1)
    engine.submit(task(0, 4))
    wait_until(lambda: list(tmp_path.iterdir()), "the evaluation has begun")
    pid = int(next(tmp_path.iterdir()).name.split("-")[2])
    engine.close()
    wait_until(lambda: not is_running(pid), "its worker has ended")


def test_a_cluster_that_has_lost_its_room_is_not_waited_for_forever(
    two: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.evaluation.ray_engine, "CAPACITY_CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(nas.evaluation.ray_engine, "NO_CAPACITY_TIMEOUT", 0.0)
    monkeypatch.setattr(nas.evaluation.ray_engine.TuneRun, "capacity", lambda self: 0)
    engine = two.engine(Toy(), 1)
    try:
        engine.submit(task(0, 4))  # it never ends
        with pytest.raises(Lost, match="1 CPUs and 0 GPUs"):
            engine.next()
    finally:
        engine.close()


class Unsendable(Toy):
    def __reduce__(self) -> Any:
        raise RuntimeError("stays here")


def broken() -> Any:
    raise RuntimeError("cannot be made there")


class Unreadable(Toy):
    def __reduce__(self) -> Any:
        return broken, ()


def test_a_proxy_that_cannot_be_sent_is_wrong_input(two: RayCluster) -> None:
    with pytest.raises(InputError, match=r"proxy Unsendable: .*stays here"):
        two.engine(Unsendable())
    engine = two.engine(Unreadable())
    engine.submit(task(0))
    try:
        with pytest.raises(InputError, match=r"proxy Unreadable: .*cannot be made there") as caught:
            engine.next()
    finally:
        engine.close()
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="jobs: 0 "):
        two.engine(Toy(), 0)


class Looks(Toy):
    """Says where its images lie, and what they are."""

    def __init__(self, data: ImageData) -> None:
        super().__init__()
        self.data = data

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Any:
        import torch

        images = self.data.train_images
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert self.data.test_images is None
        maps = Path("/proc/self/maps").read_text().splitlines()
        spans = [line.split() for line in maps]
        [where] = [
            "".join(span[5:])
            for span in spans
            if int(span[0].split("-")[0], 16) <= images.data_ptr() < int(span[0].split("-")[1], 16)
        ]
        total = int(images.long().sum()) + int(self.data.validation_labels.sum())
        return Accuracy(0.5, 0.0, metric=f"{where} {total}")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_a_data_set_lies_once_in_the_memory_that_all_share(two: RayCluster) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count) % 4
        return images.contiguous(memory_format=torch.channels_last), labels

    data = ImageData.from_parts("x", "abcd", part(2000), part(40), None)
    engine = two.engine(Looks(data), 1)
    try:
        [outcome] = results(engine, [task(0)]).values()
    finally:
        engine.close()
    assert outcome.error == ""
    assert outcome.accuracy is not None
    where, total = outcome.accuracy.metric.split()
    assert "plasma" in where or "shm" in where
    assert int(total) == int(data.train_images.long().sum()) + int(data.validation_labels.sum())


def test_the_same_trials_as_local(two: RayCluster) -> None:
    proxy = Toy()
    for jobs in (1, 2):
        ours = found(two.engine(proxy, jobs), proxy)
        theirs = found(local_engine(proxy, jobs), proxy)
        assert facts(ours) == facts(theirs)


def test_killed_workers_cost_a_retry_and_no_trial_and_nothing_is_printed(
    two: RayCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    proxy = Toy(begun, deaths=2)
    noticed, silenced = threading.Event(), ray._private.worker.print_to_stdstream

    def notice(*given: Any, **more: Any) -> None:
        silenced(*given, **more)
        noticed.set()

    monkeypatch.setattr(ray._private.worker, "print_to_stdstream", notice)
    result = found(two.engine(proxy, 2), proxy, tmp_path / "study")
    assert lossless(begun, result, 20) == 2
    assert noticed.wait(HANG)  # Ray's notices come a little later
    assert capsys.readouterr() == ("", "")


def test_the_scratch_of_killed_drivers_is_removed() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    places = {
        name: Path(tempfile.gettempdir()) / f"nas-ray-{name}-test"
        for name in (str(dead.pid), str(os.getpid()), "somebody")
    }
    for place in places.values():
        place.mkdir()
    try:
        nas.evaluation.ray_cluster.remove_stale_scratch()
        assert [place.exists() for place in places.values()] == [False, True, True]
    finally:
        for place in places.values():
            shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cpus": 0.0}, "0 CPUs and 0 GPUs"),
        ({"gpus": -1.0}, "1 CPUs and -1 GPUs"),
    ],
)
def test_wrong_resources(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said), connect_to_ray(**arguments):
        pass
