"""How far a proxy can be trusted: its ranking of networks whose accuracy somebody measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from nas.errors import EvaluationFailed
from nas.evaluation.executor import Task
from nas.evaluation.local import local_engine
from nas.evaluation.objective import make_objective
from nas.evaluation.scheduler import FailureStreak, Scheduler
from nas.evaluation.source import FixedList, Planned
from nas.evaluation.study import Study
from nas.evaluation.study_row import StudyRow
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.proxies.protocol import FittedToTable, Proxy, capabilities_of, description
from nas.runs.fidelity.table_sample import SampledNetwork, SampleGroup, TableSample
from nas.seeding import derived_seed
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.statistics import Agreement, Floats, Interval, agreement, interval, resample

OnEvaluation = Callable[[int, int], None]


@dataclass(frozen=True)
class Ranking:
    """How well a group was ranked by the proxy and, on the same networks, by what costs nothing.

    Attributes:
        proxy: by what the proxy ranks by.
        flops: by FLOPs, more being better.
        params: by parameters.
        layers: by the number of layers; None: all have the same. Likewise ``strided``, the number
            of those that reduce the resolution. A proxy should rank better than such counts.
        minus_flops_ci95: of Kendall's τ of the proxy less that of FLOPs, by a paired bootstrap.
        repeats: the table's first measurement by its second; None where it has but one. What
            agrees with their mean no better than they agree with each other may be perfect.
    """

    proxy: Agreement
    flops: Agreement
    params: Agreement
    layers: Agreement | None
    strided: Agreement | None
    minus_flops_ci95: Interval
    repeats: Agreement | None

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``equal``: the proxy beside FLOPs, at 95 %."""
        low, high = self.minus_flops_ci95
        return "better" if low > 0 else "worse" if high < 0 else "equal"


@dataclass(frozen=True)
class Measured:
    """What came of a group.

    Attributes:
        group: its networks.
        finished: how many the proxy evaluated; the ranking is of these.
        failed: how many it could not.
        seconds: wall time of the preparation, and of these evaluations over the jobs.
        ranking: None where fewer than two finished.
    """

    group: SampleGroup
    finished: int
    failed: int
    seconds: float
    ranking: Ranking | None


@dataclass(frozen=True)
class Fidelity:
    """How far a proxy can be trusted on a table.

    Attributes:
        proxy: its name and settings.
        overall: of the whole table.
        bands: of each band.
        evaluated: different networks that were evaluated, failed ones included.
        drawn: different networks that were to be.
        in_sample: how many of the networks that finished went into the proxy itself.
        preparation_seconds: wall time of the proxy's one preparation.
        seconds: wall time of preparation and evaluations; of evaluations that were done already,
            what they took then, over the jobs.
        notes: what is to be known of the numbers, a line each.
    """

    proxy: dict[str, Any]
    overall: Measured
    bands: tuple[Measured, ...]
    evaluated: int
    drawn: int
    in_sample: int
    preparation_seconds: float
    seconds: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON: a group's keys are the same overall and in a band."""
        name = self.proxy["name"]
        return {
            **_plain(self.overall, name),
            "seconds": round(self.seconds, 3),
            "preparation_seconds": round(self.preparation_seconds, 3),
            "evaluations": self.evaluated,
            "in_sample": self.in_sample > 0,
            "settings": {key: value for key, value in self.proxy.items() if key != "name"},
            "bands": [
                {"flops": list(band.group.flops or ()), **_plain(band, name)} for band in self.bands
            ],
            "notes": list(self.notes),
        }


def measure_fidelity(
    draw: TableSample,
    proxy: Proxy,
    *,
    space: SearchSpace | None = None,
    jobs: int = 1,
    seconds: float | None = None,
    folder: Path | None = None,
    study_name: str = "fidelity",
    on_evaluation: OnEvaluation | None = None,
) -> Fidelity:
    """Let a proxy rank networks whose accuracy is known, and say how well it does.

    The proxy is prepared once, for all bands; a network in several groups is evaluated once. What
    fails is counted and left out; the rankings by FLOPs and by parameters leave it out too.

    Args:
        draw: the networks; see :func:`nas.runs.fidelity.table_sample.draw_networks`.
        proxy: what is judged. It ranks by what its capabilities say.
        space: the draw's, with the input (channels, classes) that the proxy's data has.
        jobs: how many evaluations run at once.
        seconds: nothing starts that would probably end later than this.
        folder: keeps the evaluations and what the proxy prepares; a study that is there is
            continued. None: a temporary one.
        study_name: of the evaluations: one for each proxy, data, table and seed.
        on_evaluation: told how many of how many are done, first when the proxy is prepared.

    Raises:
        InputError: the proxy cannot work in this space, or not in parallel.
        EvaluationFailed: nothing finished, or too many in a row failed.
    """
    space = space or draw.space
    capabilities = capabilities_of(proxy)
    objective = make_objective("accuracy", Budget("none"), capabilities.rank_by)
    networks = {network.number: network for network in draw.networks}
    seen = {n: _in_space(space, network.architecture) for n, network in networks.items()}
    budget = budget_of(draw, space)
    with TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        start = time.monotonic()
        proxy.prepare(space, budget, place)
        prepared = time.monotonic() - start
        study = Study(place, study_name, space.choices)
        done = {number: row for number, row in study.rows().items() if number in networks}
        earlier = sum(row.attrs.get("seconds", 0.0) for row in done.values()) / jobs
        planned = [
            Planned(
                Task(number, seen[number], derived_seed(draw.seed, "fidelity", seen[number].key())),
                str(number),
                draw.space.encode(network.architecture),
                {"architecture": network.architecture.name, "table_accuracy": network.accuracy},
            )
            for number, network in networks.items()
        ]
        deadline = None if seconds is None else start + seconds
        tell = on_evaluation or (lambda done, total: None)
        tell(len(done), len(networks))

        def on_row(row: StudyRow) -> None:
            done[row.number] = row
            tell(len(done), len(networks))

        failures = FailureStreak(done, tolerant=capabilities.partial)
        with closing(local_engine(proxy, jobs)) as engine:
            source = FixedList(planned, objective, on_row)
            Scheduler(source, study, engine, deadline, failures).run()
        elapsed = time.monotonic() - start
    return _judge(draw, proxy, seen, done, prepared, elapsed + earlier, jobs)


def budget_of(draw: TableSample, space: SearchSpace) -> Budget:
    """Return the budget that a proxy is prepared with: with bands, the highest FLOPs drawn.

    ``space`` has the input that the proxy's data has.
    """
    if len(draw.groups) == 1:
        return Budget("none")
    drawn = (_in_space(space, network.architecture) for network in draw.networks)
    highest = max(measure_cost(architecture).flops for architecture in drawn)
    return Budget(f"{highest}-flops", flops=highest)


def _in_space(space: SearchSpace, drawn: Architecture) -> Architecture:
    """Return a network with the input of a space, and its own resolution where that is a choice."""
    return space.architecture(drawn.stages, drawn.resolution if space.resolutions else None)


def _judge(
    draw: TableSample,
    proxy: Proxy,
    seen: Mapping[int, Architecture],
    done: Mapping[int, StudyRow],
    prepared: float,
    seconds: float,
    jobs: int,
) -> Fidelity:
    failed = [row for row in done.values() if row.state == "failed"]
    finished = [number for number, row in done.items() if row.state == "finished"]
    if not finished:
        raise EvaluationFailed(
            f"none of {len(done)} evaluations finished; the last failed with: "
            f"{failed[-1].attrs['reason']}"
            if failed
            else "the time limit was reached before the first evaluation"
        )
    notes = [
        f"{group}: the table has only {group.available} networks; all are used"
        for group in draw.groups
        if group.available == len(group.networks)
    ]
    if failed:
        notes.append(
            f"{len(failed)} of {len(done)} evaluations failed and are left out; the first with: "
            f"{failed[0].attrs['reason']}"
        )
    if len(done) < len(seen):
        notes.append(f"the time limit was reached after {len(done)} of {len(seen)} evaluations")
    inside = 0
    held_out = ""
    if isinstance(proxy, FittedToTable):
        held_out = proxy.held_out
        inside = sum(proxy.in_sample(draw.table.sha256, seen[number]) for number in finished)
    if inside:
        notes.append(
            f"in-sample: the proxy was fitted to {inside} of these {len(finished)} networks, so "
            "its agreement on others is lower"
            + (f"; on held-out networks: {held_out}" if held_out else "")
        )
    overall, *bands = (_measured(group, done, draw.seed, prepared, jobs) for group in draw.groups)
    return Fidelity(
        description(proxy),
        overall,
        tuple(bands),
        evaluated=len(done),
        drawn=len(seen),
        in_sample=inside,
        preparation_seconds=prepared,
        seconds=seconds,
        notes=tuple(notes),
    )


def _repeats(networks: Sequence[SampledNetwork], samples: Floats) -> Agreement | None:
    if min(len(network.accuracies) for network in networks) < 2:
        return None
    first, second = (np.array([n.accuracies[turn] for n in networks]) for turn in (0, 1))
    return agreement(first, second, samples)


def _layers(network: Architecture) -> int:
    return sum(stage.layers for stage in network.stages if stage.op != "skip")


def _strided(network: Architecture) -> int:
    return sum(stage.stride > 1 for stage in network.stages if stage.op != "skip")


def _by_count(
    networks: Sequence[SampledNetwork],
    truth: Floats,
    samples: Floats,
    counted: Callable[[Architecture], int],
) -> Agreement | None:
    """Return how well a number of layers ranks; None where it is the same for all."""
    counts = np.array([counted(network.architecture) for network in networks], dtype=float)
    return agreement(truth, counts, samples) if len(set(counts)) > 1 else None


def _measured(
    group: SampleGroup, done: Mapping[int, StudyRow], seed: int, prepared: float, jobs: int
) -> Measured:
    own = [network for network in group.networks if network.number in done]
    finished = [network for network in own if done[network.number].state == "finished"]
    # Of what scores alike, the cheaper first: as a search would choose.
    finished.sort(key=lambda n: (n.cost.flops, n.cost.params, n.number))
    ranking = None
    if len(finished) > 1:
        truth, flops, params, score = (
            np.array(values, dtype=float)
            for values in (
                [network.accuracy for network in finished],
                [network.cost.flops for network in finished],
                [network.cost.params for network in finished],
                [done[network.number].value for network in finished],
            )
        )
        samples = resample(len(finished), derived_seed(seed, "bootstrap"))
        by_proxy, by_flops, by_params = (
            agreement(truth, values, samples) for values in (score, flops, params)
        )
        gain = interval(by_proxy.taus - by_flops.taus)
        layers, strided = (
            _by_count(finished, truth, samples, counted) for counted in (_layers, _strided)
        )
        repeats = _repeats(finished, samples)
        ranking = Ranking(by_proxy, by_flops, by_params, layers, strided, gain, repeats)
    return Measured(
        group,
        finished=len(finished),
        failed=len(own) - len(finished),
        seconds=prepared + sum(done[one.number].attrs.get("seconds", 0.0) for one in own) / jobs,
        ranking=ranking,
    )


def _plain(measured: Measured, proxy: str) -> dict[str, Any]:
    ranking = measured.ranking
    values: dict[str, Any] = dict.fromkeys(_RANKED)
    if ranking is not None:
        values = {key: _rounded(value(ranking)) for key, value in _RANKED.items()}
    return {
        **values,
        "samples": measured.finished,
        "failed": measured.failed,
        "in_table": measured.group.available,
        "seconds": round(measured.seconds, 3),
        "proxy": proxy,
    }


_RANKED: dict[str, Callable[[Ranking], float | Interval | None]] = {
    "kendall_tau": lambda r: r.proxy.kendall_tau,
    "kendall_tau_ci95": lambda r: r.proxy.kendall_tau_ci95,
    "spearman": lambda r: r.proxy.spearman,
    "kendall_tau_flops": lambda r: r.flops.kendall_tau,
    "kendall_tau_flops_ci95": lambda r: r.flops.kendall_tau_ci95,
    "kendall_tau_params": lambda r: r.params.kendall_tau,
    "kendall_tau_params_ci95": lambda r: r.params.kendall_tau_ci95,
    "kendall_tau_layers": lambda r: None if r.layers is None else r.layers.kendall_tau,
    "kendall_tau_layers_ci95": lambda r: None if r.layers is None else r.layers.kendall_tau_ci95,
    "kendall_tau_strided": lambda r: None if r.strided is None else r.strided.kendall_tau,
    "kendall_tau_strided_ci95": lambda r: None if r.strided is None else r.strided.kendall_tau_ci95,
    "kendall_tau_minus_flops_ci95": lambda r: r.minus_flops_ci95,
    "regret": lambda r: r.proxy.regret,
    "regret_top5": lambda r: r.proxy.regret_top5,
    "regret_flops": lambda r: r.flops.regret,
    "regret_params": lambda r: r.params.regret,
    "kendall_tau_repeats": lambda r: None if r.repeats is None else r.repeats.kendall_tau,
    "kendall_tau_repeats_ci95": lambda r: None if r.repeats is None else r.repeats.kendall_tau_ci95,
}
"""What is reported of a ranking, by key."""


def _rounded(value: float | Interval | None) -> float | list[float] | None:
    if value is None or isinstance(value, float):
        return value if value is None else round(value, 6)
    return [round(v, 6) for v in value]
