"""The document of a reproduction's folder, its ``run.json``; the results are beside it."""

from __future__ import annotations

from typing import ClassVar

from nas.records.document import Document


class ReproductionDocument(Document):
    """A reproduction of EfficientNet-B0.

    Attributes:
        jobs: parallel processes.
        seconds: wall time of its parts.
    """

    KIND: ClassVar[str] = "reproduction"
    FILE: ClassVar[str] = "run.json"
    SCHEMA: ClassVar[str] = "nas-search-discovery-run/2"

    jobs: int
    seconds: dict[str, float]
