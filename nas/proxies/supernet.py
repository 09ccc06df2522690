"""Proxy ``supernet``: networks are evaluated with their share of the weights of one supernet."""

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
from nas.data import ImageData, preprocess
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import round_filters, round_resolution
from nas.networks.fast_convolution import fold_norms, lay_out
from nas.networks.modules import Network
from nas.networks.pretrained import Normalisation, Pretrained
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.proxies.registration import ProxyFactory
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Choices, SearchSpace
from nas.training.batches import fixed_sample
from nas.training.checkpoint import CheckpointFolder
from nas.training.precision import autocast
from nas.training.scoring import score
from nas.training.supernet_trainer import SupernetSettings, SupernetState, SupernetTrainer
from nas.training.weight_sharing import NetworkPath, SharedWeights

logger = logging.getLogger(__name__)

FOLDER = "supernet"
SCHEMA = "nas-search-supernet/2"
SCORING_BATCH = 125
"""Number of images that are scored at once: the features of more do not fit the caches of a CPU."""

OnProgress = Callable[[int, int, str], None]
"""Called with the images seen, how many there will be, and a short text."""


class SupernetProxy:
    """Trains a supernet, which contains all networks of a space, and evaluates each as part of it.

    :meth:`prepare` trains the shared weights, for minutes, by random networks within the budget. An
    evaluation recalibrates the batch norms of a network on training images and scores it on
    validation images, always the same ones. It ranks by the loss, which ranks better than the
    accuracy here too. The accuracy is that of the shared weights: it says which of two networks is
    better when trained alone, not how good it is then.

    On the CPU the result is the same for the same seed, space, budget, data and settings.

    Args:
        data: images; those of the test split are not used.
        settings: how to train, and how to evaluate.
        device: where to train.
        seed: of the shared weights and their training.
        on_progress: called in the training with how far it is.
        weights: trained weights that the supernet begins with; None: new ones.
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
        weights: Pretrained | None = None,
    ) -> None:
        self.pretrained = weights
        known = None if weights is None else weights.normalisation(data.channels)
        self._normalisation: Normalisation = known or (data.mean, data.std)
        self.settings = settings or SupernetSettings()
        self.device = device
        self.seed = seed
        self.data = data.to(device)
        self.on_progress = on_progress
        self.training_state: SupernetState | None = None
        """Losses and rollbacks of the training; None before it."""
        self._space: SearchSpace | None = None
        self._weights: SharedWeights | None = None
        self._identity: dict[str, Any] = {}
        self._inputs: dict[int, tuple[Tensor, Tensor]] = {}
        sample = fixed_sample(len(data.validation_labels), self.settings.validation_images)
        self._labels = data.validation_labels[sample].cpu()

    @property
    def nbytes(self) -> int:
        """Bytes of the shared weights and the preprocessed images; not of the data set."""
        own = sum(one.nbytes + other.nbytes for one, other in self._inputs.values())
        if not self._inputs:  # not prepared yet: the images of one resolution
            settings, data = self.settings, self.data
            images = min(settings.recalibration_images, len(data.train_labels)) + len(self._labels)
            own = 4 * images * data.channels * settings.resolution**2
        return own + (0 if self._weights is None else self._weights.nbytes)

    def describe(self) -> dict[str, Any]:
        """Return the settings as plain data, with the hash of the weights that are inherited."""
        settings = asdict(self.settings)
        known = self.pretrained
        return settings if known is None else settings | {"weights": known.digest}

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Train the shared weights, or load them from ``folder/supernet`` if they are there.

        A training that was killed resumes from its checkpoint, and ends with the same weights.

        Raises:
            InputError: no network is within the budget, or a checkpoint is damaged.
            Diverged: the training diverged too often.
        """
        settings, data = self.settings, self.data
        identity = {
            "space": space.fingerprint(),
            "budget": budget.limits,
            "data": data.fingerprint,
            "settings": self.describe(),
            "seed": self.seed,
        }
        if self.training_state is not None and self._identity == identity:
            logger.debug("supernet of %s: already prepared", space.name)
            return
        feasible = Feasible(space, budget)
        feasible.check()
        narrow = narrow_space(space, settings, data.channels, data.num_classes)
        weights = SharedWeights(narrow, self.seed, self.device)
        if self.pretrained is not None:
            weights.inherit(self.pretrained, data.train_images, self._normalisation)

        def draw(rng: random.Random) -> tuple[NetworkPath, int]:
            # Different choices may make the same network, which has one path.
            network = space.decode(feasible.sample(rng))
            choices = translate_choices(space.encode(network), space, narrow)
            return weights.path(choices), narrow.pixels_of(choices)

        trainer = SupernetTrainer(
            weights, data, settings, draw, self.seed, self.device, self._normalisation
        )
        self._space, self._weights, self._identity = space, weights, identity
        self._inputs = {pixels: self._inputs_at(pixels) for pixels in narrow.pixels}
        logger.info(
            "supernet of %s: training on %s for %d steps on %s",
            space.name,
            data.name,
            trainer.steps,
            self.device,
        )
        checkpoints = CheckpointFolder(folder / FOLDER, identity, SupernetState, SCHEMA)
        self.training_state = trainer.run(checkpoints, self.on_progress or (lambda *_: None))

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return accuracy and loss on the validation images, with the shared weights.

        Raises:
            InputError: the network is not in the space, or :meth:`prepare` was not called.
            Diverged: its outputs are not finite.
        """
        network = self.network(arch)
        pixels = self._pixels_of(arch)
        fold_norms(network)
        with torch.inference_mode(), autocast(self.device):
            logits = [
                network(part).float()
                for part in torch.split(self._inputs[pixels][1], SCORING_BATCH)
            ]
        # On the CPU, since not every device has double precision.
        found = score(torch.cat(logits).cpu(), self._labels, by_class=not self.data.is_balanced)
        settings = self.settings
        return found.to_accuracy(
            metric=f"validation accuracy with weights that all networks share, after "
            f"{settings.images_seen:,} training images at {pixels} px and "
            f"{settings.width:g} of the width",
            seed=self.seed,
            proxy=self.name,
            data=f"{self.data.name} (validation)",
        )

    def network(self, arch: Architecture) -> Network:
        """Return a network with its share of the weights, in eval mode, at the settings' width.

        Its batch norms are recalibrated.

        Raises:
            InputError: it is not in the space, or :meth:`prepare` was not called.
        """
        if self._space is None or self._weights is None:
            raise InputError(f"proxy {self.name!r}: prepare must be called before evaluate")
        choices = translate_choices(self._space.encode(arch), self._space, self._weights.space)
        network = self._weights.network(choices)
        lay_out(network, self.device)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        with torch.inference_mode(), autocast(self.device):
            network.train()(self._inputs[self._pixels_of(arch)][0])
        return network.eval()

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to evaluate."""
        return {**self.__dict__, "on_progress": None}

    def _pixels_of(self, arch: Architecture) -> int:
        """Return the resolution at which a network of the space is trained and scored."""
        assert self._space is not None
        assert self._weights is not None
        space, narrow = self._space, self._weights.space
        return narrow.pixels_of(translate_choices(space.encode(arch), space, narrow))

    def _inputs_at(self, pixels: int) -> tuple[Tensor, Tensor]:
        """Return the images of recalibration and validation as inputs, on the device."""
        data, settings = self.data, self.settings

        def inputs(images: Tensor, count: int) -> Tensor:
            sample = images[fixed_sample(len(images), count)].to(self.device)
            return preprocess(sample, pixels, *self._normalisation)

        return (
            inputs(data.train_images, settings.recalibration_images),
            inputs(data.validation_images, settings.validation_images),
        )


SUPERNET = ProxyFactory(
    lambda setup: SupernetProxy(
        setup.images,
        setup.supernet,
        setup.device,
        setup.seed,
        setup.on_progress,
        setup.weights,
    ),
    SupernetProxy.capabilities,
)


def narrow_space(
    space: SearchSpace, settings: SupernetSettings, channels: int, classes: int
) -> SearchSpace:
    """Return the space with the widths and the input that its networks are trained with.

    Widths are rounded as in compound scaling to multiples of 8, or of 4, 2 or 1 where two choices
    of a width would become the same; where they do even then, the widths are not changed.

    Args:
        space: of the search.
        settings: say the width and the resolution.
        channels: of the images.
        classes: number of classes of the images.
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
    share = settings.resolution / space.resolution
    return replace(
        space,
        resolution=settings.resolution,
        resolutions=tuple(
            settings.resolution if pixels == space.resolution else round_resolution(pixels, share)
            for pixels in space.resolutions
        ),
        in_channels=channels,
        num_classes=classes,
        stem=replace(space.stem, width=round_filters(space.stem.width, width, divisor)),
        head=replace(space.head, width=round_filters(space.head.width, width, divisor)),
        stages=stages,
    )


def translate_choices(choices: Choices, space: SearchSpace, other: SearchSpace) -> Choices:
    """Return the choices at the same positions in another space, whose values differ."""
    return {
        name: other.choices[name][values.index(choices[name])]
        for name, values in space.choices.items()
    }
