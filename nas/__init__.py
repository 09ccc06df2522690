"""nas-search: from a compute budget to a family of image classifiers.

The public API. What needs torch or numpy is imported when it is first used.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nas._version import __version__
from nas.accuracy import Accuracy
from nas.errors import EvaluationFailed, InputError
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.architecture_file import save_architecture
from nas.networks.compound_scaling import Coefficients, compound, family, scale
from nas.networks.cost import Cost, measure_cost
from nas.proxies.benchmark_table import read_table
from nas.proxies.protocol import Proxy, ProxyCapabilities
from nas.spaces.budget import Budget, parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_architecture, load_budget, load_space
from nas.spaces.search_space import SearchSpace
from nas.strategies.search import SearchResult, search

if TYPE_CHECKING:
    from nas.data import ImageData, load_images
    from nas.networks.modules import Backbone, Network, build
    from nas.networks.weights import load_weights
    from nas.networks.weights_file import save_weights
    from nas.proxies.short_training import TrainingProxy, TrainingSettings
    from nas.proxies.supernet import SupernetProxy
    from nas.runs.fidelity.rank_agreement import Fidelity, measure_fidelity
    from nas.runs.fidelity.table_sample import draw_networks
    from nas.training.supernet_trainer import SupernetSettings

__all__ = [
    "Accuracy",
    "Architecture",
    "Backbone",
    "Budget",
    "Coefficients",
    "Cost",
    "EvaluationFailed",
    "Feasible",
    "Fidelity",
    "Head",
    "ImageData",
    "InputError",
    "Network",
    "Norm",
    "Proxy",
    "ProxyCapabilities",
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

logging.getLogger(__name__).addHandler(logging.NullHandler())

_LATE = {
    "Backbone": "nas.networks.modules",
    "Fidelity": "nas.runs.fidelity.rank_agreement",
    "ImageData": "nas.data",
    "Network": "nas.networks.modules",
    "SupernetProxy": "nas.proxies.supernet",
    "SupernetSettings": "nas.training.supernet_trainer",
    "TrainingProxy": "nas.proxies.short_training",
    "TrainingSettings": "nas.proxies.short_training",
    "build": "nas.networks.modules",
    "draw_networks": "nas.runs.fidelity.table_sample",
    "load_images": "nas.data",
    "load_weights": "nas.networks.weights",
    "measure_fidelity": "nas.runs.fidelity.rank_agreement",
    "save_weights": "nas.networks.weights_file",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
