"""A run: the whole pipeline in one folder, from a budget to a family, resumable at any moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import InputError, one_line
from nas.evaluation.database import resolved
from nas.evaluation.local import default_jobs
from nas.evaluation.objective import make_objective
from nas.files import write_text
from nas.networks.architecture_file import ArchitectureRecord
from nas.progress import Progress, SilentProgress
from nas.proxies.registry import proxy_capabilities
from nas.records.result_folder import ResultFolder
from nas.records.results import run_files, write_family, write_finals, write_found
from nas.records.run_state import (
    BaselineLatency,
    LatencyTiming,
    ProxyCheckSummary,
    RunState,
    TrainedBaseline,
    TrialCounts,
)
from nas.runs.coefficients import ChosenCoefficients
from nas.runs.context import resolve
from nas.runs.final_training import check_export
from nas.runs.identity import corrected, final
from nas.runs.notes import Notes
from nas.runs.phases import WORK, PhaseResults
from nas.runs.schedule import PHASES
from nas.runs.session import RunSession
from nas.runs.settings import RunSettings
from nas.spaces.feasible import Feasible
from nas.spaces.latency_table import milliseconds
from nas.spaces.toml import space_to_toml
from nas.strategies.comparison import SeededComparison
from nas.strategies.finalists import FinalistsResult
from nas.strategies.proxy_check import ProxyCheck
from nas.strategies.samplers import make_sampler
from nas.strategies.search import SearchResult

if TYPE_CHECKING:
    from nas.evaluation.ray_cluster import RayCluster


SPACE_FILE = "space.toml"
"""The search space, in a run's folder, where it was made around trained weights."""


@dataclass(frozen=True)
class RunResult:
    """What a run made; everything is in its folder too."""

    folder: Path
    search: SearchResult
    baseline: ArchitectureRecord
    front: tuple[ArchitectureRecord, ...]
    finals: FinalistsResult | None
    check: ProxyCheck | None
    scaling: ChosenCoefficients | None
    family: tuple[ArchitectureRecord, ...]
    test: SeededComparison | None
    trained: TrainedBaseline | None
    notes: tuple[str, ...]
    phase_seconds: dict[str, float]


def run(settings: RunSettings, progress: Progress | None = None) -> RunResult:
    """Run, or resume, the whole pipeline and write its folder.

    Args:
        settings: what is asked for.
        progress: shows how far it is; None: nothing is shown.

    Raises:
        InputError: wrong input, an occupied or foreign folder, a place that cannot be written.
        nas.EvaluationFailed: too many failures, or nothing finished.
    """
    start = time.monotonic()
    progress = progress or SilentProgress()
    if settings.storage is not None:
        settings = replace(settings, storage=resolved(settings.storage))
    _check(settings)
    notes = Notes(progress)
    with (
        ResultFolder.open(settings.folder, RunState, progress.note) as folder,
        _cluster(settings, progress) as cluster,
    ):
        jobs = default_jobs(settings.device) if cluster is None else cluster.capacity
        # Ray has a place of its own for what processes share.
        context = resolve(settings, folder, jobs, cluster is None, progress, notes)
        session = RunSession(context, folder, progress, notes, start, cluster)
        if settings.made_space is not None:
            write_text(folder.path / SPACE_FILE, space_to_toml(settings.space))
        if settings.finalist_count:
            session.save(references=[one.to_dict() for one in context.references()])
        results = PhaseResults()
        left = [phase.name for phase in PHASES if phase.applies(settings)]
        while left:
            name = left.pop(0)
            results = session.timed(name, WORK[name], results)
            # Once nothing can change the baseline any more, it is written with what is known.
            if results.search is not None and "finals" not in left:
                baseline, front = _write_found(session, results)
        scaling = results.scaling
        family = write_family(
            folder.path,
            baseline,
            None if scaling is None else scaling.coefficients,
            {} if scaling is None else scaling.to_dict(),
        )
        _finish(session, results)
        return RunResult(
            folder=folder.path,
            search=results.found,
            baseline=baseline,
            front=front,
            finals=results.finals,
            check=results.check,
            scaling=scaling,
            family=family,
            test=results.test,
            trained=results.trained,
            notes=notes.texts,
            phase_seconds=dict(session.state.seconds),
        )


def _check(settings: RunSettings) -> None:
    """Raise :class:`InputError` for what can be known to be wrong before anything is loaded."""
    looks = proxy_capabilities(settings.proxy_name).needs_images
    if settings.budget.latency_ms is None:
        space = settings.space
        if settings.data is not None or looks:
            space = replace(space, num_classes=2)  # until the images say how many they have
        Feasible(space, settings.budget).check()
    elif settings.latency is None:
        raise InputError(f"budget {settings.budget.name!r}: latency needs a device or a table")
    make_sampler(settings.sampler)
    make_objective(settings.objective, settings.budget)
    check_export(settings)
    if settings.coefficients_by == "training" and settings.data is None:
        raise InputError("--coefficients training: not accepted without --data")
    if settings.weights is not None and settings.data is None:
        raise InputError("--weights: not accepted without --data")
    if settings.finalist_count and settings.data is None and not looks:
        raise InputError(
            f"--finalists {settings.finalist_count}: not accepted without --data: proxy "
            f"{settings.proxy_name} uses no images, so there are none to train them on"
        )
    if settings.reference is not None and not settings.finalist_count:
        raise InputError("--reference: not accepted without finalists (--data or --finalists)")


@contextmanager
def _cluster(settings: RunSettings, progress: Progress) -> Iterator[RayCluster | None]:
    """Yield the Ray cluster that is asked for; None: evaluations run on this machine."""
    if settings.engine != "ray":
        yield None
        return
    from nas.evaluation import ray_cluster

    progress.phase("connect to Ray", None)
    gpus = float(settings.device.startswith("cuda"))
    with ray_cluster.connect_to_ray(
        settings.ray_address,
        cpus=1.0 if settings.cpus_per_trial is None else settings.cpus_per_trial,
        gpus=gpus if settings.gpus_per_trial is None else settings.gpus_per_trial,
    ) as connected:
        yield connected


def _write_found(
    session: RunSession, results: PhaseResults
) -> tuple[ArchitectureRecord, tuple[ArchitectureRecord, ...]]:
    """Write the front, the baseline and the finalists; return the baseline and the front."""
    context, finals, test = session.context, results.finals, results.test
    best = results.found.baseline.architecture
    more = corrected(context.proxy, best) | final(None if finals is None else finals.to_dict())
    tested = None if test is None else test.networks[0].accuracy
    latencies = context.settings.budget.latencies
    folder = session.folder.path
    written = write_found(folder, results.found, context.provenance, tested, more, latencies)
    write_finals(folder, finals, test)
    return written


def _finish(session: RunSession, results: PhaseResults) -> None:
    """Write the state of the finished run with the hashes of its files, and the report."""
    found, check = results.found, results.check
    latency = _baseline_latency(session, results)
    counts = {state: found.count(state) for state in ("finished", "stopped", "failed")}
    session.state = session.folder.finish(
        session.state.updated(
            trials=TrialCounts(**counts),
            check=None if check is None else ProxyCheckSummary(**check.to_dict()),
            latency=latency,
            paths={
                word: path.model_copy(update={"absolute": None})
                for word, path in session.state.paths.items()
            },
            notes=list(session.notes.texts),
        ),
        run_files(session.folder.path),
    )
    _report(session)


def _baseline_latency(session: RunSession, results: PhaseResults) -> BaselineLatency | None:
    """Return what the baseline takes end to end, beside the sum that the budget limited."""
    settings, best = session.context.settings, results.found.baseline.architecture
    table, source = settings.budget.latencies, settings.latency
    if table is None or source is None:
        return None
    own = table.of(best)
    whole = source.whole(best) if source.setting() == table.setting else None
    if whole is None:
        return BaselineLatency(sum=own, whole=None)
    session.notes.add(
        f"latency of the baseline: {milliseconds(own)} by the table, end to end "
        f"{milliseconds(whole.median)} ({milliseconds(whole.low)} to {milliseconds(whole.high)})"
    )
    return BaselineLatency(sum=own, whole=LatencyTiming(**asdict(whole)))


def _report(session: RunSession) -> None:
    """Write what people look at; the run is finished, whether that succeeds or not."""
    from nas.report.write import write_report

    session.progress.phase("report", None)
    try:
        write_report(session.folder.path, session.context.settings.storage)
    except Exception as error:
        reason = one_line(error, 200) or type(error).__name__
        session.notes.add(f"the report could not be made: {reason}")
        with suppress(InputError):
            session.save(notes=list(session.notes.texts))
