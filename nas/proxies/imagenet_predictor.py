"""Proxy ``imagenet``: predicts ImageNet accuracy by a predictor that is part of this package.

The predictor was fitted by ``nas-search fit-predictor`` to the 5,138 trainings of Accel-NASBench
(arXiv 2404.08005, Apache-2.0); ``nas/_models/imagenet.json`` states how, and how accurate it is.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from nas.accuracy import Accuracy
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.proxies.predictor import Predictor
from nas.proxies.predictor_file import read_predictor
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.proxies.registration import ProxyFactory
from nas.spaces.budget import Budget
from nas.spaces.registry import load_space
from nas.spaces.search_space import Choices, SearchSpace

METRIC = "predicted ImageNet top-1 after 16 epochs"
DATA = "Accel-NASBench (ImageNet)"
SPACE = "efficientnet"


@cache
def shipped_predictor() -> Predictor:
    """Return the predictor that is part of this package."""
    folder = Path(str(files("nas"))) / "_models"
    return read_predictor(folder, "imagenet", load_space(SPACE))


def knows(space: SearchSpace) -> bool:
    """Return whether a space is the one that was measured, with its input of 224 pixels."""
    own = load_space(SPACE)
    return all(
        getattr(space, key) == getattr(own, key)
        for key in ("pixels", "in_channels", "activation", "padding", "stem", "stages")
    ) and (space.head.width == own.head.width)


class ImagenetProxy:
    """Predicts ImageNet top-1 after 16 epochs, in under a millisecond, without images.

    The standard error is calibrated: in 90 of 100 cases one training measures a value within 1.645
    standard errors of the prediction. The number of classes of a network is ignored: the prediction
    is always for ImageNet's 1,000.
    """

    name = "imagenet"
    capabilities = ProxyCapabilities()

    def __init__(self) -> None:
        self.predictor = shipped_predictor()

    def describe(self) -> dict[str, Any]:
        """Return which predictor it is, and its errors on held-out networks."""
        metadata = self.predictor.metadata
        return {
            "metric": METRIC,
            "model_sha256": metadata.arrays_sha256,
            "rows": metadata.rows,
            "kendall_tau": metadata.scores.kendall_tau,
            "rmse": metadata.scores.rmse,
        }

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Check that the predictor knows all networks of the space.

        Raises:
            InputError: it does not know some of its networks; names what differs.
        """
        first = {name: values[0] for name, values in space.choices.items()}
        for choices in (first, *space.neighbours(first)):
            try:
                self._choices(space.decode(choices))
            except InputError as error:
                raise InputError(
                    f"proxy {self.name!r} does not know space {space.name!r}: {error}"
                ) from None

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return the prediction.

        Raises:
            InputError: the predictor does not know this network; names what differs.
        """
        mean, error = self.predictor.predict([self._choices(arch)])
        return self._accuracy(float(mean[0]), float(error[0]))

    def corrected(self, arch: Architecture) -> Accuracy:
        """Return the prediction for a network that was chosen as the best of many.

        It is lower by the mean selection bias of such a choice, and its standard error is larger
        by the standard deviation of that bias, both as measured when the predictor was fitted.
        """
        chosen, optimism = self._choices(arch), self.predictor.metadata.optimism
        mean, error = self.predictor.predict([chosen])
        return self._accuracy(
            max(0.0, float(mean[0]) - optimism.mean),
            math.hypot(float(error[0]), optimism.standard_deviation),
        )

    def nearest(self, arch: Architecture, count: int = 5) -> list[dict[str, Any]]:
        """Return the measured networks that are nearest to ``arch``, ready for JSON.

        Each comes with its choices, its accuracy (of one training) and its FLOPs.
        """
        return [
            {
                "accuracy": round(accuracy, 6),
                "flops": measure_cost(self.predictor.space.decode(choices)).flops,
                "choices": choices,
            }
            for choices, accuracy in self.predictor.nearest(self._choices(arch), count)
        ]

    def in_sample(self, table_sha256: str, arch: Architecture) -> bool:
        """Return whether the predictor was fitted on this network, or on that table as a whole."""
        if table_sha256 == self.predictor.metadata.table_sha256:
            return True
        return self.predictor.was_fitted_on(self._choices(arch))

    @property
    def held_out(self) -> str:
        """What the predictor reaches on networks that it was not fitted on, in words."""
        scores = self.predictor.metadata.scores
        return (
            f"Kendall τ {scores.kendall_tau:.3f}, RMSE {100 * scores.rmse:.2f} points "
            f"({scores.held_out:.0%} of the networks held out, mean of {scores.splits} splits)"
        )

    def _choices(self, arch: Architecture) -> Choices:
        space = self.predictor.space
        for key in ("resolution", "in_channels"):
            theirs, ours = getattr(arch, key), getattr(space, key)
            if theirs != ours:
                raise InputError(
                    f"architecture {arch.name!r}: {key} is {theirs}, the predictor knows {ours}"
                )
        return space.encode(arch)

    def _accuracy(self, mean: float, error: float) -> Accuracy:
        return Accuracy(
            # Further digits depend on the arithmetic of the machine; they are below 0.001 points.
            mean=round(mean, 5),
            standard_error=round(error, 5),
            metric=METRIC,
            proxy=self.name,
            data=DATA,
            predicted=True,
        )


IMAGENET = ProxyFactory(lambda setup: ImagenetProxy(), ImagenetProxy.capabilities)
