"""What every proxy must fulfil, as tests."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.evaluation.executor import Outcome, Task, run_task
from nas.networks.architecture import Architecture
from nas.proxies.protocol import Proxy, capabilities_of, description
from nas.seeding import derived_rng
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace


class ProxyContract:
    """The tests that every proxy must pass.

    Inherit from it, give ``make``, and pytest runs them. What else is given below may be replaced:
    the search space that the proxy is made for, a budget, and the networks that it measures.
    """

    def make(self) -> Proxy:
        """Return a new proxy, not prepared, always in the same way."""
        raise NotImplementedError

    def space(self) -> SearchSpace:
        """Return the search space that the proxy is prepared for."""
        return load_space("tiny")

    def budget(self) -> Budget:
        """Return the budget that the proxy is prepared for."""
        return Budget("none")

    def networks(self) -> Sequence[Architecture]:
        """Return different networks, at least two, that the proxy must be able to measure."""
        feasible, rng = Feasible(self.space(), self.budget()), derived_rng("proxy contract")
        found: dict[str, Architecture] = {}
        while len(found) < 2:
            network = feasible.space.decode(feasible.sample(rng))
            found[network.key()] = network
        return list(found.values())

    def test_it_is_a_proxy(self) -> None:
        """It has the methods, and what it declares are capabilities."""
        proxy = self.make()
        assert isinstance(proxy, Proxy)
        capabilities_of(proxy)

    def test_its_description_is_plain_data_that_does_not_change(self) -> None:
        """It is part of a run's identity, so it is known before and does not change after."""
        proxy = self.make()
        before = _as_json(description(proxy))
        assert before == _as_json(description(self.make()))
        self._measured(proxy)
        assert before == _as_json(description(proxy))

    def test_it_measures_every_network(self) -> None:
        """It returns an accuracy in [0, 1], with a loss if it ranks by loss."""
        for outcome in self._measured(self.make()):
            assert outcome.error == ""
            assert outcome.accuracy is not None  # whose range its type holds
            if capabilities_of(self.make()).rank_by == "loss":
                assert outcome.accuracy.loss is not None

    def test_the_seed_decides(self) -> None:
        """The accuracy follows from network and seed, whatever was measured before."""
        first = self._measured(self.make())
        again = self._measured(self.make())
        backwards = self._measured(self.make(), list(reversed(self.networks())))
        accuracies = [outcome.accuracy for outcome in first]
        assert accuracies == [outcome.accuracy for outcome in again]
        assert accuracies == [outcome.accuracy for outcome in reversed(backwards)]

    def test_it_leaves_global_random_numbers_alone(self) -> None:
        """An evaluation changes no random state that others use."""
        with self._prepared() as proxy:
            _draw_random_numbers()  # so that a generator seeded anew does not look untouched
            before = _random_states()
            for network in self.networks():
                _evaluate(proxy, network)
            changed = [name for name, state in _random_states().items() if state != before[name]]
            assert not changed, f"random state of {changed} has changed"

    def test_it_may_be_prepared_again(self) -> None:
        """Prepared twice with the same arguments it measures the same."""
        with TemporaryDirectory() as folder:
            proxy = self.make()
            proxy.prepare(self.space(), self.budget(), Path(folder))
            first = [_evaluate(proxy, network).accuracy for network in self.networks()]
            proxy.prepare(self.space(), self.budget(), Path(folder))
            assert first == [_evaluate(proxy, network).accuracy for network in self.networks()]

    def test_a_copy_sent_to_a_process_measures_the_same(self) -> None:
        """Parallel processes (``jobs > 1``) evaluate with a pickled copy of the prepared proxy."""
        with self._prepared() as proxy:
            copied = _sent(proxy)
            for network in self.networks():
                assert _evaluate(copied, network).accuracy == _evaluate(proxy, network).accuracy

    def test_what_it_reports_are_numbers_and_it_stops_when_told(self) -> None:
        """``report`` takes a step and a value, rises from step to step, and may end it early."""
        with self._prepared() as proxy:
            for network in self.networks():
                told: list[tuple[int, float]] = []

                def stop(step: int, value: float, told: list[tuple[int, float]] = told) -> bool:
                    told.append((step, value))
                    return True

                proxy.evaluate(network, seed=1, report=stop)
                assert len(told) <= 1, f"it did not stop: {told}"
                for step, value in told:
                    assert isinstance(step, int)
                    assert math.isfinite(value)

    def _measured(
        self, proxy: Proxy, networks: Sequence[Architecture] | None = None
    ) -> list[Outcome]:
        with TemporaryDirectory() as folder:
            proxy.prepare(self.space(), self.budget(), Path(folder))
            return [_evaluate(proxy, network) for network in networks or self.networks()]

    @contextmanager
    def _prepared(self) -> Iterator[Proxy]:
        """Yield a new proxy, prepared in a folder that is there as long as it is used."""
        with TemporaryDirectory() as folder:
            proxy = self.make()
            proxy.prepare(self.space(), self.budget(), Path(folder))
            yield proxy


def _evaluate(proxy: Proxy, network: Architecture, seed: int = 1) -> Outcome:
    return run_task(proxy, Task(0, network, seed))


def _sent(proxy: Proxy) -> Proxy:
    """Return a proxy as a worker process would receive it."""
    ours, theirs = Pipe()

    def send() -> None:
        with ours:
            ours.send(proxy)

    with ThreadPoolExecutor(1) as pool, theirs:
        sending = pool.submit(send)
        try:
            received: Proxy = theirs.recv()
        except EOFError:  # it could not be pickled, and the sender knows why
            sending.result()
            raise
        return received


def _as_json(data: object) -> str:
    return json.dumps(data, sort_keys=True, allow_nan=False)


def _random_states() -> dict[str, Any]:
    """Return the state of each global random generator whose library is loaded."""
    states: dict[str, Any] = {"random": random.getstate()}
    if "numpy" in sys.modules:
        states["numpy"] = repr(sys.modules["numpy"].random.get_state())
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].random.get_rng_state().tolist()
    return states


def _draw_random_numbers() -> None:
    """Draw from each global random generator whose library is loaded."""
    random.random()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.random()
    if "torch" in sys.modules:
        sys.modules["torch"].rand(1)
