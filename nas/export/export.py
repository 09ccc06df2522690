"""An export from beginning to end: the folder, the target's files, the checks, ``export.json``."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas._version import __version__
from nas.data import ImageData
from nas.errors import InputError
from nas.export.equivalence import Equivalence
from nas.export.folder import export_folder, finish
from nas.export.int8 import Quantised, quantise
from nas.export.random_network import random_network
from nas.export.targets import PACKAGES, Original, Target, check_expressible, write_target
from nas.files import sha256
from nas.networks.architecture import Architecture, Norm
from nas.networks.cost import measure_cost
from nas.networks.optional_packages import package, versions
from nas.networks.weights import network_with
from nas.networks.weights_file import read_weights
from nas.progress import Progress, SilentProgress

logger = logging.getLogger(__name__)

MAX_ACTIVATIONS = 2**31
"""The largest number of activations of a network that is exported: 16 GiB in float64 if all were
kept at once; EfficientNet-B7 has 0.9 thousand million."""

RANDOM = "the weights are random: they serve to check the export and nothing else"


@dataclass(frozen=True)
class Calibration:
    """Images to quantise with; they are loaded only when the export has succeeded."""

    name: str
    load: Callable[[], ImageData]


@dataclass(frozen=True)
class Export:
    """A finished export.

    Attributes:
        folder: where it is.
        equivalence: the comparison with the original, with the weights that are exported.
        structure: the same with random weights, with which every layer has an effect on the logits,
            as it need not have with given ones; None where the exported weights are random.
        quantised: the measurements of the int8 graph; None where none was asked for.
        document: the content of ``export.json``.
    """

    folder: Path
    equivalence: Equivalence
    structure: Equivalence | None
    quantised: Quantised | None
    document: Mapping[str, Any]


def export_network(
    architecture: Architecture,
    target: Target,
    folder: Path,
    *,
    weights: Path | None = None,
    seed: int = 0,
    dynamic_resolution: bool = False,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a network as another library builds it, and check that it is equivalent.

    Args:
        architecture: what to export.
        target: the library or format.
        folder: for the files: it is written whole, with ``export.json``, or not at all.
        weights: a file of ours, timm's or torchvision's, which is exported too. The export is then
            checked with these weights and with random ones, without a file with random ones alone.
        seed: of random weights and images.
        dynamic_resolution: an ONNX graph takes images of any size.
        calibration: if given, an int8 ONNX graph is written as well.
        progress: shows the steps; None: nothing is shown.

    Raises:
        InputError: the target cannot express a field, a package is missing, the weights are not of
            this network, or the folder is not free.
        NotEquivalent: what was written computes another function; it is deleted.
    """
    progress = progress or SilentProgress()
    if calibration is not None and weights is None:
        raise InputError("int8: needs weights; the accuracy of random weights means nothing")
    activations = measure_cost(architecture).activations
    if activations > MAX_ACTIVATIONS:
        raise InputError(
            f"{architecture.name}: {activations:,} activations at {architecture.resolution} px are "
            f"not accepted: at most {MAX_ACTIVATIONS:,}, since the check runs the network"
        )
    for name in PACKAGES[target]:
        package(name)
    command = {
        "target": target,
        "architecture": architecture.key(),
        "name": architecture.name,
        "weights": None if weights is None else sha256(weights),
        "seed": seed,
        "dynamic_resolution": dynamic_resolution,
        "int8": None if calibration is None else calibration.name,
    }
    check_expressible(architecture, target)
    with export_folder(folder, command) as place:
        progress.phase(f"{architecture.name} for {target}", None)
        read = None if weights is None else read_weights(weights)
        random = random_network(architecture, seed)
        network = random if read is None else network_with(read, architecture).eval()
        original = Original(architecture, network, read, seed)
        equivalence = write_target(original, target, place, dynamic_resolution=dynamic_resolution)
        structure = None
        if read is not None:
            with TemporaryDirectory() as scratch:
                structure = write_target(
                    replace(original, network=random),
                    target,
                    Path(scratch),
                    dynamic_resolution=dynamic_resolution,
                )
        trained_on = None if read is None else read.trained_on
        quantised = None
        if calibration is not None:
            data = calibration.load()
            quantised = quantise(
                network,
                architecture,
                data,
                (read and read.normalisation(data.channels)) or (data.mean, data.std),
                place / "model-int8.onnx",
                dynamic_resolution=dynamic_resolution,
                float_bytes=(place / "model.onnx").stat().st_size,
                labelled=trained_on is not None and trained_on.classes == data.classes,
                seed=seed,
                progress=progress,
            )
        document = {
            "architecture": architecture.to_dict(),
            "weights": "random" if weights is None else weights.name,
            "equivalence": {
                **equivalence.to_dict(),
                **({} if structure is None else {"random_weights": structure.to_dict()["logits"]}),
            },
            **({} if quantised is None else {"int8": quantised.to_dict()}),
            **({} if trained_on is None else {"trained_on": asdict(trained_on)}),
            "notes": _notes(original, quantised),
            "versions": {
                "nas-search": __version__,
                "python": platform.python_version(),
                **versions("torch", *PACKAGES[target]),
            },
        }
        document = finish(place, command, document)
    logger.info(
        "%s exported for %s to %s: %d parameters, %d FLOPs, logits differ by at most %.1e",
        architecture.name,
        target,
        folder,
        equivalence.params,
        equivalence.flops,
        equivalence.difference,
    )
    return Export(folder, equivalence, structure, quantised, document)


def _notes(original: Original, quantised: Quantised | None) -> list[str]:
    notes = [] if original.weights is not None else [RANDOM]
    if quantised is not None and len(quantised.left_out) == quantised.layers:
        notes.append("no layer tolerates int8: model-int8.onnx is the float network")
    weights = original.weights
    if weights is None or weights.architecture is not None:
        return notes
    if weights.layout == "timm":
        if original.architecture.padding == "symmetric":
            notes.append(
                "timm's tf_… networks pad differently and have the same names: the weights are "
                "taken for those of others"
            )
        if original.architecture.norm != Norm():
            notes.append(
                "timm's efficientnet_b5 … b7 have batch norm's eps 1e-5, "
                f"{original.architecture.name} has {original.architecture.norm.eps:g}"
            )
    return notes
