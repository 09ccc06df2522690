"""Samplers: given what is feasible, the trials so far and a random generator, propose choices.

A sampler keeps no state that its result depends on, so a resumed search proposes what the
uninterrupted one would have.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from nas.errors import InputError
from nas.evaluation.objective import ranked
from nas.evaluation.trial import Trial
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace, Value

if TYPE_CHECKING:
    import optuna


class Sampler(Protocol):
    """Proposes choices; whether they are within the budget or new is the search's to check."""

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> Mapping[str, Value]:
        """Return choices of ``feasible.space``, given the trials so far by their numbers."""
        ...


class RandomSampler:
    """Draws uniformly."""

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> dict[str, Value]:
        """Return choices drawn uniformly."""
        return feasible.space.sample(rng)


class EvolutionSampler:
    """Regularised evolution (Real et al. 2019, arXiv 1802.01548, algorithm 1), within the budget.

    The population is the last ``population`` trials that finished: what is old dies, however good.
    A parent is the best of ``tournament`` of them; its child differs from it in one choice.

    Args:
        population: P of the paper, which has 100 for 20,000 trials; smaller here, so that a search
            of a hundred trials has several generations.
        tournament: S of the paper, a quarter of P as there.
    """

    def __init__(self, population: int = 32, tournament: int = 8) -> None:
        self.population = population
        self.tournament = tournament

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> dict[str, Value]:
        """Return a child of the population; until that is complete, a random network."""
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
        # First which choice, then its value: one of many values is not likelier for that.
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


class OptunaSampler:
    """A sampler of Optuna's in the pure shape.

    Its study lives in memory and is rebuilt from the history; what is already in it is kept
    between calls only to save the time.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._study: optuna.Study | None = None
        self._space: SearchSpace | None = None
        self._added: list[Trial] = []
        self._generations = 0

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> dict[str, Value]:
        """Return what Optuna's sampler asks for next."""
        import optuna

        space = feasible.space
        distributions: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.CategoricalDistribution(values)
            for name, values in space.choices.items()
        }
        study = self._synchronised(space, history, distributions)
        return self._ask(study, distributions, rng.getrandbits(32))

    def _ask(
        self,
        study: optuna.Study,
        distributions: dict[str, optuna.distributions.BaseDistribution],
        seed: int,
    ) -> dict[str, Value]:
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = _optuna_sampler(self.kind, seed)
            trial = study.ask(distributions)
        # The question must leave no trace: the next history decides alone.
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return dict(trial.params)

    def _synchronised(
        self,
        space: SearchSpace,
        history: Sequence[Trial],
        distributions: dict[str, optuna.distributions.BaseDistribution],
    ) -> optuna.Study:
        import optuna

        known = len(self._added)
        if (
            self._study is None
            or self._space is not space
            or any(a is not b for a, b in zip(self._added, history, strict=False))
            or known > len(history)
        ):
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(direction="maximize")
            self._space, self._added, self._generations, known = space, [], 0, 0
        for trial in history[known:]:
            self._added.append(trial)
            if trial.state == "failed":
                continue
            attrs = {}
            if self.kind == "nsga2" and trial.state == "finished":
                # Generations follow from the order of the trials, not from who asked when.
                attrs["NSGAIISampler:generation"] = self._generations // _POPULATION
                self._generations += 1
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.COMPLETE
                    if trial.state == "finished"
                    else optuna.trial.TrialState.PRUNED,
                    value=trial.score,
                    params=dict(trial.choices),
                    distributions=distributions,
                    intermediate_values=dict(trial.steps),
                    system_attrs=attrs,
                )
            )
            if attrs and self._generations % _POPULATION == 0:
                # NSGA-II chooses a generation's parents when it is first asked for one of it, and
                # mixes them up otherwise then than later. So that question is asked here, always.
                self._ask(self._study, distributions, 0)
        return self._study


_POPULATION = 16
"""Of NSGA-II: small enough that a search of a hundred trials has several generations."""


def _optuna_sampler(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if kind == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=10)


SAMPLERS: dict[str, str] = {
    "guided": "a Gaussian process over the choices, searched within the budget",
    "evolution": "regularised evolution (Real et al. 2019), within the budget",
    "tpe": "tree-structured Parzen estimator, multivariate (Optuna)",
    "nsga2": "non-dominated sorting genetic algorithm (Optuna)",
    "random": "uniform in the space",
}
"""The samplers by name, a line each."""

DEFAULT = "guided"
"""Of the search and the command: by far the fewest evaluations in `benchmarks/samplers.py`."""


def make_sampler(name: str) -> Sampler:
    """Return the sampler of that name.

    Raises:
        InputError: unknown name.
    """
    if name not in SAMPLERS:
        raise InputError(f"sampler {name!r} is not accepted: {', '.join(SAMPLERS)}")
    if name == "guided":
        from nas.strategies.gp_sampler import GuidedSampler

        return GuidedSampler()
    if name == "evolution":
        return EvolutionSampler()
    return RandomSampler() if name == "random" else OptunaSampler(name)
