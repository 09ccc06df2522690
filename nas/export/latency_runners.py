"""Runs one network repeatedly and times it, end to end and block by block."""

from __future__ import annotations

import json
import platform
import time
from contextlib import nullcontext
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas.export.onnx import INPUT, OUTPUT, onnx_model
from nas.networks.architecture import Architecture
from nas.networks.modules import Network, build
from nas.networks.optional_packages import package
from nas.spaces.latency_table import (
    Setting,
)


class _Runner(Protocol):
    """Runs one network.

    Attributes:
        ends: nanoseconds of every run end to end.
    """

    ends: list[int]

    def whole(self) -> None:
        """Run once, and remember the nanoseconds."""

    def parts(self) -> None:
        """Run once, and remember the nanoseconds of stem, blocks and head."""

    def blocks(self) -> list[list[int]]:
        """Return those, a list a run."""


def _runner(network: Architecture, where: Setting, folder: Path | None = None) -> _Runner:
    """Return what runs a network; block by block, if it has a folder for a profile."""
    torch.manual_seed(0)
    module = build(network).eval()
    if where.backend == "onnxruntime":
        return _OnnxRunner(module, network, where, folder)
    return _TorchRunner(module, network, where)


class _TorchRunner:
    """Eager PyTorch, inference mode, default memory format, single precision."""

    def __init__(self, module: Network, network: Architecture, where: Setting) -> None:
        self._parts: list[nn.Module] = [module.stem, *module.blocks, module.head]
        for part in self._parts:
            part.to(where.device)
        self._images = _images(where.batch, network.in_channels, network.resolution, where.device)
        self._device = where.device
        self.ends: list[int] = []
        self._blocks: list[list[int]] = []
        self._module = module

    def whole(self) -> None:
        with torch.inference_mode():
            self._wait()
            begin = time.perf_counter_ns()
            self._module(self._images)
            self._wait()
            self.ends.append(max(1, time.perf_counter_ns() - begin))

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
        self._blocks.append([max(1, value) for value in taken])

    def blocks(self) -> list[list[int]]:
        return self._blocks

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
        self, module: Network, network: Architecture, where: Setting, folder: Path | None
    ) -> None:
        runtime = package("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = where.threads
        # Else its threads go on spinning while it is another session's turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if folder is not None:
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
        self.ends: list[int] = []

    def whole(self) -> None:
        begin = time.perf_counter_ns()
        self._session.run([OUTPUT], self._feed)
        self.ends.append(max(1, time.perf_counter_ns() - begin))

    def parts(self) -> None:
        self._session.run([OUTPUT], self._feed)

    def blocks(self) -> list[list[int]]:
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
