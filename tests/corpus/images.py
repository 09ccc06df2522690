"""Images, folders of them, and parquet files."""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.corpus.box import Act, Box
from tests.corpus.case import (
    Case,
    Content,
    changed_file,
    cut,
    good,
    mutants,
    of_content,
    placed,
    trained,
    zipped,
)
from tests.corpus.faults import CONTROLS, PLACES
from tests.corpus.valid import valid


def _png(width: int, height: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return a PNG that claims a size, whatever its rows are; 8-bit grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def _saved(format: str, mode: str = "RGB", size: tuple[int, int] = (16, 16)) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, 77).save(stream, format)
    return stream.getvalue()


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 16 16
%%EndComments
(given/ran) (w) file closefile showpage
%%EOF
"""


def _pictures() -> dict[str, Content]:
    def packed() -> bytes:
        return zlib.compress(bytes(80 << 20), 9)

    return {
        "a claim of 4,000 million pixels": lambda: _png(65_535, 65_535, bytes(1_000)),
        "a claim of 2^31 by 2^31": lambda: _png(2**31 - 1, 2**31 - 1, bytes(1_000)),
        "a claim of 150 million pixels": lambda: _png(12_247, 12_247, bytes(1_000)),
        "a claim of 80 million pixels": lambda: _png(8_944, 8_944, bytes(1_000)),
        "a claim of no pixels": lambda: _png(0, 0, b""),
        "one pixel": lambda: _png(1, 1, bytes(2)),
        "a line of 2 by a million": lambda: _png(1_000_000, 2, bytes(100)),
        "a text that unpacks to 80 MiB": lambda: _png(
            16, 16, bytes(17 * 16), (b"zTXt", b"Comment\0\0" + packed())
        ),
        "a profile that unpacks to 80 MiB": lambda: _png(
            16, 16, bytes(17 * 16), (b"iCCP", b"x\0\0" + packed())
        ),
        "PostScript that writes a file": lambda: EPS,
        "a BMP that claims 2^62 pixels": lambda: _bmp(2**31 - 1),
        "a GIF of noise": lambda: b"GIF89a" + _noise(2),
        "a TIFF of noise": lambda: b"II*\0\x08\0\0\0" + _noise(3),
        "a TIFF that refers to itself": lambda: b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 8),
        "a TIFF of a thousand million bytes": _tiff,
        "a WebP of noise": lambda: b"RIFF\xff\xff\xff\xffWEBPVP8 " + _noise(4),
        "a PPM of 10^9 by 10^9": lambda: b"P6 1000000000 1000000000 255\n" + bytes(100),
        "a PPM of a number of 10,000 digits": lambda: b"P6 " + b"9" * 10_000 + b" 1 255\n",
        "a pickle": lambda: pickle.dumps(["not", "an", "image"]),
        "HTML": lambda: b"<html><script>alert(1)</script></html>",
        "SVG with an entity": lambda: (
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>'
        ),
        "an archive": lambda: zipped({"x.png": _saved("PNG")}),
        "text": lambda: b"hello",
    }


def _perhaps_pictures() -> dict[str, Content]:
    """What is odd, and may be an image still: PIL takes a PNG whose pixels are all there."""
    return {
        **cut(lambda: _saved("PNG"), "a PNG cut"),
        **cut(lambda: _saved("JPEG"), "a JPEG cut"),
        "fewer rows than claimed": lambda: _png(16, 16, bytes(17 * 3)),
        "a GIF named PNG": lambda: _saved("GIF", "P"),
        "a JPEG in CMYK": lambda: _saved("JPEG", "CMYK"),
    }


def _noise(seed: int, size: int = 500) -> bytes:
    return random.Random(seed).randbytes(size)


def _bmp(width: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, width, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def _tiff() -> bytes:
    tags = (
        *((256, 4, 1, 20_000), (257, 4, 1, 50_000), (258, 3, 1, 8), (259, 3, 1, 8)),
        *(
            (262, 3, 1, 1),
            (273, 4, 1, 150),
            (277, 3, 1, 1),
            (278, 4, 1, 50_000),
            (279, 4, 1, 2**31),
        ),
    )
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + bytes(100)


def _folder(box: Box) -> Path:
    return Path(shutil.copytree(valid() / "images", box.given / "images"))


def _with_image(content: Content, name: str = "3.png") -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        folder = _folder(box)
        (folder / "bee" / name).write_bytes(content())
        return trained(box, folder)

    return make


def _loaded(content: Content, name: str) -> Callable[[Box], Act]:
    """A folder that is valid as it is: loaded, no more."""

    def make(box: Box) -> Act:
        folder = _folder(box)
        (folder / "bee" / name).write_bytes(content())
        return lambda: _load(folder)

    return make


def _load(place: Path) -> object:
    from nas.data import load_images

    return load_images(place)


def _only_loaded(box: Box, file: Path) -> Act:
    return lambda: _load(file)


def _changed(change: Callable[[Path], object]) -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        folder = _folder(box)
        change(folder)
        return trained(box, folder)

    return make


def _place_in(place: Callable[[Path], object], name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        place(folder / name)

    return change


def _emptied(folder: Path) -> None:
    for name in ("ant", "bee"):
        shutil.rmtree(folder / name)


def _only(names: tuple[str, ...]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        for name in ("ant", "bee"):
            if name not in names:
                shutil.rmtree(folder / name)

    return change


def _classes(folder: Path) -> None:
    (folder / "ant").rename(folder / CONTROLS.replace("/", ""))
    (folder / "bee" / "0.png").write_bytes(b"broken")


def _looped(folder: Path) -> None:
    (folder / "ant" / "again").symlink_to(folder)
    (folder / "bee" / "0.png").write_bytes(b"broken")


FOLDERS: Mapping[str, Callable[[Path], object]] = {
    "no classes": _emptied,
    "one class": _only(("ant",)),
    "a class without images": lambda folder: (folder / "cow").mkdir(),
    "classes of control characters": _classes,
    "folders that lead in a circle": _looped,
    "a parquet file beside the classes that is none": lambda folder: (folder / "x.parquet").touch(),
    "a parquet file that is a pipe": lambda folder: os.mkfifo(folder / "x.parquet"),
    "a parquet file that is a link to nothing": lambda folder: (folder / "x.parquet").symlink_to(
        "nowhere"
    ),
}


# -- parquet --------------------------------------------------------------------------------------


def _parquet(path: Path, images: list[Any], labels: list[Any], **options: Any) -> None:
    cells = [{"bytes": image, "path": None} for image in images]
    pq.write_table(pa.table({"image": cells, "label": labels}), path, **options)


def _at_path(path: str) -> Callable[[Path], None]:
    """Rows that name a file instead of holding an image."""

    def write(file: Path) -> None:
        cells = [{"bytes": None, "path": path} for _ in range(4)]
        pq.write_table(pa.table({"image": cells, "label": [0, 1, 0, 1]}), file)

    return write


def _footer(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        content = (valid() / "images.parquet").read_bytes()
        size = struct.unpack("<I", content[-8:-4])[0]
        footer = change(content[-8 - size : -8])
        file.write_bytes(content[: -8 - size] + footer + struct.pack("<I", len(footer)) + b"PAR1")

    return write


def _bomb(file: Path) -> None:
    """Images of a quarter of a gigabyte of zeros in all, in a few kilobytes."""
    _parquet(file, [bytes(32 << 20)] * 8, [i % 2 for i in range(8)], compression="zstd",
             use_dictionary=False, row_group_size=8)  # fmt: skip


def _parquets() -> dict[str, Callable[[Path], object]]:
    whole, png = good("images.parquet"), _saved("PNG")
    return {
        **{n: (lambda p, c=c: p.write_bytes(c())) for n, c in cut(whole).items()},
        **{name: place for name, place in PLACES.items() if name != "a folder"},
        "a footer that claims 2^31 bytes": lambda p: p.write_bytes(
            whole()[:-8] + b"\xff\xff\xff\x7fPAR1"
        ),
        "a footer of noise": _footer(lambda footer: random.Random(5).randbytes(len(footer))),
        "a footer of half": _footer(lambda footer: footer[: len(footer) // 2]),
        "only the magic": lambda p: p.write_bytes(b"PAR1PAR1"),
        "noise": lambda p: p.write_bytes(random.Random(6).randbytes(5_000)),
        "a bomb of a quarter of a gigabyte": _bomb,
        "no rows": lambda p: _parquet_of(
            p, {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}
        ),
        "no image column": lambda p: _parquet_of(p, {"label": [0, 1]}),
        "no label column": lambda p: _parquet_of(p, {"image": [png, png]}),
        "labels of lists": lambda p: _parquet_of(p, {"image": [png, png], "label": [[0], [1]]}),
        "labels that are missing": lambda p: _parquet(p, [png] * 4, [0, None, 1, 1]),
        "images that are missing": lambda p: _parquet(p, [png, None, png, png], [0, 1, 0, 1]),
        "images of noise": lambda p: _parquet(p, [b"\x89PNG" + bytes(30)] * 4, [0, 1, 0, 1]),
        "images that claim 4,000 million pixels": lambda p: _parquet(
            p, [_png(65_535, 65_535, b"\0")] * 4, [0, 1, 0, 1]
        ),
        "columns of control characters": lambda p: _parquet_of(
            p, {CONTROLS: [1, 2], "label": [0, 1]}
        ),
        "a row that names a device": _at_path("/dev/zero"),
        "a row that names a secret": _at_path("/etc/passwd"),
        "a row that names a pipe": lambda p: (
            os.mkfifo(p.parent / "pipe"),
            _at_path("given/pipe")(p),
        ),
        "a row that names an address": _at_path("http://127.0.0.1:1/x.png"),
        "labels of a megabyte": lambda p: _parquet(p, [png] * 4, ["a" * (1 << 20)] * 4),
        "a label below nothing": lambda p: _parquet(p, [png] * 4, [0, 1, -1, 1]),
    }


def _parquet_of(path: Path, columns: Mapping[str, Any]) -> None:
    pq.write_table(pa.table(dict(columns)), path)


NAMES = (
    *("file:///etc/passwd", "http://127.0.0.1:1/x.parquet", "hf://x", "s3://x/y", "../../etc"),
    *(CONTROLS, "a" * 5_000, "~nobody-there/x", "/dev/zero", "a\0b", "/etc/passwd", "-x", "\udcff"),
    "no/such-data-set",
)


def image_cases() -> Iterator[Case]:
    """Yield the cases of images, of their folders, and of parquet files."""
    for name, content in _pictures().items():
        yield Case("images", name, _with_image(content))
    for name, content in _perhaps_pictures().items():
        yield Case("images", name, _loaded(content, "z.png"), (0, 2))
    yield Case("images", "a file that is no image", _loaded(lambda: b"notes", "z.txt"), (0,))
    for name, place in PLACES.items():
        if name not in ("nothing", "a folder", "a link to a folder"):
            make = _changed(_place_in(place, "bee/3.png"))
            yield Case("images", f"an image that is {name}", make)
    for name, change in FOLDERS.items():
        yield Case("images", name, _changed(change))
    for text in NAMES:
        yield Case("images", f"named {text[:30]!r}", lambda box, text=text: trained(box, text))
    for name, write in _parquets().items():
        yield Case("parquet", name, placed("images.parquet", write, trained))
    for name, content in mutants(good("images.parquet"), 8).items():
        # A pixel may have changed, and the image be one still.
        make = changed_file(
            "images.parquet", of_content(content), lambda box, file: lambda: _load(file)
        )
        yield Case("parquet", name, make, (0, 2))
