"""The document of a training's folder, ``history.json``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from nas.accuracy import Accuracy
from nas.networks.cost import Cost
from nas.records.document import Document
from nas.training.class_metrics import ClassScore
from nas.training.recipe import Recipe
from nas.training.schedule import TrainingSchedule
from nas.training.trainer import EpochMetrics

_Count = Annotated[int, Field(ge=0)]


class _TrainingPart(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TrainingImages(_TrainingPart):
    """The images of a training.

    Attributes:
        name: of the data set.
        classes: their names, in the order of the network's outputs.
        images: of the training, the validation and the test part.
        image_resolution: pixels a side, as they are in memory.
        imbalance: images of the largest class over those of the smallest.
    """

    name: str
    classes: tuple[str, ...]
    images: tuple[_Count, ...]
    image_resolution: _Count
    imbalance: float


class Normalisation(_TrainingPart):
    """What is subtracted from each channel, and what it is divided by then."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class InheritedWeights(_TrainingPart):
    """Trained weights that a training began with.

    Attributes:
        source: name of the file, or a library and a name.
        sha256: of the file that holds them.
        architecture: name of the network that they are of.
        key: of this network, which says whether it is the one that is trained.
    """

    source: str
    sha256: str
    architecture: str
    key: str


class TrainingScore(_TrainingPart):
    """What the trained network is worth on one part of the images.

    Attributes:
        accuracy: with its standard error.
        classes: precision, recall and F1 of each class.
        confusion: images by true class and predicted class; None: there are too many classes.
    """

    accuracy: Accuracy
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[_Count, ...], ...] | None


class TrainingDocument(Document):
    """A training, epoch by epoch, and what came of it.

    Attributes:
        architecture: name of the network; the architecture is in a file of its own.
        cost: of the network.
        convention: by which FLOPs are counted.
        data: the images.
        normalisation: of the images.
        inherited: trained weights that it began with; None: new ones.
        resolution: pixels that the network is trained and used at.
        stem_stride: of the network.
        recipe: how it is trained.
        schedule: how many steps; a training that is resumed keeps it.
        device, threads: where it was trained.
        epochs: what was seen at each look at the validation images.
        seconds: of all epochs, over all sessions.
        validation: the score on the validation images; None until the training is finished.
        test: likewise on the test images; None where that was not asked for.
    """

    KIND: ClassVar[str] = "training"
    FILE: ClassVar[str] = "history.json"
    SCHEMA: ClassVar[str] = "nas-search-training/2"

    architecture: str
    cost: Cost
    convention: str
    data: TrainingImages
    normalisation: Normalisation
    resolution: int
    stem_stride: int
    recipe: Recipe
    schedule: TrainingSchedule
    device: str
    threads: int
    epochs: tuple[EpochMetrics, ...] = ()
    seconds: float | None = None
    validation: TrainingScore | None = None
    test: TrainingScore | None = None
    inherited: InheritedWeights | None = None

    @property
    def best_known(self) -> TrainingScore | None:
        """The score on the test images, or where there is none on the validation images."""
        return self.test or self.validation
