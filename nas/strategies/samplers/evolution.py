"""Regularised evolution within the budget."""

from __future__ import annotations

import random
from collections.abc import Sequence

from nas.evaluation.objective import ranked
from nas.evaluation.trial import Trial
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Value
from nas.strategies.samplers.protocol import SamplerCapabilities


class EvolutionSampler:
    """Regularised evolution (Real et al. 2019, arXiv 1802.01548, algorithm 1), within the budget.

    The population is the last ``population`` trials that finished: the oldest are removed, however
    good. A parent is the best of ``tournament`` of them, drawn at random; its child differs from it
    in one choice.

    Args:
        population: P of the paper, which has 100 for 20,000 trials; smaller here, so that a search
            of a hundred trials has several generations.
        tournament: S of the paper, a quarter of P as there.
    """

    capabilities = SamplerCapabilities(within_budget=True)

    def __init__(self, population: int = 32, tournament: int = 8) -> None:
        self.population = population
        self.tournament = tournament

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> dict[str, Value]:
        """Return a child of the population, or a random network until that is complete."""
        alive: list[Trial] = []
        for trial in reversed(history):
            if trial.score is not None:
                alive.append(trial)
                if len(alive) == self.population:
                    break
        if len(alive) < self.population:
            return feasible.sample(rng)
        drawn = rng.sample(alive, self.tournament)
        parent = ranked(drawn)[0].choices
        children = [
            (name, value)
            for name, values in feasible.space.choices.items()
            for value in values
            if value != parent[name]
        ]
        # Draw the choice first, then its value, so that all choices are equally likely.
        names = sorted({name for name, _ in children})
        rng.shuffle(names)
        for name in names:
            values = [value for other, value in children if other == name]
            rng.shuffle(values)
            for value in values:
                child = {**parent, name: value}
                if feasible.allows(child) and feasible.canonical(child) != feasible.canonical(
                    parent
                ):
                    return child
        return feasible.sample(rng)
