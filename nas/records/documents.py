"""The documents of what is no run: trainings, comparisons, benchmark tables, fidelity, B0."""

from __future__ import annotations

from typing import Any, ClassVar

from nas.proxies.short_training import TrainingSettings
from nas.records.document import Document
from nas.training.recipe import Recipe
from nas.training.schedule import TrainingSchedule
from nas.training.supernet_trainer import SupernetSettings


class ComparisonDocument(Document):
    """``comparison.json``: networks trained alike, and which differences are real."""

    KIND: ClassVar[str] = "comparison"
    FILE: ClassVar[str] = "comparison.json"
    SCHEMA: ClassVar[str] = "nas-search-comparison/2"

    settings: TrainingSettings
    title: str
    entries: tuple[dict[str, Any], ...] = ()
    against: str
    seed_to_seed_deviation: float | None = None


class TableDocument(Document):
    """``table.json``: random networks of a space, each trained alone; the rows are beside it."""

    KIND: ClassVar[str] = "benchmark table"
    FILE: ClassVar[str] = "table.json"
    SCHEMA: ClassVar[str] = "nas-search-table/2"

    space: str
    data: str
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    git_commit: str | None


class FidelityDocument(Document):
    """``fidelity.json``: how well a proxy ranks networks whose accuracy is known."""

    KIND: ClassVar[str] = "judgement of a proxy"
    FILE: ClassVar[str] = "fidelity.json"
    SCHEMA: ClassVar[str] = "nas-search-fidelity/2"

    training: TrainingSettings | None = None
    supernet: SupernetSettings | None = None
    budget: dict[str, int | float] | None = None
    result: dict[str, Any] | None = None


class ReproductionDocument(Document):
    """``run.json`` of a reproduction of EfficientNet-B0."""

    KIND: ClassVar[str] = "reproduction"
    FILE: ClassVar[str] = "run.json"
    SCHEMA: ClassVar[str] = "nas-search-discovery-run/2"

    command: dict[str, Any]
    jobs: int
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    git_commit: str | None
    seconds: dict[str, float]


class TrainingDocument(Document):
    """``history.json``: a training, epoch by epoch, and what came of it."""

    KIND: ClassVar[str] = "training"
    FILE: ClassVar[str] = "history.json"
    SCHEMA: ClassVar[str] = "nas-search-training/2"

    architecture: str
    cost: dict[str, int]
    convention: str
    data: dict[str, Any]
    normalisation: dict[str, list[float]]
    resolution: int
    stem_stride: int
    recipe: Recipe
    schedule: TrainingSchedule
    device: str
    threads: int
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    git_commit: str | None
    epochs: tuple[dict[str, Any], ...] = ()
    seconds: float | None = None
    validation: dict[str, Any] | None = None
    test: dict[str, Any] | None = None
