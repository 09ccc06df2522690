"""Accuracy: one object everywhere, which says how far it can be trusted."""

from __future__ import annotations

import math
import statistics
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

RankBy = Literal["accuracy", "loss"]
"""What of an accuracy ranks networks: the mean itself, or exp(-loss)."""

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_CONFIG)
class Accuracy:
    """What a proxy measured of one architecture.

    Attributes:
        mean: accuracy in [0, 1], the mean over ``seeds``.
        standard_error: of ``mean``, in the same unit.
        n: how many measurements (trainings) the mean is of.
        seeds: the seed of each.
        loss: mean cross-entropy in nats, or None where there is none.
        metric: what was measured, in words.
        proxy: the name of the proxy that measured it.
        data: the data it was measured on.
        predicted: True where nothing was trained and the value is a model's prediction.
    """

    mean: Annotated[float, Field(strict=True, ge=0, le=1)]
    standard_error: Annotated[float, Field(strict=True, ge=0)]
    n: Annotated[int, Field(strict=True, ge=1)] = 1
    seeds: tuple[int, ...] = ()
    loss: Annotated[float, Field(strict=True, ge=0)] | None = None
    metric: str = "accuracy"
    proxy: str = "user"
    data: str | None = None
    predicted: bool = False

    @property
    def likelihood(self) -> float:
        """exp(-loss): the geometric mean of the probability given to the right class, in (0, 1].

        Ranks like the loss, on accuracy's scale.

        Raises:
            ValueError: this accuracy has no loss.
        """
        if self.loss is None:
            raise ValueError("this accuracy has no loss")
        return math.exp(-self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return the object of the project's files, ready for JSON."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "n": self.n,
            "seeds": list(self.seeds),
            "loss": self.loss,
            "metric": self.metric,
            "proxy": self.proxy,
            "data": self.data,
            "predicted": self.predicted,
        }


def at_chance(accuracy: Accuracy | None, classes: int) -> bool:
    """Say whether a measured accuracy is within two standard errors of guessing."""
    if accuracy is None or accuracy.predicted:
        return False
    return accuracy.mean - 2 * accuracy.standard_error <= 1 / classes


def pooled(accuracies: list[Accuracy]) -> Accuracy:
    """Return several measurements of one network as one: means, all seeds, the error of the mean.

    Seeds differ, and their scatter averages out over several; but all were scored on the same
    images, and what is peculiar to those stays. The error has both parts.
    """
    first, n = accuracies[0], len(accuracies)
    if n == 1:
        return first
    means = [accuracy.mean for accuracy in accuracies]
    images = statistics.fmean(accuracy.standard_error**2 for accuracy in accuracies)
    losses = [accuracy.loss for accuracy in accuracies if accuracy.loss is not None]
    return Accuracy(
        mean=statistics.fmean(means),
        standard_error=math.sqrt(images + statistics.variance(means) / n),
        n=sum(accuracy.n for accuracy in accuracies),
        seeds=tuple(seed for accuracy in accuracies for seed in accuracy.seeds),
        loss=statistics.fmean(losses) if len(losses) == n else None,
        metric=first.metric,
        proxy=first.proxy,
        data=first.data,
        predicted=first.predicted,
    )


def percent(accuracy: float) -> str:
    """Return an accuracy in [0, 1] as a percentage: 65.64 %."""
    return f"{100 * accuracy:.2f} %"
