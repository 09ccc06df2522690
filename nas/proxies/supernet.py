"""Proxy ``supernet``: all networks of a space trained at once, with shared weights."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.accuracy import Accuracy
from nas.data import ImageData, normalise, resize
from nas.errors import InputError
from nas.files import digest
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import round_filters
from nas.networks.fast_convolution import fold_norms, lay_out
from nas.networks.modules import Network
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.proxies.registration import ProxyFactory
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Choices, SearchSpace
from nas.training.checkpoint import Checkpoints
from nas.training.optim import precision
from nas.training.scoring import score
from nas.training.supernet_trainer import Progress, SharedTraining, SupernetSettings
from nas.training.weight_sharing import NetworkPath, SharedWeights

logger = logging.getLogger(__name__)

FOLDER = "supernet"
SCHEMA = "nas-search-supernet/1"
SCORING_BATCH = 125
"""Images at once: more do not fit the caches."""

OnProgress = Callable[[int, int, str], None]
"""Told images shown, of how many, and a few words."""


class SupernetProxy:
    """Trains one network that contains all, then evaluates each with its share of the weights.

    :meth:`prepare` trains, for minutes, on random networks within the budget; an evaluation then
    measures the network's batch norms on training images and scores it on validation images, always
    the same ones. It ranks by the loss, which ranks better than the accuracy here too. The accuracy
    is that of the shared weights: of a network trained alone it says only which is better.

    On the CPU the result is the same for the same seed, space, budget, data and settings.

    Args:
        data: images; the test part is not looked at.
        settings: how to train, and how to evaluate.
        device: where.
        seed: of the shared weights and their training.
        on_progress: told how far the training is.
    """

    name = "supernet"
    capabilities = ProxyCapabilities(rank_by="loss", needs_images=True, shares_weights=True)

    def __init__(
        self,
        data: ImageData,
        settings: SupernetSettings | None = None,
        device: str = "cpu",
        seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.settings = settings or SupernetSettings()
        self.device = device
        self.seed = seed
        self.data = data.to(device)
        self.on_progress = on_progress
        self.progress: Progress | None = None
        """What was seen in training; None before."""
        self._space: SearchSpace | None = None
        self._weights: SharedWeights | None = None
        self._identity: dict[str, Any] = {}
        # Sources list their images by class; the first so many must be a fair draw of all.
        self._recalibration = self._drawn(
            data.train_images, len(data.train_labels), self.settings.recalibration_images
        )
        count = len(data.validation_labels)
        self._validation = self._drawn(
            data.validation_images, count, self.settings.validation_images
        )
        self._labels = data.validation_labels[_order(count, self.settings.validation_images)].cpu()

    @property
    def nbytes(self) -> int:
        """Bytes that it has beside the images: a few of them as networks take them, and weights."""
        own = self._recalibration.nbytes + self._validation.nbytes
        return own + (0 if self._weights is None else self._weights.nbytes)

    def describe(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self.settings)

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Train the shared weights, or take them from ``folder/supernet`` if they are there.

        A training that was killed goes on from there, and ends with the same bytes.

        Raises:
            InputError: the budget cannot be met, or a checkpoint is damaged.
            Diverged: the training diverged again and again.
        """
        settings, data = self.settings, self.data
        identity = {
            "space": digest(asdict(space)),
            "budget": budget.limits,
            "data": data.fingerprint,
            "settings": asdict(settings),
            "seed": self.seed,
        }
        if self.progress is not None and self._identity == identity:
            logger.debug("supernet of %s: already prepared", space.name)
            return
        feasible = Feasible(space, budget)
        feasible.check()
        small = narrowed(space, settings, data.channels, data.num_classes)
        weights = SharedWeights(small, self.seed, self.device)

        def draw(rng: random.Random) -> NetworkPath:
            # The same network always takes the same way, whatever choices made it.
            network = space.decode(feasible.sample(rng))
            return weights.path(translate(space.encode(network), space, small))

        training = SharedTraining(weights, data, settings, draw, self.seed, self.device)
        self._space, self._weights, self._identity = space, weights, identity
        logger.info(
            "supernet of %s: training on %s for %d steps on %s",
            space.name,
            data.name,
            training.steps,
            self.device,
        )
        checkpoints = Checkpoints(folder / FOLDER, identity, Progress, SCHEMA)
        self.progress = training.run(checkpoints, self.on_progress or (lambda *_: None))

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return accuracy and loss on the validation images, with the shared weights.

        Raises:
            InputError: the network is not in the space, or :meth:`prepare` was not called.
            Diverged: its outputs are not finite.
        """
        network = self.network(arch)
        fold_norms(network)
        with torch.inference_mode(), precision(self.device):
            logits = [
                network(part).float() for part in torch.split(self._validation, SCORING_BATCH)
            ]
        # On the CPU: not every device knows double precision.
        found = score(torch.cat(logits).cpu(), self._labels, even=self.data.is_balanced)
        settings = self.settings
        balanced = "" if found.even else ", every class weighing the same"
        return Accuracy(
            mean=found.accuracy,
            standard_error=found.standard_error,
            n=1,
            seeds=(self.seed,),
            loss=found.loss,
            metric=f"validation accuracy with weights that all networks share, after "
            f"{settings.images_seen:,} training images at {settings.resolution} px and "
            f"{settings.width:g} of the width{balanced}",
            proxy=self.name,
            data=f"{self.data.name} (validation)",
        )

    def network(self, arch: Architecture) -> Network:
        """Return a network with its share of the weights, its batch norms measured, in eval mode.

        It is as narrow as it was trained.

        Raises:
            InputError: it is not in the space, or :meth:`prepare` was not called.
        """
        if self._space is None or self._weights is None:
            raise InputError(f"proxy {self.name!r}: prepare must be called before evaluate")
        choices = translate(self._space.encode(arch), self._space, self._weights.space)
        network = self._weights.network(choices)
        lay_out(network, self.device)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        with torch.inference_mode(), precision(self.device):
            network.train()(self._recalibration)
        return network.eval()

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to evaluate."""
        return {**self.__dict__, "on_progress": None}

    def _drawn(self, images: Tensor, total: int, count: int) -> Tensor:
        """Return ``count`` images, drawn once and for all, as a network takes them."""
        pixels = images[_order(total, count)].to(self.device).float()
        pixels = resize(pixels, self.settings.resolution)
        return normalise(pixels, self.data.mean, self.data.std)


SUPERNET = ProxyFactory(
    lambda setup: SupernetProxy(
        setup.images, setup.supernet, setup.device, setup.seed, setup.on_progress
    ),
    SupernetProxy.capabilities,
)


def narrowed(
    space: SearchSpace, settings: SupernetSettings, channels: int, classes: int
) -> SearchSpace:
    """Return the space at the width and with the input that its networks are trained with.

    Widths are rounded as in scaling, to multiples of 8 or, where these would make one of two
    choices, of 4, 2 or 1; where even these do, widths stay as they are.
    """
    for width, divisor in (
        (settings.width, 8),
        (settings.width, 4),
        (settings.width, 2),
        (settings.width, 1),
        (1.0, 1),
    ):
        stages = tuple(
            replace(stage, width=tuple(round_filters(w, width, divisor) for w in stage.width))
            for stage in space.stages
        )
        if all(len(set(stage.width)) == len(stage.width) for stage in stages):
            break
    return replace(
        space,
        resolution=settings.resolution,
        in_channels=channels,
        num_classes=classes,
        stem=replace(space.stem, width=round_filters(space.stem.width, width, divisor)),
        head=replace(space.head, width=round_filters(space.head.width, width, divisor)),
        stages=stages,
    )


def translate(choices: Choices, space: SearchSpace, other: SearchSpace) -> Choices:
    """Return what choices of a space are in another one, of the same choices but other values."""
    return {
        name: other.choices[name][values.index(choices[name])]
        for name, values in space.choices.items()
    }


def _order(total: int, count: int) -> Tensor:
    return torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count]
