"""``run.json``: the state of a run, written by the pipeline and read by everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from nas.errors import InputError
from nas.files import digest
from nas.networks.cost import METRICS
from nas.records.coefficients_file import CoefficientsBy
from nas.records.document import Document
from nas.records.plan import Plan
from nas.records.run_paths import RunPath
from nas.spaces.budget import LATENCY
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace
from nas.spaces.toml import space_from_dict

FAMILY = "family"
"""The folder of the scaled networks in a run's folder."""

LATENCY_FILE = "latency.json"
"""The latencies that the budget means; written before ``run.json``, which has their hash."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_Count = Annotated[int, Field(ge=0, lt=10**15)]
_Seconds = Annotated[float, Field(ge=0, lt=1e12)]
_Metric = Annotated[str, Field(pattern=f"^({'|'.join((*METRICS, LATENCY))})$")]
_Limit = (
    Annotated[int, Field(strict=True, ge=1)]
    | Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
)


class _StatePart(BaseModel):
    model_config = _STRICT


class RunCommand(_StatePart):
    """The options of the command that began the run, which ``resume`` gives again.

    Passwords are left out of ``storage``.
    """

    budget: str
    space: str | None
    data: str | None
    fit: str = "crop"
    augment: str | None = None
    max_pixels: int | None = None
    hold_out: bool = False
    groups: str | None = None
    resolution: int | None
    proxy: str | None
    coefficients: str | None = None
    objective: str
    sampler: str
    trials: int | None
    time: str | None
    seed: int
    jobs: int | None
    engine: str
    ray_address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    storage: str | None
    latency_table: str | None = None
    latency_backend: str | None = None
    latency_batch: int | None = None
    device: str | None
    start: list[str]
    scale: bool
    finalists: int | None
    reference: str | None
    check: bool
    weights: str | None = None
    weights_architecture: str | None = None
    train: bool = False
    export: str | None = None
    train_width: float | None = None
    train_resolution: int | None = None
    train_images: int | None = None

    @property
    def words(self) -> tuple[str | None, ...]:
        """The options whose values may be paths."""
        named = (
            *(self.budget, self.space, self.data, self.latency_table, self.reference),
            *(self.weights, self.weights_architecture),
        )
        return (*named, *self.start)

    def at(self, places: Mapping[str, str]) -> RunCommand:
        """Return the command with other words for some of these."""

        def moved(word: str | None) -> str | None:
            return word if word is None else places.get(word, word)

        options = (
            *("budget", "space", "data", "latency_table", "reference"),
            *("weights", "weights_architecture"),
        )
        return self.model_copy(
            update={
                **{option: moved(getattr(self, option)) for option in options},
                "start": [places.get(word, word) for word in self.start],
            }
        )


class RunIdentity(TypedDict):
    """What makes a run this one; a folder that holds another run is refused.

    Attributes:
        space: hash of the search space, with the channels and classes of the images.
        budget: limits by metric.
        data: fingerprint of the images that are searched on; None: none are.
        augment: augmentations of these images.
        proxy: name and settings of the proxy; its name alone where the plan has the settings.
        coefficients: the evidence by which they are chosen.
        latency: fingerprint of the latency table; None: the budget has no limit on latency.
        start: keys of the architectures that are evaluated first.
        weights: hash of the file of trained weights, and key of their network; missing: there are
            none.
        training: width, resolution and images of the trainings, where they were asked for; missing:
            none was.
        plugins: proxies and samplers of other distributions, with name and version, by role.
    """

    space: str
    budget: Mapping[_Metric, _Limit]
    data: str | None
    augment: list[str] | None
    proxy: dict[str, Any] | str
    coefficients: CoefficientsBy
    latency: str | None
    objective: str
    sampler: str
    seed: int
    start: list[str]
    plugins: dict[str, dict[str, str | None]]
    weights: NotRequired[list[str]]
    training: NotRequired[list[float | None]]


class ImagesSummary(_StatePart):
    """The images that a run trains on.

    Attributes:
        name: of the data set.
        classes: how many.
        images: of the training, the validation and the test part.
        image_resolution: pixels a side, as they are in memory.
        imbalance: images of the largest class over those of the smallest.
        mean, std: of each channel of the training part, scaled to 0 … 1.
    """

    name: str
    classes: Annotated[int, Field(ge=1)]
    images: Annotated[list[_Count], Field(min_length=1)]
    image_resolution: _Count
    imbalance: float
    mean: list[float]
    std: list[float]

    @property
    def input(self) -> tuple[int, int]:
        """Channels and classes."""
        return len(self.mean), self.classes


class PhaseSummary(_StatePart):
    """Where the evaluations of a phase are kept, and about how many there will be."""

    study: str
    total: _Count


class LatencyTiming(_StatePart):
    """Nanoseconds that a whole network took: the median and its 95 % interval."""

    median: _Count
    low: _Count
    high: _Count
    repeats: _Count


class BaselineLatency(_StatePart):
    """Nanoseconds that the baseline takes: by the table, and end to end where it was timed."""

    sum: _Count
    whole: LatencyTiming | None


class TrialCounts(_StatePart):
    """How many trials of the search ended in each state."""

    finished: _Count
    stopped: _Count
    failed: _Count


class ProxyCheckSummary(_StatePart):
    """How the proxy ranked networks that were then trained longer."""

    samples: _Count
    kendall_tau: float
    kendall_tau_ci95: list[float]
    spearman: float
    regret: float
    kendall_tau_flops: float
    kendall_tau_flops_ci95: list[float]
    kendall_tau_minus_flops_ci95: list[float]


class TrainedBaseline(_StatePart):
    """What the baseline is worth after its final training.

    Attributes:
        file: its weights.
        folder: of the training.
        epochs: how often each image was seen.
        resolution: pixels that it was trained and is used at.
        validation: accuracy on the validation images, with which nothing but the number of the
            epoch was chosen.
        test: on the test images, which have chosen nothing; None: there are none.
        export: folder that it was exported to; None: it was not.
    """

    file: str
    folder: str
    epochs: float
    resolution: _Count
    validation: dict[str, Any] | None
    test: dict[str, Any] | None
    export: str | None = None


class RunState(Document):
    """The state of a run.

    Attributes:
        command: options of the command; None where the run was begun from Python.
        paths: files and folders that the command names, by the words that it has for them.
        space: name of the search space, or the path of its file.
        budget: name of the budget.
        storage: URL of the study's storage, without its password; None: the folder.
        plan: how networks are trained; None where none are.
        data: the images that are trained on; None where none are.
        study: how the names of the run's studies begin.
        driver: name of this driver among those that share the storage.
        driver_at: hash of machine and folder; a copy of the folder belongs to another driver.
        phase: the phase that the run is in, or was in when it ended.
        phases: the phases with evaluations that have begun, by name.
        until: when ``--time`` ends, in seconds since 1970.
        seconds: wall time of each phase, over all sessions.
        sessions: how often the run was begun or resumed.
        latency: of the baseline, where the budget limits it.
        check: how far the proxy can be trusted, where that was measured.
        notes: what was said on the way.
        made_space: the search space, where the run made it around trained weights.
        references: networks that finalists are compared with, as architectures; empty in the files
            of earlier versions.
        trained: the baseline's final training; None: not yet, or there is none.
        trained_seconds: that it was given; a session that resumes it keeps them.
    """

    model_config = _STRICT

    KIND: ClassVar[str] = "run"
    FILE: ClassVar[str] = "run.json"
    SCHEMA: ClassVar[str] = "nas-search-run/3"
    PRECEDED_BY: ClassVar[frozenset[str]] = frozenset({LATENCY_FILE})

    command: RunCommand | None
    paths: dict[str, RunPath] = Field(default_factory=dict)
    space: str
    budget: str
    storage: str | None
    identity: RunIdentity
    plan: Plan | None
    data: ImagesSummary | None
    jobs: _Count
    device: str
    study: str
    driver: str
    driver_at: str
    phase: str | None
    phases: dict[str, PhaseSummary]
    until: _Seconds | None
    seconds: dict[str, _Seconds]
    sessions: _Count
    latency: BaselineLatency | None
    trials: TrialCounts | None
    check: ProxyCheckSummary | None
    notes: list[str]
    made_space: dict[str, Any] | None = None
    references: list[dict[str, Any]] = Field(default_factory=list)
    trained: TrainedBaseline | None = None
    trained_seconds: _Seconds | None = None

    def study_name(self, phase: str, *more: str) -> str:
        """Return the name of a phase's study; ``more`` is what else its rows belong to."""
        return study_name(self.study, phase, self.identity, *more)

    @property
    def searched(self) -> ImagesSummary | None:
        """The images that were searched on; None: there are none."""
        return None if self.identity["data"] is None else self.data

    def known_space(self) -> SearchSpace | None:
        """Return the search space as the run had it, or None where it is not known here."""
        try:
            if self.made_space is not None:
                space = space_from_dict(self.made_space)
            else:
                space = load_space(self.space)
        except InputError:
            return None
        pixels = None if self.command is None else self.command.resolution
        if pixels is not None:
            space = space.at_resolution(pixels)
        if self.searched is not None:
            channels, classes = self.searched.input
            space = replace(space, in_channels=channels, num_classes=classes)
        return space if space.fingerprint() == self.identity["space"] else None


def study_name(prefix: str, phase: str, identity: Any, *more: str) -> str:
    """Return the name of a phase's study.

    Args:
        prefix: how the names of a run's studies begin.
        phase: of the run.
        identity: what the run is known by.
        more: what else the rows of the study belong to; other networks are another study.
    """
    return f"{prefix}-{phase}-{digest([identity, *more])[:10]}"
