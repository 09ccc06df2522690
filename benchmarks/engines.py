"""What an engine adds to a trial: evaluations that take no time at all, by the clock.

    python benchmarks/engines.py [--trials N] [--jobs N]
    python benchmarks/engines.py --wait 10 --jobs 8

All in one run, one after the other, with as many at once: this process; parallel processes; the
engine ``ray``, which is Ray Tune with a searcher of ours and reused workers; and what one would
write instead: actors driven by hand, and a plain function that Ray Tune tunes. The first
evaluations, while workers start, are left out of the engines and actors (a run starts them once).
The function's trials each begin anew: what lies between two lengths of run is what a trial adds.

With --wait, evaluations that only wait so many seconds, on so many workers of a simulated cluster,
warm: how near the rate is to the ideal one. Goals: at most 100 ms a trial; 90 % of the ideal rate.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from nas.accuracy import Accuracy
from nas.evaluation.executor import Engine, Outcome, Task, run_task
from nas.evaluation.local import local_engine
from nas.evaluation.ray_cluster import connect_to_ray
from nas.networks.architecture import Architecture, efficientnet_b0


class Nothing:
    """A proxy that takes no time, or waits."""

    def __init__(self, wait: float = 0.0) -> None:
        self.wait = wait

    def prepare(self, *_: object) -> None:
        """Nothing to do."""

    def evaluate(self, arch: Architecture, *, seed: int, report: Any) -> Accuracy:
        """Return what costs nothing."""
        time.sleep(self.wait if seed else 0.0)
        return Accuracy(0.5, 0.0)


def seconds(engine: Engine, trials: int) -> float:
    """Return the seconds of one evaluation, workers being warm."""
    b0 = efficientnet_b0()

    def run(count: int, seed: int) -> float:
        begin, waiting, running = time.perf_counter(), count, 0
        while waiting or running:
            while waiting and running < engine.slots:
                engine.submit(Task(waiting, b0, seed))
                waiting, running = waiting - 1, running + 1
            outcome = engine.next()
            assert not outcome.error, outcome.error
            running -= 1
        return (time.perf_counter() - begin) / count

    try:
        run(4 * engine.slots, 0)
        return run(trials, 1)
    finally:
        engine.close()


class ByHand:
    """An engine of actors and no more: none is replaced that dies, and what fails, fails all."""

    def __init__(self, jobs: int) -> None:
        import ray

        self.slots = jobs
        kind = ray.remote(num_cpus=1)(Worker)
        self._idle = [kind.remote(Nothing()) for _ in range(jobs)]
        self._busy: dict[Any, Any] = {}

    def submit(self, task: Task) -> None:
        """Take a task."""
        worker = self._idle.pop()
        self._busy[worker.evaluate.remote(task)] = worker

    def next(self) -> Outcome:
        """Wait for the first to end."""
        import ray

        [done], _ = ray.wait(list(self._busy), num_returns=1)
        self._idle.append(self._busy.pop(done))
        outcome: Outcome = ray.get(done)
        return outcome

    def close(self) -> None:
        """End the actors."""
        self._idle.clear()


class Worker:
    """An actor's content."""

    def __init__(self, proxy: Nothing) -> None:
        self._proxy = proxy

    def evaluate(self, task: Task) -> Outcome:
        """Evaluate a task."""
        return run_task(self._proxy, task)


def tuned(trials: int, jobs: int) -> float:
    """Return the seconds of a trial of a tuned function, by the difference of two lengths."""
    from ray import tune

    def function(config: dict[str, Any]) -> dict[str, Any]:
        return {"accuracy": 0.5}

    def run(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            tune.Tuner(
                function,
                param_space={"x": tune.uniform(0, 1)},
                tune_config=tune.TuneConfig(num_samples=count, max_concurrent_trials=jobs),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            ).fit()
            return time.perf_counter() - begin

    few = max(2, trials // 5)
    short = run(few)
    return (run(trials) - short) / (trials - few)


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--wait", type=float, metavar="SECONDS")
    options = parser.parse_args()
    trials, jobs = options.trials, options.jobs
    warnings.simplefilter("ignore")
    if options.wait:
        rounds = max(1, trials // jobs)
        with connect_to_ray(num_cpus=jobs, object_store_memory=100 * 1024 * 1024) as connected:
            taken = seconds(connected.engine(Nothing(options.wait), jobs), rounds * jobs)
        print(
            f"{rounds * jobs} evaluations of {options.wait:g} s on {jobs} workers: "
            f"{100 * options.wait / jobs / taken:.1f} % of the ideal rate"
        )
        return

    found = {
        "this process": seconds(local_engine(Nothing(), 1), trials),
        "parallel processes": seconds(local_engine(Nothing(), jobs), trials),
    }
    with connect_to_ray(num_cpus=jobs, object_store_memory=100 * 1024 * 1024) as connected:
        found["ray: Tune, our engine"] = seconds(connected.engine(Nothing(), jobs), trials)
    # Others: the warm workers keep their CPUs to the end of theirs.
    with connect_to_ray(num_cpus=jobs, object_store_memory=100 * 1024 * 1024):
        found["actors driven by hand"] = seconds(ByHand(jobs), trials)
    with connect_to_ray(num_cpus=jobs, object_store_memory=100 * 1024 * 1024):
        found["Ray Tune, a function"] = tuned(trials, jobs)
    ours = found["ray: Tune, our engine"]
    print(f"{trials} evaluations of nothing, {jobs} at once")
    for name, value in found.items():
        print(f"{name:<34}{1000 * value:9.1f} ms a trial{value / ours:9.1f} × ours on Ray")


if __name__ == "__main__":
    main()
