"""Samplers of other tools in the shape of ours, so that `samplers.py` asks all of them alike.

What a tool proposes passes the same filter as what ours propose: within the budget, never a network
twice. It is asked a few times for what passes, and then the nearest that does is taken.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from nas.evaluation.trial import Trial
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Value
from nas.strategies.samplers import Sampler

EVALUATIONS = 300
"""Told to tools that plan for a number of evaluations."""


class Smac:
    """SMAC3's facade of hyperparameter optimisation: a random forest and expected improvement.

    Numbers are ordinal hyperparameters, other choices categorical ones.
    """

    def __init__(self) -> None:
        self._facade: Any = None
        self._told = 0
        self._folder = TemporaryDirectory()

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> Mapping[str, Value]:
        """Return what SMAC3 asks for next."""
        choices = feasible.space.choices
        if self._facade is None:
            self._facade = self._start(choices, rng.getrandbits(31))
        for trial in history[self._told :]:
            self._tell(choices, trial)
        self._told = len(history)
        config = self._facade.ask().config
        return {name: values[int(config[name])] for name, values in choices.items()}

    def _start(self, choices: Mapping[str, Sequence[Value]], seed: int) -> Any:
        from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, OrdinalHyperparameter
        from smac import HyperparameterOptimizationFacade, Scenario

        space = ConfigurationSpace(seed=seed)
        for name, values in choices.items():
            ordered = all(isinstance(value, int | float) for value in values)
            kind = OrdinalHyperparameter if ordered else CategoricalHyperparameter
            space.add(kind(name, list(range(len(values)))))
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=EVALUATIONS,
            seed=seed,
            output_directory=self._folder.name,
        )
        return HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False
        )

    def _tell(self, choices: Mapping[str, Sequence[Value]], trial: Trial) -> None:
        from ConfigSpace import Configuration
        from smac.runhistory import TrialInfo, TrialValue

        if trial.score is None:
            return
        space = self._facade.scenario.configspace
        values = {name: choices[name].index(value) for name, value in trial.choices.items()}
        config = Configuration(space, values=values)
        self._facade.tell(TrialInfo(config, seed=0), TrialValue(cost=-trial.score))


PEERS: dict[str, Callable[[], Sampler]] = {"smac3": Smac}
"""Samplers of other tools, by name; each needs its package."""
