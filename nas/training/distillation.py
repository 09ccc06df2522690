"""Distillation: a trained network's answers, learned beside the labels (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import normalise, resize
from nas.training.optim import precision

SHARE = 0.5
"""Of the loss that is the teacher's; the rest is the labels'."""


@dataclass(frozen=True)
class Teacher:
    """A network whose answers are learned: on the same images as the pupil sees, as they are drawn.

    Attributes:
        network: in eval mode, on the device.
        resolution: pixels that it takes.
        mean: of each channel that it takes, scaled to 0…1.
        std: likewise.
        temperature: logits are divided by it, the teacher's and the pupil's.
    """

    network: nn.Module
    resolution: int
    mean: Sequence[float]
    std: Sequence[float]
    temperature: float

    def blend(self, loss: Tensor, answers: Tensor, images: Tensor) -> Tensor:
        """Return the loss by the labels with the teacher's share.

        That is Kullback and Leibler's divergence of the softened answers, times the temperature's
        square, which keeps its gradient as large at any temperature.

        Args:
            loss: by the labels.
            answers: the pupil's logits, (images, classes).
            images: (images, channels, h, w), 0…255.
        """
        with torch.no_grad(), precision(images.device.type):
            pixels = normalise(resize(images, self.resolution), self.mean, self.std)
            told = self.network(pixels).float()
        divergence = F.kl_div(
            F.log_softmax(answers / self.temperature, 1),
            F.log_softmax(told / self.temperature, 1),
            reduction="batchmean",
            log_target=True,
        )
        return (1 - SHARE) * loss + SHARE * self.temperature**2 * divergence
