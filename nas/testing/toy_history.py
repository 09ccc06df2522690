"""Histories of trials for tests of samplers: proposed by a sampler, scored by a simple function."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from nas.accuracy import Accuracy
from nas.evaluation.trial import Trial
from nas.networks.cost import measure_cost
from nas.seeding import derived_rng
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace, Value
from nas.strategies.samplers import Sampler


def additive_score(space: SearchSpace, choices: Mapping[str, Value]) -> float:
    """Return the mean position of the values in the lists of the choices, in [0, 1].

    A choice that takes the last value of its list counts 1, one that takes the first 0.
    """
    positions = [
        values.index(choices[name]) / (len(values) - 1)
        for name, values in space.choices.items()
        if len(values) > 1
    ]
    return fmean(positions) if positions else 0.5


def toy_history(sampler: Sampler, feasible: Feasible, count: int, seed: int = 0) -> list[Trial]:
    """Return trials that a sampler proposes one after the other, scored by the additive score.

    Every fifth trial is stopped early, and every seventh fails.
    """
    history: list[Trial] = []
    for number in range(count):
        choices = sampler.propose(feasible, history, derived_rng(seed, number))
        history.append(_trial(number, feasible.space, choices))
    return history


def _trial(number: int, space: SearchSpace, choices: Mapping[str, Value]) -> Trial:
    score = additive_score(space, choices)
    architecture = space.decode(choices)
    made = (number, choices, architecture, measure_cost(architecture))
    if number % 7 == 6:
        return Trial(*made, "failed", reason="ValueError: a made-up failure")
    steps = ((1, score / 2), (2, score))
    if number % 5 == 4:
        return Trial(*made, "stopped", steps=steps)
    return Trial(*made, "finished", Accuracy(score, 0.0), score, steps)
