"""A search in memory with instant evaluations, to compare samplers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nas.accuracy import Accuracy
from nas.evaluation.trial import Trial
from nas.networks.cost import measure_cost
from nas.spaces.search_space import Choices, SearchSpace
from nas.strategies.proposer import Proposer


def simulate(
    space: SearchSpace, proposer: Proposer, evaluate: Callable[[int, Choices], Accuracy]
) -> Iterator[Trial]:
    """Yield the trials of a search for accuracy, until the space has no further network.

    They are those of :func:`nas.search` with one job: within the budget, no network twice, each
    proposed from all trials before it. Nothing is stored.

    Args:
        space: what may be chosen.
        proposer: of this space.
        evaluate: returns the accuracy of a trial, given its number and choices.
    """
    history: list[Trial] = []
    seen: set[str] = set()
    while (choices := proposer.propose(len(history), history, seen)) is not None:
        architecture = space.decode(choices)
        accuracy = evaluate(len(history), choices)
        trial = Trial(
            number=len(history),
            choices=choices,
            architecture=architecture,
            cost=measure_cost(architecture),
            state="finished",
            accuracy=accuracy,
            score=accuracy.mean,
        )
        seen.add(architecture.key())
        history.append(trial)
        yield trial
