"""Which augmentations are chosen, what is said of them, and what they do to images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.data import ImageData, augment
from nas.data.augmentation import (
    AUGMENTATIONS,
    augmentation_notes,
    mirrored_classes,
    parse_augmentation,
)
from nas.data.dataset import ImageOptions, load_data
from nas.data.random_operations import _OPERATIONS, randaugment
from nas.errors import InputError
from nas.proxies.presets import default_settings, supernet_settings
from nas.proxies.short_training import TrainingProxy
from nas.spaces.budget import Budget
from nas.spaces.registry import load_space
from tests.support.silent import Silent


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(number: int = 32, channels: int = 3, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    values = torch.randint(0, 256, (number, channels, 12, 12), generator=seeded(5))
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("none", ()),
        ("flip", ("flip",)),
        ("shift,flip", ("flip", "shift")),
        ("randaugment, crop", ("crop", "randaugment")),
    ],
)
def test_names(text: str, names: tuple[str, ...]) -> None:
    assert parse_augmentation(text) == names


@pytest.mark.parametrize("text", ["", "flop", "flip,flip", "none,flip", "flip,"])
def test_wrong_names(text: str) -> None:
    with pytest.raises(InputError, match=r"augment: '.*' is .*none, or some of flip, shift"):
        parse_augmentation(text)


@pytest.mark.parametrize(
    ("classes", "sensitive"),
    [
        (("left", "right"), ("left", "right")),
        (("arrow-left", "stop"), ("arrow-left",)),
        (("0", "1", "9"), ("0", "1", "9")),
        (("digit 0", "digit 1"), ("digit 0", "digit 1")),
        (("a", "b"), ("a", "b")),
        (("cat", "dog"), ()),
        (("leftover", "bright"), ()),
        (("7", "seven dwarfs"), ()),
    ],
)
def test_classes_that_mirroring_may_change(
    classes: tuple[str, ...], sensitive: tuple[str, ...]
) -> None:
    assert mirrored_classes(classes) == sensitive


def test_flips_are_said_and_how_to_do_without() -> None:
    assert augmentation_notes(("flip", "shift"), ("cat", "dog")) == [
        "augmentation of training images: flip, shift; flip mirrors half of them"
    ]
    notes = augmentation_notes(("flip", "shift"), ("left", "right"))
    assert "--augment shift" in notes[1]
    assert augmentation_notes((), ("left", "right")) == ["augmentation of training images: none"]


@pytest.mark.parametrize("more", [("crop",), ("color",), ("randaugment",), ("crop", "color")])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_stay_images(more: tuple[str, ...], channels: int, dtype: torch.dtype) -> None:
    images = pictures(channels=channels, dtype=dtype)
    out = augment(images, seeded(), pad=0, flip=False, more=more)
    assert (out.shape, out.dtype) == (images.shape, dtype)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.float().min() >= -1e-3
    assert out.float().max() <= 255 + 1e-3
    changed = (out != images).flatten(1).any(1).float().mean()
    assert changed > 0.5
    assert torch.equal(out, augment(images, seeded(), pad=0, flip=False, more=more))
    assert not torch.equal(out, augment(images, seeded(1), pad=0, flip=False, more=more))


def test_further_augmentations_do_not_change_shifts_and_flips() -> None:
    images = pictures()
    plain = augment(images, seeded(), pad=2)
    torch.manual_seed(3)
    coloured = augment(images, seeded(), pad=2, more=("color",))
    grey = plain.float().mean(1), coloured.float().mean(1)
    both = torch.stack([grey[0].flatten(1), grey[1].flatten(1)])
    correlation = [torch.corrcoef(both[:, i])[0, 1] for i in range(len(images))]
    assert min(correlation) > 0.6  # the same pixels in the same places


@pytest.mark.parametrize("name", sorted(_OPERATIONS))
def test_each_operation(name: str) -> None:
    images = pictures(dtype=torch.float32)
    signs = torch.tensor([1.0, -1.0]).repeat(16)
    out = _OPERATIONS[name](images, signs)
    assert out.shape == images.shape
    assert out.isfinite().all()
    assert out.min() >= -1e-3
    assert out.max() <= 255 + 1e-3
    assert torch.equal(out, images) == (name == "identity")


def test_a_plain_image_survives_every_operation() -> None:
    images = torch.full((64, 3, 8, 8), 77.0)
    assert randaugment(images, seeded()).isfinite().all()


def test_equalize_spreads_ranks() -> None:
    image = torch.tensor([10.0, 10, 20, 30]).view(1, 1, 2, 2)
    out = _OPERATIONS["equalize"](image, torch.ones(1))
    assert out.flatten().tolist() == pytest.approx([0, 0, 255 * 2 / 3, 255])


def test_translation_moves_by_the_share_of_the_paper() -> None:
    images = torch.zeros(1, 1, 100, 100)
    images[:, :, :, 50] = 255
    out = _OPERATIONS["translate-x"](images, torch.ones(1))
    moved = 50 - int(out[0, 0, 50].argmax())
    assert moved == pytest.approx(100 * 150 / 331 * 0.3, abs=1)


# As a user says it --------------------------------------------------------------------------------


def two_classes(tmp_path: Path) -> str:
    from PIL import Image

    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        for index in range(40):
            Image.new("RGB", (8, 8), (index * 5, 0, 0)).save(tmp_path / name / f"{index}.png")
    return str(tmp_path)


def loaded(tmp_path: Path, text: str | None) -> tuple[ImageData, list[str]]:
    notes: list[str] = []
    data = load_data(
        two_classes(tmp_path), 3, Silent(), notes.append, options=ImageOptions(augment=text)
    )
    return data, notes


def test_the_default_mirrors_and_says_so(tmp_path: Path) -> None:
    data, notes = loaded(tmp_path, None)
    assert data.augment == ("flip", "shift")
    assert any("flip mirrors half" in note for note in notes)
    assert any("classes such as 'left', 'right'" in note for note in notes)


def test_the_built_in_images_are_not_mirrored() -> None:
    assert load_data(None, 3, Silent(), lambda text: None).augment == ("shift",)


@pytest.mark.parametrize("text", ["none", "flip", "shift,color", ",".join(AUGMENTATIONS)])
def test_every_kind_of_training_is_told(tmp_path: Path, text: str) -> None:
    data, _ = loaded(tmp_path, text)
    names = parse_augmentation(text)
    assert data.augment == names
    space = load_space("tiny")
    for settings in (default_settings(data, space), supernet_settings(data, space, None, "cpu")):
        assert settings.flip == ("flip" in names)
        assert settings.shift == ("shift" in names)
        further = [name for name in names if name not in ("flip", "shift")]
        assert settings.augment == (",".join(further) or "none")


def test_without_augmentation_images_are_trained_on_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from nas.proxies import short_training

    data, _ = loaded(tmp_path, "none")
    space = load_space("tiny")
    settings = replace(default_settings(data, space), images_seen=400, checks=())
    seen = []

    def watched(images: torch.Tensor, generator: torch.Generator, **options: object) -> object:
        out = augment(images, generator, **options)  # type: ignore[arg-type]
        seen.append(torch.equal(out, images))
        return out

    monkeypatch.setattr(short_training, "augment", watched)
    proxy = TrainingProxy(data, settings)
    proxy.prepare(space, Budget("none"), tmp_path)
    network = space.decode({name: values[0] for name, values in space.choices.items()})
    proxy.evaluate(network, seed=0, report=lambda step, value: False)
    assert seen
    assert all(seen)
