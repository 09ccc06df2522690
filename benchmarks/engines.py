"""What an engine adds to a trial: evaluations that take no time at all, by the clock.

    python benchmarks/engines.py [--trials N] [--jobs N]
    python benchmarks/engines.py --wait 10 --jobs 8

All in one run, one after the other, with as many at once: this process; parallel processes; warm
actors of Ray; and what one would write with Ray Tune: a function that is tuned, a class whose
actors Tune reuses, and that class with a searcher of one's own, as a loop of one's own needs. The
first evaluations, while workers start, are left out of ours (a run starts them once); of Tune's
the whole run counts but for Ray's own start, since each ``fit`` begins anew, and what is left
between two lengths of run is what a trial adds.

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
from nas.architecture import Architecture, efficientnet_b0
from nas.engines.local import local_engine
from nas.engines.ray import cluster
from nas.engines.task import Engine, Task


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


def tuned(trials: int, jobs: int, kind: str) -> float:
    """Return the seconds of one trial of Ray Tune, by the difference of two lengths of run."""
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter, Searcher

    class Ours(Searcher):
        """Hands out what a loop has decided on."""

        def __init__(self) -> None:
            super().__init__(metric="accuracy", mode="max")
            self.number = 0

        def suggest(self, trial_id: str) -> dict[str, Any]:
            self.number += 1
            return {"x": self.number}

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            if error:
                raise SystemExit("a trial of Ray Tune failed")

        def save(self, checkpoint_path: str) -> None:
            pass

        def restore(self, checkpoint_path: str) -> None:
            pass

    class Class(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def step(self) -> dict[str, Any]:
            return {"accuracy": 0.5, "done": True}

        def reset_config(self, config: dict[str, Any]) -> bool:
            return True

    def function(config: dict[str, Any]) -> dict[str, Any]:
        return {"accuracy": 0.5}

    def run(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            own = kind == "searcher"
            tune.Tuner(
                function if kind == "function" else Class,
                param_space={} if own else {"x": tune.uniform(0, 1)},
                tune_config=tune.TuneConfig(
                    num_samples=count,
                    search_alg=ConcurrencyLimiter(Ours(), max_concurrent=jobs) if own else None,
                    max_concurrent_trials=None if own else jobs,
                    reuse_actors=kind != "function",
                ),
                run_config=tune.RunConfig(
                    storage_path=folder,
                    verbose=0,
                    checkpoint_config=None if kind == "function" else no_checkpoint,
                ),
            ).fit()
            return time.perf_counter() - begin

    # Its result is all that is to be kept.
    no_checkpoint = tune.CheckpointConfig(checkpoint_at_end=False)
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
        with cluster(num_cpus=jobs, object_store_memory=100 * 1024 * 1024) as connected:
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
    with cluster(num_cpus=jobs, object_store_memory=100 * 1024 * 1024) as connected:
        found["ray: our warm actors"] = seconds(connected.engine(Nothing(), jobs), trials)
    # Another one: the warm actors keep their CPUs to the end of theirs.
    with cluster(num_cpus=jobs, object_store_memory=100 * 1024 * 1024):
        found["Ray Tune, a class, actors reused"] = tuned(trials, jobs, "class")
        found["Ray Tune, the same, a searcher"] = tuned(trials, jobs, "searcher")
        found["Ray Tune, a function"] = tuned(trials, jobs, "function")
    ours = found["ray: our warm actors"]
    print(f"{trials} evaluations of nothing, {jobs} at once")
    for name, value in found.items():
        print(f"{name:<34}{1000 * value:9.1f} ms a trial{value / ours:9.1f} × ours on Ray")


if __name__ == "__main__":
    main()
