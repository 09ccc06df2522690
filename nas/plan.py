"""How networks are trained in a run, and how its phases share the time."""

from __future__ import annotations

from itertools import accumulate

from pydantic import BaseModel, ConfigDict

from nas.data import ImageData
from nas.proxies.catalogue import (
    SUPERNET,
    default_settings,
    final_settings,
    grid_settings,
    grid_work,
    settings_for_work,
    supernet_settings,
    training_speed,
    trains,
)
from nas.proxies.supernet_training import SupernetSettings
from nas.proxies.training import TrainingSettings
from nas.settings import Settings
from nas.space import SearchSpace

GRID_POINTS = 12
FINAL_SEEDS = 3
CHECKED = 8
"""Networks of the check of a proxy."""
WEIGHTS = {"search": 5.0, "quick search": 1.0, "finals": 2.0, "check": 1.0, "grid": 4.0}
"""How the phases share the time; a quick search is one whose proxy trains nothing."""
LATEST = 0.92
"""Of --time, counted from the start: by then nothing new starts."""
SUPERNET_SHARE = 0.8
"""Of the search's time: the training of a supernet, if there is one."""


class Plan(BaseModel):
    """How networks are trained in a run; a run once begun keeps what was planned then."""

    model_config = ConfigDict(extra="forbid")
    search: TrainingSettings
    """A network alone: every candidate, or the baseline that is tested."""
    finals: TrainingSettings
    grid: TrainingSettings
    supernet: SupernetSettings | None = None


def make_plan(settings: Settings, data: ImageData, space: SearchSpace, jobs: int) -> Plan:
    """Return how networks are trained, by the data's size and the time given.

    ``space`` has the input that the data have; ``jobs`` run at once.
    """
    each, shared = trains(settings.proxy_name), settings.proxy_name == SUPERNET
    supernet = None
    if shared:
        # What the supernet leaves of the search's time, the evaluations have.
        seconds = settings.seconds and SUPERNET_SHARE * ends(settings)[0] * settings.seconds
        supernet = supernet_settings(data, space, seconds, settings.device)
    if settings.seconds is None:
        candidate = default_settings(data, space)
        return Plan(
            search=candidate,
            finals=final_settings(candidate),
            grid=grid_settings(candidate, space),
            supernet=supernet,
        )

    # What all the time is worth, in images that one candidate after the other is trained on.
    images = settings.seconds * jobs * training_speed(data, space, settings.device)

    def within(share: float, trainings: float) -> TrainingSettings:
        return settings_for_work(data, space, share * images / max(1.0, trainings))

    search, _, check, grid = ends(settings)
    candidate = within(search, settings.trial_count)
    count = settings.finalist_count
    # Finalists and reference, the two of them that are tested, and the networks of the check.
    trainings = (count + 3) * FINAL_SEEDS if count else 1
    trainings += CHECKED if settings.checks else 0
    longer = within(check - search, trainings) if check > search else candidate
    # As many images as a candidate's if a grid of these fills the time that is left.
    left = within(grid - check, grid_work(GRID_POINTS + 1))
    if not each:
        grid_like = grid_settings(left, space, 1.0)
        return Plan(search=left, finals=longer, grid=grid_like, supernet=supernet)
    share = left.passes / candidate.passes
    return Plan(search=candidate, finals=longer, grid=grid_settings(candidate, space, share))


def ends(settings: Settings) -> tuple[float, float, float, float]:
    """Return by which share of the time search, finals, check and grid are to end."""
    trained = trains(settings.proxy_name) or settings.proxy_name == SUPERNET
    weights = (
        WEIGHTS["search" if trained else "quick search"],
        WEIGHTS["finals"] if settings.finalist_count else 0.0,
        WEIGHTS["check"] if settings.checks else 0.0,
        WEIGHTS["grid"] if settings.scale else 0.0,
    )
    found = [LATEST * end / sum(weights) for end in accumulate(weights)]
    return (found[0], found[1], found[2], found[3])
