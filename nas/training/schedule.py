"""How long a training is, in steps: as many epochs as are asked for, or as a time allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nas.training.recipe import Recipe, sizes

LATEST = 0.96
"""So much of the time is planned; the rest is for checkpoints, and for a machine that slows."""

VALIDATIONS = 100
"""A training of more epochs is validated so often, not after every one."""


@dataclass(frozen=True)
class Plan:
    """What a training will do; one that is resumed keeps it.

    Attributes:
        steps: in all.
        steps_per_epoch: in which every image is seen once: not whole where the batch size does not
            divide their number.
        validated_every: steps between two looks at the validation images.
        sizes: from which step on, how many pixels.
        seconds: that it was made for; None where epochs were asked for.
        images_per_second: measured when it was made, by pixels; empty where nothing was.
    """

    steps: int
    steps_per_epoch: float
    validated_every: int
    sizes: tuple[tuple[int, int], ...]
    seconds: float | None = None
    images_per_second: tuple[tuple[int, float], ...] = ()

    @property
    def epochs(self) -> float:
        """How often each image is seen."""
        return self.steps / self.steps_per_epoch

    def pixels(self, step: int) -> int:
        """Return the resolution of a step."""
        return [pixels for first, pixels in self.sizes if step >= first][-1]


def plan_epochs(epochs: int, images: int, recipe: Recipe, resolution: int) -> Plan:
    """Return a plan for so many epochs, or a part of a step more."""
    steps = -(-epochs * images // min(recipe.batch_size, images))
    return _plan(steps, images, recipe, resolution)


def plan_time(
    seconds: float,
    images: int,
    recipe: Recipe,
    resolution: int,
    *,
    step_seconds: Mapping[int, float],
    validation_seconds: float,
    test_seconds: float,
    total_seconds: float,
) -> Plan:
    """Return the longest plan that takes a time.

    Args:
        seconds: that are left.
        images: of the training part.
        recipe: says the batch size, and when images have which size.
        resolution: in the end.
        step_seconds: of a step, by pixels.
        validation_seconds: of a look at the validation images.
        test_seconds: of what comes after the training.
        total_seconds: what the plan is said to be made for.
    """
    left = LATEST * seconds - test_seconds - validation_seconds
    low, high = 1, max(2, int(left / min(step_seconds.values())) + 1)
    while high - low > 1:  # the time grows with the steps
        middle = (low + high) // 2
        plan = _plan(middle, images, recipe, resolution)
        if _seconds(plan, step_seconds, validation_seconds) <= left:
            low = middle
        else:
            high = middle
    plan = _plan(low, images, recipe, resolution)
    speeds = tuple((p, round(recipe.batch_size / s, 1)) for p, s in sorted(step_seconds.items()))
    return Plan(
        plan.steps, plan.steps_per_epoch, plan.validated_every, plan.sizes, total_seconds, speeds
    )


def _plan(steps: int, images: int, recipe: Recipe, resolution: int) -> Plan:
    epoch = images / min(recipe.batch_size, images)
    every = max(1, round(epoch * math.ceil(steps / epoch / VALIDATIONS)))
    return Plan(steps, epoch, every, sizes(recipe, resolution, steps))


def _seconds(plan: Plan, step_seconds: Mapping[int, float], validation_seconds: float) -> float:
    ends = [first for first, _ in plan.sizes[1:]] + [plan.steps]
    training = sum(
        (end - first) * step_seconds[pixels]
        for (first, pixels), end in zip(plan.sizes, ends, strict=True)
    )
    return training + plan.steps // plan.validated_every * validation_seconds
