"""Proxy ``training``: every candidate is trained for a short time, from scratch or fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.accuracy import Accuracy
from nas.data import ImageData, augment, preprocess
from nas.data.augmentation import parse_augmentation
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import round_resolution, scale
from nas.networks.fast_convolution import lay_out
from nas.networks.modules import build
from nas.networks.pretrained import Normalisation, Pretrained
from nas.networks.reach import computed
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.proxies.registration import ProxyFactory
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.training.batches import BatchOrder, fixed_sample, shift_padding
from nas.training.divergence import check_finite
from nas.training.inheritance import inherit_into, suit_momentum
from nas.training.optimiser import Optimiser, layer_factors
from nas.training.precision import autocast
from nas.training.random_numbers import isolated_rng
from nas.training.recipe import FINE_TUNING_DECAY
from nas.training.scoring import Score, predict, score


@dataclass(frozen=True)
class TrainingSettings:
    """How a candidate is trained.

    Attributes:
        width: multiplies the widths of the candidate.
        resolution: pixels at which a network of the space's own resolution is trained; networks
            of other resolutions in proportion.
        images_seen: how many training images are shown in all. Of data with more images, a
            stratified sample is shown once; data with fewer are shown several times.
        batch_size: images a step.
        learning_rate: the maximum, for AdamW; it rises linearly for ``warm_up`` of the steps and
            falls along half a cosine to 0.
        weight_decay: of the weights of convolutions and the classifier.
        warm_up: share of the steps.
        checks: shares of the steps after which an intermediate value is reported.
        flip: mirror half of the images; not for images whose mirror image is of another class.
        shift: shift images that are shown several times.
        augment: further augmentations, such as ``crop,color``; see ``--augment``.
        check_images: number of validation images for an intermediate value.
        validation_images: number of validation images for the final value, at most.
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
    shift: bool = True
    augment: str = "none"
    check_images: int = 1_000
    validation_images: int = 5_000


def reduced_architecture(
    arch: Architecture, settings: TrainingSettings, base: int, channels: int, classes: int
) -> Architecture:
    """Return the network that is trained in place of ``arch``: narrower, at a lower resolution.

    Args:
        arch: what is to be measured.
        settings: of the training.
        base: resolution of the networks that are trained at the resolution of the settings.
        channels: of the images.
        classes: number of classes of the images.
    """
    reduced = scale(
        arch,
        width=settings.width,
        resolution=round_resolution(arch.resolution, settings.resolution / base),
        name=arch.name,
    )
    return replace(reduced, in_channels=channels, num_classes=classes)


def seen_by_training(settings: TrainingSettings, base: int) -> Callable[[Architecture], Hashable]:
    """Return a function that is equal for networks which a training cannot tell apart.

    Args:
        settings: of the training.
        base: see :func:`reduced_architecture`.
    """

    def seen(arch: Architecture) -> Hashable:
        channels, classes = arch.in_channels, arch.num_classes
        return computed(reduced_architecture(arch, settings, base, channels, classes))

    return seen


class TrainingProxy:
    """Trains each candidate, from scratch or fine-tuned, and ranks by the validation loss.

    The loss ranks networks better than the accuracy where training is short (Ning et al. 2021,
    arXiv 2008.03064); the accuracy is reported beside it. On the CPU the result is the same for
    the same seed, architecture, data, settings and number of threads.

    Args:
        data: images; those of the test split are used by :meth:`test` alone.
        settings: how to train.
        device: where to train.
        weights: trained weights that every candidate inherits; None: it is trained from scratch.
    """

    name = "training"
    capabilities = ProxyCapabilities(rank_by="loss", needs_images=True, trains_candidates=True)

    def __init__(
        self,
        data: ImageData,
        settings: TrainingSettings | None = None,
        device: str = "cpu",
        weights: Pretrained | None = None,
    ) -> None:
        self.settings = settings or TrainingSettings()
        self.weights = weights
        known = None if weights is None else weights.normalisation(data.channels)
        self._normalisation: Normalisation = known or (data.mean, data.std)
        self.device = device
        self.data = data.to(device)
        sample = fixed_sample(len(data.validation_labels), self.settings.validation_images)
        self._validation = (
            data.validation_images[sample].to(device),
            data.validation_labels[sample].to(device),
        )
        self._base_resolution = 0

    def describe(self) -> dict[str, Any]:
        """Return the settings as plain data, with the hash of the weights that are inherited."""
        settings = asdict(self.settings) | {"checks": list(self.settings.checks)}
        return settings if self.weights is None else settings | {"weights": self.weights.digest}

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Remember the resolution of the space; networks are trained in proportion to it."""
        self._base_resolution = space.resolution

    def reduced(self, arch: Architecture) -> Architecture:
        """Return the network that is trained in place of ``arch``: narrower, of fewer pixels."""
        base, data = self._base_resolution or arch.resolution, self.data
        return reduced_architecture(arch, self.settings, base, data.channels, data.num_classes)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return accuracy and loss on the validation images after a short training.

        Raises:
            Diverged: the training diverged.
        """
        return self._train_and_score(arch, seed, report, *self._validation, "validation")

    def test(self, arch: Architecture, *, seed: int) -> Accuracy | None:
        """Return accuracy and loss on the test images; None: there are none.

        Nothing is selected by them.
        """
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
        reduced = self.reduced(arch)
        with isolated_rng(self.device, seed):
            network = build(reduced, zero_init_residual=True)
            if self.weights is not None:
                inherit_into(
                    network, reduced, self.weights, self.data.train_images, self._normalisation
                )
            network.to(self.device)
            lay_out(network, self.device)
            found = self._fit(network, reduced.resolution, seed, report)
        if found is None:
            found = self._score(network, reduced.resolution, images, labels)
        return found.to_accuracy(
            metric=f"{part} accuracy after {self.settings.images_seen:,} training images at "
            f"{reduced.resolution} px and {self.settings.width:g} of the width"
            + ("" if self.weights is None else f", from weights of {self.weights.name}"),
            seed=seed,
            proxy=self.name,
            data=f"{self.data.name} ({part})",
        )

    def _fit(
        self, network: torch.nn.Module, resolution: int, seed: int, report: Report
    ) -> Score | None:
        """Train to the end and return None, or until ``report`` says stop; return the last score.

        Raises:
            Diverged: the loss is not finite.
        """
        settings, data = self.settings, self.data
        generator = torch.Generator().manual_seed(seed)
        sample = _stratified_sample(data.train_labels.cpu(), settings.images_seen, generator)
        batches = BatchOrder(
            len(sample), settings.batch_size, lambda epoch: generator, drop_last=True
        )
        steps = max(1, settings.images_seen // batches.batch_size)
        checks = {max(1, int(share * steps)): share for share in settings.checks}
        pad = (
            shift_padding(settings.images_seen, len(sample), data.resolution)
            if settings.shift
            else 0
        )
        more = parse_augmentation(settings.augment)
        class_weights = data.balanced_weights()
        optimiser = Optimiser(
            dict(network.named_parameters()),
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warm_up=settings.warm_up,
            steps=steps,
            factors=None
            if self.weights is None
            else layer_factors((name for name, _ in network.named_parameters()), FINE_TUNING_DECAY),
        )
        suit_momentum(network, steps)
        network.train()
        losses = torch.zeros((), device=self.device)
        for step in range(steps):
            indices = sample[batches[step]].to(self.device, non_blocking=True)
            images = augment(
                data.train_images[indices],
                generator,
                pad=pad,
                flip=settings.flip,
                more=more,
            )
            inputs = preprocess(images, resolution, *self._normalisation)
            with autocast(self.device):
                labels = data.train_labels[indices]
                loss = F.cross_entropy(network(inputs), labels, weight=class_weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step(step)
            losses += loss.detach()
            done = step + 1
            if done in checks and done < steps:
                check_finite(losses, f"the loss at step {done} of {steps}")
                images, labels = (part[: settings.check_images] for part in self._validation)
                found = self._score(network, resolution, images, labels)
                network.train()
                if report(round(100 * checks[done]), math.exp(-found.loss)):
                    return found
        check_finite(losses, f"the loss at step {steps} of {steps}")
        return None

    def _score(
        self, network: torch.nn.Module, resolution: int, images: Tensor, labels: Tensor
    ) -> Score:
        logits = predict(network.eval(), images, resolution, *self._normalisation)
        return score(logits, labels.cpu(), by_class=not self.data.is_balanced)


TRAINING = ProxyFactory(
    lambda setup: TrainingProxy(setup.images, setup.training, setup.device, setup.weights),
    TrainingProxy.capabilities,
)


class TrainingTestProxy:
    """A proxy ``training`` that scores on the test images: for the report, not for a search."""

    capabilities = TrainingProxy.capabilities

    def __init__(self, proxy: TrainingProxy) -> None:
        self._proxy = proxy

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Prepare the proxy that trains."""
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


def _stratified_sample(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the indices of some images, of each class in proportion, in random order by class.

    Args:
        labels: (images,), on the CPU.
        count: how many images; all of them if there are no more.
        generator: of the random numbers.
    """
    order = torch.randperm(len(labels), generator=generator)
    if count >= len(labels):
        return order
    # Sorted by class, every n-th image is taken: each class's share is exact to one image.
    by_class = order[torch.argsort(labels[order], stable=True)]
    picks = torch.linspace(0, len(labels) - 1, count).long()
    return by_class[picks]
