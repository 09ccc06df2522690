"""The command ``fidelity``: from the command line to a proxy's judgement, and its numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nas.cli.console import (
    Show,
    escape,
    plain_table,
    print_json,
    print_lines,
    print_table,
    print_written,
)
from nas.cli.options import check_device, kept, positive
from nas.errors import InputError
from nas.files import digest
from nas.proxies.benchmark_table import read_table
from nas.spaces.registry import load_space

if TYPE_CHECKING:
    from nas.records.documents import FidelityDocument
    from nas.records.result_folder import ResultFolder
    from nas.runs.fidelity.rank_agreement import Fidelity, Measured
    from nas.runs.fidelity.table_sample import Draw
    from nas.statistics import Agreement

PLANNED = 0.8
"""Of --time, trainings are to fill so much; measuring their speed and starting takes the rest."""

SUPERNET_SHARE = 0.6
"""Of --time, the training of a supernet is to fill so much; the evaluations take the rest."""


def show_fidelity(
    table_path: Path,
    space_name: str,
    proxy_name: str | None,
    data_name: str | None,
    *,
    samples: int,
    bands: Sequence[str],
    seconds: float | None,
    seed: int,
    jobs: int | None,
    device: str,
    out: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Print how far a proxy can be trusted."""
    from nas.proxies.registry import check_data, default_proxy, proxy_capabilities
    from nas.records.documents import FidelityDocument
    from nas.records.result_folder import ResultFolder
    from nas.runs.fidelity.table_sample import draw_networks

    space = load_space(space_name)
    name = proxy_name or default_proxy(space, data_name)
    proxy_capabilities(name)  # an unknown name is an error before anything is read
    check_data(name, data_name)
    check_device(device)
    positive("jobs", jobs)
    with Show(quiet=quiet) as show:
        show.phase("draw networks", None)
        draw = draw_networks(read_table(table_path), space, samples=samples, bands=bands, seed=seed)
        with kept(out), ResultFolder.open(out, FidelityDocument) as results:
            result = _measure(draw, name, data_name, seconds, jobs, device, results, show)
    if json:
        print_json(result.to_dict())
    elif not quiet:
        print_table(_table(result))
        print_lines(*result.notes, *_repeats(result), _conclusion(result))
        if out is not None:
            print_written(out)


def _measure(
    draw: Draw,
    name: str,
    data_name: str | None,
    seconds: float | None,
    jobs: int | None,
    device: str,
    results: ResultFolder[FidelityDocument],
    show: Show,
) -> Fidelity:
    """Make the proxy, let it be judged, and keep in the folder what the same command goes by."""
    from nas.data.dataset import channels_for, load_data
    from nas.evaluation.journal import JOURNAL
    from nas.evaluation.local import default_jobs, jobs_that_fit
    from nas.progress import ALREADY, shown_as
    from nas.proxies.presets import supernet_settings, training_settings
    from nas.proxies.protocol import description
    from nas.proxies.registration import ProxySetup
    from nas.proxies.registry import make_proxy, proxy_capabilities
    from nas.proxies.supernet import SupernetProxy
    from nas.records.documents import FidelityDocument
    from nas.runs.fidelity.rank_agreement import budget_of, measure_fidelity

    before = results.before
    space, count, data, training, supernet = draw.space, jobs or 1, None, None, None
    capabilities = proxy_capabilities(name)
    if capabilities.needs_images:
        data = load_data(data_name, channels_for(space, data_name), show, show.note)
        space = replace(space, in_channels=data.channels, num_classes=data.num_classes)
        count = jobs_that_fit(jobs or default_jobs(device), {"the images": data.nbytes}, show.note)
    start = time.monotonic()
    show.phase("prepare", None)
    if data is not None and capabilities.shares_weights:
        share = None if seconds is None else SUPERNET_SHARE * seconds
        supernet = (
            supernet_settings(data, space, share, device) if before is None else before.supernet
        )
    elif data is not None:
        each = None if seconds is None else PLANNED * seconds * count / len(draw.networks)
        training = (
            training_settings(data, space, each, device) if before is None else before.training
        )
    setup = ProxySetup(
        data=data,
        device=device,
        seed=draw.seed,
        training=training,
        supernet=supernet,
        on_progress=shown_as(show, "supernet"),
    )
    proxy = make_proxy(name, setup)
    if isinstance(proxy, SupernetProxy):
        shared = {"the images": proxy.data.nbytes, "the supernet": proxy.nbytes}
        count = jobs_that_fit(count, shared, show.note)
    identity = {
        "space": digest(asdict(draw.space)),
        "table": draw.table.sha256,
        "data": None if data is None else data.fingerprint,
        # How one is trained stands beside this: it may have been measured by the clock.
        "proxy": name if data is not None else description(proxy),
        "seed": draw.seed,
    }
    results.check_identity(identity)
    document = FidelityDocument(
        identity=identity,
        training=training,
        supernet=supernet,
        # Prepared for another budget it is another one, whose scores do not mix with these.
        budget=None if supernet is None else budget_of(draw, space).limits,
    )
    results.save(document)
    begun = False

    def on_evaluation(done: int, total: int) -> None:
        nonlocal begun
        if not begun:
            show.phase("evaluate", total)
        if not begun and done:
            show.advance(done, ALREADY)
        elif begun:
            show.advance(1)
        begun = True

    try:
        result = measure_fidelity(
            draw,
            proxy,
            space=space,
            jobs=count,
            seconds=None if seconds is None else start + seconds - time.monotonic(),
            folder=results.path,
            study_name=f"fidelity-{digest(document.to_dict())[:10]}",
            on_evaluation=on_evaluation,
        )
    except InputError:
        if before is None and not begun:
            results.discard()  # the proxy cannot work here
        raise
    results.finish(document.updated(result=result.to_dict()), [JOURNAL])
    return result


# -- on the terminal ------------------------------------------------------------------------------


def _table(result: Fidelity) -> Table:
    proxy = str(result.proxy["name"])
    table = plain_table(
        f"Rank correlation of {escape(proxy)}, FLOPs and parameters: Kendall τ (95 % CI)",
        ("", "samples", "τ", "Spearman", "τ FLOPs", "τ params", "regret", "top 5"),
        caption="regret: accuracy lost by choosing its first, or the best of its top 5",
    )
    for measured in (result.overall, *result.bands):
        ranking = measured.ranking
        table.add_row(
            str(measured.group),
            str(measured.finished),
            *(
                ("–",) * 6
                if ranking is None
                else (
                    _tau(ranking.proxy),
                    _number(ranking.proxy.spearman),
                    _tau(ranking.flops),
                    _tau(ranking.params),
                    f"{ranking.proxy.regret:.4f}",
                    f"{ranking.proxy.regret_top5:.4f}",
                )
            ),
        )
    return table


def _repeats(result: Fidelity) -> list[str]:
    """Return how well the table's own measurements agree, where it has two of each network."""
    lines = []
    for measured in (result.overall, *result.bands):
        repeats = measured.ranking and measured.ranking.repeats
        if repeats:
            low, high = (_number(value, 2) for value in repeats.kendall_tau_ci95)
            lines.append(
                f"{measured.group}: τ between the table's first and second measurements "
                f"{_number(repeats.kendall_tau)} (95 % CI {low} to {high})"
            )
    return lines


def _tau(score: Agreement) -> str:
    low, high = score.kendall_tau_ci95
    return f"{_number(score.kendall_tau)}\n{_number(low, 2)}…{_number(high, 2)}"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


_VERDICTS = {
    "better": "ranks better than FLOPs alone",
    "worse": "ranks worse than FLOPs alone",
    "equal": "does not rank significantly differently from FLOPs alone",
}


def _conclusion(result: Fidelity) -> str:
    """Return in one sentence where the proxy ranks better than FLOPs (paired bootstrap)."""
    found: dict[str, list[str]] = {}
    for measured in (result.overall, *result.bands):
        found.setdefault(_verdict(measured), []).append(
            "over all networks" if measured.group.flops is None else f"in {measured.group}"
        )
    parts = [f"{verdict} {', '.join(where)}" for verdict, where in found.items()]
    return f"{result.proxy['name']} " + "; it ".join(parts) + " (95 % CI)."


def _verdict(measured: Measured) -> str:
    if measured.ranking is None:
        return "ranked too few networks"
    return _VERDICTS[measured.ranking.verdict]
