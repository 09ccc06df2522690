"""Accuracy and loss of a network on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.accuracy import Accuracy
from nas.data import preprocess
from nas.training.divergence import check_finite
from nas.training.precision import autocast

MAX_BATCH = 250
"""Number of images that are classified at once, at most."""

MAX_BATCH_PIXELS = MAX_BATCH * 64**2
"""Pixels of the images that are classified at once: this bounds the memory at high resolutions."""


@dataclass(frozen=True)
class Score:
    """How well a network classifies.

    Attributes:
        accuracy: share of the images that are classified correctly, or the mean of that over the
            classes (balanced accuracy).
        standard_error: of the accuracy.
        loss: mean cross-entropy in nats, weighted like the accuracy.
        by_class: every class has the same weight, not every image.
    """

    accuracy: float
    standard_error: float
    loss: float
    by_class: bool

    def to_accuracy(self, *, metric: str, seed: int, proxy: str, data: str) -> Accuracy:
        """Return the score of one training in the form in which accuracies are stored.

        Args:
            metric: what was measured; that classes have the same weight is added.
            seed: of the training.
            proxy: what trained.
            data: what it was scored on.
        """
        return Accuracy(
            mean=self.accuracy,
            standard_error=self.standard_error,
            n=1,
            seeds=(seed,),
            loss=self.loss,
            metric=f"{metric}, every class weighing the same" if self.by_class else metric,
            proxy=proxy,
            data=data,
        )


def predict(
    network: nn.Module,
    images: Tensor,
    resolution: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """Return the logits of images, float32 (images, classes), on the CPU.

    They are computed batch by batch, and on the CPU since not every device has the double precision
    in which they are scored.

    Args:
        network: in eval mode, on the device of the images.
        images: uint8 (images, channels, h, w).
        resolution: pixels that they are resized to.
        mean: of each channel, scaled to 0…1.
        std: likewise.
    """
    batch = max(1, min(MAX_BATCH, MAX_BATCH_PIXELS // resolution**2))
    with torch.no_grad(), autocast(images.device.type):
        parts = [
            network(preprocess(part, resolution, mean, std)).float()
            for part in torch.split(images, batch)
        ]
    return torch.cat(parts).cpu()


def score(logits: Tensor, labels: Tensor, *, by_class: bool) -> Score:
    """Return accuracy with its standard error, and loss.

    Args:
        logits: (images, classes).
        labels: (images,).
        by_class: give every class the same weight, not every image.

    Raises:
        Diverged: a logit is not finite.
    """
    check_finite(logits, "an output of the network")
    correct = (logits.argmax(1) == labels).double()
    losses = F.cross_entropy(logits.double(), labels, reduction="none")
    if by_class:
        counts = torch.bincount(labels, minlength=logits.shape[1]).clamp(min=1)
        weights = 1 / counts[labels].double()
        weights /= weights.sum()
    else:
        weights = torch.full_like(correct, 1 / len(correct))
    accuracy = float((weights * correct).sum().clamp(0, 1))
    # Where all images are classified correctly, or none, the formula yields 0: then the error is
    # that of half an image.
    error = float((weights.square() * (correct - accuracy).square()).sum().sqrt())
    floor = 0.5 * float(weights.max()) if error < 1e-9 else 0.0
    return Score(accuracy, max(error, floor), float((weights * losses).sum()), by_class)
