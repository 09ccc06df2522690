"""Architecture files: a network with its cost, its accuracy and where it came from."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from nas.accuracy import Accuracy
from nas.errors import InputError
from nas.files import parse_json, read_text, validate, write_json
from nas.networks.architecture import Architecture, within_reach
from nas.networks.cost import Cost, measure_cost

SCHEMA = "nas-search-architecture/1"

SCHEMA_PADDED = "nas-search-architecture/2"
"""Of networks whose padding is not symmetric: earlier versions must not read them as if it were."""

_INTRO = "An architecture of nas-search: complete, so that the network can be built from it alone."


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(extra="forbid", allow_inf_nan=False, title=SCHEMA_PADDED),
)
class _ArchitectureFile(Architecture):
    """What stands in the file beside the architecture; only checked here, then taken apart."""

    schema: Literal["nas-search-architecture/1", "nas-search-architecture/2"] = Field(...)
    cost: Cost = Field(...)
    accuracy: Accuracy | None = Field(...)
    provenance: dict[str, Any] = Field(...)


_ADAPTER: TypeAdapter[_ArchitectureFile] = TypeAdapter(_ArchitectureFile)


@dataclass(frozen=True)
class ArchitectureRecord:
    """What an architecture file holds."""

    architecture: Architecture
    cost: Cost
    accuracy: Accuracy | None
    provenance: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file, in its order; the same record, the same bytes."""
        return {
            "schema": SCHEMA if self.architecture.padding == "symmetric" else SCHEMA_PADDED,
            **self.architecture.to_dict(),
            "cost": self.cost.to_dict(),
            "accuracy": None if self.accuracy is None else self.accuracy.to_dict(),
            "provenance": self.provenance,
        }


def record_from_dict(data: Any, source: str) -> ArchitectureRecord:
    """Return a validated record; raise :class:`nas.errors.InputError` that names the fault."""
    file = validate(_ADAPTER, data, source)
    if (file.schema == SCHEMA_PADDED) != (file.padding != "symmetric"):
        raise InputError(
            f"{source}: padding: {file.padding!r} is not accepted in {file.schema}: symmetric in "
            f"{SCHEMA}, same in {SCHEMA_PADDED}"
        )
    values = {field.name: getattr(file, field.name) for field in fields(Architecture)}
    architecture = within_reach(Architecture(**values), source)
    return ArchitectureRecord(architecture, file.cost, file.accuracy, file.provenance)


def read_record(path: Path) -> ArchitectureRecord:
    """Return the record of an architecture file.

    Raises:
        InputError: the file cannot be read, or a key is missing, unknown or has a wrong value.
    """
    return record_from_dict(parse_json(read_text(path), str(path)), str(path))


def save_architecture(
    architecture: Architecture,
    path: Path | str,
    *,
    accuracy: Accuracy | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write an architecture file, whole or not at all; its cost is measured.

    Raises:
        InputError: the file cannot be written.
    """
    cost = measure_cost(architecture)
    write_record(ArchitectureRecord(architecture, cost, accuracy, provenance or {}), Path(path))


def write_record(record: ArchitectureRecord, path: Path) -> None:
    """Write a record as an architecture file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    write_json(path, record.to_dict())


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of architecture files: ``architecture.schema.json`` beside this."""
    schema = _ADAPTER.json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": SCHEMA_PADDED,
        "description": _INTRO,
    }
