import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

import pytest

import nas
from nas.errors import InputError
from nas.networks.cost import measure_cost
from nas.seeding import derived_rng
from nas.spaces.budget import Budget, parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace
from nas.strategies.samplers import SAMPLERS, Sampler, make_sampler
from nas.strategies.samplers.evolution import EvolutionSampler
from nas.testing import SamplerContract, ToyProxy, additive_score, toy_history
from nas.testing.spaces import PLAIN, space_of
from tests.support.plugins import install

MANY = space_of(*[PLAIN | {"kernel": [3, 5, 7], "expansion": [1, 2, 3, 4]}] * 6)


def loose(space: SearchSpace) -> Feasible:
    return Feasible(space, Budget("none"))


@pytest.mark.parametrize("name", SAMPLERS)
class TestContract(SamplerContract):
    @pytest.fixture(autouse=True)
    def _named(self, name: str) -> None:
        self.name = name

    def make(self) -> Sampler:
        return make_sampler(self.name)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_long_history_is_taken_up_anywhere(name: str) -> None:
    many = loose(MANY)
    history = toy_history(make_sampler(name), many, 80)
    for length in range(0, 80, 3):  # within and at the ends of several generations
        resumed = make_sampler(name)
        for number in range(length, min(length + 2, 80)):
            rng = derived_rng(0, number)
            assert resumed.propose(many, history[:number], rng) == history[number].choices


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_generator_proposes_something_else(name: str) -> None:
    sampler = make_sampler(name)
    many = loose(MANY)
    history = toy_history(sampler, many, 15)
    proposals = [sampler.propose(many, history, random.Random(seed)) for seed in range(8)]
    # How many depends on how sure a sampler is by now.
    assert len({tuple(choices.items()) for choices in proposals}) > (1 if name == "guided" else 4)


@pytest.mark.parametrize(
    ("name", "trials"), [("guided", 40), ("evolution", 96), ("tpe", 60), ("nsga2", 96)]
)
def test_learns_an_easy_objective(name: str, trials: int) -> None:
    def late(kind: str, seed: int) -> float:
        """The mean score of a run's last proposals."""
        history = toy_history(make_sampler(kind), loose(MANY), trials, seed)
        return fmean(additive_score(MANY, trial.choices) for trial in history[-20:])

    assert median(late(name, seed) for seed in range(3)) > 0.08 + median(
        late("random", seed) for seed in range(3)
    )


def test_evolution_changes_one_choice_of_a_living_parent() -> None:
    many = loose(MANY)
    sampler = EvolutionSampler(population=6, tournament=3)
    history = toy_history(make_sampler("random"), many, 30)
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
    for trial in toy_history(make_sampler(name), feasible, 45):
        assert feasible.budget.allows(measure_cost(trial.architecture))


@pytest.mark.parametrize("space", ["tiny", "efficientnetv2"])
def test_guided_proposes_no_network_of_the_history(space: str) -> None:
    feasible = Feasible(load_space(space), parse_budget("5G-flops"))
    history = toy_history(make_sampler("guided"), feasible, 40)
    chosen = [tuple(feasible.canonical(trial.choices).values()) for trial in history]
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("scores", [[0.5] * 20, [0.0, 1.0] * 10, [1e-9 * n for n in range(20)]])
def test_guided_takes_any_scores(scores: list[float]) -> None:
    many = loose(MANY)
    history = [
        replace(trial, state="finished", score=score)
        for trial, score in zip(toy_history(make_sampler("random"), many, 20), scores, strict=True)
    ]
    MANY.check(make_sampler("guided").propose(many, history, random.Random(0)))


def test_guided_goes_on_where_all_but_few_trials_failed() -> None:
    many = loose(MANY)
    history = [
        replace(trial, state="failed", score=None) if trial.number % 10 else trial
        for trial in toy_history(make_sampler("random"), many, 40)
    ]
    MANY.check(make_sampler("guided").propose(many, history, random.Random(0)))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(
        InputError, match="'anneal' is not accepted: guided, evolution, tpe, nsga2, random"
    ):
        make_sampler("anneal")


# --- of other distributions ---------------------------------------------------------------------

MODULE = """
class Last:
    def propose(self, feasible, history, rng):
        return {name: values[-1] for name, values in feasible.space.choices.items()}

class Demanding(Last):
    def __init__(self, population):
        self.population = population

NUMBER = 7
"""


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {"last": "Last", "demanding": "Demanding", "number": "NUMBER"}
    targets = {name: f"made_up_samplers:{attribute}" for name, attribute in names.items()}
    entry_points = {"nas_search.samplers": targets}
    install(monkeypatch, tmp_path, entry_points, modules={"made_up_samplers": MODULE})


@pytest.mark.usefixtures("_installed")
def test_an_installed_sampler_is_used_by_its_name() -> None:
    space = load_space("tiny")
    result = nas.search(space, Budget("none"), ToyProxy(), trials=2, sampler="last")
    last = {name: values[-1] for name, values in space.choices.items()}
    assert result.trials[0].choices == last


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("demanding", ["'demanding' (made-up 1.2.3, ", "cannot be made: TypeError", "population"]),
        ("number", ["'number' (made-up 1.2.3, ", "int is not accepted", "propose"]),
        ("anneal", ["'anneal' is not accepted: guided, ", "last"]),
    ],
)
def test_a_sampler_that_cannot_be_used_is_one_line(name: str, named: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        make_sampler(name)
    assert "\n" not in str(caught.value)
    for part in named:
        assert part in str(caught.value)
