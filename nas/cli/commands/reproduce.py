"""The command ``reproduce``: the discovery of EfficientNet-B0, as tables and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from nas.cli import completion
from nas.cli.console import (
    escape,
    plain_table,
    print_facts,
    print_json,
    print_lines,
    print_table,
    print_written,
)
from nas.cli.panels import SEARCH
from nas.cli.parameters import Jobs, Json, Quiet, Verbose, out_option, seed_option
from nas.cli.scaling_tables import best_table, compared_table
from nas.cli.terminal_progress import TerminalProgress
from nas.errors import InputError, Interrupted
from nas.spaces.budget import amount

TARGETS = ("b0", "scaling")

FOLDERS = {"b0": "results/b0-discovery", "scaling": "results/scaling"}

NEAREST = 3
"""Trained networks that are shown for each network."""

DOMINATING = 5
"""Networks on the front that are shown."""


def reproduce(
    target: Annotated[
        str,
        typer.Argument(
            metavar="b0|scaling",
            help="What to reproduce: b0, the discovery of EfficientNet-B0; scaling, the evidence "
            "for scaling depth, width and resolution together.",
            autocompletion=completion.one_of(*TARGETS),
        ),
    ],
    random: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of random networks that B0 is ranked among.",
            show_default="100000",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of trials of each search.",
            show_default="300",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    samplers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Samplers to compare, separated by commas.",
            show_default="all",
            autocompletion=completion.samplers,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of searches with each sampler, with a seed each.",
            show_default="20",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    seed: Annotated[
        int | None, seed_option(SEARCH, "Seed of the first search.", show_default="0")
    ] = None,
    jobs: Jobs = None,
    out: Annotated[
        str | None,
        out_option("DIR", "Folder to write.", "results/b0-discovery or results/scaling"),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Reproduce the discovery of EfficientNet-B0, or the evidence for compound scaling.

    Both are computed from what is known of other people's trainings on ImageNet; the options of
    searches are for b0.
    """
    if target not in TARGETS:
        raise InputError(f"reproduce {target!r} is not accepted: {', '.join(TARGETS)}")
    folder = Path(out or FOLDERS[target])
    own = {"random": random, "trials": trials, "samplers": samplers, "seeds": seeds, "seed": seed}
    options = {name: value for name, value in own.items() if value is not None}
    if target == "scaling":
        given = [*options, *([] if jobs is None else ["jobs"])]
        if given:
            raise InputError(f"--{given[0]}: not accepted with reproduce scaling")
        _reproduce_scaling(folder, json=json, quiet=quiet)
    else:
        _reproduce_b0(folder, options, jobs, json=json, quiet=quiet)


def _reproduce_scaling(out: Path, *, json: bool, quiet: bool) -> None:
    from nas.runs.reproduction.scaling import reproduce_scaling

    with TerminalProgress(quiet=quiet) as progress:
        data = reproduce_scaling(out, progress)
    if json:
        print_json(data)
    elif not quiet:
        for table in (compared_table(data), best_table(data)):
            print_table(table)
            print_lines("")
        _print_sentences("Conclusions", data["conclusions"])
        _print_sentences("Limits", [data["evidence"]["limits"] + "."])
        print_written(out)


def _print_sentences(title: str, sentences: list[str]) -> None:
    print_lines(title)
    print_facts([("•", sentence) for sentence in sentences], least=1)
    print_lines("")


def _reproduce_b0(
    out: Path, options: dict[str, Any], jobs: int | None, *, json: bool, quiet: bool
) -> None:
    from nas.runs.reproduction.evidence import ReproductionSettings
    from nas.runs.reproduction.reproduce import reproduce as reproduce_discovery

    if "samplers" in options:
        options = {**options, "samplers": tuple(options["samplers"].split(","))}
    settings = ReproductionSettings(**options)
    try:
        with TerminalProgress(quiet=quiet) as progress:
            data = reproduce_discovery(settings, out, jobs=jobs, progress=progress)
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; nothing was saved: rerun the command to start again"
        ) from None
    if json:
        print_json(data)
    elif not quiet:
        for table in (
            networks_table(data),
            stages_table(data),
            dominating_table(data),
            samplers_table(data),
            nearest_table(data),
        ):
            if table is None:
                print_lines("B0 is on the Pareto front of both searches.")
            else:
                print_table(table)
            print_lines("")
        for title, sentences in (("Conclusions", data["conclusions"]), ("Limits", data["limits"])):
            _print_sentences(title, sentences)
        print_written(out)


def _table(title: str, *headings: str, caption: str | None = None) -> Table:
    return plain_table(title, headings, left=headings[:1], caption=caption)


def networks_table(data: dict[str, Any]) -> Table:
    """Return B0 beside the best that were found and drawn."""
    best, random = data["best"], data["random"]
    table = _table(
        f"{data['metric']} (%)",
        *("", "FLOPs", "params", "predicted", "corrected", "reward"),
        caption="± one standard error; corrected for selection bias",
    )
    for name, one in (
        ("EfficientNet-B0", data["b0"]),
        ("best by accuracy", best["accuracy"]),
        ("best by reward", best["reward"]),
        ("best random network", random["accuracy"]["best"]),
    ):
        corrected = (
            _accuracy(one["corrected"], one["corrected_standard_error"])
            if "corrected" in one
            else "–"
        )
        table.add_row(
            name,
            amount(one["cost"]["flops"]),
            amount(one["cost"]["params"]),
            _accuracy(one["accuracy"], one["standard_error"]),
            corrected,
            f"{one['reward']:.4f}",
        )
    return table


def _accuracy(mean: float, error: float) -> str:
    return f"{100 * mean:.2f} ± {100 * error:.2f}"


def stages_table(data: dict[str, Any]) -> Table:
    """Return B0 and the best found, stage by stage, with what differs marked."""
    best = data["best"]
    table = _table(
        "By stage: kernel, expansion, layers, squeeze-excite (se), FLOPs",
        *("", "B0", "best by accuracy", "best by reward"),
        caption="* differs from B0",
    )
    for rows in zip(best["accuracy"]["stages"], best["reward"]["stages"], strict=True):
        table.add_row(
            rows[0]["name"],
            _stage(rows[0]["b0"], []),
            *(_stage(row["found"], row["differs"]) for row in rows),
        )
    total = [one["cost"]["flops"] for one in (data["b0"], best["accuracy"], best["reward"])]
    table.add_section()
    table.add_row("all", *(amount(flops) for flops in total))
    return table


def _stage(part: dict[str, Any], differs: list[str]) -> str:
    flops = f"{part['flops'] / 1e6:.1f}M".rjust(6)
    if "op" not in part:
        return flops
    words = {
        "kernel": f"k{part['kernel']}",
        "expansion": f"e{part['expansion']}",
        "layers": f"×{part['layers']}",
        "se_ratio": "se" if part["se_ratio"] else "–",
    }
    return (
        " ".join((w + ("*" if k in differs else "")).ljust(3) for k, w in words.items())
        + f" {flops}"
    )


def dominating_table(data: dict[str, Any]) -> Table | None:
    """Return the most accurate of the front that are as accurate as B0 at no more FLOPs.

    None: there are none.
    """
    points = [point for point in data["front"]["points"] if point["dominates_b0"]]
    if not points:
        return None
    table = _table(
        f"The {min(len(points), DOMINATING)} most accurate of {len(points)} that dominate B0",
        *("", "FLOPs", "predicted", "above B0 (90 % CI)", "significant"),
        caption="above B0: corrected for selection bias",
    )
    for point in points[: -DOMINATING - 1 : -1]:
        against = point["against_b0"]
        low, high = against["interval_90"]
        table.add_row(
            escape(point["name"]),
            amount(point["flops"]),
            f"{100 * point['accuracy']:.2f}",
            f"{100 * against['corrected']:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})",
            "yes" if against["told_apart"] else "no",
        )
    return table


def samplers_table(data: dict[str, Any]) -> Table:
    """Return how soon each sampler has matched B0."""
    from nas.runs.reproduction.conclusions import median_text

    matching = data["matching"]
    table = _table(
        "Evaluations until B0 is matched",
        *("sampler", "matched", "median", "earliest", "latest"),
        caption=f"matched: as accurate at no more FLOPs; stopped after {matching['most']}",
    )
    for name, row in matching["samplers"].items():
        counts = [count for count in row["evaluations"] if count is not None]
        table.add_row(
            name,
            f"{row['matched']} of {row['of']}",
            median_text(row["median"], matching["most"]),
            str(min(counts)) if counts else "–",
            str(max(counts)) if len(counts) == row["of"] else "never",
        )
    return table


def nearest_table(data: dict[str, Any]) -> Table:
    """Return the networks nearest to B0 and to the best that were really trained."""
    table = _table(
        "Nearest trained networks",
        *("nearest to", "differing choices", "FLOPs", "measured"),
        caption="top-1 in %, 16 epochs, one seed",
    )
    for name, one in (
        ("EfficientNet-B0", data["b0"]),
        ("best by accuracy", data["best"]["accuracy"]),
        ("best by reward", data["best"]["reward"]),
    ):
        for place, row in enumerate(one["nearest"][:NEAREST]):
            table.add_row(
                "" if place else name,
                f"{row['different_choices']} of {len(row['choices'])}",
                amount(row["flops"]),
                f"{100 * row['accuracy']:.2f}",
            )
    return table
