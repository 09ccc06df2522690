"""Training shared weights: a few random networks a step, rolled back if it diverges.

Single-path uniform sampling (Guo et al. 2020, arXiv 1904.00420); the gradients of a step's networks
are averaged, each on images of its own.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data import ImageData, augment, normalise, resize
from nas.errors import Diverged
from nas.seeding import derived_rng, derived_seed
from nas.training.checkpoint import Checkpoints
from nas.training.optim import optimiser, precision, schedule
from nas.training.weight_sharing import NetworkPath, SharedWeights

logger = logging.getLogger(__name__)

INTERVAL = 50
"""Steps after which it is seen whether the training is sound, and what to go back to is kept."""

SAVE_SECONDS = 30.0
"""The state goes to disk at the first interval after so many seconds."""

MAX_ROLLBACKS = 5
"""A training that diverges more often than this fails."""


@dataclass(frozen=True)
class SupernetSettings:
    """How shared weights are trained, and a network taken out of them evaluated.

    Attributes:
        width: multiplies the widths of the space.
        resolution: pixels that images are trained at.
        images_seen: how many training images are shown in all.
        batch_size: images a network is shown in a step.
        paths: networks a step.
        learning_rate: highest, for AdamW; it rises linearly for ``warm_up`` of the steps and
            falls along a cosine to 0.
        weight_decay: of the weights of convolutions and the classifier.
        warm_up: share of the steps.
        flip: mirror half of the images; not for images whose mirror image is another thing.
        recalibration_images: training images that a network's batch norms are measured on.
        validation_images: validation images that it is scored on, at most.
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
    recalibration_images: int = 256
    validation_images: int = 1_000


@dataclass(frozen=True)
class Progress:
    """How far a training is, and what was seen on the way.

    Attributes:
        step: steps done.
        rate: factor on the learning rate; halved each time the training diverged.
        losses: mean training loss of each interval so far.
        rollbacks: one for each divergence: the step that was returned to, and the interval's loss
            (None: not finite).
    """

    step: int = 0
    rate: float = 1.0
    losses: tuple[float, ...] = ()
    rollbacks: tuple[tuple[int, float | None], ...] = ()

    def after(self, step: int, loss: float) -> Progress:
        """Return the progress after a sound interval that ends at ``step``."""
        return replace(self, step=step, losses=(*self.losses, round(loss, 6)))

    def rolled_back(self, loss: float) -> Progress:
        """Return the progress after an interval that was taken back."""
        seen = round(loss, 6) if math.isfinite(loss) else None
        return replace(self, rate=self.rate / 2, rollbacks=(*self.rollbacks, (self.step, seen)))


class SharedTraining:
    """The training of shared weights; what it does next depends on the seed and the step alone.

    Args:
        weights: what is trained, in place.
        data: images, on the device.
        settings: how.
        draw: returns a random network of the space.
        seed: decides all that is drawn.
        device: where.
    """

    def __init__(
        self,
        weights: SharedWeights,
        data: ImageData,
        settings: SupernetSettings,
        draw: Callable[[random.Random], NetworkPath],
        seed: int,
        device: str,
    ) -> None:
        self._weights = weights
        self._data = data
        self._settings = settings
        self._draw = draw
        self._seed = seed
        self._device = device
        self._batch = min(settings.batch_size, len(data.train_labels))
        self.steps = max(1, settings.images_seen // (self._batch * settings.paths))
        self._images = self._batch * settings.paths
        # Shifted copies help where images come again; an image seen once is new as it is.
        again = settings.images_seen > 1.5 * len(data.train_labels)
        self._pad = max(1, data.resolution // 8) if again else 0
        self._class_weights = data.balanced_weights()
        self._optimiser = optimiser(
            weights.banks.values(), settings.learning_rate, settings.weight_decay
        )
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def run(
        self, checkpoints: Checkpoints[Progress], report: Callable[[int, int, str], None]
    ) -> Progress:
        """Train to the end, from where the checkpoints left off; return what was seen on the way.

        Args:
            checkpoints: where the state is kept.
            report: told after each interval: images shown, of how many, a few words.

        Raises:
            Diverged: it diverged again and again.
            InputError: a checkpoint is damaged, or cannot be written.
        """
        progress = self._restored(checkpoints)
        good = self._state()
        saved = time.monotonic()
        total = self.steps * self._images
        report(progress.step * self._images, total, "")
        with self._workers() as workers:
            while progress.step < self.steps:
                end = min(self.steps, progress.step + INTERVAL)
                losses = torch.zeros((), device=self._device)
                for step in range(progress.step, end):
                    losses += self._step(step, progress.rate, workers)
                loss = float(losses) / (end - progress.step)
                if not self._is_sound(loss, progress):
                    progress = progress.rolled_back(loss)
                    if len(progress.rollbacks) > MAX_ROLLBACKS:
                        raise Diverged(
                            f"the supernet diverged {len(progress.rollbacks)} times, the last time "
                            f"by step {end} of {self.steps} at {progress.rate:g} of the learning "
                            "rate"
                        )
                    logger.warning(
                        "the supernet diverged by step %d with loss %g; rollback to step %d, "
                        "at %g of the learning rate",
                        end,
                        loss,
                        progress.step,
                        progress.rate,
                    )
                    self._load(good)
                    report(progress.step * self._images, total, "diverged: rolled back")
                    continue
                progress = progress.after(end, loss)
                logger.debug("supernet: step %d of %d, loss %.4f", end, self.steps, loss)
                good = self._state()
                if progress.step < self.steps and time.monotonic() - saved > SAVE_SECONDS:
                    checkpoints.save(progress, good)
                    saved = time.monotonic()
                report(progress.step * self._images, total, f"loss {loss:.3f}")
        checkpoints.save(progress, {n: b.detach() for n, b in self._weights.banks.items()})
        return progress

    def _is_sound(self, loss: float, progress: Progress) -> bool:
        """Say whether a mean loss is finite, and no relapse to what guessing would have."""
        chance = math.log(max(2, self._data.num_classes))
        best = min(progress.losses, default=math.inf)
        return math.isfinite(loss) and loss <= max(best, 0.5 * (best + chance)) + 0.1 * chance

    def _step(self, step: int, rate: float, workers: Executor | None) -> Tensor:
        """Train on one batch a path; return the mean loss, on the device."""
        settings, banks = self._settings, self._weights.banks
        for group in self._optimiser.param_groups:
            group["lr"] = (
                rate * settings.learning_rate * schedule(step / self.steps, settings.warm_up)
            )
        jobs = []
        for number in range(step * settings.paths, (step + 1) * settings.paths):
            path = self._draw(derived_rng(self._seed, "path", number))
            jobs.append((number, path, self._indices(number)))
        self._optimiser.zero_grad(set_to_none=True)
        losses = torch.zeros((), device=self._device)
        each = map if workers is None else workers.map
        # Added up in the order of the jobs, so that who was first does not matter.
        for loss, gradients in each(self._gradients, jobs):
            losses += loss
            for name, gradient in gradients.items():
                bank = banks[name]
                if bank.grad is None:
                    bank.grad = torch.empty_like(bank).copy_(gradient)
                else:
                    bank.grad += gradient
        self._optimiser.step()
        return losses

    def _gradients(self, job: tuple[int, NetworkPath, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        number, path, where = job
        data, settings = self._data, self._settings
        generator = torch.Generator().manual_seed(derived_seed(self._seed, "augment", number))
        pixels = augment(data.train_images[where], generator, pad=self._pad, flip=settings.flip)
        pixels = normalise(resize(pixels.float(), settings.resolution), data.mean, data.std)
        leaves = self._weights.leaves(path)
        with precision(self._device):
            logits = self._weights.forward(path, pixels, leaves)
            loss = F.cross_entropy(logits, data.train_labels[where], weight=self._class_weights)
        loss = loss / settings.paths
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        return loss.detach(), dict(zip(leaves, gradients, strict=True))

    def _indices(self, number: int) -> Tensor:
        """Return the images of a batch; every image comes once before any comes again."""
        epoch, index = divmod(number, len(self._data.train_labels) // self._batch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derived_seed(self._seed, "order", epoch))
            self._order = epoch, torch.randperm(len(self._data.train_labels), generator=generator)
        where = self._order[1][index * self._batch : (index + 1) * self._batch]
        return where.to(self._device, non_blocking=True)

    @contextmanager
    def _workers(self) -> Iterator[Executor | None]:
        """Give each path a thread of one core; on a GPU, which is one, none."""
        if self._device != "cpu":
            yield None
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(min(threads, self._settings.paths)) as workers:
                yield workers
        finally:
            torch.set_num_threads(threads)

    def _restored(self, checkpoints: Checkpoints[Progress]) -> Progress:
        found = checkpoints.load(self._device)
        if found is None:
            return Progress()
        self._load(found[1])
        return found[0]

    def _state(self) -> dict[str, Tensor]:
        """Return a copy of all that a step changes."""
        tensors: dict[str, Tensor] = {}
        for name, bank in self._weights.banks.items():
            tensors[name] = bank.detach().clone()
            for key, value in self._optimiser.state.get(bank, {}).items():
                tensors[f"{name}/{key}"] = value.clone()
        return tensors

    def _load(self, tensors: dict[str, Tensor]) -> None:
        state: dict[Any, Any] = self._optimiser.state
        state.clear()
        with torch.no_grad():
            for name, bank in self._weights.banks.items():
                bank.copy_(tensors[name])
        for name, tensor in tensors.items():
            bank_name, _, key = name.partition("/")
            if key:
                bank = self._weights.banks[bank_name]
                like = bank.detach() if tensor.shape == bank.shape else tensor
                state.setdefault(bank, {})[key] = torch.empty_like(like).copy_(tensor)
