"""What every sampler must fulfil, as tests."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping

from nas.errors import InputError
from nas.seeding import derived_rng
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace, Value
from nas.strategies.samplers import Sampler, sampler_capabilities
from nas.strategies.search import search
from nas.testing.spaces import small_spaces
from nas.testing.toy_history import toy_history
from nas.testing.toy_proxy import ToyProxy


class SamplerContract:
    """The tests that every sampler must pass.

    Inherit from it, give ``make``, and pytest runs them. ``spaces`` may be replaced, where a
    sampler is made for certain search spaces.
    """

    trials = 24
    """Length of the histories that the sampler proposes by itself."""

    def make(self) -> Sampler:
        """Return a new sampler, always in the same way."""
        raise NotImplementedError

    def spaces(self) -> Mapping[str, SearchSpace]:
        """Return the search spaces that the sampler is tested in, by a name for messages."""
        return {**small_spaces(), "efficientnet": load_space("efficientnet")}

    def test_it_is_a_sampler(self) -> None:
        """It has the method, and declares nothing else than its capabilities."""
        sampler = self.make()
        assert isinstance(sampler, Sampler)
        sampler_capabilities(sampler)

    def test_it_proposes_choices_of_the_space(self) -> None:
        """Every proposal has all choices of the space, each with one of its values."""
        for name, feasible in self._without_limit():
            for trial in toy_history(self.make(), feasible, self.trials):
                try:
                    feasible.space.check(trial.choices)
                except InputError as error:
                    raise AssertionError(f"space {name!r}: {error}") from None

    def test_the_arguments_alone_decide(self) -> None:
        """A sampler that was used before proposes what a new one does, whatever came before."""
        for name, feasible in self._without_limit():
            used = self.make()
            history = toy_history(used, feasible, self.trials)
            for length in (self.trials, self.trials // 3, 0, self.trials - 1):
                known = history[:length]
                expected = self.make().propose(feasible, known, random.Random(length))
                again = used.propose(feasible, known, random.Random(length))
                copied = self.make().propose(feasible, copy.deepcopy(known), random.Random(length))
                for proposed in (again, copied):
                    assert dict(proposed) == dict(expected), f"space {name!r}, {length} trials"
                    # The type of a value is part of the choice: 0.0 is not 0.
                    assert _types(proposed) == _types(expected), f"space {name!r}, {length} trials"

    def test_it_does_not_use_global_random_numbers(self) -> None:
        """Random numbers come from the generator that it is given."""
        feasible = next(iter(self._without_limit()))[1]
        before = random.getstate()
        toy_history(self.make(), feasible, self.trials)
        assert random.getstate() == before

    def test_it_leaves_its_arguments_alone(self) -> None:
        """The history stays as it was, and a proposal belongs to whoever asked for it."""
        for name, feasible in self._without_limit():
            sampler = self.make()
            history = toy_history(sampler, feasible, self.trials)
            before = copy.deepcopy(history)
            proposed = sampler.propose(feasible, history, random.Random(0))
            expected = dict(proposed)
            if isinstance(proposed, dict):
                proposed.clear()
            assert history == before, f"space {name!r}"
            again = sampler.propose(feasible, history, random.Random(0))
            assert dict(again) == expected, f"space {name!r}"

    def test_a_resumed_history_continues_the_same(self) -> None:
        """Resumed after any number of trials, a search proposes what it would have proposed."""
        for name, feasible in self._without_limit():
            history = toy_history(self.make(), feasible, self.trials)
            for length in range(0, self.trials, 3):
                resumed = self.make()
                for number in range(length, min(length + 2, self.trials)):
                    rng = derived_rng(0, number)
                    proposed = resumed.propose(feasible, history[:number], rng)
                    assert dict(proposed) == dict(history[number].choices), (
                        f"space {name!r}: resumed after {length} trials, trial {number} differs"
                    )

    def test_one_sampler_serves_several_spaces(self) -> None:
        """What it keeps of one search space does not change what it proposes in another."""
        sampler = self.make()
        histories = [
            (name, feasible, toy_history(self.make(), feasible, self.trials))
            for name, feasible in self._without_limit()
        ]
        for _ in range(2):
            for name, feasible, history in histories:
                proposed = sampler.propose(feasible, history, random.Random(1))
                expected = self.make().propose(feasible, history, random.Random(1))
                assert dict(proposed) == dict(expected), f"space {name!r}"

    def test_it_stays_within_the_budget_if_it_says_so(self) -> None:
        """A sampler that declares ``within_budget`` proposes nothing that exceeds the budget."""
        if not sampler_capabilities(self.make()).within_budget:
            return
        for name, space in self.spaces().items():
            least = Feasible(space, Budget("none")).least()
            feasible = Feasible(space, Budget("tight", flops=least + least // 4))
            for trial in toy_history(self.make(), feasible, self.trials):
                over = feasible.over(trial.choices)
                assert not over, f"space {name!r}: trial {trial.number} exceeds {over}"

    def test_a_search_with_it_repeats_itself(self) -> None:
        """A search evaluates different networks within the budget, the same ones every time."""
        for name, space in self.spaces().items():
            least = Feasible(space, Budget("none")).least()
            budget = Budget("twice the cheapest", flops=2 * least)
            one, other = (
                search(space, budget, ToyProxy(), trials=8, sampler=self.make()).trials
                for _ in range(2)
            )
            keys = [trial.architecture.key() for trial in one]
            assert len(set(keys)) == len(keys), f"space {name!r}"
            assert keys == [trial.architecture.key() for trial in other], f"space {name!r}"

    def _without_limit(self) -> Iterator[tuple[str, Feasible]]:
        for name, space in self.spaces().items():
            yield name, Feasible(space, Budget("none"))


def _types(choices: Mapping[str, Value]) -> dict[str, type]:
    return {name: type(value) for name, value in choices.items()}
