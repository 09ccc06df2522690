"""The contract suites of ``nas.testing`` find what they are there to find."""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.accuracy import Accuracy
from nas.evaluation.trial import Trial
from nas.proxies.protocol import Proxy, ProxyCapabilities, Report
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace, Value
from nas.strategies.samplers import Sampler, SamplerCapabilities
from nas.testing import ProxyContract, SamplerContract, ToyProxy, small_spaces
from tests.support.paths import ROOT


def broken(contract: type, make: Callable[[], Any]) -> set[str]:
    """The tests of a contract that something does not pass."""
    found = set()
    for name in dir(contract):
        if name.startswith("test_"):
            tested = contract()
            tested.make = make
            if isinstance(tested, SamplerContract):
                spaces = {"widths": small_spaces()["widths"], "tiny": nas.load_space("tiny")}
                tested.spaces = lambda spaces=spaces: spaces  # type: ignore[method-assign]
            try:
                getattr(tested, name)()
            except Exception:
                found.add(name)
    return found


# --- samplers -----------------------------------------------------------------------------------

Choices = Mapping[str, Value]


class Fair:
    def propose(self, feasible: Feasible, history: Sequence[Trial], rng: random.Random) -> Choices:
        return feasible.space.sample(rng)


class WithAMemory(Fair):
    asked = 0

    def propose(self, feasible: Feasible, history: Sequence[Trial], rng: random.Random) -> Choices:
        self.asked += 1
        return feasible.space.sample(random.Random(self.asked))


class OutOfTheSpace(Fair):
    def propose(self, feasible: Feasible, history: Sequence[Trial], rng: random.Random) -> Choices:
        return dict.fromkeys(feasible.space.choices, -1)


class Global(Fair):
    def propose(self, feasible: Feasible, history: Sequence[Trial], rng: random.Random) -> Choices:
        return feasible.space.sample(random._inst)  # type: ignore[attr-defined]


class Careless(Fair):
    capabilities = SamplerCapabilities(within_budget=True)


class Tidy(Fair):
    """Empties the history that it is given."""

    def propose(self, feasible: Feasible, history: Sequence[Trial], rng: random.Random) -> Choices:
        if isinstance(history, list):
            history.clear()
        return feasible.space.sample(rng)


class OneSpace(Fair):
    """Proposes for the first space that it ever saw."""

    space: SearchSpace | None = None

    def propose(self, feasible: Feasible, history: Sequence[Trial], rng: random.Random) -> Choices:
        self.space = self.space or feasible.space
        return self.space.sample(rng)


@pytest.mark.parametrize(
    ("made", "test"),
    [
        (WithAMemory, "test_the_arguments_alone_decide"),
        (WithAMemory, "test_a_resumed_history_continues_the_same"),
        (OutOfTheSpace, "test_it_proposes_choices_of_the_space"),
        (OutOfTheSpace, "test_a_search_with_it_repeats_itself"),
        (Global, "test_it_does_not_use_global_random_numbers"),
        (Careless, "test_it_stays_within_the_budget_if_it_says_so"),
        (Tidy, "test_it_leaves_its_arguments_alone"),
        (OneSpace, "test_one_sampler_serves_several_spaces"),
        (object, "test_it_is_a_sampler"),
    ],
)
def test_what_breaks_the_contract_of_samplers_is_found(
    made: Callable[[], Sampler], test: str
) -> None:
    assert test in broken(SamplerContract, made)


def test_a_fair_sampler_passes() -> None:
    assert broken(SamplerContract, Fair) == set()


# --- proxies ------------------------------------------------------------------------------------


class Unseeded(ToyProxy):
    def evaluate(self, arch: nas.Architecture, *, seed: int, report: Report) -> Accuracy:
        return Accuracy(random.Random().random(), 0.0)


class ByTurn(ToyProxy):
    """Better from one evaluation to the next."""

    def evaluate(self, arch: nas.Architecture, *, seed: int, report: Report) -> Accuracy:
        return Accuracy(
            len(self.evaluated) / 100,
            super().evaluate(arch, seed=seed, report=report).standard_error,
        )


class Reseeds(ToyProxy):
    def evaluate(self, arch: nas.Architecture, *, seed: int, report: Report) -> Accuracy:
        random.seed(seed)
        return Accuracy(random.random(), 0.0)


class ByLossWithout(ToyProxy):
    def evaluate(self, arch: nas.Architecture, *, seed: int, report: Report) -> Accuracy:
        return Accuracy(0.5, 0.0)


class Percent(ToyProxy):
    def evaluate(self, arch: nas.Architecture, *, seed: int, report: Report) -> Accuracy:
        return Accuracy(71.5, 0.0)


class Deaf(ToyProxy):
    def evaluate(self, arch: nas.Architecture, *, seed: int, report: Report) -> Accuracy:
        for step in range(3):
            report(step, 0.5)
        return Accuracy(0.5, 0.0)


class Counts(ToyProxy):
    """Its settings change as it is used."""

    def describe(self) -> dict[str, Any]:
        return {"evaluations": len(self.evaluated)}


class Opaque(ToyProxy):
    def describe(self) -> dict[str, Any]:
        return {"folder": Path()}


class PreparedOnce(ToyProxy):
    def prepare(self, space: SearchSpace, budget: nas.Budget, folder: Path) -> None:
        if self.prepared:
            self.value = lambda arch, seed: 0.25
        super().prepare(space, budget, folder)


BY_LOSS = ProxyCapabilities(rank_by="loss")


@pytest.mark.parametrize(
    ("make", "test"),
    [
        (Unseeded, "test_the_seed_decides"),
        (ByTurn, "test_the_seed_decides"),
        (Reseeds, "test_it_leaves_global_random_numbers_alone"),
        (lambda: ByLossWithout(capabilities=BY_LOSS), "test_it_measures_every_network"),
        (Percent, "test_it_measures_every_network"),
        (Deaf, "test_what_it_reports_are_numbers_and_it_stops_when_told"),
        (Counts, "test_its_description_is_plain_data_that_does_not_change"),
        (Opaque, "test_its_description_is_plain_data_that_does_not_change"),
        (PreparedOnce, "test_it_may_be_prepared_again"),
        (
            lambda: ToyProxy(lambda arch, seed: 0.5),
            "test_a_copy_sent_to_a_process_measures_the_same",
        ),
        (object, "test_it_is_a_proxy"),
    ],
)
def test_what_breaks_the_contract_of_proxies_is_found(make: Callable[[], Proxy], test: str) -> None:
    assert test in broken(ProxyContract, make)


def test_it_needs_no_pytest_and_nothing_heavy() -> None:
    code = (
        "import sys, nas.testing; "
        "assert not set(sys.modules) & {'pytest', 'torch', 'numpy', 'optuna', 'ray'}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
