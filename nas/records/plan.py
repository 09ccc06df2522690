"""How networks are trained in a run: what a run keeps from its beginning."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nas.proxies.short_training import TrainingSettings
from nas.training.supernet_trainer import SupernetSettings


class ScaledPlan(BaseModel):
    """How the gains of growth are measured: small networks, grown and trained.

    Attributes:
        flops: of the small network that stands for the baseline, about.
        pixels: a side of its images.
        with_resolution: resolution grows, too; False: the images are too small for that.
        trainings: of every network, the shortest first.
    """

    model_config = ConfigDict(extra="forbid")
    flops: float = Field(gt=0, lt=1e12)
    pixels: int = Field(ge=1, le=16_384)
    with_resolution: bool
    trainings: tuple[TrainingSettings, ...] = Field(min_length=1, max_length=4)


def grown_phase(settings: TrainingSettings) -> str:
    """Return the name of the trainings of a length; also the purpose of their seeds."""
    return f"coefficients-{settings.images_seen}"


class Plan(BaseModel):
    """How networks are trained in a run; a run once begun keeps what was planned then."""

    model_config = ConfigDict(extra="forbid")
    search: TrainingSettings
    """A network alone: every candidate, or the baseline that is tested."""
    finals: TrainingSettings
    supernet: SupernetSettings | None = None
    scaled: ScaledPlan | None = None
