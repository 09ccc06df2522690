"""nas-search: from a compute budget to a family of image classifiers.

The public API. What needs torch or numpy is imported when it is first used.
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
from nas.table import read_table
from nas.trial import Trial

if TYPE_CHECKING:
    from nas.data import ImageData, load_images
    from nas.draw import draw_networks
    from nas.fidelity import Fidelity, measure_fidelity
    from nas.model import Backbone, Network, build
    from nas.proxies.supernet import SupernetProxy
    from nas.proxies.supernet_training import SupernetSettings
    from nas.proxies.training import TrainingProxy, TrainingSettings
    from nas.weights import load_weights, save_weights

__all__ = [
    "Accuracy",
    "Architecture",
    "Backbone",
    "Budget",
    "Coefficients",
    "Cost",
    "Feasible",
    "Fidelity",
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
    "SupernetProxy",
    "SupernetSettings",
    "TrainingProxy",
    "TrainingSettings",
    "Trial",
    "__version__",
    "build",
    "compound",
    "draw_networks",
    "family",
    "load_architecture",
    "load_budget",
    "load_images",
    "load_space",
    "load_weights",
    "measure_cost",
    "measure_fidelity",
    "parse_budget",
    "read_table",
    "save_architecture",
    "save_weights",
    "scale",
    "search",
]

_LATE = {
    "Backbone": "nas.model",
    "Fidelity": "nas.fidelity",
    "ImageData": "nas.data",
    "Network": "nas.model",
    "SupernetProxy": "nas.proxies.supernet",
    "SupernetSettings": "nas.proxies.supernet_training",
    "TrainingProxy": "nas.proxies.training",
    "TrainingSettings": "nas.proxies.training",
    "build": "nas.model",
    "draw_networks": "nas.draw",
    "load_images": "nas.data",
    "load_weights": "nas.weights",
    "measure_fidelity": "nas.fidelity",
    "save_weights": "nas.weights",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
