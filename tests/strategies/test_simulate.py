"""A search in memory has the trials of a search on disk."""

from itertools import islice

import pytest

import nas
from nas.accuracy import Accuracy
from nas.evaluation.trial import Trial
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_space
from nas.spaces.search_space import Choices
from nas.strategies.proposer import Proposer
from nas.strategies.samplers import SAMPLERS, make_sampler
from nas.strategies.simulate import simulate
from nas.testing import ToyProxy, hashed

SPACE = load_space("tiny")
BUDGET = parse_budget("1M-flops")


def quality(architecture: nas.Architecture, seed: int = 0) -> float:
    return hashed(architecture.key())


def simulated(sampler: str, trials: int, seed: int = 3) -> list[Trial]:
    def evaluate(number: int, choices: Choices) -> Accuracy:
        numbers.append(number)
        return Accuracy(quality(SPACE.decode(choices)), 0.0)

    numbers: list[int] = []
    proposer = Proposer(SPACE, BUDGET, make_sampler(sampler), seed)
    made = list(islice(simulate(SPACE, proposer, evaluate), trials))
    assert numbers == [trial.number for trial in made] == list(range(len(made)))
    return made


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_trials_are_those_of_a_search(sampler: str) -> None:
    proxy = ToyProxy(quality)
    on_disk = nas.search(SPACE, BUDGET, proxy, trials=25, seed=3, sampler=sampler).trials
    in_memory = simulated(sampler, 25)
    assert [dict(trial.choices) for trial in in_memory] == [dict(t.choices) for t in on_disk]
    for mine, theirs in zip(in_memory, on_disk, strict=True):
        assert (mine.cost, mine.score) == (theirs.cost, theirs.score)
        assert mine.state == theirs.state == "finished"


def test_it_ends_where_nothing_is_left() -> None:
    least = nas.Feasible(SPACE, BUDGET).least()
    few = nas.parse_budget(f"{least + 2000}-flops")
    feasible = list(nas.Feasible(SPACE, few))
    assert 1 <= len(feasible) < 300
    proposer = Proposer(SPACE, few, make_sampler("random"), 0)
    made = list(simulate(SPACE, proposer, lambda number, choices: Accuracy(0.5, 0.0)))
    assert len({trial.architecture.key() for trial in made}) == len(made) == len(feasible)
    assert all(few.allows(trial.cost) for trial in made)
