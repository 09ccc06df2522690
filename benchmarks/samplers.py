"""How many evaluations each sampler needs, on real and made-up tables, side by side in one run.

    python benchmarks/samplers.py [--seeds 20] [--evaluations 300] [--samplers …] [--tables …]

Every sampler proposes through the same filter: within the budget, never a network twice. `smac3`
is SMAC3's, and runs where it is named and installed (extra `benchmarks`). Of a table it is printed
how far the best found is from the best known (in points, the median over the seeds) after 30, 60,
120 and 300 evaluations, and how long a proposal takes. The tables:

- `imagenet`: the shipped predictor of ImageNet accuracy, space `efficientnet`, 400M FLOPs; beside
  it, the evaluations until a network has EfficientNet-B0's accuracy, within the budget and at B0's
  own FLOPs or below.
- `booster`: the same trainings seen by another kind of model, gradient boosting (scikit-learn).
- `a100`, `zcu102`: throughput on these devices, measured of the same networks, as the objective.
- `trade`: half the accuracy and half the logarithm of the A100's throughput, each rescaled.
- `smooth`: space `mnasnet`, 300M FLOPs and 4M parameters: diminishing returns, weak interactions.
- `rugged`: space `efficientnetv2` (joint blocks), 3G FLOPs: as much again in random terms of three
  choices each.
- `noisy`: `smooth` with noise of a third of its spread; what is found is judged without the noise.

`booster`, `a100`, `zcu102` and `trade` need the released archive of Accel-NASBench and scikit-learn
(extra `benchmarks`), and are skipped without. All but `imagenet` are rescaled: from the 1st to the
99th of 100 of the rows measured is 10 points.

Goals, on `imagenet`: the default sampler reaches B0's accuracy within 30 evaluations and is within
0.15 points of the best known after 120, within 0.05 after 300.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, islice
from pathlib import Path
from statistics import fmean, median

import numpy as np
from peer_samplers import PEERS

from nas.accuracy import Accuracy
from nas.networks.architecture import efficientnet_b0
from nas.networks.cost import measure_cost
from nas.proxies.imagenet_predictor import shipped_predictor
from nas.seeding import derived_rng
from nas.spaces.budget import Budget, parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.spaces.search_space import Choices, SearchSpace
from nas.strategies.proposer import Proposer
from nas.strategies.samplers import SAMPLERS, make_sampler
from nas.strategies.simulate import simulate

ROOT = Path(__file__).resolve().parent.parent

ARCHIVE = ROOT.parent / "shared/data/accel-nasbench/anb_dataset_jsons.tar.gz"
BUDGET = "400M-flops"
MARKS = (30, 60, 120, 300)
WITH_B0 = ("imagenet", "booster")


@dataclass
class Table:
    """A space, a budget, and the accuracy in [0, 1] of each of a batch of canonical choices."""

    name: str
    space: SearchSpace
    budget: Budget
    batch: Callable[[Sequence[Choices]], np.ndarray]
    noise: float = 0.0
    best: float = 0.0
    known: dict[tuple, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.feasible = Feasible(self.space, self.budget)

    def accuracy(self, choices: Choices) -> float:
        canonical = self.feasible.canonical(choices)
        key = tuple(canonical.values())
        if key not in self.known:
            self.known[key] = float(self.batch([canonical])[0])
        return self.known[key]

    def climb(self, rng: random.Random) -> float:
        """Return the best that local search over changes of one and two choices finds."""
        here = self.feasible.sample(rng)
        value = self.accuracy(here)
        names = [name for name, values in self.space.choices.items() if len(values) > 1]
        while True:
            near = list(self.space.neighbours(here))
            for _ in range(2000):
                a, b = rng.sample(names, 2)
                near.append({**here, **{n: rng.choice(self.space.choices[n]) for n in (a, b)}})
            near = [self.feasible.canonical(c) for c in near if self.feasible.allows(c)]
            values = self.batch(near)
            if values.max() <= value + 1e-12:
                return value
            here, value = near[int(values.argmax())], float(values.max())


def imagenet() -> Table:
    """Return the shipped predictor as a table."""
    predictor = shipped_predictor()
    return Table(
        "imagenet",
        predictor.space,
        parse_budget(BUDGET),
        lambda batch: predictor.predict(batch)[0],
    )


@dataclass(frozen=True)
class Released:
    """The archive of Accel-NASBench as arrays, a row each network."""

    features: np.ndarray
    accuracy: np.ndarray
    throughput: dict[str, np.ndarray]


NAMES = [
    (f"stage{stage + 1}.{ours}", f"block{stage}_{theirs}")
    for stage in range(7)
    for ours, theirs in (("kernel", "k"), ("expansion", "e"), ("layers", "l"), ("se_ratio", "se"))
]


@cache
def released() -> Released:
    """Read the archive."""
    rows, accuracy = [], []
    throughput: dict[str, list[float]] = {"a100": [], "zcu102": []}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name.endswith(".json") else None
            if stream is not None:
                data = json.load(stream)
                rows.append([float(data["architecture"][theirs]) for _, theirs in NAMES])
                accuracy.append(data["metrics"]["val_top1"] / 100)
                for device, values in throughput.items():
                    measured = data["platform_perf"][f"throughput_{device}"]["throughput_mean"]
                    values.append(np.nan if measured is None else measured)
    return Released(
        np.array(rows), np.array(accuracy), {k: np.array(v) for k, v in throughput.items()}
    )


def rescaled(values: np.ndarray) -> np.ndarray:
    """Return values of which the 1st to the 99th of 100 are 10 points of accuracy apart."""
    low, high = np.nanquantile(values, [0.01, 0.99])
    return 0.6 + 0.1 * (values - low) / (high - low)


def boosted(name: str, target: Callable[[Released], np.ndarray]) -> Table | str:
    """Return a table of what boosted trees learn of a target, or why there is none."""
    if not ARCHIVE.exists():
        return f"no archive at {ARCHIVE.relative_to(ROOT.parent)} beside the checkout"
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ModuleNotFoundError:
        return "scikit-learn is not installed"
    known = released()
    values = target(known)
    measured = np.isfinite(values)
    models = [
        HistGradientBoostingRegressor(
            max_iter=500, learning_rate=0.06, max_leaf_nodes=12, l2_regularization=1.0,
            random_state=seed, max_features=0.5,
        ).fit(known.features[measured], values[measured])
        for seed in range(3)
    ]  # fmt: skip

    def batch(many: Sequence[Choices]) -> np.ndarray:
        features = np.array(
            [
                [float(c[ours] > 0) if "se_" in ours else float(c[ours]) for ours, _ in NAMES]
                for c in many
            ]
        )
        return np.mean([model.predict(features) for model in models], axis=0)

    return Table(name, load_space("efficientnet"), parse_budget(BUDGET), batch)


def _unit(*parts: object) -> float:
    """Return a number from a normal distribution that depends on the parts alone."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return random.Random(digest).gauss(0, 1)


def made(name: str, space: str, budget: str, rugged: float, noise: float = 0.0) -> Table:
    """Return a made-up table: diminishing returns of capacity, tastes, random interactions."""
    found = load_space(space)
    names = list(found.choices)
    rng = random.Random(f"table {name}")
    pairs = rng.sample(list(combinations(names, 2)), 2 * len(names))
    triples = [tuple(rng.sample(names, 3)) for _ in range(2 * len(names))]
    known: dict[tuple, float] = {}

    def term(*parts: object) -> float:
        if parts not in known:
            known[parts] = _unit(name, *parts)
        return known[parts]

    def batch(many: Sequence[Choices]) -> np.ndarray:
        values = []
        for choices in many:
            capacity = np.log(measure_cost(found.decode(choices)).flops / 1e8)
            single = sum(term("one", n, choices[n]) for n in names) / len(names) ** 0.5
            double = sum(term("two", a, b, choices[a], choices[b]) for a, b in pairs)
            triple = sum(term("three", t, *(choices[n] for n in t)) for t in triples)
            taste = (
                single + 0.3 * double / len(pairs) ** 0.5 + rugged * triple / len(triples) ** 0.5
            )
            values.append(0.6 + 0.04 * capacity + 0.015 * taste)
        return np.clip(np.array(values), 0, 1)

    return Table(name, found, parse_budget(budget), batch, noise)


TABLES: dict[str, Callable[[], Table | str]] = {
    "imagenet": imagenet,
    "booster": lambda: boosted("booster", lambda known: rescaled(known.accuracy)),
    "a100": lambda: boosted("a100", lambda known: rescaled(known.throughput["a100"])),
    "zcu102": lambda: boosted("zcu102", lambda known: rescaled(known.throughput["zcu102"])),
    "trade": lambda: boosted(
        "trade",
        lambda known: (rescaled(known.accuracy) + rescaled(np.log(known.throughput["a100"]))) / 2,
    ),
    "smooth": lambda: made("smooth", "mnasnet", "300M-flops+4M-params", 0.0),
    "rugged": lambda: made("rugged", "efficientnetv2", "3G-flops", 1.0),
    "noisy": lambda: made("smooth", "mnasnet", "300M-flops+4M-params", 0.0, noise=0.005),
}


@dataclass
class Run:
    """What one search found: the best accuracy (noise left out) after each evaluation."""

    best: list[float]
    reached: int | None
    matched: int | None
    seconds: float


class Timed(Proposer):
    """Adds up how long its proposals take."""

    seconds = 0.0

    def propose(self, *given) -> dict | None:
        """Propose."""
        start = time.perf_counter()
        try:
            return super().propose(*given)
        finally:
            self.seconds += time.perf_counter() - start


def search(table: Table, sampler: str, seed: int, evaluations: int) -> Run:
    """Search a table once."""
    b0, goal = efficientnet_b0(), float("inf")
    limit = measure_cost(b0).flops
    if table.name in WITH_B0:
        goal = table.accuracy(table.space.encode(b0))
    made = PEERS[sampler]() if sampler in PEERS else make_sampler(sampler)
    proposer = Timed(table.space, table.budget, made, seed)
    best: list[float] = []
    top = top_score = float("-inf")
    reached = matched = None

    def evaluate(number: int, choices: Choices) -> Accuracy:
        noise = table.noise * derived_rng(seed, "noise", number).gauss(0, 1)
        return Accuracy(min(max(table.accuracy(choices) + noise, 0.0), 1.0), 0.0)

    for trial in islice(simulate(table.space, proposer, evaluate), evaluations):
        accuracy = table.accuracy(trial.choices)
        if trial.score > top_score:
            top, top_score = accuracy, trial.score
        best.append(top)
        if accuracy >= goal:
            reached = reached or trial.number + 1
            if trial.cost.flops <= limit:
                matched = matched or trial.number + 1
    return Run(best, reached, matched, proposer.seconds)


def _searches(
    table: Table, plans: Sequence[tuple[str, int]], evaluations: int, jobs: int
) -> list[Run]:
    """Search a table as often as planned; with several jobs in forked processes."""
    if jobs == 1:
        return [search(table, sampler, seed, evaluations) for sampler, seed in plans]
    global _TABLE
    _TABLE = table
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        return pool.starmap(_one, [(*plan, evaluations) for plan in plans], chunksize=1)


_TABLE: Table
"""Of forked processes: a table holds functions, which no process can send another."""


def _one(sampler: str, seed: int, evaluations: int) -> Run:
    return search(_TABLE, sampler, seed, evaluations)


def main() -> None:
    """Print a table a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="searches at once; blurs ms/proposal")
    parser.add_argument("--evaluations", type=int, default=300)
    known = [*SAMPLERS, *PEERS]
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS), choices=known)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    options = parser.parse_args()
    marks = [mark for mark in MARKS if mark < options.evaluations] + [options.evaluations]
    for name in options.tables:
        table = TABLES[name]()
        if isinstance(table, str):
            print(f"\n{name}: skipped: {table}")
            continue
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        plans = [(sampler, seed) for sampler in options.samplers for seed in seeds]
        every = _searches(table, plans, options.evaluations, options.jobs)
        runs = {
            sampler: [run for (other, _), run in zip(plans, every, strict=True) if other == sampler]
            for sampler in options.samplers
        }
        climbed = max(table.climb(random.Random(seed)) for seed in range(12))
        best = max([climbed, *(max(run.best) for run in every)])
        print(
            f"\n{name}: space {table.space.name}, budget {table.budget}, "
            f"seeds {seeds[0]} to {seeds[-1]}, "
            f"best known {100 * best:.2f} (by climbing the table itself {100 * climbed:.2f})"
        )
        if name in WITH_B0:
            b0 = table.accuracy(table.space.encode(efficientnet_b0()))
            print(f"EfficientNet-B0: {100 * b0:.2f}")
        heads = "".join(f"{f'after {mark}':>12}" for mark in marks)
        extra = "   B0 reached  within 30  at B0's FLOPs" if name in WITH_B0 else ""
        print(f"{'points short of it':18}{heads}{'ms/proposal':>13}{extra}")
        for sampler, found in runs.items():
            line = f"{sampler:18}"
            for mark in marks:
                short = [100 * (best - run.best[min(mark, len(run.best)) - 1]) for run in found]
                line += f"{median(short):12.3f}"
            line += f"{1000 * fmean(run.seconds / len(run.best) for run in found):13.1f}"
            if name in WITH_B0:
                within = sum((run.reached or sys.maxsize) <= 30 for run in found)
                line += f"{middle([run.reached for run in found]):>13}{within:>8}/{len(found)}"
                line += f"{middle([run.matched for run in found]):>15}"
            print(line, flush=True)


def middle(evaluations: Sequence[int | None]) -> str:
    """Return the median of how many evaluations it took, where None is more than there were."""
    found = sorted(sys.maxsize if count is None else count for count in evaluations)
    half = found[len(found) // 2]
    return "never" if half == sys.maxsize else str(half)


if __name__ == "__main__":
    main()
