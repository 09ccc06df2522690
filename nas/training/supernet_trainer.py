"""The training of a supernet: a few random networks a step, rolled back when it diverges.

Single-path uniform sampling (Guo et al. 2020, arXiv 1904.00420); the gradients of a step's networks
are averaged, each on images of its own.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data import ImageData, augment, preprocess
from nas.data.augmentation import parse_augmentation
from nas.errors import Diverged
from nas.networks.pretrained import Normalisation
from nas.seeding import derived_rng
from nas.training.batches import BatchOrder, shift_padding
from nas.training.checkpoint import CheckpointFolder, with_prefix, without_prefix
from nas.training.optimiser import Optimiser
from nas.training.precision import autocast
from nas.training.random_numbers import seeded_generator
from nas.training.threads import Map, compute_threads
from nas.training.weight_sharing import NetworkPath, SharedWeights

logger = logging.getLogger(__name__)

INTERVAL = 50
"""Steps after which the loss is checked, and the state that a rollback returns to is kept."""

SAVE_SECONDS = 30.0
"""A checkpoint is written at the first interval after so many seconds."""

MAX_ROLLBACKS = 5
"""A training that diverges more often than this fails."""


@dataclass(frozen=True)
class SupernetSettings:
    """How a supernet is trained, and how a network is evaluated with its weights.

    Attributes:
        width: multiplies the widths of the space.
        resolution: of the images, in pixels.
        images_seen: how many training images are shown in all.
        batch_size: images that a network is shown in a step.
        paths: networks a step.
        learning_rate: the maximum, for AdamW; it rises linearly for ``warm_up`` of the steps and
            falls along half a cosine to 0.
        weight_decay: of the weights of convolutions and the classifier.
        warm_up: share of the steps.
        flip: mirror half of the images; not for images whose mirror image is of another class.
        shift: shift images that are shown several times.
        augment: further augmentations, such as ``crop,color``; see ``--augment``.
        recalibration_images: number of training images that the batch norms of a network are
            recalibrated on.
        validation_images: number of validation images that it is scored on, at most.
    """

    width: float = 0.5
    resolution: int = 32
    images_seen: int = 200_000
    batch_size: int = 64
    paths: int = 2
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    warm_up: float = 0.1
    flip: bool = True
    shift: bool = True
    augment: str = "none"
    recalibration_images: int = 256
    validation_images: int = 1_000


@dataclass(frozen=True)
class SupernetState:
    """What the training of a supernet has to know to resume, besides its tensors.

    Attributes:
        step: number of steps done.
        rate: multiplies the learning rate; it is halved at each rollback.
        losses: mean training loss of each interval.
        rollbacks: of each, the step that was returned to, and the loss of the interval that was
            discarded (None: not finite).
    """

    step: int = 0
    rate: float = 1.0
    losses: tuple[float, ...] = ()
    rollbacks: tuple[tuple[int, float | None], ...] = ()

    def after(self, step: int, loss: float) -> SupernetState:
        """Return the state after an interval that ends at ``step``."""
        return replace(self, step=step, losses=(*self.losses, round(loss, 6)))

    def rolled_back(self, loss: float) -> SupernetState:
        """Return the state after an interval that was discarded."""
        kept = round(loss, 6) if math.isfinite(loss) else None
        return replace(self, rate=self.rate / 2, rollbacks=(*self.rollbacks, (self.step, kept)))


class SupernetTrainer:
    """Trains shared weights; a step depends on the seed and its number alone.

    Args:
        weights: what is trained, in place.
        data: images, on the device.
        settings: the hyperparameters.
        draw: returns a random network of the space, and the pixels of its images.
        seed: of all random numbers.
        device: where to train.
        normalisation: of the images; None: by their own mean and standard deviation.
    """

    def __init__(
        self,
        weights: SharedWeights,
        data: ImageData,
        settings: SupernetSettings,
        draw: Callable[[random.Random], tuple[NetworkPath, int]],
        seed: int,
        device: str,
        normalisation: Normalisation | None = None,
    ) -> None:
        self._normalisation: Normalisation = normalisation or (data.mean, data.std)
        self._weights = weights
        self._data = data
        self._settings = settings
        self._draw = draw
        self._seed = seed
        self._device = device
        images = len(data.train_labels)
        self._batches = BatchOrder(
            images,
            settings.batch_size,
            lambda epoch: seeded_generator(seed, "order", epoch),
            drop_last=True,
        )
        self._images_per_step = self._batches.batch_size * settings.paths
        self.steps = max(1, settings.images_seen // self._images_per_step)
        self._pad = (
            shift_padding(settings.images_seen, images, data.resolution) if settings.shift else 0
        )
        self._more = parse_augmentation(settings.augment)
        self._class_weights = data.balanced_weights()
        self._optimiser = Optimiser(
            weights.banks,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warm_up=settings.warm_up,
            steps=self.steps,
        )

    def run(
        self,
        checkpoints: CheckpointFolder[SupernetState],
        report: Callable[[int, int, str], None],
    ) -> SupernetState:
        """Train to the end, from the last checkpoint if there is one.

        Args:
            checkpoints: where checkpoints are written.
            report: called after each interval with the images seen, how many there will be, and a
                short text.

        Raises:
            Diverged: it diverged more than :data:`MAX_ROLLBACKS` times.
            InputError: a checkpoint is damaged, or cannot be written.
        """
        state = self._restore(checkpoints)
        kept = self._tensors()
        saved = time.monotonic()
        total = self.steps * self._images_per_step
        report(state.step * self._images_per_step, total, "")
        with compute_threads(self._device, self._settings.paths) as workers:
            while state.step < self.steps:
                end = min(self.steps, state.step + INTERVAL)
                losses = torch.zeros((), device=self._device)
                for step in range(state.step, end):
                    losses += self._step(step, state.rate, workers)
                loss = float(losses) / (end - state.step)
                if self._has_diverged(loss, state):
                    state = self._roll_back(state, kept, end, loss)
                    report(state.step * self._images_per_step, total, "diverged: rolled back")
                    continue
                state = state.after(end, loss)
                logger.debug("supernet: step %d of %d, loss %.4f", end, self.steps, loss)
                kept = self._tensors()
                if state.step < self.steps and time.monotonic() - saved > SAVE_SECONDS:
                    checkpoints.save(state, kept)
                    saved = time.monotonic()
                report(state.step * self._images_per_step, total, f"loss {loss:.3f}")
        checkpoints.save(state, self._banks())
        return state

    def _has_diverged(self, loss: float, state: SupernetState) -> bool:
        """Say whether the mean loss of an interval is not finite, or close to that of guessing.

        The latter only if it has been lower before.
        """
        chance = math.log(max(2, self._data.num_classes))
        best = min(state.losses, default=math.inf)
        limit = max(best, 0.5 * (best + chance)) + 0.1 * chance
        return not (math.isfinite(loss) and loss <= limit)

    def _roll_back(
        self, state: SupernetState, kept: dict[str, Tensor], end: int, loss: float
    ) -> SupernetState:
        """Restore the tensors of the last interval, at half the learning rate.

        Raises:
            Diverged: that has been done too often.
        """
        state = state.rolled_back(loss)
        if len(state.rollbacks) > MAX_ROLLBACKS:
            raise Diverged(
                f"the supernet diverged {len(state.rollbacks)} times, the last time by step {end} "
                f"of {self.steps} at {state.rate:g} of the learning rate"
            )
        logger.warning(
            "the supernet diverged by step %d with loss %g; rollback to step %d, at %g of the "
            "learning rate",
            end,
            loss,
            state.step,
            state.rate,
        )
        self._load(kept)
        return state

    def _step(self, step: int, rate: float, workers: Map) -> Tensor:
        """Train each of the step's networks on a batch; return the mean loss, on the device."""
        settings, banks = self._settings, self._weights.banks
        jobs = []
        for number in range(step * settings.paths, (step + 1) * settings.paths):
            path, pixels = self._draw(derived_rng(self._seed, "path", number))
            indices = self._batches[number].to(self._device, non_blocking=True)
            jobs.append((number, path, pixels, indices))
        self._optimiser.zero_grad()
        losses = torch.zeros((), device=self._device)
        # Summed in the order of the jobs, whichever thread is the first to finish.
        for loss, gradients in workers(self._gradients, jobs):
            losses += loss
            for name, gradient in gradients.items():
                bank = banks[name]
                if bank.grad is None:
                    bank.grad = torch.empty_like(bank).copy_(gradient)
                else:
                    bank.grad += gradient
        self._optimiser.step(step, factor=rate)
        return losses

    def _gradients(
        self, job: tuple[int, NetworkPath, int, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a network on a batch, and the gradients of the banks that it uses."""
        number, path, pixels, indices = job
        data, settings = self._data, self._settings
        generator = seeded_generator(self._seed, "augment", number)
        images = augment(
            data.train_images[indices],
            generator,
            pad=self._pad,
            flip=settings.flip,
            more=self._more,
        )
        inputs = preprocess(images, pixels, *self._normalisation)
        leaves = self._weights.leaves(path)
        with autocast(self._device):
            logits = self._weights.forward(path, inputs, leaves)
            loss = F.cross_entropy(logits, data.train_labels[indices], weight=self._class_weights)
        loss = loss / settings.paths
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return loss.detach(), dict(zip(leaves, gradients, strict=True))

    def _restore(self, checkpoints: CheckpointFolder[SupernetState]) -> SupernetState:
        found = checkpoints.load(self._device)
        if found is None:
            return SupernetState()
        self._load(found[1])
        return found[0]

    def _banks(self) -> dict[str, Tensor]:
        return {name: bank.detach() for name, bank in self._weights.banks.items()}

    def _tensors(self) -> dict[str, Tensor]:
        """Return a copy of all tensors that a step changes."""
        tensors = self._banks() | with_prefix("optimiser", self._optimiser.state())
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def _load(self, tensors: dict[str, Tensor]) -> None:
        for name, bank in self._banks().items():
            bank.copy_(tensors[name])
        self._optimiser.load_state(without_prefix("optimiser", tensors))
