"""The engine ``ray`` on a cluster of two nodes, one of which goes."""

import os
import sys
import threading
from pathlib import Path

import pytest

from nas.evaluation.ray_cluster import connect_to_ray
from tests.support.ray_toys import QUIET, STORE, Toy, found, kill_workers, lossless

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]


def node_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trials: int, pause: float, kills: int
) -> int:
    """Search on a cluster of two nodes, one of which goes; return how many retries that took."""
    from ray.cluster_utils import Cluster as Nodes

    begun = tmp_path / "begun"
    begun.mkdir()
    proxy, done = Toy(begun, pause), threading.Event()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    small = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    nodes = Nodes(initialize_head=True, head_node_args=small)
    try:
        second = nodes.add_node(num_cpus=1, object_store_memory=STORE)
        with connect_to_ray(nodes.address) as connected:
            assert connected.capacity == 2
            killer = threading.Thread(target=kill_workers, args=(begun, kills, 1.0, done))
            killer.start()

            def remove() -> None:
                # As soon as both nodes are at it: then something is lost in the middle.
                while not done.wait(0.1):
                    latest = list(begun.iterdir())
                    if (
                        len(latest) >= trials // 3
                        and len({path.name.split("-")[2] for path in latest}) > 1
                    ):
                        break
                nodes.remove_node(second, allow_graceful=False)

            remover = threading.Thread(target=remove)
            remover.start()
            try:
                result = found(connected.engine(proxy, 2), proxy, tmp_path / "study", trials)
            finally:
                done.set()
                killer.join()
                remover.join()
    finally:
        nodes.shutdown()
    return lossless(begun, result, trials)


@pytest.mark.soak
def test_a_node_that_goes_costs_a_retry_and_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node_removed(monkeypatch, tmp_path, 6, 4.0, 0) >= 1


@pytest.mark.soak
def test_ten_killed_workers_and_a_removed_node_in_sixty_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retries = node_removed(monkeypatch, tmp_path, 60, 1.0, 10)
    print(f"\n60 trials, 10 workers killed, a node removed: {retries} retries, 0 lost, 0 twice")
    assert retries >= 8
