"""One network trained for as long by the project's recipe and by the loop one would write.

    python benchmarks/recipe.py --data ../shared/data/cifar10 --time 60m [--only ours|plain]

EfficientNet-B0 at 32 px with a stem of stride 1, first by `nas-search train --time`, then by a
plain loop: PIL images through a `DataLoader` with two workers (crop, flip, normalise), batches of
128, AdamW with a cosine over the same time, the default memory format, the last weights. Both learn
from the same training part and are scored once on the test images. Printed: images seen,
accuracies, and the difference.

With `--cpu-time` the plain loop's clock is the processor time of its own process over the number
of cores, its workers' not counted: on a machine with other work that is at least what a quiet one
would have given it. It wants `OMP_WAIT_POLICY=passive` in the environment: waiting threads that
spin would be counted as if they worked.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from training import Plain

from nas.cli.option_values import duration
from nas.cli.terminal_progress import TerminalProgress
from nas.data import ImageData, load_images
from nas.networks.architecture import Architecture, Stem, efficientnet_b0
from nas.networks.modules import build
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train
from nas.training.optimiser import learning_rate_factor

RESOLUTION = 32
BATCH = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05


def ours(data: str, seconds: float, show: TerminalProgress) -> tuple[int, float]:
    """Train by the recipe; return images seen, and the test accuracy."""
    with TemporaryDirectory() as out:
        done = train(
            TrainSettings(
                efficientnet_b0(),
                data=data,
                out=Path(out) / "trained",
                resolution=RESOLUTION,
                stem_stride=1,
                seconds=seconds,
                test=True,
            ),
            show,
        )
    seen = done.document.schedule.steps * done.document.recipe.batch_size
    assert done.document.test is not None
    return seen, done.document.test.accuracy.mean


def plain_loop(
    data: ImageData, network: Architecture, share: Callable[[], float], show: TerminalProgress
) -> tuple[int, float]:
    """Train as one writes it until the share of the time is 1; return images seen, and accuracy."""
    torch.manual_seed(0)
    module = build(network, zero_init_residual=True)
    loader = DataLoader(
        Plain(data, True), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True
    )
    decay = [p for p in module.parameters() if p.ndim > 1]
    rest = [p for p in module.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": WEIGHT_DECAY},
            {"params": rest, "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
    )
    show.phase("plain loop, per cent of its time", 100)
    module.train()
    seen, shown, done = 0, 0, share()
    while done < 1:
        for pixels, labels in loader:
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * learning_rate_factor(done, 0.05)
            optimiser.zero_grad()
            F.cross_entropy(module(pixels), labels).backward()
            optimiser.step()
            seen += len(labels)
            done = share()
            if int(100 * done) > shown:
                show.advance(min(100, int(100 * done)) - shown, f"{seen:,} images")
                shown = int(100 * done)
            if done >= 1:
                break
    module.eval()
    images, labels = data.test_images, data.test_labels
    right = 0
    with torch.no_grad():
        tested = replace(data, validation_images=images, validation_labels=labels)
        for pixels, truth in DataLoader(Plain(tested, False), batch_size=250):
            right += int((module(pixels).argmax(1) == truth).sum())
    return seen, right / len(labels)


def main() -> None:
    """Print a line for each way of training, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--time", default="60m")
    parser.add_argument("--only", choices=("ours", "plain"))
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    if options.cpu_time and os.environ.get("OMP_WAIT_POLICY") != "passive":
        parser.error("--cpu-time goes with OMP_WAIT_POLICY=passive")
    seconds, cores = duration(options.time), os.cpu_count() or 1
    assert seconds is not None
    found = {}
    with TerminalProgress() as show:
        if options.only != "plain":
            found["ours"] = ours(options.data, seconds, show)
        if options.only != "ours":
            with TemporaryDirectory() as cache:
                data = load_images(options.data, cache=Path(cache))
            b0 = efficientnet_b0()
            network = replace(
                b0,
                resolution=RESOLUTION,
                num_classes=data.num_classes,
                stem=Stem(b0.stem.kernel, 1, b0.stem.width),
            )
            clock = time.process_time if options.cpu_time else time.monotonic
            begin, whole = clock(), seconds * (cores if options.cpu_time else 1)
            found["plain loop"] = plain_loop(data, network, lambda: (clock() - begin) / whole, show)
    print(f"EfficientNet-B0, 32 px, stem stride 1; {options.time}; {cores} cores")
    for name, (seen, accuracy) in found.items():
        print(f"{name:12} {seen:>10,} images seen   test accuracy {100 * accuracy:.2f} %")
    if len(found) == 2:
        (_, one), (_, other) = found.values()
        print(f"difference   {100 * (one - other):+.2f} points")


if __name__ == "__main__":
    main()
