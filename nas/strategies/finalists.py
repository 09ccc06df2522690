"""Finalists: the best trials of a search, trained from scratch longer, to choose the baseline."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.accuracy import at_chance
from nas.evaluation.objective import Objective, ranked
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture
from nas.strategies.comparison import SeededComparison, compare_networks


@dataclass(frozen=True)
class FinalistsResult:
    """The result of training the finalists.

    Attributes:
        comparison: the finalists in the order of the search, then the reference unless it is one of
            them.
        trials: numbers of the finalists' trials.
        chosen: index of the one that becomes the baseline; None where nothing was measured, or
            where none is better than chance.
        reference: index of the reference among the networks of the comparison.
    """

    comparison: SeededComparison
    trials: tuple[int, ...]
    chosen: int | None
    reference: int

    @property
    def measured(self) -> bool:
        """Whether any evaluation of a finalist finished."""
        finalists = self.comparison.networks[: len(self.trials)]
        return any(network.accuracy is not None for network in finalists)

    def baseline(self, trials: Sequence[Trial]) -> Trial | None:
        """Return the chosen finalist among a search's trials; None where none was chosen."""
        if self.chosen is None:
            return None
        return next(trial for trial in trials if trial.number == self.trials[self.chosen])

    @property
    def tied(self) -> tuple[int, ...]:
        """Indices of finalists that do not differ significantly from the chosen one (95 % CI)."""
        if self.chosen is None:
            return ()
        others = [i for i in range(len(self.trials)) if i != self.chosen]
        apart = {i: self.comparison.difference(i, self.chosen) for i in others}
        return tuple(i for i, difference in apart.items() if difference and not difference.real)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``finalists.json``; the differences are to the reference."""
        data = self.comparison.to_dict(against=self.reference)
        entries = data.pop("entries")
        for index, entry in enumerate(entries):
            entry["trial"] = self.trials[index] if index < len(self.trials) else None
        names = [entry["name"] for entry in entries]
        return {
            "entries": entries,
            "reference": data.pop("against"),
            "chosen": None if self.chosen is None else names[self.chosen],
            "tied": [names[index] for index in self.tied],
            **data,
        }


def finalists(
    trials: Sequence[Trial],
    count: int,
    seen: Callable[[Architecture], Hashable] = Architecture.key,
) -> tuple[Trial, ...]:
    """Return the best trials of a search: ``count``, or as many as finished.

    Args:
        trials: of the search.
        count: how many.
        seen: equal for networks that their training cannot tell apart; the best of such stands for
            all.
    """
    found: dict[Hashable, Trial] = {}
    for trial in ranked(trials):
        if len(found) < count:
            found.setdefault(seen(trial.architecture), trial)
    return tuple(found.values())


def with_references(
    architectures: Iterable[Architecture], references: Iterable[Architecture]
) -> list[Architecture]:
    """Return networks followed by the references, each unless it is one of those before."""
    networks = list(architectures)
    for reference in references:
        if reference.key() not in {network.key() for network in networks}:
            networks.append(reference)
    return networks


def choose_finalist(
    comparison: SeededComparison,
    trials: Sequence[int],
    reference: int,
    objective: Objective,
    classes: int,
) -> FinalistsResult:
    """Choose the finalist with the highest objective among those that did not fail.

    The reference is never chosen unless it is a finalist itself. Where no finalist is better than
    chance, none is chosen.

    Args:
        comparison: of the finalists, then the reference unless it is one of them.
        trials: numbers of the finalists' trials.
        reference: index of the reference among the networks of the comparison.
        objective: of the search.
        classes: how many the data has.
    """
    finalists = range(len(trials))
    networks = comparison.networks
    chosen = comparison.best(
        finalists, lambda index, score: objective.reward(score, networks[index].cost)
    )
    found = [networks[index].accuracy for index in finalists]
    if all(accuracy is None or at_chance(accuracy, classes) for accuracy in found):
        chosen = None
    return FinalistsResult(comparison, tuple(trials), chosen, reference)


def compare_finalists(
    chosen: Sequence[Trial],
    networks: Sequence[Architecture],
    reference: Architecture,
    runs: SeededRuns,
    objective: Objective,
    seeds: int,
) -> FinalistsResult:
    """Train the finalists and the reference with the same settings, and choose the best finalist.

    Args:
        chosen: the finalists.
        networks: of the finalists and the reference; see :func:`with_references`.
        reference: the network that differences are to.
        runs: where ``networks`` are trained and kept.
        objective: of the search.
        seeds: trainings of each network.

    Raises:
        EvaluationFailed: too many trainings in a row failed.
    """
    keys = [network.key() for network in networks]
    return choose_finalist(
        compare_networks(runs, seeds),
        [trial.number for trial in chosen],
        keys.index(reference.key()),
        objective,
        reference.num_classes,
    )
