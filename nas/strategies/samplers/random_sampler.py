"""Random search: every choice drawn uniformly."""

from __future__ import annotations

import random
from collections.abc import Sequence

from nas.evaluation.trial import Trial
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import Value


class RandomSampler:
    """Draws every choice uniformly, whatever the budget."""

    def propose(
        self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
    ) -> dict[str, Value]:
        """Return choices drawn uniformly."""
        return feasible.space.sample(rng)
