"""Augmentation of whole batches of images, on their device.

Values are 0…255 in any dtype. Random numbers are drawn on the generator's device, so that a
generator on the CPU gives the same augmentation whatever the device of the images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.data.random_operations import randaugment, random_color, random_crop


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    pad: int,
    flip: bool = True,
    more: Sequence[str] = (),
    cutout: int = 0,
) -> Tensor:
    """Return images randomly shifted, flipped, otherwise changed, and with a square erased.

    All is drawn for each image. An option that is switched off does not change what is drawn for
    shifts, flips and squares.

    Args:
        images: (n, channels, h, w), of any dtype.
        generator: of the random numbers.
        pad: pixels; an image is shifted by up to as many each way, its border reflected.
        flip: mirror an image horizontally with probability ½.
        more: some of ``crop``, ``color`` and ``randaugment``, which are done in this order; see
            :mod:`nas.data.random_operations`.
        cutout: side, in pixels, of a square that is filled with the image's mean colour; its
            centre is anywhere in the image (DeVries & Taylor 2017, arXiv 1708.04552); 0: none.

    Returns:
        Images of the same shape and dtype, in channels_last.

    Raises:
        ValueError: unless 0 ≤ pad < min(h, w) and 0 ≤ cutout.
    """
    number, channels, height, width = images.shape
    if not 0 <= pad < min(height, width):
        raise ValueError(f"pad must be 0 to {min(height, width) - 1}, not {pad}")
    if cutout < 0:
        raise ValueError(f"cutout must not be negative, not {cutout}")
    device = images.device

    def draw(low: int, high: int) -> Tensor:
        numbers = torch.randint(
            low, high, (number, 1), generator=generator, device=generator.device
        )
        return numbers.to(device, non_blocking=True)

    down, right, mirror = draw(-pad, pad + 1), draw(-pad, pad + 1), draw(0, 2)
    centre_row, centre_column = draw(0, height), draw(0, width)

    rows = _reflect(torch.arange(height, device=device) + down, height)
    columns = torch.arange(width, device=device).expand(number, width)
    if flip:
        columns = torch.where(mirror == 1, width - 1 - columns, columns)
    columns = _reflect(columns + right, width)
    # One gather of whole pixels: in channels_last the channels of a pixel are adjacent in memory,
    # and this is 2–4 times faster on the CPU than indexing (n, channels, h, w).
    first = torch.arange(number, device=device)[:, None, None] * (height * width)
    source = first + rows[:, :, None] * width + columns[:, None, :]
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    out = pixels.index_select(0, source.reshape(-1)).view(number, height, width, channels)
    out = out.permute(0, 3, 1, 2)
    if more:
        out = _changed(out, generator, more)
    if cutout == 0:
        return out
    inside_rows = _inside(centre_row, cutout, height)
    inside_columns = _inside(centre_column, cutout, width)
    hole = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]
    fill = images.mean((2, 3), keepdim=True, dtype=torch.float32)
    if not images.is_floating_point():
        fill = fill.round()
    return torch.where(hole, fill.to(images.dtype), out)


_FURTHER = {"crop": random_crop, "color": random_color, "randaugment": randaugment}


def _changed(images: Tensor, generator: torch.Generator, names: Sequence[str]) -> Tensor:
    """Return images after the operations of these names, in their dtype and in channels_last."""
    out = images.float()
    for name, operation in _FURTHER.items():
        if name in names:
            out = operation(out, generator)
    if not images.is_floating_point():
        out = out.round().clamp(0, 255)
    return out.to(images.dtype).to(memory_format=torch.channels_last)


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Return positions with those outside 0…size−1 reflected at the border pixel."""
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)


def _inside(centre: Tensor, side: int, size: int) -> Tensor:
    """Return which of ``size`` positions are in the ``side`` pixels around each centre (n, 1)."""
    offset = torch.arange(size, device=centre.device) - (centre - side // 2)
    return (offset >= 0) & (offset < side)


def cutmix(
    images: Tensor, targets: Tensor, generator: torch.Generator, probability: float
) -> tuple[Tensor, Tensor]:
    """Return images in some of which a patch is another image's, and their targets (CutMix).

    The patch has the shape of the image and an area uniform in 0…1 of it, and is cut off at the
    border (Yun et al. 2019, arXiv 1905.04899). Each target is mixed in proportion to the pixels.

    Args:
        images: (n, channels, h, w), of any dtype.
        targets: float (n, classes), the probability of each class.
        generator: of the random numbers.
        probability: that an image is mixed.
    """
    number, _, height, width = images.shape
    device = images.device

    def draw() -> Tensor:
        numbers = torch.rand(number, 1, generator=generator, device=generator.device)
        return numbers.to(device, non_blocking=True)

    mixed, side, row, column = draw() < probability, draw().sqrt(), draw(), draw()
    inside = [
        (torch.arange(size, device=device) + 0.5 - centre * size).abs() < side * size / 2
        for size, centre in ((height, row), (width, column))
    ]
    patch = (inside[0] & mixed)[:, :, None] & inside[1][:, None, :]
    kept = 1 - patch.float().mean((1, 2))[:, None]
    # Batches are shuffled, so the next image of the batch is a random one.
    others, other_targets = images.roll(1, 0), targets.roll(1, 0)
    return torch.where(patch[:, None], others, images), kept * targets + (1 - kept) * other_targets


def mixup(
    images: Tensor, targets: Tensor, generator: torch.Generator, probability: float
) -> tuple[Tensor, Tensor]:
    """Return images some of which are blended with another image, and their targets (mixup).

    The share of the other image is uniform in 0…½ (Zhang et al. 2018, arXiv 1710.09412, with
    α = 1); the targets are blended likewise.

    Args:
        images: float (n, channels, h, w).
        targets: float (n, classes), the probability of each class.
        generator: of the random numbers.
        probability: that an image is blended.
    """

    def draw() -> Tensor:
        numbers = torch.rand(len(images), 1, generator=generator, device=generator.device)
        return numbers.to(images.device, non_blocking=True)

    mixed, share = draw() < probability, draw() / 2
    share = torch.where(mixed, share, 0.0)
    # Batches are shuffled, so the next image of the batch is a random one.
    blended = torch.lerp(images, images.roll(1, 0), share[:, :, None, None])
    return blended, torch.lerp(targets, targets.roll(1, 0), share)
