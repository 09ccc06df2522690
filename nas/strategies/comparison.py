"""Networks trained alike, with the same seeds, and which differences are real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.accuracy import Accuracy, pooled
from nas.evaluation.objective import rank_key
from nas.evaluation.seeded_runs import SeededRuns
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.statistics import Comparison, Difference, compare


@dataclass(frozen=True)
class ComparedNetwork:
    """A network with what was measured of it.

    Attributes:
        architecture: the network.
        accuracy: over all its seeds; None where nothing was measured.
        score: what it is ranked by, as if all networks had had the same seeds; None likewise.
        reason: why an evaluation failed; empty where none did.
    """

    architecture: Architecture
    accuracy: Accuracy | None
    score: float | None
    reason: str


@dataclass(frozen=True)
class SeededComparison:
    """What the comparison found.

    Attributes:
        entries: in the order in which they were given.
        scores: how they compare by what they are ranked by.
        accuracies: how they compare by accuracy.
    """

    entries: tuple[ComparedNetwork, ...]
    scores: Comparison
    accuracies: Comparison

    def best(
        self, among: Sequence[int], worth: Callable[[int, float], float] = lambda i, score: score
    ) -> int | None:
        """Return which of some entries is the best; None where none has a score.

        Ranked by :func:`nas.evaluation.objective.rank_key`, but that a network of which an
        evaluation failed comes after all of which none did. Where the time ended in the middle of a
        round some have fewer seeds than others, which their scores allow for.

        Args:
            among: where they stand among the entries.
            worth: what an entry's score is worth, by its place and the score.
        """

        keys = {}
        for index in among:
            entry = self.entries[index]
            if entry.score is not None:
                cost = measure_cost(entry.architecture)
                rank = rank_key(worth(index, entry.score), cost, index)
                keys[index] = (bool(entry.reason), *rank)
        return min(keys, key=lambda index: keys[index], default=None)

    def difference(self, one: int, other: int) -> Difference | None:
        """Return by how much one entry is more accurate than another; None: not both measured."""
        if None in (self.accuracies.means[one], self.accuracies.means[other]):
            return None
        return self.accuracies.difference(one, other)

    def to_dict(self, against: int) -> dict[str, Any]:
        """Return all as plain data, differences being to one of the entries."""
        return {
            "entries": [self._entry(index, against) for index in range(len(self.entries))],
            "against": self.entries[against].architecture.name,
            "seed_to_seed_deviation": self.accuracies.deviation,
        }

    def _entry(self, index: int, against: int) -> dict[str, Any]:
        entry = self.entries[index]
        difference = None if index == against else self.difference(index, against)
        return {
            "name": entry.architecture.name,
            "flops": measure_cost(entry.architecture).flops,
            "score": entry.score,
            "accuracy": None if entry.accuracy is None else entry.accuracy.to_dict(),
            "reason": entry.reason,
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


def compare_networks(
    networks: Sequence[Architecture], rounds: SeededRuns, seeds: int
) -> SeededComparison:
    """Measure all networks with so many seeds, or with as many as the time allows.

    Args:
        networks: those of ``rounds``.
        rounds: where they are measured and kept.
        seeds: how many; each trains all networks before the next begins.
    """
    everyone = range(len(networks))
    for turn in range(seeds):
        if not rounds.run(turn, everyone):
            break
    scores = compare([rounds.scores(index) for index in everyone])
    entries = []
    for index, architecture in enumerate(networks):
        found = rounds.accuracies(index)
        entries.append(
            ComparedNetwork(
                architecture,
                pooled(list(found.values())) if found else None,
                scores.means[index],
                rounds.reason(index),
            )
        )
    accuracies = [
        {turn: accuracy.mean for turn, accuracy in rounds.accuracies(index).items()}
        for index in everyone
    ]
    return SeededComparison(tuple(entries), scores, compare(accuracies))
