"""The optimiser of every training: AdamW, its learning rate by step, its state by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def learning_rate_factor(progress: float, warm_up: float) -> float:
    """Return the learning rate as a share of its maximum: linear warm-up, then half a cosine.

    Args:
        progress: share of the steps that are done, 0…1.
        warm_up: share of the steps in which it rises.
    """
    if progress < warm_up:
        return max(progress / warm_up, 0.02)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


class Optimiser:
    """AdamW with warm-up and cosine decay; biases and norms have no weight decay.

    Args:
        parameters: what is trained, by name.
        learning_rate: the maximum.
        weight_decay: of tensors with at least two dimensions.
        warm_up: share of the steps in which the learning rate rises.
        steps: of the whole training.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        learning_rate: float,
        weight_decay: float,
        warm_up: float,
        steps: int,
    ) -> None:
        self._parameters = dict(parameters)
        self._learning_rate = learning_rate
        self._warm_up = warm_up
        self._steps = steps
        tensors = self._parameters.values()
        self._adamw = torch.optim.AdamW(
            [
                {"params": [p for p in tensors if p.ndim > 1], "weight_decay": weight_decay},
                {"params": [p for p in tensors if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=learning_rate,
            fused=True,
        )

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self._learning_rate * learning_rate_factor(step / self._steps, self._warm_up)

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        self._adamw.zero_grad(set_to_none=True)

    def step(self, step: int, factor: float = 1.0) -> None:
        """Update the parameters by their gradients.

        Args:
            step: number of the step, counted from 0.
            factor: multiplies its learning rate.
        """
        for group in self._adamw.param_groups:
            group["lr"] = factor * self.learning_rate(step)
        self._adamw.step()

    def state(self) -> dict[str, Tensor]:
        """Return the moments of each parameter, by ``<parameter>/<moment>``; not copied."""
        return {
            f"{name}/{key}": value
            for name, parameter in self._parameters.items()
            for key, value in self._adamw.state.get(parameter, {}).items()
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the moments by copies of others, given as :meth:`state` returns them."""
        state: dict[Any, Any] = self._adamw.state
        state.clear()
        for name, value in tensors.items():
            parameter_name, _, key = name.rpartition("/")
            parameter = self._parameters[parameter_name]
            # Moments have the memory format of the weights, so that a resumed training adds numbers
            # up in the same order.
            like = parameter.detach() if value.shape == parameter.shape else value
            state.setdefault(parameter, {})[key] = torch.empty_like(like).copy_(value)
