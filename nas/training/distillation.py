"""Knowledge distillation: a network learns a teacher's outputs beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import preprocess
from nas.training.precision import autocast

TEACHER_SHARE = 0.5
"""Weight of the distillation loss; that of the loss by the labels is the rest."""


@dataclass(frozen=True)
class Teacher:
    """A trained network whose outputs are learned (Hinton et al. 2015, arXiv 1503.02531).

    It sees the same augmented images as the student.

    Attributes:
        network: in eval mode, on the device.
        resolution: of its input, in pixels.
        mean: of each channel of its input, scaled to 0…1.
        std: likewise.
        temperature: divides the logits of teacher and student.
    """

    network: nn.Module
    resolution: int
    mean: Sequence[float]
    std: Sequence[float]
    temperature: float

    def blend(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """Return the weighted sum of the loss by the labels and the distillation loss.

        The latter is the Kullback–Leibler divergence of the softened outputs, times the square of
        the temperature, so that its gradients do not shrink with the temperature.

        Args:
            loss: by the labels.
            logits: of the student, (images, classes).
            images: (images, channels, h, w), values 0…255.
        """
        with torch.no_grad(), autocast(images.device.type):
            inputs = preprocess(images, self.resolution, self.mean, self.std)
            targets = self.network(inputs).float()
        divergence = F.kl_div(
            F.log_softmax(logits / self.temperature, 1),
            F.log_softmax(targets / self.temperature, 1),
            reduction="batchmean",
            log_target=True,
        )
        return (1 - TEACHER_SHARE) * loss + TEACHER_SHARE * self.temperature**2 * divergence
