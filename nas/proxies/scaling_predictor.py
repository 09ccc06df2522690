"""The scaling predictor: how ln(top-1 error) changes when a network is scaled; its two files."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from nas.errors import InputError, check_range
from nas.files import parse_json, read_bytes, read_text, to_json, validate, write_bytes, write_text
from nas.proxies.scaling_fit import ScalingFit, ScalingHyperparameters
from nas.proxies.scaling_model import (
    PARAMETERS,
    REFERENCE_FLOPS,
    REFERENCE_RESOLUTION,
    ScalingSurface,
    base_offset,
    growth_of,
)
from nas.proxies.scaling_table import ScalingTrainings
from nas.proxies.scaling_validation import ScalingScores

MAX_ARRAY_BYTES = 16 * 1024 * 1024
NAME = "scaling"


class ScalingSource(BaseModel):
    """Where accuracies were published, the licence stated there, and the groups that are theirs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str
    licence: str
    groups: tuple[str, ...]


class ScalingMetadata(BaseModel):
    """Where a scaling predictor comes from, and how accurate it is; kept beside its arrays.

    Attributes:
        metric: what it predicts, in words.
        made_by: the version that fitted it.
        table_sha256: of the table; ``rows``: that it has; ``trainings``: that were fitted.
        method: how it was fitted, in words; ``hyperparameters``: of the fit.
        groups: names of the groups; ``families``: of their bases.
        sources: of the accuracies.
        scores: on groups left out one by one; ``base_scores``: with all groups of one base left
            out; ``plain_scores``: of a ridge regression, groups left out one by one.
        arrays_sha256: of the file with the arrays.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_: Annotated[Literal["nas-search-scaling/1"], Field(alias="schema")]
    metric: str
    made_by: str
    table_sha256: str
    rows: int
    trainings: int
    method: str
    hyperparameters: ScalingHyperparameters
    groups: tuple[str, ...]
    families: tuple[str, ...]
    sources: tuple[ScalingSource, ...]
    scores: ScalingScores
    base_scores: ScalingScores
    plain_scores: ScalingScores
    arrays_sha256: str


_METADATA: TypeAdapter[ScalingMetadata] = TypeAdapter(ScalingMetadata)
_FIT_ARRAYS = ("mean", "covariance", "between")
_TRAINING_ARRAYS = tuple(
    one.name for one in fields(ScalingTrainings) if one.name not in ("groups", "families")
)


@dataclass(frozen=True, eq=False)
class ScalingPredictor:
    """A fitted surface with the trainings that it was fitted to, and where they come from."""

    metadata: ScalingMetadata
    fit: ScalingFit
    trainings: ScalingTrainings

    def surface(
        self, base_resolution: float = 224, base_flops: float | None = None
    ) -> ScalingSurface:
        """Return the surface of a base; see :func:`surface_of`.

        A quadratic says nothing far from what it was fitted to: outside the range of the published
        bases it is the surface of the nearest base within it.
        """
        return surface_of(self.fit, *self.within(base_resolution, base_flops))

    def within(
        self, base_resolution: float, base_flops: float | None = None
    ) -> tuple[float, float]:
        """Return resolution and FLOPs of the nearest base in the range of the published ones.

        The range is that of resolutions, and of FLOPs at equal resolution.
        """
        flops = float(REFERENCE_FLOPS) if base_flops is None else base_flops
        check_range("base_resolution", base_resolution, 8, 4096)
        check_range("base_flops", flops, 1e4, 1e13)
        pixels = 2 * math.log(base_resolution / REFERENCE_RESOLUTION)
        size = math.log(flops / REFERENCE_FLOPS) - pixels
        known = self.trainings
        near = min(max(pixels, float(known.base_pixels.min())), float(known.base_pixels.max()))
        alike = min(max(size, float(known.base_size.min())), float(known.base_size.max()))
        if (near, alike) == (pixels, size):
            return base_resolution, flops
        return (
            REFERENCE_RESOLUTION * math.exp(near / 2),
            REFERENCE_FLOPS * math.exp(alike + near),
        )


@dataclass(frozen=True)
class ScalingEstimate:
    """A predicted change of ln(top-1 error).

    Attributes:
        mean: negative: the error falls; -0.1 is an error that is 9.5 % smaller.
        standard_error: of a new base trained by a recipe of its own.
    """

    mean: float
    standard_error: float


def surface_of(
    fit: ScalingFit, base_resolution: float = 224, base_flops: float | None = None
) -> ScalingSurface:
    """Return the surface of a new base by a new recipe: the common one with a group's deviations.

    It is the surface around EfficientNet-B0, seen from where the base lies. Far from B0 errors
    grow, since slopes there depend on curvatures.

    Args:
        fit: to published trainings.
        base_resolution: pixels a side of the base.
        base_flops: of the base; None: EfficientNet-B0's.

    Raises:
        InputError: a value is out of range.
    """
    flops = float(REFERENCE_FLOPS) if base_flops is None else base_flops
    check_range("base_resolution", base_resolution, 8, 4096)
    check_range("base_flops", flops, 1e4, 1e13)
    offset = base_offset(base_resolution, flops, fit.hyperparameters.size_share)
    return ScalingSurface(fit.mean, fit.covariance + fit.between).recentred(offset)


def predict_scaling(
    depth: float = 1.2,
    width: float = 1.1,
    resolution: float = 258,
    base_resolution: float = 224,
    base_flops: float | None = None,
) -> ScalingEstimate:
    """Return how ln(ImageNet top-1 error) changes when a base is scaled.

    By published accuracies of scaled networks (``nas/_models/scaling.json`` names them). They are
    EfficientNets, MobileNets and their like, by other people's recipes. A base outside the range of
    theirs is judged by the nearest within it, which the standard error does not cover.

    Args:
        depth: multiplier of the layers; FLOPs grow alike.
        width: multiplier of the widths; FLOPs grow by its square.
        resolution: pixels a side in training.
        base_resolution: likewise of the base.
        base_flops: FLOPs of the base; None: EfficientNet-B0's, 385,814,752.

    Raises:
        InputError: a value is out of range.
    """
    check_range("depth", depth, 0.05, 100)
    check_range("width", width, 0.05, 100)
    check_range("resolution", resolution, 8, 4096)
    surface = shipped_scaling().surface(base_resolution, base_flops)
    growth = growth_of(
        np.array([float(depth)]), np.array([float(width)]), np.array([resolution / base_resolution])
    )
    mean, error = surface.predict(growth)
    return ScalingEstimate(float(mean[0]), float(error[0]))


@cache
def shipped_scaling() -> ScalingPredictor:
    """Return the scaling predictor that is part of this package."""
    return read_scaling(Path(str(files("nas"))) / "_models")


def write_scaling(predictor: ScalingPredictor, folder: Path) -> int:
    """Write ``scaling.safetensors`` and ``scaling.json``; return the size of both in bytes.

    Raises:
        InputError: a file cannot be written.
    """
    from safetensors.numpy import save

    plain: dict[str, Any] = {name: getattr(predictor.fit, name) for name in _FIT_ARRAYS}
    plain |= {name: getattr(predictor.trainings, name) for name in _TRAINING_ARRAYS}
    packed = save({name: np.ascontiguousarray(value) for name, value in plain.items()})
    described = predictor.metadata.model_copy(
        update={"arrays_sha256": hashlib.sha256(packed).hexdigest()}
    )
    text = to_json(described.model_dump(by_alias=True))
    write_bytes(folder / f"{NAME}.safetensors", packed)
    write_text(folder / f"{NAME}.json", text)
    return len(packed) + len(text.encode())


def read_scaling(folder: Path) -> ScalingPredictor:
    """Return a scaling predictor from its two files.

    Raises:
        InputError: they cannot be read, or do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path, packed = folder / f"{NAME}.json", folder / f"{NAME}.safetensors"
    metadata = validate(_METADATA, parse_json(read_text(path), str(path)), str(path))
    content = read_bytes(packed, MAX_ARRAY_BYTES)
    if hashlib.sha256(content).hexdigest() != metadata.arrays_sha256:
        raise InputError(f"{packed}: does not match the SHA-256 in {path.name}")
    try:
        plain = load(content)
        parts = {name: plain[name] for name in (*_FIT_ARRAYS, *_TRAINING_ARRAYS)}
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{packed}: not a scaling predictor's arrays: {error}") from None
    rows, groups = metadata.trainings, len(metadata.groups)
    shapes = {
        "mean": (PARAMETERS,),
        **dict.fromkeys(("covariance", "between"), (PARAMETERS, PARAMETERS)),
        **dict.fromkeys(("base_size", "base_pixels", "typical"), (groups,)),
        **dict.fromkeys(("group", "log_error", "log_flops", "digitised"), (rows,)),
        "growth": (rows, 3),
    }
    for name, shape in shapes.items():
        if parts[name].shape != shape:
            raise InputError(
                f"{packed}: {name}: shape {parts[name].shape} is not accepted: {shape}"
            )
    return ScalingPredictor(
        metadata,
        ScalingFit(metadata.hyperparameters, *(parts[name] for name in _FIT_ARRAYS)),
        ScalingTrainings(
            groups=metadata.groups,
            families=metadata.families,
            **{name: parts[name] for name in _TRAINING_ARRAYS},
        ),
    )
