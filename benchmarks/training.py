"""Training speed: this project's engine and the loop a PyTorch user would write, in one run.

    python benchmarks/training.py [--data ../shared/data/cifar10] [--images 12800] [--width 1.0]

Both train EfficientNet-B0 at 32 px from the same initialisation recipe, on the same images, with
the same optimiser, learning rates, batch size and number of images. The plain loop reads PIL images
through a `DataLoader` with two workers (crop, flip, to tensor, normalise), in the default memory
format. Ours is shown with one network on all cores, with and without its own convolutions
(`nas/networks/fast_convolution.py`), and with one network a core, as a search lays trainings out.
Printed: images a second over all networks, the ratio, the validation accuracies (the same within
their errors: nothing is bought with accuracy), and how much of what the machine's matrix product
reaches the network's own multiply-adds are.

Goal: at least 5 times the plain loop.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from nas.accuracy import Accuracy
from nas.data import ImageData, load_images
from nas.evaluation.executor import Task
from nas.evaluation.local import local_engine
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.cost import measure_cost
from nas.networks.modules import build
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.spaces.budget import Budget
from nas.spaces.registry import load_space
from nas.training.optimiser import learning_rate_factor

BATCH = 128


class Plain(Dataset[tuple[torch.Tensor, int]]):
    """Images one by one, as one writes it."""

    def __init__(self, data: ImageData, train: bool) -> None:
        images = data.train_images if train else data.validation_images
        self.labels = (data.train_labels if train else data.validation_labels).tolist()
        self.images = [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).numpy()]
        self.train = train
        self.mean = torch.tensor(data.mean).view(3, 1, 1)
        self.std = torch.tensor(data.std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.images[index]
        if self.train:
            padded = ImageOps.expand(image, 4)
            left, top = np.random.randint(0, 9, 2)
            image = padded.crop((left, top, left + 32, top + 32))
            if np.random.rand() < 0.5:
                image = ImageOps.mirror(image)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        return (pixels - self.mean) / self.std, self.labels[index]


def plain_loop(data: ImageData, view: Architecture, settings: TrainingSettings, seed: int):
    """Train as one writes it; return images a second, and the validation accuracy."""
    torch.manual_seed(seed)
    network = build(view, zero_init_residual=True)
    loader = DataLoader(
        Plain(data, True), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True
    )
    decay = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": settings.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    total = settings.images_seen // BATCH
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_factor(step / total, settings.warm_up)
    )
    network.train()
    start, step = time.perf_counter(), 0
    while step < total:
        for pixels, labels in loader:
            if step == total:
                break
            optimiser.zero_grad()
            loss = F.cross_entropy(network(pixels), labels)
            loss.backward()
            optimiser.step()
            scheduler.step()
            step += 1
    seconds = time.perf_counter() - start
    network.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in DataLoader(Plain(data, False), batch_size=250):
            right += int((network(pixels).argmax(1) == labels).sum())
    return total * BATCH / seconds, right / len(data.validation_labels)


def channels_last(network: torch.nn.Module) -> None:
    """Change the memory format alone."""
    network.to(memory_format=torch.channels_last)


def ours(proxy: TrainingProxy, jobs: int) -> tuple[float, list[Accuracy]]:
    """Train as a search does; return images a second over all networks, and the accuracies.

    Start-up and validation are left out by training twice as long, too: what is more is training.
    """
    settings, taken = proxy.settings, []
    for images_seen in (settings.images_seen, 2 * settings.images_seen):
        proxy.settings = replace(settings, images_seen=images_seen)
        engine = local_engine(proxy, jobs)
        try:
            # A first task each: processes start, and caches fill.
            proxy_start = time.perf_counter()
            for seed in range(jobs):
                engine.submit(Task(seed, efficientnet_b0(), seed))
            found = [engine.next() for _ in range(jobs)]
            taken.append(time.perf_counter() - proxy_start)
        finally:
            engine.close()
        if images_seen == settings.images_seen:
            accuracies = [one.accuracy for one in found if one.accuracy is not None]
    proxy.settings = settings
    return jobs * settings.images_seen / (taken[1] - taken[0]), accuracies


def gemm(size: int = 2048) -> float:
    """Return GFLOP/s of the machine's single-precision matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    torch.mm(a, b)
    start = time.perf_counter()
    for _ in range(5):
        torch.mm(a, b)
    return 5 * 2 * size**3 / (time.perf_counter() - start) / 1e9


def main() -> None:
    """Print a line for each way of training."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--width", type=float, default=1.0)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    with TemporaryDirectory() as cache:
        data = load_images(options.data, cache=Path(cache))
    data = replace(
        data,
        validation_images=data.validation_images[:2500],
        validation_labels=data.validation_labels[:2500],
    )
    settings = TrainingSettings(
        width=options.width, images_seen=options.images, batch_size=BATCH, checks=()
    )
    proxy = TrainingProxy(data, settings)
    proxy.prepare(load_space("efficientnet"), Budget("none"), Path())
    view = proxy.reduced(efficientnet_b0())
    cost, peak = measure_cost(view), gemm()
    print(
        f"EfficientNet-B0, width {options.width:g}, 32 px: {cost.flops / 1e6:.2f}M FLOPs; "
        f"{options.images:,} images, batch {BATCH}; {cores} cores, "
        f"matrix product {peak:.0f} GFLOP/s"
    )
    print(f"{'':44}{'images/s':>10}{'ratio':>8}{'of peak':>9}   validation accuracy")
    plain = [plain_loop(data, view, settings, seed) for seed in range(2)]
    speed = float(np.mean([one for one, _ in plain]))

    def line(name: str, own: float, accuracies: list[float]) -> None:
        # Forward, and twice as much backward; a multiply-add is two operations.
        share = own * cost.flops * 2 * 3 / 1e9 / peak
        values = " ".join(f"{value:.3f}" for value in accuracies)
        print(f"{name:44}{own:10.0f}{own / speed:8.2f}{share:9.1%}   {values}", flush=True)

    line("plain loop, all cores, two workers", speed, [one for _, one in plain])
    with patch(
        "nas.proxies.short_training.lay_out", lambda network, device: channels_last(network)
    ):
        own, accuracies = ours(proxy, 1)
    line("ours, the library's convolutions", own, [accuracy.mean for accuracy in accuracies])
    for name, jobs in (("ours, one network on all cores", 1), ("ours, a network a core", cores)):
        own, accuracies = ours(proxy, jobs)
        line(name, own, [accuracy.mean for accuracy in accuracies])


if __name__ == "__main__":
    main()
