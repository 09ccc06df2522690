"""``nas-search compare``: networks trained alike, and which differences are real."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.data import ImageData
from nas.data.dataset import DEFAULT_OPTIONS, ImageOptions
from nas.data.reading import DEFAULT_RESOLUTION
from nas.environment import check_device, environment
from nas.errors import EvaluationFailed, InputError, check_range
from nas.evaluation.journal import JOURNAL
from nas.evaluation.local import local_engine
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import open_seeded_runs
from nas.evaluation.study import Study
from nas.files import write_bytes
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.networks.pretrained import Pretrained
from nas.progress import Progress, SilentProgress
from nas.proxies import presets
from nas.proxies.reduction import Reduction
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.records.comparison_document import ComparisonDocument
from nas.records.result_folder import ResultFolder
from nas.report.comparison_plot import draw
from nas.runs.images import load_shared_images
from nas.spaces.budget import Budget, amount
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace
from nas.strategies.comparison import SeededComparison, compare_networks

STUDY = "comparison"
"""Name of the study, and the purpose that seeds are derived from."""

PLANNED = 0.9
"""Share of the time that trainings are planned to fill."""

UNEQUAL = 1.1
"""Costs as trained that differ by more than this factor are said to."""

OBJECTIVE = Objective("accuracy", "loss")


@dataclass(frozen=True)
class ComparisonSettings:
    """What networks are compared, and how they are trained.

    Attributes:
        networks: two or more; the last is the reference that differences are to.
        data: images, by name or path; None: the built-in ones.
        seeds: trainings of each network.
        seed: of all trainings.
        seconds: time for all trainings; None: no limit.
        jobs: how many run at once; None: what suits the device.
        device: that torch trains on.
        out: folder that keeps trainings, result and picture; None: nothing is kept.
        title: of the table and the picture.
        resolution: of a network that is trained at the proxy's own number of pixels, others in
            proportion; None: the highest of all.
        scaled: the networks are scaled ones: train at more pixels.
        image_options: how images are prepared and augmented.
        weights: trained weights that all networks inherit; None: they are trained from scratch.

    Raises:
        InputError: a value is not accepted.
    """

    networks: tuple[Architecture, ...]
    data: str | None = None
    seeds: int = 3
    seed: int = 0
    seconds: float | None = None
    jobs: int | None = None
    device: str = "cpu"
    out: Path | None = None
    title: str = "Trained alike"
    resolution: int | None = None
    scaled: bool = False
    image_options: ImageOptions = DEFAULT_OPTIONS
    weights: Pretrained | None = None

    def __post_init__(self) -> None:
        """Refuse what is not accepted."""
        least = 2 if self.scaled else max(2, len(self.networks))
        if len({network.key() for network in self.networks}) < least:
            raise InputError("compare: accepted: two or more different architectures")
        check_range("seeds", self.seeds, 1, 100)
        check_range("jobs", self.jobs, 1)
        check_device(self.device)

    @property
    def base_resolution(self) -> int:
        """Resolution of a network that is trained at the proxy's own number of pixels."""
        return self.resolution or max(network.resolution for network in self.networks)


@dataclass(frozen=True)
class ComparisonResult:
    """A finished comparison.

    Attributes:
        comparison: the networks and their differences.
        against: where the reference stands among them.
        document: what the folder says of itself.
    """

    comparison: SeededComparison
    against: int
    document: ComparisonDocument


def compare(settings: ComparisonSettings, progress: Progress | None = None) -> ComparisonResult:
    """Train networks with the same seeds, or resume that, and return how they differ.

    Args:
        settings: what networks, and how they are trained.
        progress: shows how far the comparison is; None: nothing is shown.

    Raises:
        InputError: the images do not fit; the folder is in use, holds something else or cannot be
            written.
        EvaluationFailed: the reference could not be measured.
    """
    start = time.monotonic()
    progress = progress or SilentProgress()
    with ResultFolder.open(settings.out, ComparisonDocument, progress.note) as results:
        space = load_space("efficientnet").at_resolution(settings.base_resolution)
        most = max(DEFAULT_RESOLUTION, highest_resolution(settings))
        data, jobs = load_shared_images(
            settings.data,
            space,
            settings.jobs,
            settings.device,
            progress,
            most,
            settings.image_options,
        )
        networks = [
            replace(network, in_channels=data.channels, num_classes=data.num_classes)
            for network in _named(settings.networks)
        ]
        identity = {
            "data": data.fingerprint,
            "augment": list(data.augment),
            "networks": [network.key() for network in networks],
            "scaled": settings.scaled,
            "seed": settings.seed,
            **({} if settings.weights is None else {"weights": settings.weights.digest}),
        }
        results.check_identity(identity)
        total = settings.seeds * len(networks)
        training = (
            _training(settings, data, space, jobs / total)
            if results.before is None
            else results.before.settings
        )
        proxy = TrainingProxy(data, training, settings.device, settings.weights)
        proxy.prepare(space, Budget("none"), results.path)
        reduced = [proxy.reduced(network) for network in networks]
        _note_trained_costs(reduced, training.width < 1, progress)
        against = len(networks) - 1
        document = ComparisonDocument(
            identity=identity,
            **environment(),
            settings=training,
            title=settings.title,
            against=networks[against].name,
        )
        results.save(document)
        with open_seeded_runs(
            networks,
            Study(results.path, STUDY, {}, metric=OBJECTIVE.name),
            lambda jobs: local_engine(proxy, jobs),
            jobs,
            OBJECTIVE,
            seed=settings.seed,
            purpose=STUDY,
            total=total,
            progress=progress,
            phase="train",
            deadline=None if settings.seconds is None else start + settings.seconds,
        ) as runs:
            comparison = compare_networks(runs, settings.seeds)
        reference = comparison.networks[against]
        if reference.accuracy is None:
            reason = reference.reason or "the time ended before"
            raise EvaluationFailed(f"{reference.name} was not measured: {reason}")
        files = []
        if not results.temporary:
            files.append(JOURNAL)
            for kind, content in draw(comparison, against, settings.title).items():
                name = f"{STUDY}.{kind}"
                write_bytes(results.path / name, content)
                files.append(name)
        document = results.finish(document.updated(**comparison.to_dict(against)), files)
    return ComparisonResult(comparison, against, document)


def _note_trained_costs(
    networks: Sequence[Architecture], narrower: bool, progress: Progress
) -> None:
    """Say by how much the networks differ in FLOPs as they are trained, which may be by more."""
    costs = [measure_cost(network).flops for network in networks]
    how = "narrower and with fewer pixels" if narrower else "with fewer pixels"
    if max(costs) > UNEQUAL * min(costs):
        progress.note(
            f"as they are trained, {how}, the networks have "
            f"{amount(min(costs))} to {amount(max(costs))} FLOPs: a factor of "
            f"{max(costs) / min(costs):.2f}"
        )


def highest_resolution(settings: ComparisonSettings) -> int:
    """Return the highest number of pixels a side that one of the networks is trained at."""
    base = TrainingSettings.resolution
    if settings.scaled:
        base = presets.SCALED_RESOLUTION
    elif settings.weights is not None:
        base = presets.FINE_TUNED_RESOLUTION
    highest = max(network.resolution for network in settings.networks)
    return math.ceil(highest * min(base, settings.base_resolution) / settings.base_resolution)


def _named(networks: Sequence[Architecture]) -> list[Architecture]:
    """Return networks with different names, which tables and pictures need."""
    names = [network.name for network in networks]
    return [
        network
        if names.count(network.name) == 1
        else replace(network, name=f"{network.name} ({index})")
        for index, network in enumerate(networks, 1)
    ]


def _training(
    settings: ComparisonSettings, data: ImageData, space: SearchSpace, share: float
) -> TrainingSettings:
    """Return how a network is trained, in about a share of the time or with no limit on it."""
    seconds = None if settings.seconds is None else PLANNED * settings.seconds * share
    planned = presets.training_settings(
        data,
        space,
        seconds,
        settings.device,
        asked=Reduction(inherits=settings.weights is not None),
    )
    training = replace(planned, checks=())
    if not settings.scaled:
        return training
    # At more pixels an image takes about as much longer as scaled networks do: about five times.
    return presets.scaled_settings(training, space, None if seconds is None else 1 / 5)
