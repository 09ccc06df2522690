"""How the help pages are laid out: the panels that options and commands are grouped in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

BUDGET = "Budget"
SEARCH = "What to search"
NETWORK = "Networks"
TRAINING = "Training"
ACCURACY = "How accuracy is measured"
MACHINE = "Time and machine"
OUTPUT = "Output"
HELP = "Help"

PANELS = (BUDGET, SEARCH, NETWORK, TRAINING, ACCURACY, MACHINE, OUTPUT, HELP)
"""Panels of options, in the order of the page; what names none (``--help``) is in the last."""

RUNS = "Runs and results"
NETWORKS = "Networks"
PROXIES = "Proxies, tables and latency"
CATALOGUE = "What is available"
"""Panels of commands, on the page of ``nas-search --help``."""


class Command(TyperCommand):
    """A command with a help page as all of them have."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, each with a panel."""
        return _laid_out(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return _without_braces(super().collect_usage_pieces(ctx))


class PanelGroup(TyperGroup):
    """The main command, with a help page as all of them have."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, each with a panel."""
        return _laid_out(super().get_params(ctx))


def _laid_out(parameters: Sequence[Any]) -> list[Any]:
    """Return arguments, then options by their panels; a flag has no type: it takes no value."""
    arguments, options = [], []
    for parameter in parameters:
        if isinstance(parameter, TyperOption):
            parameter.rich_help_panel = parameter.rich_help_panel or HELP
            if parameter.is_flag or parameter.count:
                parameter.metavar = ""
            options.append(parameter)
        else:
            arguments.append(parameter)
    return arguments + sorted(options, key=lambda option: PANELS.index(option.rich_help_panel))


def _without_braces(pieces: Sequence[str]) -> list[str]:
    """Return ``ARCH`` for the ``{ARCH}`` of typer: braces would mean one of several."""
    return [piece.replace("{", "").replace("}", "") for piece in pieces]
