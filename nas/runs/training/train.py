"""A training from beginning to end: images, schedule, training, what is kept of it."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.data import ImageData
from nas.data.dataset import load_data
from nas.data.decode import check_fit
from nas.environment import environment
from nas.errors import Diverged
from nas.files import sha256, write_bytes
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import write_record
from nas.networks.cost import CONVENTION, measure_cost
from nas.networks.pretrained import Pretrained, load_pretrained
from nas.networks.weights import load_weights
from nas.networks.weights_file import TrainedOn, read_weights, save_weights
from nas.progress import Progress, SilentProgress, shown_as
from nas.records.beside import WEIGHTS
from nas.records.result_folder import ResultFolder
from nas.records.training_document import (
    InheritedWeights,
    Normalisation,
    TrainingDocument,
    TrainingImages,
    TrainingScore,
)
from nas.report.tensorboard import FOLDER as EVENTS
from nas.report.tensorboard import write_events
from nas.report.training_plot import draw_history
from nas.runs.training.outcome import (
    ARCHITECTURE,
    PICTURE,
    part_score,
    trained_record,
    training_seconds,
)
from nas.runs.training.settings import TrainSettings
from nas.training.checkpoint import CheckpointFolder
from nas.training.distillation import Teacher
from nas.training.initialisation import (
    Initialisation,
    adapt_architecture,
    initialise,
    load_teacher,
)
from nas.training.out_of_memory import is_out_of_memory, out_of_memory_told
from nas.training.recipe import BATCH_SIZE, Recipe, recipe_for
from nas.training.schedule import TrainingSchedule, schedule_for_epochs, schedule_for_time
from nas.training.shards import default_shards
from nas.training.throughput import Throughput, measure_throughput
from nas.training.trainer import Trainer, TrainingState

logger = logging.getLogger(__name__)

EPOCHS = 20
"""Unless epochs or a time are asked for."""

TEMPERATURE = 2.0
"""Of a teacher's logits, unless another is asked for."""

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        folder: of the training.
        architecture: as it was trained, with the channels and classes of the images.
        document: what the folder says of itself.
    """

    folder: Path
    architecture: Architecture
    document: TrainingDocument


def train(settings: TrainSettings, progress: Progress | None = None) -> Trained:
    """Train a network, or resume a training with the same settings; seal its folder.

    Args:
        settings: what is to be trained, on what, how long.
        progress: shows how far the training is; None: nothing is shown.

    Raises:
        InputError: the images, the weights or the teacher do not fit; the folder is in use, holds
            something else or cannot be written.
        Diverged: the loss is not finite any more; nothing is left of the training.
        OutOfMemory: a smaller batch size or resolution needs less memory.
    """
    progress = progress or SilentProgress()
    with ResultFolder.open(settings.folder, TrainingDocument, progress.note) as results:
        asked = settings.architecture
        data = load_data(
            settings.data,
            1 if asked.in_channels == 1 else 3,
            progress,
            progress.note,
            settings.resolution or asked.resolution,
            settings.image_options,
        )
        architecture = adapt_architecture(
            asked, data.channels, data.num_classes, settings.resolution, settings.stem_stride
        )
        if settings.stem_stride is None and architecture.stem.stride != asked.stem.stride:
            progress.note(
                f"{asked.name}: stem stride {architecture.stem.stride} instead of "
                f"{asked.stem.stride}: {architecture.resolution} px would give a last feature "
                "map of 1 × 1"
            )
        weights = None
        if settings.weights is not None:
            weights = (
                settings.weights
                if isinstance(settings.weights, Pretrained)
                else load_pretrained(settings.weights, settings.weights_architecture, asked)
            )
        identity = _identity(settings, architecture, data, weights)
        before = results.before
        if before is not None and (before.status == "finished" or _has_steps(results)):
            results.check_identity(identity)
        elif before is not None and before.identity != identity:
            before = None  # another training, of which nothing is there yet
        batch_size = settings.batch_size or BATCH_SIZE
        with out_of_memory_told(settings.device, batch_size, architecture.resolution):
            session = _TrainSession(
                settings, architecture, data, weights, identity, results, progress
            )
            if before is not None and before.status == "finished":
                return session.finished(before)
            try:
                return session.train(before)
            except Exception as error:
                lost = isinstance(error, Diverged)
                if lost or (is_out_of_memory(error) and not _has_steps(results)):
                    for name in (CHECKPOINT, EVENTS):
                        shutil.rmtree(results.path / name, ignore_errors=True)
                    results.discard()
                raise


def _has_steps(results: ResultFolder[TrainingDocument]) -> bool:
    """Return whether something of a training is kept that could be lost."""
    return (results.path / CHECKPOINT).is_dir()


class _TrainSession:
    """One process working on a training."""

    def __init__(
        self,
        settings: TrainSettings,
        architecture: Architecture,
        data: ImageData,
        weights: Pretrained | None,
        identity: dict[str, Any],
        results: ResultFolder[TrainingDocument],
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._architecture = architecture
        self._data = data.to(settings.device)
        self._weights = weights
        self._identity = identity
        self._results = results
        self._progress = progress

    def train(self, before: TrainingDocument | None) -> Trained:
        """Train, and write what is kept."""
        settings, results = self._settings, self._results
        weights = self._weights
        for text in () if weights is None else weights.notes:
            self._progress.note(f"{weights.source}: {text}" if weights else text)
        if before is None:
            recipe, schedule = self._scheduled(weights)
        else:
            recipe, schedule = before.recipe, before.schedule
        initial = self._initialise(weights, recipe)
        trainer = self._trainer(initial, recipe, schedule)
        document = self._document(recipe, schedule, initial)
        if before is None:  # else it has the epochs that the checkpoint is from
            results.save(document)
        checkpoints = CheckpointFolder(
            results.path / CHECKPOINT,
            {**self._identity, "steps": schedule.steps},
            TrainingState,
            "nas-search-training-checkpoint/3",
        )

        def on_validation(state: TrainingState) -> None:
            results.save(document.updated(epochs=state.epochs))
            if settings.tensorboard:
                write_events(results.path)

        logger.info(
            "training of %s on %s: %d steps, %.4g epochs, on %s",
            self._architecture.name,
            self._data.name,
            schedule.steps,
            schedule.epochs,
            settings.device,
        )
        logger.debug("recipe: %s", recipe)
        tell = shown_as(
            self._progress, f"train {self._architecture.name}, {schedule.epochs:.4g} epochs"
        )
        done = trainer.run(
            checkpoints, lambda step, text: tell(step, schedule.steps, text), on_validation
        )
        return self._keep(trainer, done, document, initial)

    def finished(self, before: TrainingDocument) -> Trained:
        """Return what a finished training left; score it on the test images if that is missing."""
        folder, document = self._results.path, before
        if self._settings.test and document.test is None:
            file = folder / WEIGHTS
            known = read_weights(file).trained_on
            assert known is not None
            network = load_weights(file, self._architecture)
            initial = Initialisation(network.to(self._settings.device), (known.mean, known.std))
            trainer = self._trainer(initial, before.recipe, before.schedule)
            test = self._tested(trainer, before)
            document = self._finish(before.updated(test=test))
        if self._settings.tensorboard:
            write_events(folder)
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
        return Trained(folder, self._architecture, document)

    def _scheduled(self, weights: Pretrained | None) -> tuple[Recipe, TrainingSchedule]:
        settings, data = self._settings, self._data
        images, resolution = len(data.train_labels), self._architecture.resolution
        batch_size = min(settings.batch_size or BATCH_SIZE, images)

        def recipe(epochs: float) -> Recipe:
            found = recipe_for(
                epochs,
                fine_tuned=weights is not None,
                frozen=settings.freeze,
                batch_size=batch_size,
                learning_rate=settings.learning_rate,
                shards=settings.shards or default_shards(settings.device),
            )
            return replace(
                found,
                flip="flip" in data.augment,
                shift=found.shift if "shift" in data.augment else 0.0,
                augment=data.further_augmentation,
            )

        if settings.seconds is None:
            epochs = settings.epochs or EPOCHS
            return recipe(epochs), schedule_for_epochs(epochs, images, recipe(epochs), resolution)
        self._progress.phase("measure the speed", None)
        throughput = self._throughput(weights, recipe(1))
        tested = data.test_labels if settings.test else None
        schedule = schedule_for_time(
            settings.seconds - (time.monotonic() - settings.began),
            images,
            recipe(1),
            resolution,
            step_seconds=throughput.step_seconds,
            alone_seconds=throughput.alone_seconds,
            validation_seconds=throughput.image_seconds * len(data.validation_labels),
            test_seconds=0.0 if tested is None else throughput.image_seconds * len(tested),
            total_seconds=settings.seconds,
        )
        self._progress.note(
            f"planned: {schedule.epochs:.4g} epochs in {settings.seconds / 60:.4g} min ("
            + ", ".join(f"{v:,.0f} images/s at {px} px" for px, v in schedule.images_per_second)
            + ")"
        )
        return recipe(schedule.epochs), schedule

    def _throughput(self, weights: Pretrained | None, recipe: Recipe) -> Throughput:
        initial = self._initialise(weights, recipe)
        return measure_throughput(
            lambda recipe, schedule: self._trainer(initial, recipe, schedule),
            self._data,
            recipe,
            self._architecture.resolution,
            self._settings.seconds or 0.0,
        )

    def _initialise(self, weights: Pretrained | None, recipe: Recipe) -> Initialisation:
        return initialise(
            self._architecture,
            self._data,
            weights,
            stochastic_depth=recipe.stochastic_depth,
            seed=self._settings.seed,
            device=self._settings.device,
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
            self._settings.seed,
            self._settings.device,
            self._teacher,
        )

    @cached_property
    def _teacher(self) -> Teacher | None:
        settings = self._settings
        if settings.teacher is None or settings.teacher_weights is None:
            return None
        return load_teacher(
            settings.teacher,
            settings.teacher_weights,
            self._data,
            settings.temperature or TEMPERATURE,
            settings.device,
        )

    def _document(
        self, recipe: Recipe, schedule: TrainingSchedule, initial: Initialisation
    ) -> TrainingDocument:
        data, architecture = self._data, self._architecture
        mean, std = map(tuple, initial.normalisation)
        return TrainingDocument(
            identity=self._identity,
            architecture=architecture.name,
            cost=measure_cost(architecture),
            convention=CONVENTION,
            data=TrainingImages(
                name=data.name,
                classes=data.classes,
                images=tuple(len(part[1]) if part else 0 for part in data.parts),
                image_resolution=data.resolution,
                imbalance=data.imbalance,
            ),
            normalisation=Normalisation(mean=mean, std=std),
            inherited=None if self._weights is None else _inherited(self._weights),
            resolution=architecture.resolution,
            stem_stride=architecture.stem.stride,
            recipe=recipe,
            schedule=schedule,
            device=self._settings.device,
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
        folder, data, architecture = self._results.path, self._data, self._architecture
        self._progress.phase("score", None)
        document = document.updated(
            epochs=done.epochs,
            seconds=training_seconds(done.epochs),
            validation=self._scored(
                trainer, document, "validation", data.validation_images, data.validation_labels
            ),
            test=self._tested(trainer, document),
        )
        mean, std = initial.normalisation
        known = TrainedOn(
            mean,
            std,
            architecture.resolution,
            data.classes,
            check_fit(self._settings.image_options.fit),
            data.resolution,
            data.pixel_ranges,
        )
        save_weights(trainer.average, architecture, folder / WEIGHTS, trained_on=known)
        document = self._finish(document)
        if self._settings.tensorboard:
            write_events(folder)
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
        return Trained(folder, architecture, document)

    def _finish(self, document: TrainingDocument) -> TrainingDocument:
        """Write the architecture and the picture of a finished training, and seal its folder."""
        folder = self._results.path
        record = trained_record(document, self._architecture)
        write_record(record, folder / ARCHITECTURE)
        picture = draw_history(
            document.epochs,
            f"{document.architecture} on {document.data.name}",
            None if document.test is None else document.test.accuracy.mean,
        )
        write_bytes(folder / PICTURE, picture["png"])
        return self._results.finish(document, (WEIGHTS, ARCHITECTURE, PICTURE))

    def _tested(self, trainer: Trainer, document: TrainingDocument) -> TrainingScore | None:
        images, labels = self._data.test_images, self._data.test_labels
        if not self._settings.test:
            return None
        if images is None or labels is None:
            self._progress.note(f"{self._data.name} has no test images")
            return None
        return self._scored(trainer, document, "test", images, labels)

    def _scored(
        self,
        trainer: Trainer,
        document: TrainingDocument,
        part: str,
        images: Tensor,
        labels: Tensor,
    ) -> TrainingScore:
        found, predicted = trainer.score(images, labels)
        seed = self._settings.seed
        return part_score(document, seed, part, found, predicted, labels.cpu())


def _identity(
    settings: TrainSettings,
    architecture: Architecture,
    data: ImageData,
    weights: Pretrained | None,
) -> dict[str, Any]:
    """Return what makes a training this one; a folder that has another is refused."""
    teaches = settings.teacher is not None and settings.teacher_weights is not None
    return {
        "architecture": architecture.key(),
        "data": data.fingerprint,
        "weights": None if weights is None else [weights.digest, weights.architecture.key()],
        "teacher": None
        if settings.teacher is None or settings.teacher_weights is None
        else [settings.teacher.key(), sha256(settings.teacher_weights)],
        "temperature": (settings.temperature or TEMPERATURE) if teaches else None,
        "epochs": settings.epochs or (None if settings.seconds else EPOCHS),
        "time": settings.seconds,
        "augment": list(data.augment),
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "shards": settings.shards,
        **({"freeze": True} if settings.freeze else {}),
        "seed": settings.seed,
    }


def _inherited(weights: Pretrained) -> InheritedWeights:
    return InheritedWeights(
        source=weights.name,
        sha256=weights.digest,
        architecture=weights.architecture.name,
        key=weights.architecture.key(),
    )
