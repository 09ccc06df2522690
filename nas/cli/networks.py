"""Commands about one network: cost, scale, evaluate."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.accuracy import Accuracy, pooled
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
from nas.files import slug, write_json
from nas.networks.architecture import Architecture
from nas.networks.architecture_file import ArchitectureRecord
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
from nas.seeding import derived_seed
from nas.spaces.budget import Budget, parse_budget
from nas.spaces.registry import load_architecture, load_space
from nas.spaces.search_space import SearchSpace

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
        raise InputError("--data goes with --compare")
    baseline = load_architecture(name)
    given = [value for value in triple if value is not None]
    if given and len(given) < 3:
        raise InputError("--alpha, --beta and --gamma go together; accepted: all three, or none")
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
        raise InputError("--preset official goes with none of --alpha, --phi, --target-flops")
    if phi is not None and not 0 <= phi <= 20:
        raise InputError(f"phi: {phi} is not accepted: 0 to 20")
    if phi is not None and compare:
        raise InputError("--phi: not accepted with --compare, which goes by --target-flops")
    if phi is not None and target is not None:
        raise InputError("--phi and --target-flops: accepted: one of them")
    title = f"{baseline.name} scaled by {coefficients}"
    if preset is not None:
        rows = _official(baseline)
        title = f"{baseline.name} by the published table; formula: {PAPER} to the power of phi"
    elif compare:
        rows = _compare(baseline, coefficients, target)
        title = f"{baseline.name}: one dimension alone, and {coefficients}, at equal FLOPs"
        if training is not None:
            from nas.cli.comparison import compare_networks

            compare_networks(
                [network for network, _ in rows],
                training,
                title=title,
                resolution=baseline.resolution,
                scaled=True,
                out=out,
                json=json,
                quiet=quiet,
            )
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
            write_json(out / f"{slug(record.architecture.name)}.json", record.to_dict())
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
    proxy_name: str,
    space_name: str,
    training: Training,
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Print the accuracy of a network by a proxy."""
    from nas.proxies.registry import check_data, proxy_capabilities

    capabilities = proxy_capabilities(proxy_name)
    check_data(proxy_name, training.data)
    architecture, space = load_architecture(name), load_space(space_name)
    if capabilities.needs_images:
        with Show(quiet=quiet) as show:
            accuracy = _trained(architecture, space, proxy_name, training, show)
    else:
        accuracy = _known(architecture, space, proxy_name)
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


def _known(architecture: Architecture, space: SearchSpace, proxy_name: str) -> Accuracy:
    """Ask a proxy that needs no images; once, since it would say the same again."""
    from nas.proxies.registry import known_proxy

    try:
        return known_proxy(proxy_name, space).evaluate(
            architecture, seed=0, report=lambda step, value: False
        )
    except LookupError as error:
        raise InputError(str(error)) from None


def _trained(
    architecture: Architecture,
    space: SearchSpace,
    proxy_name: str,
    training: Training,
    show: Show,
) -> Accuracy:
    from nas.data.dataset import channels_for, load_data
    from nas.progress import shown_as
    from nas.proxies.presets import supernet_settings, training_settings
    from nas.proxies.registration import ProxySetup
    from nas.proxies.registry import make_proxy, proxy_capabilities

    shares = proxy_capabilities(proxy_name).shares_weights
    if shares:
        space.encode(architecture)  # what is not in the space is found before minutes of training
    data = load_data(training.data, channels_for(space, training.data), show, show.note)
    space = replace(space, resolution=architecture.resolution)
    seeds, device = training.seeds, training.device
    each = None if training.seconds is None else training.seconds / seeds
    supernet = supernet_settings(data, space, each, device) if shares else None
    alone = None if shares else training_settings(data, space, each, device)
    results: list[Accuracy] = []
    for index in range(training.seed, training.seed + seeds):
        # A supernet is trained once for all networks, so that another seed is another supernet.
        setup = ProxySetup(
            data=data,
            device=device,
            seed=derived_seed(index, "supernet"),
            training=alone,
            supernet=supernet,
            on_progress=shown_as(show, f"supernet {index}"),
        )
        proxy = make_proxy(proxy_name, setup)
        with tempfile.TemporaryDirectory() as folder:
            proxy.prepare(space, Budget("none"), Path(folder))
        if shares or not results:
            show.phase("evaluate", None if shares else seeds)
        results.append(
            proxy.evaluate(
                architecture,
                seed=derived_seed(index, "evaluate"),
                report=lambda step, value: False,
            )
        )
        show.advance(1)
    return pooled(results)
