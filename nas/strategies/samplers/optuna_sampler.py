"""Optuna's samplers in the pure shape: given the trials so far, what would they ask for next."""

from __future__ import annotations

import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from nas.evaluation.trial import Trial
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace, Value

Distributions = dict[str, optuna.distributions.BaseDistribution]


class OptunaSampler(ABC):
    """A sampler of Optuna's whose study is rebuilt from the history.

    The study lives in memory. It is kept between calls only to save the time.
    """

    def __init__(self) -> None:
        self._study: optuna.Study | None = None
        self._space: SearchSpace | None = None
        self._added: list[Trial] = []

    @abstractmethod
    def _optuna_sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """Return Optuna's sampler, seeded for one question."""

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> dict[str, Value]:
        """Return what Optuna's sampler asks for next."""
        distributions: Distributions = {
            name: CategoricalDistribution(values) for name, values in feasible.space.choices.items()
        }
        study = self._synchronised(feasible.space, history, distributions)
        return self._ask(study, distributions, rng.getrandbits(32))

    def _ask(
        self, study: optuna.Study, distributions: Distributions, seed: int
    ) -> dict[str, Value]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = self._optuna_sampler(seed)
            trial = study.ask(distributions)
        # Leave no trace of the question, so that the next one depends on the history alone.
        study.tell(trial, state=TrialState.FAIL)
        return dict(trial.params)

    def _synchronised(
        self, space: SearchSpace, history: Sequence[Trial], distributions: Distributions
    ) -> optuna.Study:
        """Return the study with the trials of the history, rebuilt unless it has its beginning."""
        study = self._study
        if (
            study is None
            or self._space is not space
            or len(self._added) > len(history)
            or any(a is not b for a, b in zip(self._added, history, strict=False))
        ):
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            study = self._study = self._new_study()
            self._space, self._added = space, []
        for trial in history[len(self._added) :]:
            self._added.append(trial)
            if trial.state != "failed":
                self._add(study, trial, distributions)
        return study

    def _new_study(self) -> optuna.Study:
        return optuna.create_study(direction="maximize")

    def _add(
        self,
        study: optuna.Study,
        trial: Trial,
        distributions: Distributions,
        system_attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a trial that did not fail to the study."""
        finished = trial.state == "finished"
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE if finished else TrialState.PRUNED,
                value=trial.score,
                params=dict(trial.choices),
                distributions=distributions,
                intermediate_values=dict(trial.steps),
                system_attrs=dict(system_attrs or {}),
            )
        )


class TPESampler(OptunaSampler):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate."""

    def _optuna_sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=10)


class NSGA2Sampler(OptunaSampler):
    """Non-dominated sorting genetic algorithm (Deb et al. 2002), with one objective."""

    POPULATION = 16
    """Small enough that a search of a hundred trials has several generations."""

    def __init__(self) -> None:
        super().__init__()
        self._finished = 0

    def _optuna_sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.NSGAIISampler(population_size=self.POPULATION, seed=seed)

    def _new_study(self) -> optuna.Study:
        self._finished = 0
        return super()._new_study()

    def _add(
        self,
        study: optuna.Study,
        trial: Trial,
        distributions: Distributions,
        system_attrs: Mapping[str, Any] | None = None,
    ) -> None:
        if trial.state != "finished":
            super()._add(study, trial, distributions)
            return
        # Generations follow from the order of the trials, not from who asked when.
        generation = {"NSGAIISampler:generation": self._finished // self.POPULATION}
        super()._add(study, trial, distributions, generation)
        self._finished += 1
        if self._finished % self.POPULATION == 0:
            # Optuna selects the parents of a generation when it is first asked for a member of it,
            # so the result depends on when that is. Asking at once makes it the same always.
            self._ask(study, distributions, 0)
