"""What a way of measuring accuracy must offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from nas.accuracy import Accuracy
from nas.networks.architecture import Architecture
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace

Report = Callable[[int, float], bool]
"""``report(step, value)``, higher values better: True says that it is time to stop early."""


@runtime_checkable
class Proxy(Protocol):
    """A way of measuring accuracy that costs less than full training. Users write their own.

    A proxy may also have:

    * ``rank_by = "loss"``: rank by exp(-loss), not by the mean accuracy;
    * ``partial = True``: knows part of the space only, so that many failures in a row are no reason
      to end a search;
    * ``describe() -> dict``: its settings, plain data; a run with other settings is another run;
    * ``corrected(arch) -> Accuracy`` and ``nearest(arch) -> list``: what is to be expected of a
      network that was chosen as the best of many, and what was really measured near it;
    * ``in_sample(table_sha256, arch) -> bool``: whether what the benchmark table of that hash says
      of this network went into the proxy; and ``held_out: str``: what it reached where that was
      not so.

    To run in parallel processes (``jobs > 1``) it must be picklable.
    """

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Do once, before the first evaluation, what all evaluations share."""
        ...

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return the accuracy of one architecture; raise any exception to fail the trial.

        Ask ``report`` after each step, and return what there is when it says so.
        """
        ...


def description(proxy: Proxy) -> dict[str, Any]:
    """Return a proxy's name and settings as plain data."""
    name = getattr(proxy, "name", type(proxy).__name__)
    describe = getattr(proxy, "describe", None)
    return {"name": name, **(describe() if describe is not None else {})}
