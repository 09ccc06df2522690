"""Commands about one network: cost, scale, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.cli.console import (
    Show,
    family_table,
    print_facts,
    print_json,
    print_lines,
    print_table,
)
from nas.cli.options import Training
from nas.errors import InputError
from nas.files import slug
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import ArchitectureRecord, write_record
from nas.networks.compound_scaling import (
    OFFICIAL,
    PAPER,
    Coefficients,
    Dimension,
    compound,
    dimension,
    family,
    official,
    scale_to_flops,
)
from nas.networks.cost import CONVENTION, measure_cost
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_architecture, load_space

Row = tuple[Architecture, dict[str, Any]]


def show_cost(name: str, resolution: int | None, json: bool) -> None:
    """Print what a network costs."""
    architecture = load_architecture(name)
    cost = measure_cost(architecture, resolution)
    pixels = resolution or architecture.resolution
    if json:
        print_json({**cost.to_dict(), "resolution": pixels, "convention": CONVENTION})
        return
    print_lines(
        f"{architecture.name} at {pixels} px",
        *(f"  {metric:<12}{value:>16,}" for metric, value in cost.to_dict().items()),
        f"  ({CONVENTION})",
    )


def show_scaled(
    name: str,
    *,
    preset: str | None,
    triple: tuple[float | None, float | None, float | None],
    phi: float | None,
    target_flops: str | None,
    compare: bool,
    training: Training | None,
    out: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Print, and write if asked to, scaled networks; ``training``: compare them by it too."""
    if training is not None and not compare:
        raise InputError("--data needs --compare")
    baseline = load_architecture(name)
    given = [value for value in triple if value is not None]
    if given and len(given) < 3:
        raise InputError("--alpha, --beta and --gamma: accepted: all three, or none")
    alpha, beta, gamma = triple
    coefficients = (
        PAPER
        if alpha is None or beta is None or gamma is None
        else Coefficients(alpha, beta, gamma)
    )
    target = None if target_flops is None else parse_budget(f"{target_flops}-flops").flops
    if preset is not None and preset != "official":
        raise InputError(f"preset {preset!r} is not accepted: official")
    if preset is not None and (given or phi is not None or target or compare):
        raise InputError(
            "--preset official: not accepted with --alpha, --phi, --target-flops or --compare"
        )
    if phi is not None and not 0 <= phi <= 20:
        raise InputError(f"phi: {phi} is not accepted: 0 to 20")
    if phi is not None and compare:
        raise InputError("--phi: not accepted with --compare; use --target-flops")
    if phi is not None and target is not None:
        raise InputError("--phi and --target-flops: accepted: only one of them")
    title = f"{baseline.name} scaled by {coefficients}"
    if preset is not None:
        rows = _official(baseline)
        title = f"{baseline.name} by the published table; formula: {PAPER} to the power of phi"
    elif compare:
        rows = _compare(baseline, coefficients, target)
        title = f"{baseline.name}: one dimension alone, and {coefficients}, at equal FLOPs"
        if training is not None:
            from nas.cli.comparison import print_comparison
            from nas.runs.comparison import ComparisonSettings

            settings = ComparisonSettings(
                tuple(network for network, _ in rows),
                out=out,
                title=title,
                resolution=baseline.resolution,
                scaled=True,
                **asdict(training),
            )
            print_comparison(settings, json=json, quiet=quiet)
            return
    elif target is not None:
        network, reached = scale_to_flops(baseline, coefficients, target)
        rows = [(network, {"phi": reached})]
    elif phi is not None:
        rows = [(compound(baseline, coefficients, phi), {"phi": phi})]
    else:
        rows = [
            (network, {"phi": index})
            for index, network in enumerate(family(replace(baseline, name="b0"), coefficients))
        ]
    used = coefficients if preset is None else None
    _print_scaled(baseline, used, rows, title, out, json=json, quiet=quiet)


def _official(baseline: Architecture) -> list[Row]:
    is_b0 = baseline.key() == official(0).key()
    return [
        (
            official(index, None if is_b0 else baseline),
            {
                "depth": depth,
                "width": width,
                "formula_flops": measure_cost(compound(baseline, PAPER, index)).flops,
            },
        )
        for index, (width, depth, _) in enumerate(OFFICIAL)
    ]


def _compare(baseline: Architecture, coefficients: Coefficients, target: int | None) -> list[Row]:
    target = target or 4 * measure_cost(baseline).flops
    kinds: tuple[Dimension, ...] = ("depth", "width", "resolution", "compound")
    rows: list[Row] = []
    if coefficients != PAPER:
        by_paper, phi = scale_to_flops(baseline, PAPER, target, nearest=True)
        rows.append((replace(by_paper, name=f"{baseline.name}-paper"), {"phi": phi}))
    for kind in kinds:
        network, phi = scale_to_flops(baseline, dimension(kind, coefficients), target, nearest=True)
        rows.append((replace(network, name=f"{baseline.name}-{kind}"), {"phi": phi}))
    return rows


def _print_scaled(
    baseline: Architecture,
    coefficients: Coefficients | None,
    rows: Sequence[Row],
    title: str,
    out: Path | None,
    *,
    json: bool,
    quiet: bool,
) -> None:
    records = [
        ArchitectureRecord(
            network,
            measure_cost(network),
            None,
            {
                "convention": CONVENTION,
                "baseline": baseline.name,
                "coefficients": None if coefficients is None else asdict(coefficients),
                **more,
            },
        )
        for network, more in rows
    ]
    if out is not None:
        for record in records:
            write_record(record, out / f"{slug(record.architecture.name)}.json")
    if json:
        print_json([record.to_dict() for record in records])
    if json or quiet:
        return
    base = measure_cost(baseline).flops
    beside = None
    if "formula_flops" in rows[0][1]:
        beside = (
            "formula ×",
            [f"{more['formula_flops'] / base:.2f}" for _, more in rows],
        )
    print_table(family_table(records, title, beside, base))


def show_accuracy(
    name: str,
    proxy: str,
    space: str,
    training: Training,
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Print the accuracy of a network by a proxy."""
    from nas.runs.network_accuracy import AccuracySettings, measure_accuracy

    architecture = load_architecture(name)
    settings = AccuracySettings(
        architecture,
        load_space(space),
        proxy,
        data=training.data,
        seeds=training.seeds,
        seed=training.seed,
        seconds=training.seconds,
        device=training.device,
    )
    with Show(quiet=quiet) as show:
        accuracy = measure_accuracy(settings, show)
    if json:
        print_json(accuracy.to_dict())
    elif not quiet:
        print_lines(f"{architecture.name}: {accuracy.mean:.4f} ± {accuracy.standard_error:.4f}")
        facts = [
            ("loss", "" if accuracy.loss is None else f"{accuracy.loss:.4f}"),
            ("metric", accuracy.metric),
            ("data", accuracy.data),
            ("seeds", str(accuracy.n)),
        ]
        print_facts([(name, text) for name, text in facts if text], indent=2)
