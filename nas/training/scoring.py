"""How many a network gets right, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import normalise, resize
from nas.errors import Diverged
from nas.training.optim import precision


@dataclass(frozen=True)
class Score:
    """Accuracy with its standard error, and mean loss; ``even``: every image weighed the same."""

    accuracy: float
    standard_error: float
    loss: float
    even: bool


PIXELS = 250 * 64**2
"""Of the images that are classified at once, at most 250: what that takes grows with them."""


def logits(
    network: nn.Module,
    images: Tensor,
    resolution: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """Return what a network, in eval mode, says of images: float32 (images, classes), on the CPU.

    Args:
        network: maps normalised images to logits, on the device of the images.
        images: uint8 (images, channels, h, w).
        resolution: pixels that they are resized to.
        mean: of each channel, scaled to 0…1.
        std: likewise.
    """
    batch = max(1, min(250, PIXELS // resolution**2))
    with torch.no_grad(), precision(images.device.type):
        parts = [
            network(normalise(resize(part.float(), resolution), mean, std)).float()
            for part in torch.split(images, batch)
        ]
    # On the CPU: not every device knows double precision, in which they are scored.
    return torch.cat(parts).cpu()


def score(logits: Tensor, labels: Tensor, *, even: bool) -> Score:
    """Return accuracy with its standard error, and loss; classes weigh the same if not even.

    Args:
        logits: (images, classes).
        labels: (images,).
        even: weigh every image the same.

    Raises:
        Diverged: a logit is not finite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise Diverged("the training diverged: the network's outputs are not finite")
    right = (logits.argmax(1) == labels).double()
    losses = F.cross_entropy(logits.double(), labels, reduction="none")
    if even:
        weights = torch.full_like(right, 1 / len(right))
    else:
        counts = torch.bincount(labels, minlength=logits.shape[1]).clamp(min=1)
        weights = 1 / counts[labels].double()
        weights /= weights.sum()
    accuracy = float((weights * right).sum().clamp(0, 1))
    # With all right or all wrong the plain formula says 0; one image counted half tells more.
    error = float((weights.square() * (right - accuracy).square()).sum().sqrt())
    floor = 0.5 * float(weights.max()) if error < 1e-9 else 0.0
    return Score(accuracy, max(error, floor), float((weights * losses).sum()), even)
