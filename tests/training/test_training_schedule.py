"""Recipes and schedules: what follows from a number of epochs, or from a time."""

import pytest

from nas.training.recipe import Recipe, progressive_resolutions, recipe_for
from nas.training.schedule import TrainingSchedule, schedule_for_epochs, schedule_for_time


def test_the_recipe_follows_the_number_of_epochs() -> None:
    short, long = recipe_for(10), recipe_for(200)
    assert (short.stochastic_depth, short.cutout, short.cutmix) == (0.0, 0.0, 0.0)
    assert min(long.stochastic_depth, long.cutout, long.cutmix) > 0
    assert recipe_for(10, batch_size=4 * 64).learning_rate == 2 * short.learning_rate
    assert recipe_for(10, learning_rate=0.5).learning_rate == 0.5
    tuned = recipe_for(10, fine_tuned=True)
    assert tuned.layer_decay < short.layer_decay == 1
    assert (
        0 < tuned.classifier_alone < recipe_for(10, fine_tuned=True, frozen=True).classifier_alone
    )
    assert progressive_resolutions(tuned, 224, 100) == ((0, 224),)


def test_progressive_resizing_ends_at_the_full_resolution() -> None:
    growing = Recipe(progressive_resizing=((0.0, 0.5), (1 / 3, 0.75), (2 / 3, 1.0)))
    assert progressive_resolutions(growing, 224, 300) == ((0, 112), (100, 168), (200, 224))
    assert progressive_resolutions(growing, 33, 300)[-1] == (200, 33)
    assert progressive_resolutions(growing, 8, 300) == ((0, 8),)
    assert progressive_resolutions(growing, 32, 1) == ((0, 32),)
    assert progressive_resolutions(growing, 32, 2)[-1][1] == 32


def test_a_schedule_for_epochs() -> None:
    schedule = schedule_for_epochs(7, 1000, Recipe(batch_size=100), 32)
    assert (schedule.steps, schedule.steps_per_epoch, schedule.validation_interval) == (70, 10, 10)
    assert schedule.epochs == 7
    assert schedule.resolution(0) < schedule.resolution(69) == 32
    often = schedule_for_epochs(1000, 10, Recipe(batch_size=100), 32)
    assert (often.steps, often.steps_per_epoch) == (1000, 1)
    assert often.validation_interval == 10


@pytest.mark.parametrize("count", [64, 65, 96, 127, 128, 191])
def test_epochs_are_whole_or_a_part_of_a_step_more(count: int) -> None:
    schedule = schedule_for_epochs(20, count, Recipe(batch_size=64), 16)
    assert 20 <= schedule.epochs < 20 + 64 / count


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_steps_of_the_classifier_alone_take_less_time(share: float) -> None:
    def schedule(alone: float | None) -> TrainingSchedule:
        return schedule_for_time(
            600.0, 1000, Recipe(batch_size=100, classifier_alone=share, progressive_resizing=whole),
            32, step_seconds={32: 0.1}, alone_seconds=alone, validation_seconds=0.0,
            test_seconds=0.0, total_seconds=600.0,
        )  # fmt: skip

    whole = ((0.0, 1.0),)
    found = schedule(0.025)
    alone = round(share * found.steps)
    assert 0.94 * 600 < 0.025 * alone + 0.1 * (found.steps - alone) <= 0.96 * 600
    assert found.steps > schedule(None).steps


@pytest.mark.parametrize("seconds", [5.0, 60.0, 3600.0])
def test_a_schedule_for_a_time_fills_it(seconds: float) -> None:
    cost = {16: 0.01, 24: 0.03, 32: 0.05}

    def schedule(seconds: float, validation: float) -> TrainingSchedule:
        return schedule_for_time(
            seconds, 1000, Recipe(batch_size=100), 32, step_seconds=cost,
            validation_seconds=validation, test_seconds=1.0, total_seconds=seconds + 3,
        )  # fmt: skip

    found = schedule(seconds, 0.2)
    took = sum(cost[found.resolution(step)] for step in range(found.steps)) + 1.0
    took += 0.2 * (found.steps // found.validation_interval + 1)
    assert 0.85 * seconds < took <= seconds
    assert schedule(seconds, 0.5).steps < found.steps
    assert found.seconds == seconds + 3
    assert dict(found.images_per_second)[32] == 2000
    assert schedule(0.5, 0.2).steps == 1  # no time at all
