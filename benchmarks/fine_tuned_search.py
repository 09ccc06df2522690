"""Searches with trained weights, against what one would do without: test accuracy after equal time.

    python benchmarks/fine_tuned_search.py efficientnet-lite0 --weights FILE --data PATH --out DIR

The shared weights are adapted to the images once, for all budgets. For each budget, a share of the
source's FLOPs, and each seed, the network that a search finds is fine-tuned, and so are the source
with fewer pixels and the source narrowed; the network found is also trained from scratch. All four
trainings have the same time, and are scored on the test images once. Everything is kept in --out:
run the command again to resume.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from nas.cli.terminal_progress import TerminalProgress
from nas.data import ImageData
from nas.data.dataset import load_data
from nas.evaluation.local import default_jobs, local_engine
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import read_record, save_architecture
from nas.networks.cost import measure_cost
from nas.networks.pretrained import Pretrained, load_pretrained
from nas.progress import Progress, shown_as
from nas.proxies.presets import supernet_settings
from nas.proxies.reduction import Reduction
from nas.proxies.supernet import SupernetProxy
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train
from nas.spaces.around import space_around
from nas.spaces.budget import Budget, amount
from nas.spaces.registry import load_architecture
from nas.spaces.search_space import SearchSpace
from nas.statistics import compare
from nas.strategies.reduced_sources import reduced_sources
from nas.strategies.search import search
from nas.training.supernet_trainer import SupernetSettings

SUPERNET = "supernet.json"


def adapt(
    space: SearchSpace,
    data: ImageData,
    weights: Pretrained | None,
    options: argparse.Namespace,
    progress: Progress,
) -> SupernetProxy:
    """Return the proxy with shared weights, of a source or new ones, trained on the images."""
    file = options.out / SUPERNET
    if file.exists():
        settings = SupernetSettings(**json.loads(file.read_text(encoding="utf-8")))
    else:
        asked = Reduction(inherits=weights is not None)
        settings = supernet_settings(data, space, options.adapt, "cpu", asked=asked)
        file.write_text(json.dumps(asdict(settings)), encoding="utf-8")
    proxy = SupernetProxy(
        data, settings, on_progress=shown_as(progress, "shared weights"), weights=weights
    )
    proxy.prepare(space, Budget("none"), options.out)
    return proxy


def find(
    space: SearchSpace,
    budget: Budget,
    proxy: SupernetProxy,
    seed: int,
    options: argparse.Namespace,
    progress: Progress,
) -> Architecture:
    """Return the network that a search by the shared weights finds."""
    progress.phase(f"search {budget.name}, seed {seed}", options.trials)
    found = search(
        space,
        budget,
        proxy,
        trials=options.trials,
        seed=seed,
        storage=options.out,
        study_name=f"search-{budget.name}-{seed}",
        on_trial=lambda trial: progress.advance(1),
        engine=local_engine(proxy, default_jobs("cpu")),
    )
    return replace(found.baseline.architecture, name=f"found-{budget.name}-{seed}")


def accuracy(
    network: Architecture,
    weights: Pretrained | None,
    seed: int,
    options: argparse.Namespace,
    progress: Progress,
) -> float:
    """Return the accuracy on the test images after a training, done now or before."""
    begins = "scratch" if weights is None else "tuned"
    trained = train(
        TrainSettings(
            network,
            data=options.data,
            out=options.out / f"{network.name}-{begins}-{seed}",
            weights=weights,
            seconds=options.seconds,
            seed=seed,
            test=True,
        ),
        progress,
    )
    score = trained.document.test
    assert score is not None, f"{options.data} has no test images"
    return score.accuracy.mean


def rows(
    budget: Budget,
    source: Architecture,
    found: dict[int, Architecture],
    weights: Pretrained,
    options: argparse.Namespace,
    progress: Progress,
) -> Iterator[tuple[str, list[str], dict[int, float]]]:
    """Yield each kind of training: its name, the networks and their costs, accuracies by seed."""

    def costs(networks: list[Architecture]) -> list[str]:
        return [f"{amount(measure_cost(one).flops)} at {one.resolution} px" for one in networks]

    tuned = {s: accuracy(one, weights, s, options, progress) for s, one in found.items()}
    yield "found", costs(list(found.values())), tuned
    for reference in reduced_sources(source, budget):
        name = "fewer pixels" if reference.name.endswith("px") else "narrowed"
        scores = {s: accuracy(reference, weights, s, options, progress) for s in found}
        yield name, costs([reference]), scores
    scratch = {s: accuracy(one, None, s, options, progress) for s, one in found.items()}
    yield "found, from scratch", [], scratch


def main() -> None:
    """Do what is missing, and print a table for each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--adapt", type=float, default=600.0, help="seconds of the shared weights")
    parser.add_argument("--seconds", type=float, default=600.0, help="of each final training")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    source = load_architecture(options.architecture)
    weights = load_pretrained(options.weights, None, source)
    with TerminalProgress(quiet=options.quiet) as progress:
        data = load_data(options.data, 3, progress, progress.note, source.resolution)
        source = replace(source, num_classes=data.num_classes)
        space = space_around(source, "around")
        proxy = None
        for share in options.shares:
            limit = int(share * measure_cost(source).flops)
            budget = Budget(f"{limit}-flops", flops=limit)
            found = {}
            for seed in range(options.seeds):
                file = options.out / f"found-{limit}-{seed}.json"
                if not file.exists():
                    proxy = proxy or adapt(space, data, weights, options, progress)
                    network = find(space, budget, proxy, seed, options, progress)
                    save_architecture(network, file)
                found[seed] = read_record(file).architecture
            measured = list(rows(budget, source, found, weights, options, progress))
            report(share, limit, measured, options)


def report(
    share: float,
    limit: int,
    measured: list[tuple[str, list[str], dict[int, float]]],
    options: argparse.Namespace,
) -> None:
    """Print the accuracies of a budget, and the differences of the network found to the others."""
    print(
        f"{options.data}: {share:.0%} of the FLOPs ({amount(limit)}), {options.seeds} seeds, "
        f"{options.seconds:g} s for each training"
    )
    comparison = compare([scores for _, _, scores in measured])
    for index, (name, costs, scores) in enumerate(measured):
        line = f"  {name:20} " + " ".join(f"{100 * score:5.1f}" for score in scores.values())
        line += f"   mean {100 * sum(scores.values()) / len(scores):5.1f} %"
        if index:
            gap = comparison.difference(0, index)
            half = "" if gap.half_width is None else f" ± {100 * gap.half_width:.1f} (95 % CI)"
            line += f"   found minus this {100 * gap.mean:+.1f}{half}"
        print(line + ("" if not costs else f"   {'; '.join(costs)}"))


if __name__ == "__main__":
    main()
