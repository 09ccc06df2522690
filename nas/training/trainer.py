"""The training itself: step by step, validated by the epoch, saved on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data import ImageData, augment, mix, normalise, resize
from nas.errors import Diverged
from nas.networks.modules import Network
from nas.seeding import derived_seed
from nas.training.checkpoint import Checkpoints
from nas.training.distillation import Teacher
from nas.training.optim import WeightAverage, optimiser, precision, schedule
from nas.training.recipe import Recipe
from nas.training.schedule import Plan
from nas.training.scoring import Score, logits, score

SAVE_SECONDS = 30.0
"""The state goes to disk after the first step after so many seconds."""

TELL_SECONDS = 5.0
"""How often it is said how far the training is, and seen whether it is sound."""


@dataclass(frozen=True)
class Epoch:
    """What was seen up to one look at the validation images.

    Attributes:
        epoch: how often each image has been seen by then.
        learning_rate: of the last step.
        resolution: pixels of the last step's images.
        loss: mean training loss since the last look.
        validation_loss: of the averaged weights.
        validation_accuracy: likewise; classes weigh the same where they are imbalanced.
        seconds: since the last look, this one included.
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
class Progress:
    """How far a training is.

    Attributes:
        step: steps done.
        losses: sum of the training losses since the last look at the validation images.
        steps: how many these are of.
        seconds: that these took.
        epochs: what was seen at each look.
    """

    step: int = 0
    losses: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    epochs: tuple[Epoch, ...] = ()


class Training:
    """Trains a network; what a step does depends on the seed and its number alone.

    On the CPU the result is the same for the same seed, data, plan and number of threads, however
    often it was interrupted.

    Args:
        network: what is trained, on the device.
        data: images, on the device; the test part is not looked at.
        recipe: how.
        plan: how long.
        normalisation: mean and deviation of each channel.
        seed: decides all that is drawn.
        device: where.
        teacher: whose answers are learned beside the labels.
    """

    def __init__(
        self,
        network: Network,
        data: ImageData,
        recipe: Recipe,
        plan: Plan,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]],
        seed: int,
        device: str,
        teacher: Teacher | None = None,
    ) -> None:
        self._network = network
        self._data = data
        self._recipe = recipe
        self._plan = plan
        self._mean, self._std = normalisation
        self._seed = seed
        self._device = device
        self._teacher = teacher
        self._batch = min(recipe.batch_size, len(data.train_labels))
        self._pad = min(round(recipe.shift * data.resolution), data.resolution - 1)
        self._erase = round(recipe.erase * data.resolution)
        self._class_weights = None if data.is_balanced else data.balanced_weights()
        self._average = WeightAverage(network, round(recipe.average * plan.steps))
        self._optimiser = optimiser(network.parameters(), recipe.learning_rate, recipe.weight_decay)
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def average(self) -> Network:
        """The network with the averaged weights: what is validated, and kept."""
        network = self._average.network
        assert isinstance(network, Network)
        return network

    def run(
        self,
        checkpoints: Checkpoints[Progress],
        report: Callable[[int, str], None],
        on_epoch: Callable[[Progress], None],
    ) -> Progress:
        """Train to the end, from where the checkpoints left off.

        Args:
            checkpoints: where the state is kept.
            report: told now and then how many steps are done, and a few words.
            on_epoch: told after each look at the validation images.

        Raises:
            Diverged: the loss is not finite any more.
            InputError: a checkpoint is damaged, or cannot be written.
        """
        progress = self._restored(checkpoints)
        saved = told = began = time.monotonic()
        # MPS has no double precision.
        exact = torch.float32 if self._device == "mps" else torch.float64
        losses = torch.tensor(progress.losses, dtype=exact, device=self._device)
        before, words = progress.seconds, f"epoch {len(progress.epochs) + 1}"
        report(progress.step, "")
        with self._random():
            while progress.step < self._plan.steps:
                losses += self.step(progress.step)
                progress = replace(progress, step=progress.step + 1, steps=progress.steps + 1)
                now = time.monotonic()
                due = self._is_due(progress.step)
                if due or now - told > TELL_SECONDS or now - saved > SAVE_SECONDS:
                    # On a GPU this waits for the step: not after each one.
                    loss = float(losses)
                    if not math.isfinite(loss):
                        raise Diverged(
                            "the training diverged: the loss is not finite by step "
                            f"{progress.step} of {self._plan.steps}"
                        )
                    now = time.monotonic()
                    progress = replace(progress, losses=loss, seconds=before + now - began)
                    report(progress.step, words)
                    told = now
                if due:
                    progress = self._looked(progress)
                    on_epoch(progress)
                    seen = progress.epochs[-1]
                    words = f"validation accuracy {seen.validation_accuracy:.4f}"
                    before, began = 0.0, time.monotonic()
                    losses.zero_()
                if now - saved > SAVE_SECONDS and progress.step < self._plan.steps:
                    checkpoints.save(progress, self._state())
                    saved = time.monotonic()
        checkpoints.save(progress, self._state())
        return progress

    def step(self, step: int) -> Tensor:
        """Train on one batch; return its loss, on the device."""
        recipe, data = self._recipe, self._data
        torch.manual_seed(derived_seed(self._seed, "step", step))  # dropout, stochastic depth
        generator = torch.Generator().manual_seed(derived_seed(self._seed, "augment", step))
        where = self._indices(step)
        labels = data.train_labels[where]
        pixels = augment(
            data.train_images[where],
            generator,
            pad=self._pad,
            flip=recipe.flip,
            cutout=self._erase,
        )
        pixels = pixels.float()
        if recipe.mix:
            labels = F.one_hot(labels, data.num_classes).float()
            pixels, labels = mix(pixels, labels, generator, recipe.mix)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(step)
        small = normalise(resize(pixels, self._plan.pixels(step)), self._mean, self._std)
        self._network.train()
        with precision(self._device):
            answers = self._network(small)
        loss = F.cross_entropy(
            answers.float(), labels, self._class_weights, label_smoothing=recipe.label_smoothing
        )
        if self._teacher is not None:
            loss = self._teacher.blend(loss, answers.float(), pixels)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._average.update(step)
        return loss.detach()

    def score(self, images: Tensor, labels: Tensor) -> tuple[Score, Tensor]:
        """Return how good the averaged weights are, and what each image is taken for (the CPU).

        Raises:
            Diverged: their answers are not finite.
        """
        resolution = self._plan.sizes[-1][1]
        found = logits(self.average, images, resolution, self._mean, self._std)
        try:
            return score(found, labels.cpu(), even=self._data.is_balanced), found.argmax(1)
        except ArithmeticError as error:
            raise Diverged(str(error)) from None

    def _rate(self, step: int) -> float:
        return self._recipe.learning_rate * schedule(step / self._plan.steps, self._recipe.warm_up)

    def _is_due(self, step: int) -> bool:
        return step % self._plan.validated_every == 0 or step == self._plan.steps

    def _looked(self, progress: Progress) -> Progress:
        """Return the progress with what the validation images say; the sums begin anew."""
        start = time.monotonic()
        found, _ = self.score(self._data.validation_images, self._data.validation_labels)
        last = progress.step - 1
        seen = Epoch(
            epoch=round(progress.step / self._plan.steps_per_epoch, 4),
            learning_rate=self._rate(last),
            resolution=self._plan.pixels(last),
            loss=progress.losses / progress.steps,
            validation_loss=found.loss,
            validation_accuracy=found.accuracy,
            seconds=round(progress.seconds + time.monotonic() - start, 3),
            images_per_second=round(self._batch * progress.steps / max(1e-9, progress.seconds), 1),
        )
        return Progress(progress.step, epochs=(*progress.epochs, seen))

    def _indices(self, step: int) -> Tensor:
        """Return the images of a batch; every image comes once before any comes again.

        A batch that an epoch does not fill goes on with the next epoch's.
        """
        epoch, first = divmod(step * self._batch, len(self._data.train_labels))
        where = self._ordered(epoch)[first : first + self._batch]
        missing = self._batch - len(where)
        if missing:
            where = torch.cat([where, self._ordered(epoch + 1)[:missing]])
        return where.to(self._device, non_blocking=True)

    def _ordered(self, epoch: int) -> Tensor:
        """Return all images in the order of an epoch; the last one's is remembered."""
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derived_seed(self._seed, "order", epoch))
            self._order = epoch, torch.randperm(len(self._data.train_labels), generator=generator)
        return self._order[1]

    @contextmanager
    def _random(self) -> Iterator[None]:
        """Leave the caller's random numbers as they are."""
        devices = [self._device] if self._device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            yield

    def _restored(self, checkpoints: Checkpoints[Progress]) -> Progress:
        found = checkpoints.load(self._device)
        if found is None:
            return Progress()
        progress, tensors = found
        self._network.load_state_dict(_part(tensors, "network"))
        self._average.network.load_state_dict(_part(tensors, "average"))
        state: dict[Any, Any] = self._optimiser.state
        state.clear()
        for name, parameter in self._network.named_parameters():
            moments = _part(tensors, f"optimiser.{name}")
            # In the memory format of the weights, so that sums are taken in the same order.
            state[parameter] = {
                key: torch.empty_like(parameter).copy_(value)
                if value.shape == parameter.shape
                else value
                for key, value in moments.items()
            }
        return progress

    def _state(self) -> dict[str, Tensor]:
        """Return all that a step changes, by name."""
        tensors = {f"network/{k}": v for k, v in self._network.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self._average.network.state_dict().items()}
        for name, parameter in self._network.named_parameters():
            for key, value in self._optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{name}/{key}"] = value
        return tensors


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of one owner, by their names there."""
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
