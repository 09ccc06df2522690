"""The command ``report``: a page and plots of a run, or a page that compares several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.console import print_json, print_lines
from nas.cli.parameters import Json, Quiet, Verbose, out_option
from nas.cli.terminal_progress import TerminalProgress


def report(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR",
            help="Folder of a run; several are compared on one page.",
            autocompletion=completion.folders,
        ),
    ],
    out: Annotated[
        str | None,
        out_option(
            "FILE",
            "Write the page alone, to this file.",
            "report.html and plots in DIR; for several runs ./report.html",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Write report.html and plots of a run, finished or not, or a page that compares several."""
    from nas.report.write import PAGE, write_page, write_report

    paths = [Path(folder) for folder in folders]
    with TerminalProgress(quiet=quiet) as progress:
        progress.phase("report", None)
        if len(paths) == 1 and out is None:
            written = write_report(paths[0])
        else:
            written = [write_page(paths, Path(out or PAGE))]
    if json:
        print_json({"written": [str(path) for path in written]})
    elif not quiet:
        print_lines(*map(str, written))
