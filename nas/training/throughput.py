"""How fast a network trains on this machine, measured to schedule a training that ends in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from nas.data import ImageData
from nas.training.random_numbers import isolated_rng
from nas.training.recipe import Recipe, progressive_resolutions
from nas.training.schedule import TrainingSchedule
from nas.training.trainer import Trainer

MAX_STEPS = 30
"""Number of steps that are timed at each resolution, at most …"""

TIME_SHARE = 0.02
"""… or until they have taken this share of the training's time."""

SCORED_IMAGES = 500
"""Number of images that are classified to time that."""


@dataclass(frozen=True)
class Throughput:
    """How long training and scoring take.

    Attributes:
        step_seconds: time of a training step, by resolution.
        alone_seconds: time of a step in which the classifier is trained alone, at the first
            resolution; None: there are no such steps.
        image_seconds: time of classifying an image.
    """

    step_seconds: dict[int, float]
    alone_seconds: float | None
    image_seconds: float


def measure_throughput(
    trainer: Callable[[Recipe, TrainingSchedule], Trainer],
    data: ImageData,
    recipe: Recipe,
    resolution: int,
    seconds: float,
) -> Throughput:
    """Return how long training and scoring take, by training for a few steps.

    Args:
        trainer: returns what trains by a recipe and a schedule; its network is changed.
        data: images.
        recipe: says which resolutions there are.
        resolution: of the last steps, in pixels.
        seconds: time that the training is given.
    """
    step_seconds: dict[int, float] = {}
    alone_seconds = None
    images = data.validation_images[:SCORED_IMAGES], data.validation_labels[:SCORED_IMAGES]
    with isolated_rng("cpu"):
        # With so many steps the learning rate stays close to 0.
        for first, pixels in progressive_resolutions(recipe, resolution, 10**6):
            schedule = TrainingSchedule(10**6, 10**6, 10**6, ((0, pixels),))
            timed = trainer(replace(recipe, classifier_alone=0.0), schedule)
            step_seconds[pixels] = _step_seconds(timed, seconds)
            if recipe.classifier_alone and first == 0:
                timed = trainer(replace(recipe, classifier_alone=1.0), schedule)
                alone_seconds = _step_seconds(timed, seconds)
        timed.score(*images)
        start = time.perf_counter()
        timed.score(*images)
        image_seconds = (time.perf_counter() - start) / len(images[1])
    return Throughput(step_seconds, alone_seconds, image_seconds)


def _step_seconds(trainer: Trainer, seconds: float) -> float:
    """Return the mean time of some steps; the first one is slower and does not count."""
    taken: list[float] = []
    with trainer.workers() as workers:
        float(trainer.step(0, workers))
        while not taken or (len(taken) < MAX_STEPS and sum(taken) < TIME_SHARE * seconds):
            start = time.perf_counter()
            float(trainer.step(1 + len(taken), workers))  # on a GPU this waits for the step
            taken.append(time.perf_counter() - start)
    return sum(taken) / len(taken)
