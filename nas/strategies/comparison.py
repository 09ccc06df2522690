"""Networks trained with the same settings and seeds, and how significantly they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from nas.evaluation.objective import rank_key
from nas.evaluation.seeded_runs import MeasuredNetwork, SeededRuns
from nas.statistics import Comparison, PairedDifference, compare


@dataclass(frozen=True)
class SeededComparison:
    """The result of comparing several networks.

    Attributes:
        networks: with their evaluations, in the order in which they were given.
        scores: their comparison by what they are ranked by.
        accuracies: their comparison by accuracy.
    """

    networks: tuple[MeasuredNetwork, ...]
    scores: Comparison
    accuracies: Comparison

    @classmethod
    def of(cls, networks: Sequence[MeasuredNetwork]) -> Self:
        """Return the comparison of networks, given all their evaluations."""
        accuracies = [
            {turn: accuracy.mean for turn, accuracy in network.accuracies.items()}
            for network in networks
        ]
        return cls(
            tuple(networks),
            compare([network.scores() for network in networks]),
            compare(accuracies),
        )

    def best(
        self, among: Sequence[int], worth: Callable[[int, float], float] = lambda i, score: score
    ) -> int | None:
        """Return the index of the best of some networks; None where none of them has a score.

        They are ranked by :func:`nas.evaluation.objective.rank_key`, but networks with a failed
        evaluation come after all others. The scores are corrected for seeds that a network lacks,
        where the time ended in the middle of a round.

        Args:
            among: indices of networks.
            worth: what is maximised, given a network's index and score.
        """
        keys = {}
        for index in among:
            network, score = self.networks[index], self.scores.means[index]
            if score is not None:
                rank = rank_key(worth(index, score), network.cost, index)
                keys[index] = (bool(network.reason), *rank)
        return min(keys, key=lambda index: keys[index], default=None)

    def difference(self, one: int, other: int) -> PairedDifference | None:
        """Return the difference of two accuracies; None where one was not measured."""
        if None in (self.accuracies.means[one], self.accuracies.means[other]):
            return None
        return self.accuracies.difference(one, other)

    def to_dict(self, against: int) -> dict[str, Any]:
        """Return everything as JSON values, with differences to the network of that index."""
        return {
            "entries": [self._entry(index, against) for index in range(len(self.networks))],
            "against": self.networks[against].name,
            "seed_to_seed_deviation": self.accuracies.deviation,
        }

    def _entry(self, index: int, against: int) -> dict[str, Any]:
        network = self.networks[index]
        difference = None if index == against else self.difference(index, against)
        return {
            "name": network.name,
            "cost": network.cost.to_dict(),
            "score": self.scores.means[index],
            "accuracy": None if network.accuracy is None else network.accuracy.to_dict(),
            "reason": network.reason,
            "runs": [run.to_dict() for run in network.runs],
            "difference": None
            if difference is None
            else {
                "mean": difference.mean,
                "ci95": None
                if difference.half_width is None
                else [
                    difference.mean - difference.half_width,
                    difference.mean + difference.half_width,
                ],
                "real": difference.real,
            },
        }


def compare_networks(runs: SeededRuns, seeds: int) -> SeededComparison:
    """Evaluate all networks with several seeds, or with as many as the time allows.

    Args:
        runs: where the networks are evaluated and kept.
        seeds: how many. All networks are evaluated with a seed before the next seed begins.

    Raises:
        EvaluationFailed: too many evaluations in a row failed.
    """
    for turn in range(seeds):
        if not runs.run(turn, range(len(runs.networks))):
            break
    return SeededComparison.of(runs.all_measured())
