"""Every command that the README and docs/ show is run, in a folder that has what they speak of.

``WAYS`` says how each is run. What takes minutes is made short in two ways: options are appended
(``more``), which may only shrink, and trainings are of a few steps (``_brief``). What a test
machine lacks has a stand-in: a folder named like a data set of the hub, a file of weights that is
made here under the name of the published one, a Ray head and a PostgreSQL server of the tests' own,
the processor in place of a GPU. Commands that need what others write name them (``after``).
"""

import hashlib
import io
import itertools
import json
import os
import random
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

import nas
import nas.data.load
import nas.proxies.presets
import nas.runs.schedule
from nas.cli import _run as command
from nas.cli.app import app
from nas.data import ImageData, fractals
from nas.proxies.accel_nasbench import import_accel_nasbench
from nas.proxies.short_training import TrainingSettings
from nas.spaces.latency_table import Check, LatencyTable, Setting, Timing, block_keys, write_table
from nas.training.supernet_trainer import SupernetSettings
from tests.support import postgres
from tests.support.documents import COMMANDS, ROOT, blocks
from tests.support.ray_toys import QUIET, STORE

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]


@dataclass(frozen=True)
class Way:
    """How a command is run.

    Attributes:
        more: options appended; they only shrink.
        after: commands that must have run before, by the words they begin with.
        instead: words replaced by stand-ins.
        slow: with the soak tests.
    """

    more: str = ""
    after: tuple[str, ...] = ()
    instead: tuple[tuple[str, str], ...] = ()
    slow: bool = False


WHOLE = "--no-train --trials 3 --finalists 1 --no-check --jobs 1"
SMALL = f"{WHOLE} --no-scale"
MINE = "nas-search --budget 400M-flops --data my-images/ --out results/mine"
TRAIN = "nas-search train results/mine/baseline.json --data my-images/ --time 1h --out trained"
ONE_EPOCH = "--epochs 1 --resolution 64"
JOINT = "nas-search table --space joint-block"
IMPORT = "nas-search import accel-nasbench"
BOARD = "nas-search latency --space efficientnet"
PUBLISHED = "efficientnet_b0_rwightman-7f5810bc.pth"

WAYS: dict[str, Way] = {
    # README.md
    MINE: Way(SMALL),
    "nas-search status results/mine": Way(after=(MINE,)),
    "nas-search resume results/mine": Way(after=(MINE,)),
    # Slow: on some CPUs PyTorch 2.13 corrupts the heap in a backward pass of this small space.
    "nas-search --space my-space.toml --budget 20M-flops+50K-params --data my-images/": Way(
        SMALL, slow=True
    ),
    "nas-search --budget 400M-flops+15ms-latency --data my-images/": Way(
        f"{SMALL} --space tiny", slow=True
    ),
    f"{MINE}-gpu --device cuda --time 2h": Way(
        f"{SMALL} --time 2m", instead=(("cuda", "cpu"),), slow=True
    ),
    f"{MINE}-ray --engine ray --ray-address head:6379": Way(
        SMALL,
        instead=(("results/mine-ray", "results/head"), ("head:6379", "{head}")),
        slow=True,
    ),
    "nas-search reproduce scaling": Way(),
    "nas-search reproduce b0": Way("--random 200 --trials 4 --seeds 1 --samplers random --jobs 1"),
    TRAIN: Way("--time 3s --resolution 64", after=(MINE,)),
    "nas-search predict trained my-images/": Way(after=(TRAIN,)),
    "nas-search predict trained my-images/ --top 3 --csv predictions.csv": Way(after=(TRAIN,)),
    "nas-search export trained --to timm --out my-timm": Way(after=(TRAIN,)),
    # Half of the networks around B0 at 64 px have less than 20M FLOPs.
    "nas-search --budget 100M-flops --data my-images/ --weights timm:efficientnet_b1.ft_in1k "
    "--out results/tuned": Way(
        f"{SMALL} --resolution 64",
        instead=(("timm:efficientnet_b1.ft_in1k", PUBLISHED),),
    ),
    "nas-search train results/mine/baseline.json --data my-images/ --weights "
    "timm:efficientnet_b1.ft_in1k --time 1h --out tuned": Way(
        "--time 3s --resolution 64",
        after=(MINE,),
        instead=(("timm:efficientnet_b1.ft_in1k", PUBLISHED),),
    ),
    "nas-search compare results/mine/baseline.json efficientnet-b0 --data my-images/ "
    "--seeds 5": Way("--seeds 2 --jobs 1", after=(MINE,)),
    "nas-search fidelity --table results/joint-block/table.jsonl --space joint-block --proxy "
    "zero-cost:naswot": Way("--samples 10 --jobs 1"),
    "nas-search verify results/cifar10-400M-flops": Way(),
    "nas-search cost efficientnet-b0": Way(),
    "nas-search scale efficientnet-b0 --preset official": Way(),
    # docs/budgets.md
    "nas-search cost results/cifar10-400M-flops/baseline.json --resolution 300 --json": Way(),
    "nas-search --budget 400M-flops+15ms-latency --out results/timed": Way(
        f"{SMALL} --space tiny", slow=True
    ),
    "nas-search --budget 15ms-latency --latency-backend onnxruntime --latency-batch 8": Way(
        f"{SMALL} --space tiny", slow=True
    ),
    f"{BOARD} --backend onnxruntime --out board.json": Way(slow=True),
    # The folder has a board.json, made up; so this need not wait for the measuring.
    "nas-search --budget 9ms-latency --latency-table board.json": Way("--trials 12 --no-scale"),
    # docs/export.md
    "nas-search export efficientnet-b0 --to timm --out b0-timm": Way(),
    "nas-search export efficientnet-b0 --to torchvision --out b0-torchvision": Way(),
    "nas-search export efficientnet-b0 --to torch --out b0-torch": Way(),
    "nas-search export trained/architecture.json --to onnx --dynamic-resolution --weights "
    "trained/weights.safetensors --out my-onnx": Way(after=(TRAIN,)),
    "nas-search export trained/architecture.json --to onnx --int8 --data my-images/ --weights "
    "trained/weights.safetensors --out my-int8": Way(after=(TRAIN,), slow=True),
    f"nas-search export efficientnet-b0 --to json --weights {PUBLISHED} --out b0-weights": Way(),
    # docs/images.md
    "nas-search train results/mine/baseline.json --data my-images/ --augment shift,color --fit pad "
    "--epochs 20 --out varied": Way(ONE_EPOCH, after=(MINE,)),
    # docs/looking.md
    "nas-search report results/mine": Way(after=(MINE,)),
    "nas-search report results/mine results/cifar10-400M-flops --out compared.html": Way(
        after=(MINE,)
    ),
    "nas-search events results/mine": Way(after=(MINE,)),
    "nas-search train results/mine/baseline.json --data my-images/ --out watched "
    "--tensorboard": Way(ONE_EPOCH, after=(MINE,)),
    # docs/running.md
    "nas-search resume results/mine --trials 400": Way("--trials 4", after=(MINE,)),
    f"{MINE}-ray --engine ray": Way(WHOLE, slow=True),
    f"{MINE}-ray --engine ray --ray-address head:6379 --device cuda --gpus-per-trial 0.25": Way(
        f"{SMALL} --gpus-per-trial 0",
        instead=(("results/mine-ray", "results/gpus"), ("head:6379", "{head}"), ("cuda", "cpu")),
        slow=True,
    ),
    "nas-search --budget 400M-flops --data my-images/ --out results/mine-db --storage "
    "postgresql://ann@db/nas": Way(SMALL, instead=(("postgresql://ann@db/nas", "{database}"),)),
    "nas-search spaces": Way(),
    "nas-search budgets": Way(),
    "nas-search proxies": Way(),
    "nas-search samplers": Way(),
    "nas-search --version": Way(),
    # docs/scaling.md
    "nas-search scale efficientnet-b0 --alpha 1.2 --beta 1.1 --gamma 1.15 --phi 3": Way(),
    "nas-search scale efficientnet-b0 --rounding official --phi 3": Way(),
    "nas-search scale efficientnet-b0 --target-flops 1.8G": Way(),
    "nas-search scale efficientnet-b0 --compare --target-flops 1.8G": Way(),
    "nas-search scale results/mine/baseline.json --compare --data my-images/ --out compared-mine": (
        Way("--seeds 1 --jobs 1", after=(MINE,))
    ),
    # docs/searching.md
    "nas-search evaluate efficientnet-b0 --proxy imagenet": Way(),
    "nas-search evaluate efficientnet-b0 --data my-images/ --seeds 3": Way(),
    f"{IMPORT} anb_dataset_jsons.tar.gz --out anb.jsonl": Way(),
    "nas-search fit-predictor anb.jsonl --out predictors/mine": Way(after=(IMPORT,)),
    "nas-search --budget 50M-flops --space my-space.toml --proxy table:my-table.jsonl --no-scale": (
        Way("--trials 12")
    ),
    # docs/training.md
    "nas-search train results/mine/baseline.json --data my-images/ --time 8h --eval-test --out "
    "trained-8h": Way("--time 3s --resolution 64", after=(MINE,), slow=True),
    f"nas-search train efficientnet-b0 --data my-images/ --weights {PUBLISHED} --epochs 10": Way(
        ONE_EPOCH
    ),
    "nas-search train efficientnet-b3 --data my-images/ --out b3": Way(ONE_EPOCH, slow=True),
    "nas-search train results/mine/baseline.json --data my-images/ --teacher efficientnet-b3 "
    "--teacher-weights b3/weights.safetensors --out taught": Way(
        ONE_EPOCH, after=(MINE, "nas-search train efficientnet-b3"), slow=True
    ),
    "nas-search train efficientnet-b0 --data cifar10 --resolution 32 --time 60m --eval-test": Way(
        "--time 3s"
    ),
    # docs/trust.md
    f"{JOINT} --data cifar10 --flops 14.5M-16.1M --networks 24 --seeds 2 --images 30000 --out "
    "joint": Way("--networks 10 --seeds 1 --images 256 --jobs 1"),
    "nas-search fidelity --table joint/table.jsonl --space joint-block --data cifar10 --band "
    "14.5M-16.1M": Way("--samples 10 --jobs 1", after=(JOINT,)),
    "nas-search fidelity --table joint/table.jsonl --space joint-block --band 14.5M-16.1M": Way(
        "--samples 10 --jobs 1", after=(JOINT,)
    ),
    "nas-search fidelity --table joint/table.jsonl --space joint-block --proxy zero-cost:naswot": (
        Way("--samples 10 --jobs 1", after=(JOINT,))
    ),
    "nas-search fidelity --table anb.jsonl --data cifar10 --samples 200 --band 240M-260M --band "
    "305M-335M --seed 1": Way("--samples 10 --jobs 1", after=(IMPORT,)),
    "nas-search fidelity --table anb.jsonl --proxy imagenet --band 300M-330M": Way(
        "--samples 10", after=(IMPORT,)
    ),
    "nas-search fidelity --table anb.jsonl --data my-images/ --samples 50 --time 2h --out "
    "results/trust": Way("--samples 10 --jobs 1", after=(IMPORT,)),
}

SHRINKS = {
    *(
        "--trials",
        "--finalists",
        "--no-check",
        "--no-train",
        "--no-scale",
        "--jobs",
        "--random",
        "--seeds",
    ),
    *("--samplers", "--samples", "--networks", "--images", "--epochs", "--resolution", "--time"),
    *("--space", "--gpus-per-trial"),
}
"""What may be appended; ``--space`` only as tiny, ``--samplers`` only as one of them."""

SECONDS = {"s": 1, "m": 60, "h": 3600}


class World:
    """A folder with what the documents speak of, and what was run in it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self._done: dict[str, int] = {}
        self._places: dict[str, str] = {}

    def run(self, line: str) -> int:
        """Run a command, and before it those it comes after; each once."""
        if line in self._done:
            return self._done[line]
        way = WAYS[line]
        for begin in way.after:
            before = begin if begin in WAYS else next(one for one in WAYS if one.startswith(begin))
            assert self.run(before) == 0, f"{before}: see its own test"
        words = shlex.split(f"{line} {way.more}")[1:]
        for word, other in way.instead:
            words = [other if one == word else one for one in words]
        words = [self._place(word[1:-1]) if word[0] == "{" else word for word in words]
        self._done[line] = command(words)
        return self._done[line]

    def _place(self, name: str) -> str:
        """Start what a stand-in is the address of."""
        if name not in self._places:
            if name == "database":
                self._places[name] = self._stack.enter_context(postgres.server()).url
            else:
                self._places[name] = self._stack.enter_context(ray_head())
        return self._places[name]


class ray_head:
    """A Ray cluster of this machine: its address."""

    def __enter__(self) -> str:
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 2, "object_store_memory": STORE, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=small)
        return str(self._cluster.address)

    def __exit__(self, *of: object) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("documents")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.chdir(folder)
        patch.setenv("NAS_SEARCH_CACHE", str(folder / "cache"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
        _brief(patch)
        for name in ("my-images", "cifar10"):
            pictures(folder / name)
        for name in ("cifar10-400M-flops", "joint-block"):
            shutil.copytree(ROOT / "results" / name, folder / "results" / name)
        [table] = [block.body for block in blocks("toml") if block.page == "docs/spaces.md"]
        Path("my-space.toml").write_text(table, encoding="utf-8")
        whole_table(nas.load_space("my-space.toml"), Path("my-table.jsonl"))
        latencies(nas.load_space("efficientnet"), Path("board.json"))
        published(Path(PUBLISHED))
        # The command knows the released archive by its hash.
        checksum = archive(Path("anb_dataset_jsons.tar.gz"))
        patch.setattr(import_accel_nasbench, "__defaults__", (checksum,))
        yield World(folder, stack)


def _brief(patch: pytest.MonkeyPatch) -> None:
    """Make trainings short: 64 images of 16 px each, and of the built-in images a few."""
    training = TrainingSettings(width=0.25, resolution=16, images_seen=64, batch_size=16)
    supernet = SupernetSettings(
        width=0.25, images_seen=256, batch_size=16, recalibration_images=16, validation_images=16
    )
    for module in (nas.runs.schedule, nas.proxies.presets):
        patch.setattr(module, "default_settings", lambda *of, **how: training)
        if module is nas.proxies.presets:
            patch.setattr(module, "scaled_settings", lambda settings, *of: settings)
        patch.setattr(module, "final_settings", lambda settings, *of: settings)
        patch.setattr(module, "supernet_settings", lambda *of, **how: supernet)
    patch.setattr(nas.proxies.presets, "training_settings", lambda *of, **how: training)

    def few(**options: Any) -> ImageData:
        return fractals(classes=4, images_per_class=24, **options)

    patch.setattr(nas.data.load, "fractals", few)


def pictures(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 6)):
        for name, level in (("dark", 70), ("light", 180)):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(rng.normal(level, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")


def whole_table(space: nas.SearchSpace, path: Path) -> None:
    """A table of every network of a space."""
    rng = random.Random(0)
    rows = [
        {"choices": dict(zip(space.choices, values, strict=True)), "accuracy": rng.random()}
        for values in itertools.product(*space.choices.values())
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def latencies(space: nas.SearchSpace, path: Path) -> None:
    """Made-up latencies of a space's blocks: by their names' lengths."""
    blocks = {key: Timing(9_000 + i, 8_000, 10_000, 30) for i, key in enumerate(block_keys(space))}
    setting = Setting("pytorch", "cpu", "a phone", 1, 1, {"torch": "2.13.0"})
    write_table(path, LatencyTable(setting, blocks, Check(30, 0.05, 0.01, 0.9, 0.95, 10**6, 10**7)))


def published(path: Path) -> None:
    """EfficientNet-B0's weights, random, as torchvision publishes them."""
    from safetensors.torch import load_file

    b0 = nas.load_architecture("efficientnet-b0")
    nas.save_weights(nas.build(b0), b0, "b0.safetensors", layout="torchvision")
    torch.save(load_file("b0.safetensors"), path)


def archive(path: Path) -> str:
    """An archive like that of Accel-NASBench, of networks in the bands asked for; its hash."""
    space = nas.load_space("efficientnet")
    rng = random.Random(0)
    wanted = {(240e6, 260e6): 12, (305e6, 330e6): 12, (0, 1e12): 100}
    stream = io.BytesIO()
    number = 0
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        while any(wanted.values()):
            choices = space.sample(rng)
            cost = nas.measure_cost(space.decode(choices))
            open_ = [band for band, left in wanted.items() if left]
            band = next((one for one in open_ if one[0] <= cost.flops <= one[1]), None)
            if band is None:
                continue
            wanted[band] -= 1
            data = json.dumps(result(choices, cost)).encode()
            info = tarfile.TarInfo(f"./anb_dataset_jsons/result_{number}.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            number += 1
    path.write_bytes(stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def result(choices: dict[str, Any], cost: nas.Cost) -> dict[str, Any]:
    """One file of that archive; its accuracy grows with FLOPs, roughly."""
    blocks: dict[str, Any] = {}
    for index in range(7):
        stage = f"stage{index + 1}"
        blocks |= {
            f"block{index}_e": choices[f"{stage}.expansion"],
            f"block{index}_k": choices[f"{stage}.kernel"],
            f"block{index}_l": choices[f"{stage}.layers"],
            f"block{index}_se": choices[f"{stage}.se_ratio"] > 0,
        }
    top1 = 50 + 5 * np.log10(cost.flops / 1e7) + 2 * np.sin(cost.params)
    return {
        "architecture": blocks,
        "metrics": {"val_top1": round(float(top1), 3), "val_top5": 83.5, "train_time": 1779.5},
        "model_info": {"macs": cost.flops / 1e6, "params": cost.params / 1e6},
        "platform_perf": {},
    }


SLOW = [line for line in COMMANDS if line in WAYS and WAYS[line].slow]


@pytest.mark.parametrize("line", [line for line in COMMANDS if line not in SLOW])
def test_it_runs(line: str, world: World) -> None:
    assert world.run(line) == 0


@pytest.mark.soak
@pytest.mark.parametrize("line", SLOW)
def test_it_runs_in_a_while(line: str, world: World) -> None:
    assert world.run(line) == 0


def test_every_command_has_a_way_and_no_other_has() -> None:
    assert sorted(WAYS) == sorted(COMMANDS)


def options(line: str) -> dict[str, str]:
    """The options of a command that have a value, the last of each."""
    words = shlex.split(line)
    pairs = zip(words, [*words[1:], "--"], strict=True)
    return {word: value for word, value in pairs if word[:2] == "--" and value[:2] != "--"}


def defaults(line: str) -> dict[str, Any]:
    """The default values of a command's options."""
    main = typer.main.get_command(app)
    name = next(iter(shlex.split(line)[1:]))
    found = main.commands.get(name, main)  # type: ignore[attr-defined]
    return {option: one.default for one in found.params for option in one.opts}


def amount(text: str) -> float:
    return float(text[:-1]) * SECONDS[text[-1]] if text[-1] in SECONDS else float(text)


@pytest.mark.parametrize("line", [line for line, way in WAYS.items() if way.more])
def test_what_is_appended_only_shrinks(line: str) -> None:
    more = WAYS[line].more
    assert {word for word in shlex.split(more) if word[:2] == "--"} <= SHRINKS
    own, usual = options(line), defaults(line)
    for option, value in options(more).items():
        assert option in usual, f"{line}: has no {option}"
        if option == "--space":
            assert value == "tiny"
        elif option != "--samplers":
            before = own.get(option, usual[option])
            assert before is None or amount(value) <= amount(str(before)), f"{option} {value}"
