"""What a run is identified by, and the provenance that its networks' files state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.accuracy import RankBy
from nas.data import ImageData
from nas.files import slug
from nas.networks.architecture import Architecture
from nas.networks.cost import CONVENTION
from nas.proxies.protocol import CorrectsSelection, Proxy, description
from nas.proxies.reduction import Reduction
from nas.proxies.registry import PROXIES, proxy_capabilities
from nas.records.run_state import RunIdentity, RunState
from nas.runs.settings import RunSettings
from nas.spaces.search_space import SearchSpace
from nas.strategies.samplers import SAMPLERS


def identity(
    settings: RunSettings, space: SearchSpace, data: ImageData | None, proxy: Proxy | None
) -> RunIdentity:
    """Return what makes a run this one; a folder that holds another run is refused.

    Args:
        settings: of the run, with the latencies of its budget.
        space: with the channels and classes of the images.
        data: the images that are searched on; None: none are.
        proxy: of the search; None: it is not made yet, and its name stands for it.
    """
    latencies = settings.budget.latencies
    known: RunIdentity = {
        "space": space.fingerprint(),
        "budget": settings.budget.limits,
        "data": None if data is None else data.fingerprint,
        "augment": None if data is None else list(data.augment),
        # What a trained one's settings are, the plan says.
        "proxy": settings.proxy_name
        if proxy is None or proxy_capabilities(settings.proxy_name).trains_candidates
        else description(proxy),
        "coefficients": settings.coefficients_by,
        "latency": None if latencies is None else latencies.fingerprint(),
        "objective": settings.objective,
        "sampler": settings.sampler,
        "seed": settings.seed,
        "start": [architecture.key() for architecture in settings.start],
        "plugins": plugins(settings),
    }
    if settings.weights is not None:
        known["weights"] = [settings.weights.digest, settings.weights.architecture.key()]
    asked = settings.reduction
    if asked != Reduction(asked.inherits):
        known["training"] = [asked.width, asked.resolution, asked.images]
    return known


def plugins(settings: RunSettings) -> dict[str, dict[str, str | None]]:
    """Return the proxies and samplers of other distributions that a run uses, with their versions.

    By the role that each has in the run: ``proxy`` or ``sampler``.
    """
    used = {
        "proxy": PROXIES.find(settings.proxy_name),
        "sampler": SAMPLERS.find(settings.sampler),
    }
    return {key: one.origin() for key, one in used.items() if one.distribution is not None}


def study_prefix(settings: RunSettings) -> str:
    """Return how the names of a run's studies begin: in a database, alike for all its drivers."""
    if settings.storage is None:
        return slug(settings.folder.name)
    return f"{slug(settings.space.name)}-{slug(settings.budget.name)}"[:150]


def provenance(
    state: RunState, space: str, proxy: Mapping[str, Any], rank_by: RankBy
) -> dict[str, Any]:
    """Return where the networks of a run come from; nothing in it differs from run to run.

    Args:
        state: of the run.
        space: name of the search space.
        proxy: of the search, as it describes itself.
        rank_by: what the proxy ranks by.
    """
    known, images = state.identity, state.searched
    return {
        "made_by": f"nas-search {state.versions['nas-search']}",
        "space": space,
        "budget": known["budget"],
        "convention": CONVENTION,
        "objective": known["objective"],
        "rank_by": rank_by,
        "proxy": proxy,
        "data": None
        if images is None
        else {
            "name": images.name,
            "fingerprint": known["data"],
            "mean": images.mean,
            "std": images.std,
        },
        "sampler": known["sampler"],
        "seed": known["seed"],
        **({"plugins": known["plugins"]} if known["plugins"] else {}),
    }


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
