"""How networks are trained in a run, and how its phases share the time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from nas.data import ImageData
from nas.errors import InputError
from nas.proxies.presets import (
    GROWN_FLOPS,
    GROWN_IMAGES,
    GROWN_LENGTHS,
    GROWN_VALIDATION,
    default_settings,
    final_settings,
    grown_settings,
    grown_speed,
    middle_network,
    settings_for_work,
    supernet_settings,
    training_speed,
)
from nas.proxies.registry import proxy_capabilities
from nas.proxies.short_training import TrainingSettings
from nas.records.plan import Plan, ScaledPlan
from nas.runs.settings import RunSettings
from nas.spaces.search_space import SearchSpace
from nas.strategies.grown_networks import grown_networks, pixels_for

FINAL_SEEDS = 3
"""Trainings of each finalist."""
CHECKED = 8
"""Networks of the check of a proxy."""
REFERENCES = {False: 1, True: 2}
"""Networks that finalists are compared with, by whether they inherit weights."""
LATEST = 0.92
"""Of --time, counted from the start: by then nothing new starts."""
SUPERNET_SHARE = 0.8
"""Of the search's time: the training of a supernet, if there is one."""


def make_plan(settings: RunSettings, data: ImageData, space: SearchSpace, jobs: int) -> Plan:
    """Return how networks are trained, by the data's size and the time given.

    ``space`` has the input that the data have; ``jobs`` run at once.
    """
    capabilities = proxy_capabilities(settings.proxy_name)
    supernet, asked = None, settings.reduction
    if capabilities.shares_weights:
        # What the supernet leaves of the search's time, the evaluations have.
        seconds = time_for(settings, "supernet", 0.0)
        supernet = supernet_settings(data, space, seconds, settings.device, asked=asked)
    if settings.seconds is None:
        candidate = default_settings(data, space, asked=asked)
        return Plan(
            search=candidate,
            finals=final_settings(candidate, asked),
            supernet=supernet,
            scaled=scaled_plan(settings, data, space, jobs),
        )

    # What all the time is worth, in images that one candidate after the other is trained on.
    speed = training_speed(data, space, settings.device, asked=asked)
    images = LATEST * settings.seconds * jobs * speed

    def within(share: float, trainings: float) -> TrainingSettings:
        work = share * images / max(1.0, trainings)
        return settings_for_work(data, space, work, asked=asked)

    parts = shares(settings)
    candidate = within(parts["search"], settings.trial_count)
    count = settings.finalist_count
    # Finalists and references, the baseline and the references that are tested, and the networks of
    # the check. One that is tested alone has one of the jobs.
    trainings = (count + 1 + 2 * REFERENCES[asked.inherits]) * FINAL_SEEDS if count else 1
    trainings += CHECKED if settings.checks else 0
    trainings = max(trainings, jobs)
    further = parts["finals"] + parts["check"] + parts["test"]
    longer = within(further, trainings) if further else candidate
    search = candidate if capabilities.trains_candidates else longer
    return Plan(
        search=search,
        finals=longer,
        supernet=supernet,
        scaled=scaled_plan(settings, data, space, jobs),
    )


@dataclass(frozen=True)
class Phase:
    """A phase of a run.

    Attributes:
        name: as in ``run.json``.
        applies: whether a run with these settings has it.
        weight: its share of the time, relative to those of the other phases that apply.
    """

    name: str
    applies: Callable[[RunSettings], bool]
    weight: Callable[[RunSettings], float]


def _searches(settings: RunSettings) -> bool:
    return True


def _shares_weights(settings: RunSettings) -> bool:
    return proxy_capabilities(settings.proxy_name).shares_weights


def _tests(settings: RunSettings) -> bool:
    return settings.data is not None or proxy_capabilities(settings.proxy_name).needs_images


def _search_weight(settings: RunSettings) -> float:
    capabilities = proxy_capabilities(settings.proxy_name)
    if capabilities.shares_weights:
        return (1 - SUPERNET_SHARE) * 5.0
    return 5.0 if capabilities.trains_candidates else 1.0


def _test_weight(settings: RunSettings) -> float:
    """Return 0 where finalists, the check or candidates are trained alike: theirs includes it."""
    trained = proxy_capabilities(settings.proxy_name).trains_candidates
    alike = trained or settings.finalist_count or settings.checks
    return 0.0 if alike else 0.5


def _coefficients_weight(settings: RunSettings) -> float:
    return 3.0 if settings.coefficients_by == "training" else 0.0


PHASES = (
    Phase("supernet", _shares_weights, lambda settings: SUPERNET_SHARE * 5.0),
    Phase("search", _searches, _search_weight),
    Phase("finals", lambda settings: settings.finalist_count > 0, lambda settings: 2.0),
    Phase("check", lambda settings: settings.checks, lambda settings: 1.0),
    Phase("coefficients", lambda settings: settings.scale, _coefficients_weight),
    Phase("test", _tests, _test_weight),
    Phase("train", lambda settings: settings.trains, lambda settings: 4.0),
)
"""The phases of a run, in their order."""


def shares(settings: RunSettings) -> dict[str, float]:
    """Return how the phases share the time, in their order; 0 for those that do not apply."""
    weights = {
        phase.name: phase.weight(settings) if phase.applies(settings) else 0.0 for phase in PHASES
    }
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def time_for(settings: RunSettings, phase: str, gone: float) -> float | None:
    """Return how many seconds a phase has that begins so many after the run; None: no limit.

    It is the phase's part of what is left for it and those after it: where an earlier one took
    longer than planned, none of these goes without. The phase must be one that the run has.
    """
    if settings.seconds is None:
        return None
    parts = shares(settings)
    names = list(parts)
    left = max(0.0, LATEST * settings.seconds - gone)
    return left * parts[phase] / sum(parts[name] for name in names[names.index(phase) :])


def scaled_plan(
    settings: RunSettings, data: ImageData, space: SearchSpace, jobs: int
) -> ScaledPlan | None:
    """Return how the gains of growth are measured; None: the coefficients need no training."""
    if settings.coefficients_by != "training":
        return None
    pixels, with_resolution = pixels_for(data.resolution, space.resolution)
    images = float(GROWN_IMAGES)
    if settings.seconds is not None and settings.scale:
        seconds = shares(settings)["coefficients"] * LATEST * settings.seconds * jobs
        with suppress(InputError):  # a network that cannot grow: the phase says so, if it is chosen
            images = _grown_images(data, space, pixels, with_resolution, seconds, settings.device)
    return ScaledPlan(
        flops=GROWN_FLOPS,
        pixels=pixels,
        with_resolution=with_resolution,
        trainings=grown_settings(data, pixels, images),
    )


def _grown_images(
    data: ImageData,
    space: SearchSpace,
    pixels: int,
    with_resolution: bool,
    seconds: float,
    device: str,
) -> float:
    """Return the training images of the longest trainings of grown networks, by the time for all.

    Raises:
        InputError: the middle network of the space cannot grow so far.
    """
    networks = grown_networks(
        middle_network(space), GROWN_FLOPS, pixels, with_resolution, data.channels, data.num_classes
    )
    # The slowest and the fastest of the design differ; the mean of the two is about the mean.
    speeds = [
        grown_speed(data, space, one.architecture, pixels, device)
        for one in (networks[0], networks[-1])
    ]
    validated = len(GROWN_LENGTHS) * min(GROWN_VALIDATION, len(data.validation_labels)) / 3
    seen = 2 / sum(1 / speed for speed in speeds) * seconds / len(networks) - validated
    return max(256.0, min(200_000.0, 0.95 * seen / sum(GROWN_LENGTHS)))
