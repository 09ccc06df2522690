"""How a network is trained properly: one recipe, whose defaults follow the number of epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

BATCH_SIZE = 64

LEARNING_RATE = 3e-3
"""Highest, at :data:`BATCH_SIZE`."""

FINE_TUNING = 0.1
"""Of the learning rate, for weights that somebody has trained."""

GROWING = ((0.0, 0.5), (0.2, 0.75), (0.4, 1.0))
"""Small images first (Tan & Le 2021, section 4): from which share of the steps, which share of the
resolution."""

SMALLEST = 16
"""Pixels that training on small images begins with, at least."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        batch_size: images a step.
        learning_rate: highest, for AdamW; it rises linearly for ``warm_up`` of the steps and
            falls along a cosine to 0.
        weight_decay: of the weights of convolutions and the classifier.
        warm_up: share of the steps.
        label_smoothing: probability that is spread over all classes.
        average: the moving average of the weights, which is what is kept, looks back on so large
            a share of the steps.
        stochastic_depth: probability that the last block is dropped; the others' rise to it.
        flip: mirror half of the images; not for images whose mirror image is another thing.
        shift: images are shifted by up to this share of their side.
        erase: a square of this share of the side is erased; 0: none.
        mix: probability that a patch of each image is another's (CutMix).
        growing: from which share of the steps images have which share of the resolution.
    """

    batch_size: int = BATCH_SIZE
    learning_rate: float = LEARNING_RATE
    weight_decay: float = 0.05
    warm_up: float = 0.15
    label_smoothing: float = 0.1
    average: float = 0.02
    stochastic_depth: float = 0.0
    flip: bool = True
    shift: float = 0.125
    erase: float = 0.0
    mix: float = 0.0
    growing: tuple[tuple[float, float], ...] = GROWING


def recipe_for(
    epochs: float,
    *,
    fine_tuned: bool = False,
    batch_size: int | None = None,
    learning_rate: float | None = None,
) -> Recipe:
    """Return the recipe for a training of so many epochs.

    What keeps a network from learning its images by heart costs accuracy where they are seen a few
    times, and pays where they are seen often: stochastic depth (Huang et al. 2016) from 30 epochs,
    erasing (DeVries & Taylor 2017) from 50, CutMix (Yun et al. 2019) from 100.

    Args:
        epochs: how often each image is seen.
        fine_tuned: the weights are somebody's, not random: a smaller learning rate, and images
            of the full size from the beginning.
        batch_size: images a step; None: 64.
        learning_rate: None: what suits the batch size, in proportion to its root.
    """
    batch = batch_size or BATCH_SIZE
    rate = LEARNING_RATE * math.sqrt(batch / BATCH_SIZE) * (FINE_TUNING if fine_tuned else 1.0)
    recipe = Recipe(
        batch_size=batch,
        learning_rate=learning_rate or rate,
        stochastic_depth=0.0 if epochs < 30 else 0.1 if epochs < 100 else 0.2,
        erase=0.25 if epochs >= 50 else 0.0,
        mix=0.5 if epochs >= 100 else 0.0,
    )
    return replace(recipe, growing=((0.0, 1.0),)) if fine_tuned else recipe


def sizes(recipe: Recipe, resolution: int, steps: int) -> tuple[tuple[int, int], ...]:
    """Return from which step on images have how many pixels: multiples of 8, then all."""
    result: list[tuple[int, int]] = []
    for share, part in recipe.growing:
        pixels = max(SMALLEST, 8 * round(resolution * part / 8))
        pixels = resolution if part == 1 else min(pixels, resolution)
        first = int(share * steps)
        if result and result[-1][0] == first:
            result.pop()
        if not result or result[-1][1] != pixels:
            result.append((first, pixels))
    return tuple(result)
