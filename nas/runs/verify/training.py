"""Trainings: scores by class, cost and the architecture file, computed again from the history."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nas.networks.architecture_file import record_from_dict
from nas.networks.cost import measure_cost
from nas.networks.weights_file import read_weights
from nas.records.beside import WEIGHTS
from nas.records.training_document import TrainingDocument, TrainingScore
from nas.runs.training.outcome import ARCHITECTURE, trained_record, training_seconds
from nas.runs.verify.json_diff import JsonDifference, differing
from nas.runs.verify.verified_folder import VerifiedFolder, VerifyStep
from nas.training.class_metrics import class_scores

FILE = TrainingDocument.FILE


def training_parts(folder: VerifiedFolder) -> list[VerifyStep]:
    """Return what of a training can be computed again."""
    folder.note("the images are not in the folder: the accuracy is not recomputed")
    document = TrainingDocument.from_dict(folder.document, str(folder.path / FILE))
    return [
        VerifyStep("network", ARCHITECTURE, lambda: _network(folder, document)),
        VerifyStep("weights", WEIGHTS, lambda: _weights(folder, document)),
        VerifyStep("history", FILE, lambda: _history(document)),
    ]


def _network(folder: VerifiedFolder, document: TrainingDocument) -> Iterator[JsonDifference]:
    """The architecture file says what the history does, and the history what that costs."""
    data = folder.read(ARCHITECTURE)
    architecture = record_from_dict(data, ARCHITECTURE).architecture
    yield from differing(ARCHITECTURE, data, trained_record(document, architecture).to_dict())
    yield from differing(
        FILE,
        {
            "architecture": document.architecture,
            "cost": document.cost.to_dict(),
            "resolution": document.resolution,
            "stem_stride": document.stem_stride,
            "identity": {"architecture": document.identity.get("architecture")},
        },
        {
            "architecture": architecture.name,
            "cost": measure_cost(architecture).to_dict(),
            "resolution": architecture.resolution,
            "stem_stride": architecture.stem.stride,
            "identity": {"architecture": architecture.key()},
        },
    )


def _weights(folder: VerifiedFolder, document: TrainingDocument) -> Iterator[JsonDifference]:
    """The weights say what images they are for, as the history does."""
    known = read_weights(folder.path / WEIGHTS).trained_on
    found = {
        "mean": None if known is None else known.mean,
        "std": None if known is None else known.std,
        "resolution": None if known is None else known.resolution,
        "classes": None if known is None else known.classes,
    }
    computed = {
        "mean": document.normalisation.mean,
        "std": document.normalisation.std,
        "resolution": document.resolution,
        "classes": document.data.classes,
    }
    yield from differing(WEIGHTS, found, computed)


def _history(document: TrainingDocument) -> Iterator[JsonDifference]:
    """Times add up, and the scores of the classes follow from the confusion matrix."""
    yield from differing(FILE, document.seconds, training_seconds(document.epochs), "seconds")
    for part, score in (("validation", document.validation), ("test", document.test)):
        if score is not None and score.confusion is not None:
            yield from _classes(part, score, document.data.classes)


def _classes(part: str, score: TrainingScore, names: tuple[str, ...]) -> Iterator[JsonDifference]:
    counts = torch.tensor(score.confusion).flatten()
    pairs = torch.arange(len(names) ** 2).repeat_interleave(counts)
    computed = class_scores(pairs % len(names), pairs // len(names), names)
    written = [vars(one) for one in score.classes]
    yield from differing(FILE, written, [vars(one) for one in computed], f"{part}.classes")
