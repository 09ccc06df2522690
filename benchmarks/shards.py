"""Shards of a batch: speed alone and beside a busy process, and accuracy.

    python benchmarks/shards.py speed [--data ../shared/data/cifar10] [--seconds 10]
    python benchmarks/shards.py accuracy [--data ../shared/data/cifar10] [--epochs 1] [--seeds 5]

EfficientNet-B0 at 32 px, batches of 64, the trainer of `nas-search train` with everything that a
step does. `speed` trains in turn with one shard on all cores (the threads of OpenMP), one shard on
one core, and 2 and 4 shards, first alone and then beside a process that computes all the time.
`accuracy` trains with 1, 2 and 4 shards from the same seeds, and prints the differences of the
validation accuracy from one shard, paired by seed, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nas.data import ImageData, load_images
from nas.networks.architecture import efficientnet_b0
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train
from nas.statistics import t_quantile
from nas.training.initialisation import adapt_architecture, initialise
from nas.training.recipe import recipe_for
from nas.training.schedule import TrainingSchedule
from nas.training.trainer import Trainer

RESOLUTION = 32
SPEED_ARMS = (("1 shard, all cores", 1, 0), ("1 shard, 1 core", 1, 1), ("2 shards", 2, 0),
              ("4 shards", 4, 0))  # fmt: skip
ROUNDS = 3


def make_trainer(data: ImageData, shards: int) -> Trainer:
    """Return the trainer of ``nas-search train``, in the middle of a long schedule."""
    architecture = adapt_architecture(efficientnet_b0(), 3, data.num_classes, RESOLUTION, 2)
    initial = initialise(architecture, data, None, stochastic_depth=0.0, seed=0, device="cpu")
    steps = 10**6
    schedule = TrainingSchedule(steps, steps, steps, ((0, RESOLUTION),))
    recipe = recipe_for(10, shards=shards)
    return Trainer(initial.network, data, recipe, schedule, initial.normalisation, 0, "cpu")


def speed(trainer: Trainer, cores: int, seconds: float) -> tuple[float, float]:
    """Return images a second, and page faults a step."""
    torch.set_num_threads(cores)
    with trainer.workers() as workers:
        for step in range(3):
            trainer.step(step, workers)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start, step = time.perf_counter(), 3
        while time.perf_counter() - start < seconds:
            trainer.step(step, workers)
            step += 1
        taken = time.perf_counter() - start
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return 64 * (step - 3) / taken, faults / (step - 3)


def _busy() -> None:
    while True:
        pass


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let so many processes compute all the time."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_busy, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    time.sleep(1)
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def compare_speed(data: ImageData, seconds: float) -> None:
    """Print images a second of each arm, alone and beside a busy process; medians of rounds."""
    cores = torch.get_num_threads()
    trainers = {shards: make_trainer(data, shards) for shards in (1, 2, 4)}
    print(f"EfficientNet-B0, {RESOLUTION} px, batches of 64, {cores} cores; median of {ROUNDS}")
    print(f"{'':24}{'alone':>12}{'beside one':>12}{'faults/step':>13}   images/s")
    found: dict[tuple[str, int], list[float]] = {}
    faults: dict[str, float] = {}
    for busy in (0, 1):
        with busy_processes(busy):
            for _ in range(ROUNDS):
                for name, shards, threads in SPEED_ARMS:
                    own, faults[name] = speed(trainers[shards], threads or cores, seconds)
                    found.setdefault((name, busy), []).append(own)
    for name, _, _ in SPEED_ARMS:
        alone, beside = (statistics.median(found[name, busy]) for busy in (0, 1))
        print(f"{name:24}{alone:12.0f}{beside:12.0f}{faults[name]:13.0f}")


def compare_accuracy(data: str, epochs: int, seeds: int) -> None:
    """Print the validation accuracies with 1, 2 and 4 shards, and paired differences."""
    found: dict[int, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        for shards in (1, 2, 4):
            with TemporaryDirectory() as out:
                settings = TrainSettings(
                    efficientnet_b0(),
                    data=data,
                    out=Path(out) / "trained",
                    resolution=RESOLUTION,
                    stem_stride=2,
                    epochs=epochs,
                    shards=shards,
                    seed=seed,
                )
                score = train(settings).document.validation
            assert score is not None
            assert score.accuracy.loss is not None
            found.setdefault(shards, []).append((score.accuracy.mean, score.accuracy.loss))
            print(f"seed {seed}, {shards} shards: {score.accuracy.mean:.4f}", flush=True)
    print(f"EfficientNet-B0, {RESOLUTION} px, {epochs} epochs, {seeds} seeds: validation")
    for shards, scores in found.items():
        accuracy = statistics.fmean(score for score, _ in scores)
        line = f"{shards} shards  accuracy {100 * accuracy:.2f} %"
        for place, unit in ((0, "points"), (1, "nats of loss")) if shards > 1 else ():
            scale = 100 if place == 0 else 1
            gaps = [
                scale * (own[place] - one[place]) for own, one in zip(scores, found[1], strict=True)
            ]
            half = t_quantile(seeds - 1) * statistics.stdev(gaps) / seeds**0.5
            line += f"   {statistics.fmean(gaps):+.3f} ± {half:.3f} {unit}"
        print(line)


def main() -> None:
    """Run one of the two comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("speed", "accuracy"))
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if options.what == "accuracy":
        compare_accuracy(options.data, options.epochs, options.seeds)
        return
    with TemporaryDirectory() as cache:
        data = load_images(options.data, cache=Path(cache))
    compare_speed(data, options.seconds)


if __name__ == "__main__":
    main()
