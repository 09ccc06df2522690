"""Which images a training sees, and in which order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class BatchOrder:
    """The indices of the images of each batch: every image once an epoch, shuffled anew in each.

    Batches can be asked for in any order, which is what lets a training resume at any step, as long
    as the generators are made anew for each epoch.

    Args:
        images: number of training images.
        batch_size: images a batch; no more than there are.
        generator: returns the generator that shuffles an epoch, given its number.
        drop_last: leave out the images of an epoch that do not fill a batch. Otherwise the batch
            is filled with the first images of the next epoch.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        generator: Callable[[int], torch.Generator],
        *,
        drop_last: bool,
    ) -> None:
        self.batch_size = min(batch_size, images)
        self._images = images
        self._generator = generator
        self._epoch_length = images - images % self.batch_size if drop_last else images
        self._last: tuple[int, Tensor] | None = None

    def __getitem__(self, number: int) -> Tensor:
        """Return the indices of a batch, int64 (batch_size,), on the CPU.

        Args:
            number: of the batch, counted from 0 over all epochs.
        """
        epoch, first = divmod(number * self.batch_size, self._epoch_length)
        indices = self._permutation(epoch)[first : first + self.batch_size]
        missing = self.batch_size - len(indices)
        if missing:
            indices = torch.cat([indices, self._permutation(epoch + 1)[:missing]])
        return indices

    def _permutation(self, epoch: int) -> Tensor:
        """Return all images in the order of an epoch; that of the last call is remembered."""
        if self._last is None or self._last[0] != epoch:
            self._last = epoch, torch.randperm(self._images, generator=self._generator(epoch))
        return self._last[1]


def fixed_sample(total: int, count: int) -> Tensor:
    """Return the indices of at most ``count`` of ``total`` images, always the same ones, shuffled.

    Data sets list their images by class, so the first images of a data set are no sample of it.
    """
    return torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count]


def shift_padding(images_seen: int, images: int, resolution: int) -> int:
    """Return by how many pixels a short training shifts its images at random; 0: not at all.

    Shifting augments images that are seen several times; an image that is seen once is new anyway.

    Args:
        images_seen: how many images the training is shown in all.
        images: how many different ones.
        resolution: pixels of the images.
    """
    return max(1, resolution // 8) if images_seen > 1.5 * images else 0
