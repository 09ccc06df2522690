"""Random crops, colours and RandAugment, on whole batches of images.

Images are float32 (n, channels, h, w), values 0…255. Random numbers are drawn on the generator's
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CROP_AREA = (0.35, 1.0)
"""Least and largest share of the image that a random crop takes."""

CROP_RATIO = (3 / 4, 4 / 3)
"""Narrowest and widest crop, as width over height."""

COLOR_RANGE = 0.4
"""Brightness, contrast and saturation are multiplied by 1 ± at most this."""

OPERATIONS = 2
"""N of RandAugment."""

MAGNITUDE = 0.3
"""M of RandAugment: 9 of its 30 levels, as a share."""

GREY = 128.0
"""What comes in from beyond the border of an image."""


def random_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random part of each image, resized to the image's size.

    Area and ratio are drawn as in Szegedy et al. 2015 (arXiv 1409.4842), with a larger least area.
    """
    number, _, height, width = images.shape
    area = _uniform(images, generator, *CROP_AREA)
    ratio = _uniform(images, generator, *map(math.log, CROP_RATIO)).exp()
    across = (area * ratio).sqrt().clamp(max=1)
    down = (area / ratio).sqrt().clamp(max=1)
    centre_x = (1 - across) * _uniform(images, generator, -1, 1)
    centre_y = (1 - down) * _uniform(images, generator, -1, 1)
    matrix = torch.zeros(number, 2, 3, device=images.device)
    matrix[:, 0, 0], matrix[:, 0, 2] = across, centre_x
    matrix[:, 1, 1], matrix[:, 1, 2] = down, centre_y
    grid = F.affine_grid(matrix, [number, 1, height, width], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_color(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images of random brightness, contrast and saturation, drawn for each."""
    factors = [_uniform(images, generator, 1 - COLOR_RANGE, 1 + COLOR_RANGE) for _ in range(3)]
    images = (images * _each(factors[0])).clamp(0, 255)
    images = _contrast(images, factors[1])
    return _saturation(images, factors[2])


def randaugment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images after two operations, drawn for each (Cubuk et al. 2020, arXiv 1909.13719)."""
    names = list(_OPERATIONS)
    for _ in range(OPERATIONS):
        numbers = torch.randint(
            0, len(names), (len(images),), generator=generator, device=generator.device
        ).to(images.device)
        signs = torch.sign(_uniform(images, generator, -1, 1))
        out = images.clone()
        for number, name in enumerate(names):
            chosen = (numbers == number).nonzero()[:, 0]
            if len(chosen):
                out[chosen] = _OPERATIONS[name](images[chosen], signs[chosen])
        images = out
    return images


def _uniform(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """Return a number for each image, on the images' device."""
    drawn = torch.rand(len(images), generator=generator, device=generator.device)
    return low + (high - low) * drawn.to(images.device, non_blocking=True)


def _each(factors: Tensor) -> Tensor:
    return factors[:, None, None, None]


def _luma(images: Tensor) -> Tensor:
    """Return brightness (n, 1, h, w) by ITU-R 601-2; grey images as they are."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    return (other + (images - other) * _each(factors)).clamp(0, 255)


def _contrast(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, _luma(images).mean((1, 2, 3), keepdim=True), factors)


def _saturation(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(images, _luma(images), factors)


def _sharpness(images: Tensor, factors: Tensor) -> Tensor:
    channels = images.shape[1]
    kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]], device=images.device) / 13
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return _blend(
        images, F.conv2d(padded, kernel.expand(channels, 1, 3, 3), groups=channels), factors
    )


def _affine(images: Tensor, matrix: Tensor) -> Tensor:
    """Return images sampled at transformed places; matrix (n, 2, 3) in coordinates −1…1."""
    grid = F.affine_grid(matrix, [len(images), 1, *images.shape[2:]], align_corners=False)
    return F.grid_sample(images - GREY, grid, align_corners=False) + GREY


def _moved(images: Tensor, place: tuple[int, int], amounts: Tensor) -> Tensor:
    matrix = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    matrix[:, place[0], place[1]] += amounts
    return _affine(images, matrix)


def _rotated(images: Tensor, angles: Tensor) -> Tensor:
    height, width = images.shape[2:]
    cosine, sine = angles.cos(), angles.sin()
    matrix = torch.zeros(len(images), 2, 3, device=images.device)
    matrix[:, 0, 0], matrix[:, 0, 1] = cosine, -sine * height / width
    matrix[:, 1, 0], matrix[:, 1, 1] = sine * width / height, cosine
    return _affine(images, matrix)


def _autocontrast(images: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) * 255 / (high - low).clamp(min=1e-6), images)


def _equalized(images: Tensor) -> Tensor:
    """Return images whose values are replaced by their ranks, channel by channel."""
    flat = images.flatten(2).round().clamp(0, 255).long()
    counts = torch.zeros(*flat.shape[:2], 256, device=images.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat, dtype=counts.dtype))
    below = counts.cumsum(2) - counts
    # From the darkest value that occurs, at 0, to the brightest, at 255.
    top = below.gather(2, flat.amax(2, keepdim=True))
    levels = torch.where(top > 0, below * 255 / top.clamp(min=1), torch.zeros_like(below))
    ranked = levels.gather(2, flat).clamp(0, 255).view_as(images)
    return torch.where(top[..., None] > 0, ranked, images)


def _posterized(images: Tensor) -> Tensor:
    step = 2.0 ** round(4 * MAGNITUDE)
    return (images / step).floor() * step


def _solarized(images: Tensor) -> Tensor:
    return torch.where(images >= 256 * (1 - MAGNITUDE), 255 - images, images)


# Largest amounts as in the paper's table for ImageNet; translations are shares of 331 pixels.
_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": lambda images, signs: images,
    "autocontrast": lambda images, signs: _autocontrast(images),
    "equalize": lambda images, signs: _equalized(images),
    "rotate": lambda images, signs: _rotated(images, signs * math.radians(30 * MAGNITUDE)),
    "solarize": lambda images, signs: _solarized(images),
    "color": lambda images, signs: _saturation(images, 1 + signs * 0.9 * MAGNITUDE),
    "posterize": lambda images, signs: _posterized(images),
    "contrast": lambda images, signs: _contrast(images, 1 + signs * 0.9 * MAGNITUDE),
    "brightness": lambda images, signs: (images * _each(1 + signs * 0.9 * MAGNITUDE)).clamp(0, 255),
    "sharpness": lambda images, signs: _sharpness(images, 1 + signs * 0.9 * MAGNITUDE),
    "shear-x": lambda images, signs: _moved(images, (0, 1), signs * 0.3 * MAGNITUDE),
    "shear-y": lambda images, signs: _moved(images, (1, 0), signs * 0.3 * MAGNITUDE),
    "translate-x": lambda images, signs: _moved(images, (0, 2), signs * 2 * 150 / 331 * MAGNITUDE),
    "translate-y": lambda images, signs: _moved(images, (1, 2), signs * 2 * 150 / 331 * MAGNITUDE),
}
