"""Commands that list what is available."""

from __future__ import annotations

from nas.cli.parameters import Json


def spaces(json: Json = False) -> None:
    """List the search spaces that are included."""
    from nas.cli import listings

    listings.spaces(json)


def budgets(json: Json = False) -> None:
    """List the budgets that are included."""
    from nas.cli import listings

    listings.budgets(json)


def proxies(json: Json = False) -> None:
    """List the proxies, which measure accuracy, built in and installed."""
    from nas.cli import listings

    listings.proxies(json)


def samplers(json: Json = False) -> None:
    """List the samplers, which propose networks, built in and installed."""
    from nas.cli import listings

    listings.samplers(json)
