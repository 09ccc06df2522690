"""The folder of an export: it is written whole, with ``export.json``, or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from nas.errors import InputError, one_line
from nas.files import parse_json, read_text, sha256, validate, write_json

EXPORT_FILE = "export.json"
SCHEMA = "nas-search-export/2"
_BYTECODE = "__pycache__"
"""What importing an exported file leaves beside it; it may be replaced."""


class _Before(BaseModel):
    """The part of ``export.json`` that tells which export the files in a folder belong to."""

    schema_: Annotated[Literal["nas-search-export/2"], Field(alias="schema")]
    command: dict[str, Any]
    files: dict[str, str]


_BEFORE: TypeAdapter[_Before] = TypeAdapter(_Before)


@contextmanager
def export_folder(folder: Path, command: dict[str, Any]) -> Iterator[Path]:
    """Yield a temporary folder to write files to; it becomes ``folder`` if the block succeeds.

    Args:
        folder: does not exist yet, is empty, or is of an earlier export by the same command.
        command: the inputs that determine an export; files of another one are never replaced.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    try:
        folder = folder.resolve()
        _recover(folder)
        _check(folder, command)
    except (OSError, ValueError, RuntimeError) as error:  # a link to itself, a name too long
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder}: cannot be written: {one_line(error)}") from None
    place = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    made = [path for path in folder.parents if not os.path.lexists(path)]
    try:
        place.mkdir(parents=True)
        yield place
        _move(place, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if not folder.exists():
            with suppress(OSError):
                for path in made:
                    path.rmdir()


def finish(place: Path, command: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Write ``export.json`` with the hashes of all other files; return its content."""
    files = {path.name: sha256(path) for path in sorted(place.iterdir())}
    whole = {"schema": SCHEMA, "command": command, **document, "files": files}
    write_json(place / EXPORT_FILE, whole)
    return whole


def _recover(folder: Path) -> None:
    """Remove what killed processes left beside a folder, and restore what one had moved aside."""
    left = re.compile(rf"\.{re.escape(folder.name)}\.([1-9][0-9]*)\.(tmp|old)")
    if not folder.parent.is_dir():
        return
    for path in sorted(folder.parent.iterdir()):
        found = left.fullmatch(path.name)
        if found is None or path.is_symlink() or _alive(int(found[1])):
            continue
        if found[2] == "old" and not os.path.lexists(folder):
            os.rename(path, folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it runs, as another user
        return True
    return pid != os.getpid()


def _check(folder: Path, command: dict[str, Any]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder with --out")
    found = sorted(path.name for path in folder.iterdir() if path.name != _BYTECODE)
    if not found:
        return
    path = folder / EXPORT_FILE
    if not os.path.lexists(path):
        raise InputError(f"{folder}: holds {found[0]!r}; name an empty folder with --out")
    before = validate(_BEFORE, parse_json(read_text(path), str(path)), str(path))
    differing = [key for key in command if before.command.get(key) != command[key]]
    if differing:
        raise InputError(
            f"{folder}: holds another export: {', '.join(differing)} differ; "
            "name another folder with --out"
        )
    for name in found:
        if name == EXPORT_FILE:
            continue
        if name not in before.files:
            raise InputError(f"{folder}: {name!r} is not of this export; name another folder")
        if sha256(folder / name) != before.files[name]:
            raise InputError(f"{folder}: {name!r} was changed since; name another folder")


def _move(place: Path, folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        old = place.with_suffix(".old")
        os.rename(folder, old)
        try:
            os.rename(place, folder)
        except BaseException:
            os.rename(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(place, folder)
