"""Images as tensors in memory: loading, splitting, augmentation, and a built-in synthetic set."""

from nas.data.augment import augment, cutmix, mixup
from nas.data.fractals import fractals
from nas.data.images import ImageData
from nas.data.load import BUILT_IN, load_images
from nas.data.preprocess import normalise, preprocess, resize

__all__ = [
    "BUILT_IN",
    "ImageData",
    "augment",
    "cutmix",
    "fractals",
    "load_images",
    "mixup",
    "normalise",
    "preprocess",
    "resize",
]
