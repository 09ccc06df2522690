"""A data set as arrays that all processes of a node share: it lies there once, and is not copied.

Ray keeps arrays, unlike tensors, in the memory that all its workers map. Nothing writes to a data
set.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any

from nas.data import ImageData


def apart(data: ImageData) -> dict[str, Any]:
    """Return a data set with arrays in place of its tensors."""
    import torch

    found: dict[str, Any] = {}
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, torch.Tensor):
            images = value.ndim == 4  # stored channels_last, that is, in this order
            plain = value.detach().cpu()
            plain = plain.permute(0, 2, 3, 1) if images else plain
            value = _Array(plain.contiguous().numpy(), images, str(value.device))
        found[field.name] = value
    return found


def together(found: dict[str, Any]) -> ImageData:
    """Return the data set that ``apart`` was given, its tensors over the arrays' own memory."""
    import torch

    values: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, _Array):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it cannot be written to
                tensor = torch.from_numpy(value.array)
            tensor = tensor.permute(0, 3, 1, 2) if value.images else tensor
            values[name] = tensor.to(value.device)
        else:
            values[name] = value
    return ImageData(**values)


@dataclass(frozen=True, eq=False)
class _Array:
    array: Any
    images: bool
    device: str
