"""Static int8 quantisation by ONNX Runtime, with the most sensitive layers left in float."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from nas.data import ImageData, preprocess
from nas.errors import InputError
from nas.export.onnx import INPUT, onnx_model, run, session
from nas.files import write_bytes
from nas.networks.architecture import Architecture
from nas.networks.modules import Network
from nas.networks.optional_packages import package
from nas.progress import Progress
from nas.seeding import derived_seed

CALIBRATE, CHOOSE, HOLD_OUT = 64, 128, 2_000
"""The largest numbers of images that measure ranges, choose the layers, and evaluate the result."""

SENSITIVITY = 32
"""How many of the images that choose the layers measure the sensitivity of each layer alone."""

ENOUGH = 0.99
"""The agreement with the float network that is reached on the images that choose the layers."""

_BATCH = 16
_OPERATORS = ["Conv", "Gemm"]


FEWEST = 30
"""Held-out images below which the difference of two accuracies has no interval."""


@dataclass(frozen=True)
class Quantised:
    """Size and accuracy of a quantised network.

    Attributes:
        agreement: share of the held-out images to which the float network gives the same class.
        held_out: number of held-out images; none of them was used to quantise.
        bytes: size of the file.
        float_bytes: size of the float network's file.
        layers: number of convolutions and linear layers.
        left_out: names of the layers that stay in float.
        data: name of the images.
        calibration: number of images that measured ranges and chose layers.
        normalised: mean and standard deviation of each channel that images were normalised by.
        accuracy: on the held-out images; None if the data's classes are not the network's.
        float_accuracy: the float network's accuracy on the same images.
        half_width: of the 95 % interval of the paired difference between the two accuracies; None
            if there are too few images for one.
    """

    agreement: float
    held_out: int
    bytes: int
    float_bytes: int
    layers: int
    left_out: tuple[str, ...]
    data: str
    calibration: int
    normalised: dict[str, list[float]]
    accuracy: float | None
    float_accuracy: float | None
    half_width: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "left_out": list(self.left_out)}


def quantise(
    network: Network,
    architecture: Architecture,
    data: ImageData,
    statistics: tuple[Sequence[float], Sequence[float]],
    file: Path,
    *,
    dynamic_resolution: bool,
    float_bytes: int,
    labelled: bool,
    seed: int,
    progress: Progress,
) -> Quantised:
    """Write the network in int8, and evaluate it on held-out images.

    Weights are quantised per channel, activations per tensor. Each layer is first quantised alone;
    then the layers that change the logits most for their size are left in float, as few as make the
    network agree with the float one on enough images. Those images and the ones that measure ranges
    are drawn from the training part, the held-out ones from the validation and test parts.

    Args:
        network: with its weights.
        architecture: of the network.
        data: images with the network's number of channels.
        statistics: mean and standard deviation of each channel, in 0…1.
        file: to be written.
        dynamic_resolution: the graph takes images of any size.
        float_bytes: size of the float network's file.
        labelled: the images' classes are the network's.
        seed: of the choice of images.
        progress: told of the steps.

    Raises:
        InputError: the images have another number of channels than the network.
    """
    if data.channels != architecture.in_channels:
        raise InputError(
            f"{data.name}: its images have {data.channels} channels, "
            f"{architecture.name} takes {architecture.in_channels}"
        )
    training, held_out, labels = _parts(data, seed)

    def prepare(images: Tensor) -> Tensor:
        return preprocess(images, architecture.resolution, *statistics).contiguous()

    ranges = prepare(training[:CALIBRATE])
    choosing = prepare(training[CALIBRATE:]) if len(training) > CALIBRATE else ranges
    model = onnx_model(network, architecture, dynamic_resolution=dynamic_resolution, fold=True)
    package("onnxruntime.quantization.quant_utils").add_pre_process_metadata(model)
    plain = session(model.SerializeToString())
    with TemporaryDirectory() as folder:
        quantiser = _Quantiser(model, Path(folder), ranges)
        names = [node.name for node in model.graph.node if node.op_type in _OPERATORS]
        few = choosing[:SENSITIVITY]
        wanted, wanted_few = _logits(plain, choosing), _logits(plain, few)
        progress.phase("sensitivity of each layer", len(names))
        losses = {}
        for name in names:
            alone = _logits(session(str(quantiser.make([name]))), few)
            losses[name] = (alone - wanted_few).square().mean().item()
            progress.advance(1)
        sizes = _weights(model)
        worst_first = sorted(names, key=lambda name: -losses[name] / sizes[name])
        progress.phase("layers left out", None)

        def agrees(left_out: int) -> bool:
            made = quantiser.make(worst_first[left_out:])
            share = _agreement(_logits(session(str(made)), choosing), wanted)
            progress.advance(1, f"{left_out} left out: agreement {share:.3f}")
            return share >= ENOUGH

        left_out = _fewest(len(names), agrees)
        made = quantiser.make(worst_first[left_out:])
        write_bytes(file, made.read_bytes())
    progress.phase("agreement on held-out images", len(held_out))
    quantised, found = session(str(file)), []
    for batch in held_out.split(_BATCH):
        images = prepare(batch)
        found.append((run(quantised, images).argmax(1), run(plain, images).argmax(1)))
        progress.advance(len(batch))
    ours, wanted = (torch.cat(classes) for classes in zip(*found, strict=True))
    accuracies = _accuracies(ours == labels, wanted == labels) if labelled else (None, None, None)
    kept = set(worst_first[:left_out])
    return Quantised(
        agreement=(ours == wanted).sum().item() / len(held_out),
        held_out=len(held_out),
        bytes=file.stat().st_size,
        float_bytes=float_bytes,
        layers=len(names),
        left_out=tuple(name for name in names if name in kept),
        data=data.name,
        calibration=len(training),
        normalised={"mean": list(statistics[0]), "std": list(statistics[1])},
        accuracy=accuracies[0],
        float_accuracy=accuracies[1],
        half_width=accuracies[2],
    )


def _accuracies(ours: Tensor, wanted: Tensor) -> tuple[float, float, float | None]:
    """Return both accuracies, and the half width of the 95 % interval of their difference.

    Where no image is classified differently, it is 3 / n: the upper limit of a share of which
    nothing was seen (Hanley & Lippman-Hand 1983).
    """
    differences, half_width = ours.double() - wanted.double(), None
    if len(differences) >= FEWEST:
        spread = 1.96 * differences.std().item() / len(differences) ** 0.5
        half_width = spread or 3 / len(differences)
    return ours.double().mean().item(), wanted.double().mean().item(), half_width


def _weights(model: Any) -> dict[str, int]:
    """Return how many weights each convolution and linear layer of a graph has."""
    count = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    nodes = (node for node in model.graph.node if node.op_type in _OPERATORS)
    return {node.name: count[node.input[1]] for node in nodes}


def _fewest(most: int, agrees: Callable[[int], bool]) -> int:
    """Return the least number that ``agrees`` accepts, if it accepts all above it, and ``most``."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if agrees(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _parts(data: ImageData, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return random training images, random validation and test images, and the latter's labels."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "calibration"))

    def some(count: int, most: int) -> Tensor:
        return torch.randperm(count, generator=generator)[:most]

    images, labels = [data.validation_images], [data.validation_labels]
    if data.test_images is not None and data.test_labels is not None:
        images.append(data.test_images)
        labels.append(data.test_labels)
    unseen, truth = torch.cat(images), torch.cat(labels)
    training = data.train_images[some(len(data.train_images), CALIBRATE + CHOOSE)]
    held_out = some(len(unseen), HOLD_OUT)
    return training, unseen[held_out], truth[held_out]


def _logits(running: Any, images: Tensor) -> Tensor:
    return torch.cat([run(running, batch) for batch in images.split(_BATCH)])


def _agreement(logits: Tensor, wanted: Tensor) -> float:
    return (logits.argmax(1) == wanted.argmax(1)).float().mean().item()


class _Quantiser:
    """Quantises any layers of one model; ranges are measured once and cached in a file."""

    def __init__(self, model: Any, folder: Path, images: Tensor) -> None:
        self._folder = folder
        self._images = images
        self._model = folder / "float.onnx"  # a file: of a model in memory its weights are taken
        self._model.write_bytes(model.SerializeToString())

    def make(self, names: Sequence[str]) -> Path:
        """Return the file of the model with the named layers in int8, or the float one for none."""
        path = self._folder / "int8.onnx"
        if not names:
            return self._model
        quantization = package("onnxruntime.quantization")
        eight = quantization.QuantType.QInt8
        quantization.quantize_static(
            self._model,
            path,
            _reader(quantization, self._images.split(_BATCH)),
            op_types_to_quantize=_OPERATORS,
            nodes_to_quantize=list(names),
            per_channel=True,
            activation_type=eight,
            weight_type=eight,
            calibration_cache_path=self._folder / "ranges.json",
        )
        return path


def _reader(quantization: Any, batches: Sequence[Tensor]) -> Any:
    """Return the batches as ONNX Runtime's quantisation reads them."""

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches: Iterator[Tensor] = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    return Reader()
