"""Training networks alike and saying which differences are real."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.console import Show, comparison_table, print_json, print_table, print_written
from nas.cli.options import Training, kept
from nas.errors import InputError
from nas.files import write_bytes
from nas.networks.architecture import Architecture
from nas.proxies.short_training import TrainingSettings
from nas.spaces.budget import Budget
from nas.spaces.registry import load_architecture, load_space
from nas.spaces.search_space import SearchSpace

if TYPE_CHECKING:
    from nas.data import ImageData

STUDY = "comparison"


def show_comparison(
    names: Sequence[str],
    training: Training,
    *,
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
        training,
        title="Accuracy, trained the same way",
        resolution=max(network.resolution for network in networks),
        scaled=False,
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
    training: Training,
    *,
    title: str,
    resolution: int,
    scaled: bool,
    out: Path | None,
    json: bool,
    quiet: bool,
) -> None:
    """Train networks with the same seeds; print, and write if asked to, how they differ.

    Args:
        networks: of different names; differences are to the last.
        training: alike for all.
        resolution: of the network that is trained at the proxy's own number of pixels; others
            in proportion.
        scaled: train as the grid of coefficients does, at more pixels.
        out: a folder that keeps the study, for the same command to go on; None: nothing is kept.
        json: print one JSON document.
        quiet: print neither progress nor a table.
    """
    from nas.data.dataset import channels_for, load_data
    from nas.data.load import DEFAULT_RESOLUTION
    from nas.errors import EvaluationFailed
    from nas.evaluation.journal import JOURNAL
    from nas.evaluation.local import default_jobs, jobs_that_fit, local_engine
    from nas.evaluation.objective import Objective
    from nas.evaluation.seeded_runs import SeededRuns
    from nas.evaluation.study import Study
    from nas.progress import ALREADY
    from nas.proxies.short_training import TrainingProxy
    from nas.records.documents import ComparisonDocument
    from nas.records.result_folder import ResultFolder
    from nas.report.comparison_plot import draw
    from nas.strategies.comparison import compare_networks

    with (
        Show(quiet=quiet) as show,
        kept(out),
        ResultFolder.open(out, ComparisonDocument) as results,
    ):
        folder, before = results.path, results.before
        start, seconds = time.monotonic(), training.seconds
        space = replace(load_space("efficientnet"), resolution=resolution)
        most = max(DEFAULT_RESOLUTION, _pixels(networks, resolution, scaled))
        data = load_data(training.data, channels_for(space, training.data), show, show.note, most)
        asked = training.jobs or default_jobs(training.device)
        jobs = jobs_that_fit(asked, {"the images": data.nbytes}, show.note)
        total = training.seeds * len(networks)
        networks = [
            replace(network, in_channels=data.channels, num_classes=data.num_classes)
            for network in networks
        ]
        identity = {
            "data": data.fingerprint,
            "networks": [network.key() for network in networks],
            "scaled": scaled,
            "seed": training.seed,
        }
        if before is None:
            each = None if seconds is None else 0.9 * seconds * jobs / total
            settings = _settings(data, space, each, training.device, scaled)
        else:
            results.check_identity(identity)
            settings = before.settings
        proxy = TrainingProxy(data, settings, training.device)
        proxy.prepare(space, Budget("none"), folder)
        against = len(networks) - 1
        document = ComparisonDocument(
            identity=identity,
            settings=settings,
            title=title,
            against=networks[against].name,
        )
        results.save(document)
        objective = Objective("accuracy", "loss")
        study = Study(folder, STUDY, {}, metric=objective.name)
        show.phase("train", total)
        if study.rows():
            show.advance(len(study.rows()), ALREADY)
        with closing(local_engine(proxy, jobs)) as engine:
            rounds = SeededRuns(
                networks,
                study,
                engine,
                objective,
                seed=training.seed,
                purpose=STUDY,
                deadline=None if seconds is None else start + seconds,
                on_evaluation=lambda done, total: show.advance(1),
            )
            result = compare_networks(networks, rounds, training.seeds)
        if result.entries[against].accuracy is None:
            reason = result.entries[against].reason or "the time ended before"
            raise EvaluationFailed(f"{networks[against].name} was not measured: {reason}")
        document = document.updated(**result.to_dict(against))
        names = []
        if out is not None:
            pictures = draw(result, against, title)
            for kind, content in pictures.items():
                write_bytes(folder / f"comparison.{kind}", content)
            names = [f"comparison.{kind}" for kind in pictures] + [JOURNAL]
        document = results.finish(document, names)
    if json:
        print_json(document.to_dict())
    elif not quiet:
        print_table(comparison_table(result, title, against, None))
        if out is not None:
            print_written(out)


def _pixels(networks: Sequence[Architecture], resolution: int, scaled: bool) -> int:
    """Return the highest number of pixels a side that one of the networks is trained at."""
    from nas.proxies.presets import GRID_RESOLUTION

    base = GRID_RESOLUTION if scaled else TrainingSettings.resolution
    highest = max(network.resolution for network in networks)
    return math.ceil(highest * min(base, resolution) / resolution)


def _settings(
    data: ImageData, space: SearchSpace, seconds: float | None, device: str, scaled: bool
) -> TrainingSettings:
    """Return how a network is trained, in about so many seconds or with no limit on time."""
    from nas.proxies.presets import grid_settings, training_settings

    settings = replace(training_settings(data, space, seconds, device), checks=())
    # At more pixels an image takes about as much longer as grid_work says.
    share = None if seconds is None else 1 / 5
    return grid_settings(settings, space, share) if scaled else settings
