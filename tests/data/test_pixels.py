"""From files to pixels: depth, squares, frames, broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from nas.data import ImageData, load_images
from nas.data.decode import DepthKind, pixel_range
from nas.errors import InputError


def classes_of(root: Path, arrays: list[Any], ending: str) -> Path:
    """Two classes, each with an image for every array."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for index, array in enumerate(arrays):
            Image.fromarray(array).save(root / name / f"{index}.{ending}")
    return root


def values(data: ImageData) -> torch.Tensor:
    """The grey levels that occur."""
    return torch.cat([part[0].flatten() for part in data.parts if part is not None]).unique()


@pytest.mark.parametrize(
    ("top", "dtype", "ending", "levels", "note"),
    [
        (65_536, "<u2", "png", 256, "integer grey values from 0…65535 (16 bits) to 0…255"),
        (16_384, "<u2", "tif", 256, "integer grey values from 0…16383 (14 bits) to 0…255"),
        (4_096, "<u2", "tif", 256, "integer grey values from 0…4095 (12 bits) to 0…255"),
        (1_024, "<u2", "png", 200, "integer grey values from 0…1023 (10 bits) to 0…255"),
        (256, "<i4", "tif", 200, "integer grey values from 0…255 (8 bits) to 0…255"),
        (256, "<f4", "tif", 200, "floating-point grey values from 0…255 to 0…255"),
    ],
)
def test_deep_pixels_are_scaled_by_the_range_of_the_data_set(
    tmp_path: Path, top: int, dtype: str, ending: str, levels: int, note: str
) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, top, (32, 32)).astype(dtype) for _ in range(12)]
    arrays[0][0, :2] = 0, top - 1
    data = load_images(classes_of(tmp_path, arrays, ending))
    found = values(data)
    assert (int(found.min()), int(found.max())) == (0, 255)
    assert len(found) >= levels
    assert f"scaled {note}" in data.notes


def test_one_scale_for_all_images(tmp_path: Path) -> None:
    """A dark image stays dark beside a bright one."""
    dark, bright = (np.full((8, 8), value, "<u2") for value in (100, 4_000))
    data = load_images(classes_of(tmp_path, [dark, bright], "png"))
    assert values(data).tolist() == [round(100 * 255 / 4095), round(4_000 * 255 / 4095)]


def test_negative_values_go_from_the_least_to_the_largest(tmp_path: Path) -> None:
    """As in CT images, which are in Hounsfield units."""
    arrays = [np.full((8, 8), value, "<i4") for value in (-1_000, 0, 3_000)]
    data = load_images(classes_of(tmp_path, arrays, "tif"))
    assert values(data).tolist() == [0, 64, 255]
    assert any("from -1000…3000 to 0…255" in note for note in data.notes)


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("integer", 0, 200, (0, 255)),
        ("integer", 5, 256, (0, 1023)),
        ("integer", 0, 70_000, (0, 70_000)),
        ("floating-point", 0, 1, (0, 1)),
        ("floating-point", 0, 1.5, (0, 255)),
        ("floating-point", -1, 1, (-1, 1)),
    ],
)
def test_pixel_range(kind: DepthKind, low: float, high: float, expected: tuple[float, ...]) -> None:
    assert pixel_range(kind, low, high) == expected


def test_values_that_are_not_finite_are_broken(tmp_path: Path) -> None:
    array = np.full((8, 8), np.nan, "<f4")
    with pytest.raises(InputError, match="not finite"):
        load_images(classes_of(tmp_path, [array, array], "tif"))


# Squares ------------------------------------------------------------------------------------------


def stripes(width: int, height: int) -> Any:
    """Red at the left end, blue at the right end, grey between."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[:, : width // 8] = 255, 0, 0
    pixels[:, -(width // 8) :] = 0, 0, 255
    return pixels


@pytest.mark.parametrize("fit", ["crop", "pad", "squeeze"])
def test_wide_images_become_squares(tmp_path: Path, fit: str) -> None:
    root = classes_of(tmp_path, [stripes(160, 40)] * 4, "png")
    data = load_images(root, resolution=32, fit=fit)
    image = data.train_images[0].int()
    middle = image[:, 16]
    assert (middle[0, 0] > 200) == (fit != "crop")  # the red end
    assert (middle[2, -1] > 200) == (fit != "crop")
    assert (image[:, 0].sum() == 0) == (fit == "pad")
    said = {
        "crop": "cropped 8 images to the centre, 75 % of the width left out",
        "pad": "padded 8 images to squares with black",
        "squeeze": "squeezed 8 images to squares",
    }
    assert any(note.startswith(said[fit]) for note in data.notes)


def test_what_is_cropped_at_most_is_said(tmp_path: Path) -> None:
    arrays = [stripes(160, 40), stripes(60, 40), stripes(40, 80), stripes(40, 40)]
    data = load_images(classes_of(tmp_path, arrays, "png"), resolution=32)
    assert any(
        "cropped 6 images to the centre, up to 75 % of the width and 50 % of the height" in note
        for note in data.notes
    )


def test_an_unknown_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fit: 'stretch' is not accepted: crop, pad, squeeze"):
        load_images(tmp_path, fit="stretch")


# Files --------------------------------------------------------------------------------------------


def test_all_broken_files_are_found_in_one_pass(tmp_path: Path) -> None:
    root = classes_of(tmp_path, [stripes(16, 16)] * 20, "png")
    for index in range(13):
        (root / "a" / f"{index}.png").write_bytes(b"broken")
    (root / "b" / "3.png").write_bytes((root / "b" / "3.png").read_bytes()[:60])
    with pytest.raises(InputError) as caught:
        load_images(root)
    text = str(caught.value)
    assert text.startswith("14 of 40 images cannot be used: ")
    assert text.count(".png: ") == 10
    assert text.endswith("; and 4 more")
    assert "\n" not in text


def test_the_first_frame_is_taken_and_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(2):
            first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
            first.save(tmp_path / name / f"{index}.gif", save_all=True, append_images=[second])
    data = load_images(tmp_path)
    assert data.train_images[0, 0].min() > 200
    assert "took the first frame of 4 images of several frames" in data.notes


def test_broken_exif_data_is_ignored_and_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(2):
            image = Image.new("RGB", (8, 8), "red")
            image.save(tmp_path / name / f"{index}.webp", exif=b"Exif\x00\x00ZZ" + bytes(8))
    data = load_images(tmp_path)
    assert data.train_images[0, 0].min() > 200
    assert "ignored the EXIF data of 4 images, which is broken" in data.notes


def test_a_long_comment_is_no_reason_to_refuse(tmp_path: Path) -> None:
    comment = PngImagePlugin.PngInfo()
    comment.add_text("prompt", "x" * 3_000_000, zip=True)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{index}.png", pnginfo=comment)
    assert load_images(tmp_path).resolution == 8


def test_large_images_are_refused_unless_allowed(tmp_path: Path) -> None:
    root = classes_of(tmp_path, [np.zeros((64, 64), np.uint8)] * 2, "png")
    with pytest.raises(InputError, match=r"more than 2,048 pixels.*--max-pixels"):
        load_images(root, max_pixels=2_048)
    assert load_images(root, max_pixels=64 * 64).resolution == 64
    with pytest.raises(InputError, match="max-pixels: 10 is not accepted"):
        load_images(root, max_pixels=10)
