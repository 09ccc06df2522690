"""The validation part: taken from the training images, class by class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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
