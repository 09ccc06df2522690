"""Compound scaling as published: coefficients, the formula, its rounding, and the table of B0 … B7.

Tan & Le 2019 (arXiv 1905.11946): depth alpha**phi, width beta**phi, resolution gamma**phi under
alpha * beta**2 * gamma**2 ≈ 2, so that FLOPs about double with every step of phi. With the official
rounding they grow by anything from 1.9 to 3.3; :mod:`nas.networks.scaled_family` really doubles
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from pydantic import ValidationError

from nas.errors import InputError
from nas.files import describe
from nas.networks.architecture import Architecture, Norm, efficientnet_b0

DROPOUTS = (0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5)
"""Of B0 … B7, as published (Tan & Le 2019, section 5.2, and the official code)."""

OFFICIAL: tuple[tuple[float, float, int], ...] = (
    # width, depth, resolution of B0 … B7: the official code's table, not the formula
    (1.0, 1.0, 224),
    (1.0, 1.1, 240),
    (1.1, 1.2, 260),
    (1.2, 1.4, 300),
    (1.4, 1.8, 380),
    (1.6, 2.2, 456),
    (1.8, 2.6, 528),
    (2.0, 3.1, 600),
)

_LARGE_NORM = Norm(eps=1e-3, momentum=0.01)
"""Batch norm's constants of B5 … B7 in torchvision; B0 … B4 have PyTorch's own."""


@dataclass(frozen=True)
class Coefficients:
    """How depth, width and resolution grow with each step of phi; each at least 1."""

    alpha: float
    beta: float
    gamma: float

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 1 <= value <= 4):
                raise InputError(f"{name}: {value} is not accepted: a number from 1 to 4")

    @property
    def product(self) -> float:
        """alpha * beta**2 * gamma**2: the nominal factor of FLOPs a step."""
        return self.alpha * self.beta**2 * self.gamma**2

    def __str__(self) -> str:
        """Return ``(1.2, 1.1, 1.15)``."""
        return f"({self.alpha:.4g}, {self.beta:.4g}, {self.gamma:.4g})"


PAPER = Coefficients(1.2, 1.1, 1.15)
"""What Tan & Le found for B0 (section 3.3); the product is 1.920."""


def round_filters(width: int, multiplier: float, divisor: int = 8) -> int:
    """Return a scaled width, a multiple of ``divisor``, never 10 % below the exact product.

    The official code's ``round_filters``; but a multiplier of 1 leaves any width as it is, and one
    above 1 never makes it smaller (17 by 1.01 would be 16).
    """
    if multiplier == 1:
        return width
    exact = width * multiplier
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * exact:
        rounded += divisor
    return max(width, rounded) if multiplier > 1 else rounded


def round_repeats(layers: int, multiplier: float) -> int:
    """Return a scaled number of layers, rounded up: the official code's ``round_repeats``."""
    # 1.1**2 * 100 must not become 122 because its last bit is too large.
    return math.ceil(round(layers * multiplier, 9))


def round_resolution(resolution: int, multiplier: float) -> int:
    """Return a scaled resolution, the nearest even number; a multiplier of 1 changes nothing."""
    return resolution if multiplier == 1 else max(2, 2 * int(resolution * multiplier / 2 + 0.5))


def scale(
    architecture: Architecture,
    *,
    depth: float = 1.0,
    width: float = 1.0,
    resolution: int | None = None,
    dropout: float | None = None,
    name: str | None = None,
) -> Architecture:
    """Return an architecture made deeper, wider and of another resolution.

    Args:
        architecture: what to scale.
        depth: multiplies the layers of every stage, rounded up (a skip stays one layer).
        width: multiplies all widths, stem and head included, rounded to multiples of 8.
        resolution: in pixels; None: as it is.
        dropout: of the head; None: as it is.
        name: of the result; None: says what was done.

    Raises:
        InputError: a factor is not positive, or makes what no architecture may be: 257 layers.
    """
    pixels = architecture.resolution if resolution is None else resolution
    for key, value in (("depth", depth), ("width", width), ("resolution", pixels)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{key}: {value} is not accepted: a positive number")
    try:
        return replace(
            architecture,
            name=name or f"{architecture.name[:150]}-d{depth:g}-w{width:g}-r{pixels}",
            resolution=pixels,
            stem=replace(architecture.stem, width=round_filters(architecture.stem.width, width)),
            stages=tuple(
                replace(
                    stage,
                    width=round_filters(stage.width, width),
                    layers=round_repeats(stage.layers, 1 if stage.op == "skip" else depth),
                )
                for stage in architecture.stages
            ),
            head=replace(
                architecture.head,
                width=round_filters(architecture.head.width, width),
                dropout=architecture.head.dropout if dropout is None else dropout,
            ),
        )
    except ValidationError as error:
        raise InputError(f"{architecture.name} scaled: {describe(error)}") from None


def compound(
    baseline: Architecture, coefficients: Coefficients, phi: float, name: str | None = None
) -> Architecture:
    """Return the baseline scaled by alpha**phi, beta**phi, gamma**phi, with the official rounding.

    The head's dropout rises with phi as published for B0 … B7, never below the baseline's.
    """
    published = DROPOUTS[min(len(DROPOUTS) - 1, max(0, math.floor(phi)))]
    dropout = baseline.head.dropout if phi == 0 else max(baseline.head.dropout, published)
    return scale(
        baseline,
        depth=coefficients.alpha**phi,
        width=coefficients.beta**phi,
        resolution=round_resolution(baseline.resolution, coefficients.gamma**phi),
        dropout=dropout,
        name=name or f"{baseline.name[:150]}-phi{phi:g}",
    )


def grows(baseline: Architecture, coefficients: Coefficients) -> bool:
    """Say whether FLOPs and parameters strictly grow from each member of the family to the next.

    Rounding never shrinks a dimension, so both grow exactly where depth or width does.
    """
    try:
        return _grows([compound(baseline, coefficients, phi) for phi in range(8)])
    except InputError:  # a member would be larger than any architecture may be
        return False


def _grows(members: list[Architecture]) -> bool:
    sizes = [
        (a.stem.width, a.head.width, *((stage.layers, stage.width) for stage in a.stages))
        for a in members
    ]
    return all(before != after for before, after in pairwise(sizes))


def official(index: int, baseline: Architecture | None = None) -> Architecture:
    """Return B0 … B7 by the official table of widths, depths and resolutions.

    Args:
        index: 0 … 7.
        baseline: what to scale; None: EfficientNet-B0.

    Raises:
        InputError: no such member.
    """
    if not 0 <= index < len(OFFICIAL):
        raise InputError(f"index: {index} is not accepted: 0 to {len(OFFICIAL) - 1}")
    width, depth, resolution = OFFICIAL[index]
    base = baseline or efficientnet_b0()
    pixels = round_resolution(base.resolution, resolution / 224) if baseline else resolution
    scaled = scale(
        base,
        depth=depth,
        width=width,
        resolution=pixels,
        dropout=DROPOUTS[index],
        name=f"efficientnet-b{index}" if baseline is None else f"{base.name[:150]}-b{index}",
    )
    return replace(scaled, norm=_LARGE_NORM) if index >= 5 and baseline is None else scaled


_LITE: tuple[tuple[float, float, int, float], ...] = (
    # width, depth, resolution, dropout of EfficientNet-Lite0 … Lite4: the official code's table
    (1.0, 1.0, 224, 0.2),
    (1.0, 1.1, 240, 0.2),
    (1.1, 1.2, 260, 0.3),
    (1.2, 1.4, 280, 0.3),
    (1.4, 1.8, 300, 0.3),
)

LITE = len(_LITE)
"""Number of the published EfficientNet-Lite networks."""


def efficientnet_lite(index: int) -> Architecture:
    """Return EfficientNet-Lite0 … Lite4 (Tan et al. 2020, the official code's ``lite`` folder).

    They have B0's stages without squeeze-excite, ReLU6 and TensorFlow's padding. Stem and head have
    the same widths in all of them, and the first and the last stage always one layer.

    Args:
        index: 0 … 4.

    Raises:
        InputError: no such member.
    """
    if not 0 <= index < LITE:
        raise InputError(f"index: {index} is not accepted: 0 to {LITE - 1}")
    width, depth, resolution, dropout = _LITE[index]
    base = efficientnet_b0()
    stages = []
    for stage in base.stages:
        ends = stage in (base.stages[0], base.stages[-1])
        stages.append(
            replace(
                stage,
                width=round_filters(stage.width, width),
                layers=1 if ends else round_repeats(stage.layers, depth),
                se_ratio=0.0,
            )
        )
    return replace(
        base,
        name=f"efficientnet-lite{index}",
        resolution=resolution,
        activation="relu6",
        norm=_LARGE_NORM,
        padding="same",
        stages=tuple(stages),
        head=replace(base.head, dropout=dropout),
    )


@cache
def published() -> dict[str, Architecture]:
    """Return the networks that others published and that are known by name."""
    networks = [
        *(official(index) for index in range(len(OFFICIAL))),
        *(efficientnet_lite(index) for index in range(LITE)),
    ]
    return {network.name: network for network in networks}
