"""What all trainings have in common: the schedule, what decays, the precision, the average."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def schedule(progress: float, warm_up: float) -> float:
    """Return the learning rate over its highest: a rise for ``warm_up``, then half a cosine."""
    if progress < warm_up:
        return max(progress / warm_up, 0.02)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def optimiser(
    parameters: Iterable[Tensor], learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Return AdamW, fused; weight decay is not for norms and biases."""
    decay: list[Tensor] = []
    plain: list[Tensor] = []
    for parameter in parameters:
        (decay if parameter.ndim > 1 else plain).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=learning_rate,
        fused=True,
    )


def precision(device: str) -> torch.autocast:
    """Return bf16 on GPUs only: on CPUs depthwise convolutions are slower in it."""
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device.startswith("cuda"))


class WeightAverage:
    """An exponential moving average of a network's weights and batch norm statistics.

    What stood at the beginning is forgotten within a few horizons: the average begins as the
    weights themselves, and its memory grows with the steps (as in TensorFlow's
    ``ExponentialMovingAverage`` with ``num_updates``).

    Args:
        network: what is trained; the average is a copy of it, in eval mode.
        horizon: steps that the average looks back on: its decay is 1 - 1 / horizon.
    """

    def __init__(self, network: nn.Module, horizon: int) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._horizon = max(1, horizon)
        self._weights, self._averages = (
            [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]
            for module in (network, self.network)
        )

    def update(self, step: int) -> None:
        """Take in the weights as they are after ``step`` (from 0)."""
        share = max(1 / self._horizon, 10 / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, share)
