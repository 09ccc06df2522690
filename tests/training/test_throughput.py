"""The speed of a training, measured before it is scheduled."""

from dataclasses import dataclass, field

import torch

from nas.data import ImageData
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.modules import build
from nas.training.recipe import Recipe
from nas.training.schedule import TrainingSchedule
from nas.training.throughput import measure_throughput
from nas.training.trainer import Trainer

NETWORK = Architecture(
    name="small",
    resolution=64,
    in_channels=3,
    num_classes=2,
    activation="relu",
    norm=Norm(),
    stem=Stem(3, 2, 16),
    stages=(Stage("mbconv", 5, 2, 6, 32, 4, 0.0),),
    head=Head(64, 0.0),
)


@dataclass
class Asked:
    """Which recipes a trainer was asked for."""

    shares: list[float] = field(default_factory=list)


def test_steps_of_the_classifier_alone_are_not_taken_for_all() -> None:
    images = torch.randint(0, 256, (64, 3, 64, 64), dtype=torch.uint8)
    labels = torch.arange(64) % 2
    part = images, labels
    data = ImageData.from_parts("noise", ("a", "b"), part, part, None)
    asked = Asked()

    def trainer(recipe: Recipe, schedule: TrainingSchedule) -> Trainer:
        asked.shares.append(recipe.classifier_alone)
        return Trainer(
            build(NETWORK), data, recipe, schedule, (data.mean, data.std), seed=0, device="cpu"
        )

    whole = ((0.0, 1.0),)
    tuned = Recipe(batch_size=32, classifier_alone=0.1, progressive_resizing=whole, shards=1)
    found = measure_throughput(trainer, data, tuned, 64, seconds=20.0)
    assert asked.shares == [0.0, 1.0]
    assert found.alone_seconds is not None
    assert found.alone_seconds < found.step_seconds[64]
    scratch = Recipe(batch_size=32, progressive_resizing=whole, shards=1)
    assert measure_throughput(trainer, data, scratch, 64, seconds=20.0).alone_seconds is None
