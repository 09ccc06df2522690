"""The schedule of a training in steps: for a number of epochs, or to end in a given time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nas.training.recipe import Recipe, progressive_resolutions

TIME_SHARE = 0.96
"""Share of the time that is scheduled; the rest is for checkpoints and a machine that slows."""

MAX_VALIDATIONS = 100
"""A training of more epochs is validated so many times, others after every epoch."""


@dataclass(frozen=True)
class TrainingSchedule:
    """How many steps a training has, and what happens when; a resumed training keeps it.

    Attributes:
        steps: in all.
        steps_per_epoch: in which every image is seen once; not a whole number where the batch size
            does not divide the number of images.
        validation_interval: steps from one validation to the next.
        resolutions: the first step of each resolution, and its pixels.
        seconds: time that the training was given; None where it was given epochs.
        images_per_second: throughput that was measured for the schedule, by resolution; empty where
            the training was given epochs.
    """

    steps: int
    steps_per_epoch: float
    validation_interval: int
    resolutions: tuple[tuple[int, int], ...]
    seconds: float | None = None
    images_per_second: tuple[tuple[int, float], ...] = ()

    @property
    def epochs(self) -> float:
        """How often each image is seen."""
        return self.steps / self.steps_per_epoch

    def resolution(self, step: int) -> int:
        """Return the resolution of a step in pixels."""
        return [pixels for first, pixels in self.resolutions if step >= first][-1]


def schedule_for_epochs(
    epochs: int, images: int, recipe: Recipe, resolution: int
) -> TrainingSchedule:
    """Return the schedule of a training of so many epochs; the last step is a full batch too.

    Args:
        epochs: how often each image is seen.
        images: number of training images.
        recipe: says the batch size and the progressive resizing.
        resolution: of the last steps, in pixels.
    """
    steps = -(-epochs * images // min(recipe.batch_size, images))
    return _schedule(steps, images, recipe, resolution)


def schedule_for_time(
    seconds: float,
    images: int,
    recipe: Recipe,
    resolution: int,
    *,
    step_seconds: Mapping[int, float],
    alone_seconds: float | None = None,
    validation_seconds: float,
    test_seconds: float,
    total_seconds: float,
) -> TrainingSchedule:
    """Return the schedule with the most steps that ends in time.

    Args:
        seconds: that are left.
        images: number of training images.
        recipe: says the batch size and the progressive resizing.
        resolution: of the last steps, in pixels.
        step_seconds: time of a step, by resolution.
        alone_seconds: time of a step in which the classifier is trained alone; None: as others.
        validation_seconds: time of a validation.
        test_seconds: time of what follows the training.
        total_seconds: time that the training was given, for the record.
    """
    left = TIME_SHARE * seconds - test_seconds - validation_seconds
    least = min([*step_seconds.values(), *([] if alone_seconds is None else [alone_seconds])])
    low, high = 1, max(2, int(left / least) + 1)
    while high - low > 1:  # bisection: the time grows with the steps
        middle = (low + high) // 2
        schedule = _schedule(middle, images, recipe, resolution)
        taken = _seconds(schedule, step_seconds, validation_seconds)
        if alone_seconds is not None:
            alone = round(recipe.classifier_alone * middle)
            taken -= alone * (step_seconds[schedule.resolutions[0][1]] - alone_seconds)
        if taken <= left:
            low = middle
        else:
            high = middle
    return replace(
        _schedule(low, images, recipe, resolution),
        seconds=total_seconds,
        images_per_second=tuple(
            (pixels, round(recipe.batch_size / taken, 1))
            for pixels, taken in sorted(step_seconds.items())
        ),
    )


def _schedule(steps: int, images: int, recipe: Recipe, resolution: int) -> TrainingSchedule:
    epoch = images / min(recipe.batch_size, images)
    interval = max(1, round(epoch * math.ceil(steps / epoch / MAX_VALIDATIONS)))
    resolutions = progressive_resolutions(recipe, resolution, steps)
    return TrainingSchedule(steps, epoch, interval, resolutions)


def _seconds(
    schedule: TrainingSchedule, step_seconds: Mapping[int, float], validation_seconds: float
) -> float:
    """Return how long a training takes, but for what follows it."""
    ends = [first for first, _ in schedule.resolutions[1:]] + [schedule.steps]
    training = sum(
        (end - first) * step_seconds[pixels]
        for (first, pixels), end in zip(schedule.resolutions, ends, strict=True)
    )
    return training + schedule.steps // schedule.validation_interval * validation_seconds
