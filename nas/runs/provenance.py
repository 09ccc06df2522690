"""What a run is known by, what it was begun with, and where its networks say they come from."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from nas._version import __version__
from nas.data import ImageData
from nas.environment import environment
from nas.files import digest, slug
from nas.networks.architecture import Architecture
from nas.networks.cost import CONVENTION
from nas.proxies.protocol import CorrectsSelection, Proxy, capabilities_of, description
from nas.proxies.registry import PROXIES, proxy_capabilities
from nas.records.plan import Plan
from nas.records.run_document import RunDocument
from nas.runs.settings import Settings
from nas.spaces.search_space import SearchSpace
from nas.strategies.samplers import SAMPLERS


def identity(
    settings: Settings, space: SearchSpace, data: ImageData | None, proxy: Proxy | None
) -> dict[str, Any]:
    """Return what makes a run this one; a folder that has another is refused.

    Without a proxy, what is known before one is made.
    """
    return {
        "space": digest(asdict(space)),
        "budget": settings.budget.limits,
        "data": None if data is None else data.fingerprint,
        # What a trained one's settings are, the plan says.
        "proxy": settings.proxy_name
        if proxy is None or proxy_capabilities(settings.proxy_name).trains_candidates
        else description(proxy),
        "grid_proxy": settings.grid_proxy,
        **_latencies(settings),
        "objective": settings.objective,
        "sampler": settings.sampler,
        "seed": settings.seed,
        "start": [architecture.key() for architecture in settings.start],
        **plugins(settings),
    }


def plugins(settings: Settings) -> dict[str, Any]:
    """Return the proxies and samplers of other distributions that a run uses, with their versions.

    They stand under the key ``plugins``, which is there only if there are any.
    """
    used = {
        "proxy": PROXIES.find(settings.proxy_name),
        "grid_proxy": PROXIES.find(settings.grid_proxy),
        "sampler": SAMPLERS.find(settings.sampler),
    }
    installed = {key: one.origin() for key, one in used.items() if one.distribution is not None}
    return {"plugins": installed} if installed else {}


def opening(
    settings: Settings,
    own: dict[str, Any],
    before: RunDocument | None,
    plan: Plan | None,
    data: ImageData | None,
    jobs: int,
) -> dict[str, Any]:
    """Return ``run.json`` of a run that begins or goes on; ``own`` is its identity."""
    return {
        "status": "running",
        "command": settings.command,
        "identity": own,
        "plan": None if plan is None else plan.model_dump(),
        "data": None
        if data is None
        else {
            "name": data.name,
            "classes": len(data.classes),
            "images": [len(part[1]) if part else 0 for part in data.parts],
            "image_resolution": data.resolution,
            "imbalance": data.imbalance,
            "mean": list(data.mean),
            "std": list(data.std),
        },
        "jobs": jobs,
        "device": settings.device,
        **environment(),
        "study": study_prefix(settings) if before is None else before.study,
        # Who this driver is, among those that share a storage.
        **driver(settings.folder, before),
        "phase": None,
        "phases": {},
        "until": None if settings.seconds is None else round(time.time() + settings.seconds),
        "seconds": {} if before is None else dict(before.seconds),
        "sessions": 1 if before is None else before.sessions + 1,
    }


def driver(folder: Path, before: RunDocument | None) -> dict[str, str]:
    """Return who a run's driver is, and a hash of where: a copy of the folder is another driver's.

    Two that live must not have the same name.
    """
    at = digest([platform.node(), str(folder.resolve())])
    same = before is not None and before.driver_at == at
    return {"driver": (same and before and before.driver) or uuid4().hex, "driver_at": at}


def study_prefix(settings: Settings) -> str:
    """Return how the names of a run's studies begin: in a database, alike for all its drivers."""
    if settings.storage is None:
        return slug(settings.folder.name)
    return f"{slug(settings.space.name)}-{slug(settings.budget.name)}"[:150]


def provenance(settings: Settings, data: ImageData | None, proxy: Proxy) -> dict[str, Any]:
    """Return where a network comes from; nothing in it differs from run to run."""
    return {
        "made_by": f"nas-search {__version__}",
        "space": settings.space.name,
        "budget": settings.budget.limits,
        "convention": CONVENTION,
        "objective": settings.objective,
        "rank_by": capabilities_of(proxy).rank_by,
        "proxy": description(proxy),
        "data": None
        if data is None
        else {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "mean": list(data.mean),
            "std": list(data.std),
        },
        "sampler": settings.sampler,
        "seed": settings.seed,
        **plugins(settings),
    }


def _latencies(settings: Settings) -> dict[str, Any]:
    table = settings.budget.latencies
    return {} if table is None else {"latency": table.fingerprint()}


def corrected(proxy: Proxy, best: Architecture) -> dict[str, Any]:
    """Return what a proxy says of a network that was chosen as the best of many, if it does."""
    if not isinstance(proxy, CorrectsSelection):
        return {}
    return {"corrected": proxy.corrected(best).to_dict(), "nearest": proxy.nearest(best)}


def final(finals: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the finals (``finalists.json``) say of the network that was chosen."""
    if finals is None or finals["chosen"] is None:
        return {}
    chosen = next(entry for entry in finals["entries"] if entry["name"] == finals["chosen"])
    return {
        "finals": {
            **{key: chosen[key] for key in ("accuracy", "difference")},
            "reference": finals["reference"],
            "tied": finals["tied"],
        }
    }
