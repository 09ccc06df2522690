"""Archives that others have released, or say so."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from tests.corpus.box import Act, Box
from tests.corpus.case import (
    Case,
    Content,
    cut,
    good,
    mutants,
    of_place,
    words,
    zipped,
)
from tests.corpus.faults import CONTROLS
from tests.corpus.valid import archive, checksum, valid

MEMBER = "anb_dataset_jsons/result_{}.json"


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a tar header that claims any size."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def _link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


@lru_cache
def _zeros(size: int) -> bytes:
    """Return a gzip of so many zeros, made without holding them."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=9, mtime=0) as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return stream.getvalue()


def _gz(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _result() -> dict[str, Any]:
    tar = gzip.decompress((valid() / "archive.tar.gz").read_bytes())
    found: dict[str, Any] = json.loads(tar[512:].split(b"\0")[0])
    return found


def _archives() -> dict[str, Content]:
    released = good("archive.tar.gz")
    one = MEMBER.format(1)

    def of(**change: Any) -> Content:
        return lambda: archive({one: json.dumps({**_result(), **change}).encode()})

    return {
        **cut(released),
        **mutants(released, 8),
        "a bomb of half a gigabyte of zeros": lambda: _zeros(512 << 20),
        "a member of a gigabyte": lambda: _gz(_header(one, 1 << 30)) + _zeros(512 << 20),
        "a member that claims 8 GiB": lambda: _gz(_header(one, (8 << 30) - 1) + bytes(1024)),
        "a long name of 8 GiB": lambda: (
            _gz(_header("././@LongLink", (8 << 30) - 1, tarfile.GNUTYPE_LONGNAME))
            + _zeros(512 << 20)
        ),
        "an extended header of half a gigabyte": lambda: (
            _gz(_header("x", 512 << 20, tarfile.XHDTYPE)) + _zeros(512 << 20)
        ),
        "ten thousand long names": lambda: _gz(
            (_header("././@LongLink", 10, tarfile.GNUTYPE_LONGNAME) + b"a" * 10 + bytes(502))
            * 10_000
        ),
        "an extended header that is no header": lambda: _gz(
            _header("x", 20, tarfile.XHDTYPE) + b"99999999999 a=b\n".ljust(512, b"\0") + bytes(1024)
        ),
        "a size below nothing": lambda: _gz(_negative(one)),
        "members without end": lambda: _gz(_header(MEMBER.format(2), 0) * 30_000),
        "a path above": lambda: archive({"../../escape.json": b"{}"}),
        "an absolute path": lambda: archive({"/etc/cron.d/x": b"{}"}),
        "a link as a member": lambda: archive({one: _link(tarfile.SYMTYPE, "/etc/passwd")}),
        "a hard link as a member": lambda: archive({one: _link(tarfile.LNKTYPE, "../../x")}),
        "a device as a member": lambda: archive({one: _link(tarfile.CHRTYPE, "")}),
        "a pipe as a member": lambda: archive({one: _link(tarfile.FIFOTYPE, "")}),
        "a name of control characters": lambda: archive({CONTROLS: b"{}"}),
        "a member twice": lambda: _twice(one, json.dumps(_result()).encode()),
        "no members": lambda: archive({}),
        "members of another kind": lambda: archive({"readme.txt": b"hello"}),
        "a member that is no JSON": lambda: archive({one: b"\x80\x04K\x01."}),
        "a member of deep lists": lambda: archive({one: b"[" * 60_000}),
        "a member of Latin-1": lambda: archive({one: b'{"\xe9": 1}'}),
        "an accuracy above all": of(
            metrics={"val_top1": 101.0, "val_top5": 1.0, "train_time": 1.0}
        ),
        "blocks that are missing": of(architecture={}),
        "a block of 10^300": lambda: of(
            architecture={**_result()["architecture"], "block0_k": 10**300}
        )(),
        "a measure of text": of(platform_perf={"a": {"b": "c"}}),
        "a zip": lambda: zipped({one: b"{}"}),
        "a tar without gzip": lambda: gzip.decompress(released()),
        "gzip in gzip": lambda: _gz(released()),
        "noise": lambda: random.Random(1).randbytes(2_000),
    }


def _negative(name: str) -> bytes:
    header = bytearray(_header(name, 0))
    header[124:136] = b"\xff" * 12  # in base 256: minus one
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def _twice(name: str, content: bytes) -> bytes:
    once = gzip.decompress(archive({name: content}))
    size = 512 + -(-len(content) // 512) * 512
    return _gz(once[:size] * 2 + bytes(1024))


def _imported(content: Callable[[], bytes], command: bool) -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        file = box.given / "archive.tar.gz"
        file.write_bytes(content())
        if command:
            return ["import", "accel-nasbench", str(file), "--out", str(box.out / "t.jsonl")]
        from nas.proxies.accel_nasbench import import_accel_nasbench

        expected = checksum(file.read_bytes())
        return lambda: import_accel_nasbench(file, box.out / "t.jsonl", expected)

    return make


def archive_cases() -> Iterator[Case]:
    """Yield the cases of archives."""
    for name, content in _archives().items():
        # By the command only the released archive gets further than its checksum.
        yield Case("archive", name, _imported(content, command=True))
        yield Case("archive, unpacked", name, _imported(content, command=False))
    importing = words("import", "accel-nasbench", "FILE", "--out", "OUT")
    yield from of_place("archive", "archive.tar.gz", importing)
