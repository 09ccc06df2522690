"""A run: the whole pipeline in one folder, from a budget to a family, resumable at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from nas.accuracy import at_chance
from nas.data import ImageData
from nas.data.dataset import channels_for, load_data
from nas.errors import InputError, one_line
from nas.evaluation.database import database_url, printable
from nas.evaluation.executor import Engine
from nas.evaluation.local import default_jobs, jobs_that_fit, local_engine
from nas.evaluation.objective import make_objective
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.study import Study, agreed
from nas.files import digest, validate
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.architecture_file import ArchitectureRecord
from nas.progress import ALREADY, Progress, shown_as
from nas.proxies.protocol import Proxy, TrainsReduced, capabilities_of, reduced
from nas.proxies.registration import ProxySetup
from nas.proxies.registry import (
    SUPERNET,
    check_grid_proxy,
    known_proxy,
    make_proxy,
    proxy_capabilities,
)
from nas.proxies.short_training import Tested, TrainingProxy
from nas.proxies.supernet import SupernetProxy
from nas.records.plan import Plan
from nas.records.result_folder import ResultFolder, check_identity
from nas.records.results import run_files, write_family, write_finals, write_found
from nas.records.run_document import LATENCY_FILE, RunDocument, check_storage, study_name
from nas.runs.provenance import (
    corrected,
    final,
    identity,
    opening,
    provenance,
    study_prefix,
)
from nas.runs.schedule import CHECKED, FINAL_SEEDS, GRID_POINTS, make_plan, time_for
from nas.runs.settings import Settings
from nas.runs.trial_log import Teller
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.latency_table import Setting, TableFile, milliseconds, table_of, write_table
from nas.spaces.search_space import SearchSpace
from nas.strategies.comparison import SeededComparison, compare_networks
from nas.strategies.finalists import FinalistsResult, compare_finalists, finalists, with_reference
from nas.strategies.loop import SearchResult
from nas.strategies.proposer import Proposer
from nas.strategies.proxy_check import ProxyCheck, check, sample
from nas.strategies.samplers import make_sampler
from nas.strategies.scaling_candidates import candidates, reference_point, spread
from nas.strategies.scaling_grid import GridResult, grid_search
from nas.strategies.search import search

if TYPE_CHECKING:
    from nas.evaluation.ray_cluster import RayCluster

T = TypeVar("T")

_PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)


@dataclass(frozen=True)
class RunResult:
    """What a run made; everything is in its folder too."""

    folder: Path
    search: SearchResult
    baseline: ArchitectureRecord
    front: tuple[ArchitectureRecord, ...]
    finals: FinalistsResult | None
    check: ProxyCheck | None
    grid: GridResult | None
    family: tuple[ArchitectureRecord, ...]
    test: SeededComparison | None
    notes: tuple[str, ...]
    phase_seconds: dict[str, float]


def run(settings: Settings, progress: Progress) -> RunResult:
    """Run, or resume, the whole pipeline and write its folder.

    Raises:
        InputError: wrong input, an occupied or foreign folder, a place that cannot be written.
        nas.strategies.loop.SearchFailed: too many failures, or nothing finished.
    """
    start = time.monotonic()
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
    check_grid_proxy(settings.grid_proxy)
    if settings.finalist_count and settings.data is None and not looks:
        raise InputError(
            f"--finalists {settings.finalist_count}: not accepted without --data: proxy "
            f"{settings.proxy_name} looks at no images, so there are none to train them on"
        )
    if settings.reference is not None and not settings.finalist_count:
        raise InputError("--reference: not accepted without finalists (--data or --finalists)")
    with (
        ResultFolder.open(settings.folder, RunDocument) as results,
        _cluster(settings, progress) as cluster,
    ):
        return _Run(settings, progress, start, results, cluster).run()


@contextmanager
def _cluster(settings: Settings, progress: Progress) -> Iterator[RayCluster | None]:
    """Yield the Ray cluster that is asked for, or None."""
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


class _Run:
    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        start: float,
        results: ResultFolder[RunDocument],
        cluster: RayCluster | None,
    ) -> None:
        self.settings = settings
        self.progress = progress
        self.start = start
        self.results = results
        self.folder = results.path
        self.notes: list[str] = []
        self.state: dict[str, Any] = {}
        self.identity: dict[str, Any] = {}
        capabilities = proxy_capabilities(settings.proxy_name)
        self.trains = capabilities.trains_candidates
        self.looks = capabilities.needs_images
        self.shares = capabilities.shares_weights
        self.cluster = cluster
        usual = default_jobs(settings.device) if cluster is None else cluster.capacity
        self.jobs = settings.jobs or usual

    def run(self) -> RunResult:
        settings = self.settings
        before = self.results.before
        if before is not None:
            check_storage(self.folder, before.command.get("storage"), settings.storage)
        # Before images are loaded: a wrong table is to be found at once.
        proxy: Proxy | None = None
        if not self.looks:
            proxy = known_proxy(settings.proxy_name, settings.space)
        data = self._load() if settings.data or self.looks or settings.scale else None
        # The built-in images are those of a proxy that trains, and not what the user wants to sort.
        searched = data if settings.data or self.looks else None
        space = settings.space
        if searched is not None:
            space = replace(space, in_channels=searched.channels, num_classes=searched.num_classes)
        if settings.budget.latency_ms is not None:
            settings = self.settings = replace(
                settings, budget=self._timed(space, searched, before)
            )
        if searched is not None or settings.budget.latency_ms is not None:
            Feasible(space, settings.budget).check()
        plan = None if before is None else before.plan
        if data is not None and plan is None:
            planned = make_plan(settings, data, space, self.jobs).model_dump(mode="json")
            content = self._agreed("plan", planned, space, searched)
            plan = validate(_PLAN, content, self._source("plan"))
        grid_proxy = trainer = None
        if data is not None and plan is not None:
            setup = ProxySetup(
                data=data,
                device=settings.device,
                seed=settings.seed,
                training=plan.search,
                supernet=plan.supernet,
                on_progress=shown_as(self.progress, SUPERNET),
            )
            if proxy is None:
                proxy = make_proxy(settings.proxy_name, setup)
            grid_proxy = make_proxy(settings.grid_proxy, replace(setup, training=plan.grid))
            if searched is not None:
                trainer = TrainingProxy(data, plan.finals, settings.device)
                trainer.prepare(space, settings.budget, self.folder)
        assert proxy is not None  # it needs no images, or there are some
        starts = [
            replace(
                architecture,
                resolution=space.resolution,
                in_channels=space.in_channels,
                num_classes=space.num_classes,
            )
            for architecture in settings.start
        ]
        self.identity = identity(settings, space, searched, proxy)
        self.results.check_identity(self.identity)
        self.state = opening(settings, self.identity, before, plan, data, self.jobs)
        # What cannot be started from, or stored in, is found before the run is written down.
        Proposer(space, settings.budget, make_sampler(settings.sampler), settings.seed, starts)
        if settings.storage is not None:
            rank_by = capabilities_of(proxy).rank_by
            goal = make_objective(settings.objective, settings.budget, rank_by)
            Study(settings.storage, self._study_name("search"), {}, metric=goal.name).close()
        table = settings.budget.latencies
        if table is not None:
            write_table(self.folder / LATENCY_FILE, table)
        self._save()

        if self.shares:
            self._phase("supernet", lambda: self._supernet(space, proxy))
        found = self._phase("search", lambda: self._search(space, proxy, starts))
        if at_chance(found.baseline.accuracy, space.num_classes):
            self._note(
                "the baseline is no better than chance after so little training: the search says "
                "nothing; take another --out with more --time, or your own --data"
            )
        origin = provenance(settings, searched, proxy)
        finals = None
        if settings.finalist_count and trainer is not None:
            finals = self._phase("finals", lambda: self._finals(found, trainer))
        if finals is not None and finals.baseline is not None:
            found = replace(found, baseline=finals.baseline)
        best = found.baseline.architecture
        more = corrected(proxy, best) | final(None if finals is None else finals.to_dict())
        baseline, front = write_found(self.folder, found, origin, None, more, table)
        write_finals(self.folder, finals, None)
        trust = None
        if settings.checks and trainer is not None:
            trust = self._phase("check", lambda: self._check(space, proxy, trainer))
        grid = None
        if settings.scale and grid_proxy is not None:
            grid_proxy.prepare(space, settings.budget, self.folder)
            grid = self._phase("grid", lambda: self._grid(best, grid_proxy))
        test = None
        if searched is not None and trainer is not None:
            test = self._phase("test", lambda: self._test(best, searched, trainer))
            tested = None if test is None else test.entries[0].accuracy
            baseline, front = write_found(self.folder, found, origin, tested, more, table)
            write_finals(self.folder, finals, test)
        members = write_family(self.folder, baseline, grid)
        self._time_whole(best)
        self.state |= {
            "trials": {state: found.count(state) for state in ("finished", "stopped", "failed")},
            "check": None if trust is None else trust.to_dict(),
            "notes": self.notes,
        }
        finished = self.results.finish(RunDocument(**self.state), run_files(self.folder))
        self.state |= {"status": finished.status, "files": finished.files}
        self._report()
        return RunResult(
            folder=self.folder,
            search=found,
            baseline=baseline,
            front=front,
            finals=finals,
            check=trust,
            grid=grid,
            family=members,
            test=test,
            notes=tuple(self.notes),
            phase_seconds=dict(self.state["seconds"]),
        )

    # -- phases ---------------------------------------------------------------------------------

    def _load(self) -> ImageData:
        settings = self.settings
        channels = channels_for(settings.space, settings.data)
        data = load_data(settings.data, channels, self.progress, self._note)
        if self.cluster is None:  # Ray has a place of its own for what processes share
            self.jobs = jobs_that_fit(self.jobs, {"the images": data.nbytes}, self._note)
        return data

    def _timed(
        self, space: SearchSpace, searched: ImageData | None, before: RunDocument | None
    ) -> Budget:
        """Return the budget with the latencies that it means; a run keeps those that it began with.

        Raises:
            InputError: they cannot be measured, do not have all blocks of the space, or are
                another run's.
        """
        path = self.folder / LATENCY_FILE
        source = self.settings.latency
        assert source is not None
        if before is not None:
            known, now = before.identity, {"space": digest(asdict(space))}
            check_identity(self.folder, {"space": known.get("space")}, now)
        if before is None or not path.exists():
            table = source.table(space, self.progress)
            if not isinstance(source, TableFile):
                how = _measured_by(table.setting)
                content = self._agreed("latency", table.to_dict(), space, searched, **how)
                table = table_of(content, self._source("latencies"))
        elif isinstance(source, TableFile):
            # Where its file is gone, the run has a copy.
            table = (source if source.path.exists() else TableFile(path)).table(space)
        else:
            table, asked = TableFile(path).table(space), source.setting()
            check_identity(self.folder, _measured_by(table.setting), _measured_by(asked))
        if table.check is not None:
            self._note(f"latency: {table.setting}; {table.check}")
        return replace(self.settings.budget, latencies=table)

    def _time_whole(self, baseline: Architecture) -> None:
        """Say what the baseline takes end to end, beside the sum that the budget held."""
        table, source = self.settings.budget.latencies, self.settings.latency
        if table is None or source is None:
            return
        own = table.of(baseline)
        whole = source.whole(baseline) if source.setting() == table.setting else None
        self.state["latency"] = {"sum": own, "whole": None if whole is None else asdict(whole)}
        if whole is not None:
            self._note(
                f"latency of the baseline: {milliseconds(own)} by the table, end to end "
                f"{milliseconds(whole.median)} ({milliseconds(whole.low)} to "
                f"{milliseconds(whole.high)})"
            )

    def _agreed(
        self, what: str, content: Any, space: SearchSpace, data: ImageData | None, **known: Any
    ) -> Any:
        """Return what the first of all drivers that share a storage has decided."""
        if self.settings.storage is None:
            return content
        known |= identity(self.settings, space, data, None)
        return agreed(
            self.settings.storage, study_name(study_prefix(self.settings), what, known), content
        )

    def _source(self, what: str) -> str:
        """Return the name of what the drivers agreed on, for messages."""
        storage = self.settings.storage
        where = "" if storage is None else f"storage {printable(database_url(storage))}: "
        return f"{where}the drivers' {what}"

    def _jobs_for(self, proxy: Proxy) -> int:
        """Return how many evaluations there may be at once: a supernet shares more than images."""
        if self.cluster is None and isinstance(proxy, SupernetProxy):
            shared = {"the images": proxy.data.nbytes, "the supernet": proxy.nbytes}
            return jobs_that_fit(self.jobs, shared, self._note)
        return self.jobs

    def _supernet(self, space: SearchSpace, proxy: Proxy) -> None:
        proxy.prepare(space, self.settings.budget, self.folder)
        if isinstance(proxy, SupernetProxy) and proxy.progress and proxy.progress.rollbacks:
            self._note(
                f"the supernet's training diverged: {len(proxy.progress.rollbacks)} rollbacks, "
                f"finished at {proxy.progress.rate:g} times the learning rate"
            )

    def _search(
        self,
        space: SearchSpace,
        proxy: Proxy,
        starts: Sequence[Architecture],
    ) -> SearchResult:
        settings = self.settings
        told = Teller(self.progress)
        seconds = time_for(settings, "search", self._gone())
        self.progress.phase("search", settings.trial_count, seconds=seconds)
        study_name = self._study_name("search")
        self._begin("search", study_name, settings.trial_count)
        trained = self.trains or self.shares
        engine = None
        if self.cluster is not None and trained:
            proxy.prepare(space, settings.budget, self.folder)
            engine = self.cluster.engine(proxy, self.jobs)
        jobs = self._jobs_for(proxy) if trained else 1
        result = search(
            space,
            settings.budget,
            proxy,
            trials=settings.trial_count,
            seed=settings.seed,
            storage=settings.storage or self.folder,
            study_name=study_name,
            sampler=settings.sampler,
            objective=settings.objective,
            jobs=jobs,
            engine=engine,
            start=starts,
            seconds=seconds,
            driver=self.state["driver"],
            on_trial=told.trial,
            on_resume=told.resumed,
            folder=self.folder,
        )
        if result.exhausted:
            self._note(
                f"the space has no more than {len(result.trials)} networks within the budget"
            )
        if result.out_of_time:
            self._note(
                f"the time for the search ended after {len(result.trials)} "
                f"of {settings.trial_count} trials"
            )
        return result

    def _grid(self, baseline: Architecture, proxy: Proxy) -> GridResult | None:
        view = partial(reduced, proxy)
        pixels = proxy.image_resolution if isinstance(proxy, TrainsReduced) else None
        self.progress.phase("coefficients", None)
        points = spread(candidates(baseline, view=view, image_resolution=pixels), GRID_POINTS)
        reference = reference_point(baseline, view=view, image_resolution=pixels)
        objective = make_objective("accuracy", self.settings.budget, capabilities_of(proxy).rank_by)
        study_name = self._study_name(
            "grid", baseline.key(), *(str(point.coefficients) for point in points)
        )
        study = Study(
            self.settings.storage or self.folder,
            study_name,
            {},
            {"alpha": (1.0, 4.0), "beta": (1.0, 4.0), "gamma": (1.0, 4.0)},
            owner=self.state["driver"],
            metric=objective.name,
        )
        started = False
        deadline = self._deadline("grid")

        def on_evaluation(done: int, total: int) -> None:
            nonlocal started
            if not started:
                self._begin("grid", study_name, total)
                seconds = None if deadline is None else deadline - time.monotonic()
                self.progress.phase("coefficients", total, seconds=seconds)
                if done > 1:
                    self.progress.advance(done - 1, ALREADY)
                started = True
            self.progress.advance(1)

        with study, self._engine(proxy, self.jobs) as engine:
            result = grid_search(
                baseline,
                points,
                reference,
                study,
                engine,
                objective,
                seed=self.settings.seed,
                deadline=deadline,
                on_evaluation=on_evaluation,
            )
        if result is None:
            self._note("the time ended before any coefficients were evaluated; resume with more")
        elif at_chance(result.chosen.accuracy, view(baseline).num_classes):
            self._note(
                "the scaled networks were no better than chance after so little training: "
                "the choice of coefficients says nothing; take another --out with more --time, "
                "or your own --data"
            )
        return result

    def _finals(self, found: SearchResult, trainer: TrainingProxy) -> FinalistsResult:
        """Train the best of the search and the reference from scratch."""
        settings = self.settings
        chosen = finalists(found.trials, settings.finalist_count)
        reference = self._reference(found.baseline.architecture)
        networks = with_reference((trial.architecture for trial in chosen), reference)
        deadline = self._deadline("finals")
        rank_by = capabilities_of(trainer).rank_by
        with self._rounds("finals", networks, trainer, FINAL_SEEDS, deadline) as rounds:
            result = compare_finalists(
                chosen,
                networks,
                reference,
                rounds,
                make_objective(settings.objective, settings.budget, rank_by),
                FINAL_SEEDS,
            )
        if result.baseline is None:
            self._note("no finalist could be trained; the baseline is the best of the search")
        elif all(
            entry.accuracy is None or at_chance(entry.accuracy, entry.architecture.num_classes)
            for entry in result.comparison.entries[: len(chosen)]
        ):
            self._note(
                "the finalists were no better than chance after so little training: they choose "
                "nothing, and the baseline is the best of the search; take another --out with "
                "more --time"
            )
            return replace(result, chosen=None)
        return result

    def _check(self, space: SearchSpace, proxy: Proxy, trainer: TrainingProxy) -> ProxyCheck | None:
        """Say how far the proxy's ranking can be trusted; None where too little was measured."""
        settings = self.settings
        networks = sample(Feasible(space, settings.budget), CHECKED, settings.seed)
        everyone = range(len(networks))
        deadline = self._deadline("check")
        # One after the other: each shows its own progress, and has the cores to itself.
        with self._rounds("check-proxy", networks, proxy, 1, deadline) as judged:
            judged.run(0, everyone)
        with self._rounds("check", networks, trainer, 1, deadline) as trained:
            trained.run(0, everyone)
        result = check(networks, judged, trained, settings.seed)
        self._note("the proxy could not be checked" if result is None else str(result))
        return result

    def _test(
        self, best: Architecture, data: ImageData, trainer: TrainingProxy
    ) -> SeededComparison | None:
        """Score the baseline and the reference on the test images, which have chosen nothing."""
        if data.test_labels is None:
            return None
        networks, seeds = [best], 1
        if self.settings.finalist_count:
            networks, seeds = with_reference([best], self._reference(best)), FINAL_SEEDS
        with self._rounds("test", networks, Tested(trainer), seeds, None) as rounds:
            return compare_networks(networks, rounds, seeds)

    def _reference(self, like: Architecture) -> Architecture:
        reference = self.settings.reference or efficientnet_b0()
        return replace(
            reference,
            resolution=like.resolution,
            in_channels=like.in_channels,
            num_classes=like.num_classes,
        )

    @contextmanager
    def _rounds(
        self, name: str, networks: Sequence[Architecture], proxy: Any, rounds: int,
        deadline: float | None,
    ) -> Iterator[SeededRuns]:  # fmt: skip
        """Yield where some networks are measured with common seeds, and its progress shown."""
        total = rounds * len(networks)
        seconds = None if deadline is None else deadline - time.monotonic()
        self.progress.phase(name, total, seconds=seconds)
        study_name = self._study_name(name, *(network.key() for network in networks))
        self._begin(name, study_name, total)
        objective = make_objective("accuracy", self.settings.budget, capabilities_of(proxy).rank_by)
        study = Study(
            self.settings.storage or self.folder,
            study_name,
            {},
            owner=self.state["driver"],
            metric=objective.name,
        )
        already = len(study.rows())
        if already:
            self.progress.advance(already, ALREADY)
        # Where all is done no processes need to start.
        with study, self._engine(proxy, 1 if already >= total else self._jobs_for(proxy)) as engine:
            yield SeededRuns(
                networks,
                study,
                engine,
                objective,
                seed=self.settings.seed,
                purpose=name,
                deadline=deadline,
                total=total,
                on_evaluation=lambda done, total: self.progress.advance(1),
            )

    @contextmanager
    def _engine(self, proxy: Proxy, jobs: int) -> Iterator[Engine]:
        if self.cluster is None:
            engine = local_engine(proxy, jobs)
        else:
            engine = self.cluster.engine(proxy, jobs)
        try:
            yield engine
        finally:
            engine.close()

    def _report(self) -> None:
        """Write what people look at; the run is finished, whether that succeeds or not."""
        from nas.report.write import write_report

        self.progress.phase("report", None)
        try:
            write_report(self.folder, self.settings.storage)
        except Exception as error:
            reason = one_line(error, 200) or type(error).__name__
            self._note(f"the report could not be made: {reason}")
            with suppress(InputError):
                self._save()

    # -- the run's own file -----------------------------------------------------------------------

    def _begin(self, name: str, study: str, total: int) -> None:
        """Write down, for who asks how far the run is, where the phase's evaluations are kept."""
        self.state["phase"] = name
        self.state["phases"][name] = {"study": study, "total": total}
        self._save()

    def _save(self) -> None:
        self.results.save(RunDocument(**self.state))

    def _phase(self, name: str, work: Callable[[], T]) -> T:
        begin = time.monotonic()
        self.state["phase"] = name
        self._save()
        try:
            return work()
        finally:
            seconds = self.state["seconds"]
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - begin, 1)
            self._save()

    def _gone(self) -> float:
        return time.monotonic() - self.start

    def _deadline(self, phase: str) -> float | None:
        """Return when a phase that begins now is to end; None: there is no limit."""
        seconds = time_for(self.settings, phase, self._gone())
        return None if seconds is None else time.monotonic() + seconds

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            self.progress.note(text)

    def _study_name(self, phase: str, *more: str) -> str:
        return study_name(self.state["study"], phase, self.identity, *more)


def _measured_by(setting: Setting | None) -> dict[str, Any]:
    """Return what a user chose of how latencies are measured."""
    names = ("backend", "device", "batch")
    return {f"latency {name}": getattr(setting, name, None) for name in names}
