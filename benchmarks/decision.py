"""What a Bayesian model of trainings is worth: regret of what is chosen after so many trainings.

    python benchmarks/decision.py TABLE --space efficientnet --flops 300M-400M

A replay draws networks from a benchmark table and chooses one of them after 0, 4, 8 and 16
trainings, each of which is a row of the table. Compared are the model of
nas/strategies/network_posterior.py, each of its sources alone (the best by the source are trained,
the best measured is chosen), the three best by the first source trained alike, and random choice.
Merit is -loss, or accuracy where the table has no losses. Regret is how much a choice is below the
best network drawn, by seeds of the table that the replay did not choose by; where networks have a
single row, that is the truth, and trainings differ from it by --noise.

With --data and --out, shared weights are trained for --adapt seconds, or read from there, and are
the first source; with --weights, they begin as those of a source network, whose space is searched.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fine_tuned_search import adapt

from nas.cli.terminal_progress import TerminalProgress
from nas.data.dataset import load_data
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.networks.pretrained import load_pretrained
from nas.progress import Progress
from nas.proxies.benchmark_table import identity, read_table
from nas.proxies.imagenet_predictor import ImagenetProxy, knows
from nas.spaces.around import space_around
from nas.spaces.budget import Budget, parse_range
from nas.spaces.encoding import Encoding
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_architecture, load_space
from nas.spaces.search_space import SearchSpace
from nas.statistics import Floats, kendall_tau
from nas.strategies.network_posterior import Candidates, Measurement, candidates, posterior

TRAININGS = (0, 4, 8, 16)
BATCH = 4
FINALISTS = 3

Train = Callable[[int], float]
"""Trains a network of the replay once more and returns its merit."""
Policy = Callable[["World", Train, int, int], int]
"""Chooses a network of the replay by so many trainings, with a seed."""


@dataclass(frozen=True)
class Known:
    """The networks of a table: their merits, by seed, and what is known without training.

    Attributes:
        merits: (networks, seeds).
        accuracies: likewise, in points.
        sources: a score for each network, by the source's name.
        features: (networks, …), see :class:`nas.spaces.encoding.Encoding`.
    """

    merits: Floats
    accuracies: Floats
    sources: dict[str, Floats]
    features: Floats


@dataclass(frozen=True)
class World:
    """What a replay knows of its networks before any training."""

    candidates: Candidates
    sources: dict[str, Floats]


def by_source(name: str) -> Policy:
    """Return the policy that trains the best by a source once each and takes the best measured."""

    def choose(world: World, train: Train, trainings: int, seed: int) -> int:
        order = np.argsort(-world.sources[name], kind="stable").tolist()
        return max(order[:trainings], key=train) if trainings else int(order[0])

    return choose


def at_random(world: World, train: Train, trainings: int, seed: int) -> int:
    """Train random networks and take the best measured."""
    order = np.random.default_rng(seed).permutation(len(world.candidates)).tolist()
    return max(order[:trainings], key=train) if trainings else int(order[0])


def finalists(name: str) -> Policy:
    """Return the policy that trains the best few by a source alike and takes the best mean."""

    def choose(world: World, train: Train, trainings: int, seed: int) -> int:
        order = np.argsort(-world.sources[name], kind="stable").tolist()[:FINALISTS]
        found: dict[int, list[float]] = defaultdict(list)
        for turn in range(trainings):
            found[order[turn % FINALISTS]].append(train(order[turn % FINALISTS]))
        return max(order, key=lambda i: statistics.fmean(found[i])) if found else order[0]

    return choose


def by_model(world: World, train: Train, trainings: int, seed: int) -> int:
    """Train what the model proposes, in batches, and take the best posterior mean."""
    return measured_by_model(world, train, trainings, seed)[0]


def measured_by_model(
    world: World, train: Train, trainings: int, seed: int
) -> tuple[int, list[Measurement]]:
    """Return what the model chooses, and the trainings that it asked for."""
    measured: list[Measurement] = []
    while len(measured) < trainings:
        found = posterior(world.candidates, measured, seed, draws=400)
        for index in found.proposals(min(BATCH, trainings - len(measured))):
            measured.append((index, train(index)))
    return posterior(world.candidates, measured, seed, draws=400).best, measured


@dataclass(frozen=True)
class Outcome:
    """What a policy gave up in one replay: in merit and in points of accuracy."""

    merit: float
    points: float


def replay(
    known: Known, policies: dict[str, Policy], count: int, noise: float, seed: int
) -> tuple[dict[tuple[str, int], Outcome], list[bool]]:
    """Return what each policy gave up after so many trainings, and hits of 90 % intervals."""
    rng = np.random.default_rng(seed)
    networks, seeds = known.merits.shape
    drawn = rng.permutation(networks)[:count]
    sources = {name: scores[drawn] for name, scores in known.sources.items()}
    world = World(candidates(sources, known.features[drawn]), sources)
    merits, accuracies = known.merits[drawn], known.accuracies[drawn]
    judge = int(rng.integers(seeds))
    turns = [turn for turn in range(seeds) if turn != judge] or [judge]
    truth, points = merits[:, judge], accuracies[:, judge]
    # Which network is best by the judging seed alone is often luck: all seeds say it better.
    best = int(np.argmax(merits.mean(axis=1)))
    outcomes = {}
    for name, policy in policies.items():
        for trainings in TRAININGS:
            train = trainer(merits, turns, noise, rng)
            chosen = policy(world, train, trainings, seed)
            outcomes[name, trainings] = Outcome(
                float(truth[best] - truth[chosen]), float(points[best] - points[chosen])
            )
    train = trainer(merits, turns, noise, rng)
    _, measured = measured_by_model(world, train, TRAININGS[-1], seed)
    found, seen = posterior(world.candidates, measured, seed), {index for index, _ in measured}
    hits = []
    for index in set(range(len(drawn))) - seen:
        low, high = found.next_training(index, rng)
        further = truth[index] + (noise * rng.standard_normal() if seeds == 1 else 0.0)
        hits.append(bool(low <= further <= high))
    return outcomes, hits


def trainer(merits: Floats, turns: Sequence[int], noise: float, rng: np.random.Generator) -> Train:
    """Return what trains a network: its rows one after the other, then again from the first."""
    done: dict[int, int] = defaultdict(int)
    start = int(rng.integers(len(turns)))

    def train(index: int) -> float:
        turn = turns[(start + done[index]) % len(turns)]
        done[index] += 1
        return float(merits[index, turn] + noise * rng.standard_normal())

    return train


def read(options: argparse.Namespace, progress: Progress) -> Known:
    """Return the networks of the table within the band, with what is known of them."""
    weights = None
    if options.weights is not None:
        source = load_architecture(options.weights_arch)
        weights = load_pretrained(options.weights, None, source)
        space = space_around(source, "around")
    else:
        space = load_space(options.space)
    table = read_table(options.table)
    low, high = (0, 10**18) if options.flops is None else parse_range(options.flops)
    losses = all("loss" in row.more for row in table.rows)
    merits: dict[object, list[float]] = defaultdict(list)
    accuracies: dict[object, list[float]] = defaultdict(list)
    made: dict[object, Architecture] = {}
    for row, architecture in zip(table.rows, table.architectures(space), strict=True):
        key = identity(architecture, space)
        made.setdefault(key, architecture)
        merits[key].append(-float(row.more["loss"]) if losses else row.accuracy)
        accuracies[key].append(100 * row.accuracy)
    costs = {key: measure_cost(one) for key, one in made.items()}
    keys = [key for key, cost in costs.items() if low <= cost.flops <= high]
    seeds = min(len(merits[key]) for key in keys)  # that all of them have
    networks = [made[key] for key in keys]
    sources: dict[str, Floats] = {}
    if options.data is not None:
        sources["supernet"] = shared(options, space, networks, weights, progress)
    if options.imagenet and knows(space):
        proxy = ImagenetProxy()
        sources["imagenet"] = np.array(
            [proxy.evaluate(n, seed=0, report=lambda *_: False).mean for n in networks]
        )
    for metric in ("params", "flops", "activations"):
        sources[metric] = np.log([float(getattr(costs[key], metric)) for key in keys])
    encoding = Encoding(Feasible(space, Budget("none")))
    rows = np.array([encoding.row(space.encode(network)) for network in networks])
    places = len(encoding.names)
    return Known(
        np.array([merits[key][:seeds] for key in keys]),
        np.array([accuracies[key][:seeds] for key in keys]),
        sources,
        encoding.features(rows, np.full(places, 1 / places)),
    )


def shared(
    options: argparse.Namespace,
    space: SearchSpace,
    networks: Sequence[Architecture],
    weights: object,
    progress: Progress,
) -> Floats:
    """Return -loss of each network with shared weights, which are trained or read first."""
    options.out.mkdir(parents=True, exist_ok=True)
    data = load_data(options.data, 3, progress, progress.note, space.resolution)
    own = replace(space, in_channels=data.channels, num_classes=data.num_classes)
    proxy = adapt(own, data, weights, options, progress)
    progress.phase("shared weights judge", len(networks))
    found = []
    for network in networks:
        as_own = replace(network, in_channels=data.channels, num_classes=data.num_classes)
        accuracy = proxy.evaluate(as_own, seed=0, report=lambda *_: False)
        assert accuracy.loss is not None
        found.append(-accuracy.loss)
        progress.advance(1)
    return np.array(found)


def lines(
    known: Known, outcomes: Sequence[dict[tuple[str, int], Outcome]], names: Sequence[str]
) -> Iterator[str]:
    """Yield the tables: regret by policy and number of trainings, with 95 % intervals."""
    rng = np.random.default_rng(0)
    for unit in ("merit", "points"):
        yield f"regret in {unit} after " + "".join(f"{n:>19}" for n in TRAININGS) + "  trainings"
        for name in names:
            cells = []
            for trainings in TRAININGS:
                values = np.array([getattr(found[name, trainings], unit) for found in outcomes])
                means = rng.choice(values, (1_000, len(values))).mean(axis=1)
                low, high = np.quantile(means, (0.025, 0.975))
                cells.append(f"{values.mean():7.4f} [{low:.3f}, {high:.3f}]".rjust(26))
            yield f"  {name:16}" + "".join(cells)
    mean = known.merits.mean(axis=1)
    for name, scores in known.sources.items():
        yield f"τ of {name} with the merits: {kendall_tau(scores, mean):.2f}"
    if known.merits.shape[1] > 1:
        half = known.merits.shape[1] // 2
        one, other = known.merits[:, :half].mean(axis=1), known.merits[:, half:].mean(axis=1)
        yield f"τ between two halves of the seeds: {kendall_tau(one, other):.2f}"


def main() -> None:
    """Replay, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--space", default="efficientnet")
    parser.add_argument("--flops")
    parser.add_argument("--networks", type=int, default=48)
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--imagenet", action="store_true", help="its prediction is a source, too")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--adapt", type=float, default=600.0)
    parser.add_argument("--weights")
    parser.add_argument("--weights-arch")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    if options.data is not None and options.out is None:
        parser.error("--data: needs --out, where the shared weights are kept")
    if options.weights is not None and options.weights_arch is None:
        parser.error("--weights: needs --weights-arch")
    with TerminalProgress(quiet=options.quiet) as progress:
        known = read(options, progress)
        first = next(iter(known.sources))
        policies: dict[str, Policy] = {"model": by_model, f"finalists/{first}": finalists(first)}
        policies |= {name: by_source(name) for name in known.sources} | {"random": at_random}
        outcomes, hits = [], []
        progress.phase("replays", options.replays)
        for seed in range(options.replays):
            outcome, inside = replay(known, policies, options.networks, options.noise, seed)
            outcomes.append(outcome)
            hits.append(inside)
            progress.advance(1)
    networks, seeds = known.merits.shape
    print(f"{options.table.name}: {networks} networks, {seeds} seeds, {options.replays} replays")
    print("\n".join(lines(known, outcomes, list(policies))))
    share = np.array([np.mean(inside) for inside in hits if inside])
    if len(share) < 2:  # all networks were trained
        return
    error = 1.96 * share.std(ddof=1) / np.sqrt(len(share))
    print(
        f"90 % intervals of networks not trained: {100 * share.mean():.1f} ± {100 * error:.1f} % "
        f"of {sum(map(len, hits)):,} within them"
    )


if __name__ == "__main__":
    main()
