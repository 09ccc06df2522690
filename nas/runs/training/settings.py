"""What a training is asked to do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from nas.data import BUILT_IN
from nas.data.dataset import DEFAULT_OPTIONS, ImageOptions
from nas.environment import check_device
from nas.errors import InputError, check_range
from nas.files import slug
from nas.networks.architecture import Architecture
from nas.networks.pretrained import Pretrained


@dataclass(frozen=True)
class TrainSettings:
    """What a training is asked to do.

    Attributes:
        architecture: the network.
        data: images, by name or path; None: the built-in ones.
        out: folder of the training; None: ``results/ARCHITECTURE-DATA``.
        weights: trained weights to begin with, of this network or of another: a file,
            ``timm:NAME``, ``torchvision:NAME``, or what was loaded of them; None: random ones.
        weights_architecture: network that the weights are of, where their file does not say so.
        freeze: train nothing but the classifier; for very few images.
        teacher: network for knowledge distillation; None: none.
        teacher_weights: its weights.
        temperature: that the teacher's logits are divided by; None: 2.
        resolution: pixels that the network is trained and used at; None: its own.
        stem_stride: of the network; None: its own, or 1 where its last feature map would be 1 × 1.
        epochs: how often each image is seen; None: 20, or as often as ``seconds`` allow.
        seconds: time to train for, instead of epochs.
        batch_size: images in a batch; None: 64.
        learning_rate: peak; None: it is scaled with the batch size.
        shards: parts of a batch that are computed at once; None: 2 on a CPU, 1 on other devices.
        seed: of the initial weights and of all that is random in the training.
        device: that torch trains on.
        test: score the network on the test images too, after the training.
        tensorboard: write event files during the training.
        image_options: how images are prepared and augmented.
        began: ``time.monotonic()`` when ``seconds`` began.

    Raises:
        InputError: a value is not accepted, or two of them exclude each other.
    """

    architecture: Architecture
    data: str | None = None
    out: Path | None = None
    weights: Pretrained | Path | str | None = None
    weights_architecture: Architecture | None = None
    freeze: bool = False
    teacher: Architecture | None = None
    teacher_weights: Path | None = None
    temperature: float | None = None
    resolution: int | None = None
    stem_stride: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    shards: int | None = None
    seed: int = 0
    device: str = "cpu"
    test: bool = False
    tensorboard: bool = False
    image_options: ImageOptions = DEFAULT_OPTIONS
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Refuse what is not accepted."""
        if (self.teacher is None) != (self.teacher_weights is None):
            raise InputError("--teacher and --teacher-weights need each other")
        if self.weights_architecture is not None and self.weights is None:
            raise InputError("--weights-arch needs --weights")
        if self.freeze and self.weights is None:
            raise InputError("--freeze needs --weights")
        if self.temperature is not None and self.teacher is None:
            raise InputError("--temperature needs --teacher")
        if self.epochs is not None and self.seconds is not None:
            raise InputError("--epochs and --time: accepted: only one of them")
        check_range("epochs", self.epochs, 1)
        check_range("resolution", self.resolution, 8, 4_096)
        check_range("stem-stride", self.stem_stride, 1, 2)
        check_range("batch-size", self.batch_size, 2, 65_536)
        check_range("shards", self.shards, 1, 64)
        check_range("temperature", self.temperature, 0.1, 100)
        check_range("learning-rate", self.learning_rate, 1e-8, 10)
        check_device(self.device)
        if self.tensorboard:
            from nas.report.tensorboard import check_installed

            check_installed()

    @property
    def folder(self) -> Path:
        """Where the training is kept."""
        data = Path(self.data or BUILT_IN)
        return self.out or Path("results") / slug(f"{self.architecture.name}-{data.name}")
