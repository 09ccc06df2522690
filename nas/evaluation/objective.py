"""What a search maximises, which network is best, and the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nas.accuracy import Accuracy, RankBy
from nas.errors import InputError
from nas.evaluation.trial import Trial
from nas.networks.cost import Cost
from nas.spaces.budget import Budget

Kind = Literal["accuracy", "reward"]

REWARD_EXPONENT = -0.07
"""w of the reward: MnasNet (Tan et al. 2019, arXiv 1807.11626), also used for EfficientNet-B0."""


@dataclass(frozen=True)
class Objective:
    """Accuracy, or accuracy rewarded for cheapness: ``accuracy * (flops / target)**exponent``.

    Attributes:
        kind: ``accuracy`` or ``reward``.
        rank_by: what stands for accuracy: the accuracy itself or, from proxies whose loss ranks
            better than their accuracy, exp(-validation loss).
        target_flops: the FLOPs at which the reward equals the accuracy.
        exponent: of the reward; negative prefers cheaper networks.
    """

    kind: Kind = "accuracy"
    rank_by: RankBy = "accuracy"
    target_flops: int | None = None
    exponent: float = REWARD_EXPONENT

    @property
    def name(self) -> str:
        """What is maximised, in a word or two."""
        quality = "exp(−loss)" if self.rank_by == "loss" else "accuracy"
        return quality if self.kind == "accuracy" else f"reward of {quality}"

    def quality(self, accuracy: Accuracy) -> float:
        """Return what stands for accuracy, in [0, 1], higher is better.

        Raises:
            ValueError: ranked by loss, and this accuracy has none.
        """
        return accuracy.likelihood if self.rank_by == "loss" else accuracy.mean

    def score(self, accuracy: Accuracy, cost: Cost) -> float:
        """Return what the search maximises."""
        return self.reward(self.quality(accuracy), cost)

    def reward(self, quality: float, cost: Cost) -> float:
        """Return what the search maximises, given what stands for accuracy."""
        if self.kind == "accuracy":
            return quality
        if self.target_flops is None:
            raise InputError("objective 'reward' needs a FLOPs limit in the budget")
        return quality * float((cost.flops / self.target_flops) ** self.exponent)


def make_objective(kind: str, budget: Budget, rank_by: RankBy = "accuracy") -> Objective:
    """Return the objective of that name for a budget.

    Raises:
        InputError: unknown kind or ``rank_by``, or ``reward`` without a limit on FLOPs.
    """
    if kind not in ("accuracy", "reward"):
        raise InputError(f"objective {kind!r} is not accepted: accuracy, reward")
    if rank_by not in ("accuracy", "loss"):
        raise InputError(f"rank_by {rank_by!r} is not accepted: accuracy, loss")
    if kind == "reward" and budget.flops is None:
        raise InputError(
            f"objective 'reward' needs a FLOPs limit, and budget {budget.name!r} has none"
        )
    return Objective("reward" if kind == "reward" else "accuracy", rank_by, budget.flops)


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return the finished trials, best first.

    Ties go to fewer FLOPs, then fewer parameters, then the earlier trial.
    """
    finished = [trial for trial in trials if trial.state == "finished"]
    return sorted(finished, key=lambda t: (-_score(t), t.cost.flops, t.cost.params, t.number))


def pareto_front(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """Return the finished trials that no other beats in both accuracy and FLOPs, by FLOPs.

    Of those that are equal in both, the one with fewer parameters, then the earlier.
    """
    rows = sorted(
        (trial for trial in trials if trial.state == "finished"),
        key=lambda t: (t.cost.flops, -_quality(t, objective), t.cost.params, t.number),
    )
    front: list[Trial] = []
    for trial in rows:
        if not front or _quality(trial, objective) > _quality(front[-1], objective):
            front.append(trial)
    return front


def _score(trial: Trial) -> float:
    assert trial.score is not None
    return trial.score


def _quality(trial: Trial, objective: Objective) -> float:
    assert trial.accuracy is not None
    return objective.quality(trial.accuracy)
