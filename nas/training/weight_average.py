"""The exponential moving average of the weights of a training."""

from __future__ import annotations

import copy

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
            [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]
            for module in (network, self.network)
        )

    def update(self, step: int) -> None:
        """Include the weights as they are after ``step``, counted from 0."""
        share = max(1 / self._horizon, 10 / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, share)
