"""Splits that keep images which belong together, such as those of one patient, on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def grouped_split(
    labels: Tensor, groups: Sequence[str], *, fraction: float, limit: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the indices of the images that are kept and of those held out, both ascending.

    Whole groups are held out, in a random order: each that brings the number of images of every
    class closer to the share that is wanted, and at least one with images of each class if another
    one is left. The same arguments give the same split.

    Args:
        labels: int64 (images,), counted from 0.
        groups: of each image.
        fraction: of the images, and of every class, that is held out, about.
        limit: images that are held out, at most about.
        seed: of the order.

    Raises:
        ValueError: no group can be held out so that every class is left among the others.
    """
    values = labels.cpu().numpy()
    _, members = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    counts = np.zeros((members.max() + 1, values.max() + 1))
    np.add.at(counts, (members, values), 1)
    left = counts.sum(0)
    wanted = min(limit, fraction * len(values)) * left / len(values)
    taken = np.zeros_like(left)
    held: list[int] = []
    order = np.random.default_rng(seed).permutation(len(counts))
    for group in order:
        after = taken + counts[group]
        closer = np.abs(after - wanted).sum() < np.abs(taken - wanted).sum()
        if closer and _leaves_all(left, counts[group]):
            held.append(int(group))
            taken, left = after, left - counts[group]
    # Where groups are large, one alone may be more than the share: the smallest that has the class.
    for label in np.flatnonzero((taken == 0) & (wanted > 0)):
        fitting = [
            group
            for group in order
            if group not in held and counts[group, label] and _leaves_all(left, counts[group])
        ]
        if taken[label] == 0 and fitting:
            group = min(fitting, key=lambda group: counts[group].sum())
            held.append(int(group))
            taken, left = taken + counts[group], left - counts[group]
    if not held:
        raise ValueError("every group holds all images of some class")
    out = np.isin(members, held)
    return torch.from_numpy(np.flatnonzero(~out)), torch.from_numpy(np.flatnonzero(out))


def _leaves_all(left: np.ndarray, group: np.ndarray) -> bool:
    """Return whether every class has images left without a group's."""
    return bool((left[left > 0] > group[left > 0]).all())
