"""A run: the whole pipeline in one folder, from a budget to a family, resumable at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, Field, TypeAdapter

from nas._version import __version__
from nas.accuracy import Accuracy
from nas.architecture import Architecture
from nas.budget import Budget
from nas.cost import CONVENTION, measure_cost
from nas.data import BUILT_IN, ImageData, load_images
from nas.engines.local import default_jobs, local_engine
from nas.engines.task import Engine
from nas.errors import InputError
from nas.feasibility import Feasible
from nas.files import parse_json, read_text, sha256, slug, validate, write_json
from nas.grid import GridResult, candidates, grid_search, reference_point, spread
from nas.objective import make_objective
from nas.proxies.catalogue import (
    check_proxy,
    default_settings,
    grid_settings,
    grid_work,
    make_proxy,
    settings_for_time,
)
from nas.proxies.protocol import Proxy, description
from nas.proxies.training import TrainingSettings
from nas.record import Record, read_record
from nas.samplers import make_sampler
from nas.scaling import family
from nas.search import Proposer, SearchResult, search
from nas.space import SearchSpace
from nas.storage import Study
from nas.trial import Trial, derived_seed

RUN_FILE = "run.json"
SCHEMA = "nas-search-run/1"

GRID_POINTS = 12
SEARCH_SHARE = 0.5
"""Of --time: the search's, counted from the start; what is left is the grid's but for the rest."""
GRID_SHARE = 0.92
"""Of --time, counted from the start: by then the grid starts nothing new."""

FAMILY = "family"

T = TypeVar("T")


class _Plan(BaseModel):
    search: TrainingSettings
    grid: TrainingSettings


class _Before(BaseModel):
    """What of ``run.json`` a resumed run goes by."""

    schema_: Annotated[Literal["nas-search-run/1"], Field(alias="schema")]
    identity: dict[str, Any]
    plan: _Plan
    study: str = ""
    seconds: dict[str, float]
    sessions: int


_BEFORE: TypeAdapter[_Before] = TypeAdapter(_Before)
_ACCURACY: TypeAdapter[Accuracy] = TypeAdapter(Accuracy)


@dataclass(frozen=True)
class Settings:
    """What a run is asked to do; see the command's help for each."""

    space: SearchSpace
    budget: Budget
    data: str | None = None
    proxy: str = "training"
    grid_proxy: str = "training"
    objective: str = "accuracy"
    sampler: str = "tpe"
    trials: int = 30
    seconds: float | None = None
    seed: int = 0
    jobs: int | None = None
    storage: str | None = None
    out: Path | None = None
    device: str = "cpu"
    start: tuple[Architecture, ...] = ()
    scale: bool = True
    command: dict[str, Any] = field(default_factory=dict)
    """The command line's own words, to be given again on resuming."""

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.out or Path("results") / f"{slug(self.space.name)}-{slug(self.budget.name)}"


class Progress(Protocol):
    """What shows a run's progress; phases come one after the other."""

    def phase(self, name: str, total: int | None) -> None:
        """Begin a phase of ``total`` steps."""
        ...

    def advance(self, done: int, text: str = "") -> None:
        """Say how many steps are done, with a few words on the state."""
        ...

    def note(self, text: str) -> None:
        """Say something that stays."""
        ...


@dataclass(frozen=True)
class RunResult:
    """What a run made; everything is in its folder too."""

    folder: Path
    search: SearchResult
    baseline: Record
    front: tuple[Record, ...]
    grid: GridResult | None
    family: tuple[Record, ...]
    test: Accuracy | None
    notes: tuple[str, ...]
    phase_seconds: dict[str, float]


def run(settings: Settings, progress: Progress) -> RunResult:
    """Run, or resume, the whole pipeline and write its folder.

    Raises:
        InputError: wrong input, an occupied or foreign folder, a place that cannot be written.
        nas.search.SearchFailed: too many failures, or nothing finished.
    """
    start = time.monotonic()
    Feasible(settings.space, settings.budget).check()
    make_sampler(settings.sampler)
    make_objective(settings.objective, settings.budget)
    for name in (settings.proxy, settings.grid_proxy):
        check_proxy(name)
    with _locked(settings.folder):
        return _Run(settings, progress, start).run()


class _Run:
    def __init__(self, settings: Settings, progress: Progress, start: float) -> None:
        self.settings = settings
        self.progress = progress
        self.start = start
        self.folder = settings.folder
        self.notes: list[str] = []
        self.state: dict[str, Any] = {}
        self.jobs = settings.jobs or default_jobs(settings.device)
        self.study = slug(self.folder.name)

    def run(self) -> RunResult:
        settings = self.settings
        before = self._before()
        data = self._load()
        space = replace(
            settings.space,
            in_channels=data.channels,
            num_classes=data.num_classes,
        )
        plan = self._plan(before, data, space)
        proxy = make_proxy(settings.proxy, data, plan["search"], settings.device)
        grid_proxy = make_proxy(settings.grid_proxy, data, plan["grid"], settings.device)
        identity = self._identity(space, data, plan)
        starts = [
            replace(
                a,
                resolution=space.resolution,
                in_channels=space.in_channels,
                num_classes=space.num_classes,
            )
            for a in settings.start
        ]
        self._check(before, identity)
        # What cannot be started from, or stored in, is found before the run is written down.
        Proposer(space, settings.budget, make_sampler(settings.sampler), settings.seed, starts)
        if settings.storage is not None:
            Study(settings.storage, self._study_name("search", identity), {})
        self._open(before, identity, plan, data)
        found = self._phase("search", lambda: self._search(space, proxy, starts, identity))
        baseline_network = replace(found.baseline.architecture, name="b0")
        grid = None
        if settings.scale:
            grid_proxy.prepare(space, settings.budget, self.folder)
            grid = self._phase("grid", lambda: self._grid(baseline_network, grid_proxy, identity))
        test = self._phase("test", lambda: self._test(found.baseline, proxy))
        return self._phase("write", lambda: self._write(found, grid, test, data, proxy, identity))

    # -- phases ---------------------------------------------------------------------------------

    def _load(self) -> ImageData:
        name = self.settings.data or BUILT_IN
        self.progress.phase(f"load {name}", None)
        data = load_images(
            name,
            channels=self.settings.space.in_channels if self.settings.data is None else 3,
            cache=_data_cache(),
            progress=lambda done, total: self.progress.advance(done, f"of {total:,} images"),
        )
        for note in data.notes:
            self._note(f"{data.name}: {note}")
        return data

    def _search(
        self,
        space: SearchSpace,
        proxy: Proxy,
        starts: Sequence[Architecture],
        identity: dict[str, Any],
    ) -> SearchResult:
        settings = self.settings
        self.progress.phase("search", settings.trials)
        done: list[Trial] = []

        def on_trial(trial: Trial) -> None:
            done.append(trial)
            self.progress.advance(1, _trial_line(trial))

        result = search(
            space,
            settings.budget,
            proxy,
            trials=settings.trials,
            seed=settings.seed,
            storage=settings.storage or self.folder,
            study_name=self._study_name("search", identity),
            sampler=settings.sampler,
            objective=settings.objective,
            jobs=self.jobs,
            start=starts,
            seconds=self._left(SEARCH_SHARE if settings.scale else GRID_SHARE),
            on_trial=on_trial,
            on_resume=lambda count: self.progress.advance(count, "already done") if count else None,
            folder=self.folder,
        )
        if result.exhausted:
            self._note(
                f"the space has no more than {len(result.trials)} networks within the budget"
            )
        if result.out_of_time:
            self._note(
                f"the time for the search ended after {len(result.trials)} "
                f"of {settings.trials} trials"
            )
        return result

    def _grid(self, baseline: Architecture, proxy: Proxy, identity: dict[str, Any]) -> GridResult:
        view: Callable[[Architecture], Architecture] = getattr(proxy, "view", lambda a: a)
        pixels = getattr(proxy, "image_resolution", None)
        self.progress.phase("coefficients", None)
        points = spread(candidates(baseline, view=view, image_resolution=pixels), GRID_POINTS)
        reference = reference_point(baseline, view=view, image_resolution=pixels)
        study = Study(
            self.settings.storage or self.folder,
            self._study_name("grid", identity, baseline.key()),
            {},
            {"alpha": (1.0, 4.0), "beta": (1.0, 4.0), "gamma": (1.0, 4.0)},
        )
        seconds = self._left(GRID_SHARE)
        started = False

        def on_evaluation(done: int, total: int) -> None:
            nonlocal started
            if not started:
                self.progress.phase("coefficients", total)
                if done > 1:
                    self.progress.advance(done - 1, "already done")
                started = True
            self.progress.advance(1)

        with _engine(proxy, self.jobs) as engine:
            return grid_search(
                baseline,
                points,
                reference,
                study,
                engine,
                make_objective("accuracy", self.settings.budget, _rank_by(proxy)),
                seed=self.settings.seed,
                deadline=None if seconds is None else time.monotonic() + seconds,
                on_evaluation=on_evaluation,
            )

    def _test(self, best: Trial, proxy: Proxy) -> Accuracy | None:
        score = getattr(proxy, "test", None)
        if score is None:
            return None
        path = self.folder / "baseline.json"
        if path.exists():  # resumed after it was scored: the test images are looked at once
            before = read_record(path)
            known = before.provenance.get("test")
            if before.architecture.key() == best.architecture.key() and known is not None:
                return validate(_ACCURACY, known, f"{path}: provenance.test")
        self.progress.phase("test", None)
        accuracy: Accuracy | None = score(
            best.architecture, seed=derived_seed(self.settings.seed, "trial", best.number)
        )
        return accuracy

    def _write(
        self,
        found: SearchResult,
        grid: GridResult | None,
        test: Accuracy | None,
        data: ImageData,
        proxy: Proxy,
        identity: dict[str, Any],
    ) -> RunResult:
        self.progress.phase("write", None)
        provenance: dict[str, Any] = {
            "made_by": f"nas-search {__version__}",
            "space": self.settings.space.name,
            "budget": self.settings.budget.limits,
            "convention": CONVENTION,
            "objective": self.settings.objective,
            "rank_by": _rank_by(proxy),
            "proxy": description(proxy),
            "data": {
                "name": data.name,
                "fingerprint": data.fingerprint,
                "mean": list(data.mean),
                "std": list(data.std),
            },
            "sampler": self.settings.sampler,
            "seed": self.settings.seed,
        }

        def record(trial: Trial, name: str, **more: Any) -> Record:
            return Record(
                replace(trial.architecture, name=name),
                trial.cost,
                trial.accuracy,
                {**provenance, "trial": trial.number, "choices": dict(trial.choices), **more},
            )

        best = found.baseline
        tested = {"test": None if test is None else test.to_dict()}
        front = tuple(record(trial, trial.architecture.name) for trial in found.front)
        baseline = record(best, best.architecture.name, **tested)
        members: tuple[Record, ...] = ()
        if grid is not None:
            chosen = grid.chosen.point.coefficients
            b0 = replace(best.architecture, name="b0")
            members = tuple(
                replace(record(best, "b0", **tested), architecture=network)
                if phi == 0
                else Record(
                    network,
                    measure_cost(network),
                    None,
                    {
                        "made_by": provenance["made_by"],
                        "convention": CONVENTION,
                        "baseline": best.architecture.name,
                        "coefficients": asdict(chosen),
                        "phi": phi,
                    },
                )
                for phi, network in enumerate(family(b0, chosen))
            )
        if grid is None:
            self._remove_family()
        write_json(self.folder / "front.json", {"points": [r.to_dict() for r in front]})
        write_json(self.folder / "baseline.json", baseline.to_dict())
        if grid is not None:
            write_json(self.folder / "coefficients.json", grid.to_dict())
            for member in members:
                write_json(
                    self.folder / FAMILY / f"{member.architecture.name}.json", member.to_dict()
                )
        result = RunResult(
            self.folder,
            found,
            baseline,
            front,
            grid,
            members,
            test,
            tuple(self.notes),
            dict(self.state["seconds"]),
        )
        self.state["status"] = "finished"
        self.state["trials"] = {
            state: found.count(state) for state in ("finished", "stopped", "failed")
        }
        self.state["notes"] = self.notes
        self.state["files"] = {
            path.relative_to(self.folder).as_posix(): sha256(path)
            for path in sorted(self.folder.rglob("*.json"))
            if path.name != RUN_FILE
        }
        self._save()
        return result

    def _remove_family(self) -> None:
        """Remove what was scaled earlier, perhaps from another baseline; the study remembers."""
        for path in (*(self.folder / FAMILY).glob("b*.json"), self.folder / "coefficients.json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            (self.folder / FAMILY).rmdir()

    # -- the run's own file -----------------------------------------------------------------------

    def _before(self) -> _Before | None:
        """Return run.json as an earlier process left it, or None for a new run."""
        path = self.folder / RUN_FILE
        if path.exists():
            before = validate(_BEFORE, parse_json(read_text(path), str(path)), str(path))
            self._sweep()
            return before
        foreign = [p.name for p in self.folder.iterdir() if not p.name.startswith(".")]
        if foreign:
            raise InputError(
                f"{self.folder}: holds {sorted(foreign)[0]!r} but no {RUN_FILE}: not a run's "
                "folder; name an empty one with --out"
            )
        self._sweep()
        return None

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for folder in (self.folder, self.folder / FAMILY):
            for left in folder.glob(".*.json.*.tmp"):
                left.unlink(missing_ok=True)

    def _plan(
        self, before: _Before | None, data: ImageData, space: SearchSpace
    ) -> dict[str, TrainingSettings]:
        """Return how networks are trained; a run once begun keeps what was planned then."""
        settings = self.settings
        if before is not None:
            return {"search": before.plan.search, "grid": before.plan.grid}
        if settings.seconds is None:
            candidate = default_settings(data, space)
            return {"search": candidate, "grid": grid_settings(candidate, space)}
        share = SEARCH_SHARE if settings.scale else GRID_SHARE
        seconds = share * settings.seconds * self.jobs / settings.trials
        candidate = settings_for_time(data, space, seconds, settings.device)
        # So many candidates' trainings fit into the grid's share of the time.
        fit = settings.trials * (GRID_SHARE - SEARCH_SHARE) / SEARCH_SHARE
        return {
            "search": candidate,
            "grid": grid_settings(candidate, space, fit / grid_work(GRID_POINTS + 1)),
        }

    def _identity(
        self, space: SearchSpace, data: ImageData, plan: dict[str, TrainingSettings]
    ) -> dict[str, Any]:
        settings = self.settings
        return {
            "space": _digest(asdict(space)),
            "budget": settings.budget.limits,
            "data": data.fingerprint,
            "proxy": settings.proxy,
            "grid_proxy": settings.grid_proxy,
            "objective": settings.objective,
            "sampler": settings.sampler,
            "seed": settings.seed,
            "start": [architecture.key() for architecture in settings.start],
        }

    def _check(self, before: _Before | None, identity: dict[str, Any]) -> None:
        """Refuse the folder of another run; name the studies as they were named at first."""
        if before is None:
            return
        differing = [key for key in identity if before.identity.get(key) != identity[key]]
        if differing:
            raise InputError(
                f"{self.folder}: holds another run: {', '.join(differing)} differ; "
                "name another folder with --out"
            )
        self.study = before.study or self.study

    def _open(
        self,
        before: _Before | None,
        identity: dict[str, Any],
        plan: dict[str, TrainingSettings],
        data: ImageData,
    ) -> None:
        self.state = {
            "schema": SCHEMA,
            "status": "running",
            "command": self.settings.command,
            "identity": identity,
            "plan": {phase: asdict(settings) for phase, settings in plan.items()},
            "data": {
                "name": data.name,
                "classes": len(data.classes),
                "images": [len(part[1]) if part else 0 for part in data.parts],
                "image_resolution": data.resolution,
                "imbalance": data.imbalance,
                "mean": list(data.mean),
                "std": list(data.std),
            },
            "jobs": self.jobs,
            "device": self.settings.device,
            "versions": {
                name: version(name) for name in ("torch", "optuna", "fvcore", "numpy", "datasets")
            }
            | {"nas-search": __version__, "python": platform.python_version()},
            "machine": {
                "system": platform.system(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
            },
            "git_commit": _git_commit(),
            "study": self.study,
            "seconds": {} if before is None else dict(before.seconds),
            "sessions": 1 if before is None else before.sessions + 1,
        }
        self._save()

    def _save(self) -> None:
        write_json(self.folder / RUN_FILE, self.state)

    def _phase(self, name: str, work: Callable[[], T]) -> T:
        begin = time.monotonic()
        try:
            return work()
        finally:
            seconds = self.state["seconds"]
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - begin, 1)
            if name != "write":
                self._save()

    def _left(self, share: float) -> float | None:
        if self.settings.seconds is None:
            return None
        return max(0.0, self.start + share * self.settings.seconds - time.monotonic())

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.progress.note(text)

    def _study_name(self, phase: str, identity: dict[str, Any], *more: str) -> str:
        return f"{self.study}-{phase}-{_digest([identity, *more])[:10]}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it when the owner ends, however it ends.

    Where no run begins, for wrong input say, no folder is left behind.
    """
    lock = folder / ".lock"
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        stream = lock.open("a+", encoding="ascii")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise InputError(f"{folder}: in use by another process (pid {owner})") from None
        try:
            try:
                stream.truncate(0)
                stream.write(str(os.getpid()))
                stream.flush()
            except OSError as error:
                raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
            yield
        finally:
            if not (folder / RUN_FILE).exists():
                lock.unlink(missing_ok=True)
                with suppress(OSError):
                    for path in made:
                        path.rmdir()


@contextmanager
def _engine(proxy: Proxy, jobs: int) -> Iterator[Engine]:
    engine = local_engine(proxy, jobs)
    try:
        yield engine
    finally:
        engine.close()


def _rank_by(proxy: Proxy) -> Any:
    return getattr(proxy, "rank_by", "accuracy")


def _data_cache() -> Path:
    from platformdirs import user_cache_path

    return Path(os.environ.get("NAS_SEARCH_CACHE") or user_cache_path("nas-search")) / "data"


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _git_commit() -> str | None:
    """Return the commit of the checkout that this code runs from, or None in an installation.

    An installation may lie inside the checkout of something else: then the package is not its nas/.
    """
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--show-prefix", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    prefix, _, commit = done.stdout.strip().partition("\n")
    return commit if prefix == "nas/" else None


def _trial_line(trial: Trial) -> str:
    if trial.accuracy is None:
        return f"trial {trial.number}: {trial.state} {trial.reason}".rstrip()
    loss = "" if trial.accuracy.loss is None else f", loss {trial.accuracy.loss:.3f}"
    return f"trial {trial.number}: accuracy {trial.accuracy.mean:.3f}{loss}"
