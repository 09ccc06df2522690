"""The objective that a search maximises, the ranking of trials by it, and the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from nas.accuracy import Accuracy, RankBy
from nas.errors import InputError
from nas.evaluation.study_row import StudyRow
from nas.evaluation.trial import Trial, row_cost
from nas.networks.cost import Cost
from nas.spaces.budget import Budget

Kind = Literal["accuracy", "reward"]

REWARD_EXPONENT = -0.07
"""w of the reward: MnasNet (Tan et al. 2019, arXiv 1807.11626), also used for EfficientNet-B0."""


@dataclass(frozen=True)
class Objective:
    """Accuracy, or a reward of accuracy and FLOPs: ``accuracy * (flops / target)**exponent``.

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


def rank_key(score: float, cost: Cost, number: int) -> tuple[float, int, int, int]:
    """Return the sort key by which networks are ranked; the best network has the smallest key.

    A higher score wins. Ties go to fewer FLOPs, then to fewer parameters, then to the earlier
    trial. Whatever chooses the best of several networks uses this key. Scores that agree to 12
    decimals are a tie: the fitted means of a comparison have rounding errors.

    Args:
        score: what the objective makes of the network, higher is better.
        cost: of the network.
        number: of the trial, or another place in the order in which the networks came.
    """
    return (-round(score, 12), cost.flops, cost.params, number)


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return the finished trials, the best first (see :func:`rank_key`)."""
    keyed = [(rank_key(t.score, t.cost, t.number), t) for t in trials if t.score is not None]
    return [trial for _, trial in sorted(keyed, key=itemgetter(0))]


def ranked_rows(rows: Iterable[StudyRow]) -> list[StudyRow]:
    """Return the finished rows of a search's study, the best first (see :func:`rank_key`).

    Raises:
        InputError: a row has no cost.
    """
    keyed = [
        (rank_key(row.value, row_cost(row), row.number), row)
        for row in rows
        if row.value is not None
    ]
    return [row for _, row in sorted(keyed, key=itemgetter(0))]


def pareto_front(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """Return the finished trials that no other beats in both accuracy and FLOPs, by FLOPs.

    Of those that are equal in both, the one with fewer parameters, then the earlier.
    """
    measured = [(trial.accuracy, trial) for trial in trials if trial.accuracy is not None]
    front = non_dominated(
        [objective.quality(accuracy) for accuracy, _ in measured],
        [trial.cost for _, trial in measured],
        [trial.number for _, trial in measured],
    )
    return [measured[index][1] for index in front]


def non_dominated(
    qualities: Sequence[float], costs: Sequence[Cost], numbers: Sequence[int]
) -> list[int]:
    """Return the indices of the Pareto front of some networks, by FLOPs.

    Args:
        qualities: what stands for accuracy, of each network.
        costs: of each network.
        numbers: the trial's, of each network.
    """
    order = sorted(
        range(len(costs)),
        key=lambda i: (costs[i].flops, -qualities[i], costs[i].params, numbers[i]),
    )
    front: list[int] = []
    for index in order:
        if not front or qualities[index] > qualities[front[-1]]:
            front.append(index)
    return front
