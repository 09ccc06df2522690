"""The command ``scale``: larger networks by coefficients, by the published table, or to FLOPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import completion
from nas.cli.commands.compare import print_comparison
from nas.cli.console import print_json, print_table
from nas.cli.network_tables import family_table
from nas.cli.option_values import duration
from nas.cli.panels import ACCURACY, NETWORK
from nas.cli.parameters import (
    Arch,
    Augment,
    Device,
    Groups,
    Jobs,
    Json,
    MaxPixels,
    NoTest,
    Quiet,
    Verbose,
    fit_option,
    out_option,
    time_option,
)
from nas.environment import chosen_device
from nas.errors import InputError
from nas.files import slug
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import ArchitectureRecord, write_record
from nas.networks.compound_scaling import (
    OFFICIAL,
    PAPER,
    Coefficients,
    compound,
    official,
)
from nas.networks.cost import CONVENTION, measure_cost
from nas.networks.scaling_direction import DIMENSIONS, Direction
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_architecture

if TYPE_CHECKING:
    from nas.networks.scaled_family import ScaledMember

Row = tuple[Architecture, dict[str, Any]]


def scale(
    arch: Arch,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="official",
            help="Scale by the published table of EfficientNet-B0 … B7 instead of by coefficients.",
            autocompletion=completion.one_of("official"),
            rich_help_panel=NETWORK,
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Depth coefficient α.", show_default="1.2", rich_help_panel=NETWORK
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Width coefficient β.", show_default="1.1", rich_help_panel=NETWORK
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Resolution coefficient γ.",
            show_default="1.15",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    phi: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Number of times that FLOPs are doubled; a single network is scaled.",
            show_default="0 to 7, the family b0 … b7",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    rounding: Annotated[
        str,
        typer.Option(
            metavar="flops|official",
            help="How coefficients become a network: by FLOPs, the one nearest to 2^φ times those "
            "of ARCH, with α, β and γ as proportions, or by the official formula and its rounding.",
            autocompletion=completion.one_of("flops", "official"),
            rich_help_panel=NETWORK,
        ),
    ] = "flops",
    target_flops: Annotated[
        str | None,
        typer.Option(
            metavar="FLOPS",
            help="Scale to the largest network within so many FLOPs, such as 1.8G.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Scale depth, width and resolution alone, and all together, to equal FLOPs.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="With --compare: train the scaled networks on these images, and compare them.",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    fit: Annotated[str | None, fit_option()] = None,
    augment: Augment = None,
    max_pixels: MaxPixels = None,
    no_test: NoTest = False,
    groups: Groups = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --data: number of trainings of each network, with a seed each.",
            show_default="3",
            rich_help_panel=ACCURACY,
        ),
    ] = None,
    time: Annotated[str | None, time_option("With --data: time limit for all trainings")] = None,
    jobs: Jobs = None,
    device: Device = None,
    out: Annotated[
        str | None, out_option("DIR", "Folder to write the architectures or the comparison to.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Scale a network: by coefficients, by the published table, or to a number of FLOPs.

    nas-search scale efficientnet-b0 --alpha 1.2 --beta 1.1 --gamma 1.15 --phi 3
    """
    from nas.networks.scaled_family import (
        MEMBERS,
        scaled_family,
        scaled_member,
        scaled_to_flops,
    )

    options = {
        "--fit": fit,
        "--augment": augment,
        "--max-pixels": max_pixels,
        "--no-test": no_test or None,
        "--groups": groups,
        "--seeds": seeds,
        "--time": time,
        "--jobs": jobs,
        "--device": device,
    }
    for option, value in options.items():
        if data is None and value is not None:
            raise InputError(f"{option}: not accepted without --compare and --data")
    if data is not None and not compare:
        raise InputError("--data needs --compare")
    baseline = load_architecture(arch)
    folder = None if out is None else Path(out)
    given = [value for value in (alpha, beta, gamma) if value is not None]
    if given and len(given) < 3:
        raise InputError("--alpha, --beta and --gamma: accepted: all three, or none")
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
    if rounding not in ("flops", "official"):
        raise InputError(f"rounding {rounding!r} is not accepted: flops or official")
    by_formula = rounding == "official"
    if by_formula and (preset is not None or target is not None or compare):
        raise InputError(
            "--rounding official: not accepted with --preset, --target-flops or --compare"
        )
    if phi is not None and not 0 <= phi <= 20:
        raise InputError(f"phi: {phi} is not accepted: 0 to 20")
    if phi is not None and compare:
        raise InputError("--phi: not accepted with --compare; use --target-flops")
    if phi is not None and target is not None:
        raise InputError("--phi and --target-flops: accepted: only one of them")
    direction = Direction.of(coefficients)
    if not by_formula:
        coefficients = direction.coefficients()
    title = f"{baseline.name} scaled by {coefficients}"
    if preset is not None:
        rows = _official(baseline)
        title = f"{baseline.name} by the published table; formula: {PAPER} to the power of phi"
    elif compare:
        rows = _compare(baseline, direction, target)
        title = f"{baseline.name}: one dimension alone, and {coefficients}, at equal FLOPs"
        if data is not None:
            from nas.data.dataset import ImageOptions
            from nas.runs.comparison import ComparisonSettings

            settings = ComparisonSettings(
                tuple(network for network, _ in rows),
                out=folder,
                title=title,
                resolution=baseline.resolution,
                scaled=True,
                data=data,
                image_options=ImageOptions(fit or "crop", augment, max_pixels, not no_test, groups),
                seeds=3 if seeds is None else seeds,
                seconds=duration(time),
                jobs=jobs,
                device=chosen_device(device),
            )
            print_comparison(settings, device, json=json, quiet=quiet)
            return
    elif target is not None:
        rows = [_row(scaled_to_flops(baseline, direction, target))]
    elif by_formula:
        steps = range(MEMBERS) if phi is None else (phi,)
        rows = [
            (compound(baseline, coefficients, one, None if phi else f"b{one}"), {"phi": one})
            for one in steps
        ]
    elif phi is not None:
        rows = [_row(scaled_member(baseline, direction, phi))]
    else:
        rows = [_row(member) for member in scaled_family(baseline, direction)]
    used = coefficients if preset is None else None
    _print_scaled(baseline, used, rows, title, folder, json=json, quiet=quiet)


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


def _row(member: ScaledMember) -> Row:
    return member.architecture, member.to_dict()


def _compare(baseline: Architecture, direction: Direction, target: int | None) -> list[Row]:
    from nas.networks.scaled_family import scaled_to_flops

    target = target or 4 * measure_cost(baseline).flops
    directions = {name: Direction.along(name) for name in DIMENSIONS} | {"compound": direction}
    if max(abs(a - b) for a, b in zip(_shares(direction), _shares(_PAPERS), strict=True)) > 0.01:
        directions = {"paper": _PAPERS} | directions
    rows: list[Row] = []
    for name, own in directions.items():
        member = scaled_to_flops(baseline, own, target, nearest=True)
        named = replace(member.architecture, name=f"{baseline.name}-{name}")
        rows.append((named, member.to_dict()))
    return rows


_PAPERS = Direction.of(PAPER)


def _shares(direction: Direction) -> tuple[float, ...]:
    return tuple(direction.shares().values())


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
        beside = ("formula ×", [f"{more['formula_flops'] / base:.2f}" for _, more in rows])
    elif "shares" in rows[0][1]:
        beside = ("shares of depth, width, resolution", [_percent(more) for _, more in rows])
    print_table(family_table(records, title, beside, base))


def _percent(more: Mapping[str, Any]) -> str:
    """Return realised shares as ``43 / 28 / 29 %``; with an asterisk where they are off."""
    if more["shares"] is None:
        return "–"
    text = " / ".join(f"{100 * share:.0f}" for share in more["shares"].values())
    return f"{text} %" + ("" if more["on_direction"] else " *")
