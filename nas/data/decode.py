"""From an encoded image to pixels: every mode that PIL reads, safely and upright."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nas.errors import InputError, one_line
from nas.files import file_size

Pixels = NDArray[np.uint8]  # [H, W, C]

SMALLEST = 4  # pixels a side
MAX_BYTES = 1024**3  # of a file

# What is decoded, whatever a file's name says. PIL reads more, and has PostScript run.
FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"}
)

# EXIF's tag, and what undoes each of its values.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What is converted, in a reader's words. Grey and RGB go without saying.
_KINDS = {
    "1": "black-and-white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "palette",
    "PA": "palette",
    "RGBA": "RGBA",
    "RGBX": "RGBA",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "Lab",
    "HSV": "HSV",
    "I": "16-bit",
    "F": "floating-point",
}


class OtherSizeError(Exception):
    """An image is not of the one size that was expected of all."""


@dataclass
class Tally:
    """What was done to the images, counted."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    resized: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    turned: int = 0

    def notes(self, resolution: int, channels: int) -> list[str]:
        """The lines for the user."""
        out = []
        if self.resized:
            sizes = len(self.sizes)
            of = "1 size" if sizes == 1 else f"{sizes:,} sizes"
            out.append(f"resized {_images(self.resized)} of {of} to {resolution} px")
        target = "RGB" if channels == 3 else "grey"
        for kind, number in sorted(self.kinds.items()):
            out.append(f"converted {number:,} {kind} {_plural(number)} to {target}")
        if self.turned:
            out.append(f"rotated {_images(self.turned)} upright by the EXIF orientation")
        return out


def _plural(number: int) -> str:
    return "image" if number == 1 else "images"


def _images(number: int) -> str:
    return f"{number:,} {_plural(number)}"


@dataclass(frozen=True)
class Decoded:
    """One image as it will be used, and what it was."""

    pixels: Pixels
    size: tuple[int, int]  # (width, height) of the source, upright
    kind: str | None  # what it was converted from
    turned: bool


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Within it, an image above PIL's limit of pixels is an error, not a warning.

    For the whole process, threads included: to be entered once, outside of them.
    """
    with warnings.catch_warnings():
        # What PIL says about odd metadata of a readable image is of no use to anyone.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", category=Image.DecompressionBombWarning)
        yield


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this PIL knows."""
    Image.init()
    return tuple(sorted(FORMATS & Image.OPEN.keys()))


def opened_image(source: bytes | Path) -> Image.Image:
    """An image of one of the formats that are read, its pixels not decoded yet.

    Raises InputError when it is no regular file, and whatever PIL's readers raise.
    """
    if isinstance(source, Path):
        file_size(source, MAX_BYTES)
        return Image.open(source, formats=_formats())
    return Image.open(io.BytesIO(source), formats=_formats())


def decode(
    source: bytes | Path, where: str, *, resolution: int, channels: int, exact: bool
) -> Decoded:
    """Pixels uint8 `[resolution, resolution, channels]` of an encoded image or a file.

    The shorter side is resized (bicubic, antialiased) and the centre is cropped; `exact` raises
    OtherSizeError instead. Transparency is composited on white, EXIF orientation applied,
    16-bit grey scaled to 8 bits. Raises InputError, which says `where`, for what cannot be read.
    """
    try:
        with opened_image(source) as image:
            return _decode(image, where, resolution, channels, exact)
    except (InputError, OtherSizeError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise InputError(f"{where}: the image claims more than {limit:,} pixels, refused") from None
    except UnidentifiedImageError:
        raise InputError(f"{where}: not an image that can be read (JPEG, PNG, …)") from None
    except MemoryError:
        raise InputError(f"{where}: the image is too large for the memory") from None
    except Exception as error:  # PIL's readers raise whatever the broken bytes lead them to
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{where}: a broken image: {reason}") from None


def _decode(image: Image.Image, where: str, resolution: int, channels: int, exact: bool) -> Decoded:
    width, height = image.size
    if min(width, height) < SMALLEST:
        raise InputError(
            f"{where}: the image has {width}×{height} pixels, at least {SMALLEST}×{SMALLEST} "
            "are needed"
        )
    fits = image.size == (resolution, resolution)
    if exact and not fits:
        raise OtherSizeError
    # A JPEG may be decoded at an eighth to a half of its size. Twice what is needed is kept, so
    # that the resizing decides on the look.
    if not fits:
        image.draft(None, (2 * resolution, 2 * resolution))
    orientation = image.getexif().get(_ORIENTATION, 1)
    converted, kind = _convert(image, where, channels)
    if not fits:
        converted = _fit(converted, resolution)
    turned = orientation in _UPRIGHT
    if turned:  # after the resizing, which is symmetric, when few pixels are left
        converted = converted.transpose(_UPRIGHT[orientation])
        if orientation >= 5:
            width, height = height, width
    pixels = np.asarray(converted)
    return Decoded(
        pixels=pixels.reshape(resolution, resolution, channels),
        size=(width, height),
        kind=kind,
        turned=turned,
    )


def _convert(image: Image.Image, where: str, channels: int) -> tuple[Image.Image, str | None]:
    """The image in mode RGB or L, and what it was if that is worth a note."""
    target = "RGB" if channels == 3 else "L"
    mode = image.mode
    if mode == target and "transparency" not in image.info:
        return image, None
    kind = "16-bit" if mode.startswith("I;16") else _KINDS.get(mode)
    if mode == "I" or mode == "F" or mode.startswith("I;16"):
        return _eight_bits(image, where).convert(target), kind
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert(target), kind or "RGBA"
    return image.convert(target), kind


def _eight_bits(image: Image.Image, where: str) -> Image.Image:
    """A grey image of more than 8 bits in mode L. PIL's own `convert` would cut off at 255."""
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    floating = image.mode == "F"
    top = 65535.0 if not floating else 1.0 if high <= 1 else 255.0
    if not (low >= 0 and high <= top):  # NaN too
        accepted = "0 to 1 or 0 to 255" if floating else "0 to 65535"
        raise InputError(f"{where}: grey values from {low:g} to {high:g}, accepted are {accepted}")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def _fit(image: Image.Image, resolution: int) -> Image.Image:
    """The largest centred square, resized. (The shorter side is resized, the centre cropped.)"""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize(
        (resolution, resolution),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
        reducing_gap=3.0,
    )
