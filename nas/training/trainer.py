"""The full training of one network: steps, validation, checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data import ImageData, augment, cutmix, mixup, preprocess
from nas.data.augmentation import parse_augmentation
from nas.networks.modules import Network
from nas.networks.pretrained import Normalisation
from nas.networks.weights import CLASSIFIER
from nas.seeding import derived_seed
from nas.training.batches import BatchOrder
from nas.training.checkpoint import CheckpointFolder, with_prefix, without_prefix
from nas.training.distillation import Teacher
from nas.training.divergence import check_finite
from nas.training.inheritance import suit_momentum
from nas.training.optimiser import Optimiser, layer_factors
from nas.training.precision import autocast
from nas.training.random_numbers import seeded_generator
from nas.training.recipe import Recipe
from nas.training.schedule import TrainingSchedule
from nas.training.scoring import Score, predict, score
from nas.training.shards import Replicas, balanced_parts, split
from nas.training.threads import Map, compute_threads
from nas.training.weight_average import WeightAverage

logger = logging.getLogger(__name__)

SAVE_SECONDS = 30.0
"""A checkpoint is written at the first step after so many seconds."""

REPORT_SECONDS = 5.0
"""Progress is reported, and the loss checked, at the first step after so many seconds."""


@dataclass(frozen=True)
class EpochMetrics:
    """What was measured up to one validation, since the one before.

    Attributes:
        epoch: how often each image has been seen by then.
        learning_rate: of the last step.
        resolution: of the images of the last step, in pixels.
        loss: mean training loss.
        validation_loss: of the averaged weights.
        validation_accuracy: likewise; the mean over the classes where they are imbalanced.
        seconds: with this validation.
        images_per_second: of the training alone.
    """

    epoch: float
    learning_rate: float
    resolution: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class TrainingState:
    """What a training has to know to resume, besides its tensors.

    Attributes:
        step: number of steps done.
        loss_sum: sum of the training losses since the last validation.
        loss_steps: number of steps since then.
        seconds: time of these steps.
        epochs: metrics of each validation.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0
    epochs: tuple[EpochMetrics, ...] = ()


@dataclass(frozen=True)
class _Shard:
    """A part of a batch; ``share`` is how much of the batch it is."""

    step: int
    number: int
    indices: Tensor
    share: float


@dataclass(frozen=True)
class _Part:
    """Some of the parameters, and what updates them."""

    names: Sequence[str]
    optimiser: Optimiser


class Trainer:
    """Trains a network; a step depends on the seed and its number alone.

    On the CPU the result is the same for the same seed, data, recipe and schedule, however often
    the training was interrupted, and on whatever number of cores up to that of the shards.

    Args:
        network: what is trained, on the device.
        data: images, on the device; the test images are not used.
        recipe: the hyperparameters.
        schedule: how many steps there are, and what happens when.
        normalisation: of the images.
        seed: of all random numbers.
        device: where to train.
        teacher: whose outputs are learned beside the labels; None: the labels alone.
    """

    def __init__(
        self,
        network: Network,
        data: ImageData,
        recipe: Recipe,
        schedule: TrainingSchedule,
        normalisation: Normalisation,
        seed: int,
        device: str,
        teacher: Teacher | None = None,
    ) -> None:
        self._network = network
        self._data = data
        self._recipe = recipe
        self._schedule = schedule
        self._mean, self._std = normalisation
        self._seed = seed
        self._device = device
        self._teacher = teacher
        self._batches = BatchOrder(
            len(data.train_labels),
            recipe.batch_size,
            lambda epoch: seeded_generator(seed, "order", epoch),
            drop_last=False,
        )
        self._more = parse_augmentation(recipe.augment)
        self._pad = min(round(recipe.shift * data.resolution), data.resolution - 1)
        self._cutout = round(recipe.cutout * data.resolution)
        self._class_weights = None if data.is_balanced else data.balanced_weights()
        suit_momentum(network, schedule.steps)
        self._average = WeightAverage(network, round(recipe.average_horizon * schedule.steps))
        self._replicas = Replicas(network, recipe.shards, device)
        self._parameters = dict(network.named_parameters())
        names, sizes = list(self._parameters), [p.numel() for p in self._parameters.values()]
        self._factors = layer_factors(names, recipe.layer_decay)
        self._alone = round(recipe.classifier_alone * schedule.steps)
        self._parts = [
            self._part([names[position] for position in positions])
            for positions in balanced_parts(sizes, recipe.shards)
        ]
        self._statistics = [
            name for name, buffer in network.named_buffers() if buffer.is_floating_point()
        ]

    def _part(self, names: list[str]) -> _Part:
        return _Part(
            names,
            Optimiser(
                {name: self._parameters[name] for name in names},
                learning_rate=self._recipe.learning_rate,
                weight_decay=self._recipe.weight_decay,
                warm_up=self._recipe.warm_up,
                steps=self._schedule.steps,
                factors={name: self._factors[name] for name in names},
            ),
        )

    @property
    def average(self) -> Network:
        """The network with the averaged weights, which is validated and kept."""
        network = self._average.network
        assert isinstance(network, Network)
        return network

    def run(
        self,
        checkpoints: CheckpointFolder[TrainingState],
        report: Callable[[int, str], None],
        on_validation: Callable[[TrainingState], None],
    ) -> TrainingState:
        """Train to the end, from the last checkpoint if there is one.

        Args:
            checkpoints: where checkpoints are written.
            report: called now and then with the number of steps done and a short text.
            on_validation: called after each validation.

        Raises:
            Diverged: the loss is not finite any more.
            InputError: a checkpoint is damaged, or cannot be written.
        """
        steps = self._schedule.steps
        state = self._restore(checkpoints)
        saved = reported = began = time.monotonic()
        # MPS has no double precision.
        exact = torch.float32 if self._device == "mps" else torch.float64
        losses = torch.tensor(state.loss_sum, dtype=exact, device=self._device)
        before, text = state.seconds, f"epoch {len(state.epochs) + 1}"
        report(state.step, "")
        with self.workers() as workers:
            while state.step < steps:
                losses += self.step(state.step, workers)
                state = replace(state, step=state.step + 1, loss_steps=state.loss_steps + 1)
                now = time.monotonic()
                validates = self._validates_after(state.step)
                if validates or now - reported > REPORT_SECONDS or now - saved > SAVE_SECONDS:
                    # On a GPU this waits for the step, so it is not done after each one.
                    check_finite(losses, f"the loss at step {state.step} of {steps}")
                    now = time.monotonic()
                    state = replace(state, loss_sum=float(losses), seconds=before + now - began)
                    report(state.step, text)
                    reported = now
                if validates:
                    state = self._validate(state)
                    on_validation(state)
                    text = f"validation accuracy {state.epochs[-1].validation_accuracy:.4f}"
                    before, began = 0.0, time.monotonic()
                    losses.zero_()
                if now - saved > SAVE_SECONDS and state.step < steps:
                    checkpoints.save(state, self._tensors())
                    saved = time.monotonic()
        checkpoints.save(state, self._tensors())
        return state

    @contextmanager
    def workers(self) -> Iterator[Map]:
        """Provide what computes the shards of a step, for as long as there are steps."""
        with compute_threads(self._device, self._recipe.shards) as workers:
            yield workers

    def step(self, step: int, workers: Map) -> Tensor:
        """Train on one batch; return its loss, on the device.

        Args:
            step: number of the step, counted from 0.
            workers: computes the shards, and updates the weights in parts.
        """
        indices = self._batches[step]
        shards = [
            _Shard(step, number, part, len(part) / len(indices))
            for number, part in enumerate(split(indices, self._recipe.shards))
        ]
        self._replicas.spread_buffers()
        self._replicas.train(features=step >= self._alone)
        found = workers(self._gradients, shards)
        self._replicas.average_buffers([shard.share for shard in shards])

        def update(part: _Part) -> None:
            for name in part.names:
                # Added in the order of the shards, whichever thread was the first to finish.
                gradients = [one[name] for _, one in found if name in one]
                self._parameters[name].grad = _sum(gradients) if gradients else None
            part.optimiser.step(step)
            self._average.update(step, part.names)

        workers(update, self._parts)
        self._average.update(step, self._statistics)
        return torch.stack([loss for loss, _ in found]).sum()

    def _gradients(self, shard: _Shard) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a shard's part of the mean loss of its batch, and of the gradients."""
        recipe, data = self._recipe, self._data
        network = self._replicas.seeded(
            shard.number, derived_seed(self._seed, "dropout", shard.step, shard.number)
        )
        generator = seeded_generator(self._seed, "augment", shard.step, shard.number)
        indices = shard.indices.to(self._device, non_blocking=True)
        images = augment(
            data.train_images[indices],
            generator,
            pad=self._pad,
            flip=recipe.flip,
            more=self._more,
            cutout=self._cutout,
        ).float()
        targets = data.train_labels[indices]
        if recipe.cutmix or recipe.mixup:
            targets = F.one_hot(targets, data.num_classes).float()
        if recipe.cutmix:
            images, targets = cutmix(images, targets, generator, recipe.cutmix)
        if recipe.mixup:
            images, targets = mixup(images, targets, generator, recipe.mixup)
        inputs = preprocess(images, self._schedule.resolution(shard.step), self._mean, self._std)
        with autocast(self._device):
            logits = network(inputs).float()
        loss = F.cross_entropy(
            logits, targets, self._class_weights, label_smoothing=recipe.label_smoothing
        )
        if self._teacher is not None:
            loss = self._teacher.blend(loss, logits, images)
        loss = shard.share * loss
        names = CLASSIFIER if shard.step < self._alone else tuple(self._parameters)
        gradients = torch.autograd.grad(loss, [self._parameters[name] for name in names])
        return loss.detach(), dict(zip(names, gradients, strict=True))

    def score(self, images: Tensor, labels: Tensor) -> tuple[Score, Tensor]:
        """Return the score of the averaged weights, and the class predicted for each image (CPU).

        Raises:
            Diverged: an output is not finite.
        """
        resolution = self._schedule.resolutions[-1][1]
        logits = predict(self.average, images, resolution, self._mean, self._std)
        found = score(logits, labels.cpu(), by_class=not self._data.is_balanced)
        return found, logits.argmax(1)

    def _validates_after(self, step: int) -> bool:
        return step % self._schedule.validation_interval == 0 or step == self._schedule.steps

    def _validate(self, state: TrainingState) -> TrainingState:
        """Return the state with the metrics since the last validation added, its sums at 0."""
        start = time.monotonic()
        found, _ = self.score(self._data.validation_images, self._data.validation_labels)
        last = state.step - 1
        images = self._batches.batch_size * state.loss_steps
        metrics = EpochMetrics(
            epoch=round(state.step / self._schedule.steps_per_epoch, 4),
            learning_rate=self._parts[0].optimiser.learning_rate(last),
            resolution=self._schedule.resolution(last),
            loss=state.loss_sum / state.loss_steps,
            validation_loss=found.loss,
            validation_accuracy=found.accuracy,
            seconds=round(state.seconds + time.monotonic() - start, 3),
            images_per_second=round(images / max(1e-9, state.seconds), 1),
        )
        logger.info(
            "step %d of %d: loss %.4f, validation loss %.4f, validation accuracy %.4f",
            state.step,
            self._schedule.steps,
            metrics.loss,
            metrics.validation_loss,
            metrics.validation_accuracy,
        )
        return TrainingState(state.step, epochs=(*state.epochs, metrics))

    def _restore(self, checkpoints: CheckpointFolder[TrainingState]) -> TrainingState:
        found = checkpoints.load(self._device)
        if found is None:
            return TrainingState()
        state, tensors = found
        self._network.load_state_dict(without_prefix("network", tensors))
        self._average.network.load_state_dict(without_prefix("average", tensors))
        moments = without_prefix("optimiser", tensors)
        for part in self._parts:
            part.optimiser.load_state(
                {
                    name: one
                    for name, one in moments.items()
                    if name.rpartition("/")[0] in part.names
                }
            )
        return state

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors that a step changes, by name; not copied."""
        return {
            **with_prefix("network", self._network.state_dict()),
            **with_prefix("average", self._average.network.state_dict()),
            **with_prefix(
                "optimiser",
                {k: v for part in self._parts for k, v in part.optimiser.state().items()},
            ),
        }


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of tensors, of which the first is overwritten."""
    for tensor in tensors[1:]:
        tensors[0].add_(tensor)
    return tensors[0]
