"""A training from beginning to end: images, plan, training, what is kept of it."""

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
from nas.progress import Progress as Shown
from nas.progress import shown_as
from nas.records.documents import TrainingDocument
from nas.records.result_folder import ResultFolder
from nas.report.tensorboard import FOLDER as EVENTS
from nas.report.tensorboard import write_events
from nas.report.training_plot import draw_history
from nas.training.checkpoint import Checkpoints
from nas.training.class_metrics import class_scores, confusion
from nas.training.distillation import Teacher
from nas.training.initialisation import Start, architecture_for, start, teacher
from nas.training.recipe import BATCH_SIZE, Recipe, recipe_for
from nas.training.schedule import Plan, plan_epochs, plan_time
from nas.training.throughput import Speed, measure_speed
from nas.training.trainer import Progress, Training

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


def train(request: Request, shown: Shown) -> Trained:
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
            shown,
            shown.note,
            request.resolution or asked.resolution,
        )
        architecture = architecture_for(
            asked, data.channels, data.num_classes, request.resolution, request.stem_stride
        )
        if request.stem_stride is None and architecture.stem.stride != asked.stem.stride:
            shown.note(
                f"{asked.name}: stem stride {architecture.stem.stride} instead of "
                f"{asked.stem.stride}: {architecture.resolution} px would shrink to one point"
            )
        identity = _identity(request, architecture, data)
        results.check_identity(identity)
        run = _Run(request, architecture, data, identity, results, shown)
        if before is not None and before.status == "finished":
            return run.finished(before)
        try:
            return run.train(before)
        except Diverged:
            for name in (CHECKPOINT, EVENTS):
                shutil.rmtree(results.path / name, ignore_errors=True)
            results.discard()
            raise


class _Run:
    """One training: what all its phases need to know."""

    def __init__(
        self,
        request: Request,
        architecture: Architecture,
        data: ImageData,
        identity: dict[str, Any],
        results: ResultFolder[TrainingDocument],
        shown: Shown,
    ) -> None:
        self._request = request
        self._architecture = architecture
        self._data = data.to(request.device)
        self._identity = identity
        self._results = results
        self._shown = shown

    def train(self, before: TrainingDocument | None) -> Trained:
        """Train, and write what is kept."""
        request, shown = self._request, self._shown
        weights = None if request.weights is None else read_weights(request.weights)
        if before is None:
            recipe, plan = self._planned(weights)
        else:
            recipe, plan = before.recipe, before.plan
        begun = self._start(weights, recipe)
        training = self._training(begun, recipe, plan)
        document = self._document(recipe, plan, begun)
        if before is None:  # else it has the epochs that the checkpoint is from
            self._results.save(document)
        checkpoints = Checkpoints(
            request.folder / CHECKPOINT,
            {**self._identity, "steps": plan.steps},
            Progress,
            "nas-search-training-checkpoint/1",
        )

        def note(progress: Progress) -> None:
            rows = [asdict(epoch) for epoch in progress.epochs]
            self._results.save(document.updated(epochs=rows))
            if request.tensorboard:
                write_events(request.folder)

        tell = shown_as(shown, f"train {self._architecture.name}, {plan.epochs:.4g} epochs")
        done = training.run(checkpoints, lambda step, text: tell(step, plan.steps, text), note)
        return self._keep(training, done, document, begun)

    def finished(self, before: TrainingDocument) -> Trained:
        """Return what a finished training left; score it on the test images if that is missing."""
        folder, document = self._request.folder, before
        if self._request.test and document.test is None:
            file = folder / WEIGHTS
            known = read_weights(file).trained_on
            assert known is not None
            network = load_weights(file, self._architecture)
            begun = Start(network.to(self._request.device), (known.mean, known.std))
            training = self._training(begun, before.recipe, before.plan)
            test = self._tested(training, before.plan.epochs)
            document = self._finish(before.updated(test=test))
        if self._request.tensorboard:
            write_events(folder)
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
        return Trained(folder, self._architecture, document.to_dict())

    def _planned(self, weights: Weights | None) -> tuple[Recipe, Plan]:
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
            return recipe(epochs), plan_epochs(epochs, images, recipe(epochs), resolution)
        self._shown.phase("measure the speed", None)
        speed = self._speed(weights, recipe(1))
        tested = data.test_labels if request.test else None
        plan = plan_time(
            request.seconds - (time.monotonic() - request.began),
            images,
            recipe(1),
            resolution,
            step_seconds=speed.step_seconds,
            validation_seconds=speed.image_seconds * len(data.validation_labels),
            test_seconds=0.0 if tested is None else speed.image_seconds * len(tested),
            total_seconds=request.seconds,
        )
        self._shown.note(
            f"planned: {plan.epochs:.4g} epochs in {request.seconds / 60:.4g} min ("
            + ", ".join(f"{speed:,.0f} images/s at {px} px" for px, speed in plan.images_per_second)
            + ")"
        )
        return recipe(plan.epochs), plan

    def _speed(self, weights: Weights | None, recipe: Recipe) -> Speed:
        begun = self._start(weights, recipe)
        return measure_speed(
            lambda plan: self._training(begun, recipe, plan),
            self._data,
            recipe,
            self._architecture.resolution,
            self._request.seconds or 0.0,
        )

    def _start(self, weights: Weights | None, recipe: Recipe) -> Start:
        return start(
            self._architecture,
            self._data,
            weights,
            stochastic_depth=recipe.stochastic_depth,
            seed=self._request.seed,
            device=self._request.device,
        )

    def _training(self, begun: Start, recipe: Recipe, plan: Plan) -> Training:
        return Training(
            begun.network,
            self._data,
            recipe,
            plan,
            begun.normalisation,
            self._request.seed,
            self._request.device,
            self._teacher,
        )

    @cached_property
    def _teacher(self) -> Teacher | None:
        request = self._request
        if request.teacher is None or request.teacher_weights is None:
            return None
        return teacher(
            request.teacher,
            request.teacher_weights,
            self._data,
            request.temperature,
            request.device,
        )

    def _document(self, recipe: Recipe, plan: Plan, begun: Start) -> TrainingDocument:
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
                name: list(v) for name, v in zip(("mean", "std"), begun.normalisation, strict=True)
            },
            resolution=architecture.resolution,
            stem_stride=architecture.stem.stride,
            recipe=recipe,
            plan=plan,
            device=self._request.device,
            threads=torch.get_num_threads(),
            **environment(),
        )

    def _keep(
        self, training: Training, done: Progress, document: TrainingDocument, begun: Start
    ) -> Trained:
        """Write the weights, what they are worth, and the picture; the checkpoint goes."""
        folder, data, architecture = self._request.folder, self._data, self._architecture
        self._shown.phase("score", None)
        epochs = document.plan.epochs
        measured = {
            "epochs": [asdict(epoch) for epoch in done.epochs],
            "seconds": round(sum(epoch.seconds for epoch in done.epochs), 3),
            "validation": self._scored(
                training, data.validation_images, data.validation_labels, "validation", epochs
            ),
            "test": self._tested(training, epochs),
        }
        mean, std = begun.normalisation
        known = TrainedOn(mean, std, architecture.resolution, data.classes)
        save_weights(training.average, architecture, folder / WEIGHTS, trained_on=known)
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
                    "epochs": document.plan.epochs,
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

    def _tested(self, training: Training, epochs: float) -> dict[str, Any] | None:
        images, labels = self._data.test_images, self._data.test_labels
        if not self._request.test:
            return None
        if images is None or labels is None:
            self._shown.note(f"{self._data.name} has no test images")
            return None
        return self._scored(training, images, labels, "test", epochs)

    def _scored(
        self, training: Training, images: Tensor, labels: Tensor, part: str, epochs: float
    ) -> dict[str, Any]:
        found, predicted = training.score(images, labels)
        classes, labels = self._data.classes, labels.cpu()
        balanced = "" if found.even else ", every class weighing the same"
        accuracy = Accuracy(
            mean=found.accuracy,
            standard_error=found.standard_error,
            n=1,
            seeds=(self._request.seed,),
            loss=found.loss,
            metric=f"{part} accuracy after {epochs:.4g} epochs at "
            f"{self._architecture.resolution} px{balanced}",
            proxy="train",
            data=f"{self._data.name} ({part})",
        )
        return {
            "accuracy": accuracy.to_dict(),
            "classes": [asdict(one) for one in class_scores(predicted, labels, classes)],
            "confusion": confusion(predicted, labels, len(classes)).tolist()
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
