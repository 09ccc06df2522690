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
from nas.networks.compound_scaling import Coefficients, compound, scale
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
    from nas.data.dataset import ImageOptions
    from nas.export.export import Export, export_network
    from nas.networks.modules import Backbone, Network, build
    from nas.networks.scaled_family import family
    from nas.networks.weights import load_weights
    from nas.networks.weights_file import save_weights
    from nas.proxies.scaling_predictor import ScalingEstimate, predict_scaling
    from nas.proxies.short_training import TrainingProxy, TrainingSettings
    from nas.proxies.supernet import SupernetProxy
    from nas.runs.coefficients import ChosenCoefficients, choose_coefficients
    from nas.runs.comparison import ComparisonResult, ComparisonSettings, compare
    from nas.runs.fidelity.rank_agreement import Fidelity, measure_fidelity
    from nas.runs.fidelity.table_sample import draw_networks
    from nas.runs.pipeline import RunResult, run
    from nas.runs.prediction import Prediction, predict
    from nas.runs.settings import RunSettings
    from nas.runs.training.settings import TrainSettings
    from nas.runs.training.train import Trained, train
    from nas.strategies.samplers.protocol import Sampler, SamplerCapabilities
    from nas.strategies.scaling_choice import ScalingChoice
    from nas.training.inheritance import inherit
    from nas.training.supernet_trainer import SupernetSettings

__all__ = [
    "Accuracy",
    "Architecture",
    "Backbone",
    "Budget",
    "ChosenCoefficients",
    "Coefficients",
    "ComparisonResult",
    "ComparisonSettings",
    "Cost",
    "EvaluationFailed",
    "Export",
    "Feasible",
    "Fidelity",
    "Head",
    "ImageData",
    "ImageOptions",
    "InputError",
    "Network",
    "Norm",
    "Prediction",
    "Proxy",
    "ProxyCapabilities",
    "RunResult",
    "RunSettings",
    "Sampler",
    "SamplerCapabilities",
    "ScalingChoice",
    "ScalingEstimate",
    "SearchResult",
    "SearchSpace",
    "Stage",
    "Stem",
    "SupernetProxy",
    "SupernetSettings",
    "TrainSettings",
    "Trained",
    "TrainingProxy",
    "TrainingSettings",
    "Trial",
    "__version__",
    "build",
    "choose_coefficients",
    "compare",
    "compound",
    "draw_networks",
    "export_network",
    "family",
    "inherit",
    "load_architecture",
    "load_budget",
    "load_images",
    "load_space",
    "load_weights",
    "measure_cost",
    "measure_fidelity",
    "parse_budget",
    "predict",
    "predict_scaling",
    "read_table",
    "run",
    "save_architecture",
    "save_weights",
    "scale",
    "search",
    "train",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

_LATE = {
    "Backbone": "nas.networks.modules",
    "ChosenCoefficients": "nas.runs.coefficients",
    "ComparisonResult": "nas.runs.comparison",
    "ComparisonSettings": "nas.runs.comparison",
    "Export": "nas.export.export",
    "Fidelity": "nas.runs.fidelity.rank_agreement",
    "family": "nas.networks.scaled_family",
    "ImageData": "nas.data",
    "ImageOptions": "nas.data.dataset",
    "Network": "nas.networks.modules",
    "Prediction": "nas.runs.prediction",
    "RunResult": "nas.runs.pipeline",
    "RunSettings": "nas.runs.settings",
    "Sampler": "nas.strategies.samplers.protocol",
    "SamplerCapabilities": "nas.strategies.samplers.protocol",
    "ScalingChoice": "nas.strategies.scaling_choice",
    "ScalingEstimate": "nas.proxies.scaling_predictor",
    "SupernetProxy": "nas.proxies.supernet",
    "SupernetSettings": "nas.training.supernet_trainer",
    "TrainSettings": "nas.runs.training.settings",
    "Trained": "nas.runs.training.train",
    "TrainingProxy": "nas.proxies.short_training",
    "TrainingSettings": "nas.proxies.short_training",
    "build": "nas.networks.modules",
    "choose_coefficients": "nas.runs.coefficients",
    "compare": "nas.runs.comparison",
    "draw_networks": "nas.runs.fidelity.table_sample",
    "export_network": "nas.export.export",
    "inherit": "nas.training.inheritance",
    "load_images": "nas.data",
    "load_weights": "nas.networks.weights",
    "measure_fidelity": "nas.runs.fidelity.rank_agreement",
    "predict": "nas.runs.prediction",
    "predict_scaling": "nas.proxies.scaling_predictor",
    "run": "nas.runs.pipeline",
    "save_weights": "nas.networks.weights_file",
    "train": "nas.runs.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
