"""Augmentation of whole batches on the device: no workers, no loop over images.

Values are 0…255 in any dtype until `normalise`. Random numbers are drawn on the generator's device,
so that a generator on the CPU gives the same augmentation wherever the images are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(
    images: Tensor, generator: torch.Generator, *, pad: int, flip: bool = True, cutout: int = 0
) -> Tensor:
    """Random crop after reflection padding, horizontal flip and cutout, drawn for each image.

    `images` is `[N, C, H, W]` of any dtype; the result has its shape and dtype, in channels_last.
    Every image is shifted by −pad…pad pixels each way (no wrap: the border is mirrored), flipped
    with probability ½, and a square of `cutout` pixels is filled with its own mean colour (its
    centre anywhere in the image; DeVries & Taylor 2017, arXiv 1708.04552). Raises ValueError
    unless 0 ≤ pad < min(H, W) and 0 ≤ cutout.
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

    # All draws happen whatever the options are, so that an option does not change the others'.
    down, right, mirror = draw(-pad, pad + 1), draw(-pad, pad + 1), draw(0, 2)
    centre_row, centre_column = draw(0, height), draw(0, width)

    rows = _reflect(torch.arange(height, device=device) + down, height)
    columns = torch.arange(width, device=device).expand(number, width)
    if flip:
        columns = torch.where(mirror == 1, width - 1 - columns, columns)
    columns = _reflect(columns + right, width)
    # One gather of whole pixels: in channels_last a pixel's channels lie together, and this
    # is 2–4 times faster on the CPU than indexing [N, C, H, W].
    first = torch.arange(number, device=device)[:, None, None] * (height * width)
    source = first + rows[:, :, None] * width + columns[:, None, :]
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    out = pixels.index_select(0, source.reshape(-1)).view(number, height, width, channels)
    out = out.permute(0, 3, 1, 2)
    if cutout == 0:
        return out
    inside_rows = _inside(centre_row, cutout, height)
    inside_columns = _inside(centre_column, cutout, width)
    hole = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]
    fill = images.mean((2, 3), keepdim=True, dtype=torch.float32)
    if not images.is_floating_point():
        fill = fill.round()
    return torch.where(hole, fill.to(images.dtype), out)


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Positions outside 0…size−1 mirrored at the border pixel, which is not repeated."""
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)


def _inside(centre: Tensor, side: int, size: int) -> Tensor:
    """bool `[N, size]`: within the `side` pixels around each centre `[N, 1]`."""
    offset = torch.arange(size, device=centre.device) - (centre - side // 2)
    return (offset >= 0) & (offset < side)


def mix(
    images: Tensor, targets: Tensor, generator: torch.Generator, probability: float
) -> tuple[Tensor, Tensor]:
    """CutMix, drawn for each image: with a probability a patch of it is another image's.

    `images` is `[N, C, H, W]` of any dtype, `targets` float `[N, classes]` the probabilities of its
    classes; both are returned, each target in the shares of the pixels. The patch has the image's
    shape and an area uniform in 0…1 of it, cut off at the border (Yun et al. 2019, arXiv
    1905.04899).
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
    # A batch is drawn at random, so that the next image is a random one.
    others, theirs = images.roll(1, 0), targets.roll(1, 0)
    return torch.where(patch[:, None], others, images), kept * targets + (1 - kept) * theirs


def normalise(
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """`(images / 255 − mean) / std` as `dtype` in channels_last.

    `images` is `[N, C, H, W]` with values 0…255 in any dtype; mean and std are per channel.
    """
    shape = (1, -1, 1, 1)
    deviation = torch.tensor(std, dtype=torch.float32, device=images.device).view(shape)
    centre = torch.tensor(mean, dtype=torch.float32, device=images.device).view(shape)
    # Computed in float32 whatever the result is, and never in place: images may be float32.
    out = images.to(torch.float32, memory_format=torch.channels_last)
    out = out * (1 / (255 * deviation)) - centre / deviation
    return out.to(dtype, memory_format=torch.channels_last)


def resize(images: Tensor, size: int) -> Tensor:
    """Images `[N, C, H, W]` at `size` × `size` pixels, bilinear, antialiased where they shrink.

    The dtype is kept; integers are rounded. Returns the images themselves where they have the size.
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


def iterate_batches(
    n: int, batch_size: int, generator: torch.Generator | None = None, drop_last: bool = False
) -> Iterator[Tensor]:
    """Index tensors int64 that go once through 0…n−1, shuffled by the generator (None: in order).

    The last batch is smaller where `batch_size` does not divide n; `drop_last` leaves it out,
    except when it is the only one.
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"n and batch_size must be at least 1, not {n} and {batch_size}")
    if generator is None:
        order = torch.arange(n)
    else:
        order = torch.randperm(n, generator=generator, device=generator.device)
    end = n - n % batch_size if drop_last and n >= batch_size else n
    yield from torch.split(order[:end], batch_size)
