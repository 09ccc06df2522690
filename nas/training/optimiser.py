"""The optimiser of every training: AdamW, its learning rate by step, its state by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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


def layer_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Return what multiplies the learning rate of each parameter of a network.

    It falls with the distance from the classifier by the same factor a layer: a trained network's
    first layers are general, and its last ones are not (Howard & Ruder 2018, section 3.2).

    Args:
        names: of the parameters, as :class:`nas.networks.modules.Network` has them.
        decay: factor from one layer to the one before it; 1: all have the same rate.
    """
    depths = {name: _depth(name) for name in names}
    last = max((depth for depth in depths.values() if depth is not None), default=0)
    return {
        name: 1.0 if depth is None else decay ** (last + 1 - depth)
        for name, depth in depths.items()
    }


def _depth(name: str) -> int | None:
    """Return how many layers are before a parameter's; None: it is one of the head."""
    part, _, rest = name.partition(".")
    if part == "stem":
        return 0
    return None if part == "head" else 1 + int(rest.partition(".")[0])


class Optimiser:
    """AdamW with warm-up and cosine decay; biases and norms have no weight decay.

    Args:
        parameters: what is trained, by name.
        learning_rate: the maximum.
        weight_decay: of tensors with at least two dimensions.
        warm_up: share of the steps in which the learning rate rises.
        steps: of the whole training.
        factors: what multiplies the learning rate of each parameter; None: nothing.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        learning_rate: float,
        weight_decay: float,
        warm_up: float,
        steps: int,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self._parameters = dict(parameters)
        self._learning_rate = learning_rate
        self._warm_up = warm_up
        self._steps = steps
        groups: dict[tuple[bool, float], list[Tensor]] = {}
        for name, tensor in self._parameters.items():
            factor = 1.0 if factors is None else factors[name]
            groups.setdefault((tensor.ndim > 1, factor), []).append(tensor)
        self._adamw = torch.optim.AdamW(
            [
                {
                    "params": tensors,
                    "weight_decay": weight_decay if decays else 0.0,
                    "factor": factor,
                }
                for (decays, factor), tensors in groups.items()
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
            group["lr"] = factor * group["factor"] * self.learning_rate(step)
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
