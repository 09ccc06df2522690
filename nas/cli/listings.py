"""What there is: search spaces, budgets, proxies, a line each."""

from __future__ import annotations

from rich.table import Table

from nas.cli.console import escape, print_json, print_table
from nas.spaces.budget import read_budget
from nas.spaces.registry import load_space, shipped


def spaces(json: bool) -> None:
    """Print the search spaces."""
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


def budgets(json: bool) -> None:
    """Print the budgets."""
    loaded = [read_budget(path) for path in shipped("budgets").values()]
    if json:
        print_json(
            [{"name": b.name, "limits": b.limits, "description": b.description} for b in loaded]
        )
        return
    _print([(b.name, str(b), b.description) for b in loaded])


def proxies(json: bool) -> None:
    """Print the proxies."""
    from nas.proxies.registry import PROXIES

    if json:
        print_json([{"name": name, "description": text} for name, text in PROXIES.items()])
        return
    _print(list(PROXIES.items()))


def _print(rows: list[tuple[str, ...]]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for index in range(len(rows[0])):
        # Names and numbers stay whole; the sentence beside them takes as many lines as it needs.
        table.add_column(no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(table)
