"""A benchmark table of one's own, from its settings to its rows; resumable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.data.dataset import DEFAULT_OPTIONS, ImageOptions
from nas.data.reading import DEFAULT_RESOLUTION
from nas.environment import check_device, environment
from nas.errors import EvaluationFailed, check_range
from nas.evaluation.journal import JOURNAL
from nas.evaluation.local import local_engine
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import open_seeded_runs
from nas.evaluation.study import Study
from nas.files import write_text
from nas.networks.pretrained import Pretrained
from nas.progress import Progress, SilentProgress
from nas.proxies import presets
from nas.proxies.reduction import Reduction
from nas.proxies.short_training import TrainingProxy
from nas.records.result_folder import ResultFolder
from nas.records.table_document import TableDocument, TableIdentity
from nas.runs.benchmark_table.rows import draw_band, rows, to_lines
from nas.runs.images import load_shared_images
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace

ROWS = "table.jsonl"

STUDY = "table"
"""Name of the study, and the purpose that seeds are derived from."""

OBJECTIVE = Objective("accuracy", "loss")


@dataclass(frozen=True)
class TableSettings:
    """Which networks a table has, and how they are trained.

    Attributes:
        space: the search space that networks are drawn from.
        flops: the band that they are drawn from, both ends in it.
        out: folder of the table.
        data: images, by name or path; None: the built-in ones.
        networks: how many are drawn.
        seeds: trainings of each.
        images: shown in each training, repeats included; None: as many as suit the data.
        width: multiplies the widths of the networks; None: by default.
        resolution: pixels at which networks are trained; None: by default.
        seconds: nothing starts that would probably end later; None: no limit.
        seed: decides which networks are drawn, and how they are trained.
        jobs: how many are trained at once; None: what suits the device.
        device: that torch trains on.
        image_options: how images are prepared and augmented.
        weights: trained weights that all networks inherit; None: they are trained from scratch.

    Raises:
        InputError: a value is not accepted.
    """

    space: SearchSpace
    flops: tuple[int, int]
    out: Path
    data: str | None = None
    networks: int = 24
    seeds: int = 2
    images: int | None = None
    width: float | None = None
    resolution: int | None = None
    seconds: float | None = None
    seed: int = 0
    jobs: int | None = None
    device: str = "cpu"
    image_options: ImageOptions = DEFAULT_OPTIONS
    weights: Pretrained | None = None

    def __post_init__(self) -> None:
        """Refuse what is not accepted."""
        check_range("networks", self.networks, 1, 10_000)
        check_range("seeds", self.seeds, 1, 100)
        check_range("images", self.images, 256, 10**9)
        Reduction(False, self.width, self.resolution)  # refuses what is not accepted
        check_range("jobs", self.jobs, 1)
        check_device(self.device)


@dataclass(frozen=True)
class MadeTable:
    """A finished table.

    Attributes:
        file: of the rows.
        rows: one for each network and seed that was measured.
        failed: how many trainings failed.
    """

    file: Path
    rows: Sequence[dict[str, Any]]
    failed: int


def make_table(settings: TableSettings, progress: Progress | None = None) -> MadeTable:
    """Train random networks within a band of FLOPs, and write a row for each training.

    Args:
        settings: which networks, and how they are trained.
        progress: shows how far the table is; None: nothing is shown.

    Raises:
        InputError: the band has too few networks; the images do not fit; the folder is in use,
            holds something else or cannot be written.
        EvaluationFailed: nothing was measured.
    """
    start = time.monotonic()
    progress = progress or SilentProgress()
    low, high = settings.flops
    space = settings.space
    feasible = Feasible(space, Budget(f"{high}-flops", flops=high))
    feasible.check()
    drawn = draw_band(feasible, (low, high), settings.networks, settings.seed)
    with ResultFolder.open(settings.out, TableDocument, progress.note) as results:
        data, jobs = load_shared_images(
            settings.data,
            space,
            settings.jobs,
            settings.device,
            progress,
            max(DEFAULT_RESOLUTION, settings.resolution or 0),
            settings.image_options,
        )
        asked = Reduction(
            inherits=settings.weights is not None,
            width=settings.width,
            resolution=settings.resolution,
            images=settings.images,
        )
        candidate = presets.default_settings(data, space, asked=asked)
        training = presets.final_settings(candidate, asked)
        networks = [
            replace(network, in_channels=data.channels, num_classes=data.num_classes)
            for network in drawn
        ]
        proxy = TrainingProxy(data, training, settings.device, settings.weights)
        proxy.prepare(space, Budget("none"), results.path)
        identity = TableIdentity(
            space=space.fingerprint(),
            data=data.fingerprint,
            flops=[low, high],
            networks=settings.networks,
            training=proxy.describe(),
            seed=settings.seed,
        )
        results.check_identity(identity)
        document = TableDocument(
            identity=identity, **environment(), space=space.name, data=data.name
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
            total=settings.seeds * settings.networks,
            progress=progress,
            phase="train",
            deadline=None if settings.seconds is None else start + settings.seconds,
        ) as runs:
            for turn in range(settings.seeds):
                if not runs.run(turn, range(settings.networks)):
                    progress.note("the time ended; rerun the command to resume")
                    break
        measured = runs.all_measured()
        found = rows(drawn, space, measured)
        if not found:
            reasons = (network.reason for network in measured if network.reason)
            raise EvaluationFailed(
                f"nothing was measured: {next(reasons, 'the time ended before')}"
            )
        write_text(results.path / ROWS, to_lines(found))
        results.finish(document, [ROWS, JOURNAL])
    failed = sum(run.accuracy is None for network in measured for run in network.runs)
    return MadeTable(results.path / ROWS, found, failed)
