"""Images as tensors in memory: loading, splitting, augmentation, and a built-in synthetic set."""

from nas.data.augment import augment, iterate_batches, mix, normalise, resize
from nas.data.fractals import fractals
from nas.data.images import ImageData
from nas.data.load import BUILT_IN, load_images

__all__ = [
    "BUILT_IN",
    "ImageData",
    "augment",
    "fractals",
    "iterate_batches",
    "load_images",
    "mix",
    "normalise",
    "resize",
]
