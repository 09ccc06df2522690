"""nas-search: from a compute budget to a family of image classifiers.

The public API. What needs torch is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas._version import __version__
from nas.accuracy import Accuracy
from nas.architecture import Architecture, Head, Norm, Stage, Stem
from nas.budget import Budget, parse_budget
from nas.catalogue import load_architecture, load_budget, load_space
from nas.cost import Cost, measure_cost
from nas.errors import InputError
from nas.feasibility import Feasible
from nas.proxies.protocol import Proxy
from nas.record import save_architecture
from nas.scaling import Coefficients, compound, family, scale
from nas.search import SearchFailed, SearchResult, search
from nas.space import SearchSpace
from nas.trial import Trial

if TYPE_CHECKING:
    from nas.data import ImageData, load_images
    from nas.model import Network, build
    from nas.proxies.training import TrainingProxy, TrainingSettings

__all__ = [
    "Accuracy",
    "Architecture",
    "Budget",
    "Coefficients",
    "Cost",
    "Feasible",
    "Head",
    "ImageData",
    "InputError",
    "Network",
    "Norm",
    "Proxy",
    "SearchFailed",
    "SearchResult",
    "SearchSpace",
    "Stage",
    "Stem",
    "TrainingProxy",
    "TrainingSettings",
    "Trial",
    "__version__",
    "build",
    "compound",
    "family",
    "load_architecture",
    "load_budget",
    "load_images",
    "load_space",
    "measure_cost",
    "parse_budget",
    "save_architecture",
    "scale",
    "search",
]

_WITH_TORCH = {
    "ImageData": "nas.data",
    "Network": "nas.model",
    "TrainingProxy": "nas.proxies.training",
    "TrainingSettings": "nas.proxies.training",
    "build": "nas.model",
    "load_images": "nas.data",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WITH_TORCH[name]), name)
