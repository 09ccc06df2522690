"""Files in and out: read and validated, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import reprlib
import stat
import tomllib
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from nas.errors import InputError, Lost, one_line

T = TypeVar("T")

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Largest JSON file that is read: far above any real one, far below the memory."""

MAX_TOML_BYTES = 1024 * 1024
"""Largest TOML file: its parser takes a second a megabyte."""

MAX_HASHED_BYTES = 4 * 1024 * 1024 * 1024
"""Largest file that is hashed: what claims to be larger would be read for minutes."""

MAX_NESTING = 100
"""Deepest nesting that is read: what goes through the data recurses."""


FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why a disk, and not the place that was named, is at fault."""

_SHOWN = 60
"""So many characters of a wrong value an error message shows."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _SHOWN


def slug(name: str) -> str:
    """Return ``name`` as a name for files: letters, digits, ``.``, ``-`` and ``_``, 150 at most."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain)[:150].strip("-.") or "unnamed"


def file_size(path: Path, most: int) -> int:
    """Return the size of a regular file in bytes, links followed.

    Args:
        path: of the file.
        most: bytes that are accepted.

    Raises:
        InputError: there is none; it is a folder, a pipe or a device, which to read may never
            end; or it is larger.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, ValueError):  # ValueError: what cannot be a path
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {why(error)}") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path}: no such file")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: cannot be read: not a regular file")
    if found.st_size > most:
        raise InputError(f"{path}: larger than {most >> 20} MiB, refused")
    return found.st_size


@contextmanager
def opened(path: Path, most: int) -> Iterator[BufferedReader]:
    """Open a regular file of at most so many bytes to read it; see :func:`file_size`."""
    file_size(path, most)  # first, since opening a device may already do something
    try:
        # Not to wait for a writer, should it have become a pipe since.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise InputError(f"{path}: cannot be read: not a regular file")
            yield stream
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {why(error)}") from None


def read_bytes(path: Path, most: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of a regular file; raise :class:`InputError` where that cannot be."""
    with opened(path, most) as stream:
        return stream.read(os.fstat(stream.fileno()).st_size)


def sha256(path: Path, most: int = MAX_HASHED_BYTES) -> str:
    """Return the SHA-256 of a regular file's bytes, in hex; raise :class:`InputError` otherwise."""
    with opened(path, most) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def why(error: OSError) -> str:
    """Return the reason that the system gives."""
    return error.strerror or str(error)


def digest(data: Any) -> str:
    """Return the SHA-256 of plain data, in hex: the same in every process."""
    text = json.dumps(data, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a UTF-8 file; raise :class:`InputError` naming the file and the reason."""
    return decoded(read_bytes(path, most), str(path))


def decoded(content: bytes, source: str) -> str:
    """Return the text of UTF-8 bytes, lines ended by line feeds; raise :class:`InputError`."""
    try:
        text = content.decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: not UTF-8 text (byte {error.start})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, source: str) -> Any:
    """Return parsed JSON; duplicate keys, NaN and infinities are errors that name ``source``."""
    where = f"{source}: not JSON that can be read"

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise InputError(f"{source}: the key {_short(key)} occurs twice in one object")
            result[key] = value
        return result

    def no_constant(name: str) -> Any:
        raise InputError(f"{source}: {name} is not a valid JSON number")

    def finite(number: str) -> float:
        if math.isinf(float(number)):
            raise InputError(f"{where}: {one_line(number)[:_SHOWN]} is too large a number")
        return float(number)

    try:
        data = json.loads(
            text,
            object_pairs_hook=no_duplicates,
            parse_constant=no_constant,
            parse_float=finite,
        )
    except RecursionError:
        raise _too_deep(source) from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except InputError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{where}: {one_line(error)}") from None
    _check(data, source, halves="\\u" in text)
    return data


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return parsed TOML; raise :class:`InputError` that names ``source`` and shows the line."""
    if len(text) > MAX_TOML_BYTES:
        raise InputError(f"{source}: larger than {MAX_TOML_BYTES >> 20} MiB, refused")
    # The parser takes the square of the time for a dotted key.
    if any(part.count(".") > MAX_NESTING for part in re.split(r"[\[\]{}=,\n]", text)):
        raise _too_deep(source)
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise _too_deep(source) from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        line = f": {_short(text.split(chr(10))[int(at[1]) - 1].strip())}" if at else ""
        raise InputError(f"{source}: not TOML: {one_line(error)}{line}") from None
    except ValueError as error:
        raise InputError(f"{source}: not TOML that can be read: {one_line(error)}") from None
    _check(data, source, halves=False)
    return data


def _check(data: Any, source: str, *, halves: bool) -> None:
    """Refuse what is nested too deep; with ``halves``, text that holds half a surrogate pair."""
    level, depth = [data], 0
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
            if depth == MAX_NESTING and isinstance(value, dict | list):
                raise _too_deep(source)
            if halves:
                _refuse_halves(value, source)
        level, depth = below, depth + 1


def _refuse_halves(value: Any, source: str) -> None:
    texts = value.keys() if isinstance(value, dict) else [value] if isinstance(value, str) else ()
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{source}: {_short(text)} is not valid text: it contains an unpaired surrogate"
            ) from None


def _too_deep(source: str) -> InputError:
    return InputError(f"{source}: nested more than {MAX_NESTING} deep, refused")


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
    key = one_line("".join(parts).removeprefix("."))[:200] or "value"
    kind = fault["type"]
    message = fault["msg"].removeprefix("Value error, ")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: unknown key"
    if kind in ("missing", "missing_argument"):
        return f"{key}: missing key"
    message = f"{message[0].lower()}{message[1:]}"
    return one_line(f"{key}: {_short(fault['input'])} is not accepted: {message}")


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
        InputError: the place cannot be written (:class:`~nas.errors.Lost`: it is full, or broken);
            what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # of a process that was killed, and had the same number
        try:
            with temporary.open("xb") as stream:  # never what a link of that name points to
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
        kind = Lost if error.errno in FAULTS else InputError
        raise kind(f"{path}: cannot be written: {why(error)}") from None


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    write_text(path, to_json(data))


def _short(value: object) -> str:
    """Return a value as an error message shows it, however long or deep it is."""
    try:
        text = _REPR.repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a value too long to show"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
