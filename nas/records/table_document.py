"""The document of a benchmark table's folder, ``table.json``; the rows are beside it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from typing_extensions import TypedDict

from nas.records.document import Document

_Flops = Annotated[int, Field(strict=True, ge=0)]


class TableIdentity(TypedDict):
    """What makes a table this one.

    Attributes:
        space: hash of the search space.
        data: fingerprint of the images.
        flops: the band that the networks are drawn from, both ends in it.
        networks: how many are drawn.
        training: how each is trained.
        seed: decides which networks are drawn, and how they are trained.
    """

    space: str
    data: str
    flops: Annotated[list[_Flops], Field(min_length=2, max_length=2)]
    networks: Annotated[int, Field(strict=True, ge=1)]
    training: dict[str, Any]
    seed: Annotated[int, Field(strict=True)]


class TableDocument(Document):
    """Random networks of a space, each trained alone.

    Attributes:
        space: name of the search space, or the path of its file.
        data: name of the images.
    """

    KIND: ClassVar[str] = "benchmark table"
    FILE: ClassVar[str] = "table.json"
    SCHEMA: ClassVar[str] = "nas-search-table/2"

    identity: TableIdentity
    space: str
    data: str
