"""Proxy ``training``: a candidate trained from scratch, small and short."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.accuracy import Accuracy
from nas.data import ImageData, augment, iterate_batches, normalise, resize
from nas.errors import Diverged
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import round_resolution, scale
from nas.networks.fast_convolution import lay_out
from nas.networks.modules import build
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.proxies.registration import ProxyFactory
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.training.optim import optimiser, precision, schedule
from nas.training.scoring import Score, logits, score


@dataclass(frozen=True)
class TrainingSettings:
    """How a candidate is trained.

    Attributes:
        width: multiplies the candidate's widths.
        resolution: pixels that a network of the space's own resolution is trained at; networks
            of other resolutions in proportion.
        images_seen: how many training images are shown in all. Data with more images are shown in
            part, once (a stratified draw); data with fewer are shown several times.
        batch_size: images a step.
        learning_rate: highest, for AdamW; it rises linearly for ``warm_up`` of the steps and
            falls along a cosine to 0.
        weight_decay: of the weights of convolutions and the classifier.
        warm_up: share of the steps.
        checks: shares of the steps after which an intermediate value is reported.
        flip: mirror half of the images; not for images whose mirror image is another thing.
        check_images: validation images of an intermediate value.
        validation_images: validation images of the final one, at most.
    """

    width: float = 0.5
    resolution: int = 32
    images_seen: int = 24_000
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    warm_up: float = 0.2
    checks: tuple[float, ...] = (0.75,)
    flip: bool = True
    check_images: int = 1_000
    validation_images: int = 5_000


def trained_view(
    arch: Architecture, settings: TrainingSettings, base: int, channels: int, classes: int
) -> Architecture:
    """Return the network that is really trained for ``arch``: narrower, of fewer pixels.

    Args:
        arch: what is to be measured.
        settings: of the training.
        base: resolution of the network that is trained at the settings' own.
        channels: of the images.
        classes: of the images.
    """
    small = scale(
        arch,
        width=settings.width,
        resolution=round_resolution(arch.resolution, settings.resolution / base),
        name=arch.name,
    )
    return replace(small, in_channels=channels, num_classes=classes)


class TrainingProxy:
    """Trains each candidate from scratch and ranks by the validation loss.

    The loss ranks networks better than the accuracy where training is short (Ning et al. 2021,
    arXiv 2008.03064); the accuracy is reported beside it. On the CPU the result is the same for
    the same seed, architecture, data, settings and number of threads.

    Args:
        data: images; the test part is used by :meth:`test` alone.
        settings: how to train.
        device: where.
    """

    name = "training"
    capabilities = ProxyCapabilities(
        rank_by="loss", needs_images=True, trains_candidates=True, accepts_scaled=True
    )

    def __init__(
        self, data: ImageData, settings: TrainingSettings | None = None, device: str = "cpu"
    ) -> None:
        self.settings = settings or TrainingSettings()
        self.device = device
        self.data = data.to(device)
        # Sources list their images by class; the first so many must be a fair draw of all.
        order = torch.randperm(
            len(data.validation_labels), generator=torch.Generator().manual_seed(0)
        )[: self.settings.validation_images]
        self._validation = (
            data.validation_images[order].to(device),
            data.validation_labels[order].to(device),
        )
        self.image_resolution = data.resolution
        self._base_resolution = 0

    def describe(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self.settings) | {"checks": list(self.settings.checks)}

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Note the space's resolution, to which the proxy's own is in proportion."""
        self._base_resolution = space.resolution

    def view(self, arch: Architecture) -> Architecture:
        """Return the network that is really trained for ``arch``: narrower, of fewer pixels."""
        base = self._base_resolution or arch.resolution
        return trained_view(arch, self.settings, base, self.data.channels, self.data.num_classes)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return accuracy and loss on the validation images after a short training.

        Raises:
            Diverged: the training diverged.
        """
        return self._train_and_score(arch, seed, report, *self._validation, "validation")

    def test(self, arch: Architecture, *, seed: int) -> Accuracy | None:
        """Return accuracy and loss on the test images, which never choose; None if none."""
        if self.data.test_images is None or self.data.test_labels is None:
            return None
        return self._train_and_score(
            arch,
            seed,
            lambda step, value: False,
            self.data.test_images,
            self.data.test_labels,
            "test",
        )

    def _train_and_score(
        self,
        arch: Architecture,
        seed: int,
        report: Report,
        images: Tensor,
        labels: Tensor,
        part: str,
    ) -> Accuracy:
        view = self.view(arch)
        with torch.random.fork_rng(devices=[self.device] if self.device.startswith("cuda") else []):
            torch.manual_seed(seed)
            network = build(view, zero_init_residual=True).to(self.device)
            lay_out(network, self.device)
            found = self._fit(network, view.resolution, seed, report)
        if found is None:
            found = self._score(network, view.resolution, images, labels)
        balanced = "" if found.even else ", every class weighing the same"
        return Accuracy(
            mean=found.accuracy,
            standard_error=found.standard_error,
            n=1,
            seeds=(seed,),
            loss=found.loss,
            metric=f"{part} accuracy after {self.settings.images_seen:,} training images at "
            f"{view.resolution} px and {self.settings.width:g} of the width{balanced}",
            proxy=self.name,
            data=f"{self.data.name} ({part})",
        )

    def _fit(
        self, network: torch.nn.Module, resolution: int, seed: int, report: Report
    ) -> Score | None:
        """Train to the end; or until told to stop, and return the score by which that was."""
        settings, data = self.settings, self.data
        generator = torch.Generator().manual_seed(seed)
        chosen = _draw(data.train_labels.cpu(), settings.images_seen, generator)
        labels = data.train_labels
        batch = min(settings.batch_size, len(chosen))
        total = max(1, settings.images_seen // batch)
        checks = {max(1, int(share * total)): share for share in settings.checks}
        # Shifted copies help where images come again; an image seen once is new as it is.
        pad = max(1, data.resolution // 8) if settings.images_seen > 1.5 * len(chosen) else 0
        weights = data.balanced_weights()
        adamw = optimiser(network.parameters(), settings.learning_rate, settings.weight_decay)
        step = 0
        network.train()
        losses = torch.zeros((), device=self.device)
        while step < total:
            for index in iterate_batches(len(chosen), batch, generator, drop_last=True):
                if step == total:
                    break
                where = chosen[index].to(self.device, non_blocking=True)
                pixels = data.train_images[where]
                pixels = augment(pixels, generator, pad=pad, flip=settings.flip)
                pixels = normalise(resize(pixels.float(), resolution), data.mean, data.std)
                for group in adamw.param_groups:
                    group["lr"] = settings.learning_rate * schedule(step / total, settings.warm_up)
                with precision(self.device):
                    loss = F.cross_entropy(network(pixels), labels[where], weight=weights)
                adamw.zero_grad(set_to_none=True)
                loss.backward()
                adamw.step()
                losses += loss.detach()
                step += 1
                if step in checks and step < total:
                    self._finite(losses, step)
                    images, truth = (part[: settings.check_images] for part in self._validation)
                    checked = self._score(network, resolution, images, truth)
                    network.train()
                    if report(round(100 * checks[step]), math.exp(-checked.loss)):
                        return checked
        self._finite(losses, step)
        return None

    def _finite(self, losses: Tensor, step: int) -> None:
        if not math.isfinite(float(losses)):
            raise Diverged(f"the training diverged: the loss is not finite by step {step}")

    def _score(
        self, network: torch.nn.Module, resolution: int, images: Tensor, labels: Tensor
    ) -> Score:
        found = logits(network.eval(), images, resolution, self.data.mean, self.data.std)
        return score(found, labels.cpu(), even=self.data.is_balanced)


TRAINING = ProxyFactory(
    lambda setup: TrainingProxy(setup.images, setup.training, setup.device),
    TrainingProxy.capabilities,
)


class Tested:
    """A trained proxy that scores on the test images, which must never choose."""

    capabilities = TrainingProxy.capabilities

    def __init__(self, proxy: TrainingProxy) -> None:
        self._proxy = proxy

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Prepare what trains."""
        self._proxy.prepare(space, budget, folder)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return accuracy and loss on the test images after the same training.

        Raises:
            Diverged: the training diverged.
            LookupError: there are no test images.
        """
        accuracy = self._proxy.test(arch, seed=seed)
        if accuracy is None:
            raise LookupError(f"{self._proxy.data.name} has no test images")
        return accuracy


def _draw(labels: Tensor, images_seen: int, generator: torch.Generator) -> Tensor:
    """Return the indices to train on: all, or as many as are shown, in the classes' shares."""
    order = torch.randperm(len(labels), generator=generator)
    if images_seen >= len(labels):
        return order
    # Sorting by class, then taking every n-th, keeps each class's share to one image.
    by_class = order[torch.argsort(labels[order], stable=True)]
    picks = torch.linspace(0, len(labels) - 1, images_seen).long()
    return by_class[picks]
