"""How networks are trained in a run: what a run keeps from its beginning."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from nas.proxies.short_training import TrainingSettings
from nas.training.supernet_trainer import SupernetSettings


class Plan(BaseModel):
    """How networks are trained in a run; a run once begun keeps what was planned then."""

    model_config = ConfigDict(extra="forbid")
    search: TrainingSettings
    """A network alone: every candidate, or the baseline that is tested."""
    finals: TrainingSettings
    grid: TrainingSettings
    supernet: SupernetSettings | None = None
