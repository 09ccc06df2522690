"""What there is to know about B0 and its space, as computed: draws, searches, simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.accuracy import Accuracy
from nas.errors import InputError
from nas.evaluation.objective import Objective, make_objective
from nas.evaluation.process_pool import Advance, Computation, compute_in_parallel
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.cost import METRICS, Cost, measure_cost, save_measured
from nas.proxies.imagenet_predictor import SPACE, ImagenetProxy
from nas.proxies.predictor import Floats
from nas.seeding import derived_seed
from nas.spaces.budget import Budget
from nas.spaces.encoding import Encoding
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_budget, load_space
from nas.spaces.search_space import Choices, SearchSpace, Value
from nas.strategies.proposer import Proposer
from nas.strategies.samplers import DEFAULT, SAMPLERS, make_sampler
from nas.strategies.search import SearchResult, search
from nas.strategies.simulate import simulate

BUDGET = "400M-flops"
OBJECTIVES = ("accuracy", "reward")
DIGITS = 5
"""Of an accuracy: what lies beyond depends on the machine's arithmetic."""

_BLOCK = 10_000


@dataclass(frozen=True)
class ReproductionSettings:
    """What is asked.

    Attributes:
        random: how many random networks within the budget B0 is ranked among.
        trials: of each search, and the most that a sampler may need to match B0.
        seeds: how often each sampler tries.
        samplers: which.
        sampler: of the two searches.
        seed: decides all that is drawn; the samplers try with this and the following ones.

    Raises:
        InputError: a number is not positive, a sampler is not known or named twice.
    """

    random: int = 100_000
    trials: int = 300
    seeds: int = 20
    samplers: tuple[str, ...] = tuple(SAMPLERS)
    sampler: str = DEFAULT
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("random", "trials", "seeds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: {getattr(self, name)} is not accepted: at least 1")
        for name in (self.sampler, *self.samplers):
            make_sampler(name)
        if len(set(self.samplers)) < len(self.samplers):
            raise InputError(f"samplers: {', '.join(self.samplers)}: one is named twice")

    @property
    def steps(self) -> int:
        """How many steps there are to tell of: one for the draws, one a trial, found or spared."""
        return 1 + (len(OBJECTIVES) + len(self.samplers) * self.seeds) * self.trials


@dataclass(frozen=True)
class Draws:
    """Random networks within the budget: independent, uniform over all those of the space.

    Attributes:
        drawn: how many were drawn of the whole space, until so many were within the budget.
        flops: of each within it.
        accuracy: predicted of each, in [0, 1].
        best: choices of the best by each objective.
    """

    drawn: int
    flops: npt.NDArray[np.int64]
    accuracy: Floats
    best: Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True)
class Evidence:
    """All that was computed; the same settings, the same evidence.

    Attributes:
        searches: by objective.
        matched: by sampler, for every seed: the evaluations until a network was as accurate as B0
            at no more FLOPs; None: not within ``settings.trials``.
    """

    settings: ReproductionSettings
    draws: Draws
    searches: Mapping[str, SearchResult]
    matched: Mapping[str, Sequence[int | None]]


class Question:
    """The space, the budget, the proxy, and B0 in them."""

    def __init__(self) -> None:
        self.space: SearchSpace = load_space(SPACE)
        self.budget: Budget = load_budget(BUDGET)
        self.proxy = ImagenetProxy()
        self.b0: Architecture = efficientnet_b0()

    @cached_property
    def b0_cost(self) -> Cost:
        """What B0 costs."""
        return measure_cost(self.b0)

    @cached_property
    def b0_accuracy(self) -> Accuracy:
        """What is predicted of B0."""
        return self.predicted(self.b0)

    @cached_property
    def reward(self) -> Objective:
        """The paper's objective."""
        return make_objective("reward", self.budget)

    def predicted(self, architecture: Architecture) -> Accuracy:
        """Return the prediction for a network."""
        return self.proxy.evaluate(architecture, seed=0, report=lambda step, value: False)


@dataclass(frozen=True)
class RandomDraw:
    """Draw networks of the whole space until ``count`` are within the budget."""

    count: int
    seed: int

    def compute(self, advance: Advance) -> Draws:
        """Draw, and predict those within the budget."""
        question = Question()
        encoding = Encoding(Feasible(question.space, question.budget))
        rng = np.random.default_rng(derived_seed(self.seed, "random networks"))
        kept, drawn, within = [], 0, 0
        while within < self.count:
            rows = rng.integers(encoding.counts, size=(_BLOCK, len(encoding.counts)))
            costs = encoding.settle(rows)[1]
            allowed = np.flatnonzero(encoding.allowed(costs))[: self.count - within]
            within += len(allowed)
            drawn += _BLOCK if within < self.count else int(allowed[-1]) + 1
            choices = [encoding.choices(row) for row in rows[allowed]]
            accuracy = np.round(question.proxy.predictor.predict(choices)[0], DIGITS)
            kept.append((choices, costs[allowed], accuracy))
        advance(1)
        every = [choices for block, _, _ in kept for choices in block]
        cost = np.concatenate([block for _, block, _ in kept]).astype(np.int64)
        flops, params = (cost[:, METRICS.index(metric)] for metric in ("flops", "params"))
        accuracy = np.concatenate([block for _, _, block in kept])
        scores = {"accuracy": accuracy, "reward": rewards(question.reward, accuracy, flops)}
        best = {
            # In the order of nas.evaluation.objective.rank_key.
            objective: every[int(np.lexsort((params, flops, -np.round(score, 12)))[0])]
            for objective, score in scores.items()
        }
        return Draws(drawn, flops, accuracy, best)


def rewards(objective: Objective, accuracy: Floats, flops: npt.NDArray[np.int64]) -> Floats:
    """Return the rewards of many networks, as ``objective`` scores one."""
    assert objective.target_flops is not None
    result: Floats = accuracy * (flops / objective.target_flops) ** objective.exponent
    return result


@dataclass(frozen=True)
class Search:
    """Search by one objective."""

    objective: str
    sampler: str
    trials: int
    seed: int
    folder: Path

    def compute(self, advance: Advance) -> SearchResult:
        """Search."""
        question = Question()
        return search(
            question.space,
            question.budget,
            question.proxy,
            trials=self.trials,
            seed=self.seed,
            storage=self.folder / self.objective,
            sampler=self.sampler,
            objective=self.objective,
            on_trial=lambda trial: advance(1),
        )


@dataclass(frozen=True)
class Match:
    """Let one sampler search until it has matched B0."""

    sampler: str
    trials: int
    seed: int

    def compute(self, advance: Advance) -> int | None:
        """Return how many evaluations it took; None: more than ``trials``."""
        question = Question()
        space = question.space
        proposer = Proposer(space, question.budget, make_sampler(self.sampler), self.seed)

        def evaluate(number: int, choices: Choices) -> Accuracy:
            return question.predicted(space.decode(choices))

        found = None
        for trial in islice(simulate(space, proposer, evaluate), self.trials):
            assert trial.accuracy is not None
            if (
                trial.accuracy.mean >= question.b0_accuracy.mean
                and trial.cost.flops <= question.b0_cost.flops
            ):
                found = trial.number + 1
                break
        advance(self.trials)
        return found


def gather(settings: ReproductionSettings, jobs: int, advance: Advance) -> Evidence:
    """Compute all evidence in ``jobs`` processes.

    Raises:
        WorkerDied: a process was killed.
    """
    question = Question()
    # Every block of the space is measured once, here, and not by every process.
    Encoding(Feasible(question.space, question.budget))
    save_measured()
    seeds = range(settings.seed, settings.seed + settings.seeds)
    with TemporaryDirectory() as folder:
        searches = [
            Search(objective, settings.sampler, settings.trials, settings.seed, Path(folder))
            for objective in OBJECTIVES
        ]
        matches = [
            Match(sampler, settings.trials, seed) for seed in seeds for sampler in settings.samplers
        ]
        # The longest first, so that no process is left with one at the end.
        tasks: list[Computation[Any]] = [
            *searches,
            RandomDraw(settings.random, settings.seed),
            *matches,
        ]
        results = iter(compute_in_parallel(tasks, jobs, advance))
    found = {task.objective: next(results) for task in searches}
    draws = next(results)
    matched: dict[str, list[int | None]] = {sampler: [] for sampler in settings.samplers}
    for task in matches:
        matched[task.sampler].append(next(results))
    return Evidence(settings, draws, found, matched)
