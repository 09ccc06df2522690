"""Proxy `supernet`: shared weights and what is taken out of them; real trainings, tiny."""

import json
import math
import os
import pickle
import random
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.data import ImageData
from nas.errors import Diverged
from nas.evaluation.executor import Task
from nas.evaluation.local import local_engine
from nas.proxies.presets import supernet_settings
from nas.proxies.protocol import Proxy, description
from nas.proxies.supernet import SupernetProxy, narrow_space, translate_choices
from nas.spaces.budget import Budget
from nas.spaces.registry import shipped
from nas.spaces.search_space import SearchSpace
from nas.spaces.toml import read_space
from nas.training import supernet_trainer
from nas.training.checkpoint import CheckpointFolder
from nas.training.supernet_trainer import SupernetSettings, SupernetState
from nas.training.weight_sharing import NetworkPath, SharedWeights
from tests.support.images import made_up, never
from tests.support.paths import ROOT
from tests.support.same_function import SAME, doubled, relative_difference

QUICK = SupernetSettings(
    resolution=16,
    images_seen=640,
    batch_size=8,
    paths=2,
    recalibration_images=32,
    validation_images=48,
)
LONGER = replace(QUICK, images_seen=2_400)

WIDE = """
schema = "nas-search-space/1"
name = "wide"
source = "made up"
resolution = 32
in_channels = 1
num_classes = 4
activation = "hardswish"

[stem]
kernel = 3
stride = 1
width = 12

[head]
width = 40
dropout = 0.5

[[stage]]
op = ["mbconv", "fused_mbconv", "skip"]
kernel = [1, 3, 7]
expansion = [1, 2, 3]
layers = [1, 3]
width = [12, 14, 20]
stride = 1
se_ratio = [0.0, 0.25, 0.5]

[[stage]]
width = [14, 20]
stride = 1
layers = [1, 2]
block = [
  { op = "skip" },
  { op = "mbconv", kernel = 3, expansion = 3 },
  { op = "fused_mbconv", kernel = 5, expansion = 4, se_ratio = 0.25 },
]
"""


def spaces(folder: Path) -> list[SearchSpace]:
    path = folder / "wide.toml"
    path.write_text(WIDE)
    return [read_space(path), *(nas.load_space(name) for name in shipped("search_spaces"))]


def trained(
    folder: Path, data: ImageData | None = None, settings: SupernetSettings = QUICK, **more: object
) -> SupernetProxy:
    proxy = SupernetProxy(data or made_up(), settings, **more)  # type: ignore[arg-type]
    proxy.prepare(nas.load_space("tiny"), Budget("none"), folder)
    return proxy


def drawn(count: int) -> list[nas.Architecture]:
    space, rng = nas.load_space("tiny"), random.Random(0)
    return [space.decode(space.sample(rng)) for _ in range(count)]


def only_file(folder: Path) -> bytes:
    [file] = (folder / "supernet").glob("*.safetensors")
    return file.read_bytes()


def test_a_network_taken_out_computes_what_its_path_computes(tmp_path: Path) -> None:
    rng = random.Random(1)
    for space in spaces(tmp_path):
        small = narrow_space(space, SupernetSettings(width=0.25, resolution=16), 3, 5)
        weights = SharedWeights(small, 3)
        with torch.no_grad():
            for bank in weights.banks.values():  # as training leaves them: nothing at zero
                bank += 0.1 * torch.randn(bank.shape, generator=torch.Generator().manual_seed(7))
        exact = {name: bank.detach().double() for name, bank in weights.banks.items()}
        images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(2))
        for _ in range(3):
            choices = small.sample(rng)
            network = weights.network(choices)
            for module in network.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            path = weights.path(choices)
            difference = relative_difference(
                doubled(network.train()), partial(weights.forward, path, banks=exact), images
            )
            assert difference < SAME
            with torch.no_grad():
                network(images)  # measures batch norm's statistics
                logits = network.eval()(images)
            assert logits.shape == (16, 5)
            assert bool(torch.isfinite(logits).all())


def test_networks_begin_as_the_same_function() -> None:
    """Kernels, numbers of layers and larger expansions change nothing at the start."""
    small = narrow_space(nas.load_space("efficientnet"), SupernetSettings(width=0.25), 3, 10)
    weights = SharedWeights(small, 0)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    rng = random.Random(5)
    fixed = {f"stage{i}.se_ratio": 0.0 for i in range(1, 8)}
    fixed |= {f"stage{i}.expansion": 4 for i in range(1, 8)}
    more = {f"stage{i}.expansion": 6 for i in range(1, 8)}
    exact = {name: bank.detach().double() for name, bank in weights.banks.items()}
    one = weights.path({**small.sample(rng), **fixed})
    larger = weights.path({**small.sample(rng), **fixed, **more})
    functions = (partial(weights.forward, path, banks=exact) for path in (one, larger))
    assert relative_difference(*functions, images) < SAME


THREADS = """
import random, threading, time
import torch
import nas
from nas.networks.fast_convolution import depthwise
from nas.training.weight_sharing import SharedWeights

space = nas.load_space("tiny")
weights = SharedWeights(space, 0)
path = weights.path(space.sample(random.Random(0)))
name = next(n for n, b in weights.banks.items() if b.shape[1:] == (1, 5, 5) and n in {leaves})
images = torch.randn(0, len(weights.banks[name]), 4, 4)  # quick: the locks are what matters
end = time.monotonic() + 2

def slices():
    while time.monotonic() < end:
        {leaves}[name].narrow(0, 0, 1)

def convolves():
    while time.monotonic() < end:
        depthwise(images, {leaves}[name])

both = [threading.Thread(target=of, daemon=True) for of in (slices, convolves)]
for one in both:
    one.start()
for one in both:
    one.join()
"""


def test_threads_that_train_paths_never_wait_for_each_other_forever() -> None:
    """On the banks themselves these two do, in PyTorch 2.13, within milliseconds."""
    script = THREADS.replace("{leaves}", "weights.leaves(path)")
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_widths_that_are_choices_stay_apart(tmp_path: Path) -> None:
    for space in spaces(tmp_path):
        for width in (0.5, 0.25, 0.1):
            small = narrow_space(space, SupernetSettings(width=width), 3, 10)
            for stage, wide in zip(small.stages, space.stages, strict=True):
                assert len(set(stage.width)) == len(wide.width)
            choices = space.sample(random.Random(0))
            there = translate_choices(choices, space, small)
            assert translate_choices(there, small, space) == choices
    b0 = narrow_space(nas.load_space("efficientnet"), SupernetSettings(), 3, 10)
    assert [stage.width for stage in b0.stages] == [(8,), (16,), (24,), (40,), (56,), (96,), (160,)]


def test_learns_and_repeats_itself(tmp_path: Path) -> None:
    proxy = trained(tmp_path / "a", settings=LONGER)
    results = [proxy.evaluate(network, seed=1, report=never) for network in drawn(6)]
    assert sum(result.mean for result in results) / 6 > 0.7
    first = results[0]
    assert first.loss is not None
    assert first.loss < 0.9 * math.log(3)
    assert (first.seeds, first.proxy, first.predicted) == ((0,), "supernet", False)
    assert "weights that all networks share" in first.metric
    assert first == proxy.evaluate(drawn(1)[0], seed=2, report=never)


def test_the_seed_decides(tmp_path: Path) -> None:
    one, again, other = (
        trained(tmp_path / str(number), seed=seed) for number, seed in enumerate((0, 0, 1))
    )
    assert only_file(tmp_path / "0") == only_file(tmp_path / "1")
    first = one.evaluate(drawn(1)[0], seed=1, report=never)
    assert first == again.evaluate(drawn(1)[0], seed=1, report=never)
    assert first != other.evaluate(drawn(1)[0], seed=1, report=never)


def test_threads_change_nothing(tmp_path: Path) -> None:
    one = trained(tmp_path / "a")
    torch.set_num_threads(2)
    two = trained(tmp_path / "b")
    assert torch.get_num_threads() == 2
    assert only_file(tmp_path / "a") == only_file(tmp_path / "b")
    torch.set_num_threads(1)
    network = drawn(1)[0]
    assert one.evaluate(network, seed=0, report=never) == two.evaluate(
        network, seed=0, report=never
    )


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supernet_trainer, "INTERVAL", 10)
    monkeypatch.setattr(supernet_trainer, "SAVE_SECONDS", 0.0)
    trained(tmp_path / "whole")

    class Killed(BaseException):
        pass

    told: list[int] = []

    def kill(done: int, total: int, text: str) -> None:
        told.append(done)
        assert total == 640
        if done in (160, 480):
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            trained(tmp_path / "killed", on_progress=kill)
    proxy = trained(tmp_path / "killed", on_progress=lambda done, total, text: told.append(done))
    assert told.count(0) == 1
    assert told[-1] == 640
    assert only_file(tmp_path / "whole") == only_file(tmp_path / "killed")

    told.clear()
    loaded = trained(tmp_path / "killed", on_progress=lambda done, total, text: told.append(done))
    assert told == [640]  # nothing is trained again
    network = drawn(1)[0]
    assert loaded.evaluate(network, seed=0, report=never) == proxy.evaluate(
        network, seed=0, report=never
    )


def test_another_training_is_not_taken_for_this_one(tmp_path: Path) -> None:
    trained(tmp_path)
    before = only_file(tmp_path)
    trained(tmp_path, settings=replace(QUICK, learning_rate=1e-3))
    assert only_file(tmp_path) != before
    trained(tmp_path)
    assert only_file(tmp_path) == before


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    trained(tmp_path)
    [file] = (tmp_path / "supernet").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(nas.InputError, match=r"step-40\.safetensors: .* hash in state\.json"):
        trained(tmp_path)
    file.unlink()
    with pytest.raises(nas.InputError, match=r"step-40\.safetensors: no such file"):
        trained(tmp_path)
    state = tmp_path / "supernet" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "more": 1}))
    with pytest.raises(nas.InputError, match=r"state\.json: more: unknown key"):
        trained(tmp_path)


def test_divergence_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernet_trainer, "INTERVAL", 10)
    monkeypatch.setattr(supernet_trainer, "SAVE_SECONDS", 0.0)
    step = supernet_trainer.SupernetTrainer._step

    def diverging(self: Any, number: int, rate: float, workers: Any) -> torch.Tensor:
        if number == 25 and rate > 0.3:
            for bank in self._weights.banks.values():
                bank.detach().mul_(math.inf)
        return step(self, number, rate, workers)

    monkeypatch.setattr(supernet_trainer.SupernetTrainer, "_step", diverging)
    proxy = trained(tmp_path / "whole")
    assert proxy.training_state is not None
    assert proxy.training_state.rate == 0.25
    assert proxy.training_state.rollbacks == ((20, None), (20, None))
    assert len(proxy.training_state.losses) == 4
    for network in drawn(5):
        assert math.isfinite(proxy.evaluate(network, seed=0, report=never).loss or math.nan)

    def kill(done: int, total: int, text: str) -> None:
        if done == 480:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", on_progress=kill)
    trained(tmp_path / "killed")
    assert only_file(tmp_path / "whole") == only_file(tmp_path / "killed")


def test_diverging_again_and_again_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernet_trainer, "INTERVAL", 10)
    step = supernet_trainer.SupernetTrainer._step

    def broken(self: Any, number: int, rate: float, workers: Any) -> torch.Tensor:
        return step(self, number, rate, workers) * (math.nan if number == 25 else 1)

    monkeypatch.setattr(supernet_trainer.SupernetTrainer, "_step", broken)
    with pytest.raises(Diverged, match="diverged 6 times, the last time by step 30 of 40"):
        trained(tmp_path)


def test_only_networks_within_the_budget_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    forward = SharedWeights.forward

    def note(self: SharedWeights, path: NetworkPath, *of: Any) -> torch.Tensor:
        paths.append(path)
        return forward(self, path, *of)

    monkeypatch.setattr(SharedWeights, "forward", note)
    space, budget = nas.load_space("tiny"), nas.load_budget("900K-flops")
    proxy = SupernetProxy(made_up(), replace(QUICK, images_seen=800))
    proxy.prepare(space, budget, tmp_path)
    assert proxy._weights is not None
    small = proxy._weights.space
    allowed = {
        proxy._weights.path(translate_choices(space.encode(network), space, small))
        for choices in nas.spaces.feasible.Feasible(space, budget)
        for network in [space.decode(choices)]
    }
    assert len(paths) == 100
    assert set(paths) <= allowed


def test_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    proxy = SupernetProxy(made_up(), QUICK)
    with pytest.raises(nas.InputError, match="prepare must be called"):
        proxy.evaluate(drawn(1)[0], seed=0, report=never)
    with pytest.raises(nas.InputError, match="no network of space"):
        proxy.prepare(nas.load_space("tiny"), nas.load_budget("1K-flops"), tmp_path)
    proxy = trained(tmp_path, settings=replace(QUICK, images_seen=64))
    wide = replace(drawn(1)[0], stem=nas.networks.architecture.Stem(3, 1, 24))
    with pytest.raises(nas.InputError, match="is not in space 'tiny': stem is"):
        proxy.evaluate(wide, seed=0, report=never)


def test_other_channels_and_few_images(tmp_path: Path) -> None:
    data = made_up([5, 4], channels=1, test=False)
    proxy = trained(tmp_path, data, replace(QUICK, batch_size=64, images_seen=300))
    assert proxy.evaluate(drawn(1)[0], seed=0, report=never).loss is not None


def test_evaluates_in_parallel_processes(tmp_path: Path) -> None:
    proxy = trained(tmp_path, on_progress=lambda done, total, text: None)
    networks = drawn(3)
    engine = local_engine(proxy, 2)
    try:
        for number in range(2):
            engine.submit(Task(number, networks[number], 0))
        outcomes = {outcome.number: outcome for outcome in (engine.next(), engine.next())}
    finally:
        engine.close()
    for number in range(2):
        assert outcomes[number].error == ""
        assert outcomes[number].accuracy == proxy.evaluate(networks[number], seed=0, report=never)


FEW_FILES = """
import random, resource
import nas
from nas.evaluation.local import local_engine
from nas.evaluation.executor import Task
from nas.proxies.supernet import SupernetProxy
from nas.training.supernet_trainer import SupernetSettings
from tests.support.images import made_up

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    space = nas.load_space("efficientnet")
    proxy = SupernetProxy(made_up(), SupernetSettings(resolution=32, images_seen=32, batch_size=8))
    proxy.prepare(space, nas.load_budget("400M-flops"), __import__("pathlib").Path({folder!r}))
    engine = local_engine(proxy, 3)
    for number in range(3):
        engine.submit(Task(number, space.decode(space.sample(random.Random(number))), 0))
    for _ in range(3):
        outcome = engine.next()
        assert outcome.accuracy is not None, outcome
    engine.close()
"""


def test_hundreds_of_weights_need_few_open_files(tmp_path: Path) -> None:
    """What processes share has a file descriptor a tensor; 1024 are all that many systems give."""
    script = tmp_path / "script.py"
    script.write_text(FEW_FILES.format(folder=str(tmp_path)))
    root = ROOT
    subprocess.run(
        [sys.executable, script],
        check=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(root)},
    )


def test_weights_are_the_same_in_another_process() -> None:
    weights = SharedWeights(nas.load_space("tiny"), 0)
    pickled = pickle.dumps(weights)
    again = pickle.loads(pickled)
    assert list(again.banks) == list(weights.banks)
    for name, bank in weights.banks.items():
        assert torch.equal(again.banks[name], bank)
        assert again.banks[name].stride() == bank.stride()
    first = weights.__getstate__()["packed"]
    assert weights.__getstate__()["packed"] is first  # shared once, however many take it
    with torch.no_grad():
        next(iter(weights.banks.values())).add_(1)
    assert weights.__getstate__()["packed"] is not first


def test_is_a_proxy_that_ranks_by_loss() -> None:
    proxy = SupernetProxy(made_up(), QUICK)
    assert isinstance(proxy, Proxy)
    assert proxy.capabilities.rank_by == "loss"
    assert description(proxy)["images_seen"] == 640
    assert pickle.dumps(proxy)


def test_its_size_is_that_of_images_as_floats() -> None:
    data = made_up()
    assert SupernetProxy(data, SupernetSettings(resolution=64)).nbytes > 10 * data.nbytes


def test_progress() -> None:
    progress = SupernetState().after(10, 2.0).rolled_back(math.inf)
    assert progress == SupernetState(10, 0.5, (2.0,), ((10, None),))
    assert CheckpointFolder(Path("nowhere"), {}, SupernetState, "any/1").load("cpu") is None


def test_settings_suit_the_data() -> None:
    tiny, data = nas.load_space("tiny"), made_up()
    settings = supernet_settings(data, tiny, None, "cpu")
    assert (settings.images_seen, settings.resolution, settings.width) == (10_000, 32, 0.5)
    large = supernet_settings(data, nas.load_space("efficientnet"), None, "cpu")
    assert (large.resolution, large.width) == (64, 0.25)  # a last map of 2 x 2
    assert supernet_settings(data, replace(tiny, resolution=8), None, "cpu").resolution == 8
    short = supernet_settings(data, tiny, 0.01, "cpu")
    assert short == replace(settings, images_seen=1_000)
    assert supernet_settings(data, tiny, 100, "cpu").images_seen > 1_000
