"""The built-in synthetic set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.data import ImageData, fractals, load_images, resize
from nas.errors import InputError


@pytest.fixture(scope="module")
def small() -> ImageData:
    return fractals(classes=3, images_per_class=16, resolution=32)


def test_parts(small: ImageData) -> None:
    assert small.name == "fractals"
    assert small.classes == ("fractals00", "fractals01", "fractals02")
    assert small.train_images.shape == (36, 3, 32, 32)
    assert small.train_images.dtype == torch.uint8
    assert small.class_counts == (12, 12, 12)
    assert torch.bincount(small.validation_labels).tolist() == [2, 2, 2]
    assert small.test_labels is not None
    assert torch.bincount(small.test_labels).tolist() == [2, 2, 2]
    assert small.notes == ()


def test_same_bytes_on_every_run(small: ImageData) -> None:
    again = fractals(classes=3, images_per_class=16, resolution=32)
    assert again.fingerprint == small.fingerprint
    assert fractals(classes=3, images_per_class=16, resolution=32, seed=1).fingerprint != (
        small.fingerprint
    )
    # On every machine: results of runs on this set are compared across them.
    assert small.fingerprint == "169897f268013a66e2924d48c3a34ca1f7cca63869b7c76112a2fe5abfd15660"


def test_more_classes_and_images_keep_the_first(small: ImageData) -> None:
    more = fractals(classes=4, images_per_class=24, resolution=32)
    for label in range(3):
        old = small.train_images[small.train_labels == label]
        new = more.train_images[more.train_labels == label]
        assert torch.equal(new[: len(old)], old)


@pytest.mark.parametrize("resolution", [24, 33, 96])
def test_same_composition_at_any_resolution(small: ImageData, resolution: int) -> None:
    other = fractals(classes=3, images_per_class=16, resolution=resolution)
    assert other.resolution == resolution
    # At a size where both are coarse, the pictures agree.
    left = resize(small.train_images.float(), 12).flatten(1)
    right = resize(other.train_images.float(), 12).flatten(1)
    for row in range(len(left)):
        correlation = torch.corrcoef(torch.stack([left[row], right[row]]))[0, 1]
        assert correlation > 0.95


def test_images_are_varied_and_use_the_range(small: ImageData) -> None:
    assert len(torch.unique(small.train_images.flatten(1), dim=0)) == 36
    deviation = small.train_images.float().std((1, 2, 3))
    assert deviation.min() > 8
    assert all(0.3 < mean < 0.7 for mean in small.mean)
    assert all(0.15 < std < 0.35 for std in small.std)


def test_progress_ends_at_the_total() -> None:
    calls: list[tuple[int, int]] = []
    fractals(classes=2, images_per_class=40, resolution=64, progress=lambda *c: calls.append(c))
    assert calls[-1] == (80, 80)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize("options", [{"classes": 1}, {"images_per_class": 2}, {"resolution": 15}])
def test_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        fractals(**options)


def test_load_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nas.data.load

    def few(**options: Any) -> ImageData:
        return fractals(classes=2, images_per_class=8, **options)

    monkeypatch.setattr(nas.data.load, "fractals", few)
    data = load_images("fractals")
    assert data.resolution == 64
    grey = load_images("fractals", channels=1, resolution=32, cache=tmp_path)
    assert grey.train_images.shape == (12, 1, 32, 32)
    assert grey.test_images is not None
    colour = load_images("fractals", resolution=32)
    weights = np.array([0.299, 0.587, 0.114])
    expected = (colour.train_images[0].permute(1, 2, 0).numpy() @ weights).round()
    assert np.abs(grey.train_images[0, 0].numpy() - expected).max() <= 1
    again = load_images("fractals", channels=1, resolution=32, cache=tmp_path)
    assert again.fingerprint == grey.fingerprint
    with pytest.raises(InputError, match="resolution: 8 is not accepted: at least 16"):
        load_images("fractals", resolution=8)
