"""Files in and out: read and validated, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import reprlib
import tomllib
import unicodedata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from nas.errors import InputError

T = TypeVar("T")

MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Largest JSON or TOML file that is read: far above any real one, far below the memory."""

MAX_NESTING = 100
"""Deepest nesting of brackets that is read: parsers recurse, and a bomb must not overflow them."""


_SHOWN = 60
"""So many characters of a wrong value an error message shows."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _SHOWN


def slug(name: str) -> str:
    """Return ``name`` as a name for files: letters, digits, ``.``, ``-`` and ``_``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "unnamed"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(data: Any) -> str:
    """Return the SHA-256 of plain data, in hex: the same in every process."""
    text = json.dumps(data, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; raise :class:`InputError` naming the file and the reason."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(f"{path}: larger than {MAX_TEXT_BYTES >> 20} MiB, refused")
        return path.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def parse_json(text: str, source: str) -> Any:
    """Return parsed JSON; duplicate keys, NaN and infinities are errors that name ``source``."""
    where = f"{source}: not JSON that can be read"

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise InputError(f"{source}: the key {_short(key)} stands twice in one object")
            result[key] = value
        return result

    def no_constant(name: str) -> Any:
        raise InputError(f"{source}: {name} is not a number that JSON knows")

    def finite(number: str) -> float:
        if math.isinf(float(number)):
            raise InputError(f"{where}: {_one_line(number)[:_SHOWN]} is too large a number")
        return float(number)

    _refuse_deep_nesting(text, source)
    try:
        return json.loads(
            text,
            object_pairs_hook=no_duplicates,
            parse_constant=no_constant,
            parse_float=finite,
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except InputError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{where}: {_one_line(error)}") from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return parsed TOML; raise :class:`InputError` that names ``source`` and shows the line."""
    _refuse_deep_nesting(text, source)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        line = f": {_short(text.split(chr(10))[int(at[1]) - 1].strip())}" if at else ""
        raise InputError(f"{source}: not TOML: {_one_line(error)}{line}") from None
    except ValueError as error:
        raise InputError(f"{source}: not TOML that can be read: {_one_line(error)}") from None


def validate(adapter: TypeAdapter[T], data: Any, source: str) -> T:
    """Return ``data`` as the adapter's type; the first fault becomes a one-line InputError."""
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise InputError(f"{source}: {describe(error)}") from None


def describe(error: ValidationError) -> str:
    """Return the first fault of a validation as ``key: value is not accepted: why``.

    Entries of a list are counted from 1, as everywhere in the project: ``stage1.kernel``.
    """
    fault = error.errors(include_url=False)[0]
    loc = fault["loc"]
    if loc and isinstance(loc[-1], int) and not isinstance(fault["input"], dict | list):
        loc = loc[:-1]  # one value of a list: the message shows it
    parts = (str(part + 1) if isinstance(part, int) else f".{part}" for part in loc)
    key = _one_line("".join(parts).removeprefix("."))[:200] or "value"
    kind = fault["type"]
    message = fault["msg"].removeprefix("Value error, ")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: unknown key"
    if kind in ("missing", "missing_argument"):
        return f"{key}: missing key"
    message = f"{message[0].lower()}{message[1:]}"
    return _one_line(f"{key}: {_short(fault['input'])} is not accepted: {message}")


def to_json(data: Any) -> str:
    """Return the project's one way of writing JSON: two spaces, keys in the given order."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; see :func:`write_bytes`.

    Raises:
        InputError: the place cannot be written or is full, or the text has no UTF-8.
    """
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: cannot be written: {error.reason}") from None
    write_bytes(path, content)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary file beside it, fsync, rename, fsync.

    Raises:
        InputError: the place cannot be written or is full; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the rename itself must survive a power cut
            finally:
                os.close(folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    write_text(path, to_json(data))


def _refuse_deep_nesting(text: str, source: str) -> None:
    depth = deepest = 0
    for match in re.finditer(r"[\[{]|[\]}]", text):
        depth += 1 if match[0] in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        raise InputError(f"{source}: nested more than {MAX_NESTING} deep, refused")


def _short(value: object) -> str:
    """Return a value as an error message shows it, however long or deep it is."""
    try:
        text = _REPR.repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a value too long to show"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
