"""``nas-search fidelity``: a proxy made, prepared and compared with a table; resumable."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from nas.data import ImageData
from nas.data.dataset import DEFAULT_OPTIONS, ImageOptions
from nas.environment import check_device, environment
from nas.errors import InputError, check_range
from nas.evaluation.journal import JOURNAL
from nas.evaluation.local import jobs_that_fit
from nas.files import digest
from nas.networks.pretrained import Pretrained
from nas.progress import ALREADY, Progress, SilentProgress, shown_as
from nas.proxies import presets
from nas.proxies.benchmark_table import read_table
from nas.proxies.protocol import description
from nas.proxies.reduction import Reduction
from nas.proxies.registration import ProxySetup
from nas.proxies.registry import (
    check_data,
    check_weights,
    default_proxy,
    make_proxy,
    proxy_capabilities,
)
from nas.proxies.short_training import TrainingSettings
from nas.proxies.supernet import SupernetProxy
from nas.records.fidelity_document import FidelityDocument
from nas.records.result_folder import ResultFolder
from nas.runs.fidelity.rank_agreement import Fidelity, budget_of, measure_fidelity
from nas.runs.fidelity.table_sample import SAMPLES, draw_networks
from nas.runs.images import load_shared_images
from nas.spaces.search_space import SearchSpace
from nas.training.supernet_trainer import SupernetSettings

PLANNED = 0.8
"""Share of the time that trainings are planned to fill; the rest is for measuring their speed and
for starting."""

SUPERNET_SHARE = 0.6
"""Share of the time that the training of a supernet is planned to fill; the rest is for the
evaluations."""


@dataclass(frozen=True)
class FidelitySettings:
    """Which proxy is compared with which table, and how.

    Attributes:
        table: file of the benchmark table.
        space: the search space that the table is of.
        proxy: name of the proxy; None: the one that a search would use.
        data: images, by name or path; None: the built-in ones, where the proxy needs any.
        samples: networks drawn from the table, and from each band.
        bands: of FLOPs, such as ``300M-330M``.
        seconds: for the proxy's preparation and all evaluations; None: no limit.
        seed: decides which networks are drawn, and how the proxy evaluates them.
        jobs: how many evaluations run at once; None: what suits the proxy and the device.
        device: that torch runs on.
        out: folder that keeps the evaluations; None: nothing is kept.
        image_options: how images are prepared and augmented.
        weights: trained weights that a proxy that trains begins with; None: new ones.

    Raises:
        InputError: a value is not accepted.
    """

    table: Path
    space: SearchSpace
    proxy: str | None = None
    data: str | None = None
    samples: int = SAMPLES
    bands: tuple[str, ...] = ()
    seconds: float | None = None
    seed: int = 0
    jobs: int | None = None
    device: str = "cpu"
    out: Path | None = None
    image_options: ImageOptions = DEFAULT_OPTIONS
    weights: Pretrained | None = None

    def __post_init__(self) -> None:
        """Refuse what is not accepted."""
        proxy_capabilities(self.proxy_name)  # an unknown name is an error
        check_data(self.proxy_name, self.data)
        check_device(self.device)
        check_range("jobs", self.jobs, 1)
        check_weights(self.proxy_name, self.weights)

    @property
    def proxy_name(self) -> str:
        """The name of the proxy."""
        return self.proxy or default_proxy(self.space, self.data)


def measure_proxy(settings: FidelitySettings, progress: Progress | None = None) -> Fidelity:
    """Make a proxy, let it rank networks of known accuracy, and say how well it does.

    With a folder, evaluations are kept in it, and a measurement with the same settings resumes.

    Args:
        settings: which proxy and which table.
        progress: shows how far it is; None: nothing is shown.

    Raises:
        InputError: the table, the images or the proxy cannot be used; the folder is in use, holds
            something else or cannot be written.
        EvaluationFailed: nothing finished, or too many evaluations in a row failed.
    """
    progress = progress or SilentProgress()
    progress.phase("draw networks", None)
    draw = draw_networks(
        read_table(settings.table),
        settings.space,
        samples=settings.samples,
        bands=settings.bands,
        seed=settings.seed,
    )
    with ResultFolder.open(settings.out, FidelityDocument, progress.note) as results:
        before, name = results.before, settings.proxy_name
        capabilities = proxy_capabilities(name)
        space, jobs, data = draw.space, settings.jobs or 1, None
        if capabilities.needs_images:
            data, jobs = load_shared_images(
                settings.data,
                space,
                settings.jobs,
                settings.device,
                progress,
                options=settings.image_options,
            )
            space = replace(space, in_channels=data.channels, num_classes=data.num_classes)
        start = time.monotonic()
        progress.phase("prepare", None)
        training = supernet = None
        if data is not None and capabilities.shares_weights:
            supernet = before.supernet if before else _supernet(settings, data, space)
        elif data is not None:
            share = jobs / len(draw.networks)
            training = before.training if before else _training(settings, data, space, share)
        setup = ProxySetup(
            data=data,
            device=settings.device,
            seed=draw.seed,
            weights=settings.weights,
            training=training,
            supernet=supernet,
            on_progress=shown_as(progress, "supernet"),
        )
        proxy = make_proxy(name, setup)
        if isinstance(proxy, SupernetProxy):
            shared = {"the images": proxy.data.nbytes, "the supernet": proxy.nbytes}
            jobs = jobs_that_fit(jobs, shared, progress.note)
        identity = {
            "space": draw.space.fingerprint(),
            "table": draw.table.sha256,
            "data": None if data is None else data.fingerprint,
            "augment": None if data is None else list(data.augment),
            # How a proxy trains stands beside this: it may have been measured by the clock.
            "proxy": name if data is not None else description(proxy),
            "seed": draw.seed,
            **({} if settings.weights is None else {"weights": settings.weights.digest}),
        }
        results.check_identity(identity)
        document = FidelityDocument(
            identity=identity,
            **environment(),
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
                progress.phase("evaluate", total)
            if not begun and done:
                progress.advance(done, ALREADY)
            elif begun:
                progress.advance(1)
            begun = True

        try:
            found = measure_fidelity(
                draw,
                proxy,
                space=space,
                jobs=jobs,
                seconds=_left(settings.seconds, start),
                folder=results.path,
                study_name=_study_name(document),
                on_evaluation=on_evaluation,
            )
        except InputError:
            if before is None and not begun:
                results.discard()  # the proxy cannot work here
            raise
        results.finish(document.updated(result=found.to_dict()), [JOURNAL])
    return found


def _study_name(document: FidelityDocument) -> str:
    known = document.model_dump(include={"identity", "training", "supernet", "budget"})
    return f"fidelity-{digest(known)[:10]}"


def _left(seconds: float | None, start: float) -> float | None:
    return None if seconds is None else start + seconds - time.monotonic()


def _supernet(settings: FidelitySettings, data: ImageData, space: SearchSpace) -> SupernetSettings:
    seconds = None if settings.seconds is None else SUPERNET_SHARE * settings.seconds
    asked = Reduction(inherits=settings.weights is not None)
    return presets.supernet_settings(data, space, seconds, settings.device, asked=asked)


def _training(
    settings: FidelitySettings, data: ImageData, space: SearchSpace, share: float
) -> TrainingSettings:
    seconds = None if settings.seconds is None else PLANNED * settings.seconds * share
    asked = Reduction(inherits=settings.weights is not None)
    return presets.training_settings(data, space, seconds, settings.device, asked=asked)
