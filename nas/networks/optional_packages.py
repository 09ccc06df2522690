"""Packages that only exports need: imported on demand, and named in the error if missing."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from typing import Any

from nas.errors import InputError

# torchvision gives these two a fake when it is imported, which needs their schemas. They come with
# its compiled operators, which a torchvision made for another build of torch (CUDA's beside the
# CPU's) cannot load. No classifier uses any of them.
_SCHEMAS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@lru_cache
def package(name: str) -> Any:
    """Return a package of the extra ``export``, or a module of one.

    Raises:
        InputError: it is not installed, or cannot be imported.
    """
    top = name.partition(".")[0]
    try:
        if top in ("timm", "torchvision"):  # timm imports torchvision
            _torchvision()
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or top).partition(".")[0]
        raise InputError(
            f"{missing} is not installed: pip install 'nas-search[export]', or {missing} itself"
        ) from None
    except (ImportError, RuntimeError, OSError) as error:
        raise InputError(f"{top} is installed and cannot be imported: {error}") from None


def versions(*names: str) -> dict[str, str]:
    """Return the ``__version__`` of packages, by name."""
    return {name: str(package(name).__version__) for name in names}


def _torchvision() -> None:
    """Import torchvision, without its compiled operators where they cannot be loaded."""
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what is half imported
        for operator in _SCHEMAS:
            torch.library.define(f"torchvision::{operator}", _SCHEMA)
        import_module("torchvision")
