"""Training networks alike and saying which differences are real."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from nas.architecture import Architecture
from nas.budget import Budget
from nas.catalogue import load_architecture, load_space
from nas.cli.app import check_device
from nas.cli.show import Show, contest_table, print_json
from nas.errors import InputError
from nas.files import digest, write_bytes, write_json

STUDY = "comparison"


def show_comparison(
    names: Sequence[str],
    data: str | None,
    *,
    seeds: int,
    seed: int,
    seconds: float | None,
    jobs: int | None,
    device: str,
    out: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Train the named networks alike and print how they differ; the last is the reference."""
    networks = [load_architecture(name) for name in names]
    if len({network.key() for network in networks}) < max(2, len(networks)):
        raise InputError("compare: accepted: two or more different architectures")
    compare_networks(
        _named(networks),
        data,
        title="Trained alike",
        resolution=max(network.resolution for network in networks),
        scaled=False,
        seeds=seeds,
        seed=seed,
        seconds=seconds,
        jobs=jobs,
        device=device,
        out=out,
        json=json,
        quiet=quiet,
    )


def _named(networks: Sequence[Architecture]) -> list[Architecture]:
    """Return networks with different names, which tables and pictures need."""
    names = [network.name for network in networks]
    return [
        network
        if names.count(network.name) == 1
        else replace(network, name=f"{network.name} ({index})")
        for index, network in enumerate(networks, 1)
    ]


def compare_networks(
    networks: Sequence[Architecture],
    data_name: str | None,
    *,
    title: str,
    resolution: int,
    scaled: bool,
    seeds: int,
    seed: int,
    seconds: float | None,
    jobs: int | None,
    device: str,
    out: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Train networks with the same seeds; print, and write if asked to, how they differ.

    Args:
        networks: of different names; differences are to the last.
        resolution: of the network that is trained at the proxy's own number of pixels; others
            in proportion.
        scaled: train as the grid of coefficients does, at more pixels.
    """
    from nas.contest import contest
    from nas.engines.local import default_jobs, local_engine
    from nas.loading import jobs_that_fit, load_data
    from nas.objective import Objective
    from nas.proxies.catalogue import grid_settings, training_settings
    from nas.proxies.training import TrainingProxy
    from nas.report.contest import draw
    from nas.rounds import Rounds
    from nas.search import SearchFailed
    from nas.storage import Study

    if not 1 <= seeds <= 100:
        raise InputError(f"seeds: {seeds} is not accepted: 1 to 100")
    check_device(device)
    with Show(quiet=quiet, json=json) as show, TemporaryDirectory() as temporary:
        start = time.monotonic()
        space = replace(load_space("efficientnet"), resolution=resolution)
        data = load_data(data_name, space, show, show.note)
        jobs = jobs_that_fit(data, jobs or default_jobs(device), show.note)
        each = None if seconds is None else 0.9 * seconds * jobs / (seeds * len(networks))
        settings = replace(training_settings(data, space, each, device), checks=())
        if scaled:
            # At more pixels an image takes about as much longer as grid_work says.
            settings = grid_settings(settings, space, None if seconds is None else 1 / 5)
        networks = [
            replace(network, in_channels=data.channels, num_classes=data.num_classes)
            for network in networks
        ]
        proxy = TrainingProxy(data, settings, device)
        proxy.prepare(space, Budget("none"), Path(temporary))
        identity = [data.fingerprint, proxy.describe(), seed, *(n.key() for n in networks)]
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        study = Study(out or Path(temporary), f"{STUDY}-{digest(identity)[:10]}", {})
        show.phase("train", seeds * len(networks))
        if study.rows():
            show.advance(len(study.rows()), "already done")
        with closing(local_engine(proxy, jobs)) as engine:
            rounds = Rounds(
                networks,
                study,
                engine,
                Objective("accuracy", "loss"),
                seed=seed,
                purpose=STUDY,
                deadline=None if seconds is None else start + seconds,
                on_evaluation=lambda done, total: show.advance(1),
            )
            result = contest(networks, rounds, seeds)
    against = len(networks) - 1
    if result.entries[against].accuracy is None:
        reason = result.entries[against].reason or "the time ended before"
        raise SearchFailed(f"{networks[against].name} was not measured: {reason}")
    document = {"title": title, "settings": proxy.describe(), **result.to_dict(against)}
    if out is not None:
        write_json(out / "comparison.json", document)
        for kind, content in draw(result, against, title).items():
            write_bytes(out / f"comparison.{kind}", content)
    if json:
        print_json(document)
    elif not quiet:
        show.table(contest_table(result, title, against, None))
