"""What a run is, decided before its first phase: images, plan, proxies, identity."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter

from nas.data import ImageData
from nas.data.dataset import channels_for, load_data
from nas.data.reading import DEFAULT_RESOLUTION
from nas.environment import environment
from nas.errors import InputError
from nas.evaluation.database import database_url, printable, resolved, without_password
from nas.evaluation.journal import JOURNAL
from nas.evaluation.local import jobs_that_fit
from nas.evaluation.objective import make_objective
from nas.evaluation.study import Study, agreed
from nas.files import digest, validate
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.progress import Progress, shown_as
from nas.proxies.protocol import Proxy, capabilities_of, description
from nas.proxies.registration import ProxySetup
from nas.proxies.registry import SUPERNET, known_proxy, make_proxy, proxy_capabilities
from nas.proxies.short_training import TrainingProxy
from nas.records.plan import Plan, grown_phase
from nas.records.result_folder import ResultFolder, check_identity
from nas.records.run_state import (
    LATENCY_FILE,
    ImagesSummary,
    RunIdentity,
    RunState,
    study_name,
)
from nas.runs.identity import identity, provenance, study_prefix
from nas.runs.notes import Notes
from nas.runs.schedule import make_plan
from nas.runs.settings import LatencySource, RunSettings
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.latency_table import LatencyTable, Setting, TableFile, table_of, write_table
from nas.spaces.search_space import SearchSpace
from nas.strategies.proposer import Proposer
from nas.strategies.reduced_sources import reduced_sources, within_budget
from nas.strategies.samplers import make_sampler

logger = logging.getLogger(__name__)
_PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)


@dataclass(frozen=True)
class RunContext:
    """Everything that the phases of a run go by; nothing in it changes any more.

    Attributes:
        settings: what the run is asked to do, with the latencies of its budget.
        space: the search space, with the channels and classes of the images.
        proxy: of the search.
        trainers: what trains networks from scratch, by the name of the phase that uses it; a
            phase that trains nothing has none.
        starts: networks that are evaluated first, with the input of the space.
        jobs: how many evaluations run at once.
        identity: what the run is identified by.
        provenance: where its networks come from, for their files.
        opening: the state of the run as this session begins.
    """

    settings: RunSettings
    space: SearchSpace
    proxy: Proxy
    trainers: Mapping[str, Proxy]
    starts: tuple[Architecture, ...]
    jobs: int
    identity: RunIdentity
    provenance: Mapping[str, Any]
    opening: RunState

    def references(self) -> tuple[Architecture, ...]:
        """Return what finalists are compared with, with the input of the space; first the main one.

        With trained weights that is what a user would do without a search: take the network of the
        weights at the resolution that meets the budget, or narrowed until it does.
        """
        settings, space = self.settings, self.space
        if settings.reference is None and settings.weights is not None:
            source = replace(
                settings.weights.architecture,
                in_channels=space.in_channels,
                num_classes=space.num_classes,
            )
            return reduced_sources(source, settings.budget)
        return (_with_input(settings.reference or efficientnet_b0(), space),)


def resolve(
    settings: RunSettings,
    folder: ResultFolder[RunState],
    default_jobs: int,
    shared_memory: bool,
    progress: Progress,
    notes: Notes,
) -> RunContext:
    """Load what a run needs and decide what it is; write nothing but the latency table.

    Args:
        settings: what the run is asked to do.
        folder: where it is kept, with what an earlier session left.
        default_jobs: evaluations at once where the settings do not say.
        shared_memory: whether the images are shared by processes of this machine.
        progress: shows the images being loaded and the latencies being measured.
        notes: told of what was done to the images.

    Raises:
        InputError: the images, a table or a start do not fit, the folder holds another run, or the
            storage cannot be used.
    """
    before = folder.before
    if before is not None:
        _check_storage(folder.path, before.storage, settings.storage)
    looks = proxy_capabilities(settings.proxy_name).needs_images
    # Before images are loaded, so that a wrong table is found at once.
    known = None if looks else known_proxy(settings.proxy_name, settings.space)
    jobs = settings.jobs or default_jobs
    data = None
    if settings.data or looks:
        channels = channels_for(settings.space, settings.data)
        most = max(DEFAULT_RESOLUTION, settings.train_resolution or 0)
        data = load_data(settings.data, channels, progress, notes.add, most, settings.image_options)
        if shared_memory:
            jobs = jobs_that_fit(jobs, {"the images": data.nbytes}, notes.add)
    # The built-in images are those of a proxy that trains, not what the user wants to classify.
    searched = data if settings.data or looks else None
    space = settings.space
    if searched is not None:
        space = replace(space, in_channels=searched.channels, num_classes=searched.num_classes)
    drivers = _Drivers(settings, space, searched)
    if settings.latency is not None and settings.budget.latency_ms is not None:
        table = _latencies(settings.latency, folder, space, drivers, progress)
        if table.check is not None:
            notes.add(f"latency: {table.setting}; {table.check}")
        settings = replace(settings, budget=replace(settings.budget, latencies=table))
    if searched is not None or settings.budget.latency_ms is not None:
        Feasible(space, settings.budget).check()
    plan = None if before is None else before.plan
    if data is not None and plan is None:
        content = make_plan(settings, data, space, jobs).model_dump(mode="json")
        plan = validate(_PLAN, drivers.agree("plan", content), drivers.source("plan"))
    if plan is not None:
        notes.add(_said(plan))
    proxy, trainers = _proxies(settings, space, data, searched, plan, known, folder.path, progress)
    starts = tuple(_started(start, space, settings.budget, notes) for start in settings.start)
    own = identity(settings, space, searched, proxy)
    folder.check_identity(own)
    # What cannot be started from, or stored in, is found before the run is written down.
    Proposer(space, settings.budget, make_sampler(settings.sampler), settings.seed, starts)
    opening = _opening(settings, own, before, plan, data, jobs)
    if settings.storage is not None:
        goal = make_objective(settings.objective, settings.budget, capabilities_of(proxy).rank_by)
        Study(settings.storage, opening.study_name("search"), {}, metric=goal.name).close()
    logger.info(
        "run of space %s within %s: proxy %s, %d jobs, session %d",
        space.name,
        settings.budget.name,
        settings.proxy_name,
        jobs,
        opening.sessions,
    )
    logger.debug("plan: %s", plan)
    if settings.budget.latencies is not None:
        write_table(folder.path / LATENCY_FILE, settings.budget.latencies)
    return RunContext(
        settings=settings,
        space=space,
        proxy=proxy,
        trainers=trainers,
        starts=starts,
        jobs=jobs,
        identity=own,
        provenance=provenance(
            opening, settings.space.name, description(proxy), capabilities_of(proxy).rank_by
        ),
        opening=opening,
    )


def _with_input(architecture: Architecture, space: SearchSpace) -> Architecture:
    return replace(
        architecture,
        resolution=architecture.resolution
        if architecture.resolution in space.pixels
        else space.resolution,
        in_channels=space.in_channels,
        num_classes=space.num_classes,
    )


def _started(start: Architecture, space: SearchSpace, budget: Budget, notes: Notes) -> Architecture:
    """Return a network to evaluate first, at a resolution that the space offers.

    That is its own, or else the largest at which it is within the budget.
    """
    found = _with_input(start, space)
    if start.resolution in space.pixels or not space.resolutions:
        return found
    smaller = [replace(found, resolution=pixels) for pixels in sorted(space.pixels, reverse=True)]
    found = next((one for one in smaller if within_budget(one, budget)), smaller[-1])
    notes.add(f"{start.name}: starts at {found.resolution} px, which the space offers")
    return found


def _said(plan: Plan) -> str:
    """Return how networks are trained in the search, in words."""
    finals = plan.finals
    text = (
        f"trainings: {finals.images_seen:,} images each at {finals.resolution} px and "
        f"{finals.width:g} of the width"
    )
    if plan.search.images_seen != finals.images_seen:
        text += f" (candidates {plan.search.images_seen:,})"
    if plan.supernet is not None:
        shared = plan.supernet
        text += (
            f"; shared weights: {shared.images_seen:,} images at {shared.resolution} px and "
            f"{shared.width:g} of the width"
        )
    return text


def _proxies(
    settings: RunSettings,
    space: SearchSpace,
    data: ImageData | None,
    searched: ImageData | None,
    plan: Plan | None,
    known: Proxy | None,
    folder: Path,
    progress: Progress,
) -> tuple[Proxy, dict[str, Proxy]]:
    """Return the proxy of the search, and what trains networks from scratch by phase."""
    trainers: dict[str, Proxy] = {}
    if data is not None and plan is not None:
        setup = ProxySetup(
            data=data,
            weights=settings.weights,
            device=settings.device,
            seed=settings.seed,
            training=plan.search,
            supernet=plan.supernet,
            on_progress=shown_as(progress, SUPERNET),
        )
        if known is None:
            known = make_proxy(settings.proxy_name, setup)
        if searched is not None:
            trainer = TrainingProxy(data, plan.finals, settings.device, settings.weights)
            trainer.prepare(space, settings.budget, folder)
            trainers |= dict.fromkeys(("finals", "check", "test"), trainer)
        if plan.scaled is not None:
            small = space.at_resolution(plan.scaled.pixels)
            for training in plan.scaled.trainings:
                trainer = TrainingProxy(data, training, settings.device)
                trainer.prepare(small, settings.budget, folder)
                trainers[grown_phase(training)] = trainer
    assert known is not None  # it needs no images, or there are some
    return known, trainers


def _opening(
    settings: RunSettings,
    own: RunIdentity,
    before: RunState | None,
    plan: Plan | None,
    data: ImageData | None,
    jobs: int,
) -> RunState:
    """Return the state of a run that begins or is resumed."""
    at = digest([platform.node(), str(settings.folder.resolve())])
    # Two drivers that run must not have the same name: a copy of the folder gets another.
    same = before is not None and before.driver_at == at
    storage = None if settings.storage is None else without_password(settings.storage)
    command = settings.command
    return RunState(
        status="running",
        command=None if command is None else command.model_copy(update={"storage": storage}),
        paths=dict(settings.paths),
        space=settings.space.name if command is None or command.space is None else command.space,
        budget=settings.budget.name if command is None else command.budget,
        storage=storage,
        identity=own,
        plan=plan,
        data=None if data is None else _summary(data),
        jobs=jobs,
        device=settings.device,
        **environment(),
        study=study_prefix(settings) if before is None else before.study,
        driver=before.driver if before is not None and same else uuid4().hex,
        driver_at=at,
        phase=None,
        phases={},
        until=None if settings.seconds is None else round(time.time() + settings.seconds),
        seconds={} if before is None else before.seconds,
        sessions=1 if before is None else before.sessions + 1,
        made_space=None if settings.made_space is None else dict(settings.made_space),
        latency=None,
        trials=None,
        check=None,
        notes=[],
    )


def _summary(data: ImageData) -> ImagesSummary:
    return ImagesSummary(
        name=data.name,
        classes=len(data.classes),
        images=[len(part[1]) if part else 0 for part in data.parts],
        image_resolution=data.resolution,
        imbalance=data.imbalance,
        mean=list(data.mean),
        std=list(data.std),
    )


@dataclass(frozen=True)
class _Drivers:
    """The drivers that share a storage, which decide some things together."""

    settings: RunSettings
    space: SearchSpace
    data: ImageData | None

    def agree(self, what: str, content: Any, known: Mapping[str, Any] | None = None) -> Any:
        """Return what the first of all drivers has decided; ``content``, where there is one."""
        settings = self.settings
        if settings.storage is None:
            return content
        own = {**identity(settings, self.space, self.data, None), **(known or {})}
        return agreed(settings.storage, study_name(study_prefix(settings), what, own), content)

    def source(self, what: str) -> str:
        """Return the name of what they agreed on, for messages."""
        storage = self.settings.storage
        where = "" if storage is None else f"storage {printable(database_url(storage))}: "
        return f"{where}the drivers' {what}"


def _latencies(
    source: LatencySource,
    folder: ResultFolder[RunState],
    space: SearchSpace,
    drivers: _Drivers,
    progress: Progress,
) -> LatencyTable:
    """Return the latencies that the budget means; a run keeps those that it began with.

    Raises:
        InputError: they cannot be measured, do not have all blocks of the space, or are
            another run's.
    """
    path, before = folder.path / LATENCY_FILE, folder.before
    if before is not None:
        known, now = before.identity["space"], space.fingerprint()
        check_identity(folder.path, {"space": known}, {"space": now})
    if before is None or not path.exists():
        table = source.table(space, progress)
        if isinstance(source, TableFile):
            return table
        content = drivers.agree("latency", table.to_dict(), _measured_by(table.setting))
        return table_of(content, drivers.source("latencies"))
    if isinstance(source, TableFile):
        # Where its file is gone, the run has a copy.
        return (source if source.path.exists() else TableFile(path)).table(space)
    table, asked = TableFile(path).table(space), source.setting()
    check_identity(folder.path, _measured_by(table.setting), _measured_by(asked))
    return table


def _measured_by(setting: Setting | None) -> dict[str, Any]:
    """Return what a user chose of how latencies are measured."""
    names = ("backend", "device", "batch")
    return {f"latency {name}": getattr(setting, name, None) for name in names}


def _check_storage(folder: Path, before: str | None, storage: str | None) -> None:
    """Raise :class:`InputError`, naming both, if a run's trials are in another storage.

    Args:
        folder: of the run.
        before: URL of its storage; None: the folder.
        storage: likewise, of this session.
    """
    one, other = (
        str(folder / JOURNAL) if url is None else without_password(resolved(url))
        for url in (before, storage)
    )
    if one != other:
        raise InputError(
            f"{folder}: the trials of its run are in {one}, not in {other}; resume it there, or "
            "name another folder with --out"
        )
