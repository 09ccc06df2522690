"""Images as a network takes them: resized and normalised, on their device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def preprocess(
    images: Tensor, resolution: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Return images as the input of a network: float32, in channels_last.

    Args:
        images: (n, channels, h, w), values 0…255 in any dtype.
        resolution: pixels a side that they are resized to.
        mean: of each channel, scaled to 0…1.
        std: likewise.
    """
    return normalise(resize(images.float(), resolution), mean, std)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return ``(images / 255 − mean) / std`` as float32, in channels_last.

    Args:
        images: (n, channels, h, w), values 0…255 in any dtype.
        mean: of each channel, scaled to 0…1.
        std: likewise.
    """
    shape = (1, -1, 1, 1)
    deviation = torch.tensor(std, dtype=torch.float32, device=images.device).view(shape)
    centre = torch.tensor(mean, dtype=torch.float32, device=images.device).view(shape)
    out = images.to(torch.float32, memory_format=torch.channels_last)
    out = out * (1 / (255 * deviation)) - centre / deviation  # not in place: may be the caller's
    return out.to(memory_format=torch.channels_last)


def resize(images: Tensor, size: int) -> Tensor:
    """Return images at ``size`` × ``size`` pixels, bilinear, antialiased where they shrink.

    The dtype is kept; integers are rounded. Images that have the size already are returned as they
    are, not copied.

    Args:
        images: (n, channels, h, w), values 0…255 in any dtype.
        size: pixels a side.
    """
    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    values = images if images.is_floating_point() else images.to(torch.float32)
    shrinks = size < max(height, width)
    out = F.interpolate(values, size=(size, size), mode="bilinear", antialias=shrinks)
    if not images.is_floating_point():
        out = out.round_().clamp_(0, 255)
    return out.to(images.dtype)
