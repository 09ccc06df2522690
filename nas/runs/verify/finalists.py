"""The finalists and the test of the baseline, chosen and compared again from their evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from nas.evaluation.objective import Objective, make_objective
from nas.evaluation.seeded_runs import MeasuredNetwork
from nas.files import validate
from nas.networks.cost import measure_cost
from nas.proxies.short_training import seen_by_training
from nas.records.comparison_document import ComparedEntry
from nas.records.finalists_file import FinalistsFile
from nas.runs.schedule import FINAL_SEEDS
from nas.runs.verify.verified_folder import runs_of
from nas.runs.verify.verified_run import FINALS, VerifiedRun
from nas.strategies.comparison import SeededComparison, compare_networks
from nas.strategies.finalists import (
    choose_finalist,
    compare_finalists,
    finalists,
    with_references,
)

_FINALISTS: TypeAdapter[FinalistsFile] = TypeAdapter(FinalistsFile)


def finals_of(run: VerifiedRun) -> dict[str, Any] | None:
    """Return ``finalists.json`` without the test: by the study, or by the evaluations in the file.

    None: there is no such file.

    Raises:
        InputError: the file is not what it should be.
    """
    if run.finals_written is None:
        return None
    file = validate(_FINALISTS, run.finals_written, FINALS)
    objective = make_objective(run.identity["objective"], run.budget, "loss")
    trials = [entry.trial for entry in file.entries if entry.trial is not None]
    if run.from_study and run.reference is not None:
        plan, space = run.state.plan, run.space
        assert plan is not None  # there were images
        assert space is not None  # its trials are known
        seen = seen_by_training(plan.finals, space.resolution)
        chosen = finalists(run.known, len(trials), seen)
        networks = with_references(
            (trial.architecture for trial in chosen), run.references or [run.reference]
        )
        name = run.named("finals", *(network.key() for network in networks))
        with run.folder.study(name) as study:
            if study is not None:
                runs = runs_of(networks, study, objective, run.identity["seed"], "finals")
                found = compare_finalists(
                    chosen, networks, run.reference, runs, objective, FINAL_SEEDS
                )
                return found.to_dict()
        run.note("study.log has no trainings of these finalists")
    names = [entry.name for entry in file.entries]
    return choose_finalist(
        SeededComparison.of(_networks(run, file.entries, objective)),
        trials,
        names.index(file.reference),
        objective,
        run.baseline_record.architecture.num_classes,
    ).to_dict()


def test_of(run: VerifiedRun) -> SeededComparison | None:
    """Return the test of the baseline: by the study, or by the evaluations in ``finalists.json``.

    None: there was none, or it is not known.
    """
    best, data = run.baseline_record.architecture, run.finals_written
    objective = make_objective("accuracy", run.budget, "loss")
    if not run.has_study or (data is not None and run.reference is None):
        if data is None:
            return None
        file = validate(_FINALISTS, data, FINALS)
        if file.test is None:
            return None
        return SeededComparison.of(_networks(run, file.test.entries, objective))
    networks, seeds = [best], 1
    if data is not None and run.reference is not None:
        networks, seeds = with_references([best], run.references or [run.reference]), FINAL_SEEDS
    with run.folder.study(run.named("test", *(n.key() for n in networks))) as study:
        if study is None:
            return None
        runs = runs_of(networks, study, objective, run.identity["seed"], "test")
        return compare_networks(runs, seeds)


def _networks(
    run: VerifiedRun, entries: Sequence[ComparedEntry], objective: Objective
) -> list[MeasuredNetwork]:
    """Return networks with their evaluations; scores, and costs where they are known, anew."""
    known = {trial.architecture.name: trial.architecture for trial in run.known}
    if run.reference is not None:
        known[run.reference.name] = run.reference
    known |= {reference.name: reference for reference in run.references}
    networks = [entry.measured.rescored(objective) for entry in entries]
    return [
        replace(network, cost=measure_cost(known[network.name]))
        if network.name in known
        else network
        for network in networks
    ]
