"""From an encoded image to pixels: every mode that PIL reads, safely and upright."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from nas.errors import InputError, one_line
from nas.files import file_size

Pixels = NDArray[np.uint8]  # [H, W, C]

SMALLEST = 4  # pixels a side
MAX_BYTES = 1024**3  # of a file
MAX_COMMENT = 16 * 1024**2  # bytes that a comment in a PNG file may unpack to

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
}

# Formats that hold several frames as such. Cameras put previews into JPEG files: no frames.
_ANIMATED = frozenset({"GIF", "PNG", "TIFF", "WEBP", "AVIF"})


Fit = Literal["crop", "pad", "squeeze"]
FITS: tuple[Fit, ...] = get_args(Fit)
"""How an image that is not square becomes one: its centre, all of it on black, all of it."""


def check_fit(text: str) -> Fit:
    """The way of making squares that a text names; raises InputError where it names none."""
    for fit in FITS:
        if fit == text:
            return fit
    raise InputError(f"fit: {text!r} is not accepted: {', '.join(FITS)}")


DepthKind = Literal["integer", "floating-point"]
PixelRange = tuple[float, float]
"""The grey values that become 0 and 255."""

_INTEGER_BITS = (8, 10, 12, 14, 16)


class DeepPixelsError(Exception):
    """An image has more than 8 bits a pixel, and the range of the data set is not known yet."""


class OtherSizeError(Exception):
    """An image is not of the one size that was expected of all."""


@dataclass
class Tally:
    """What was done to the images, counted."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    resized: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    oblong: int = 0
    lost: dict[str, float] = field(default_factory=dict)  # the most of the width, of the height
    least_lost: float = 1.0
    animated: int = 0
    broken_exif: int = 0

    def count(self, image: Decoded, target: int) -> None:
        """Count an image that has become one of ``target`` pixels a side."""
        width, height = image.size
        if image.size != (target, target):
            self.resized += 1
            self.sizes[image.size] += 1
        if width != height:
            self.oblong += 1
            axis = "width" if width > height else "height"
            share = 1 - min(width, height) / max(width, height)
            self.lost[axis] = max(self.lost.get(axis, 0.0), share)
            self.least_lost = min(self.least_lost, share)
        if image.kind is not None:
            self.kinds[image.kind] += 1
        self.turned += image.turned
        self.animated += image.animated
        self.broken_exif += image.broken_exif

    def notes(
        self, resolution: int, channels: int, fit: Fit, ranges: Mapping[DepthKind, PixelRange]
    ) -> list[str]:
        """The lines for the user."""
        out = []
        if self.resized:
            sizes = len(self.sizes)
            of = "1 size" if sizes == 1 else f"{sizes:,} sizes"
            out.append(f"resized {_images(self.resized)} of {of} to {resolution} px")
        if self.oblong and fit == "crop":
            shares = " and ".join(f"{s:.0%} of the {axis}" for axis, s in self.lost.items())
            same = len(self.lost) == 1 and round(max(self.lost.values()) - self.least_lost, 3) == 0
            out.append(
                f"cropped {_images(self.oblong)} to the centre, {'' if same else 'up to '}"
                f"{shares.replace('%', ' %')} left out; --fit pad or --fit squeeze keeps it"
            )
        elif self.oblong:
            how = {"pad": "padded {} to squares with black", "squeeze": "squeezed {} to squares"}
            out.append(how[fit].format(_images(self.oblong)))
        target = "RGB" if channels == 3 else "grey"
        for kind, number in sorted(self.kinds.items()):
            out.append(f"converted {number:,} {kind} {_plural(number)} to {target}")
        for depth, (low, high) in ranges.items():
            bits = f" ({int(high).bit_length()} bits)" if depth == "integer" and low == 0 else ""
            out.append(f"scaled {depth} grey values from {low:g}…{high:g}{bits} to 0…255")
        if self.turned:
            out.append(f"rotated {_images(self.turned)} upright by the EXIF orientation")
        if self.animated:
            out.append(f"took the first frame of {_images(self.animated)} of several frames")
        if self.broken_exif:
            out.append(f"ignored the EXIF data of {_images(self.broken_exif)}, which is broken")
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
    turned: bool = False
    animated: bool = False  # has several frames, of which this is the first
    broken_exif: bool = False


@contextmanager
def bombs_are_errors(most: int | None = None) -> Iterator[None]:
    """Within it, an image above a limit of pixels is an error, not a warning.

    For the whole process, threads included: to be entered once, outside of them.

    Args:
        most: pixels of an image; None: PIL's own limit.
    """
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    with warnings.catch_warnings():
        # What PIL says about odd metadata of a readable image is of no use to anyone.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", category=Image.DecompressionBombWarning)
        if most is not None:
            Image.MAX_IMAGE_PIXELS = most
        PngImagePlugin.MAX_TEXT_CHUNK = MAX_COMMENT
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = before


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this PIL knows."""
    Image.init()
    return tuple(sorted(FORMATS & Image.OPEN.keys()))


@cache
def image_endings() -> frozenset[str]:
    """Endings of files in the formats that are read, in lower case."""
    Image.init()
    endings = Image.registered_extensions()
    return frozenset(ending for ending, kind in endings.items() if kind in FORMATS)


def opened_image(source: bytes | Path) -> Image.Image:
    """An image of one of the formats that are read, its pixels not decoded yet.

    Raises InputError when it is no regular file, and whatever PIL's readers raise.
    """
    if isinstance(source, Path):
        file_size(source, MAX_BYTES)
        return Image.open(source, formats=_formats())
    return Image.open(io.BytesIO(source), formats=_formats())


def decode(
    source: bytes | Path,
    where: str,
    *,
    resolution: int,
    channels: int,
    exact: bool = False,
    fit: Fit = "crop",
    ranges: Mapping[DepthKind, PixelRange] | None = None,
) -> Decoded:
    """Pixels uint8 `[resolution, resolution, channels]` of an encoded image or a file.

    It is resized (bicubic, antialiased) and made square as `fit` says; `exact` raises
    OtherSizeError instead where it has another size. Transparency is composited on white, EXIF
    orientation applied; grey of more than 8 bits is scaled from `ranges`, without which it raises
    DeepPixelsError. Raises InputError, which says `where`, for what cannot be read.
    """
    with _told(where), opened_image(source) as image:
        return _decode(image, where, resolution, channels, exact, fit, ranges)


def grey_values(source: bytes | Path, where: str) -> tuple[DepthKind, PixelRange] | None:
    """The kind and the range of the grey values of an image; None: it has 8 bits or fewer.

    Raises InputError as `decode` does.
    """
    with _told(where), opened_image(source) as image:
        kind = _depth(image)
        if kind is None:
            return None
        _check_finite(image, where)
        values = np.asarray(image)
        return kind, (float(values.min()), float(values.max()))


def pixel_range(kind: DepthKind, low: float, high: float) -> PixelRange:
    """The grey values that become 0 and 255, for a data set in which they go from low to high.

    Integers: 0 to the largest of 8, 10, 12, 14 or 16 bits, whichever are enough; floating-point
    numbers: 0 to 1 or 0 to 255. Where there are other values, negative ones say: low to high.
    """
    if low >= 0:
        tops = [1.0, 255.0] if kind == "floating-point" else [2.0**n - 1 for n in _INTEGER_BITS]
        for top in tops:
            if high <= top:
                return 0.0, top
    return low, high


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Within it, whatever PIL's readers raise becomes one line that says `where`."""
    try:
        yield
    except (InputError, OtherSizeError, DeepPixelsError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise InputError(
            f"{where}: the image claims more than {limit:,} pixels, refused "
            "(--max-pixels allows more)"
        ) from None
    except UnidentifiedImageError:
        raise InputError(f"{where}: not an image that can be read (JPEG, PNG, …)") from None
    except MemoryError:
        raise InputError(f"{where}: the image is too large for the memory") from None
    except Exception as error:  # PIL's readers raise whatever the broken bytes lead them to
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{where}: a broken image: {reason}") from None


def _decode(
    image: Image.Image,
    where: str,
    resolution: int,
    channels: int,
    exact: bool,
    fit: Fit,
    ranges: Mapping[DepthKind, PixelRange] | None,
) -> Decoded:
    width, height = image.size
    if min(width, height) < SMALLEST:
        raise InputError(
            f"{where}: the image has {width}×{height} pixels, at least {SMALLEST}×{SMALLEST} "
            "are needed"
        )
    depth = _depth(image)
    if depth is not None and ranges is None:
        raise DeepPixelsError
    fits = image.size == (resolution, resolution)
    if exact and not fits:
        raise OtherSizeError
    # A JPEG may be decoded at an eighth to a half of its size. Twice what is needed is kept, so
    # that the resizing decides on the look.
    if not fits:
        image.draft(None, (2 * resolution, 2 * resolution))
    animated = image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
    orientation, broken_exif = _orientation(image)
    if depth is not None and ranges is not None:
        _check_finite(image, where)
        # A kind that has no range has no image that can be read.
        scaled = _eight_bits(image, ranges.get(depth, (0.0, 1.0)))
        converted = scaled.convert("RGB" if channels == 3 else "L")
        kind: str | None = "floating-point" if depth == "floating-point" else "16-bit"
        kind = "32-bit" if image.mode == "I" else kind
    else:
        converted, kind = _convert(image, channels)
    if not fits:
        converted = _fitted(converted, resolution, fit)
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
        animated=animated,
        broken_exif=broken_exif,
    )


def _orientation(image: Image.Image) -> tuple[int, bool]:
    """The EXIF orientation, 1 where there is none; and whether the EXIF data is broken."""
    try:
        return image.getexif().get(_ORIENTATION, 1), False
    except Exception:  # PIL's reader raises whatever the broken bytes lead it to
        return 1, True


def _depth(image: Image.Image) -> DepthKind | None:
    """The kind of grey values of more than 8 bits; None: the image has none such."""
    if image.mode == "F":
        return "floating-point"
    return "integer" if image.mode == "I" or image.mode.startswith("I;") else None


def _check_finite(image: Image.Image, where: str) -> None:
    if not np.isfinite(np.asarray(image)).all():
        raise InputError(f"{where}: grey values that are not finite")


def _convert(image: Image.Image, channels: int) -> tuple[Image.Image, str | None]:
    """The image in mode RGB or L, and what it was if that is worth a note."""
    target = "RGB" if channels == 3 else "L"
    mode = image.mode
    if mode == target and "transparency" not in image.info:
        return image, None
    kind = _KINDS.get(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert(target), kind or "RGBA"
    return image.convert(target), kind


def _eight_bits(image: Image.Image, values: PixelRange) -> Image.Image:
    """A grey image of more than 8 bits in mode L. PIL's own `convert` would cut off at 255."""
    low, high = values
    scaled = (np.asarray(image).astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def _fitted(image: Image.Image, resolution: int, fit: Fit) -> Image.Image:
    """The image resized to a square."""
    width, height = image.size
    size = resolution, resolution
    box = 0.0, 0.0, float(width), float(height)
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = left, top, left + side, top + side
    elif fit == "pad":
        scale = resolution / max(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
    resized = image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    if size == (resolution, resolution):
        return resized
    square = Image.new(image.mode, (resolution, resolution))
    square.paste(resized, ((resolution - size[0]) // 2, (resolution - size[1]) // 2))
    return square
