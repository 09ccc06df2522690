"""What a sampler must offer, and what it may declare."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from nas.errors import InputError
from nas.evaluation.trial import Trial
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Value


@runtime_checkable
class Sampler(Protocol):
    """Proposes which network to evaluate next. Users write their own.

    A sampler is pure: what it proposes depends on the arguments alone, so that a resumed search
    proposes what the uninterrupted one would have. What it keeps between calls may only save time.

    This method is all that is needed. What else holds for a sampler, it declares in an attribute
    ``capabilities`` (:class:`SamplerCapabilities`).
    """

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> Mapping[str, Value]:
        """Return choices of ``feasible.space``.

        The search checks whether they are within the budget and new. If not, it asks again, and
        after a few times changes the proposal as little as needed.

        Args:
            feasible: the search space and the budget.
            history: the trials so far, by their numbers.
            rng: derived from the search's seed and the number of the trial.
        """
        ...


@dataclass(frozen=True)
class SamplerCapabilities:
    """What holds for a sampler; the defaults hold for one that declares nothing.

    Attributes:
        within_budget: proposes only networks within the budget, so that the search need not ask it
            again for those that exceed it.
    """

    within_budget: bool = False


@runtime_checkable
class DeclaresSampler(Protocol):
    """A sampler that declares its capabilities."""

    @property
    def capabilities(self) -> SamplerCapabilities:
        """What holds for it; an attribute of the class serves as well."""
        ...


def sampler_capabilities(sampler: Sampler | type[Sampler]) -> SamplerCapabilities:
    """Return what a sampler declares, or the defaults where it declares nothing.

    Raises:
        InputError: its attribute ``capabilities`` is something else.
    """
    if not isinstance(sampler, DeclaresSampler):
        return SamplerCapabilities()
    declared: object = sampler.capabilities
    if isinstance(declared, SamplerCapabilities):
        return declared
    owner = sampler if isinstance(sampler, type) else type(sampler)
    raise InputError(
        f"sampler {owner.__name__}: capabilities: {type(declared).__name__} is not accepted: "
        "a SamplerCapabilities"
    )
