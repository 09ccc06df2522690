"""How fast a network trains here: measured before a training that must end in time is planned."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nas.data import ImageData
from nas.training.recipe import Recipe, sizes
from nas.training.schedule import Plan
from nas.training.trainer import Training

STEPS = 30
SHARE = 0.02
"""A step is timed so often, or for so much of the time."""

SCORED = 500
"""So many images are classified."""


@dataclass(frozen=True)
class Speed:
    """Seconds of a step, by the pixels of its images; and of classifying an image."""

    step_seconds: dict[int, float]
    image_seconds: float


def measure_speed(
    training: Callable[[Plan], Training],
    data: ImageData,
    recipe: Recipe,
    resolution: int,
    seconds: float,
) -> Speed:
    """Return how fast a training is, by training for a moment.

    Args:
        training: makes what trains by a plan; its network is changed.
        data: images.
        recipe: says which sizes they have.
        resolution: in the end.
        seconds: of the whole training.
    """
    took: dict[int, float] = {}
    images = data.validation_images[:SCORED], data.validation_labels[:SCORED]
    with torch.random.fork_rng(devices=[]):
        # Many steps, so that the learning rate is still next to nothing.
        for _, pixels in sizes(recipe, resolution, 10**6):
            trial = training(Plan(10**6, 10**6, 10**6, ((0, pixels),)))
            took[pixels] = _step_seconds(trial, seconds)
        trial.score(*images)
        start = time.perf_counter()
        trial.score(*images)
    return Speed(took, (time.perf_counter() - start) / len(images[1]))


def _step_seconds(trial: Training, seconds: float) -> float:
    """Return the mean of some steps after the first: a busy machine's slow ones count too."""
    float(trial.step(0))
    took: list[float] = []
    while not took or (len(took) < STEPS and sum(took) < SHARE * seconds):
        start = time.perf_counter()
        float(trial.step(1 + len(took)))  # on a GPU, a step is done when its loss is known
        took.append(time.perf_counter() - start)
    return sum(took) / len(took)
