"""Metrics of a classifier class by class: confusion matrix, precision, recall, F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassScore:
    """Metrics of one class; None where one is undefined.

    Attributes:
        name: of the class.
        precision: share of the images predicted as this class that are of it; None: there are none.
        recall: share of the images of this class that are predicted as it; None: there are none.
        f1: the harmonic mean of both; None: no image is of this class or predicted as it.
        support: number of images of this class.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the number of images by true (row) and predicted class (column), int64.

    Args:
        predicted: (images,), the class predicted for each, on the CPU.
        labels: (images,), the true one.
        classes: number of classes.
    """
    counts = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.view(classes, classes)


def class_scores(predicted: Tensor, labels: Tensor, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Return precision, recall and F1 of each class.

    Args:
        predicted: (images,), the class predicted for each, on the CPU.
        labels: (images,), the true one.
        names: of the classes.
    """
    correct, support, positives = (
        torch.bincount(classes, minlength=len(names)).tolist()
        for classes in (labels[predicted == labels], labels, predicted)
    )
    return tuple(
        ClassScore(name, _ratio(tp, p), _ratio(tp, n), _ratio(2 * tp, n + p), n)
        for name, tp, n, p in zip(names, correct, support, positives, strict=True)
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
