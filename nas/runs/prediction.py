"""Trained networks applied to images: which classes they have, and how probable these are."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.data import preprocess
from nas.data.decode import (
    Decoded,
    DeepPixelsError,
    DepthKind,
    PixelRange,
    Pixels,
    bombs_are_errors,
    decode,
    grey_values,
    pixel_range,
)
from nas.data.folders import images_under
from nas.environment import available_cores, check_device
from nas.errors import InputError, check_range
from nas.files import write_text
from nas.networks.architecture import Architecture
from nas.networks.fast_convolution import fold_norms, lay_out
from nas.networks.pretrained import Pretrained, load_pretrained
from nas.networks.weights_file import TrainedOn
from nas.progress import Progress, SilentProgress
from nas.records.beside import weights_in
from nas.training.divergence import check_finite

BATCH_SIZE = 64

TOP = 5


@dataclass(frozen=True)
class ClassProbability:
    """A class of a network with the probability that an image is of it.

    Attributes:
        name: of the class; its number where the weights know no names.
        probability: by the softmax of the network's outputs.
    """

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says of an image.

    Attributes:
        image: its file.
        top: the most probable classes, the first one first; empty: the image cannot be read.
        error: why it cannot be read; None: it can.
    """

    image: Path
    top: tuple[ClassProbability, ...] = ()
    error: str | None = None


class ImageClassifier:
    """A trained network with what it needs to know of its images.

    Args:
        weights: a file, or the folder of a training or a run that has one.
        architecture: of the weights; None: as the file says, or as its tensors are.
        device: where to compute.
    """

    def __init__(
        self,
        weights: Path | str,
        architecture: Architecture | None = None,
        device: str = "cpu",
    ) -> None:
        check_device(device)
        self.weights: Pretrained = load_pretrained(weights_in(Path(weights)), architecture)
        self.architecture = self.weights.architecture
        channels, classes = self.architecture.in_channels, self.architecture.num_classes
        self._device = device
        self._network = self.weights.network(channels, classes).eval().requires_grad_(False)
        fold_norms(self._network)
        self._network.to(device)
        lay_out(self._network, device)
        self._about = self._images(channels)
        self.classes = self._about.classes or tuple(map(str, range(classes)))

    def _images(self, channels: int) -> TrainedOn:
        """Return what the weights know of their images; of ImageNet's, what is usual.

        Raises:
            InputError: nothing says how the images are normalised.
        """
        known = self.weights.weights.trained_on
        if known is not None:
            return known
        normalisation = self.weights.normalisation(channels)
        if normalisation is None:
            raise InputError(
                f"{self.weights.source}: does not say how images are normalised; accepted: weights "
                "that nas-search train wrote, or published ones"
            )
        mean, std = normalisation
        return TrainedOn(mean, std, self.architecture.resolution, ())

    def predict(
        self,
        images: Iterable[Path],
        *,
        top: int = TOP,
        batch_size: int = BATCH_SIZE,
        progress: Progress | None = None,
    ) -> Iterator[Prediction]:
        """Yield what the network says of each image, in their order; in memory is one batch.

        Args:
            images: files.
            top: most probable classes of each.
            batch_size: images at once.
            progress: shows how many are done.

        Raises:
            InputError: a number is not accepted.
            Diverged: the network's outputs are not finite.
        """
        check_range("top", top, 1)
        check_range("batch-size", batch_size, 1, 65_536)
        progress, done = progress or SilentProgress(), 0
        files = list(images)
        progress.phase("predict", len(files))
        for first in range(0, len(files), batch_size):
            batch = files[first : first + batch_size]
            with bombs_are_errors(), ThreadPoolExecutor(available_cores()) as pool:
                decoded = list(pool.map(self._decoded, batch))
            good = [one.pixels for one in decoded if isinstance(one, Decoded)]
            found = iter(self._probabilities(good, top))
            for path, one in zip(batch, decoded, strict=True):
                if isinstance(one, Decoded):
                    yield Prediction(path, next(found))
                else:
                    yield Prediction(path, error=str(one))
            done += len(batch)
            progress.advance(done, "")

    def _decoded(self, path: Path) -> Decoded | InputError:
        """Return an image as the training had its own, or why it cannot be read."""
        about = self._about
        pixels, channels = about.image_resolution or about.resolution, self.architecture.in_channels

        def read(ranges: dict[DepthKind, PixelRange] | None) -> Decoded:
            return decode(
                path,
                str(path),
                resolution=pixels,
                channels=channels,
                fit=about.fit,
                ranges=ranges,
            )

        try:
            if not path.exists():
                raise InputError(f"{path}: no such file")
            try:
                return read(None)
            except DeepPixelsError:
                return read(_range_of(path, about.pixel_ranges))
        except InputError as error:
            return error

    def _probabilities(
        self, pixels: Sequence[Pixels], top: int
    ) -> list[tuple[ClassProbability, ...]]:
        if not pixels:
            return []
        about = self._about
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(self._device)
        with torch.inference_mode():
            inputs = preprocess(images, about.resolution, about.mean, about.std)
            shares: Tensor = self._network(inputs).float().softmax(1).cpu()
        check_finite(shares, "the outputs of the network")
        values, places = shares.topk(min(top, shares.shape[1]))
        return [
            tuple(
                ClassProbability(self.classes[place], round(value, 6))
                for value, place in zip(row, row_places, strict=True)
            )
            for row, row_places in zip(values.tolist(), places.tolist(), strict=True)
        ]


def _range_of(path: Path, known: Mapping[DepthKind, PixelRange]) -> dict[DepthKind, PixelRange]:
    """Return the range of an image of more than 8 bits: the training's, else by its own values."""
    found = grey_values(path, str(path))
    if found is None:
        return {}
    kind, (low, high) = found
    return {kind: known[kind] if kind in known else pixel_range(kind, low, high)}


def image_files(words: Iterable[str], listed: Iterable[str] = ()) -> list[Path]:
    """Return the files that words name: files, and all images under folders; ``-`` is a list.

    Args:
        words: paths.
        listed: paths in the place of ``-``, one a line.

    Raises:
        InputError: there are none, or one that is named does not exist.
    """
    found: list[Path] = []
    for word in words:
        if word == "-":
            found += [Path(line.rstrip("\r\n")) for line in listed if line.strip()]
        elif os.path.isdir(word):
            inside = images_under(Path(word))
            if not inside:
                raise InputError(f"{word}: no images in this folder")
            found += inside
        elif os.path.lexists(word):
            found.append(Path(word))
        else:
            raise InputError(f"{word}: no such file")
    if not found:
        raise InputError("no images: accepted: files, folders, or - for a list of files")
    return found


def write_predictions(found: Iterable[Prediction], path: Path) -> None:
    """Write predictions as CSV, a row an image and class; whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "rank", "class", "probability"))
    for one in found:
        for rank, guess in enumerate(one.top, 1):
            writer.writerow((one.image, rank, guess.name, guess.probability))
    write_text(path, text.getvalue())


def predict(
    weights: Path | str,
    images: Iterable[Path | str],
    *,
    architecture: Architecture | None = None,
    top: int = TOP,
    batch_size: int = BATCH_SIZE,
    device: str = "cpu",
) -> list[Prediction]:
    """Return the most probable classes of images by a trained network.

    Images are prepared as those of the training were: size, squares, channels and normalisation are
    in the file of the weights.

    Args:
        weights: a file, or the folder of a training or a run.
        images: files, or folders of which all images are taken.
        architecture: of the weights; None: as the file says, or as its tensors are.
        top: number of classes.
        batch_size: images at once.
        device: that torch computes on.

    Returns:
        A prediction for each image, in their order; one that cannot be read has an error.

    Raises:
        InputError: the weights cannot be read, or there are no images.
    """
    files = image_files(map(str, images))
    found = ImageClassifier(weights, architecture, device)
    return list(found.predict(files, top=top, batch_size=batch_size))
