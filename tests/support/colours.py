"""Images that a network learns in seconds: noise around one brightness a class."""

from __future__ import annotations

import torch

from nas.data import ImageData

CLASSES = ("red", "green", "blue")


def images(count: int, seed: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise around one brightness a class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(CLASSES)).repeat(count)
    level = (50 + 70 * labels)[:, None, None, None]
    noise = 30 * torch.randn((len(labels), channels, 16, 16), generator=generator)
    return (level + noise).clamp(0, 255).to(torch.uint8), labels


def made_up(classes: tuple[str, ...] = CLASSES, channels: int = 3) -> ImageData:
    parts = (images(32, 1, channels), images(10, 2, channels), images(8, 3, channels))
    return ImageData.from_parts("made up", classes, *parts)
