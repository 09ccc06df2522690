"""Turns a sampler's proposals into new architectures within the budget."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set

from nas.errors import InputError
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture
from nas.seeding import derived_rng
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible, said
from nas.spaces.search_space import Choices, SearchSpace, Value
from nas.strategies.samplers import Sampler

ASKS = 8
"""How many proposals of a sampler are tried before the last one is repaired."""

FARTHEST = 6
"""In how many choices a repaired proposal may differ from what was proposed, at most."""


class Proposer:
    """Turns a sampler's proposals into choices of new networks within the budget.

    Args:
        space: what may be chosen.
        budget: hard limits.
        sampler: proposes choices, whatever they cost.
        seed: from which the random generator of each trial is derived.
        start: networks to propose first.

    Raises:
        InputError: a start is not in the space or exceeds the budget.
    """

    def __init__(
        self,
        space: SearchSpace,
        budget: Budget,
        sampler: Sampler,
        seed: int,
        start: Sequence[Architecture] = (),
    ) -> None:
        self._space = space
        self._sampler = sampler
        self._seed = seed
        self._feasible = Feasible(space, budget)
        self._keys: dict[tuple[Value, ...], str] = {}
        self._walk = self._feasible.walk(derived_rng(seed, "walk"))
        self._next: dict[str, Value] | None = None
        self._starts: dict[str, dict[str, Value]] = {}
        for architecture in start:
            choices = space.encode(architecture)
            decoded = space.decode(choices)
            exceeded = self._feasible.over(choices)
            if exceeded:
                over = ", ".join(
                    f"{said(metric, cost)} of {said(metric, limit).partition(' ')[0]}"
                    for metric, (cost, limit) in exceeded.items()
                )
                raise InputError(
                    f"start {architecture.name!r}: over budget {budget.name!r}: {over}"
                )
            self._starts.setdefault(decoded.key(), choices)

    def propose(
        self, number: int, history: Sequence[Trial], seen: Set[str]
    ) -> dict[str, Value] | None:
        """Return choices of a new network within the budget; None where there is none left.

        Args:
            number: of the trial.
            history: the trials that the proposal depends on.
            seen: keys of networks that are not new. It may only grow from one call to the next.
        """
        for key, choices in self._starts.items():
            if key not in seen:
                return dict(choices)
        last: Mapping[str, Value] = {}
        for attempt in range(ASKS):
            rng = derived_rng(self._seed, "propose", number, attempt)
            last = self._sampler.propose(self._feasible, history, rng)
            self._space.check(last)
            if self._is_new(last, seen):
                return dict(last)
        # The word is part of the seed: another one would change every proposal that follows.
        near = self._near(last, derived_rng(self._seed, "mend", number), seen)
        return self._first_unseen(seen) if near is None else near

    def _is_new(self, choices: Choices, seen: Set[str]) -> bool:
        return self._feasible.allows(choices) and self._key(choices) not in seen

    def _key(self, choices: Choices) -> str:
        canonical = tuple(self._feasible.canonical(choices).values())
        key = self._keys.get(canonical)
        if key is None:
            key = self._keys[canonical] = self._space.decode(choices).key()
        return key

    def _near(
        self, choices: Choices, rng: random.Random, seen: Set[str]
    ) -> dict[str, Value] | None:
        """Return new feasible choices that differ from a rejected proposal in few places."""
        centre = self._feasible.repair(choices, rng)
        if self._is_new(centre, seen):
            return centre
        names = [name for name, values in self._space.choices.items() if len(values) > 1]
        for changes in range(1, min(len(names), FARTHEST) + 1):
            for _ in range(16):
                mutated = dict(centre)
                for name in rng.sample(names, changes):
                    others = [v for v in self._space.choices[name] if v != centre[name]]
                    mutated[name] = rng.choice(others)
                if self._is_new(mutated, seen):
                    return mutated
        return None

    def _first_unseen(self, seen: Set[str]) -> dict[str, Value] | None:
        """Return the next network that is not in ``seen`` of a walk through all within the budget.

        The order of the walk depends on the seed alone, and networks that it has passed stay seen.
        So one walk serves all calls, and a resumed search, which starts the walk again, gets to the
        same place.
        """
        while self._next is None or self._key(self._next) in seen:
            self._next = next(self._walk, None)
            if self._next is None:
                return None
        return dict(self._next)
