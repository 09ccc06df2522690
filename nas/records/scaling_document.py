"""The document of the evidence for compound scaling, its ``run.json``."""

from __future__ import annotations

from typing import ClassVar

from nas.records.document import Document


class ScalingDocument(Document):
    """The evidence for compound scaling.

    Attributes:
        seconds: wall time.
    """

    KIND: ClassVar[str] = "evidence for compound scaling"
    FILE: ClassVar[str] = "run.json"
    SCHEMA: ClassVar[str] = "nas-search-scaling-run/1"

    seconds: float
