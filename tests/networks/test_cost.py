"""What a network costs, against published numbers and against fvcore on the whole network."""

import json
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas.errors import InputError
from nas.networks import cost as cost_module
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.compound_scaling import official
from nas.networks.cost import CONVENTION, Cost, count_module, measure_cost
from nas.networks.modules import build
from nas.spaces.toml import read_space
from tests.support.paths import ROOT

GOLDEN = json.loads((ROOT / "tests/golden/efficientnet.json").read_text(encoding="utf-8"))
SPACES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))


def counted(architecture: Architecture) -> Cost:
    """What fvcore counts on the whole network, and the parameters that the network has."""
    network = build(architecture).eval()
    images = torch.zeros(1, architecture.in_channels, *[architecture.resolution] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, which fvcore traces with
        flops, activations = (
            analysis(network, images)
            .unsupported_ops_warnings(False)
            .uncalled_modules_warnings(False)
            .by_operator()
            for analysis in (FlopCountAnalysis, ActivationCountAnalysis)
        )
    return Cost(
        flops=int(flops["conv"] + flops["linear"]),
        params=sum(parameter.numel() for parameter in network.parameters()),
        activations=int(activations["conv"]),
    )


# ── Published numbers ────────────────────────────────────────────────────────────────────────────


def test_efficientnet_b0_to_b7() -> None:
    measured = [
        {
            "name": network.name,
            "resolution": network.resolution,
            "dropout": network.head.dropout,
            **measure_cost(network).to_dict(),
        }
        for network in map(official, range(8))
    ]
    assert measured == [{key: row[key] for key in measured[0]} for row in GOLDEN["networks"]]


def test_golden_params_are_those_of_torchvision() -> None:
    # The docstrings of torchvision's weights: `num_params` of EfficientNet_B0_Weights … B7.
    published = [5288548, 7794184, 9109994, 12233232, 19341616, 30389784, 43040704, 66347960]
    assert [row["params"] for row in GOLDEN["networks"]] == published


def test_golden_flops_round_to_those_computed_elsewhere() -> None:
    assert GOLDEN["networks"][0]["flops"] == 385_814_752
    rounded = [row["flops"] / 1e9 for row in GOLDEN["networks"][1:]]
    digits = (3, 3, 2, 2, 1, 1, 1)
    assert [round(value, places) for value, places in zip(rounded, digits, strict=True)] == [
        0.687, 0.994, 1.83, 4.39, 10.3, 19.1, 37.7,
    ]  # fmt: skip


def test_the_network_has_the_parameters_that_the_cost_says() -> None:
    assert sum(p.numel() for p in build(official(0)).parameters()) == 5_288_548


@pytest.mark.parametrize(
    "index", [0, *(pytest.param(index, marks=pytest.mark.soak) for index in range(1, 5))]
)
def test_golden_costs_are_those_of_the_whole_network(index: int) -> None:
    row = GOLDEN["networks"][index]
    assert counted(official(index)).to_dict() == {
        key: row[key] for key in ("flops", "params", "activations")
    }


def test_efficientnetv2_s_has_its_published_parameters() -> None:
    # torchvision: EfficientNet_V2_S_Weights, num_params.
    space = read_space(ROOT / "search_spaces/efficientnetv2.toml")
    choices = {
        "stage1.layers": 2,
        "stage2.layers": 4,
        "stage3.block": "fused_mbconv_k3_e4",
        "stage3.layers": 4,
        "stage4.block": "mbconv_k3_e4_se0.25",
        "stage4.layers": 6,
        "stage5.kernel": 3,
        "stage5.expansion": 6,
        "stage5.layers": 9,
        "stage6.kernel": 3,
        "stage6.expansion": 6,
        "stage6.layers": 15,
    }
    assert measure_cost(space.decode(choices)).params == 21_458_488


def test_convention() -> None:
    assert CONVENTION == "fvcore conv+linear MACs"


# ── The sum of the blocks is the whole ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("resolution", [33, 47, 64])
def test_sum_of_blocks_is_fvcores_count_of_the_network(name: str, resolution: int) -> None:
    space = replace(read_space(ROOT / f"search_spaces/{name}.toml"), resolution=resolution)
    network = space.decode(space.sample(random.Random(f"{name} {resolution}")))
    assert measure_cost(network) == counted(network)


@pytest.mark.soak
@pytest.mark.parametrize("name", SPACES)
def test_sum_of_blocks_is_fvcores_count_at_any_resolution(name: str) -> None:
    shipped = read_space(ROOT / f"search_spaces/{name}.toml")
    rng = random.Random(f"soak {name}")
    for resolution in [shipped.resolution] * 6 + [rng.randint(1, 300) for _ in range(14)]:
        space = replace(
            shipped, resolution=resolution, num_classes=rng.randint(1, 1500), in_channels=1
        )
        network = space.decode(space.sample(rng))
        assert measure_cost(network) == counted(network), network


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Small networks of every form, odd sizes and large strides among them."""
    odd = st.sampled_from([1, 3, 5, 7])
    width = st.integers(1, 24)
    ratio = st.sampled_from([0.0, 0.01, 0.25, 1.0])

    def stage() -> Stage:
        op = draw(st.sampled_from(["mbconv", "fused_mbconv", "skip"]))
        stride = draw(st.integers(1, 4))
        if op == "skip":
            return Stage("skip", 1, stride, 1, draw(width), 1, 0.0)
        expansion = draw(st.integers(1, 3))
        se = 0.0 if op == "fused_mbconv" and expansion == 1 else draw(ratio)
        return Stage(op, draw(odd), stride, expansion, draw(width), draw(st.integers(1, 2)), se)

    return Architecture(
        name="drawn",
        resolution=draw(st.integers(1, 40)),
        in_channels=draw(st.integers(1, 4)),
        num_classes=draw(st.integers(1, 12)),
        activation=draw(st.sampled_from(["relu", "relu6", "silu", "hardswish"])),
        norm=Norm(),
        stem=Stem(kernel=draw(odd), stride=draw(st.integers(1, 4)), width=draw(width)),
        stages=tuple(stage() for _ in range(draw(st.integers(0, 3)))),
        head=Head(width=draw(width), dropout=0.0),
    )


@settings(max_examples=25)
@given(architectures())
def test_any_network_costs_what_fvcore_counts(network: Architecture) -> None:
    assert measure_cost(network) == counted(network)


@pytest.mark.soak
@settings(max_examples=1000)
@given(architectures())
def test_any_of_many_networks_costs_what_fvcore_counts(network: Architecture) -> None:
    assert measure_cost(network) == counted(network)


@given(resolution=st.integers(1, 2000))
def test_another_resolution_is_the_same_as_an_architecture_of_it(resolution: int) -> None:
    b0 = official(0)
    assert measure_cost(b0, resolution) == measure_cost(replace(b0, resolution=resolution))


@pytest.mark.parametrize("resolution", [0, -1])
def test_resolution_is_positive(resolution: int) -> None:
    with pytest.raises(InputError, match=f"resolution: {resolution} is not accepted"):
        measure_cost(official(0), resolution)


def test_flops_grow_with_the_resolution() -> None:
    flops = [measure_cost(official(0), size).flops for size in range(1, 300)]
    assert flops == sorted(flops)


# ── What is measured is remembered, and nothing else is touched ──────────────────────────────────


def forget() -> None:
    """Make the next measurement start from the cache's file, as a new process would."""
    for remembered in ("_store", "stage_cost", "_measured_layer", "_measured_stem"):
        getattr(cost_module, remembered).cache_clear()
    cost_module._measured_head.cache_clear()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of this test's own, empty at first."""
    monkeypatch.setenv("NAS_SEARCH_CACHE", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache"
    forget()


def cached_file(cache: Path) -> Path:
    """The file of the cache, written now rather than at the end of the process."""
    cost_module.save_measured()
    [file] = cache.iterdir()
    return file


def tiny() -> Architecture:
    space = read_space(ROOT / "search_spaces/tiny.toml")
    return space.decode(space.sample(random.Random(0)))


def test_a_later_run_measures_nothing_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = measure_cost(tiny())
    assert f"torch{torch.__version__}" in cached_file(cache).name
    forget()

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(cost_module, "_measure", refuse)
    assert measure_cost(tiny()) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1]",
        b'{"stem [3, 8, 3, 1]": 5}',
        b'{"stem [3, 8, 3, 1]": [0, 1, [1, 1, 1], [1, 1, 1]]}',
        b'{"stem [3, 8, 3, 1]": [1, "1", [1, 1, 1], [1, 1, 1]]}',
        b'{"stem [3, 8, 3, 1]": [1, 1, [1, 1], [1, 1, 1]]}',
        b'{"stem [3, 8, 3, 1]": [1, 1, [1, 1, 1e999], [1, 1, 1]]}',
        b"[" * 10_000,
    ],
)
def test_a_broken_cache_is_measured_again(cache: Path, content: bytes) -> None:
    before = measure_cost(tiny())
    file = cached_file(cache)
    whole = file.read_bytes()
    file.write_bytes(content)
    forget()
    assert measure_cost(tiny()) == before
    assert cached_file(cache).read_bytes() == whole


def test_a_cache_that_cannot_be_written_does_no_harm(cache: Path) -> None:
    cache.write_text("a file where the folder should be", encoding="utf-8")
    measure_cost(tiny())
    cost_module.save_measured()
    assert cache.read_text(encoding="utf-8") == "a file where the folder should be"


def test_a_process_leaves_its_measurements_behind(tmp_path: Path) -> None:
    code = (
        "from nas.networks.architecture import efficientnet_b0\n"
        "from nas.networks.cost import measure_cost\n"
        "print(measure_cost(efficientnet_b0()).flops)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        env={**os.environ, "NAS_SEARCH_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "385814752\n"
    [file] = tmp_path.iterdir()
    assert json.loads(file.read_text(encoding="utf-8"))


def test_measuring_leaves_random_numbers_threads_and_models_alone(cache: Path) -> None:
    network = build(tiny())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.set_num_threads(2)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    measure_cost(tiny())
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 2
    assert network.training
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_batch_norm_is_measured_in_evaluation_mode(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    forward = nn.BatchNorm2d.forward

    def spy(self: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        seen.append(self.training)
        return forward(self, x)

    monkeypatch.setattr(nn.BatchNorm2d, "forward", spy)
    measure_cost(tiny())
    assert set(seen) == {False}


def test_counting_a_module_changes_nothing_in_it() -> None:
    architecture = tiny()
    network = build(architecture).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels, channels = architecture.resolution, architecture.in_channels
    assert count_module(network, channels, pixels) == measure_cost(architecture)
    assert network.training
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_cost_is_whole_and_not_negative() -> None:
    for wrong in (-1, 1.5, "3", True):
        with pytest.raises(ValueError, match="flops"):
            Cost(flops=wrong, params=0, activations=0)  # type: ignore[arg-type]
