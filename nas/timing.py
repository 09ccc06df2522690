"""How long blocks and networks take on this device, measured where they stand.

A block alone is not what it is in a network: its input is in the cache or not, its weights are
not, and a runtime lays tensors out for its neighbours. So blocks are timed inside whole networks,
drawn so that together they have every block of a space; and sums are checked against other whole
networks, timed end to end. Repeats are interleaved: what else the machine does meanwhile befalls
all alike.
"""

from __future__ import annotations

import json
import os
import platform
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch
from platformdirs import user_cache_dir
from torch import Tensor, nn

from nas.architecture import Architecture, Stage
from nas.errors import InputError
from nas.export.onnx import INPUT, OUTPUT, onnx_model
from nas.export.packages import package, versions
from nas.files import digest
from nas.latency import (
    Backend,
    Check,
    LatencyTable,
    Setting,
    Timing,
    block_keys,
    head_key,
    keys,
    read_table,
    stage_keys,
    write_table,
)
from nas.model import Network, build
from nas.progress import Progress
from nas.ranking import kendall_tau
from nas.space import SearchSpace
from nas.trial import derived_rng

ROUNDS = 10
"""Repeats of every network that gives its blocks' latencies."""

COVERS = 3
"""Every block is timed in about so many networks."""

CHECKED = 30
"""Networks that the sums are checked on."""

CHECK_ROUNDS = 20
"""Repeats of each of those."""

WARM_UP = 3

_AT_ONCE = 40
"""So many networks are held in memory, and interleaved, at a time."""


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
        if path.exists():
            with suppress(InputError):  # a cache: what cannot be read is measured again
                known = read_table(path).blocks
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
        [taken] = end_to_end([network], self.setting(), rounds)
        return _timing(taken)


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
        checked: networks to check the sums on; 0: none.
        progress: told of every network.
    """
    blocks = {} if known is None else dict(known.blocks)
    networks = covering(space, set(blocks), seed)
    if progress is not None:
        progress.phase("latency of blocks", len(networks) * rounds or None)
    samples: dict[str, list[int]] = {}
    for start in range(0, len(networks), _AT_ONCE):
        part = networks[start : start + _AT_ONCE]
        for network, runs in zip(part, _in_place(part, where, rounds, seed, progress), strict=True):
            for run in runs:
                for key, taken in zip(keys(network), run, strict=True):
                    samples.setdefault(key, []).append(taken)
    blocks |= {key: _timing(taken) for key, taken in samples.items() if key not in blocks}
    table = LatencyTable(where, blocks)
    if not checked:
        return table
    return replace(table, check=check(table, space, checked, seed, progress))


def check(
    table: LatencyTable,
    space: SearchSpace,
    count: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> Check:
    """Compare sums with random whole networks of a space, timed end to end."""
    rng = derived_rng(seed, "latency check")
    networks = [space.decode(space.sample(rng)) for _ in range(count)]
    if progress is not None:
        progress.phase("latency of networks", count * CHECK_ROUNDS)
    taken: list[list[int]] = []
    for start in range(0, count, _AT_ONCE):
        part = networks[start : start + _AT_ONCE]
        taken += end_to_end(part, table.setting, CHECK_ROUNDS, seed, progress)
    sums = np.array([table.of(network) for network in networks], dtype=np.float64)
    whole = np.array([median(runs) for runs in taken], dtype=np.float64)
    halves = [np.array([median(runs[half::2]) for runs in taken]) for half in (0, 1)]
    errors = sums / whole - 1
    return Check(
        networks=count,
        error=round(float(np.abs(errors).mean()), 4),
        bias=round(float(errors.mean()), 4),
        kendall_tau=round(kendall_tau(sums, whole), 4),
        kendall_tau_repeats=round(kendall_tau(*halves), 4),
        fastest=int(whole.min()),
        slowest=int(whole.max()),
    )


def end_to_end(
    networks: Sequence[Architecture],
    where: Setting,
    rounds: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[list[int]]:
    """Return nanoseconds of every run of whole networks, ``rounds`` of each, interleaved."""
    with TemporaryDirectory() as folder:
        runners = [_runner(network, where, Path(folder), parts=False) for network in networks]
        taken: list[list[int]] = [[] for _ in runners]
        for place in _turns(runners, rounds, seed, progress):
            taken[place].append(runners[place].whole())
    return taken


def covering(space: SearchSpace, known: set[str], seed: int = 0) -> list[Architecture]:
    """Return networks that together have every block of a space that is not known yet.

    Each is the one with the most that is missing; every block comes about ``COVERS`` times.
    """
    rng = derived_rng(seed, "latency")
    times = dict.fromkeys(known, COVERS)
    found: list[Architecture] = []
    while True:
        gain, stages = _Way(space, times, rng).best(0, space.stem.width)
        network = space.architecture(stages)
        gain += _missing(keys(network)[:1], times)
        if gain == 0:
            return found
        for key in keys(network):
            times[key] = times.get(key, 0) + 1
        found.append(network)


class _Way:
    """The network of a space with the most blocks that are missing, found backwards."""

    def __init__(self, space: SearchSpace, times: Mapping[str, int], rng: random.Random) -> None:
        self._space = space
        self._times = times
        self._rng = rng
        self._sizes = [-(-space.resolution // space.stem.stride)]
        for stage in space.stages:
            self._sizes.append(-(-self._sizes[-1] // stage.stride))
        self._ends: dict[tuple[int, int], tuple[float, tuple[Stage, ...]]] = {}

    def best(self, index: int, width: int) -> tuple[float, tuple[Stage, ...]]:
        """Return the most that stages from ``index`` on can add, and how they are filled."""
        known = self._ends.get((index, width))
        if known is not None:
            return known
        space, size = self._space, self._sizes[index]
        if index == len(space.stages):
            return _missing([head_key(space.architecture(()), width, size)], self._times), ()
        options = list(space.options(index, width))
        self._rng.shuffle(options)
        found: tuple[float, tuple[Stage, ...]] | None = None
        for option in options:
            gain, rest = self.best(index + 1, option.width)
            stage = () if option.stage is None else (option.stage,)
            for own in stage:
                gain += _missing(stage_keys(own, width, size, space.activation), self._times)
            if found is None or gain > found[0]:
                found = gain, (*stage, *rest)
        assert found is not None
        self._ends[index, width] = found
        return found


def _missing(names: Iterable[str], times: Mapping[str, int]) -> float:
    """Return how much is still missing of some blocks; what is not there at all counts most."""
    return sum(1 / (1 + times.get(name, 0)) ** 2 for name in names if times.get(name, 0) < COVERS)


class _Runner(Protocol):
    def whole(self) -> int:
        """Run once; return the nanoseconds."""

    def parts(self) -> None:
        """Run once, and remember the nanoseconds of stem, blocks and head."""

    def taken(self) -> list[list[int]]:
        """Return what was remembered since the warm-up, a list a run."""


def _in_place(
    networks: Sequence[Architecture],
    where: Setting,
    rounds: int,
    seed: int,
    progress: Progress | None,
) -> list[list[list[int]]]:
    """Return nanoseconds of stem, blocks and head of every run of every network."""
    with TemporaryDirectory() as folder:
        runners = [_runner(network, where, Path(folder), parts=True) for network in networks]
        for place in _turns(runners, rounds, seed, progress, parts=True):
            runners[place].parts()
        return [runner.taken()[-rounds:] for runner in runners]


def _turns(
    runners: Sequence[_Runner],
    rounds: int,
    seed: int,
    progress: Progress | None,
    *,
    parts: bool = False,
) -> Iterator[int]:
    """Warm up, then say whose turn it is, ``rounds`` times all of them in a random order."""
    for runner in runners:
        for _ in range(WARM_UP):
            if parts:
                runner.parts()
            else:
                runner.whole()
    rng = random.Random(seed)
    order = list(range(len(runners)))
    for _ in range(rounds):
        rng.shuffle(order)
        for place in order:
            yield place
            if progress is not None:
                progress.advance(1)


def _runner(network: Architecture, where: Setting, folder: Path, *, parts: bool) -> _Runner:
    torch.manual_seed(0)
    module = build(network).eval()
    if where.backend == "onnxruntime":
        return _OnnxRunner(module, network, where, folder, parts)
    return _TorchRunner(module, network, where)


class _TorchRunner:
    """Eager PyTorch, inference mode, default memory format, single precision."""

    def __init__(self, module: Network, network: Architecture, where: Setting) -> None:
        self._parts: list[nn.Module] = [module.stem, *module.blocks, module.head]
        for part in self._parts:
            part.to(where.device)
        self._images = _images(where.batch, network.in_channels, network.resolution, where.device)
        self._device = where.device
        self._runs: list[list[int]] = []
        self._module = module

    def whole(self) -> int:
        with torch.inference_mode():
            self._wait()
            begin = time.perf_counter_ns()
            self._module(self._images)
            self._wait()
            return max(1, time.perf_counter_ns() - begin)

    def parts(self) -> None:
        with torch.inference_mode():
            if self._device == "cpu":
                x, moments = self._images, [time.perf_counter_ns()]
                for part in self._parts:
                    x = part(x)
                    moments.append(time.perf_counter_ns())
                taken = [after - before for before, after in pairwise(moments)]
            else:
                taken = self._by_events()
        self._runs.append([max(1, value) for value in taken])

    def taken(self) -> list[list[int]]:
        return self._runs

    def _by_events(self) -> list[int]:
        """Time by events of the device, which does not wait for the host between blocks."""
        cuda = self._device.startswith("cuda")
        kind: Any = torch.cuda if cuda else torch.mps
        # Events are recorded on the current device, which need not be the one that is measured.
        with torch.cuda.device(self._device) if cuda else nullcontext():
            events = [kind.Event(enable_timing=True) for _ in range(len(self._parts) + 1)]
            self._wait()
            x = self._images
            events[0].record()
            for part, event in zip(self._parts, events[1:], strict=True):
                x = part(x)
                event.record()
            self._wait()
        return [round(1e6 * before.elapsed_time(after)) for before, after in pairwise(events)]

    def _wait(self) -> None:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize(self._device)
        elif self._device == "mps":
            torch.mps.synchronize()


class _OnnxRunner:
    """ONNX Runtime on the CPU; blocks by its own profile, whose nodes are named as ours are."""

    def __init__(
        self, module: Network, network: Architecture, where: Setting, folder: Path, parts: bool
    ) -> None:
        runtime = package("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = where.threads
        # Else its threads go on spinning while it is another session's turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if parts:
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / network.key()[:16])
        self._session = runtime.InferenceSession(
            onnx_model(module, network).SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )
        images = _images(where.batch, network.in_channels, network.resolution, "cpu")
        self._feed = {INPUT: images.numpy()}
        self._count = len(network.layers()) + 2

    def whole(self) -> int:
        begin = time.perf_counter_ns()
        self._session.run([OUTPUT], self._feed)
        return max(1, time.perf_counter_ns() - begin)

    def parts(self) -> None:
        self._session.run([OUTPUT], self._feed)

    def taken(self) -> list[list[int]]:
        """Return the profile: nodes that only reorder a tensor belong to the block before them."""
        file = Path(self._session.end_profiling())
        runs: list[list[int]] = []
        place = 0
        for event in sorted(json.loads(file.read_text()), key=lambda event: event["ts"]):
            if event["name"] == "model_run":
                runs.append([0] * self._count)
                place = 0
            elif event["cat"] == "Node" and runs:
                place = self._place(event["name"], place)
                runs[-1][place] += 1000 * event["dur"]
        return [[max(1, value) for value in run] for run in runs]

    def _place(self, name: str, before: int) -> int:
        first, _, rest = name.partition(".")
        if first == "stem":
            return 0
        if first == "head":
            return self._count - 1
        if first == "blocks":
            return 1 + int(rest.partition(".")[0])
        return before


@lru_cache(maxsize=1)
def _images(batch: int, channels: int, size: int, device: str) -> Tensor:
    """Return random images (batch, channels, size, size): the same for all networks of a space."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((batch, channels, size, size), generator=generator).to(device)


def _timing(samples: Sequence[int]) -> Timing:
    """Return the median and its 95 % interval, from the order of the samples."""
    ordered = sorted(samples)
    count = len(ordered)
    reach = 0.98 * count**0.5  # normal approximation of the binomial of 1/2
    low = max(0, int(count / 2 - reach))
    high = min(count - 1, int(count / 2 + reach))
    return Timing(round(median(ordered)), ordered[low], ordered[high], count)


def _remembered(where: Setting) -> Path:
    """Return the file of what was measured under a setting."""
    folder = os.environ.get("NAS_SEARCH_CACHE") or user_cache_dir("nas-search")
    return Path(folder) / f"latency-{digest(asdict(where))[:16]}.json"


def _processor(device: str) -> str:
    """Return the device's name."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
