"""The document of a fidelity measurement's folder, ``fidelity.json``."""

from __future__ import annotations

from typing import Any, ClassVar

from nas.proxies.short_training import TrainingSettings
from nas.records.document import Document
from nas.training.supernet_trainer import SupernetSettings


class FidelityDocument(Document):
    """How well a proxy ranks networks whose accuracy is known.

    Attributes:
        training: how the proxy trains each network; None: it trains none.
        supernet: how the proxy's shared weights are trained; None: it has none.
        budget: limits that a supernet is prepared for; for others it is another supernet.
        result: what was measured; None until the measurement is finished.
    """

    KIND: ClassVar[str] = "fidelity of a proxy"
    FILE: ClassVar[str] = "fidelity.json"
    SCHEMA: ClassVar[str] = "nas-search-fidelity/2"

    training: TrainingSettings | None
    supernet: SupernetSettings | None
    budget: dict[str, int | float] | None
    result: dict[str, Any] | None = None
