"""Loading and splitting images."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from nas.data import ImageData, load_images
from nas.data.dataset import load_data
from nas.data.images import channel_statistics, stratified_split
from nas.errors import InputError
from tests.support.paths import ROOT
from tests.support.silent import Silent

COLOURS = {"ant": (200, 10, 10), "bee": (10, 200, 10), "cat": (10, 10, 200)}


def picture(colour: Any = (200, 10, 10), size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Any:
    return Image.new(mode, size, colour)


def encoded(image: Any, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def write_folder(root: Path, classes: Mapping[str, int], size: tuple[int, int] = (8, 8)) -> Path:
    for name, number in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(number):
            picture(COLOURS.get(name, (i, 99, 5)), size).save(root / name / f"{i:03d}.png")
    return root


def write_parquet(
    path: Path, images: list[Any], labels: list[Any], column: str = "img", label: str = "label"
) -> Path:
    cells = [{"bytes": image, "path": None} for image in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({column: cells, label: labels}), path)
    return path


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "animals", {"ant": 20, "bee": 20, "cat": 20})


# What is read -------------------------------------------------------------------------------------


def test_cifar10(tmp_path: Path) -> None:
    folder = ROOT.parent / "shared/data/cifar10"
    if not folder.exists():
        pytest.skip("needs the development data shared/data/cifar10")
    calls: list[tuple[int, int]] = []
    data = load_images(folder, cache=tmp_path, progress=lambda *call: calls.append(call))
    assert data.name == "cifar10"
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    assert data.train_images.shape == (45_000, 3, 32, 32)
    assert data.validation_images.shape == (5_000, 3, 32, 32)
    assert data.test_images is not None
    assert data.test_images.shape == (10_000, 3, 32, 32)
    assert data.train_images.dtype == torch.uint8
    assert data.class_counts == (4_500,) * 10
    assert torch.bincount(data.validation_labels).tolist() == [500] * 10
    assert data.notes == ()
    assert calls[-1] == (60_000, 60_000)
    # The published statistics of the 50,000 training images, here of 45,000 JPEG-encoded ones.
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-3)
    assert data.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=2e-3)
    # The test part is the file of that name, row by row.
    table = pq.read_table(folder / "test-00000-of-00001.parquet")
    assert data.test_labels is not None
    assert data.test_labels.tolist() == table["label"].to_pylist()
    for row in (0, 1234, 9_999):
        image = Image.open(io.BytesIO(table["img"][row].as_py()["bytes"]))
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        assert torch.equal(data.test_images[row], pixels)
    again = load_images(folder, cache=tmp_path, progress=lambda *_: pytest.fail("was decoded"))
    assert again.fingerprint == data.fingerprint
    assert torch.equal(again.train_images, data.train_images)


def test_folder_of_class_folders(animals: Path) -> None:
    data = load_images(animals)
    assert data.name == "animals"
    assert data.classes == ("ant", "bee", "cat")
    assert (data.channels, data.resolution, data.num_classes) == (3, 8, 3)
    assert data.class_counts == (18, 18, 18)
    assert data.test_images is None
    assert data.test_labels is None
    assert torch.bincount(data.validation_labels).tolist() == [2, 2, 2]
    for images, labels in data.parts[:2]:
        for image, label in zip(images, labels.tolist(), strict=True):
            assert tuple(image[:, 3, 3].tolist()) == tuple(COLOURS.values())[label]
    assert load_images(str(animals)).fingerprint == data.fingerprint
    assert data.train_images.is_contiguous(memory_format=torch.channels_last)


def test_folder_with_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 6, "bee": 6})
    write_folder(tmp_path / "val", {"ant": 3, "bee": 2})
    write_folder(tmp_path / "test", {"bee": 4})
    write_folder(tmp_path / "extra", {"bee": 1})
    data = load_images(tmp_path)
    assert data.class_counts == (6, 6)
    assert data.validation_labels.tolist() == [0, 0, 0, 1, 1]
    assert data.test_labels is not None
    assert data.test_labels.tolist() == [1, 1, 1, 1]
    assert "the test split lacks 1 of 2 classes" in data.notes
    assert any(
        note == "left out 1 file in 'extra', which is not a split (for example extra/bee/000.png)"
        for note in data.notes
    )


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    data = load_images(write_folder(tmp_path / "vehicles", {"boat": 4, "train": 4}))
    assert data.classes == ("boat", "train")


def test_a_test_split_of_another_class_is_an_error(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 6, "bee": 6})
    write_folder(tmp_path / "test", {"dog": 4})
    with pytest.raises(
        InputError, match=r"test/dog/000\.png: a class that the training images do not have: 'dog'"
    ):
        load_images(tmp_path)


def test_parquet_file_with_text_labels(tmp_path: Path) -> None:
    images = [encoded(picture(c)) for c in COLOURS.values()] * 4
    path = write_parquet(tmp_path / "beasts.parquet", images, ["x", "a", "m"] * 4, label="class")
    data = load_images(path)
    assert data.name == "beasts"
    assert data.classes == ("a", "m", "x")
    assert data.train_images[data.train_labels == 2][0, :, 0, 0].tolist() == [200, 10, 10]


def test_parquet_with_integer_labels_and_hidden_test_labels(tmp_path: Path) -> None:
    images = [encoded(picture(c)) for c in COLOURS.values()] * 4
    write_parquet(tmp_path / "train-0.parquet", images, [7, 3, 3] * 4)
    write_parquet(tmp_path / "test-0.parquet", images, [-1] * 12)
    data = load_images(tmp_path)
    assert data.classes == ("3", "7")
    assert data.test_images is None
    assert "the test split has no labels and is left out" in data.notes


def test_validation_split_of_the_source_is_used(tmp_path: Path) -> None:
    images = [encoded(picture(c)) for c in COLOURS.values()]
    write_parquet(tmp_path / "data/train-0.parquet", images * 3, [0, 1, 2] * 3)
    write_parquet(tmp_path / "data/validation-0.parquet", images, [0, 1, 2])
    data = load_images(tmp_path)
    assert len(data.train_images) == 9
    assert data.validation_labels.tolist() == [0, 1, 2]
    assert data.test_images is None


def numbered(root: Path, classes: Mapping[str, int]) -> Path:
    """Class folders of images that all differ."""
    number = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            number += 1
            picture((number % 256, number // 256, 9), (4, 4)).save(root / name / f"{index}.png")
    return root


def test_test_images_are_held_out_where_there_are_none(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "many", {"ant": 400, "bee": 200})
    data = load_images(folder)
    assert [len(labels) for _, labels in (part for part in data.parts if part)] == [459, 51, 90]
    assert data.test_labels is not None
    assert torch.bincount(data.test_labels).tolist() == [60, 30]
    assert any("90 of 600 training images are held out as test images" in n for n in data.notes)
    seen = [{image.numpy().tobytes() for image in part[0]} for part in data.parts if part]
    assert len(set.union(*seen)) == sum(map(len, seen)) == 600
    whole = load_images(folder, hold_out=False)
    assert whole.test_images is None
    assert len(whole.train_labels) == 540
    assert not any("test images" in note for note in whole.notes)


def test_copies_of_an_image_are_on_one_side(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "copies", {"ant": 200, "bee": 150})
    for name in ("ant", "bee"):
        for file in sorted((folder / name).iterdir())[:100]:
            for number in range(3):
                shutil.copy(file, file.with_name(f"{file.stem}-again{number}.png"))
    data = load_images(folder)
    seen = [{image.numpy().tobytes() for image in part[0]} for part in data.parts if part]
    assert len(seen) == 3
    assert len(set.union(*seen)) == sum(map(len, seen)) == 350
    assert sum(len(part[1]) for part in data.parts if part) == 950
    assert not any("training images, too" in note for note in data.notes)


def test_of_copies_alone_it_is_said(tmp_path: Path) -> None:
    data = load_images(write_folder(tmp_path / "same", {"ant": 5, "bee": 5}))
    assert "2 of 2 validation images are training images, too" in data.notes


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"ant": 250, "bee": 249}, "fewer than 500 training images"),
        ({"ant": 600, "bee": 2}, "the class 'bee' has fewer than 3 images"),
    ],
)
def test_of_few_images_none_are_held_out(
    classes: Mapping[str, int], said: str, tmp_path: Path
) -> None:
    data = load_images(numbered(tmp_path / "few", classes))
    assert data.test_images is None
    assert any(f"no test images, and none are held out: {said}" in note for note in data.notes)


def test_hub_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "fine": datasets.ClassLabel(names=["ant", "bee"]),
            "text": datasets.Value("string"),
        }
    )
    rows = {
        "picture": [picture(c) for c in list(COLOURS.values())[:2] * 10],
        "fine": [0, 1] * 10,
        "text": ["…"] * 20,
    }
    split = datasets.Dataset.from_dict(rows, features=features)
    asked: list[str] = []

    def load(name: str) -> Any:
        asked.append(name)
        return datasets.DatasetDict({"train": split, "test": split, "unsupervised": split})

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    data = load_images("someone/insects")
    assert asked == ["someone/insects"]
    assert data.name == "someone/insects"
    assert data.classes == ("ant", "bee")
    assert len(data.train_images) == 18
    assert data.test_images is not None
    assert len(data.test_images) == 20


# Sizes and modes ----------------------------------------------------------------------------------


def test_sizes_differ(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ant": 4, "bee": 4})
    picture(size=(30, 20)).save(tmp_path / "bee" / "wide.png")
    data = load_images(tmp_path)
    assert data.resolution == 128
    assert "resized 9 images of 2 sizes to 128 px" in data.notes
    assert "resized 1 image of 1 size to 8 px" in load_images(tmp_path, resolution=8).notes


def test_no_more_pixels_than_needed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", {"ant": 4, "bee": 4}, size=(16, 16))
    cache = tmp_path / "cache"
    for most, pixels in ((None, 16), (12, 12), (16, 16), (40, 16)):
        for _ in range(2):  # read, and remembered
            assert load_images(folder, most=most, cache=cache).resolution == pixels
    picture(size=(30, 20)).save(folder / "bee" / "wide.png")
    assert load_images(folder, most=40, cache=cache).resolution == 40
    assert load_images(folder, cache=cache).resolution == 128


def test_square_images_of_a_run_are_kept_no_larger_than_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_SEARCH_CACHE", str(tmp_path / "cache"))
    folder = write_folder(tmp_path / "images", {"ant": 4, "bee": 4}, size=(160, 160))
    for most, pixels in (({}, 128), ({"most": 150}, 150)):
        data = load_data(str(folder), 3, Silent(), lambda text: None, **most)
        assert data.resolution == pixels


def test_the_centre_is_cropped_and_shrinking_is_antialiased(tmp_path: Path) -> None:
    # Left and right thirds black; in the middle one-pixel stripes, which must turn grey.
    stripes = np.zeros((32, 96), np.uint8)
    stripes[:, 32:64:2] = 255
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(stripes).save(tmp_path / name / f"{i}.png")
    data = load_images(tmp_path, resolution=8, channels=1)
    assert data.train_images.shape == (2, 1, 8, 8)
    assert (data.train_images[0, 0, :, 1:-1].int() - 127).abs().max() < 20


def one_image(tmp_path: Path, content: bytes, ending: str, **options: Any) -> ImageData:
    """A data set in which the class `odd` has this image, twice."""
    write_folder(tmp_path, {"ant": 2})
    (tmp_path / "odd").mkdir()
    for i in range(2):
        (tmp_path / "odd" / f"{i}.{ending}").write_bytes(content)
    return load_images(tmp_path, **options)


def sixteen_bit(dtype: Any) -> bytes:
    """Grey 0x8000 of 0xffff, so 128 of 255."""
    return encoded(Image.fromarray(np.full((8, 8), 0x8000, dtype)), "TIFF")


@pytest.mark.parametrize(
    ("content", "ending", "expected", "note"),
    [
        (encoded(picture(77, mode="L")), "png", (77, 77, 77), "2 grey images"),
        (encoded(picture(1, mode="1")), "png", (255, 255, 255), "black-and-white"),
        (encoded(picture((0, 100), mode="LA")), "png", (155, 155, 155), "grey with transparency"),
        (encoded(picture((255, 0, 0, 51), mode="RGBA")), "png", (255, 204, 204), "RGBA"),
        (encoded(picture((0, 9, 200)).quantize(4)), "png", (0, 9, 200), "palette"),
        (encoded(picture((0, 0, 0, 0), mode="CMYK"), "TIFF"), "tif", (255, 255, 255), "CMYK"),
        (encoded(picture((0, 255, 255, 0), mode="CMYK"), "TIFF"), "tif", (255, 0, 0), "CMYK"),
        (sixteen_bit(np.uint16), "tif", (128, 128, 128), "16-bit"),
        (sixteen_bit(np.int32), "tif", (128, 128, 128), "32-bit"),
        (encoded(picture(0x4040, mode="I;16")), "png", (64, 64, 64), "16-bit"),
        (encoded(picture(0.2, mode="F"), "TIFF"), "tif", (51, 51, 51), "floating-point"),
    ],
    ids=["L", "1", "LA", "RGBA", "P", "CMYK", "CMYK red", "I;16", "I", "I;16 PNG", "F"],
)
def test_modes(
    tmp_path: Path, content: bytes, ending: str, expected: tuple[int, ...], note: str
) -> None:
    data = one_image(tmp_path, content, ending)
    image = data.train_images[data.train_labels == 1][0]
    assert tuple(image[:, 4, 4].tolist()) == expected
    assert any(note in line and line.endswith("to RGB") for line in data.notes)


def test_grey_images_wanted(tmp_path: Path) -> None:
    data = one_image(tmp_path, encoded(picture(0x4040, mode="I;16")), "png", channels=1)
    assert data.channels == 1
    assert data.train_images[data.train_labels == 1].unique().tolist() == [64]
    assert len(data.mean) == len(data.std) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    pixels = np.zeros((12, 20, 3), np.uint8)
    pixels[:6, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(pixels), exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image)
        width, height = upright.size
        box = ((width - 12) // 2, (height - 12) // 2)
        expected = np.array(upright.crop((*box, box[0] + 12, box[1] + 12)))
    data = one_image(tmp_path, content, "png", resolution=12)
    image = data.train_images[data.train_labels == 1][0].permute(1, 2, 0)
    assert np.array_equal(image.numpy(), expected)
    assert any("upright" in line for line in data.notes) == (orientation > 1)


def test_imbalance_is_shown_and_weighted(tmp_path: Path) -> None:
    data = load_images(write_folder(tmp_path, {"ant": 40, "bee": 10, "cat": 20}))
    assert data.class_counts == (36, 9, 18)
    assert data.imbalance == 4
    assert "classes are imbalanced: 9 to 36 training images" in data.notes
    weights = data.balanced_weights()
    assert weights.tolist() == pytest.approx([63 / (3 * n) for n in (36, 9, 18)])
    assert weights[data.train_labels].mean().item() == pytest.approx(1)


def test_weights_are_ones_when_balanced(animals: Path) -> None:
    data = load_images(animals).to("cpu")
    assert data.balanced_weights().tolist() == [1, 1, 1]
    assert data.imbalance == 1


def test_statistics_are_of_the_training_part() -> None:
    images = torch.randint(0, 256, (50, 3, 5, 5), dtype=torch.uint8)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((images / 255).double().mean((0, 2, 3)).tolist(), abs=1e-6)
    expected = (images / 255).double().std((0, 2, 3), correction=0).tolist()
    assert std == pytest.approx(expected, abs=1e-6)
    _, flat = channel_statistics(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    assert flat == (1 / 255,)


# Bad input ----------------------------------------------------------------------------------------


def fails(what: str, name: str | Path, **options: Any) -> None:
    with pytest.raises(InputError, match=what) as caught:
        load_images(name, **options)
    assert "\n" not in str(caught.value)


def test_missing_folder(tmp_path: Path) -> None:
    fails(r"nothing: no such file or folder; accepted: fractals, a folder", tmp_path / "nothing")
    fails(r"nothing: no such file", f"{tmp_path}/nothing")
    fails(r"\./nothing: no such file", "./nothing")
    fails(r"x\.parquet: no such file", "x.parquet")


def test_empty_folder(tmp_path: Path) -> None:
    fails("an empty folder", tmp_path)


def test_no_class_folders(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    fails("no class folders", tmp_path)


def test_a_file_that_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    fails(r"a\.zip: not a folder or a \.parquet file", tmp_path / "a.zip")


def test_empty_class(animals: Path) -> None:
    (animals / "dog").mkdir()
    (animals / "dog" / "notes.txt").write_text("none yet")
    fails(r"animals/dog: no images of this class \(accepted: .*\.png", animals)


def test_empty_class_of_a_parquet_file(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee", "cat"])}
    )
    rows = {"img": [picture()] * 6, "label": [0, 1] * 3}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "x.parquet")
    fails("x: the class 'cat' has no training images", tmp_path / "x.parquet")


def test_one_class_only(tmp_path: Path) -> None:
    fails("one class only", write_folder(tmp_path / "one", {"ant": 5}))


def test_class_of_one_image(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "few", {"ant": 5, "bee": 1})
    fails("few: the class 'bee' has one image only", folder)


def test_a_parquet_file_that_breaks_off_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "none.parquet"
    pq.write_table(
        pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}), file
    )
    with pytest.raises(InputError, match="cannot be read"):
        load_images(file)
    assert caplog.records == []  # else the library's own lines would stand before it


def test_truncated_image(animals: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    (animals / "bee" / "007.png").write_bytes(encoded(Image.fromarray(noise))[:-60])
    fails(r"animals/bee/007\.png: a broken image: ", animals)


def test_not_an_image(animals: Path) -> None:
    (animals / "bee" / "007.png").write_bytes(b"<html>")
    fails(r"animals/bee/007\.png: not an image that can be read", animals)
    (animals / "bee" / "007.png").write_bytes(b"")
    fails(r"animals/bee/007\.png: not an image that can be read", animals)


def test_broken_image_in_a_row(tmp_path: Path) -> None:
    images = [encoded(picture(), "JPEG")] * 12
    images[7] = images[7][:-300]
    fails(
        r"x, split 'train', row 7 \(from 0\): a broken image",
        write_parquet(tmp_path / "x.parquet", images, [0, 1] * 6),
    )


def test_missing_image_in_a_row(tmp_path: Path) -> None:
    images = [encoded(picture())] * 3 + [None]
    path = write_parquet(tmp_path / "x.parquet", images, [0, 1] * 2)
    fails(r"row 3 \(from 0\): the image is missing", path)


def lying_png(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size."""
    content = bytearray(encoded(picture()))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (10_000, 10_000, "claims more than"),  # PIL would warn
        (60_000, 60_000, "claims more than"),  # PIL would refuse
        (512, 512, "broken image"),  # fewer pixels than it says
    ],
)
@pytest.mark.parametrize("resolution", [None, 8])
def test_lying_headers(
    animals: Path, width: int, height: int, message: str, resolution: int | None
) -> None:
    (animals / "bee" / "007.png").write_bytes(lying_png(width, height))
    fails(rf"bee/007\.png: .*{message}", animals, resolution=resolution)


def test_tiny_images(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"ant": 3, "bee": 3}, size=(3, 9))
    fails(r"ant/000\.png: the image has 3×9 pixels, at least 4×4 are needed", folder)


def test_no_image_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "label": [0, 1]}), tmp_path / "x.parquet")
    fails(r"no image column \(its columns: a, label; accepted", tmp_path / "x.parquet")


def test_no_label_column(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", [encoded(picture())] * 2, [0, 1], label="kind")
    fails(r"no label column \(its columns: img, kind; accepted", path)


@pytest.mark.parametrize(("label", "message"), [(-1, "is -1"), (None, "is missing")])
def test_missing_label(tmp_path: Path, label: int | None, message: str) -> None:
    path = write_parquet(tmp_path / "x.parquet", [encoded(picture())] * 4, [0, 1, label, 1])
    fails(rf"x, split 'train', row 2 \(from 0\): the label \('label'\) {message}", path)


def test_label_beyond_the_classes(tmp_path: Path) -> None:
    images = [encoded(picture())] * 4
    write_parquet(tmp_path / "train-0.parquet", images, [0, 1, 0, 1])
    write_parquet(tmp_path / "test-0.parquet", images, [0, 1, 2, 1])
    fails(r"split 'test', row 2 \(from 0\): the label \('label'\) 2 is none of the 2", tmp_path)


def test_broken_parquet_file(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", [encoded(picture())] * 4, [0, 1] * 2)
    path.write_bytes(path.read_bytes()[:-20])
    fails(r"x\.parquet: not a parquet file that can be read", path)


def test_no_training_split(tmp_path: Path) -> None:
    images = [encoded(picture())] * 4
    for split in ("validation", "test"):
        write_parquet(tmp_path / f"{split}-0.parquet", images, [0, 1] * 2)
    fails(r"no split named 'train' \(its splits: 'validation', 'test'\)", tmp_path)


@pytest.mark.parametrize("offline", [True, False])
def test_unknown_hub_name_offline(monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    import datasets
    import huggingface_hub
    from huggingface_hub import constants

    def unreachable(*_: Any, timeout: float, **__: Any) -> None:
        assert timeout <= 10
        raise OSError("no route to host")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    if not offline:
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    reason = "switched off" if offline else "cannot be reached .*no route to host"
    fails(rf"nobody/nothing: .*Hugging Face hub: .*{reason}", "nobody/nothing")
    assert constants.HF_HUB_OFFLINE is offline
    assert datasets.config.HF_HUB_OFFLINE is offline


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4}, "channels: 4 is not accepted"),
        ({"resolution": 3}, "resolution: 3 is not accepted: at least 4"),
        ({"resolution": -1}, "resolution: -1 is not accepted"),
    ],
)
def test_bad_options(animals: Path, options: dict[str, Any], message: str) -> None:
    fails(message, animals, **options)


def test_too_large_for_the_memory(animals: Path) -> None:
    fails(
        "need .* GiB of memory.*give fewer images, or make them smaller",
        animals,
        resolution=1_000_000,
    )


# Cache --------------------------------------------------------------------------------------------


def never(done: int, total: int) -> None:
    raise AssertionError("was decoded")


def test_cache(animals: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    data = load_images(animals, cache=cache)
    again = load_images(animals, cache=cache, progress=never)
    assert again.fingerprint == data.fingerprint
    assert again.classes == data.classes
    assert (again.mean, again.std, again.notes) == (data.mean, data.std, data.notes)
    assert again.train_images.is_contiguous(memory_format=torch.channels_last)
    for (images, labels), (expected, expected_labels) in zip(
        again.parts[:2], data.parts[:2], strict=True
    ):
        assert torch.equal(images, expected)
        assert torch.equal(labels, expected_labels)
    # An entry of its own for another seed, resolution or number of channels.
    for options in ({"seed": 1}, {"resolution": 4}, {"channels": 1}):
        calls: list[tuple[int, int]] = []
        load_images(animals, cache=cache, progress=lambda *c: calls.append(c), **options)  # noqa: B023
        assert calls
    # And for other images.
    picture((1, 2, 3)).save(animals / "bee" / "003.png")
    assert load_images(animals, cache=cache).fingerprint != data.fingerprint
    assert not [p for p in cache.iterdir() if p.suffix != ".safetensors"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_broken_cache_is_made_anew(animals: Path, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    data = load_images(animals, cache=cache)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[-10] ^= 1
    damaged = {"truncated": content[:-100], "empty": b"", "text": b"{}"}.get(damage, content)
    file.write_bytes(damaged)
    assert load_images(animals, cache=cache).fingerprint == data.fingerprint
    assert load_images(animals, cache=cache, progress=never).fingerprint == data.fingerprint


def test_cache_that_cannot_be_written(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    data = load_images(animals, cache=tmp_path / "cache")
    assert any("could not be kept" in line for line in data.notes)


# Split --------------------------------------------------------------------------------------------


def test_split_is_stratified_and_deterministic() -> None:
    labels = torch.tensor([0] * 300 + [1] * 95 + [2] * 4 + [3] * 2)
    kept, held_out = stratified_split(labels)
    assert sorted(torch.cat([kept, held_out]).tolist()) == list(range(len(labels)))
    # 40 of 401: a tenth of every class, at least one, and not the whole.
    assert torch.bincount(labels[held_out]).tolist() == [29, 9, 1, 1]
    assert torch.equal(held_out, stratified_split(labels)[1])
    assert not torch.equal(held_out, stratified_split(labels, seed=1)[1])


def test_split_is_limited() -> None:
    _, held_out = stratified_split(torch.arange(10).repeat(300), limit=50)
    assert len(held_out) == 50
    # One a class, whatever the limit.
    _, held_out = stratified_split(torch.arange(10).repeat(3), limit=5)
    assert len(held_out) == 10


def test_split_of_single_images() -> None:
    with pytest.raises(ValueError, match="class 1 has 1 image"):
        stratified_split(torch.tensor([0, 0, 1]))


# Augmentation -------------------------------------------------------------------------------------
