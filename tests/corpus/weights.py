"""Weights, and folders that a training or an export left."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

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


def _tensors(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    """Return a safetensors file of any header, which may claim any size."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def _rewritten(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = (valid() / "weights.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:start])
    change(header)
    text = json.dumps(header).encode()
    return _tensors(text, content[start:])


def _told(**metadata: str) -> bytes:
    return _rewritten(lambda header: header["__metadata__"].update(metadata))


def _of_values(value: float) -> bytes:
    from safetensors.torch import save

    content = torch.load(valid() / "weights.pth", weights_only=True)
    return save({n: torch.full_like(t, value) if t.is_floating_point() else t
                 for n, t in content.items()})  # fmt: skip


def _architecture_told(**change: Any) -> bytes:
    content = (valid() / "weights.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    known = json.loads(json.loads(content[8:start])["__metadata__"]["architecture"])
    return _told(architecture=json.dumps({**known, **change}))


def _safetensors() -> dict[str, Content]:
    tensor = {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 4]}
    first = "stem.0.weight"
    return {
        **cut(good("weights.safetensors")),
        "a header of 2^60 bytes": lambda: _tensors({}, size=1 << 60),
        "a header of all ones": lambda: b"\xff" * 64,
        "a header of 90 megabytes of blanks": lambda: _tensors(b"{}" + b" " * (90 << 20)),
        "a header 100,000 deep": lambda: _tensors(b'{"a":' * 100_000),
        "a header that is a list": lambda: _tensors([]),
        "a header of NaN": lambda: _tensors(b'{"a": NaN}'),
        "a key twice in the header": lambda: _tensors(b'{"a": {}, "a": {}}'),
        "a shape of 2^40 and four bytes": lambda: _tensors({first: tensor}, bytes(4)),
        "a shape that overflows": lambda: _tensors(
            {first: {**tensor, "shape": [1 << 62, 1 << 62], "data_offsets": [0, 0]}}
        ),
        "a shape below nothing": lambda: _tensors({first: {**tensor, "shape": [-1]}}, bytes(4)),
        "offsets that overlap": lambda: _tensors(
            {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in ("a", first)},
            bytes(4),
        ),
        "offsets backwards": lambda: _tensors(
            {first: {**tensor, "data_offsets": [4, 0]}}, bytes(4)
        ),
        "offsets beyond the end": lambda: _tensors(
            {first: {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 4 << 30]}}, bytes(4)
        ),
        "a kind of number that is none": lambda: _tensors(
            {first: {**tensor, "dtype": "pickle"}}, bytes(4)
        ),
        "no tensors": lambda: _tensors({}),
        "tensors of control characters": lambda: _tensors(
            {
                n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
                for i, n in enumerate((first, CONTROLS))
            },
            bytes(8),
        ),
        "a name of a megabyte": lambda: _tensors(
            {
                n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
                for i, n in enumerate((first, "n" * (1 << 20)))
            },
            bytes(8),
        ),
        "a tensor missing": lambda: _rewritten(lambda header: header.pop(first)),
        "a tensor of another shape": lambda: _rewritten(
            lambda h: h[first].update(shape=h[first]["shape"][::-1])
        ),
        "a tensor of integers": lambda: _rewritten(
            lambda header: header[first].update(dtype="I32")
        ),
        "weights that are no numbers": lambda: _of_values(float("nan")),
        "weights without end": lambda: _of_values(float("inf")),
        "an architecture of noise": lambda: _told(architecture="\x1b[2J{"),
        "an architecture 100,000 deep": lambda: _told(architecture="[" * 100_000),
        "an architecture of a terabyte": lambda: _architecture_told(
            stem={"kernel": 3, "stride": 1, "width": 65_536}, head={"width": 65_536, "dropout": 0.0}
        ),
        "an architecture of another width": lambda: _architecture_told(
            head={"width": 65, "dropout": 0.1}
        ),
        "an architecture twice as large": lambda: _architecture_told(num_classes=20),
        "a training of noise": lambda: _told(trained_on="null"),
        "a deviation of nothing": lambda: _told(
            trained_on=json.dumps({"mean": [0] * 3, "std": [0] * 3, "resolution": 8, "classes": []})
        ),
        "fewer classes than the network": lambda: _told(
            trained_on=json.dumps(
                {"mean": [0] * 3, "std": [1] * 3, "resolution": 8, "classes": ["a"]}
            )
        ),
        "a pickle": lambda: pickle.dumps({"a": 1}),
    }


class _Run:
    """What a pickle calls when it is loaded: it would leave a file behind."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


def _pth(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _legacy(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def _repacked(content: bytes, compression: int, change: Callable[[str, bytes], bytes]) -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(stream, "w", compression) as new,
    ):
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return stream.getvalue()


def _bombed() -> bytes:
    """A state dict of a quarter of a gigabyte of zeros, compressed to a thousandth."""
    small = torch.zeros(1)
    whole = _pth({"stem.0.weight": small})
    big = bytes(1 << 20)
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/data.pkl"):
                data = data.replace(b"K\x01Q", struct.pack("<BI", ord("J"), 1 << 26) + b"Q")
            if not name.endswith("data/0"):
                new.writestr(name, data)
                continue
            with new.open(name, "w", force_zip64=True) as entry:
                for _ in range(1 << 8):
                    entry.write(big)
    return stream.getvalue()


def _state_dicts() -> dict[str, Callable[[Box], bytes]]:
    file = good("weights.pth")

    def whole() -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = torch.load(valid() / "weights.pth", weights_only=True)
        return found

    def plain(content: Content) -> Callable[[Box], bytes]:
        return lambda box: content()

    return {
        **{name: plain(content) for name, content in {**cut(file), **mutants(file, 4)}.items()},
        "a pickle that writes a file": lambda box: pickle.dumps(
            _Run(os.system, f"touch {box.canary / 'ran'}")
        ),
        "a state dict that writes a file": lambda box: _pth(
            {"stem.0.weight": _Run(os.system, f"touch {box.canary / 'ran'}")}
        ),
        "a state dict that evaluates": lambda box: _pth(
            {"stem.0.weight": _Run(eval, f"open({str(box.canary / 'ran')!r}, 'w')")}
        ),
        "an old state dict that writes a file": lambda box: _legacy(
            {"stem.0.weight": _Run(os.system, f"touch {box.canary / 'ran'}")}
        ),
        "an old state dict cut": plain(lambda: _legacy(whole())[:-100]),
        "a whole module": plain(lambda: _pth(torch.nn.Linear(2, 2))),
        "a list": plain(lambda: _pth([1, 2])),
        "a number": plain(lambda: _pth(7)),
        "an optimiser alone": plain(lambda: _pth({"optimizer": {"state": whole()}})),
        "keys that are numbers": plain(lambda: _pth({1: torch.zeros(1)})),
        "values that are text": plain(lambda: _pth({"stem.0.weight": "x"})),
        "keys of control characters": plain(lambda: _pth({**whole(), CONTROLS: torch.zeros(1)})),
        "a tensor of a billion that is one": plain(
            lambda: _pth({"stem.0.weight": torch.zeros(1).expand(1 << 15, 1 << 15, 1, 1)})
        ),
        "a sparse tensor": plain(
            lambda: _pth({**whole(), "stem.0.weight": torch.zeros(8, 3).to_sparse()})
        ),
        "a tensor of nothing": plain(lambda: _pth({**whole(), "stem.0.weight": torch.zeros(0)})),
        "a tensor that is nowhere": plain(
            lambda: _pth({**whole(), "stem.0.weight": torch.zeros(8, 3, 3, 3, device="meta")})
        ),
        "complex numbers": plain(
            lambda: _pth(
                {**whole(), "stem.0.weight": torch.zeros(8, 3, 3, 3, dtype=torch.complex64)}
            )
        ),
        "a bomb of a quarter of a gigabyte": plain(_bombed),
        "an allocation of a terabyte": plain(lambda: _pth({"a": _Run(bytearray, 1 << 40)})),
        "a zip of something else": plain(lambda: zipped({"hello.txt": b"x"})),
        "a zip that leads elsewhere": plain(lambda: zipped({"../../escape/data.pkl": b"x"})),
        "a script": plain(lambda: b"import os\nos.system('id')\n"),
    }


def _exported(box: Box, file: Path) -> Act:
    return [
        *("export", str(valid() / "architecture.json"), "--to", "json", "--weights", str(file)),
        *("--quiet", "--out", str(box.out / "made")),
    ]


def _fine_tuned(box: Box, file: Path) -> Act:
    made = trained(box, valid() / "images")
    assert isinstance(made, list)
    return [*made, "--weights", str(file)]


def _taught(box: Box, file: Path) -> Act:
    made = trained(box, valid() / "images")
    assert isinstance(made, list)
    teacher = str(valid() / "architecture.json")
    return [*made, "--teacher", teacher, "--teacher-weights", str(file)]


def _astray(name: str, target: str) -> Callable[[Box], Act]:
    """A folder that a training would write into, with a link that leads out of it."""

    def make(box: Box) -> Act:
        folder = box.out / "trained"
        folder.mkdir()
        (folder / name).symlink_to(box.root / target)
        return trained(box, valid() / "images")

    return make


def _begun(content: str) -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        folder = box.out / "trained"
        folder.mkdir()
        (folder / "history.json").write_text(content, encoding="utf-8")
        return trained(box, valid() / "images")

    return make


def _export_begun(content: str, *more: str) -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        folder = box.out / "made"
        folder.mkdir()
        (folder / "export.json").write_text(content, encoding="utf-8")
        for name in more:
            os.mkfifo(folder / name)
        return _exported(box, valid() / "weights.safetensors")

    return make


PLACED = ("a pipe", "an endless device", "of ten gigabytes")

BEGUN = {
    "a history of nothing": "",
    "a history 100,000 deep": "[" * 100_000,
    "a history of another kind": '{"schema": "x"}',
    "a history of a key twice": '{"schema": 1, "schema": 2}',
}


def weight_cases() -> Iterator[Case]:
    """Yield the cases of weights, and of what is written beside them."""
    for name, content in _safetensors().items():
        make = changed_file("w.safetensors", of_content(content), _exported)
        yield Case("weights, safetensors", name, make)
    for name, packed in _state_dicts().items():
        yield Case("weights, state dict", name, changed_file("w.pth", packed, _exported))
    for ending in ("safetensors", "pth"):
        for name, place in PLACES.items():
            yield Case(f"weights, .{ending}", name, placed(f"w.{ending}", place, _exported))
    for option, meet in (("--weights", _fine_tuned), ("--teacher-weights", _taught)):
        for name in ("a header of 2^60 bytes", "cut at 50 %", "weights that are no numbers"):
            make = changed_file("w.safetensors", of_content(_safetensors()[name]), meet)
            yield Case(f"weights, {option}", name, make)
        for name in PLACED:
            yield Case(f"weights, {option}", name, placed("w.safetensors", PLACES[name], meet))
    make = changed_file("w.pkl", lambda box: b"x", _exported)
    yield Case("weights, state dict", "another ending", make)
    for name, target in {
        ".lock": "canary/.lock",
        "history.json": "canary/precious.txt",
        "checkpoint": "canary/folder",
    }.items():
        yield Case("training", f"{name} is a link to elsewhere", _astray(name, target))
    for name, text in BEGUN.items():
        yield Case("training", name, _begun(text))
        yield Case("export", name, _export_begun(text))
    before = {"schema": "nas-search-export/2", "command": {}, "files": {"model.py": "0"}}
    yield Case("export", "a file of it is a pipe", _export_begun(json.dumps(before), "model.py"))
    same = {**before, "files": {"../../x": "0"}}
    yield Case("export", "a file above the folder", _export_begun(json.dumps(same)))
