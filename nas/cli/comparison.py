"""The command ``compare``, and ``scale --compare --data``: from names to a table of differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.console import Show, comparison_table, print_json, print_table, print_written
from nas.cli.options import Training, kept
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.runs.comparison import ComparisonSettings


def show_comparison(
    names: Sequence[str], training: Training, *, out: Path | None, json: bool, quiet: bool
) -> None:
    """Train the named networks alike and print how they differ; the last is the reference."""
    from nas.runs.comparison import ComparisonSettings

    networks = tuple(load_architecture(name) for name in names)
    settings = ComparisonSettings(networks, out=out, **asdict(training))
    print_comparison(settings, json=json, quiet=quiet)


def print_comparison(settings: ComparisonSettings, *, json: bool, quiet: bool) -> None:
    """Compare networks, and print how they differ."""
    from nas.runs.comparison import compare

    with Show(quiet=quiet) as show, kept(settings.out):
        result = compare(settings, show)
    if json:
        print_json(result.document.to_dict())
    elif not quiet:
        print_table(comparison_table(result.comparison, settings.title, result.against, None))
        if settings.out is not None:
            print_written(settings.out)
