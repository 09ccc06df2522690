"""The number format that networks are trained and scored in."""

from __future__ import annotations

import torch


def autocast(device: str) -> torch.autocast:
    """Return a context in which networks compute in bfloat16 on CUDA devices, else in float32.

    CPUs stay in float32 since their depthwise convolutions are slower in bfloat16.
    """
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device.startswith("cuda"))
