"""Augmentation and preprocessing of images."""

import pytest
import torch
import torch.nn.functional as F

from nas.data import augment, cutmix, mixup, normalise, preprocess, resize
from nas.data.images import channel_statistics


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(number: int = 64, size: int = 12) -> torch.Tensor:
    return torch.randint(
        0, 256, (number, 3, size, size), dtype=torch.uint8, generator=seeded(99)
    ).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_augmented_images_are_crops_of_the_padded_ones(dtype: torch.dtype) -> None:
    images = random_images().to(dtype)
    pad = 3
    out = augment(images, seeded(), pad=pad)
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    padded = torch.nn.functional.pad(images.float(), (pad,) * 4, mode="reflect")
    seen = set()
    for index, image in enumerate(out.float()):
        found = [
            (down, right, flip)
            for down in range(2 * pad + 1)
            for right in range(2 * pad + 1)
            for flip in (False, True)
            if torch.equal(
                image.flip(2) if flip else image,
                padded[index, :, down : down + 12, right : right + 12],
            )
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 30  # of 98 possible
    assert {flip for *_, flip in seen} == {False, True}


def test_augment_is_driven_by_the_generator() -> None:
    images = random_images()
    assert torch.equal(augment(images, seeded(), pad=2), augment(images, seeded(), pad=2))
    assert not torch.equal(augment(images, seeded(), pad=2), augment(images, seeded(1), pad=2))
    assert torch.equal(augment(images, seeded(), pad=0, flip=False), images)


def test_cutout() -> None:
    images = random_images(200)
    out = augment(images, seeded(), pad=0, flip=False, cutout=4)
    changed = (out != images).any(1)
    assert changed.sum((1, 2)).max() <= 16
    assert (changed.sum((1, 2)) > 0).all()
    mean = images.float().mean((2, 3)).round().to(torch.uint8)
    holes = out.permute(0, 2, 3, 1)[changed]
    assert torch.equal(holes, mean.repeat_interleave(changed.sum((1, 2)), 0))


@pytest.mark.parametrize("options", [{"pad": -1}, {"pad": 12}, {"pad": 0, "cutout": -1}])
def test_augment_refuses(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        augment(random_images(), seeded(), **options)


def test_normalise() -> None:
    images = random_images()
    mean, std = channel_statistics(images)
    out = normalise(images, mean, std)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.mean((0, 2, 3)).abs().max() < 1e-5
    assert (out.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    floats = images.float()
    assert torch.equal(normalise(floats, mean, std), out)
    assert torch.equal(floats, images.float())  # not in place


def test_resize() -> None:
    images = random_images()
    assert resize(images, 12) is images
    for size in (7, 20):
        out = resize(images, size)
        assert out.shape == (64, 3, size, size)
        assert out.dtype == torch.uint8
        floats = resize(images.float(), size)
        assert (floats - out.float()).abs().max() <= 0.5
    stripes = torch.zeros(1, 1, 16, 16)
    stripes[..., ::2] = 200
    assert (resize(stripes, 4) - 100).abs().max() < 20


@pytest.mark.parametrize("size", [8, 12, 20])
def test_preprocessed_images_are_resized_and_then_normalised(size: int) -> None:
    images = random_images()
    mean, std = channel_statistics(images)
    out = preprocess(images, size, mean, std)
    assert out.shape == (len(images), 3, size, size)
    assert out.dtype == torch.float32
    shape = (1, 3, 1, 1)
    centre, deviation = torch.tensor(mean).view(shape), torch.tensor(std).view(shape)
    expected = (resize(images.float(), size) / 255 - centre) / deviation
    assert torch.allclose(out, expected, atol=1e-5)


def test_a_mixed_target_has_the_shares_of_its_pixels() -> None:
    count, classes = 64, 64
    pixels = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 12, 12).contiguous()
    targets = F.one_hot(torch.arange(count), classes).float()
    mixed, shares = cutmix(pixels, targets, seeded(), 0.5)
    seen = F.one_hot(mixed[:, 0].reshape(count, -1), classes).float().mean(1)
    assert torch.allclose(seen, shares, atol=1e-6)
    changed = (mixed != pixels).flatten(1).any(1)
    assert 10 < int(changed.sum()) < 54
    untouched, same_targets = cutmix(pixels, targets, seeded(), 0.0)
    assert torch.equal(untouched, pixels)
    assert torch.equal(same_targets, targets)


def test_a_blended_target_has_the_shares_of_its_image() -> None:
    count = 64
    targets = torch.eye(count)
    pixels = targets.view(count, count, 1, 1).expand(-1, -1, 4, 4)  # channel i is image i's share
    blended, shares = mixup(pixels, targets, seeded(), 0.5)
    assert torch.allclose(blended.mean((2, 3)), shares, atol=1e-6)
    own = shares.diagonal()
    assert float(own.min()) >= 0.5
    assert 10 < int((own < 1).sum()) < 54
    untouched, same_targets = mixup(pixels, targets, seeded(), 0.0)
    assert torch.equal(untouched, pixels)
    assert torch.equal(same_targets, targets)
