"""Whether an export computes the same function as its original: parameters, FLOPs and logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas.errors import NotEquivalent
from nas.export.random_network import random_images
from nas.networks.architecture import Architecture
from nas.networks.cost import CONVENTION, measure_cost

Precision = Literal["float64", "float32"]
"""What an export computes in; the original is always computed in float64 for comparison."""

ACCEPTED = 1e-9
"""Largest accepted difference of logits in float64, as a share of the largest logit.

Equal functions differ by rounding errors, which a network amplifies. One that amplifies those of
float64 (1e-16) to this would have no correct digit in float32 (1e-7), so none that is of use does.
"""

ROUNDING = 16
"""An export that computes in float32 may differ by this many times the original's own rounding
error, the difference between its logits in float32 and in float64.

ONNX Runtime differs by 0.3 to 2.6 times as much: measured on 43 random networks of the six spaces.
"""

COARSEST = 0.01
"""Largest accepted difference in float32, as a share of the largest logit, whatever the rounding
error: what a wrong weight or layer changes may be hardly more."""

IMAGES = 4
"""How many random images logits are compared on."""


@dataclass(frozen=True)
class Equivalence:
    """How an export compares with its original; made only where they are equivalent.

    Attributes:
        params: trainable weights and biases, counted in the export.
        flops: multiply-adds, counted in the export at the architecture's resolution.
        precision: what the export computes in.
        difference: the largest difference of a logit from the original's in float64.
        accepted: the largest difference that is accepted.
        largest: the largest absolute logit of the original.
        shapes: of the images that logits were compared on: (batch, channels, height, width).
    """

    params: int
    flops: int
    precision: Precision
    difference: float
    accepted: float
    largest: float
    shapes: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return {
            "params": self.params,
            "flops": self.flops,
            "convention": CONVENTION,
            "logits": {
                "precision": self.precision,
                "largest_difference": self.difference,
                "accepted": self.accepted,
                "largest": self.largest,
                "images": [list(shape) for shape in self.shapes],
            },
        }


def check_equivalence(
    architecture: Architecture,
    network: nn.Module,
    run: Callable[[Tensor], Tensor],
    counted: tuple[int, int],
    *,
    precision: Precision,
    seed: int,
    resolutions: Sequence[int] = (),
) -> Equivalence:
    """Compare an export with the network that it was made from.

    Args:
        architecture: of the original.
        network: the original, in float32 and eval mode, with the weights that the export has.
        run: the export: maps images (batch, channels, h, w) to logits (batch, classes).
        counted: parameters and FLOPs counted in the export.
        precision: of the images that ``run`` takes, and of its arithmetic.
        seed: of the random images.
        resolutions: in pixels, to be compared at as well as the architecture's own.

    Raises:
        NotEquivalent: names what differs.
    """
    cost = measure_cost(architecture)
    for what, wanted, found in zip(
        ("parameters", "FLOPs"), (cost.params, cost.flops), counted, strict=True
    ):
        if found != wanted:
            raise NotEquivalent(
                f"{architecture.name}: the export has {found:,} {what}, not {wanted:,}"
            )
    shapes = [(IMAGES, architecture.in_channels, architecture.resolution, architecture.resolution)]
    shapes += [(1, architecture.in_channels, pixels, pixels + 8) for pixels in resolutions]
    exact = deepcopy(network).double()
    differences, roundings, largest = [], [torch.zeros(())], 0.0
    for shape in shapes:
        images = random_images(shape, seed)
        with torch.inference_mode():
            ours = exact(images.double())
            theirs = run(images.double() if precision == "float64" else images)
            if precision == "float32":
                roundings.append((network(images) - ours).abs().max())
        if ours.shape != theirs.shape:
            raise NotEquivalent(
                f"{architecture.name}: logits of the export have shape {tuple(theirs.shape)}, "
                f"not {tuple(ours.shape)}"
            )
        differences.append((theirs - ours).abs().max())
        largest = max(largest, ours.abs().max().item())
    # NaN if any is, unlike Python's max; and no NaN is accepted.
    difference = torch.stack(differences).max().item()
    accepted = accepted_difference(precision, largest, max(map(float, roundings)))
    if not difference <= accepted:
        raise NotEquivalent(
            f"{architecture.name}: logits of the export differ by {difference:.2g} in {precision} "
            f"(the largest is {largest:.2g}), accepted: {accepted:.2g}"
        )
    return Equivalence(
        cost.params, cost.flops, precision, difference, accepted, largest, tuple(shapes)
    )


def accepted_difference(precision: Precision, largest: float, rounding: float) -> float:
    """Return the largest difference of a logit that is accepted.

    Args:
        precision: of the export.
        largest: the largest absolute logit of the original.
        rounding: the largest rounding error of the original's logits in float32.
    """
    if precision == "float64":
        return ACCEPTED * largest
    # By chance the few logits of a small network may be rounded less than most numbers are.
    rounding = max(rounding, torch.finfo(torch.float32).eps * largest)
    return min(ROUNDING * rounding, COARSEST * largest)
