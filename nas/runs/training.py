"""A training from beginning to end: images, schedule, training, what is kept of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from nas._version import __version__
from nas.accuracy import Accuracy
from nas.data import BUILT_IN, ImageData
from nas.data.dataset import load_data
from nas.environment import environment
from nas.errors import Diverged
from nas.files import sha256, slug, write_bytes
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import save_architecture
from nas.networks.cost import CONVENTION, measure_cost
from nas.networks.weights import load_weights
from nas.networks.weights_file import TrainedOn, Weights, read_weights, save_weights
from nas.progress import Progress, shown_as
from nas.records.documents import TrainingDocument
from nas.records.result_folder import ResultFolder
from nas.report.tensorboard import FOLDER as EVENTS
from nas.report.tensorboard import write_events
from nas.report.training_plot import draw_history
from nas.training.checkpoint import CheckpointFolder
from nas.training.class_metrics import class_scores, confusion_matrix
from nas.training.distillation import Teacher
from nas.training.initialisation import (
    Initialisation,
    adapt_architecture,
    initialise,
    load_teacher,
)
from nas.training.recipe import BATCH_SIZE, Recipe, recipe_for
from nas.training.schedule import TrainingSchedule, schedule_for_epochs, schedule_for_time
from nas.training.throughput import Throughput, measure_throughput
from nas.training.trainer import Trainer, TrainingState

EPOCHS = 20
"""Unless epochs or a time are asked for."""

CONFUSED = 100
"""So many classes, at most, are told apart pair by pair in the file."""

WEIGHTS = "weights.safetensors"
ARCHITECTURE = "architecture.json"
PICTURE = "history.png"
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Request:
    """What is to be trained, on what, how long; see the command's help for each."""

    architecture: Architecture
    data: str | None = None
    out: Path | None = None
    weights: Path | None = None
    teacher: Architecture | None = None
    teacher_weights: Path | None = None
    temperature: float = 2.0
    resolution: int | None = None
    stem_stride: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    device: str = "cpu"
    test: bool = False
    tensorboard: bool = False
    began: float = field(default_factory=time.monotonic)
    """When the time began to run, by the monotonic clock."""

    @property
    def folder(self) -> Path:
        """Where the training is kept."""
        data = Path(self.data or BUILT_IN)
        return self.out or Path("results") / slug(f"{self.architecture.name}-{data.name}")


@dataclass(frozen=True)
class Trained:
    """What came of it: the folder, the network, and the content of ``history.json``."""

    folder: Path
    architecture: Architecture
    document: Mapping[str, Any]


def train(request: Request, progress: Progress) -> Trained:
    """Train a network, from where an earlier process with the same request left off.

    Raises:
        InputError: the images, the weights or the teacher do not fit, or the folder is not free.
        Diverged: the loss is not finite any more; nothing is left of the training.
    """
    with ResultFolder.open(request.folder, TrainingDocument) as results:
        before = results.before
        asked = request.architecture
        data = load_data(
            request.data,
            1 if asked.in_channels == 1 else 3,
            progress,
            progress.note,
            request.resolution or asked.resolution,
        )
        architecture = adapt_architecture(
            asked, data.channels, data.num_classes, request.resolution, request.stem_stride
        )
        if request.stem_stride is None and architecture.stem.stride != asked.stem.stride:
            progress.note(
                f"{asked.name}: stem stride {architecture.stem.stride} instead of "
                f"{asked.stem.stride}: {architecture.resolution} px would shrink to one point"
            )
        identity = _identity(request, architecture, data)
        results.check_identity(identity)
        run = _TrainingRun(request, architecture, data, identity, results, progress)
        if before is not None and before.status == "finished":
            return run.finished(before)
        try:
            return run.train(before)
        except Diverged:
            for name in (CHECKPOINT, EVENTS):
                shutil.rmtree(results.path / name, ignore_errors=True)
            results.discard()
            raise


class _TrainingRun:
    """One training: what all its phases need to know."""

    def __init__(
        self,
        request: Request,
        architecture: Architecture,
        data: ImageData,
        identity: dict[str, Any],
        results: ResultFolder[TrainingDocument],
        progress: Progress,
    ) -> None:
        self._request = request
        self._architecture = architecture
        self._data = data.to(request.device)
        self._identity = identity
        self._results = results
        self._progress = progress

    def train(self, before: TrainingDocument | None) -> Trained:
        """Train, and write what is kept."""
        request, progress = self._request, self._progress
        weights = None if request.weights is None else read_weights(request.weights)
        if before is None:
            recipe, schedule = self._scheduled(weights)
        else:
            recipe, schedule = before.recipe, before.schedule
        initial = self._initialise(weights, recipe)
        trainer = self._trainer(initial, recipe, schedule)
        document = self._document(recipe, schedule, initial)
        if before is None:  # else it has the epochs that the checkpoint is from
            self._results.save(document)
        checkpoints = CheckpointFolder(
            request.folder / CHECKPOINT,
            {**self._identity, "steps": schedule.steps},
            TrainingState,
            "nas-search-training-checkpoint/1",
        )

        def on_validation(state: TrainingState) -> None:
            rows = [asdict(epoch) for epoch in state.epochs]
            self._results.save(document.updated(epochs=rows))
            if request.tensorboard:
                write_events(request.folder)

        tell = shown_as(progress, f"train {self._architecture.name}, {schedule.epochs:.4g} epochs")
        done = trainer.run(
            checkpoints, lambda step, text: tell(step, schedule.steps, text), on_validation
        )
        return self._keep(trainer, done, document, initial)

    def finished(self, before: TrainingDocument) -> Trained:
        """Return what a finished training left; score it on the test images if that is missing."""
        folder, document = self._request.folder, before
        if self._request.test and document.test is None:
            file = folder / WEIGHTS
            known = read_weights(file).trained_on
            assert known is not None
            network = load_weights(file, self._architecture)
            initial = Initialisation(network.to(self._request.device), (known.mean, known.std))
            trainer = self._trainer(initial, before.recipe, before.schedule)
            test = self._tested(trainer, before.schedule.epochs)
            document = self._finish(before.updated(test=test))
        if self._request.tensorboard:
            write_events(folder)
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
        return Trained(folder, self._architecture, document.to_dict())

    def _scheduled(self, weights: Weights | None) -> tuple[Recipe, TrainingSchedule]:
        request, data = self._request, self._data
        images, resolution = len(data.train_labels), self._architecture.resolution
        batch_size = min(request.batch_size or BATCH_SIZE, images)

        def recipe(epochs: float) -> Recipe:
            return recipe_for(
                epochs,
                fine_tuned=weights is not None,
                batch_size=batch_size,
                learning_rate=request.learning_rate,
            )

        if request.seconds is None:
            epochs = request.epochs or EPOCHS
            return recipe(epochs), schedule_for_epochs(epochs, images, recipe(epochs), resolution)
        self._progress.phase("measure the speed", None)
        throughput = self._throughput(weights, recipe(1))
        tested = data.test_labels if request.test else None
        schedule = schedule_for_time(
            request.seconds - (time.monotonic() - request.began),
            images,
            recipe(1),
            resolution,
            step_seconds=throughput.step_seconds,
            validation_seconds=throughput.image_seconds * len(data.validation_labels),
            test_seconds=0.0 if tested is None else throughput.image_seconds * len(tested),
            total_seconds=request.seconds,
        )
        self._progress.note(
            f"planned: {schedule.epochs:.4g} epochs in {request.seconds / 60:.4g} min ("
            + ", ".join(f"{v:,.0f} images/s at {px} px" for px, v in schedule.images_per_second)
            + ")"
        )
        return recipe(schedule.epochs), schedule

    def _throughput(self, weights: Weights | None, recipe: Recipe) -> Throughput:
        initial = self._initialise(weights, recipe)
        return measure_throughput(
            lambda schedule: self._trainer(initial, recipe, schedule),
            self._data,
            recipe,
            self._architecture.resolution,
            self._request.seconds or 0.0,
        )

    def _initialise(self, weights: Weights | None, recipe: Recipe) -> Initialisation:
        return initialise(
            self._architecture,
            self._data,
            weights,
            stochastic_depth=recipe.stochastic_depth,
            seed=self._request.seed,
            device=self._request.device,
        )

    def _trainer(
        self, initial: Initialisation, recipe: Recipe, schedule: TrainingSchedule
    ) -> Trainer:
        return Trainer(
            initial.network,
            self._data,
            recipe,
            schedule,
            initial.normalisation,
            self._request.seed,
            self._request.device,
            self._teacher,
        )

    @cached_property
    def _teacher(self) -> Teacher | None:
        request = self._request
        if request.teacher is None or request.teacher_weights is None:
            return None
        return load_teacher(
            request.teacher,
            request.teacher_weights,
            self._data,
            request.temperature,
            request.device,
        )

    def _document(
        self, recipe: Recipe, schedule: TrainingSchedule, initial: Initialisation
    ) -> TrainingDocument:
        data, architecture = self._data, self._architecture
        return TrainingDocument(
            identity=self._identity,
            architecture=architecture.name,
            cost=measure_cost(architecture).to_dict(),
            convention=CONVENTION,
            data={
                "name": data.name,
                "classes": list(data.classes),
                "images": [len(part[1]) if part else 0 for part in data.parts],
                "image_resolution": data.resolution,
                "imbalance": data.imbalance,
            },
            normalisation={
                name: list(values)
                for name, values in zip(("mean", "std"), initial.normalisation, strict=True)
            },
            resolution=architecture.resolution,
            stem_stride=architecture.stem.stride,
            recipe=recipe,
            schedule=schedule,
            device=self._request.device,
            threads=torch.get_num_threads(),
            **environment(),
        )

    def _keep(
        self,
        trainer: Trainer,
        done: TrainingState,
        document: TrainingDocument,
        initial: Initialisation,
    ) -> Trained:
        """Write the weights, what they are worth, and the picture; the checkpoint goes."""
        folder, data, architecture = self._request.folder, self._data, self._architecture
        self._progress.phase("score", None)
        epochs = document.schedule.epochs
        measured = {
            "epochs": [asdict(epoch) for epoch in done.epochs],
            "seconds": round(sum(epoch.seconds for epoch in done.epochs), 3),
            "validation": self._scored(
                trainer, data.validation_images, data.validation_labels, "validation", epochs
            ),
            "test": self._tested(trainer, epochs),
        }
        mean, std = initial.normalisation
        known = TrainedOn(mean, std, architecture.resolution, data.classes)
        save_weights(trainer.average, architecture, folder / WEIGHTS, trained_on=known)
        document = self._finish(document.updated(**measured))
        if self._request.tensorboard:
            write_events(folder)
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
        return Trained(folder, architecture, document.to_dict())

    def _finish(self, document: TrainingDocument) -> TrainingDocument:
        """Write what a finished training says of itself: architecture, picture and the rest."""
        folder, architecture, tested = self._request.folder, self._architecture, document.test
        best = (tested or document.validation or {})["accuracy"]
        save_architecture(
            architecture,
            folder / ARCHITECTURE,
            accuracy=TypeAdapter(Accuracy).validate_python(best),
            provenance={
                "made_by": f"nas-search {__version__}",
                "convention": CONVENTION,
                "training": {
                    "identity": self._identity,
                    "recipe": asdict(document.recipe),
                    "epochs": document.schedule.epochs,
                    "weights": WEIGHTS,
                },
            },
        )
        picture = draw_history(
            document.epochs,
            f"{architecture.name} on {self._data.name}",
            None if tested is None else tested["accuracy"]["mean"],
        )
        write_bytes(folder / PICTURE, picture["png"])
        return self._results.finish(document, (WEIGHTS, ARCHITECTURE, PICTURE))

    def _tested(self, trainer: Trainer, epochs: float) -> dict[str, Any] | None:
        images, labels = self._data.test_images, self._data.test_labels
        if not self._request.test:
            return None
        if images is None or labels is None:
            self._progress.note(f"{self._data.name} has no test images")
            return None
        return self._scored(trainer, images, labels, "test", epochs)

    def _scored(
        self, trainer: Trainer, images: Tensor, labels: Tensor, part: str, epochs: float
    ) -> dict[str, Any]:
        found, predicted = trainer.score(images, labels)
        classes, labels = self._data.classes, labels.cpu()
        accuracy = found.to_accuracy(
            metric=f"{part} accuracy after {epochs:.4g} epochs at "
            f"{self._architecture.resolution} px",
            seed=self._request.seed,
            proxy="train",
            data=f"{self._data.name} ({part})",
        )
        return {
            "accuracy": accuracy.to_dict(),
            "classes": [asdict(one) for one in class_scores(predicted, labels, classes)],
            "confusion": confusion_matrix(predicted, labels, len(classes)).tolist()
            if len(classes) <= CONFUSED
            else None,
        }


def _identity(request: Request, architecture: Architecture, data: ImageData) -> dict[str, Any]:
    """Return what makes a training this one; a folder that has another is refused."""
    teaches = request.teacher is not None and request.teacher_weights is not None
    return {
        "architecture": architecture.key(),
        "data": data.fingerprint,
        "weights": None if request.weights is None else sha256(request.weights),
        "teacher": None
        if request.teacher is None or request.teacher_weights is None
        else [request.teacher.key(), sha256(request.teacher_weights)],
        "temperature": request.temperature if teaches else None,
        "epochs": request.epochs or (None if request.seconds else EPOCHS),
        "time": request.seconds,
        "batch_size": request.batch_size,
        "learning_rate": request.learning_rate,
        "seed": request.seed,
    }
