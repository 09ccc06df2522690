"""Files in and out: what cannot be read is one line, what is written is whole or not there."""

import errno
import json
import math
import os
import string
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as validated

from nas.errors import InputError
from nas.files import (
    MAX_TEXT_BYTES,
    parse_json,
    parse_toml,
    read_text,
    sha256,
    slug,
    to_json,
    validate,
    write_json,
    write_text,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def message(error: pytest.ExceptionInfo[InputError]) -> str:
    """The message, which is one line and not endless."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError) as error:
            read_text(path)
        assert message(error) == f"{path}: no such file"


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "picture.toml"
    path.write_bytes(b"abc\xff\xd8")
    with pytest.raises(InputError) as error:
        read_text(path)
    assert message(error) == f"{path}: not UTF-8 text (byte 3)"


def test_a_file_too_large_to_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_TEXT_BYTES + 1)
    with pytest.raises(InputError, match="larger than 16 MiB"):
        read_text(path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.json"
    path.write_text("{}", encoding="utf-8")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError) as error:
        read_text(path)
    assert message(error) == f"{path}: cannot be read: Permission denied"


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "windows.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    assert parse_json(read_text(path), "windows.json") == {"a": 1}


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


@given(plain)
def test_json_comes_back_as_it_was(data: Any) -> None:
    assert parse_json(to_json(data), "x.json") == data


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON: Expecting value (line 1, column 1)"),
        ('{"a": 1,}', "not JSON: "),
        ('{"a": 1}\n}', "(line 2, column 1)"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice in one object"),
        ('[{"a": {"b": 1, "b": 1}}]', "the key 'b' occurs twice in one object"),
        ('{"a": NaN}', "NaN is not a valid JSON number"),
        ("[-Infinity]", "-Infinity is not a valid JSON number"),
        ("1e999", "1e999 is too large a number"),
        ("-1" + "0" * 300 + ".5e999", "is too large a number"),
        ("1" * 5000, "not JSON that can be read"),
        ("[" * 100_000, "nested more than 100 deep"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 100 deep"),
        ('{"a":' * 100_000, "nested more than 100 deep"),
        ('{"' + "k" * 10_000 + '": 1, "' + "k" * 10_000 + '": 1}', "occurs twice"),
        ("\x00", "not JSON"),
        ('{"a": "' + "]" * 200_000 + '", "b": ' + "[" * 100_000, "nested more than 100 deep"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        ('{"a": "\\ud83d"}', "unpaired surrogate"),
        ('{"\\udc00": 1}', "unpaired surrogate"),
    ],
)
def test_what_is_not_json(text: str, why: str) -> None:
    with pytest.raises(InputError) as error:
        parse_json(text, "dir/x.json")
    assert message(error).startswith("dir/x.json: ")
    assert why in message(error)


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\\u', max_size=30) | st.text())
def test_any_text_is_json_or_an_input_error(text: str) -> None:
    try:
        data = parse_json(text, "x.json")
    except InputError as error:
        data = error
    if isinstance(data, InputError):
        assert str(data).startswith("x.json: ")
        assert "\n" not in str(data)
    else:
        assert parse_json(to_json(data), "x.json") == data


def test_as_deep_as_allowed() -> None:
    assert parse_json("[" * 100 + "]" * 100, "x.json")


# ── TOML ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = 1\nkernel = 3\nkernel = 5\n", "line 3"),
        ("a = 1\nkernel = 3\nkernel = 5\n", "'kernel = 5'"),
        ("a =", "not TOML"),
        ("a = 01", "'a = 01'"),
        ("a = [1", "not TOML"),
        ("[a]\n[a]\n", "'[a]'"),
        ("a = 1\n[a.b]\n", "'[a.b]'"),
        ("a = " + "9" * 5000, "not TOML that can be read"),
        ("a = " + "[" * 100_000, "nested more than 100 deep"),
        ("a = 2025-13-45", "not TOML"),
        ("x" * 10_000, "not TOML"),
    ],
)
def test_what_is_not_toml(text: str, why: str) -> None:
    with pytest.raises(InputError) as error:
        parse_toml(text, "dir/x.toml")
    assert message(error).startswith("dir/x.toml: ")
    assert why in message(error)


@given(st.text(alphabet="[]{}=,.\"'#abc0123456789x_-:TZ \n\\u", max_size=40) | st.text())
def test_any_text_is_toml_or_an_input_error(text: str) -> None:
    data: Any
    try:
        data = parse_toml(text, "x.toml")
    except InputError as error:
        data = error
    if isinstance(data, InputError):
        assert str(data).startswith("x.toml: ")
        assert "\n" not in str(data)
    else:
        assert isinstance(data, dict)


# ── Validation ───────────────────────────────────────────────────────────────────────────────────


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Inner:
    number: int = Field(strict=True, ge=1)


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Outer:
    name: str
    entry: list[Inner]
    values: tuple[int, ...] = ()


ADAPTER = TypeAdapter(Outer)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "a"}, "entry: missing key"),
        ({"name": "a", "entry": [], "x": 1}, "x: unknown key"),
        ({"name": "a", "entry": [], "two\nlines": 1}, "two lines: unknown key"),
        ({"name": "a", "entry": [{"number": 1}, {}]}, "entry2.number: missing key"),
        ({"name": "a", "entry": [{"number": 1, "y": 1}]}, "entry1.y: unknown key"),
        (
            {"name": "a", "entry": [{"number": 0}]},
            "entry1.number: 0 is not accepted: input should be greater than or equal to 1",
        ),
        ({"name": "a", "entry": [{"number": True}]}, "entry1.number: True is not accepted: "),
        ({"name": "a", "entry": [3]}, "entry: 3 is not accepted: "),
        ({"name": "a", "entry": [[3]]}, "entry1: [3] is not accepted: "),
        ({"name": "a", "entry": [], "values": [1, "x"]}, "values: 'x' is not accepted: "),
        ({"name": 5, "entry": []}, "name: 5 is not accepted: input should be a valid string"),
        ([], "value: [] is not accepted: "),
        (None, "value: None is not accepted: "),
        ({"name": "a", "entry": "b" * 10_000}, "..."),
        ({"name": 10**10_000, "entry": []}, "name: a value too long to show is not accepted"),
        ({"name": "a", "entry": [], "k" * 10_000: 1}, "kkk: unknown key"),
    ],
)
def test_faults_name_the_file_the_key_and_the_value(data: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        validate(ADAPTER, data, "dir/x.json")
    assert message(error).startswith("dir/x.json: ")
    assert said in message(error)


def test_a_bomb_of_nested_values_is_shown_short() -> None:
    bomb: Any = 1
    for _ in range(sys.getrecursionlimit() * 3):
        bomb = {"a": bomb}
    with pytest.raises(InputError, match=r"name: \{'a': \{'a'"):
        validate(ADAPTER, {"name": bomb, "entry": []}, "x.json")
    with pytest.raises(InputError, match="nested more than 100 deep"):
        parse_toml("name" + ".a" * 5000 + " = 1\nentry = []", "x.toml")


def test_valid_data_becomes_the_type() -> None:
    outer = validate(ADAPTER, {"name": "a", "entry": [{"number": 2}], "values": [3]}, "x.json")
    assert outer == Outer(name="a", entry=[Inner(number=2)], values=(3,))


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "α.json"
    write_json(path, {"β": [1, 2.5, None]})
    assert path.read_bytes() == '{\n  "β": [\n    1,\n    2.5,\n    null\n  ]\n}\n'.encode()
    write_text(path, "second\r\n")
    assert path.read_bytes() == b"second\r\n"
    assert [file.name for file in path.parent.iterdir()] == ["α.json"]


@dataclass
class FullDisk:
    """What the system says where a disk is full."""

    calls: int = 0

    def __call__(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("old", ["old content\n", None])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, old: str | None
) -> None:
    path = tmp_path / "b0.json"
    if old is not None:
        path.write_text(old, encoding="utf-8")
    full = FullDisk()
    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError) as error:
        write_text(path, "new content\n" * 1000)
    assert message(error) == f"{path}: cannot be written: No space left on device"
    assert full.calls == 1
    left = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert left == ({} if old is None else {"b0.json": old})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is full")
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b0.json"
    path.write_text("old", encoding="utf-8")
    real = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, *args, **kwargs: (
            real(self, *args, **kwargs).close() or real(Path("/dev/full"), "wb")
        ),
    )
    with pytest.raises(InputError, match=r"b0\.json: cannot be written: No space left on device"):
        write_text(path, "new")
    monkeypatch.undo()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"b0.json": "old"}


def test_an_interrupted_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b0.json"
    path.write_text("old", encoding="utf-8")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"b0.json": "old"}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    for path in (file / "b0.json", tmp_path / ("n" * 300), tmp_path):
        with pytest.raises(InputError) as error:
            write_text(path, "new")
        assert str(error.value).startswith(f"{path}: cannot be written: ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_text_that_is_not_unicode_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: surrogates not allowed"):
        write_json(tmp_path / "b0.json", {"name": "\ud800"})
    assert list(tmp_path.iterdir()) == []


def test_no_json_of_what_json_does_not_know(tmp_path: Path) -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "b0.json", {"mean": value})
    assert list(tmp_path.iterdir()) == []


# ── Names and hashes ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EfficientNet B0", "EfficientNet-B0"),
        ("400M-flops+5.5M-params", "400M-flops-5.5M-params"),
        ("../../etc/passwd", "etc-passwd"),
        ("Größe α", "Groe"),
        ("…", "unnamed"),
        ("", "unnamed"),
        (".hidden", "hidden"),
    ],
)
def test_slug(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text())
def test_a_slug_is_a_safe_name(name: str) -> None:
    text = slug(name)
    assert text
    assert slug(text) == text
    assert not set(text) - set(string.ascii_letters + string.digits + "._-")
    assert not text.startswith((".", "-"))


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_is_written_one_way() -> None:
    assert to_json({"b": 1, "a": [1.0]}) == json.dumps({"b": 1, "a": [1.0]}, indent=2) + "\n"
