import copy
import random
from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean, median
from typing import Any

import pytest

from nas.accuracy import Accuracy
from nas.errors import InputError
from nas.evaluation.trial import Trial
from nas.networks.cost import Cost, measure_cost
from nas.seeding import derived_rng
from nas.spaces.budget import parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace, Value
from nas.spaces.toml import space_from_dict
from nas.strategies.samplers import SAMPLERS, Sampler, make_sampler
from nas.strategies.samplers.evolution import EvolutionSampler


def space_of(*stages: dict[str, Any]) -> SearchSpace:
    return space_from_dict(
        {
            "schema": "nas-search-space/1",
            "name": "made",
            "resolution": 32,
            "num_classes": 10,
            "activation": "relu",
            "stem": {"kernel": 3, "stride": 2, "width": 8},
            "head": {"width": 16, "dropout": 0.0},
            "stage": list(stages),
        }
    )


PLAIN: dict[str, Any] = {
    "op": "mbconv",
    "kernel": 3,
    "expansion": 2,
    "layers": 1,
    "width": 8,
    "stride": 1,
}
JOINT: dict[str, Any] = {
    "width": 8,
    "stride": 1,
    "layers": 1,
    "block": [
        {"op": "skip"},
        {"op": "mbconv", "kernel": 3, "expansion": 2},
        {"op": "fused_mbconv", "kernel": 5, "expansion": 1},
    ],
}
SPACES: dict[str, SearchSpace] = {
    "nothing to choose": space_of(PLAIN),
    "one choice": space_of(PLAIN | {"kernel": [3, 5]}),
    "a list of one value": space_of(PLAIN | {"kernel": [5], "expansion": [1, 2, 4]}),
    "joint blocks": space_of(JOINT, JOINT),
    "widths": space_of(PLAIN | {"width": [8, 12, 16]}, PLAIN | {"width": [8, 16], "stride": 2}),
    "every form": load_space("tiny"),
    "efficientnet": load_space("efficientnet"),
}
MANY = space_of(*[PLAIN | {"kernel": [3, 5, 7], "expansion": [1, 2, 3, 4]}] * 6)


def additive(space: SearchSpace, choices: Mapping[str, Value]) -> float:
    """The mean over all choices of how far to the end of its list the value stands, in [0, 1]."""
    places = [
        values.index(choices[name]) / (len(values) - 1)
        for name, values in space.choices.items()
        if len(values) > 1
    ]
    return fmean(places) if places else 0.5


def evaluated(number: int, space: SearchSpace, choices: Mapping[str, Value]) -> Trial:
    """A trial of the additive objective; every fifth was stopped, every seventh failed."""
    score = additive(space, choices)
    made = (number, choices, space.decode(choices), Cost(100, 10, 1))
    if number % 7 == 6:
        return Trial(*made, "failed", reason="ValueError: no")
    steps = ((1, score / 2), (2, score))
    if number % 5 == 4:
        return Trial(*made, "stopped", steps=steps)
    return Trial(*made, "finished", Accuracy(score, 0.0), score, steps)


def loose(space: SearchSpace) -> Feasible:
    return Feasible(space, parse_budget("999G-flops"))


def grow(sampler: Sampler, feasible: Feasible, count: int, seed: int = 0) -> list[Trial]:
    history: list[Trial] = []
    for number in range(count):
        choices = sampler.propose(feasible, history, derived_rng(seed, number))
        history.append(evaluated(number, feasible.space, choices))
    return history


@pytest.mark.parametrize("feasible", [loose(space) for space in SPACES.values()], ids=SPACES)
@pytest.mark.parametrize("name", SAMPLERS)
class TestContract:
    def test_proposes_choices_of_the_space(self, name: str, feasible: Feasible) -> None:
        for trial in grow(make_sampler(name), feasible, 24):
            feasible.space.check(trial.choices)

    def test_space_history_and_generator_decide_alone(self, name: str, feasible: Feasible) -> None:
        grown = make_sampler(name)
        history = grow(grown, feasible, 40)
        for length in (40, 12, 0, 33):  # back and forth
            expected = grown.propose(feasible, history[:length], random.Random(length))
            same = grown.propose(feasible, history[:length], random.Random(length))
            fresh = make_sampler(name).propose(feasible, history[:length], random.Random(length))
            read = make_sampler(name).propose(
                feasible, copy.deepcopy(history[:length]), random.Random(length)
            )
            assert expected == same == fresh == read
            # A value's type is part of the choice: 0.0 is no 0.
            assert {k: type(v) for k, v in expected.items()} == {
                k: type(v) for k, v in fresh.items()
            }

    def test_leaves_the_history_alone(self, name: str, feasible: Feasible) -> None:
        sampler = make_sampler(name)
        history = grow(sampler, feasible, 20)
        before = copy.deepcopy(history)
        proposed = sampler.propose(feasible, history, random.Random(0))
        if isinstance(proposed, dict):
            proposed.clear()  # its owner may do what it likes with it
        assert history == before
        assert sampler.propose(feasible, history, random.Random(0)) == make_sampler(name).propose(
            feasible, before, random.Random(0)
        )


@pytest.mark.parametrize("name", SAMPLERS)
def test_taken_up_anywhere_it_goes_on_the_same(name: str) -> None:
    many = loose(MANY)
    history = grow(make_sampler(name), many, 80)
    for length in range(0, 80, 3):  # within and at the ends of several generations
        resumed = make_sampler(name)
        for number in range(length, min(length + 2, 80)):
            rng = derived_rng(0, number)
            assert resumed.propose(many, history[:number], rng) == history[number].choices


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_generator_proposes_something_else(name: str) -> None:
    sampler = make_sampler(name)
    many = loose(MANY)
    history = grow(sampler, many, 15)
    proposals = [sampler.propose(many, history, random.Random(seed)) for seed in range(8)]
    # How many depends on how sure a sampler is by now.
    assert len({tuple(choices.items()) for choices in proposals}) > (1 if name == "guided" else 4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_sampler_serves_several_spaces_in_turn(name: str) -> None:
    sampler = make_sampler(name)
    a, b = loose(SPACES["widths"]), loose(SPACES["joint blocks"])
    history_a, history_b = grow(make_sampler(name), a, 20), grow(make_sampler(name), b, 20)
    for _ in range(2):
        for feasible, history in ((a, history_a), (b, history_b)):
            assert sampler.propose(feasible, history, random.Random(1)) == make_sampler(
                name
            ).propose(feasible, history, random.Random(1))


@pytest.mark.parametrize(
    ("name", "trials"), [("guided", 40), ("evolution", 96), ("tpe", 60), ("nsga2", 96)]
)
def test_learns_an_easy_objective(name: str, trials: int) -> None:
    def late(kind: str, seed: int) -> float:
        """The mean score of a run's last proposals."""
        history = grow(make_sampler(kind), loose(MANY), trials, seed)
        return fmean(additive(MANY, trial.choices) for trial in history[-20:])

    assert median(late(name, seed) for seed in range(3)) > 0.08 + median(
        late("random", seed) for seed in range(3)
    )


def test_evolution_changes_one_choice_of_a_living_parent() -> None:
    many = loose(MANY)
    sampler = EvolutionSampler(population=6, tournament=3)
    history = grow(make_sampler("random"), many, 30)
    alive = [trial for trial in history if trial.score is not None][-6:]
    for seed in range(20):
        child = sampler.propose(many, history, random.Random(seed))
        apart = [sum(child[k] != t.choices[k] for k in child) for t in alive]
        assert 1 in apart
        parent = alive[apart.index(1)]
        # The weakest two of six never win a tournament of three.
        assert sum(t.score < parent.score for t in alive if t.score is not None) >= 2


@pytest.mark.parametrize("name", ["guided", "evolution"])
@pytest.mark.parametrize(
    ("space", "budget"),
    [
        ("tiny", "600K-flops"),
        ("tiny", "1M-flops+10K-params"),
        ("efficientnet", "120M-flops"),
        ("tiny", "2M-flops+10K-params+60K-activations"),
        ("efficientnetv2", "2G-flops"),
    ],
)
def test_stays_within_the_budget(name: str, space: str, budget: str) -> None:
    feasible = Feasible(load_space(space), parse_budget(budget))
    for trial in grow(make_sampler(name), feasible, 45):
        assert feasible.budget.allows(measure_cost(trial.architecture))


@pytest.mark.parametrize("space", ["tiny", "efficientnetv2"])
def test_guided_proposes_no_network_of_the_history(space: str) -> None:
    feasible = Feasible(load_space(space), parse_budget("5G-flops"))
    history = grow(make_sampler("guided"), feasible, 40)
    chosen = [tuple(feasible.canonical(trial.choices).values()) for trial in history]
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("scores", [[0.5] * 20, [0.0, 1.0] * 10, [1e-9 * n for n in range(20)]])
def test_guided_takes_any_scores(scores: list[float]) -> None:
    many = loose(MANY)
    history = [
        replace(trial, state="finished", score=score)
        for trial, score in zip(grow(make_sampler("random"), many, 20), scores, strict=True)
    ]
    MANY.check(make_sampler("guided").propose(many, history, random.Random(0)))


def test_guided_goes_on_where_all_but_few_trials_failed() -> None:
    many = loose(MANY)
    history = [
        replace(trial, state="failed", score=None) if trial.number % 10 else trial
        for trial in grow(make_sampler("random"), many, 40)
    ]
    MANY.check(make_sampler("guided").propose(many, history, random.Random(0)))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(
        InputError, match="'anneal' is not accepted: guided, evolution, tpe, nsga2, random"
    ):
        make_sampler("anneal")
