"""Valid documents with something changed at random: accepted, or one clear line, and never more."""

import copy
import io
import json
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import nas
from nas.data.decode import bombs_are_errors, decode
from nas.proxies.accel_nasbench import import_accel_nasbench
from nas.proxies.benchmark_table import read_table
from nas.spaces.latency_table import read_table as read_latencies
from nas.spaces.toml import space_from_dict
from tests.corpus.box import SECONDS, Act, Box, Outcome, tally
from tests.corpus.box import meet as meet_once
from tests.corpus.faults import CONTROLS
from tests.corpus.valid import checksum, tiny, valid

QUICK, LONG = 20, 1_000
"""Examples of each, whenever the tests are run and in a long run."""

Edit = tuple[str, int, Any]
"""What is done, at which place of a document (counted as they are met), and with which value."""

odd = st.one_of(
    st.sampled_from(
        [
            *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e-320, 1e308, 2**31, 2**63, 10**30),
            *(10**400, "", "3", "nan", "inf", "silu", "skip", "../../escape", "\0", "{}", "\ufeff"),
            *(CONTROLS, "n" * 5_000, [], {}, [[]], [None], {"a": 1}, [0] * 1_000),
        ]
    ),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=5),
)

edits = st.lists(
    st.tuples(
        st.sampled_from(["replace", "delete", "add", "double", "wrap", "swap"]),
        st.integers(0, 10_000),
        odd,
    ),
    min_size=1,
    max_size=4,
)


MET: list[Outcome] = []
"""What came of all of them."""


def meet(box: Box, act: Act) -> Outcome:
    """Let the act meet its input, and remember what came of it."""
    outcome = meet_once(box, act)
    MET.append(outcome)
    return outcome


def places(data: Any) -> list[tuple[Any, Any]]:
    """Return every place of a document: what holds it, and the key or index there."""
    found: list[tuple[Any, Any]] = []
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            found.append((data, key))
            found += places(data[key])
    return found


def edited(data: Any, changes: list[Edit]) -> Any:
    """Return a copy of a document with these changes."""
    data = copy.deepcopy(data)
    for what, where, value in changes:
        there = places(data)
        if not there:
            break
        holder, key = there[where % len(there)]
        other, other_key = there[(where * 7 + 3) % len(there)]
        match what:
            case "replace":
                holder[key] = value
            case "delete":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[str(value)[:50]] = value
            case "add" | "double" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case "wrap":
                holder[key] = [copy.deepcopy(holder[key])]
            case "swap":
                holder[key], other[other_key] = (
                    copy.deepcopy(other[other_key]),
                    copy.deepcopy(holder[key]),
                )
    return data


def _document(path: Path, data: Any) -> object:
    return path.write_text(json.dumps(data), encoding="utf-8")


def _rows(path: Path, data: Any) -> object:
    lines = data if isinstance(data, list) else [data]
    return path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _first_rows() -> Any:
    lines = (valid() / "table.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:5]]


def _run(path: Path, data: Any) -> object:
    folder = path.parent / "run"
    shutil.copytree(valid() / "run", folder)
    return _document(folder / "run.json", data)


def _status(file: Path) -> object:
    from nas.runs.status import read_status

    return read_status(file.parent / "run").to_dict()


def _json(name: str) -> Any:
    return json.loads((valid() / name).read_text(encoding="utf-8"))


Reader = tuple[Callable[[], Any], Callable[[Path, Any], object], Callable[[Path], object]]
"""A valid document, what writes one, and what reads it."""

READERS: Mapping[str, Reader] = {
    "architecture": (
        lambda: _json("architecture.json"),
        _document,
        lambda file: nas.measure_cost(nas.load_architecture(file)),
    ),
    "table": (
        _first_rows,
        _rows,
        lambda file: read_table(file).architectures(tiny()),
    ),
    "latency": (
        lambda: _json("latency.json"),
        _document,
        lambda file: read_latencies(file).covers(tiny()),
    ),
    "run": (lambda: _json("run/run.json"), _run, _status),
}


def check_document(reader: str, changes: list[Edit]) -> None:
    base, write, read = READERS[reader]
    with tempfile.TemporaryDirectory() as folder:
        box = Box.make(Path(folder) / "box")
        file = box.given / "document.json"
        write(file, edited(base(), changes))
        assert meet(box, lambda: read(file)).faults(0, 2) == []


def check_toml(reader: str, changes: list[Edit]) -> None:
    """Spaces and budgets, as the parser gives them: it writes no TOML."""
    from nas.files import validate
    from nas.spaces.budget import _ADAPTER

    base = tomllib.loads((valid() / f"{reader}.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        box = Box.make(Path(folder) / "box")
        data = edited(base, changes)

        def read() -> object:
            if reader == "budget":
                return validate(_ADAPTER, data, "budget.toml")
            space = space_from_dict(data, "space.toml")
            return space.size, space.choices

        assert meet(box, read).faults(0, 2) == []


def check_bytes(kind: str, changes: list[tuple[int, bytes]], length: float) -> None:
    content = bytearray(CONTENTS[kind]())
    for where, new in changes:
        place = where % len(content)
        content[place : place + len(new)] = new
    del content[round(length * len(content)) :]
    with tempfile.TemporaryDirectory() as folder:
        box = Box.make(Path(folder) / "box")
        file = box.given / f"file.{kind}"
        file.write_bytes(content)
        assert meet(box, lambda: _read_bytes(kind, file, box)).faults(0, 2) == []


def _read_bytes(kind: str, file: Path, box: Box) -> object:
    if kind in ("safetensors", "pth"):
        architecture = nas.load_architecture(valid() / "architecture.json")
        return nas.load_weights(file, architecture)
    if kind == "tar.gz":
        expected = checksum(file.read_bytes())
        return import_accel_nasbench(file, box.out / "table.jsonl", expected)
    if kind == "parquet":
        return nas.data.load_images(file)
    with bombs_are_errors():
        return decode(file, str(file), resolution=8, channels=3, exact=False)


def _picture(format: str) -> Callable[[], bytes]:
    def made() -> bytes:
        stream = io.BytesIO()
        pixels = torch.randint(0, 256, (12, 9, 3), generator=torch.Generator().manual_seed(0))
        Image.fromarray(pixels.byte().numpy()).save(stream, format)
        return stream.getvalue()

    return made


CONTENTS: Mapping[str, Callable[[], bytes]] = {
    "safetensors": lambda: (valid() / "weights.safetensors").read_bytes(),
    "pth": lambda: (valid() / "weights.pth").read_bytes(),
    "tar.gz": lambda: (valid() / "archive.tar.gz").read_bytes(),
    "parquet": lambda: (valid() / "images.parquet").read_bytes(),
    **{
        name: _picture(format)
        for name, format in {
            "png": "PNG",
            "jpg": "JPEG",
            "gif": "GIF",
            "bmp": "BMP",
            "tif": "TIFF",
            "webp": "WEBP",
            "ppm": "PPM",
        }.items()
    },
}

changed = st.lists(
    st.tuples(
        st.integers(0, 1 << 16) | st.integers(0, 64),
        st.binary(min_size=1, max_size=4)
        | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7]),
    ),
    max_size=6,
)
lengths = st.just(1.0) | st.floats(0.02, 1)
quick = settings(
    max_examples=QUICK, deadline=None, suppress_health_check=list(HealthCheck), database=None,
    derandomize=True,
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@quick
@given(changes=edits)
def test_a_document_that_was_changed(reader: str, changes: list[Edit]) -> None:
    check_document(reader, changes)


@pytest.mark.parametrize("reader", ["space", "budget"])
@quick
@given(changes=edits)
def test_a_toml_document_that_was_changed(reader: str, changes: list[Edit]) -> None:
    check_toml(reader, changes)


@pytest.mark.parametrize("kind", CONTENTS)
@quick
@given(changes=changed, length=lengths)
def test_bytes_that_were_changed(
    kind: str, changes: list[tuple[int, bytes]], length: float
) -> None:
    check_bytes(kind, changes, length)


@pytest.mark.soak
def test_many_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """The same with many more examples, each of at most SECONDS; prints what came of them."""
    for reader in READERS:
        _many(check_document, reader, edits)
    for reader in ("space", "budget"):
        _many(check_toml, reader, edits)
    for kind in CONTENTS:
        _many(check_bytes, kind, changed, lengths)
    with capsys.disabled():
        print(f"\n{tally(MET)}")
    assert not [outcome for outcome in MET if outcome.seconds > SECONDS]


def _many(check: Callable[..., None], what: str, *of: st.SearchStrategy[Any]) -> None:
    @settings(quick, max_examples=LONG)
    @given(st.tuples(*of))
    def run(drawn: tuple[Any, ...]) -> None:
        check(what, *drawn)

    run()
