"""The commands, put together: in the order of the help."""

from __future__ import annotations

from collections.abc import Callable

import typer

from nas.cli.commands import lists, main, measured, networks, runs

COMMANDS: dict[str, Callable[..., None]] = {
    "resume": runs.resume,
    "status": runs.status,
    "report": runs.report,
    "events": runs.events,
    "verify": runs.verify,
    "spaces": lists.spaces,
    "budgets": lists.budgets,
    "proxies": lists.proxies,
    "cost": networks.cost,
    "scale": networks.scale,
    "compare": networks.compare,
    "train": networks.train,
    "evaluate": networks.evaluate,
    "export": networks.export,
    "latency": measured.latency,
    "fidelity": measured.fidelity,
    "table": measured.table,
    "import": measured.import_,
    "fit-predictor": measured.fit_predictor,
    "reproduce": measured.reproduce,
}

app = typer.Typer(
    add_completion=True,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    help="From a compute budget to a whole family of image classifiers.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True)(main.main_job)
for name, command in COMMANDS.items():
    app.command(name)(command)
