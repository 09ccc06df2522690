"""Commands that list what is available: search spaces, budgets, proxies and samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from nas.cli.console import escape, print_json, print_table
from nas.cli.parameters import Json
from nas.spaces.budget import read_budget
from nas.spaces.registry import load_space, shipped

if TYPE_CHECKING:
    from nas.plugins import Registry


def spaces(json: Json = False) -> None:
    """List the search spaces that are included."""
    loaded = [(name, load_space(name)) for name in shipped("search_spaces")]
    if json:
        print_json(
            [
                {
                    "name": name,
                    "size": space.size,
                    "resolution": space.resolution,
                    "source": space.source,
                }
                for name, space in loaded
            ]
        )
        return
    _print([(name, f"{s.size:.2g} networks", f"{s.resolution} px", s.source) for name, s in loaded])


def budgets(json: Json = False) -> None:
    """List the budgets that are included."""
    loaded = [read_budget(path) for path in shipped("budgets").values()]
    if json:
        print_json(
            [{"name": b.name, "limits": b.limits, "description": b.description} for b in loaded]
        )
        return
    _print([(b.name, str(b), b.description) for b in loaded])


def proxies(json: Json = False) -> None:
    """List the proxies, which measure accuracy, built in and installed."""
    from nas.proxies.registry import PROXIES

    _registered(PROXIES, json)


def samplers(json: Json = False) -> None:
    """List the samplers, which propose networks, built in and installed."""
    from nas.strategies.samplers import SAMPLERS

    _registered(SAMPLERS, json)


def _registered(registry: Registry, json: bool) -> None:
    """Print the names of a registry, the built-in ones first."""
    registrations = [*registry.built_in, *registry.installed()]
    if json:
        print_json(
            [
                {
                    "name": one.usage,
                    "description": one.help,
                    "distribution": one.distribution,
                    "version": one.version,
                }
                for one in registrations
            ]
        )
        return
    _print([(one.usage, one.help) for one in registrations])


def _print(rows: list[tuple[str, ...]]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for index in range(len(rows[0])):
        # Names and numbers stay whole; the sentence beside them takes as many lines as it needs.
        table.add_column(no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(table)
