"""Made-up images: noise around one colour a class, so that a network learns them at once."""

import torch

from nas.data import ImageData


def images(
    counts: list[int], *, channels: int = 3, pixels: int = 16, noise: float = 40.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise around one grey level or colour a class."""
    generator = torch.Generator().manual_seed(len(counts) * 1000 + sum(counts))
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    centres = 60 + 130 * torch.rand(
        (len(counts), channels, 1, 1), generator=torch.Generator().manual_seed(3)
    )
    if channels == 1:
        centres = torch.linspace(40, 215, len(counts)).view(-1, 1, 1, 1)
    pixels_ = centres[labels] + noise * torch.randn(
        (len(labels), channels, pixels, pixels), generator=generator
    )
    return pixels_.clamp(0, 255).to(torch.uint8), labels


def made_up(
    train: list[int] | None = None, *, channels: int = 3, test: bool = True, pixels: int = 16
) -> ImageData:
    """A data set with so many training images of each class."""
    train = train or [40, 40, 40]
    held = [20] * len(train)
    return ImageData.from_parts(
        "made up",
        [f"class {i}" for i in range(len(train))],
        images(train, channels=channels, pixels=pixels),
        images(held, channels=channels, pixels=pixels),
        images([10] * len(train), channels=channels, pixels=pixels) if test else None,
    )


def never(step: int, value: float) -> bool:
    """A ``report`` that never stops an evaluation."""
    return False
