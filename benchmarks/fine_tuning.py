"""Recipes of fine-tuning, compared on images of one's own: accuracy after so many images.

    python benchmarks/fine_tuning.py efficientnet-lite0 --weights FILE --data cifar10

Each recipe trains the network from the weights with the same seeds and images. "present" is what
`nas-search train --weights` uses, unless --learning-rate is another; the others change one thing
each. Nothing is chosen by test images.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from nas.data import ImageData
from nas.data.dataset import DEFAULT_OPTIONS, load_data
from nas.networks.pretrained import Pretrained, load_pretrained
from nas.progress import SilentProgress
from nas.spaces.registry import load_architecture
from nas.training.batches import fixed_sample
from nas.training.initialisation import adapt_architecture, initialise
from nas.training.recipe import PROGRESSIVE, Recipe, recipe_for
from nas.training.schedule import schedule_for_epochs
from nas.training.shards import default_shards
from nas.training.trainer import Trainer

CHANGES: dict[str, dict[str, Any]] = {
    "present": {},
    "learning rate 3e-4": {"learning_rate": 3e-4},
    "learning rate 5e-4": {"learning_rate": 5e-4},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "learning rate 2e-3": {"learning_rate": 2e-3},
    "learning rate 4e-3": {"learning_rate": 4e-3},
    "learning rate 8e-3": {"learning_rate": 8e-3},
    "4e-3, all layers alike": {"learning_rate": 4e-3, "layer_decay": 1.0},
    "all layers alike": {"layer_decay": 1.0},
    "layers by 0.8": {"layer_decay": 0.8},
    "classifier never alone": {"classifier_alone": 0.0},
    "classifier alone for 0.3": {"classifier_alone": 0.3},
    "frozen": {"classifier_alone": 1.0},
    "weight decay 0.005": {"weight_decay": 0.005},
    "no label smoothing": {"label_smoothing": 0.0},
    "no shift": {"shift": 0.0},
    "crop": {"shift": 0.0, "augment": "crop"},
    "randaugment": {"augment": "randaugment"},
    "crop, randaugment": {"shift": 0.0, "augment": "crop,randaugment"},
    "mixup": {"mixup": 0.5},
    "cutmix": {"cutmix": 0.5},
    "cutout": {"cutout": 0.25},
    "small images first": {"progressive_resizing": PROGRESSIVE},
}


def accuracy(
    name: str,
    weights: Pretrained,
    data: ImageData,
    recipe: Recipe,
    epochs: int,
    pixels: int,
    seed: int,
) -> tuple[float, float]:
    """Return accuracy and loss on the validation images after a training."""
    network = adapt_architecture(
        load_architecture(name), data.channels, data.num_classes, pixels, None
    )
    initial = initialise(
        network, data, weights, stochastic_depth=recipe.stochastic_depth, seed=seed, device="cpu"
    )
    schedule = schedule_for_epochs(epochs, len(data.train_labels), recipe, pixels)
    trainer = Trainer(initial.network, data, recipe, schedule, initial.normalisation, seed, "cpu")
    with trainer.workers() as workers:
        for step in range(schedule.steps):
            trainer.step(step, workers)
    found, _ = trainer.score(data.validation_images, data.validation_labels)
    return found.accuracy, found.loss


def main() -> None:
    """Train by every recipe and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=6_400)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, help="of all but those that name one")
    parser.add_argument("--only", nargs="*", choices=CHANGES)
    options = parser.parse_args()
    architecture = load_architecture(options.architecture)
    weights = load_pretrained(options.weights, None, architecture)
    data = load_data(
        options.data, 3, SilentProgress(), lambda text: None, options.resolution, DEFAULT_OPTIONS
    )
    some = fixed_sample(len(data.train_labels), options.images)
    data = replace(data, train_images=data.train_images[some], train_labels=data.train_labels[some])
    print(
        f"{data.name}: {len(data.train_labels):,} images, {options.epochs} epochs, "
        f"{options.resolution} px, {options.seeds} seeds, {torch.get_num_threads()} cores"
    )
    present = recipe_for(
        options.epochs,
        fine_tuned=True,
        shards=default_shards("cpu"),
        batch_size=min(64, len(data.train_labels)),
        learning_rate=options.learning_rate,
    )
    present = replace(
        present,
        flip="flip" in data.augment,
        shift=present.shift if "shift" in data.augment else 0.0,
        augment=data.further_augmentation,
    )
    for label, changes in CHANGES.items():
        if options.only and label not in options.only:
            continue
        recipe = replace(present, **changes)
        start = time.monotonic()
        scores = [
            accuracy(
                options.architecture,
                weights,
                data,
                recipe,
                options.epochs,
                options.resolution,
                seed,
            )
            for seed in range(options.seeds)
        ]
        accuracies, losses = zip(*scores, strict=True)
        spread = statistics.stdev(accuracies) if len(scores) > 1 else 0.0
        print(
            f"{label:26} accuracy {100 * statistics.mean(accuracies):6.2f} % "
            f"(± {100 * spread:.2f})   loss {statistics.mean(losses):.4f}   "
            f"{(time.monotonic() - start) / options.seeds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
