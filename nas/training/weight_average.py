"""The exponential moving average of the weights of a training."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import nn


class WeightAverage:
    """An exponential moving average of a network's weights and batch norm statistics.

    In the first steps it covers fewer of them, so that the initial weights are soon forgotten (as
    in TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).

    Args:
        network: what is trained; the average is a copy of it, in eval mode.
        horizon: number of steps that the average covers: its decay is 1 - 1 / horizon.
    """

    def __init__(self, network: nn.Module, horizon: int) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._horizon = max(1, horizon)
        self._weights, self._averages = (
            {name: one for name, one in module.state_dict().items() if one.is_floating_point()}
            for module in (network, self.network)
        )

    def update(self, step: int, names: Collection[str]) -> None:
        """Include tensors as they are after ``step``, counted from 0.

        Args:
            step: number of the step.
            names: of the tensors in the network's state dict.
        """
        share = max(1 / self._horizon, 10 / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                [self._averages[name] for name in names],
                [self._weights[name] for name in names],
                share,
            )
