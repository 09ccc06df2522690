"""The commands, put together: in the order of the help, a panel at a time."""

from __future__ import annotations

from collections.abc import Callable

import typer

from nas.cli.commands import (
    catalogue,
    compare,
    cost,
    evaluate,
    events,
    export,
    fidelity,
    fit_predictor,
    fit_scaling,
    import_table,
    latency,
    main_job,
    predict,
    report,
    reproduce,
    resume,
    scale,
    status,
    table,
    train,
    verify,
)
from nas.cli.panels import CATALOGUE, NETWORKS, PROXIES, RUNS, Command, PanelGroup

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    RUNS: {
        "resume": resume.resume,
        "status": status.status,
        "report": report.report,
        "events": events.events,
        "verify": verify.verify,
        "reproduce": reproduce.reproduce,
    },
    NETWORKS: {
        "cost": cost.cost,
        "scale": scale.scale,
        "compare": compare.compare,
        "train": train.train,
        "evaluate": evaluate.evaluate,
        "predict": predict.predict,
        "export": export.export,
    },
    PROXIES: {
        "fidelity": fidelity.fidelity,
        "table": table.table,
        "import": import_table.import_table,
        "fit-predictor": fit_predictor.fit_predictor,
        "fit-scaling": fit_scaling.fit_scaling,
        "latency": latency.latency,
    },
    CATALOGUE: {
        "spaces": catalogue.spaces,
        "budgets": catalogue.budgets,
        "proxies": catalogue.proxies,
        "samplers": catalogue.samplers,
    },
}

app = typer.Typer(
    cls=PanelGroup,
    add_completion=True,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True)(main_job.main_job)
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel)(command)
