"""The samplers by name, built in and installed.

To add a sampler: a file with its class, and a line here. Nothing here imports a sampler before it
is used, since help and completion list them.
"""

from __future__ import annotations

from nas.plugins import Registration, Registry
from nas.strategies.samplers.protocol import Sampler

DEFAULT = "guided"
"""Needs by far the fewest evaluations in `benchmarks/samplers.py`."""

_HERE = "nas.strategies.samplers"

SAMPLERS = Registry(
    "sampler",
    "nas_search.samplers",
    (
        Registration(
            "guided",
            f"{_HERE}.gp_sampler:GuidedSampler",
            "a Gaussian process over the choices, searched within the budget",
        ),
        Registration(
            "evolution",
            f"{_HERE}.evolution:EvolutionSampler",
            "regularised evolution (Real et al. 2019), within the budget",
        ),
        Registration(
            "tpe",
            f"{_HERE}.optuna_sampler:TPESampler",
            "tree-structured Parzen estimator, multivariate (Optuna)",
        ),
        Registration(
            "nsga2",
            f"{_HERE}.optuna_sampler:NSGA2Sampler",
            "non-dominated sorting genetic algorithm (Optuna)",
        ),
        Registration(
            "random", f"{_HERE}.random_sampler:RandomSampler", "uniform in the search space"
        ),
    ),
)
"""The samplers. Other distributions add theirs by entry points of this group."""


def make_sampler(name: str) -> Sampler:
    """Return the sampler of a name.

    Raises:
        InputError: unknown name, or an installed sampler that cannot be used.
    """
    registration = SAMPLERS.find(name)
    loaded = SAMPLERS.load(registration)
    if not (isinstance(loaded, type) and issubclass(loaded, Sampler)):
        raise SAMPLERS.unusable(
            registration,
            f"{type(loaded).__name__} is not accepted: a class with the method propose",
        )
    if registration.distribution is None:
        return loaded()
    try:
        return loaded()
    except Exception as error:
        raise SAMPLERS.unusable(registration, "cannot be made", error) from error
