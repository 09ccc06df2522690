"""The best of a search, trained from scratch at a higher fidelity before the baseline is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.evaluation.objective import Objective, ranked
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture
from nas.strategies.comparison import SeededComparison, compare_networks


@dataclass(frozen=True)
class FinalistsResult:
    """What came of the finalists.

    Attributes:
        comparison: the finalists in the order of the search, then the reference, if it is another.
        trials: the finalists.
        chosen: which of them is the baseline; None where nothing was measured.
        reference: where it stands among the entries of the comparison.
    """

    comparison: SeededComparison
    trials: tuple[Trial, ...]
    chosen: int | None
    reference: int

    @property
    def baseline(self) -> Trial | None:
        """The finalist that was chosen, with the accuracy that it has here."""
        return None if self.chosen is None else self.trials[self.chosen]

    @property
    def tied(self) -> tuple[int, ...]:
        """Finalists that cannot be told from the chosen one by accuracy (95 %)."""
        if self.chosen is None:
            return ()
        others = [i for i in range(len(self.trials)) if i != self.chosen]
        apart = {i: self.comparison.difference(i, self.chosen) for i in others}
        return tuple(i for i, difference in apart.items() if difference and not difference.real)

    def to_dict(self) -> dict[str, Any]:
        """Return ``finalists.json``; differences are to the reference."""
        data = self.comparison.to_dict(against=self.reference)
        entries = data.pop("entries")
        for index, trial in enumerate(self.trials):
            entries[index]["trial"] = trial.number
        names = [entry["name"] for entry in entries]
        return {
            "entries": entries,
            "reference": data.pop("against"),
            "chosen": None if self.chosen is None else names[self.chosen],
            "tied": [names[index] for index in self.tied],
            **data,
        }


def finalists(trials: Sequence[Trial], count: int) -> tuple[Trial, ...]:
    """Return the best of a search, as many as there are to be or are."""
    return tuple(ranked(trials)[:count])


def with_reference(
    architectures: Iterable[Architecture], reference: Architecture
) -> list[Architecture]:
    """Return networks and the reference; a reference that is one of them is not trained twice."""
    networks = list(architectures)
    if reference.key() not in {network.key() for network in networks}:
        networks.append(reference)
    return networks


def compare_finalists(
    chosen: Sequence[Trial],
    networks: Sequence[Architecture],
    reference: Architecture,
    rounds: SeededRuns,
    objective: Objective,
    seeds: int,
) -> FinalistsResult:
    """Train the finalists and the reference alike, and choose.

    The best is the one with the highest objective among those that did not fail; the reference
    is measured, and never chosen unless it is a finalist itself.

    Args:
        chosen: the finalists.
        networks: see :func:`with_reference`.
        reference: what the differences are to.
        rounds: where ``networks`` are measured.
        objective: of the search.
        seeds: trainings of each.
    """
    result = compare_networks(networks, rounds, seeds)
    keys = [network.key() for network in networks]
    best = result.best(
        range(len(chosen)), lambda index, score: objective.reward(score, chosen[index].cost)
    )
    return FinalistsResult(result, tuple(chosen), best, keys.index(reference.key()))
