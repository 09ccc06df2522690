"""The document of a comparison's folder, ``comparison.json``, and its entries."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from nas.accuracy import Accuracy
from nas.evaluation.seeded_runs import MeasuredNetwork, SeededRun
from nas.networks.cost import Cost
from nas.proxies.short_training import TrainingSettings
from nas.records.document import Document


class ComparisonPart(BaseModel):
    """A part of a file that holds a comparison."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class AccuracyDifference(ComparisonPart):
    """By how much a network is more accurate than the reference.

    Attributes:
        mean: of the difference, with common seeds.
        ci95: its 95 % confidence interval; None: nothing is known of it.
        real: whether the interval leaves 0 out.
    """

    mean: float
    ci95: tuple[float, float] | None
    real: bool


class ComparedEntry(ComparisonPart):
    """A network with its evaluations, and what they say beside those of the others.

    Attributes:
        name: of the network.
        cost: of the network.
        score: what it is ranked by, as if all networks had had the same seeds; None: no
            evaluation finished.
        accuracy: over all seeds; None likewise.
        reason: why an evaluation failed first; empty where none did.
        runs: its evaluations, one a seed.
        difference: to the reference; None: it is the reference, or one of them is not measured.
    """

    name: str
    cost: Cost
    score: float | None
    accuracy: Accuracy | None
    reason: str
    runs: tuple[SeededRun, ...]
    difference: AccuracyDifference | None

    @property
    def measured(self) -> MeasuredNetwork:
        """The network with its evaluations, from which all the rest follows."""
        return MeasuredNetwork(self.name, self.cost, self.runs)


class ComparisonDocument(Document):
    """Networks trained alike, and which differences are real.

    Attributes:
        settings: how each was trained.
        title: of the table and the picture.
        entries: the networks, in the order in which they were given.
        against: name of the reference that differences are to.
        seed_to_seed_deviation: standard deviation of one accuracy from seed to seed, what a seed
            does to all networks alike taken out; None: not known.
    """

    KIND: ClassVar[str] = "comparison"
    FILE: ClassVar[str] = "comparison.json"
    SCHEMA: ClassVar[str] = "nas-search-comparison/2"

    settings: TrainingSettings
    title: str
    entries: tuple[ComparedEntry, ...] = ()
    against: str
    seed_to_seed_deviation: float | None = None
