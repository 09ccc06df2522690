"""The recipe of a full training: hyperparameters that follow from the number of epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

BATCH_SIZE = 64

LEARNING_RATE = 3e-3
"""The maximum, at :data:`BATCH_SIZE`."""

FINE_TUNING_RATE, FINE_TUNING_DECAY, FINE_TUNING_ALONE = 4e-3, 0.9, 0.1
"""Where the network begins with trained weights: the learning rate at :data:`BATCH_SIZE`, what
multiplies it from one layer to the one before, and the share of the steps in which the new
classifier is trained alone. `benchmarks/fine_tuning.py` compares them with others."""

PROGRESSIVE = ((0.0, 0.5), (0.2, 0.75), (0.4, 1.0))
"""Small images first (Tan & Le 2021, section 4): from which share of the steps, which share of the
resolution."""

MIN_RESOLUTION = 16
"""Pixels that progressive resizing begins with, at least."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training.

    Attributes:
        batch_size: images a step.
        learning_rate: the maximum, for AdamW; it rises linearly for ``warm_up`` of the steps and
            falls along half a cosine to 0.
        weight_decay: of the weights of convolutions and the classifier.
        warm_up: share of the steps.
        label_smoothing: probability that is spread over all classes.
        average_horizon: share of the steps that the moving average of the weights covers; the
            averaged weights are validated and kept.
        stochastic_depth: probability that the last block is dropped; that of the others rises
            linearly to it.
        flip: mirror half of the images; not for images whose mirror image is of another class.
        shift: images are shifted by up to this share of their side.
        augment: further augmentations, such as ``crop,color``; see ``--augment``.
        cutout: a square of this share of the side is erased; 0: none.
        cutmix: probability that a patch of an image is another image's.
        mixup: probability that an image is blended with another.
        progressive_resizing: from which share of the steps images have which share of the
            resolution.
        layer_decay: what multiplies the learning rate of a layer, relative to the one after it.
        classifier_alone: share of the steps, the first ones, in which nothing but the classifier is
            trained; 1: all of them.
        shards: parts of a batch that are computed at once; batch norms normalise each by itself.
    """

    batch_size: int = BATCH_SIZE
    learning_rate: float = LEARNING_RATE
    weight_decay: float = 0.05
    warm_up: float = 0.15
    label_smoothing: float = 0.1
    average_horizon: float = 0.02
    stochastic_depth: float = 0.0
    flip: bool = True
    shift: float = 0.125
    augment: str = "none"
    cutout: float = 0.0
    cutmix: float = 0.0
    mixup: float = 0.0
    progressive_resizing: tuple[tuple[float, float], ...] = PROGRESSIVE
    layer_decay: float = 1.0
    classifier_alone: float = 0.0
    shards: int = 1


def recipe_for(
    epochs: float,
    *,
    fine_tuned: bool = False,
    frozen: bool = False,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    shards: int = 1,
) -> Recipe:
    """Return the recipe for a training of so many epochs.

    Regularisation costs accuracy where images are seen a few times and gains some where they are
    seen often: stochastic depth (Huang et al. 2016) is used from 30 epochs, cutout (DeVries &
    Taylor 2017) from 50, CutMix (Yun et al. 2019) from 100.

    Args:
        epochs: how often each image is seen.
        fine_tuned: the network begins with trained weights: a learning rate that falls towards its
            first layers, and images of the full resolution from the beginning.
        frozen: nothing but the classifier is fine-tuned.
        batch_size: images a step; None: 64.
        learning_rate: None: proportional to the root of the batch size.
        shards: parts of a batch that are computed at once.
    """
    batch = batch_size or BATCH_SIZE
    rate = FINE_TUNING_RATE if fine_tuned else LEARNING_RATE
    recipe = Recipe(
        batch_size=batch,
        learning_rate=learning_rate or rate * math.sqrt(batch / BATCH_SIZE),
        stochastic_depth=0.0 if epochs < 30 else 0.1 if epochs < 100 else 0.2,
        cutout=0.25 if epochs >= 50 else 0.0,
        cutmix=0.5 if epochs >= 100 else 0.0,
        shards=shards,
    )
    if not fine_tuned:
        return recipe
    return replace(
        recipe,
        progressive_resizing=((0.0, 1.0),),
        layer_decay=FINE_TUNING_DECAY,
        classifier_alone=1.0 if frozen else FINE_TUNING_ALONE,
    )


def progressive_resolutions(
    recipe: Recipe, resolution: int, steps: int
) -> tuple[tuple[int, int], ...]:
    """Return the first step of each resolution, and its pixels: multiples of 8 but for the last.

    Args:
        recipe: says which share of the resolution is used when.
        resolution: of the last steps, in pixels.
        steps: of the training.
    """
    result: list[tuple[int, int]] = []
    for share, part in recipe.progressive_resizing:
        pixels = max(MIN_RESOLUTION, 8 * round(resolution * part / 8))
        pixels = resolution if part == 1 else min(pixels, resolution)
        first = int(share * steps)
        if result and result[-1][0] == first:
            result.pop()
        if not result or result[-1][1] != pixels:
            result.append((first, pixels))
    return tuple(result)
