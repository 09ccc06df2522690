"""The command ``report``: what people look at, of a run's folder or of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.cli.console import Show, print_json
from nas.report.write import PAGE, write_page, write_report


def show_report(folders: Sequence[Path], out: Path | None, *, json: bool, quiet: bool) -> None:
    """Write a run's report into its folder, or one page elsewhere; print what was written."""
    with Show(quiet=quiet) as show:
        show.phase("report", None)
        if len(folders) == 1 and out is None:
            written = write_report(folders[0])
        else:
            written = [write_page(folders, out or Path(PAGE))]
    if json:
        print_json({"written": [str(path) for path in written]})
    elif not quiet:
        for path in written:
            print(path)
