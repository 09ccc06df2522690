"""What a loaded data set is: uint8 tensors in memory, with what is needed to train on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from nas.data.augmentation import DEFAULT_AUGMENTATION, NONE
from nas.data.decode import DepthKind, PixelRange

# Classes count as balanced while the largest is at most this many times the smallest.
BALANCED_WITHIN = 1.5

Part = tuple[Tensor, Tensor]  # images uint8 [N, C, H, W], labels int64 [N]


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images of one square size, in memory, and what must be known of them.

    Images are uint8 `[N, C, H, W]` (stored channels_last), labels int64 `[N]` in
    `0 … num_classes - 1`. The test part is never used for choosing; it is None where the source
    has none. `mean` and `std` are per channel of the training part, scaled to 0…1. `augment` names
    the augmentations that suit the training images. `pixel_ranges` are the grey values that became
    0 and 255 of images of more than 8 bits, by the kind of number; empty where there were none.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    test_images: Tensor | None
    test_labels: Tensor | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    augment: tuple[str, ...] = DEFAULT_AUGMENTATION
    pixel_ranges: Mapping[DepthKind, PixelRange] = field(default_factory=dict)

    @classmethod
    def from_parts(
        cls,
        name: str,
        classes: Iterable[str],
        train: Part,
        validation: Part,
        test: Part | None,
        notes: Iterable[str] = (),
    ) -> Self:
        """Put the parts together and compute fingerprint, statistics and the note on balance."""
        classes = tuple(classes)
        mean, std = channel_statistics(train[0])
        data = cls(
            name=name,
            fingerprint=fingerprint(classes, (train, validation, test)),
            classes=classes,
            train_images=train[0],
            train_labels=train[1],
            validation_images=validation[0],
            validation_labels=validation[1],
            test_images=None if test is None else test[0],
            test_labels=None if test is None else test[1],
            mean=mean,
            std=std,
            notes=tuple(notes),
        )
        counts = data.class_counts
        if not data.is_balanced:
            note = f"classes are imbalanced: {min(counts):,} to {max(counts):,} training images"
            data = replace(data, notes=(*data.notes, note))
        return data

    @property
    def parts(self) -> tuple[Part, Part, Part | None]:
        """Images and labels of the training, the validation and the test part."""
        test = None
        if self.test_images is not None and self.test_labels is not None:
            test = self.test_images, self.test_labels
        return (
            (self.train_images, self.train_labels),
            (self.validation_images, self.validation_labels),
            test,
        )

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.train_images.shape[1]

    @property
    def resolution(self) -> int:
        """Height and width in pixels."""
        return self.train_images.shape[2]

    @property
    def further_augmentation(self) -> str:
        """The augmentations other than flips and shifts, such as `crop,color`, or `none`."""
        return ",".join(name for name in self.augment if name not in ("flip", "shift")) or NONE

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training images of each class."""
        return tuple(torch.bincount(self.train_labels, minlength=self.num_classes).tolist())

    @property
    def imbalance(self) -> float:
        """The largest class over the smallest, by training images."""
        counts = self.class_counts
        return max(counts) / min(counts)

    @property
    def is_balanced(self) -> bool:
        """Whether the largest class has at most 1.5 times the images of the smallest."""
        return self.imbalance <= BALANCED_WITHIN

    @property
    def nbytes(self) -> int:
        """Bytes of all images and labels."""
        return sum(tensor.nbytes for part in self.parts if part is not None for tensor in part)

    def to(self, device: torch.device | str) -> Self:
        """The same data with every tensor on `device`."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            validation_images=self.validation_images.to(device),
            validation_labels=self.validation_labels.to(device),
            test_images=None if self.test_images is None else self.test_images.to(device),
            test_labels=None if self.test_labels is None else self.test_labels.to(device),
        )

    def balanced_weights(self) -> Tensor:
        """Loss weights float32 `[num_classes]`, on the data's device.

        All ones while the classes are balanced within 1.5×; otherwise inversely proportional to
        the class's training images, such that the mean weight of a training image is 1.
        """
        counts = self.class_counts
        weights = [1.0] * len(counts)
        if not self.is_balanced:
            weights = [sum(counts) / (len(counts) * count) for count in counts]
        return torch.tensor(weights, device=self.train_labels.device)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 `[N, C, H, W]`, scaled to 0…1.

    Counted in integers, so the result does not depend on threads or device. A deviation is at
    least one grey level, so that dividing by it is safe.
    """
    channels = images.shape[1]
    histogram = torch.zeros(channels, 256, dtype=torch.int64)
    for chunk in torch.split(images, 4096):  # a part at a time: bincount copies what it counts
        for channel in range(channels):
            values = chunk[:, channel].reshape(-1)
            histogram[channel] += torch.bincount(values, minlength=256).cpu()
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = histogram.double() / histogram.sum(1, keepdim=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]) ** 2).sum(1)
    std = variance.sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def fingerprint(classes: tuple[str, ...], parts: Iterable[Part | None]) -> str:
    """SHA-256 (hex) of class names, images and labels: the same wherever the content is."""
    digest = hashlib.sha256()
    digest.update(json.dumps(classes).encode())
    for part in parts:
        if part is None:
            digest.update(b"none")
            continue
        images, labels = part
        digest.update(json.dumps(list(images.shape)).encode())
        digest.update(images.cpu().permute(0, 2, 3, 1).contiguous().numpy().data)
        digest.update(labels.cpu().contiguous().numpy().astype("<i8").data)
    return digest.hexdigest()


def stratified_split(
    labels: Tensor, *, fraction: float = 0.1, limit: int = 5000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Indices (training, validation), both ascending, of a split stratified by class.

    `labels` is int64 `[N]`. The validation part has about `fraction` of the images and of every
    class, but at most `limit` images in all, at least one image a class (even beyond the limit)
    and never the whole of a class. The same labels and seed give the same split. Raises ValueError
    when a class has one image only.
    """
    values = labels.cpu().numpy()
    classes, counts = np.unique(values, return_counts=True)
    if counts.min() < 2:
        single = int(classes[counts.argmin()])
        raise ValueError(f"class {single} has 1 image: it cannot be split, 2 are needed")
    wanted = min(limit, round(fraction * len(values)))
    quota = wanted * counts / len(values)
    take = np.clip(np.floor(quota).astype(int), 1, counts - 1)
    # What rounding down left over goes to the largest remainders (ties: the first class).
    for position in np.argsort(-(quota - np.floor(quota)), kind="stable"):
        if take.sum() >= wanted:
            break
        if take[position] < counts[position] - 1:
            take[position] += 1
    chosen = np.zeros(len(values), dtype=bool)
    for label, number in zip(classes, take, strict=True):
        members = np.flatnonzero(values == label)
        # A generator for each class: the split of one does not depend on the others.
        order = np.random.default_rng([seed, int(label)]).permutation(len(members))
        chosen[members[order[:number]]] = True
    return (
        torch.from_numpy(np.flatnonzero(~chosen)),
        torch.from_numpy(np.flatnonzero(chosen)),
    )
