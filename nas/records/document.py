"""The document of a folder of results: the JSON file that says what the folder holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter

from nas.errors import InputError, one_line
from nas.files import parse_json, read_text, sha256, to_json, validate, write_json

SEAL = "sha256"
"""The last key of a finished document: the SHA-256 of its text without that key."""


_LAST = ("versions", "machine", "git_commit", "files")
"""Keys that come after those of the kind."""


class Document(BaseModel):
    """What a folder of results says of itself; a subclass for each kind of folder.

    The same model is written by the command that makes the folder, and read by whoever resumes,
    shows or verifies it. The file begins with ``schema``; that of a finished folder ends with the
    hashes of its files and with a :data:`SEAL`.

    Attributes:
        status: ``running`` until everything is written.
        identity: what makes these results what they are; a folder of another identity is refused.
        versions: of this package, Python and the packages below it, when the document was written.
        machine: where that was.
        git_commit: of the checkout that the code is from; None: it is an installation.
        files: SHA-256 of each file of a finished folder, by its path in the folder.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    KIND: ClassVar[str]
    """What such a folder holds, in a word or two."""
    FILE: ClassVar[str]
    """Name of the document in its folder."""
    SCHEMA: ClassVar[str]
    """Name and number of the format, ``nas-search-run/3``."""
    PRECEDED_BY: ClassVar[frozenset[str]] = frozenset()
    """Files that are written before the document."""

    status: Literal["running", "finished"] = "running"
    identity: Mapping[str, Any]
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    git_commit: str | None
    files: dict[str, str] = {}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the document of a folder.

        Raises:
            InputError: there is none, it is of another schema, or a key or a value of it is wrong.
        """
        path = folder / cls.FILE
        return cls.from_dict(parse_json(read_text(path), str(path)), str(path))

    @classmethod
    def from_dict(cls, data: Any, source: str) -> Self:
        """Return a document from parsed JSON; raise :class:`InputError` that names ``source``."""
        check_schema(data, [cls.SCHEMA], source)
        content = {key: value for key, value in data.items() if key not in ("schema", SEAL)}
        return validate(TypeAdapter(cls), content, source)

    def to_dict(self) -> dict[str, Any]:
        """Return the document as its file holds it; that of a finished folder is sealed."""
        content = self.model_dump(mode="json", by_alias=True)
        last = {key: content.pop(key) for key in _LAST}
        document = {"schema": self.SCHEMA, **content, **last}
        if self.status == "finished":
            return sealed(document)
        del document["files"]
        return document

    def updated(self, **values: Any) -> Self:
        """Return the document with other values for some of its keys."""
        return type(self)(**{**dict(self), **values})

    def write(self, folder: Path) -> None:
        """Write the document into its folder, whole or not at all."""
        write_json(folder / self.FILE, self.to_dict())


def check_schema(data: Any, accepted: Collection[str], source: str) -> str:
    """Return the schema of parsed JSON.

    Raises:
        InputError: it is none of those that are accepted; names ``source``.
    """
    found = data.get("schema") if isinstance(data, Mapping) else None
    if isinstance(found, str) and found in accepted:
        return found
    for schema in accepted:
        name = schema.partition("/")[0]
        if isinstance(found, str) and found.partition("/")[0] == name:
            raise InputError(
                f"{source}: written by another version of nas-search: its schema is "
                f"{one_line(found)[:60]!r}, accepted is {schema!r}; run the command again with "
                "another --out"
            )
    names = " or ".join(accepted)
    if not isinstance(data, Mapping):
        raise InputError(f"{source}: not accepted: a JSON object with the schema {names}")
    if "schema" not in data:
        raise InputError(f"{source}: schema: missing key: {names}")
    raise InputError(f"{source}: schema: {one_line(str(found))[:60]!r} is not accepted: {names}")


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finished document with its :data:`SEAL`, by which any change of it is found."""
    rest = {key: value for key, value in document.items() if key != SEAL}
    return {**rest, SEAL: hashlib.sha256(to_json(rest).encode()).hexdigest()}


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each of these files that is there, by path in the folder."""
    return {name: sha256(folder / name) for name in names if os.path.isfile(folder / name)}
