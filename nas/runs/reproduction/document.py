"""``discovery.json``: what the evidence says, in numbers that follow from the settings alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import median
from typing import Any

import numpy as np

from nas._version import __version__
from nas.accuracy import Accuracy
from nas.evaluation.objective import Objective, pareto_front
from nas.evaluation.process_pool import Advance
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import ArchitectureRecord
from nas.networks.cost import CONVENTION, METRICS, Cost, measure_cost
from nas.networks.stage_diff import differences
from nas.proxies.protocol import description
from nas.proxies.stage_options import choices_of
from nas.runs.reproduction.conclusions import conclusions, limits
from nas.runs.reproduction.evidence import (
    DIGITS,
    OBJECTIVES,
    Evidence,
    Question,
    ReproductionSettings,
    rewards,
)
from nas.spaces.encoding import Encoding
from nas.spaces.feasible import Feasible
from nas.statistics import Z90

SCHEMA = "nas-search-discovery/1"

QUANTILE_DIGITS = 4
"""Of many networks predicted together: their fifth digit is not that of one predicted alone."""

QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class Documents:
    """All JSON that follows from the evidence, computed like it in one thread."""

    evidence: Evidence

    def compute(self, advance: Advance) -> dict[str, dict[str, Any]]:
        """Return what each file holds, by its name."""
        question = Question()
        best = {
            objective: found(question, self.evidence.settings, objective, searched.baseline)
            for objective, searched in self.evidence.searches.items()
        }
        data = document(question, self.evidence, best)
        return {
            "discovery.json": {**data, "conclusions": conclusions(data), "limits": limits(data)},
            "b0.json": b0_record(question).to_dict(),
            **{f"best-{objective}.json": one.record.to_dict() for objective, one in best.items()},
        }


@dataclass(frozen=True)
class Found:
    """The best network that a search found."""

    record: ArchitectureRecord
    trial: Trial
    corrected: Accuracy


def found(
    question: Question, settings: ReproductionSettings, objective: str, trial: Trial
) -> Found:
    """Return the best network by an objective, as an architecture file holds it."""
    corrected = question.proxy.corrected(trial.architecture)
    provenance = {
        "trial": trial.number,
        "choices": dict(trial.choices),
        **_provenance(question),
        "objective": objective,
        "sampler": settings.sampler,
        "seed": settings.seed,
        "trials": settings.trials,
        "corrected": corrected.to_dict(),
        "nearest": question.proxy.nearest(trial.architecture),
    }
    record = ArchitectureRecord(trial.architecture, trial.cost, trial.accuracy, provenance)
    return Found(record, trial, corrected)


def b0_record(question: Question) -> ArchitectureRecord:
    """Return B0 as an architecture file holds it."""
    provenance = {
        "source": "Tan & Le 2019 (arXiv 1905.11946), Table 1",
        "choices": question.space.encode(question.b0),
        **_provenance(question),
        "nearest": question.proxy.nearest(question.b0),
    }
    return ArchitectureRecord(question.b0, question.b0_cost, question.b0_accuracy, provenance)


def _provenance(question: Question) -> dict[str, Any]:
    return {
        "made_by": f"nas-search {__version__}",
        "space": question.space.name,
        "budget": question.budget.limits,
        "convention": CONVENTION,
        "proxy": description(question.proxy),
    }


def identity(question: Question, settings: ReproductionSettings) -> dict[str, Any]:
    """Return all that the numbers follow from."""
    return {
        **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()},
        "space": question.space.name,
        "budget": question.budget.limits,
        "reward_exponent": question.reward.exponent,
        "proxy": description(question.proxy),
    }


def document(question: Question, evidence: Evidence, best: Mapping[str, Found]) -> dict[str, Any]:
    """Return the content of ``discovery.json``."""
    return {
        "schema": SCHEMA,
        "target": question.b0.name,
        "settings": identity(question, evidence.settings),
        "metric": question.b0_accuracy.metric,
        "convention": CONVENTION,
        "b0": _b0(question),
        "random": _random(question, evidence),
        "best": {
            name: _found(question, evidence.searches[name].trials, one)
            for name, one in best.items()
        },
        "front": _front(question, front(trials_of_both(evidence))),
        "matching": _matching(question, evidence.settings, evidence.matched),
        "table": _table(question),
    }


def followed(question: Question, data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all JSON that follows from a ``discovery.json`` and the predictor, by file.

    Taken as they stand there, since finding them again takes minutes: which networks were drawn
    and found, how many of the drawn ones are better than B0, and how long each sampler took.
    """
    settings = ReproductionSettings(
        **{f.name: _plain(data["settings"][f.name]) for f in fields(ReproductionSettings)}
    )
    best = {
        objective: found(question, settings, objective, _trial(question, data["best"][objective]))
        for objective in OBJECTIVES
    }
    matched = {name: row["evaluations"] for name, row in data["matching"]["samplers"].items()}
    points = [(point["search"], _trial(question, point)) for point in data["front"]["points"]]
    both = [*points, *((objective, one.trial) for objective, one in best.items())]
    result = {
        "schema": SCHEMA,
        "target": question.b0.name,
        "settings": identity(question, settings),
        "metric": question.b0_accuracy.metric,
        "convention": CONVENTION,
        "b0": _b0(question),
        "random": {
            **data["random"],
            **{n: _drawn(question, data["random"][n]) for n in OBJECTIVES},
        },
        "best": {
            name: {
                **_found(question, (), one),
                **{key: data["best"][name][key] for key in ("trials", "b0_was_tried")},
            }
            for name, one in best.items()
        },
        # The best of both searches are on it, or as good as one that is.
        "front": _front(question, front(both)),
        "matching": _matching(question, settings, matched),
        "table": _table(question),
    }
    return {
        "discovery.json": {**result, "conclusions": conclusions(result), "limits": limits(result)},
        "b0.json": b0_record(question).to_dict(),
        **{f"best-{objective}.json": one.record.to_dict() for objective, one in best.items()},
    }


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _trial(question: Question, one: Mapping[str, Any]) -> Trial:
    architecture = question.space.decode(one["choices"])
    accuracy = question.predicted(architecture)
    cost = measure_cost(architecture)
    return Trial(one["trial"], one["choices"], architecture, cost, "finished", accuracy)


def _drawn(question: Question, one: Mapping[str, Any]) -> dict[str, Any]:
    architecture = question.space.decode(one["best"]["choices"])
    best = _network(
        question, architecture, measure_cost(architecture), question.predicted(architecture)
    )
    return {
        **one,
        "rank_of_b0": one["better_than_b0"] + 1,
        "best": {**best, "choices": one["best"]["choices"]},
    }


def _b0(question: Question) -> dict[str, Any]:
    return {
        **_network(question, question.b0, question.b0_cost, question.b0_accuracy),
        "choices": question.space.encode(question.b0),
        "nearest": _nearest(question, question.b0),
    }


def _network(
    question: Question, architecture: Architecture, cost: Cost, accuracy: Accuracy
) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "cost": cost.to_dict(),
        "accuracy": accuracy.mean,
        "standard_error": accuracy.standard_error,
        "reward": _reward(question.reward, accuracy, cost),
    }


def _reward(objective: Objective, accuracy: Accuracy, cost: Cost) -> float:
    return round(objective.score(accuracy, cost), DIGITS)


def _random(question: Question, evidence: Evidence) -> dict[str, Any]:
    """Rank B0 among random networks: 1 more than there are better ones."""
    draws, cost, accuracy = evidence.draws, question.b0_cost, question.b0_accuracy
    values = {
        "accuracy": (draws.accuracy, accuracy.mean),
        "reward": (
            rewards(question.reward, draws.accuracy, draws.flops),
            question.reward.score(accuracy, cost),
        ),
    }
    dominating = (draws.accuracy >= accuracy.mean) & (draws.flops <= cost.flops)
    result: dict[str, Any] = {
        "distribution": "independent draws, uniform over all choices of the space; "
        "those over the budget are rejected",
        "within_budget": len(draws.flops),
        "drawn": draws.drawn,
        "as_accurate_as_b0_at_its_flops": int(dominating.sum()),
    }
    for name, (of_draws, of_b0) in values.items():
        better = int((of_draws > of_b0).sum())
        architecture = question.space.decode(draws.best[name])
        best = _network(
            question, architecture, measure_cost(architecture), question.predicted(architecture)
        )
        quantiles = np.quantile(of_draws, QUANTILES)
        result[name] = {
            "better_than_b0": better,
            "rank_of_b0": better + 1,
            "quantiles": {
                f"{q:g}": round(float(value), QUANTILE_DIGITS)
                for q, value in zip(QUANTILES, quantiles, strict=True)
            },
            "best": {**best, "choices": dict(draws.best[name])},
        }
    return result


def _found(question: Question, trials: Sequence[Trial], one: Found) -> dict[str, Any]:
    """Say what a search found, and how it differs from B0, as a whole and stage by stage."""
    trial, architecture = one.trial, one.trial.architecture
    assert trial.accuracy is not None
    return {
        **_network(question, architecture, trial.cost, trial.accuracy),
        "corrected": one.corrected.mean,
        "corrected_standard_error": one.corrected.standard_error,
        "corrected_reward": _reward(question.reward, one.corrected, trial.cost),
        "trial": trial.number,
        "trials": len(trials),
        "b0_was_tried": any(t.architecture.key() == question.b0.key() for t in trials),
        "choices": dict(trial.choices),
        "against_b0": _against(question, trial.accuracy, one.corrected, trial.cost),
        "stages": [
            {
                "name": row.name,
                "differs": list(row.fields),
                "b0": row.first.to_dict(),
                "found": row.second.to_dict(),
            }
            for row in differences(question.b0, architecture)
        ],
        "nearest": _nearest(question, architecture),
    }


def _against(
    question: Question, accuracy: Accuracy, corrected: Accuracy, cost: Cost
) -> dict[str, Any]:
    """Compare a network that was chosen as the best of many with B0, which was not.

    The two errors are taken as independent.
    """
    b0, b0_cost = question.b0_accuracy, question.b0_cost
    gap = corrected.mean - b0.mean
    error = math.hypot(corrected.standard_error, b0.standard_error)
    return {
        "flops": cost.flops - b0_cost.flops,
        "flops_ratio": round(cost.flops / b0_cost.flops, 4),
        "accuracy": round(accuracy.mean - b0.mean, DIGITS),
        "corrected": round(gap, DIGITS),
        "standard_error": round(error, DIGITS),
        "interval_90": [round(gap - Z90 * error, DIGITS), round(gap + Z90 * error, DIGITS)],
        "told_apart": bool(abs(gap) > Z90 * error),
    }


def _nearest(question: Question, architecture: Architecture) -> list[dict[str, Any]]:
    """Return the nearest networks that were really trained, and in how many choices they differ."""
    own = question.space.encode(architecture)
    return [
        {
            "accuracy": row["accuracy"],
            "flops": row["flops"],
            "different_choices": sum(row["choices"][name] != value for name, value in own.items()),
            "choices": row["choices"],
        }
        for row in question.proxy.nearest(architecture)
    ]


def _front(question: Question, trials: Iterable[tuple[str, Trial]]) -> dict[str, Any]:
    """Return the front over the trials of both searches, and what of it dominates B0."""
    b0, b0_cost = question.b0_accuracy, question.b0_cost
    points: list[dict[str, Any]] = []
    for objective, trial in trials:
        assert trial.accuracy is not None
        dominates = (
            trial.accuracy.mean >= b0.mean
            and trial.cost.flops <= b0_cost.flops
            and (trial.accuracy.mean, trial.cost.flops) != (b0.mean, b0_cost.flops)
        )
        corrected = question.proxy.corrected(trial.architecture)
        points.append(
            {
                "name": trial.architecture.name,
                "search": objective,
                "trial": trial.number,
                "flops": trial.cost.flops,
                "params": trial.cost.params,
                "accuracy": trial.accuracy.mean,
                "standard_error": trial.accuracy.standard_error,
                "dominates_b0": dominates,
                "against_b0": _against(question, trial.accuracy, corrected, trial.cost),
                "choices": dict(trial.choices),
            }
        )
    dominating = [point for point in points if point["dominates_b0"]]
    return {
        "b0_is_on_it": not dominating,
        "dominating": len(dominating),
        "dominating_told_apart": sum(p["against_b0"]["told_apart"] for p in dominating),
        "points": points,
    }


def trials_of_both(evidence: Evidence) -> list[tuple[str, Trial]]:
    """Return the trials of both searches, each with whose it is."""
    return [
        (name, trial)
        for name in OBJECTIVES
        for trial in evidence.searches[name].trials
        if trial.state == "finished"
    ]


def front(both: Sequence[tuple[str, Trial]]) -> list[tuple[str, Trial]]:
    """Return the Pareto front over trials of both searches, by FLOPs, with who found each."""
    # Trials of two searches have the same numbers: their places are used instead.
    numbered = [replace(trial, number=place) for place, (_, trial) in enumerate(both)]
    return [both[trial.number] for trial in pareto_front(numbered, Objective())]


def _matching(
    question: Question, settings: ReproductionSettings, matched: Mapping[str, Sequence[int | None]]
) -> dict[str, Any]:
    return {
        "accuracy": question.b0_accuracy.mean,
        "flops": question.b0_cost.flops,
        "most": settings.trials,
        "first_seed": settings.seed,
        "samplers": {
            sampler: {
                "matched": sum(count is not None for count in counts),
                "of": len(counts),
                "median": _median(counts),
                "evaluations": list(counts),
            }
            for sampler, counts in matched.items()
        },
    }


def _median(counts: Iterable[int | None]) -> float | None:
    """Return the median, where None is more than any number."""
    middle = median(math.inf if count is None else count for count in counts)
    return None if math.isinf(middle) else middle


def _table(question: Question) -> dict[str, Any]:
    """Say what the networks that were really trained have to say themselves."""
    arrays = question.proxy.predictor.arrays
    rows = [choices_of(options, question.space) for options in arrays.rows]
    encoding = Encoding(Feasible(question.space, question.budget))
    costs = encoding.settle(np.array([encoding.row(choices) for choices in rows]))[1]
    within = [
        (round(float(arrays.accuracy[row]), 6), -int(costs[row, METRICS.index("flops")]))
        for row in np.flatnonzero(encoding.allowed(costs))
    ]
    best = max(within)
    return {
        "rows": len(rows),
        "has_b0": question.space.encode(question.b0) in rows,
        "within_budget": len(within),
        "best_within_budget": {"accuracy": best[0], "flops": -best[1]},
        "as_accurate_as_b0_is_predicted": sum(a >= question.b0_accuracy.mean for a, _ in within),
    }
