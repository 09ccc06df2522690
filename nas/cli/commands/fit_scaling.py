"""The command ``fit-scaling``: a scaling predictor from published accuracies, and its scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import plain_table, print_json, print_lines, print_table
from nas.cli.parameters import Json, Quiet, Verbose, out_option
from nas.cli.terminal_progress import TerminalProgress

if TYPE_CHECKING:
    from nas.proxies.scaling_predictor import ScalingMetadata
    from nas.proxies.scaling_validation import ScalingScores
    from nas.runs.scaling_evidence import ResampledChoice, VariedChoice
    from nas.strategies.scaling_choice import ScalingChoice


@dataclass(frozen=True)
class _Fitted:
    """What the command has to say.

    Attributes:
        out: folder that was written; ``size``: bytes of its files.
        metadata: of the predictor.
        choice: for EfficientNet-B0; ``varied``: otherwise; ``moved``: over resampled groups.
    """

    out: str
    size: int
    metadata: ScalingMetadata
    choice: ScalingChoice
    varied: list[VariedChoice]
    moved: ResampledChoice


def fit_scaling(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE", help="Published accuracies of scaled networks (CSV) to fit to."
        ),
    ],
    out: Annotated[str, out_option("DIR", "Folder for scaling.safetensors and scaling.json.")],
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Fit how the error of networks changes with depth, width and resolution, and report scores."""
    from nas.proxies.scaling_predictor import read_scaling, write_scaling
    from nas.proxies.scaling_table import read_scaling_table
    from nas.runs.scaling_evidence import fit_table, resampled_choice, varied_choices
    from nas.strategies.scaling_choice import choose_direction

    rows = read_scaling_table(table)
    with TerminalProgress(quiet=quiet) as progress:
        shown = ""

        def say(phase: str, done: int, total: int, text: str) -> None:
            nonlocal shown
            if phase != shown:
                progress.phase(phase, total)
                shown = phase
            if done:
                progress.advance(1, text)

        size = write_scaling(fit_table(rows, say), Path(out))
        predictor = read_scaling(Path(out))
        fitted = _Fitted(
            out,
            size,
            predictor.metadata,
            choose_direction(predictor.surface()),
            varied_choices(predictor.trainings, predictor.fit),
            resampled_choice(predictor.trainings, predictor.fit, say=say),
        )
    if json:
        print_json(_document(fitted))
    elif not quiet:
        _print(fitted)


def _document(fitted: _Fitted) -> dict[str, Any]:
    metadata = fitted.metadata
    return {
        "out": fitted.out,
        "bytes": fitted.size,
        "trainings": metadata.trainings,
        "hyperparameters": metadata.hyperparameters.model_dump(),
        "scores": metadata.scores.model_dump(),
        "base_scores": metadata.base_scores.model_dump(),
        "plain_scores": metadata.plain_scores.model_dump(),
        "choice": fitted.choice.to_dict(),
        "varied": [
            {
                "name": one.name,
                "shares": one.direction.shares(),
                **asdict(one.direction.coefficients()),
                "all_grow": one.all_grow,
            }
            for one in fitted.varied
        ],
        "resampled": asdict(fitted.moved),
    }


def _print(fitted: _Fitted) -> None:
    metadata, choice = fitted.metadata, fitted.choice
    print_lines(
        f"{fitted.out}: {metadata.trainings} trainings in {len(metadata.groups)} groups, "
        f"{fitted.size / 1024:.0f} KiB",
        "hyperparameters: "
        + ", ".join(f"{k} {v:g}" for k, v in metadata.hyperparameters.model_dump().items()),
        "",
    )
    _print_groups(metadata)
    _print_scores(metadata)
    print_lines(
        "",
        f"EfficientNet-B0: (α, β, γ) = {choice.coefficients}",
        f"  shares of the growth, with 90 % intervals: {choice}",
        f"  shares whose interval reaches 0: {', '.join(choice.may_be_zero) or 'none'}",
        "  probability of being better than "
        + ", ".join(f"{one.name} {one.probability:.2f}" for one in choice.compared)
        + "; single dimensions to 16 times the FLOPs, the paper's over b1 to b3",
        f"  expected regret in ln error, b1 to b3: chosen {choice.regret:.4f}, "
        f"the paper's {choice.paper_regret:.4f}",
        "",
    )
    _print_varied(fitted.varied, fitted.moved)


def _print_groups(metadata: ScalingMetadata) -> None:
    headings = ["group", "networks", "correlation", "pairs in order", "90 % coverage"]
    of_bases = {one.group: one for one in metadata.base_scores.groups}
    table = plain_table(
        "Each group, predicted by a fit to the others (in brackets: without all of its base)",
        headings,
        left=("group",),
    )
    for one in metadata.scores.groups:
        base = of_bases[one.group]
        table.add_row(
            one.group,
            str(one.networks),
            f"{one.correlation:.2f} ({base.correlation:.2f})",
            f"{one.ordered}/{one.pairs} ({base.ordered}/{base.pairs})",
            f"{one.coverage_90:.0%} ({base.coverage_90:.0%})",
        )
    print_table(table)


def _print_scores(metadata: ScalingMetadata) -> None:
    table = plain_table(
        "All of them, with 95 % intervals by a bootstrap over groups",
        ["left out", "mean correlation", "pooled", "pairs in order", "90 % coverage"],
        left=("left out",),
        caption="Correlations are of ln(error), less a quadratic in ln FLOPs. Pairs: FLOPs within "
        "10 %, accuracies at least 0.5 points apart.",
    )
    rows: list[tuple[str, ScalingScores]] = [
        ("each group", metadata.scores),
        ("each base", metadata.base_scores),
        ("each group, plain ridge", metadata.plain_scores),
    ]
    for name, one in rows:
        table.add_row(
            name,
            _with(one.mean_correlation, one.mean_correlation_ci95),
            _with(one.pooled_correlation, one.pooled_correlation_ci95),
            f"{_with(one.ordered, one.ordered_ci95)} of {one.pairs}",
            _with(one.coverage_90, one.coverage_90_ci95),
        )
    print_lines("")
    print_table(table)


def _print_varied(varied: list[VariedChoice], moved: ResampledChoice) -> None:
    table = plain_table(
        "What is chosen for EfficientNet-B0 otherwise",
        ["fit", "α", "β", "γ", "all exceed 1"],
        left=("fit", "all exceed 1"),
    )
    for one in varied:
        own = one.direction.coefficients()
        table.add_row(
            one.name,
            f"{own.alpha:.3f}",
            f"{own.beta:.3f}",
            f"{own.gamma:.3f}",
            "yes" if one.all_grow else "no",
        )
    print_table(table)
    spread = ", ".join(
        f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in moved.intervals.items()
    )
    print_lines(
        "",
        f"{moved.samples} bootstrapped sets of groups, middle 90 %: {spread}; "
        f"{moved.distance:.0%} of the growth moves on average",
    )


def _with(value: float, ends: tuple[float, float]) -> str:
    return f"{value:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"
