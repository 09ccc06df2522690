"""How long blocks and networks take on this device, measured where they stand.

A block alone is not what it is in a network: its input is in the cache or not, its weights are
not, and a runtime lays tensors out for its neighbours. So blocks are timed inside whole networks,
drawn so that together they have every block of a space. Timing inside costs time itself, and
medians do not add up: blocks are then scaled so that sums agree with networks timed end to end,
and the sums are checked on other networks. Repeats are interleaved, so that other load on the
machine affects all networks alike.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from nas.environment import cache_folder, memory
from nas.errors import InputError
from nas.export.latency_networks import _others, covering
from nas.export.latency_runners import _images, _processor, _Runner, _runner
from nas.files import digest
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.networks.optional_packages import versions
from nas.progress import Progress
from nas.seeding import derived_rng
from nas.spaces.latency_table import (
    Backend,
    Check,
    LatencyTable,
    Setting,
    Timing,
    block_keys,
    keys,
    read_table,
    write_table,
)
from nas.spaces.search_space import SearchSpace
from nas.statistics import kendall_tau

logger = logging.getLogger(__name__)

FORMAT = 2
"""Of what is remembered: raise it when latencies come to mean something else."""

ROUNDS = 10
"""Repeats of every network that gives blocks their latencies."""


ENOUGH = 150
"""As many networks as there are blocks are timed end to end to scale them, but no more than this
without need."""

CHECKED = 30
"""Networks that the sums are checked on."""

CHECK_ROUNDS = 20
"""Repeats of each of those."""

WARM_UP = 3

_BYTES: dict[Backend, int] = {"pytorch": 5, "onnxruntime": 11}
"""What a network ready to run holds in memory for every parameter, as seen; with ONNX Runtime half
of all activations come on top."""

_FEW = 40
"""So many networks take turns where the memory is not known."""

_MEMORY = 0.6
"""What share of the memory is given to networks that take turns."""

_OFF = 0.2
"""What the latency of a block inside a network is thought to be off, as a share of it."""

_NOISE = 0.02
"""What a sum of rightly scaled blocks is thought to be off."""

_LEAST = 0.2
"""No block is scaled to less than this share of what was measured inside, nor to more than five
times that."""

_DRIFT = 2.0
"""What the machine is at most thought to be slower or faster than when known blocks were timed."""


@dataclass(frozen=True)
class Device:
    """This machine, to measure latencies on.

    Attributes:
        backend: what runs the networks.
        device: where: ``cpu``, ``cuda`` or ``mps``.
        batch: images at once.
        again: measure blocks anew that are remembered from earlier.
    """

    backend: Backend = "pytorch"
    device: str = "cpu"
    batch: int = 1
    again: bool = False

    def table(
        self, space: SearchSpace, progress: Progress | None = None, *, checked: int = CHECKED
    ) -> LatencyTable:
        """Return the latencies of all blocks of a space; they are remembered, a file a setting."""
        where = self.setting()
        path = _remembered(where)
        wanted = set(block_keys(space))
        known: dict[str, Timing] = {}
        with suppress(InputError):  # a cache: what is not there or cannot be read is measured
            known = read_table(path).blocks
        logger.info(
            "latency table %s: %d of %d blocks of %s are cached",
            path,
            len(wanted & known.keys()),
            len(wanted),
            space.name,
        )
        others = {key: timing for key, timing in known.items() if key not in wanted}
        given = LatencyTable(where, others if self.again else known)
        table = measure(space, where, known=given, checked=checked, progress=progress)
        if table.blocks != known:
            with suppress(InputError):  # no place for a cache is no reason to fail
                write_table(path, replace(table, check=None))
        mine = {key: timing for key, timing in table.blocks.items() if key in wanted}
        return replace(table, blocks=mine)

    def setting(self) -> Setting:
        """Return what latencies are measured with."""
        return setting(self.backend, self.device, self.batch)

    def whole(self, network: Architecture, rounds: int = CHECK_ROUNDS) -> Timing:
        """Return what a whole network takes, end to end."""
        job = _Job(network, rounds)
        _timed([job], self.setting(), 0)
        return _timing(job.ends)


def setting(backend: Backend, device: str, batch: int) -> Setting:
    """Return what latencies are measured with here.

    Raises:
        InputError: the backend is not installed, or has no such device.
    """
    if backend == "onnxruntime":
        if device != "cpu":
            raise InputError(f"latency backend onnxruntime: device {device!r} is not accepted: cpu")
        found = versions("onnxruntime")
    else:
        found = {"torch": torch.__version__}
    return Setting(backend, device, _processor(device), batch, torch.get_num_threads(), found)


def measure(
    space: SearchSpace,
    where: Setting,
    *,
    seed: int = 0,
    known: LatencyTable | None = None,
    rounds: int = ROUNDS,
    checked: int = CHECKED,
    progress: Progress | None = None,
) -> LatencyTable:
    """Return the latencies of all blocks of a space, with the error of their sums.

    Args:
        space: whose blocks.
        where: with what; of this machine.
        seed: draws networks and the order of repeats.
        known: what was measured before, under the same setting, and is not measured again.
        rounds: repeats of every network.
        checked: networks to check the sums on, two at least; 0: none.
        progress: told of every network.
    """
    blocks = {} if known is None else dict(known.blocks)
    inside = covering(space, set(blocks), seed)
    new = {key for network in inside for key in keys(network)} - set(blocks)
    rng = derived_rng(seed, "latency scale")
    more = max(0, min(ENOUGH, len(new)) - len(inside))
    whole = [space.decode(space.sample(rng)) for _ in range(more)]
    check = _others(space, checked, {network.key() for network in (*inside, *whole)}, seed)
    jobs = [
        *(_Job(network, rounds, rounds) for network in inside),
        *(_Job(network, rounds) for network in whole),
        *(_Job(network, CHECK_ROUNDS) for network in check),
    ]
    _timed(jobs, where, seed, progress)
    if new:
        blocks |= _scaled(jobs[: len(inside)], jobs[: len(inside) + len(whole)], blocks)
    table = LatencyTable(where, blocks)
    if not checked:
        return table
    return replace(table, check=_check(table, jobs[-checked:]))


@dataclass
class _Job:
    """A network to be timed so many times end to end, and so many times block by block.

    Attributes:
        ends: nanoseconds of every run, once it is done.
        blocks: nanoseconds of stem, blocks and head of every run.
    """

    network: Architecture
    rounds: int
    inside: int = 0
    ends: list[int] = field(default_factory=list)
    blocks: list[list[int]] = field(default_factory=list)

    @property
    def whole(self) -> float:
        """Return the median of the runs end to end."""
        return median(self.ends)


def _scaled(
    inside: Sequence[_Job], whole: Sequence[_Job], known: Mapping[str, Timing]
) -> dict[str, Timing]:
    """Return the blocks that are not known, from networks timed inside, scaled to whole ones.

    A block's scale is one factor for all, what timing inside costs, and its own part: by ridge
    regression, least squares of the relative errors of sums with scales thought to be near 1, so
    that a block which no sum says anything about keeps what was measured.
    """
    samples: dict[str, list[int]] = {}
    for job in inside:
        for run in job.blocks:
            for key, taken in zip(keys(job.network), run, strict=True):
                samples.setdefault(key, []).append(taken)
    factor = median(job.whole / median(map(sum, job.blocks)) for job in inside)
    # Known blocks are of another time: what the machine is slower now is not the new ones' fault.
    again = [
        factor * median(taken) / known[key].median for key, taken in samples.items() if key in known
    ]
    drift = min(_DRIFT, max(1 / _DRIFT, median(again))) if again else 1.0
    found = {key: _timing(taken) for key, taken in samples.items() if key not in known}
    place = {key: index for index, key in enumerate(found)}
    # Of a network's latency, by blocks that are new; the last of all that are known.
    share = np.zeros((len(whole), len(found) + 1))
    for row, job in enumerate(whole):
        for key in keys(job.network):
            if key in known:
                share[row, -1] += drift * known[key].median / job.whole
            else:
                share[row, place[key]] += factor * found[key].median / job.whole
    precision = share.T @ share + (_NOISE / _OFF) ** 2 * np.eye(len(found) + 1)
    off = np.linalg.solve(precision, share.T @ (1 - share.sum(axis=1)))
    scale = np.clip(1 + off, _LEAST, 1 / _LEAST)
    scales = factor * scale / (drift * scale[-1])
    return {key: _times(found[key], float(scales[index])) for key, index in place.items()}


def _check(table: LatencyTable, jobs: Sequence[_Job]) -> Check:
    """Compare sums with other whole networks, timed end to end."""
    sums = np.array([table.of(job.network) for job in jobs], dtype=np.float64)
    whole = np.array([job.whole for job in jobs])
    halves = [np.array([median(job.ends[half::2]) for job in jobs]) for half in (0, 1)]
    errors = sums / whole - 1
    return Check(
        networks=len(jobs),
        error=round(float(np.abs(errors).mean()), 4),
        bias=round(float(errors.mean()), 4),
        kendall_tau=round(kendall_tau(sums, whole), 4),
        kendall_tau_repeats=round(kendall_tau(*halves), 4),
        fastest=int(whole.min()),
        slowest=int(whole.max()),
    )


def _timed(
    jobs: Sequence[_Job], where: Setting, seed: int, progress: Progress | None = None
) -> None:
    """Give every job what its runs took; networks take turns, all that the memory holds."""
    if progress is not None:
        progress.phase("latencies", sum(job.rounds + job.inside + WARM_UP for job in jobs) or None)
    rng = random.Random(seed)
    mixed = rng.sample(jobs, len(jobs))
    size = _at_once(jobs, where)
    with torch.random.fork_rng(devices=[]):
        for start in range(0, len(mixed), size):
            with TemporaryDirectory() as folder:
                _take_turns(mixed[start : start + size], where, Path(folder), rng, progress)
    _images.cache_clear()


def _at_once(jobs: Sequence[_Job], where: Setting) -> int:
    """Return how many can take turns: what is timed in another minute differs by more."""
    there = memory()
    if not jobs or where.device != "cpu" or there is None:
        return _FEW
    held = 0
    for job in jobs:
        cost = measure_cost(job.network)
        each = _BYTES[where.backend] * cost.params
        if where.backend == "onnxruntime":
            each += 2 * where.batch * cost.activations  # at four bytes each
            each *= 2 if job.inside else 1
        held += each
    return math.ceil(len(jobs) / math.ceil(held / (_MEMORY * there)))


def _take_turns(
    jobs: Sequence[_Job],
    where: Setting,
    folder: Path,
    rng: random.Random,
    progress: Progress | None,
) -> None:
    runners: list[tuple[_Runner, _Runner | None]] = []
    turns: list[tuple[float, Callable[[], None]]] = []
    for job in jobs:
        end, inside = _runner(job.network, where), None
        runs = [(end.whole, job.rounds)]
        if job.inside:  # ONNX Runtime's profile slows what it profiles
            profiled = where.backend == "onnxruntime"
            inside = _runner(job.network, where, folder) if profiled else end
            runs.append((inside.parts, job.inside))
        for run, count in runs:
            for _ in range(WARM_UP):
                run()
            # Each one's turns are spread evenly over the time, in no fixed order.
            turns += [((turn + rng.random()) / count, run) for turn in range(count)]
        runners.append((end, inside))
        if progress is not None:
            progress.advance(WARM_UP)
    for _, run in sorted(turns, key=itemgetter(0)):
        run()
        if progress is not None:
            progress.advance(1)
    for job, (end, inside) in zip(jobs, runners, strict=True):
        job.ends = end.ends[WARM_UP:]
        if inside is not None:
            job.blocks = inside.blocks()[WARM_UP:]


def _timing(samples: Sequence[int]) -> Timing:
    """Return the median and its 95 % interval, from the order of the samples."""
    ordered = sorted(samples)
    count = len(ordered)
    reach = 0.98 * count**0.5  # normal approximation of the binomial of 1/2
    low = max(0, int(count / 2 - reach))
    high = min(count - 1, int(count / 2 + reach))
    return Timing(round(median(ordered)), ordered[low], ordered[high], count)


def _times(timing: Timing, scale: float) -> Timing:
    """Return a latency, scaled."""
    low, middle, high = (
        max(1, round(value * scale)) for value in (timing.low, timing.median, timing.high)
    )
    return Timing(middle, low, high, timing.repeats)


def _remembered(where: Setting) -> Path:
    """Return the file of what was measured under a setting."""
    return cache_folder() / f"latency-{digest([FORMAT, asdict(where)])[:16]}.json"
