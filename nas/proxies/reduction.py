"""How much smaller networks are trained in a search than they are, as far as a user says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from nas.errors import check_range
from nas.proxies.short_training import TrainingSettings
from nas.training.supernet_trainer import SupernetSettings

S = TypeVar("S", TrainingSettings, SupernetSettings)


@dataclass(frozen=True)
class Reduction:
    """What is asked for of the trainings of a search.

    Attributes:
        inherits: networks begin with trained weights, which need their whole width.
        width: multiplies the widths of the networks; None: by default.
        resolution: pixels at which a network of the space's own resolution is trained; None: by
            default.
        images: that a network which is trained alone is shown, repeats included; None: by the size
            of the data, or by the time.

    Raises:
        InputError: a value is not accepted.
    """

    inherits: bool = False
    width: float | None = None
    resolution: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is not accepted."""
        check_range("train-width", self.width, 0.05, 1)
        check_range("train-resolution", self.resolution, 8, 2_048)
        check_range("train-images", self.images, 256, 10**9)

    def of(self, settings: S) -> S:
        """Return settings with the width and the resolution that are asked for."""
        if self.width is not None:
            settings = replace(settings, width=self.width)
        if self.resolution is not None:
            settings = replace(settings, resolution=self.resolution)
        return settings


BY_DEFAULT = Reduction()
