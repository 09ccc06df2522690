"""What a training leaves beside its history: scores by class, and the architecture file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from torch import Tensor

from nas.networks.architecture import Architecture
from nas.networks.architecture_file import ArchitectureRecord
from nas.networks.cost import CONVENTION, measure_cost
from nas.records.beside import WEIGHTS
from nas.records.training_document import TrainingDocument, TrainingScore
from nas.training.class_metrics import class_scores, confusion_matrix
from nas.training.scoring import Score
from nas.training.trainer import EpochMetrics

ARCHITECTURE = "architecture.json"
PICTURE = "history.png"

CONFUSED = 100
"""The confusion matrix is kept of so many classes at most."""


def part_score(
    document: TrainingDocument,
    seed: int,
    part: str,
    found: Score,
    predicted: Tensor,
    labels: Tensor,
) -> TrainingScore:
    """Return what a trained network is worth on one part of its images.

    Args:
        document: of the training.
        seed: of the training.
        part: ``validation`` or ``test``.
        found: accuracy and loss.
        predicted: class of each image as the network has it, (images,), on the CPU.
        labels: class of each image, (images,), on the CPU.
    """
    names = document.data.classes
    return TrainingScore(
        accuracy=found.to_accuracy(
            metric=f"{part} accuracy after {document.schedule.epochs:.4g} epochs at "
            f"{document.resolution} px",
            seed=seed,
            proxy="train",
            data=f"{document.data.name} ({part})",
        ),
        classes=class_scores(predicted, labels, names),
        confusion=tuple(map(tuple, confusion_matrix(predicted, labels, len(names)).tolist()))
        if len(names) <= CONFUSED
        else None,
    )


def training_seconds(epochs: Sequence[EpochMetrics]) -> float:
    """Return how long all epochs took together."""
    return round(sum(epoch.seconds for epoch in epochs), 3)


def trained_record(document: TrainingDocument, architecture: Architecture) -> ArchitectureRecord:
    """Return the content of ``architecture.json``, given what its training says of itself."""
    best = document.best_known
    return ArchitectureRecord(
        architecture,
        measure_cost(architecture),
        None if best is None else best.accuracy,
        {
            "made_by": f"nas-search {document.versions['nas-search']}",
            "convention": CONVENTION,
            "training": {
                "identity": dict(document.identity),
                "recipe": asdict(document.recipe),
                "epochs": document.schedule.epochs,
                "weights": WEIGHTS,
            },
        },
    )
