"""Whether two networks compute the same function, on any CPU and with any number of threads."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

SAME = 1e-9
"""Equal functions differ by less than this share of the largest output in float64. They round
differently, and random networks amplify that: by 1e4, seen in deep ones, from 1e-16."""

Outputs = Tensor | Sequence[Tensor]


def doubled(network: nn.Module) -> nn.Module:
    """A copy of a network in float64, in the same mode."""
    return deepcopy(network).double()


def relative_difference(
    one: Callable[[Tensor], Outputs], other: Callable[[Tensor], Outputs], images: Tensor
) -> float:
    """The largest difference between the outputs of two functions, as a share of the largest.

    Args:
        one: maps images in float64 to one tensor or several, in float64.
        other: the same.
        images: in any precision.
    """
    with torch.no_grad():
        ours, theirs = (_listed(function(images.double())) for function in (one, other))
    pairs = list(zip(ours, theirs, strict=True))
    assert all(a.shape == b.shape and a.dtype == b.dtype == torch.float64 for a, b in pairs)
    largest = max(float(a.abs().max()) for a, _ in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs) / largest


def _listed(outputs: Outputs) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
