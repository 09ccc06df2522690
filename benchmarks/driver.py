"""What a trial costs beside its evaluation: this project's driver and plain Optuna, in one run.

    python benchmarks/driver.py [--trials 8000] [--plain 200] [--budget 400M-flops]

The evaluation is instant, so what is left is the loop, the budget, the storage and the sampler; the
sampler's own time is taken apart. Everything is durable: a trial is on disk before the next begins.
Plain Optuna is what a user would write instead: SQLite, `study.ask` of each choice, the cost and
`study.tell`; it needs minutes for a few hundred trials, so it gets fewer.

Goals: at most 5 ms a trial without the sampler, flat: the last 1,000 at most 1.5 times the first
1,000. The study must open with `optuna.load_study`.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import optuna

from nas.accuracy import Accuracy
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.proxies.protocol import Report
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_budget, load_space
from nas.spaces.search_space import SearchSpace, Value
from nas.strategies.samplers import SAMPLERS, Sampler, make_sampler
from nas.strategies.search import search

PLAIN = ("tpe", "nsga2", "random")


def instant_accuracy(architecture: Architecture) -> float:
    """Return a number in [0, 1] that grows with the network's costs, at once."""
    cost = measure_cost(architecture)
    return 1 - 1 / (1 + (cost.flops / 1e8) ** 0.5 + (cost.params / 1e6) ** 0.5)


class Instant:
    """A proxy that takes no time."""

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Prepare nothing."""

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return a made-up accuracy."""
        return Accuracy(instant_accuracy(arch), 0.0)


class Timed:
    """A sampler that adds up the time that it takes, by trial."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.seconds: dict[int, float] = {}

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> Mapping[str, Value]:
        """Propose what the sampler proposes."""
        start = time.perf_counter()
        try:
            return self._sampler.propose(feasible, history, rng)
        finally:
            taken = time.perf_counter() - start
            self.seconds[len(history)] = self.seconds.get(len(history), 0.0) + taken


def report(name: str, driver: list[float], sampler: list[float]) -> None:
    """Print a line: ms a trial in the first and the last thousand, and their ratio."""
    part = min(1000, len(driver) // 2)
    first, last = fmean(driver[:part]), fmean(driver[-part:])
    print(
        f"{name:26}{len(driver):8}{1e3 * fmean(driver):10.2f}{1e3 * first:10.2f}{1e3 * last:10.2f}"
        f"{last / first:8.2f}{1e3 * fmean(sampler):12.2f}",
        flush=True,
    )


def ours(name: str, trials: int, budget: str) -> None:
    """Run this project's search and print its line."""
    space = load_space("efficientnet")
    sampler = Timed(make_sampler(name))
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = search(
            space,
            load_budget(budget),
            Instant(),
            trials=trials,
            sampler=sampler,
            storage=Path(folder),
            on_trial=lambda _: ends.append(time.perf_counter()),
        )
        backend = optuna.storages.journal.JournalFileBackend(str(Path(folder, "study.log")))
        study = optuna.load_study(
            study_name="search", storage=optuna.storages.JournalStorage(backend)
        )
        assert len(study.trials) == len(result.trials) == trials
        assert study.best_value == result.baseline.score
    taken = [b - a for a, b in zip([start, *ends], ends, strict=False)]
    own = [sampler.seconds.get(number, 0.0) for number in range(trials)]
    report(f"nas-search {name}", [t - s for t, s in zip(taken, own, strict=True)], own)


def plain(name: str, trials: int, budget: str) -> None:
    """Run what one would write with Optuna alone, and print its line."""
    space, limits = load_space("efficientnet"), load_budget(budget)
    samplers = {
        "tpe": optuna.samplers.TPESampler(seed=0, multivariate=True),
        "nsga2": optuna.samplers.NSGAIISampler(seed=0),
        "random": optuna.samplers.RandomSampler(seed=0),
    }
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{Path(folder, 'study.db')}",
            sampler=samplers[name],
            direction="maximize",
        )
        for _ in range(trials):
            start = time.perf_counter()
            trial = study.ask()
            choices = {
                choice: trial.suggest_categorical(choice, values)
                for choice, values in space.choices.items()
            }
            architecture = space.decode(choices)
            if limits.allows(measure_cost(architecture)):
                study.tell(trial, instant_accuracy(architecture))
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            taken.append(time.perf_counter() - start)
    report(f"plain Optuna {name}", taken, [0.0] * trials)


def append_seconds(folder: Path, count: int = 200) -> float:
    """Return how long this disk takes to append a line and keep it, which every trial has to."""
    taken = []
    with (folder / "lines").open("ab") as stream:
        for _ in range(count):
            start = time.perf_counter()
            stream.write(b"x" * 4000 + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
            taken.append(time.perf_counter() - start)
    return fmean(taken)


def main() -> None:
    """Print a line for each sampler of ours and of plain Optuna."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=8000)
    parser.add_argument("--plain", type=int, default=200, help="trials of plain Optuna")
    parser.add_argument("--budget", default="400M-flops")
    parser.add_argument("--samplers", nargs="+", default=["random"], choices=list(SAMPLERS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("ms a trial, without the sampler (plain Optuna: with it, they cannot be told apart)")
    print(
        f"{'':26}{'trials':>8}{'all':>10}{'first':>10}{'last':>10}{'ratio':>8}{'the sampler':>12}"
    )
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'(fsync of one line alone)':26}{'':8}{1e3 * append_seconds(Path(folder)):10.2f}")
    for name in options.samplers:
        ours(name, options.trials, options.budget)
    for name in PLAIN:
        plain(name, options.plain, options.budget)


if __name__ == "__main__":
    main()
