"""``coefficients.json`` of a run: the points that were evaluated, and the one that was chosen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nas.accuracy import Accuracy
from nas.evaluation.seeded_runs import SeededRun
from nas.networks.compound_scaling import Coefficients
from nas.records.comparison_document import ComparisonPart

_Coefficient = Annotated[float, Field(ge=1, le=4)]
_Count = Annotated[int, Field(ge=0)]


class ScaledPoint(ComparisonPart):
    """Coefficients, what they cost, and what was measured of the network that they make.

    Attributes:
        alpha, beta, gamma: of depth, width and resolution.
        product: α·β²·γ².
        realised_flops: of the scaled network.
        ratio: of its FLOPs to the baseline's.
        proxy_flops, proxy_ratio: likewise, of the network as it is trained.
        only_enlarges: whether no dimension becomes smaller.
        eligible: whether the point may be chosen.
        accuracy: over all seeds; None: nothing was measured.
        runs: its evaluations, one a seed.
    """

    alpha: _Coefficient
    beta: _Coefficient
    gamma: _Coefficient
    product: float
    realised_flops: _Count
    ratio: float
    proxy_flops: _Count
    proxy_ratio: float
    only_enlarges: bool
    eligible: bool
    accuracy: Accuracy | None
    runs: tuple[SeededRun, ...]

    @property
    def coefficients(self) -> Coefficients:
        """The three coefficients."""
        return Coefficients(self.alpha, self.beta, self.gamma)


class ReferencePoint(ScaledPoint):
    """The coefficients of EfficientNet on this baseline; ``name`` says whose they are."""

    name: str


class CoefficientsFile(ComparisonPart):
    """The content of ``coefficients.json``.

    Attributes:
        points: all points that were evaluated, the best first.
        chosen: the one that the family is scaled by.
        best: the one with the highest score.
        tied: those that are not significantly different from the best (95 %).
        reference: the paper's coefficients.
        seed_to_seed_deviation: standard deviation of one score from seed to seed, what a seed does
            to all points alike taken out; None: not known.
    """

    points: Annotated[tuple[ScaledPoint, ...], Field(min_length=1)]
    chosen: ScaledPoint
    best: ScaledPoint
    tied: tuple[ScaledPoint, ...]
    reference: ReferencePoint
    seed_to_seed_deviation: float | None
