"""The commands, put together: in the order of the help, a panel at a time."""

from __future__ import annotations

from collections.abc import Callable

import typer

from nas.cli.commands import lists, main, measured, networks, runs
from nas.cli.panels import CATALOGUE, NETWORKS, PROXIES, RUNS, Command, PanelGroup

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    RUNS: {
        "resume": runs.resume,
        "status": runs.status,
        "report": runs.report,
        "events": runs.events,
        "verify": runs.verify,
        "reproduce": measured.reproduce,
    },
    NETWORKS: {
        "cost": networks.cost,
        "scale": networks.scale,
        "compare": networks.compare,
        "train": networks.train,
        "evaluate": networks.evaluate,
        "export": networks.export,
    },
    PROXIES: {
        "fidelity": measured.fidelity,
        "table": measured.table,
        "import": measured.import_,
        "fit-predictor": measured.fit_predictor,
        "latency": measured.latency,
    },
    CATALOGUE: {
        "spaces": lists.spaces,
        "budgets": lists.budgets,
        "proxies": lists.proxies,
        "samplers": lists.samplers,
    },
}

app = typer.Typer(
    cls=PanelGroup,
    add_completion=True,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True)(main.main_job)
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel)(command)
