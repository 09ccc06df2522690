"""The command ``import``: a published benchmark as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import completion
from nas.cli.console import print_json, print_lines
from nas.cli.parameters import Json, Verbose, out_option
from nas.errors import InputError


def import_table(
    source: Annotated[
        str,
        typer.Argument(
            metavar="accel-nasbench",
            help="Benchmark to import.",
            autocompletion=completion.one_of("accel-nasbench"),
        ),
    ],
    archive: Annotated[
        str, typer.Argument(metavar="ARCHIVE", help="Archive as the benchmark's authors released.")
    ],
    out: Annotated[str, out_option("FILE.jsonl", "Benchmark table to write (JSON Lines).")],
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Import a published benchmark as a table, for --proxy table:FILE and fidelity --table."""
    from nas.proxies.accel_nasbench import import_accel_nasbench

    if source != "accel-nasbench":
        raise InputError(f"source {source!r} is not accepted: accel-nasbench")
    rows, different = import_accel_nasbench(Path(archive), Path(out))
    if json:
        print_json({"out": out, "rows": rows, "architectures": different})
        return
    print_lines(f"{out}: {rows:,} rows, {different:,} different architectures")
