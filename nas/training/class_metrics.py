"""What a classifier gets right, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told from the others; None where nothing says so.

    Attributes:
        name: of the class.
        precision: of the images taken for it, the share that are; None: none was.
        recall: of its images, the share taken for it; None: there are none.
        f1: the harmonic mean of both; None: there are none, and none was taken for it.
        support: how many images it has.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many images (true class, predicted class) there are, int64.

    Args:
        predicted: (images,), on the CPU, as the labels.
        labels: (images,).
        classes: how many.
    """
    counts = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.view(classes, classes)


def class_scores(predicted: Tensor, labels: Tensor, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Return precision, recall and F1 of each class; the tensors are those of a confusion."""
    right, have, taken = (
        torch.bincount(classes, minlength=len(names)).tolist()
        for classes in (labels[predicted == labels], labels, predicted)
    )
    return tuple(
        ClassScore(name, _share(tp, p), _share(tp, n), _share(2 * tp, n + p), n)
        for name, tp, n, p in zip(names, right, have, taken, strict=True)
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
