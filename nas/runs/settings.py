"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nas.data.dataset import DEFAULT_OPTIONS, ImageOptions
from nas.files import slug
from nas.networks.architecture import Architecture
from nas.networks.pretrained import Pretrained
from nas.progress import Progress
from nas.proxies.reduction import Reduction
from nas.proxies.registry import default_proxy, proxy_capabilities
from nas.records.coefficients_file import CoefficientsBy
from nas.records.run_paths import RunPath
from nas.records.run_state import RunCommand
from nas.spaces.budget import Budget
from nas.spaces.latency_table import LatencyTable, Setting, Timing
from nas.spaces.search_space import SearchSpace
from nas.strategies.samplers import DEFAULT

TRIALS = 30
QUICK_TRIALS = 300
FINALISTS = 3


class LatencySource(Protocol):
    """Says what latency is."""

    def table(self, space: SearchSpace, progress: Progress | None = None) -> LatencyTable:
        """Return a table that has all blocks of a space."""

    def setting(self) -> Setting | None:
        """Return what it measures with here; None where it was measured elsewhere."""

    def whole(self, network: Architecture) -> Timing | None:
        """Return what a whole network takes, end to end; None where that device is not here."""


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked to do; see the command's help for each."""

    space: SearchSpace
    budget: Budget
    data: str | None = None
    proxy: str | None = None
    """None: what suits the space and the data; see :attr:`proxy_name`."""
    coefficients: CoefficientsBy | None = None
    """Evidence by which coefficients are chosen; None: see :attr:`coefficients_by`."""
    objective: str = "accuracy"
    sampler: str = DEFAULT
    trials: int | None = None
    """None: 30 that are trained, 300 that are not."""
    seconds: float | None = None
    seed: int = 0
    jobs: int | None = None
    storage: str | None = None
    engine: str = "local"
    ray_address: str | None = None
    """Of a cluster's head; None: one of this machine is started."""
    cpus_per_trial: float | None = None
    """None: 1."""
    gpus_per_trial: float | None = None
    """None: 1 where the device is one, else none."""
    out: Path | None = None
    device: str = "cpu"
    start: tuple[Architecture, ...] = ()
    scale: bool = True
    finalists: int | None = None
    """None: 3 where there are data to train them on, else none."""
    reference: Architecture | None = None
    """What the finalists are compared with; None: EfficientNet-B0."""
    check: bool = True
    weights: Pretrained | None = None
    """Trained weights that networks inherit; None: they are trained from scratch."""
    train_width: float | None = None
    """Multiplies the widths of the networks that are trained in the search; None: by default."""
    train_resolution: int | None = None
    """Pixels at which they are trained; None: by default."""
    train_images: int | None = None
    """Shown to each that is trained alone; None: by the data, or the time."""
    made_space: Mapping[str, Any] | None = None
    """The search space as a file would have it, where it was made around the weights."""
    train: bool = True
    """Train the baseline at its own resolution in the end, where there are images."""
    export: str | None = None
    """Library or format that the trained baseline is exported to; None: to none."""
    latency: LatencySource | None = None
    """Where a limit on latency has its latencies from."""
    image_options: ImageOptions = DEFAULT_OPTIONS
    """How images are prepared and augmented."""
    command: RunCommand | None = None
    """Options of the command line, to be given again on resuming; None: called from Python."""
    paths: Mapping[str, RunPath] = field(default_factory=dict)
    """Files and folders that the command names, by its words for them."""

    @property
    def proxy_name(self) -> str:
        """The proxy of the search."""
        return self.proxy or default_proxy(self.space, self.data)

    @property
    def reduction(self) -> Reduction:
        """How networks are trained in the search, as far as that is asked for."""
        return Reduction(
            self.weights is not None, self.train_width, self.train_resolution, self.train_images
        )

    @property
    def coefficients_by(self) -> CoefficientsBy:
        """The evidence by which the coefficients are chosen."""
        scratch = self.data is not None and self.weights is None
        return self.coefficients or ("training" if scratch else "prior")

    @property
    def trial_count(self) -> int:
        """How many trials, in all."""
        trained = proxy_capabilities(self.proxy_name).trains_candidates
        return self.trials or (TRIALS if trained else QUICK_TRIALS)

    @property
    def finalist_count(self) -> int:
        """How many networks are trained from scratch before one is chosen."""
        if self.finalists is None:
            return FINALISTS if self.data is not None else 0
        return self.finalists

    @property
    def checks(self) -> bool:
        """Whether the proxy's ranking is checked: on a user's data only."""
        return self.check and self.data is not None

    @property
    def trains(self) -> bool:
        """Whether the baseline is trained in the end: on a user's data only."""
        return self.train and self.data is not None

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.out or Path("results") / f"{slug(self.space.name)}-{slug(self.budget.name)}"
