"""How the phases of a run share its time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import nas.runs.schedule
from nas.data import ImageData, fractals
from nas.errors import InputError
from nas.proxies import presets
from nas.proxies.short_training import TrainingSettings
from nas.runs.schedule import LATEST, make_plan, scaled_plan, shares, time_for
from nas.runs.settings import RunSettings
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_space

SPACE, BUDGET = load_space("efficientnet"), parse_budget("400M-flops")
RUNS: list[dict[str, Any]] = [
    {"data": "mine"},
    {"data": "mine", "proxy": "training"},
    {"data": "mine", "finalists": 0, "check": False, "scale": False},
    {},
    {"proxy": "supernet"},
]


@pytest.mark.parametrize("run", RUNS)
def test_phases_that_end_in_time_have_what_was_planned(run: dict[str, Any]) -> None:
    settings = RunSettings(SPACE, BUDGET, seconds=1000.0, **run)
    parts = {name: part for name, part in shares(settings).items() if part}
    gone = 0.0
    for name, part in parts.items():
        seconds = time_for(settings, name, gone)
        assert seconds == pytest.approx(part * LATEST * 1000)
        gone += seconds
    assert gone == pytest.approx(LATEST * 1000)


def test_a_phase_that_is_late_leaves_the_others_some_time() -> None:
    settings = RunSettings(SPACE, BUDGET, seconds=1000.0, data="mine")
    gone = 700.0  # the supernet alone; planned were 307
    for name in ("search", "finals", "check", "coefficients", "train"):
        seconds = time_for(settings, name, gone)
        assert seconds is not None
        assert seconds > 15
        gone += seconds
    assert gone == pytest.approx(LATEST * 1000)
    assert time_for(settings, "search", 2000.0) == 0


@pytest.mark.parametrize(
    "run", [{"proxy": "supernet"}, {"data": "mine", "finalists": 0, "check": False}]
)
def test_a_baseline_that_is_tested_alone_has_time_of_its_own(
    run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.runs.schedule, "training_speed", lambda *of, **how: 1_000.0)
    monkeypatch.setattr(nas.runs.schedule, "grown_speed", lambda *of: 1_000.0)
    monkeypatch.setattr(nas.runs.schedule, "supernet_settings", lambda *of, **how: None)
    images = ImageData.from_parts(
        "some",
        ("a", "b"),
        *((torch.zeros(6000, 3, 8, 8, dtype=torch.uint8), torch.arange(6000) % 2),) * 2,
        None,
    )
    for jobs in (1, 4):
        settings = RunSettings(SPACE, BUDGET, seconds=600.0, **run)
        plan = make_plan(settings, images, SPACE, jobs)
        # It is one of the jobs, for its part of the time.
        seconds = shares(settings)["test"] * LATEST * 600
        assert 0.5 * 1_000 * seconds < plan.finals.images_seen < 1_000 * seconds
    assert shares(RunSettings(SPACE, BUDGET, seconds=600.0, data="mine"))["test"] == 0


def _images(pixels: int) -> ImageData:
    count = 200
    part = (
        torch.zeros(count, 3, pixels, pixels, dtype=torch.uint8),
        torch.arange(count) % 2,
    )
    return ImageData.from_parts("some", ("a", "b"), part, part, None)


def test_growth_is_measured_as_the_images_and_the_time_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nas.runs.schedule, "grown_speed", lambda *of: 300.0)
    settings = RunSettings(SPACE, BUDGET, data="mine")
    small = scaled_plan(settings, _images(32), SPACE, 2)
    large = scaled_plan(settings, _images(96), SPACE, 2)
    assert small is not None
    assert large is not None
    assert not small.with_resolution
    assert large.with_resolution
    assert [one.images_seen for one in small.trainings] == [5_000, 15_000]
    assert all(one.width == 1 and one.checks == () for one in small.trainings)
    timed = replace(settings, seconds=7_200.0)
    longer = scaled_plan(timed, _images(32), SPACE, 2)
    assert longer is not None
    # Twelve networks, two at once, for each length.
    work = 12 * sum(one.images_seen for one in longer.trainings) / 300 / 2
    assert 0.8 < work / (shares(timed)["coefficients"] * LATEST * 7_200) < 1

    def refuses(*of: object) -> None:
        raise InputError("skips do not grow")

    monkeypatch.setattr(nas.runs.schedule, "grown_networks", refuses)
    assert scaled_plan(timed, _images(32), SPACE, 2) == small
    assert scaled_plan(replace(settings, coefficients="prior"), _images(32), SPACE, 2) is None


def test_without_a_limit_there_is_none() -> None:
    assert time_for(RunSettings(SPACE, BUDGET), "search", 1e9) is None


def test_the_speed_of_a_training_is_without_what_it_needs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0

    class Slow:
        """Half a second to begin and to score, then a thousand images a second."""

        def __init__(self, data: object, settings: TrainingSettings, device: str) -> None:
            self.images = settings.images_seen

        def prepare(self, *of: object) -> None:
            pass

        def evaluate(self, *of: object, **how: object) -> None:
            nonlocal now
            now += 0.5 + self.images / 1_000

    monkeypatch.setattr(presets, "TrainingProxy", Slow)
    monkeypatch.setattr(presets.time, "perf_counter", lambda: now)
    space = load_space("tiny")
    data = fractals(classes=2, images_per_class=8, resolution=16)
    assert presets.training_speed(data, space, "cpu") == pytest.approx(1_000)


@pytest.mark.parametrize("seconds", [None, 600.0])
def test_what_is_asked_for_of_the_trainings_is_what_they_are(
    seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.runs.schedule, "training_speed", lambda *of, **how: 1_000.0)
    monkeypatch.setattr(presets, "_supernet_speed", lambda *of: 1_000.0)
    monkeypatch.setattr(nas.runs.schedule, "grown_speed", lambda *of: 300.0)
    data = fractals(classes=2, images_per_class=8, resolution=16)
    asked: dict[str, Any] = {"train_width": 0.75, "train_resolution": 48, "train_images": 9_000}
    settings = RunSettings(SPACE, BUDGET, data="mine", seconds=seconds, **asked)
    plan = make_plan(settings, data, SPACE, 2)
    for training in (plan.search, plan.finals):
        assert (training.width, training.resolution, training.images_seen) == (0.75, 48, 9_000)
    assert plan.supernet is not None
    assert (plan.supernet.width, plan.supernet.resolution) == (0.75, 48)
    usual = make_plan(replace(settings, train_images=None), data, SPACE, 2)
    assert usual.finals.images_seen != 9_000


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"train_width": 1.5}, "train-width: 1.5"),
        ({"train_resolution": 4}, "train-resolution: 4"),
        ({"train_images": 10}, "train-images: 10"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_plan(
            RunSettings(SPACE, BUDGET, data="mine", **asked),
            fractals(classes=2, images_per_class=8, resolution=16),
            SPACE,
            1,
        )
