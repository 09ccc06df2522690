"""``coefficients.json`` of a run: the direction chosen, and how far the evidence decides it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas.accuracy import Accuracy

CoefficientsBy = Literal["prior", "training"]
"""Evidence by which coefficients are chosen: published trainings, or these and own ones."""

_Share = Annotated[float, Field(ge=0, le=1)]
_Coefficient = Annotated[float, Field(ge=1, le=4)]


class _CoefficientsPart(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Shares(_CoefficientsPart):
    """Shares of the growth in log FLOPs; their sum is 1."""

    depth: _Share
    width: _Share
    resolution: _Share


class ShareIntervals(_CoefficientsPart):
    """90 % intervals of the best direction's shares, each from low to high."""

    depth: tuple[_Share, _Share]
    width: tuple[_Share, _Share]
    resolution: tuple[_Share, _Share]


class PredictedMember(_CoefficientsPart):
    """What is predicted of a member of the family.

    Attributes:
        doublings: of the baseline's FLOPs.
        mean: change of ln(top-1 error) against the baseline.
        standard_error: of ``mean``.
    """

    doublings: int
    mean: float
    standard_error: float


class ComparedShares(_CoefficientsPart):
    """A direction that the one chosen is compared with, over the members that decide.

    Attributes:
        name: of the direction.
        shares: of it.
        probability: that the direction chosen has the lower error.
        difference: mean of ln(error) along it minus that along the one chosen.
        interval: 90 % interval of ``difference``.
    """

    name: str
    shares: Shares
    probability: _Share
    difference: float
    interval: tuple[float, float]


class PosteriorLattice(_CoefficientsPart):
    """How probable it is that the best direction is near each of these; masses add up to 1."""

    shares: tuple[tuple[_Share, _Share, _Share], ...]
    mass: tuple[_Share, ...]


class GrownRun(_CoefficientsPart):
    """A training of a grown network.

    Attributes:
        images_seen: in the training.
        round: trainings of a round have one seed.
        accuracy: on the validation images; None: the training failed.
    """

    images_seen: int = Field(ge=1)
    round: int = Field(ge=0)
    accuracy: Accuracy | None


class GrownPoint(_CoefficientsPart):
    """A network that grew from the small one.

    Attributes:
        shares: of the direction in which it grew.
        growth: in log FLOPs of depth, width and resolution, as realised.
        flops: of the network that was trained.
        runs: its trainings.
    """

    shares: Shares
    growth: tuple[float, float, float]
    flops: int
    runs: tuple[GrownRun, ...]


class GrowthMeasurement(_CoefficientsPart):
    """Trainings of small networks that have grown, and what they changed.

    Attributes:
        data: the images.
        flops: of the small network; ``pixels``: a side of its images.
        with_resolution: whether resolution grew; otherwise what is known of it is the prior's.
        points: the networks.
        noise: standard deviation of ln(error) from training to training, as estimated.
        prior: shares of the direction that would have been chosen without the trainings.
        moved: by how much the shares changed: half the sum of the changes, 0 to 1.
    """

    data: str
    flops: int
    pixels: int
    with_resolution: bool
    points: tuple[GrownPoint, ...]
    noise: float
    prior: Shares
    moved: float


class ScalingEvidence(_CoefficientsPart):
    """What the direction was chosen by.

    Attributes:
        kind: of evidence, in words.
        limits: where it ends, in words.
        predictor: SHA-256 of the arrays of the scaling predictor.
        trainings: that the predictor was fitted to; ``groups``: of them, each trained alike.
    """

    kind: str
    limits: str
    predictor: str
    trainings: int
    groups: int


class CoefficientsFile(_CoefficientsPart):
    """The content of ``coefficients.json``.

    Attributes:
        alpha, beta, gamma: the coefficients of depth, width and resolution; alpha * beta**2 *
            gamma**2 is 2.
        shares: the direction chosen: the posterior mean of the best one.
        intervals: of the best direction's shares.
        may_be_zero: the dimensions whose interval reaches 0.
        deciding: doublings of the members that decide, whose mean ln(error) is compared.
        regret: how much higher ln(error) is expected to be along the direction chosen than along
            the best one, which is not known; ``paper_regret``: along the paper's.
        members: what is predicted of b1 ….
        compared: the paper's direction, and each dimension alone.
        posterior: of the best direction.
        draws: surfaces drawn from the posterior; ``seed``: with which.
        evidence: what all that follows from.
        training: trainings on the user's images that count with the evidence; None: there are none.
    """

    alpha: _Coefficient
    beta: _Coefficient
    gamma: _Coefficient
    shares: Shares
    intervals: ShareIntervals
    may_be_zero: tuple[str, ...]
    deciding: tuple[int, ...]
    regret: float
    paper_regret: float
    members: tuple[PredictedMember, ...]
    compared: tuple[ComparedShares, ...]
    posterior: PosteriorLattice
    draws: int
    seed: int
    evidence: ScalingEvidence
    training: GrowthMeasurement | None = None
