"""The trainings of grown networks, from the study or from the file that holds them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from nas.errors import InputError
from nas.evaluation.objective import make_objective
from nas.files import validate
from nas.records.coefficients_file import CoefficientsFile
from nas.records.plan import grown_phase
from nas.runs.coefficients import MeasuredGrowth
from nas.runs.growth import growth_of_runs, planned_networks, runs_of_networks
from nas.runs.verify.verified_folder import runs_of
from nas.runs.verify.verified_run import COEFFICIENTS, VerifiedRun

_FILE: TypeAdapter[CoefficientsFile] = TypeAdapter(CoefficientsFile)


def growth_of(run: VerifiedRun, data: dict[str, Any]) -> MeasuredGrowth | None:
    """Return the trainings that the coefficients follow from; None: there are none.

    Args:
        run: that is verified.
        data: content of its ``coefficients.json``.

    Raises:
        InputError: the file is not what it should be.
    """
    written = validate(_FILE, data, COEFFICIENTS).training
    plan = None if run.state.plan is None else run.state.plan.scaled
    if plan is None or (written is None and not run.has_study):
        return None
    baseline = run.baseline_record.architecture
    try:
        networks = planned_networks(baseline, plan)
    except InputError:
        return None  # the run said that this baseline cannot grow so far
    images = run.state.data
    name = "the images" if images is None else images.name
    if run.has_study:
        by_length = []
        objective = make_objective("accuracy", run.budget, "loss")
        for settings in plan.trainings:
            phase = grown_phase(settings)
            own = [network.architecture for network in networks]
            with run.folder.study(run.named(phase, *(one.key() for one in own))) as study:
                if study is not None:
                    found = runs_of(own, study, objective, run.identity["seed"], phase)
                    by_length.append((settings.images_seen, found.all_measured()))
        if by_length:
            return growth_of_runs(baseline, plan, name, networks, runs_of_networks(by_length))
        run.note("study.log has no trainings of grown networks")
    if written is None or len(written.points) != len(networks):
        return None
    runs = tuple(point.runs for point in written.points)
    return growth_of_runs(baseline, plan, name, networks, runs)
