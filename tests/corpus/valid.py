"""A small valid file of everything that is read: what hostile ones are made from."""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import math
import shutil
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

import nas
from nas.accuracy import Accuracy
from nas.cli import _run as command
from nas.environment import environment
from nas.evaluation.seeded_runs import MeasuredNetwork, SeededRun
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.proxies.short_training import TrainingSettings
from nas.records.comparison_document import ComparisonDocument
from nas.records.result_folder import ResultFolder
from nas.spaces.latency_table import LatencyTable, Setting, Timing, block_keys, write_table
from nas.spaces.registry import shipped
from nas.spaces.search_space import SearchSpace
from nas.strategies.comparison import SeededComparison
from tests.support.paths import ROOT

BUDGET = """schema = "nas-search-budget/1"
description = "small"

[limits]
flops = 3_000_000
params = 1_000_000
"""


@lru_cache(maxsize=1)
def valid() -> Path:
    """Return a folder of valid files; made once, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="nas-search-valid-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    space = tiny()
    shutil.copy(shipped("search_spaces")["tiny"], folder / "space.toml")
    (folder / "budget.toml").write_text(BUDGET, encoding="utf-8")
    first = {name: values[0] for name, values in space.choices.items()}
    architecture = space.decode(first)
    nas.save_architecture(architecture, folder / "architecture.json")
    (folder / "table.jsonl").write_text("".join(_rows(space)), encoding="utf-8")
    setting = Setting("pytorch", "cpu", "a processor", 1, 1, {"torch": "2"})
    blocks = {key: Timing(1_000, 900, 1_100, 5) for key in block_keys(space)}
    write_table(folder / "latency.json", LatencyTable(setting, blocks))
    torch.manual_seed(0)
    network = nas.build(architecture)
    nas.save_weights(network, architecture, folder / "weights.safetensors")
    torch.save(network.state_dict(), folder / "weights.pth")
    (folder / "archive.tar.gz").write_bytes(archive({"anb_dataset_jsons/result_1.json": _result()}))
    _images(folder / "images")
    cells = [{"bytes": _encoded(i), "path": None} for i in range(8)]
    table = pa.table({"image": cells, "label": [i % 2 for i in range(8)]})
    pq.write_table(table, folder / "images.parquet")
    words = [
        "--space",
        "tiny",
        "--budget",
        "3M-flops",
        "--proxy",
        f"table:{folder / 'table.jsonl'}",
    ]
    more = ["--trials", "3", "--no-scale", "--quiet", "--out", str(folder / "run")]
    assert command([*words, *more]) == 0
    for name in ("cifar10-400M-flops", "scaling", "joint-block", "b0-discovery"):
        shutil.copytree(ROOT / "results" / name, folder / name)
    _compared(folder / "compared", architecture)
    return folder


def _compared(folder: Path, network: Architecture) -> None:
    """Write a folder of ``compare``, of made-up trainings."""
    cost = measure_cost(network)
    runs = [
        SeededRun(turn, math.exp(-loss), Accuracy(0.5, 0.01, seeds=(turn,), loss=loss))
        for turn, loss in enumerate((1.2, 1.1))
    ]
    networks = [MeasuredNetwork(name, cost, tuple(runs)) for name in ("one", "other")]
    comparison = SeededComparison.of(networks)
    with ResultFolder.open(folder, ComparisonDocument) as results:
        document = ComparisonDocument(
            identity={"seed": 0, "scaled": False, "networks": [network.key(), network.key()]},
            **environment(),
            settings=TrainingSettings(),
            title="made up",
            against="other",
        )
        results.save(document)
        results.finish(document.updated(**comparison.to_dict(1)), [])


def tiny() -> SearchSpace:
    """Return the space that costs next to nothing."""
    return nas.load_space("tiny")


def archive(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """Return a .tar.gz of these members; what is no content is a member's header alone."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content, io.BytesIO(b"\0" * 512))
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def checksum(content: bytes) -> str:
    """Return the SHA-256 that an archive is expected to have."""
    return hashlib.sha256(content).hexdigest()


def _rows(space: SearchSpace) -> list[str]:
    """Return a line for every network of the space with kernel 3 at the end."""
    found: dict[str, str] = {}
    names = list(space.choices)
    for index in range(2_000):
        choices = {}
        for name in names:
            values = space.choices[name]
            index, place = divmod(index, len(values))
            choices[name] = values[place]
        key = space.decode(choices).key()
        accuracy = 0.5 + int(key[:4], 16) / 200_000
        row = {"choices": space.encode(space.decode(choices)), "accuracy": round(accuracy, 6)}
        found.setdefault(key, json.dumps(row) + "\n")
    return list(found.values())


def _result() -> bytes:
    blocks: dict[str, int | bool] = {}
    for i in range(7):
        blocks |= {f"block{i}_e": 6, f"block{i}_k": 5, f"block{i}_l": 2, f"block{i}_se": i == 0}
    return json.dumps(
        {
            "architecture": blocks,
            "metrics": {"val_top1": 61.0, "val_top5": 83.5, "train_time": 1779.5},
            "model_info": {"macs": 372.7, "params": 3.4},
            "platform_perf": {"throughput_a100": {"throughput_mean": 7034.5}},
        }
    ).encode()


def _images(folder: Path) -> None:
    for name in ("ant", "bee"):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            (folder / name / f"{i}.png").write_bytes(_encoded(i + 4 * (name == "bee")))


def _encoded(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
