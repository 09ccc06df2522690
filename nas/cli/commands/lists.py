"""Commands that say what there is."""

from __future__ import annotations

from nas.cli.parameters import Json


def spaces(json: Json = False) -> None:
    """List the search spaces, a line each."""
    from nas.cli import listings

    listings.spaces(json)


def budgets(json: Json = False) -> None:
    """List the budgets, a line each."""
    from nas.cli import listings

    listings.budgets(json)


def proxies(json: Json = False) -> None:
    """List the ways of measuring accuracy, a line each."""
    from nas.cli import listings

    listings.proxies(json)
