"""A data set in the object store of a Ray node, which all worker processes of the node share.

Ray keeps numpy arrays in memory that all its workers map, but copies tensors to each of them. So
the tensors of a data set are sent as arrays and become views of the shared memory again. Nothing
writes to a data set.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any

from nas.data import ImageData


def image_data_to_arrays(data: ImageData) -> dict[str, Any]:
    """Return the fields of a data set with arrays in place of tensors."""
    import torch

    found: dict[str, Any] = {}
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, torch.Tensor):
            is_images = value.ndim == 4
            stored = value.detach().cpu()
            stored = stored.permute(0, 2, 3, 1) if is_images else stored
            value = _TensorArray(stored.contiguous().numpy(), is_images, str(value.device))
        found[field.name] = value
    return found


def image_data_from_arrays(found: dict[str, Any]) -> ImageData:
    """Return the data set of :func:`image_data_to_arrays`; its tensors share the arrays' memory."""
    import torch

    values: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, _TensorArray):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns that the array is read-only
                tensor = torch.from_numpy(value.array)
            tensor = tensor.permute(0, 3, 1, 2) if value.is_images else tensor
            values[name] = tensor.to(value.device)
        else:
            values[name] = value
    return ImageData(**values)


@dataclass(frozen=True, eq=False)
class _TensorArray:
    """A tensor as an array.

    Attributes:
        array: of the tensor's values; images as (count, height, width, channels), which is the
            order in memory of tensors in channels_last.
        is_images: whether the tensor is a batch of images.
        device: of the tensor.
    """

    array: Any
    is_images: bool
    device: str
