"""The summary of a finished run: what was found, where it is, and which commands come next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nas.cli.console import (
    escape,
    plain_table,
    print_facts,
    print_lines,
    print_table,
    print_written,
)
from nas.cli.network_tables import comparison_table, family_table
from nas.spaces.budget import Budget, amount
from nas.spaces.latency_table import milliseconds

if TYPE_CHECKING:
    from nas.accuracy import Accuracy
    from nas.networks.architecture_file import ArchitectureRecord
    from nas.records.run_state import TrainedBaseline
    from nas.runs.coefficients import ChosenCoefficients
    from nas.runs.pipeline import RunResult
    from nas.statistics import PairedDifference
    from nas.strategies.comparison import SeededComparison

FRONT = 6
"""So many networks of the front are shown; ``front.json`` has all."""


def print_summary(
    result: RunResult, budget: Budget, data: str | None, options: Sequence[str] = ()
) -> None:
    """Print what a run found on one screen, the paths of what it wrote, and what comes next.

    Args:
        result: of the run.
        budget: that it kept.
        data: the images as the command names them; None: there were none.
        options: how the command prepares them, such as ``--groups patient``.
    """
    finals = result.finals
    if finals is None:
        print_table(front_table(result))
    else:
        print_table(
            comparison_table(
                finals.comparison, "Finalists", finals.reference, finals.chosen, finals.tied
            )
        )
    if result.family:
        print_lines("")
        print_table(family_table(result.family))
    print_lines("")
    print_facts(_facts(result, budget))
    print_written(result.folder)
    print_lines(
        "",
        "Next steps",
        *(
            f"  {command}"
            for command in next_commands(
                result.folder, data, options, trained=result.trained is not None
            )
        ),
    )


def next_commands(
    folder: Path, data: str | None, options: Sequence[str] = (), *, trained: bool
) -> list[str]:
    """Return what one may want to do with a finished run, as commands."""
    place, baseline = shlex.quote(str(folder)), shlex.quote(str(folder / "baseline.json"))
    images = "my-images/" if data is None else shlex.quote(data)
    more = "".join(f" {shlex.quote(word)}" for word in options)
    first = f"nas-search train {baseline} --data {images}{more} --time 1h"
    return [
        f"nas-search predict {place} photo.jpg" if trained else first,
        f"nas-search export {baseline} --to onnx --out exported",
        f"nas-search verify {place}",
    ]


def front_table(result: RunResult) -> Table:
    """Return the Pareto front, accuracy against FLOPs; of many networks a few, evenly spread."""
    front = result.front
    names = [record.architecture.name for record in front]
    name = result.baseline.architecture.name
    best = names.index(name) if name in names else None
    few = {round(i * (len(front) - 1) / (FRONT - 1)) for i in range(FRONT)}
    shown = sorted(few if best is None else few | {best})
    timed = any("latency" in record.provenance for record in front)
    lossy = any(record.accuracy is not None and record.accuracy.loss for record in front)
    caption = "* baseline"
    if len(shown) < len(front):
        caption += f"   {len(shown)} of {len(front)} networks; front.json has all"
    table = plain_table(
        "Pareto front, accuracy against FLOPs",
        (
            *("", "architecture", "FLOPs", "params"),
            *(["latency"] if timed else []),
            *("accuracy", *(["loss"] if lossy else [])),
        ),
        left=("", "architecture"),
        caption=caption,
    )
    for index in shown:
        record = front[index]
        accuracy = record.accuracy
        assert accuracy is not None
        table.add_row(
            "*" if index == best else "",
            escape(record.architecture.name),
            amount(record.cost.flops),
            amount(record.cost.params),
            *([milliseconds(record.provenance["latency"]["nanoseconds"])] if timed else []),
            f"{accuracy.mean:.4f} ± {accuracy.standard_error:.4f}",
            *(["" if accuracy.loss is None else f"{accuracy.loss:.4f}"] if lossy else []),
            style="bold" if index == best else "",
        )
    return table


def _facts(result: RunResult, budget: Budget) -> Iterator[tuple[str, str]]:
    best = result.baseline
    yield "baseline", best.architecture.name
    yield "budget", ", ".join(_used(best, budget))
    if best.accuracy is not None:
        yield "accuracy", accuracy_words(best.accuracy)
    corrected = best.provenance.get("corrected")
    if corrected is not None:
        words = f"{corrected['mean']:.4f} ± {corrected['standard_error']:.4f}"
        yield "corrected", f"{words} (for selection bias: the best of many)"
    if result.test is not None:
        yield from _tested(result.test)
    if result.trained is not None:
        yield "trained", trained_words(result.trained)
        if result.trained.export is not None:
            yield "exported", f"{result.folder / result.trained.export}"
    if result.check is not None:
        yield "proxy", str(result.check).removeprefix("the proxy ")
    if result.scaling is not None:
        yield from _scaled(result.scaling)
    states = {"finished": "finished", "stopped": "stopped early", "failed": "failed"}
    counts = {words: result.search.count(state) for state, words in states.items()}
    yield "trials", ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    seconds = result.phase_seconds
    phases = ", ".join(f"{name} {value:,.0f} s" for name, value in seconds.items())
    yield "time", f"{sum(seconds.values()) / 60:.1f} min ({phases})"


def trained_words(trained: TrainedBaseline) -> str:
    """Return what the baseline is worth after its final training, on images it has not seen."""
    known = {"test": trained.test, "validation": trained.validation}
    part, found = next((part, one) for part, one in known.items() if one is not None)
    spread = 1.96 * found["standard_error"]
    return (
        f"{trained.file}: {part} accuracy {found['mean']:.4f} (95 % CI "
        f"{max(0.0, found['mean'] - spread):.4f} to {min(1.0, found['mean'] + spread):.4f}) after "
        f"{trained.epochs:.3g} epochs at {trained.resolution} px"
    )


def _scaled(scaling: ChosenCoefficients) -> Iterator[tuple[str, str]]:
    choice = scaling.choice
    yield "scaling", str(scaling)
    yield "", f"shares of the growth in log FLOPs (90 %): {choice}"
    others = ", ".join(f"{one.name} {100 * one.probability:.0f} %" for one in choice.compared)
    if scaling.training is not None:
        prior = scaling.training.prior.model_dump()
        yield (
            "",
            "published trainings alone: "
            + ", ".join(f"{name} {100 * share:.0f} %" for name, share in prior.items())
            + f"; own trainings moved {100 * scaling.training.moved:.0f} % of the growth",
        )
    yield "", f"probability that they are better than {others}"


def _used(best: ArchitectureRecord, budget: Budget) -> Iterator[str]:
    """Say of each limit how much of it the baseline uses; the parameters always."""
    costs = best.cost.to_dict()
    limits = budget.limits
    for metric, limit in limits.items():
        if metric in costs:
            yield (
                f"{amount(costs[metric])} of {amount(limit)} {_NAMES.get(metric, metric)} "
                f"({_share(costs[metric] / limit)})"
            )
        elif "latency" in best.provenance:
            taken = best.provenance["latency"]["nanoseconds"]
            yield f"{milliseconds(taken)} of {limit:g} ms latency ({_share(taken / limit / 1e6)})"
    for metric in ("flops", "params"):
        if metric not in limits:
            yield f"{amount(costs[metric])} {_NAMES[metric]}"


def _share(of_limit: float) -> str:
    return f"{100 * of_limit:.0f} %"


_NAMES = {"flops": "FLOPs", "params": "parameters"}


def accuracy_words(accuracy: Accuracy) -> str:
    """Return an accuracy with its error, and what it is."""
    loss = "" if accuracy.loss is None else f", loss {accuracy.loss:.3f}"
    return (
        f"{accuracy.mean:.4f} ± {accuracy.standard_error:.4f}{loss} ({accuracy.metric}; "
        f"{accuracy.data or accuracy.proxy})"
    )


def _tested(test: SeededComparison) -> Iterator[tuple[str, str]]:
    """Return the baseline's test accuracy, and what the references have."""
    own = test.networks[0].accuracy
    if own is None:
        return
    yield "test", accuracy_words(own)
    for index, reference in enumerate(test.networks[1:], 1):
        if reference.accuracy is not None:
            yield (
                "",
                f"{reference.name}, trained the same way: {reference.accuracy.mean:.4f} ± "
                f"{reference.accuracy.standard_error:.4f}; difference of the baseline "
                f"{_difference(test.difference(0, index))}",
            )


def _difference(difference: PairedDifference | None) -> str:
    """Return a difference with its interval, and whether it is significant."""
    if difference is None:
        return "–"
    if difference.half_width is None:
        return f"{difference.mean:+.4f} (standard error unknown)"
    verdict = "" if difference.real else ", not significantly different (95 % CI)"
    return f"{difference.mean:+.4f} ± {difference.half_width:.4f}{verdict}"
