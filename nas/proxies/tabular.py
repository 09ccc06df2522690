"""Proxy ``table:FILE``: looks up accuracies in a benchmark table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from nas.accuracy import Accuracy
from nas.networks.architecture import Architecture
from nas.proxies.benchmark_table import (
    Identity,
    Table,
    identity,
    read_table,
    spread_of_repeats,
)
from nas.proxies.protocol import ProxyCapabilities, Report
from nas.proxies.registration import ProxyFactory
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace


class TableProxy:
    """Looks up each architecture in a benchmark table; one that the table lacks is a failed trial.

    An architecture with several rows has the mean of their accuracies. The standard error comes
    from the pooled standard deviation of such repeats. In a table without repeats it is unknown,
    and given as 0.

    Args:
        table: the table; :meth:`prepare` is given the search space of its rows.
    """

    name = "table"
    capabilities = ProxyCapabilities(partial=True)
    held_out = ""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._space: SearchSpace | None = None
        self._found: dict[Identity, list[float]] = {}
        self._spread: float | None = None

    def describe(self) -> dict[str, Any]:
        """Return the file's name, hash and number of rows."""
        return {
            "file": self._table.path.name,
            "sha256": self._table.sha256,
            "rows": len(self._table.rows),
        }

    def in_sample(self, table_sha256: str, arch: Architecture) -> bool:
        """Return whether that table is this one."""
        return table_sha256 == self._table.sha256

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Read the rows as choices of ``space``.

        Raises:
            InputError: a row is not of this space; names the line.
        """
        if space != self._space:
            self._found = self._table.measurements(space)
            self._spread = spread_of_repeats(self._found)
            self._space = space

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return the accuracy that the table has.

        Raises:
            LookupError: the table lacks this architecture.
        """
        values = None
        if self._space is not None:
            values = self._found.get(identity(arch, self._space))
        if values is None:
            raise LookupError(f"table {self._table.path.name!r} has no row of {arch.name!r}")
        spread = self._spread or 0.0
        return Accuracy(
            mean=math.fsum(values) / len(values),
            standard_error=spread / math.sqrt(len(values)),
            n=len(values),
            metric=f"accuracy in the table {self._table.path.name}",
            proxy=self.name,
            data=self._table.path.name,
        )


TABLE = ProxyFactory(lambda setup: TableProxy(read_table(setup.argument)), TableProxy.capabilities)
