"""The networks that architectures become: shapes, blocks, weights, and that they can be trained."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nas.networks.architecture import Activation, Architecture, Layer, Norm, efficientnet_b0
from nas.networks.cost import measure_cost
from nas.networks.modules import (
    Block,
    ConvNormAct,
    Network,
    SqueezeExcite,
    StochasticDepth,
    block,
    build,
)
from nas.spaces.toml import read_space
from tests.support.paths import ROOT

SPACES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))
NORM = Norm()


def sampled(name: str, seed: int = 0, resolution: int = 32) -> Architecture:
    space = replace(
        read_space(ROOT / f"search_spaces/{name}.toml"), resolution=resolution, num_classes=7
    )
    return space.decode(space.sample(random.Random(seed)))


def convolutions(module: nn.Module) -> list[tuple[int, int, int, int, int]]:
    """Input and output width, kernel, stride and groups of every convolution in order."""
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.groups)
        for m in module.modules()
        if isinstance(m, nn.Conv2d)
    ]


# ── Blocks ───────────────────────────────────────────────────────────────────────────────────────


def test_mbconv_expands_filters_and_projects() -> None:
    made = block(Layer("mbconv", 5, 2, 6, 16, 24, 4), "silu", NORM)
    assert convolutions(made) == [
        (16, 96, 1, 1, 1),
        (96, 96, 5, 2, 96),
        (96, 4, 1, 1, 1),
        (4, 96, 1, 1, 1),
        (96, 24, 1, 1, 1),
    ]
    assert sum(isinstance(m, nn.SiLU) for m in made.modules()) == 3  # not after the projection


def test_mbconv_of_expansion_1_has_no_expansion_convolution() -> None:
    made = block(Layer("mbconv", 3, 1, 1, 16, 24, 0), "relu", NORM)
    assert convolutions(made) == [(16, 16, 3, 1, 16), (16, 24, 1, 1, 1)]


def test_fused_mbconv_expands_with_its_kernel() -> None:
    made = block(Layer("fused_mbconv", 3, 2, 4, 16, 24, 4), "relu", NORM)
    assert convolutions(made) == [
        (16, 64, 3, 2, 1),
        (64, 4, 1, 1, 1),
        (4, 64, 1, 1, 1),
        (64, 24, 1, 1, 1),
    ]


def test_fused_mbconv_of_expansion_1_is_one_convolution() -> None:
    made = block(Layer("fused_mbconv", 5, 2, 1, 16, 24, 0), "relu", NORM)
    assert convolutions(made) == [(16, 24, 5, 2, 1)]
    assert sum(isinstance(m, nn.ReLU) for m in made.modules()) == 1


def test_a_skip_is_the_identity_or_a_bare_projection() -> None:
    images = torch.randn(2, 8, 5, 5)
    same = block(Layer("skip", 1, 1, 1, 8, 8, 0), "relu", NORM)
    assert torch.equal(same(images), images)
    assert not list(same.parameters())
    for stride, width in ((1, 16), (2, 8)):
        made = block(Layer("skip", 1, stride, 1, 8, width, 0), "relu", NORM)
        assert convolutions(made) == [(8, width, 1, stride, 1)]
        assert sum(isinstance(m, nn.BatchNorm2d) for m in made.modules()) == 1
        assert not any(isinstance(m, nn.ReLU) for m in made.modules())
        assert (made(images) < 0).any()


@pytest.mark.parametrize(
    ("stride", "width", "residual"), [(1, 8, True), (2, 8, False), (1, 16, False)]
)
@pytest.mark.parametrize("op", ["mbconv", "fused_mbconv"])
@pytest.mark.parametrize("expansion", [1, 3])
def test_the_residual_is_added_where_shapes_agree(
    op: str, expansion: int, stride: int, width: int, residual: bool
) -> None:
    made = block(Layer(op, 3, stride, expansion, 8, width, 0), "relu", NORM).eval()  # type: ignore[arg-type]
    assert isinstance(made, Block)
    images = torch.randn(2, 8, 6, 6)
    branch = made.branch(images)
    assert torch.equal(made(images), images + branch if residual else branch)
    # A branch that gives nothing leaves the input, or nothing at all.
    [*_, last] = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    assert torch.equal(made(images), images if residual else torch.zeros_like(branch))


def test_squeeze_excite_gates_each_channel_by_the_pooled_input() -> None:
    module = SqueezeExcite(6, 2, "relu").eval()
    images = torch.randn(3, 6, 4, 4)
    pooled = images.mean((2, 3), keepdim=True)
    gate = torch.sigmoid(module.expand(torch.relu(module.reduce(pooled))))
    assert torch.equal(module(images), images * gate)
    assert module.reduce.bias is not None


@given(st.sampled_from([1, 3, 5, 7, 9]), st.integers(1, 4), st.integers(1, 20), st.integers(1, 20))
def test_padding_keeps_the_grid(kernel: int, stride: int, height: int, width: int) -> None:
    made = ConvNormAct(1, 1, kernel, stride=stride, activation=None, norm=NORM).eval()
    grid = made(torch.zeros(1, 1, height, width)).shape[2:]
    assert tuple(grid) == (-(-height // stride), -(-width // stride))


def test_stochastic_depth_drops_whole_samples() -> None:
    torch.manual_seed(0)
    module = StochasticDepth(0.25)
    images = torch.ones(4000, 2, 1, 1)
    out = module(images)
    assert out.unique().tolist() == [0, pytest.approx(1 / 0.75)]
    assert torch.equal(out[:, 0], out[:, 1])
    assert out.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(module.eval()(images), images)


def test_stochastic_depth_rises_linearly() -> None:
    network = build(efficientnet_b0(), stochastic_depth=0.2)
    drops = [m.probability for m in network.modules() if isinstance(m, StochasticDepth)]
    assert drops == [pytest.approx(0.2 * index / 16) for index in range(16)]
    assert all(m.probability == 0 for m in build(efficientnet_b0()).modules()
               if isinstance(m, StochasticDepth))  # fmt: skip


# ── Networks ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("size", [1, 32, 45])
def test_logits_for_every_class(name: str, size: int) -> None:
    network = build(sampled(name)).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 7)
        assert network(torch.zeros(1, 3, size, size + 3)).shape == (1, 7)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_blocks_are_the_architectures_layers(seed: int) -> None:
    architecture = sampled("tiny", seed)
    network = build(architecture)
    assert len(network.blocks) == len(architecture.layers())
    x = network.stem(torch.zeros(2, 3, 9, 9))
    for layer, module in zip(architecture.layers(), network.blocks, strict=True):
        assert x.shape[1] == layer.in_width
        size = -(-x.shape[2] // layer.stride)
        x = module(x)
        assert x.shape == (2, layer.width, size, size)


def test_a_network_without_blocks() -> None:
    network = build(replace(efficientnet_b0(), stages=(), num_classes=3)).eval()
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 3)


@pytest.mark.parametrize(
    ("activation", "module"),
    [("relu", nn.ReLU), ("relu6", nn.ReLU6), ("silu", nn.SiLU), ("hardswish", nn.Hardswish)],
)
def test_activations_and_norm_are_the_architectures(
    activation: Activation, module: type[nn.Module]
) -> None:
    architecture = replace(
        sampled("tiny"), activation=activation, norm=Norm(eps=1e-3, momentum=0.01), in_channels=1
    )
    network = build(architecture)
    known = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)
    assert {type(m) for m in network.modules() if isinstance(m, known)} == {module}
    norms = {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert norms == {(1e-3, 0.01)}
    assert network.eval()(torch.zeros(1, 1, 8, 8)).shape == (1, 7)


def test_convolutions_have_a_bias_only_in_squeeze_excite() -> None:
    network = build(efficientnet_b0())
    gates = {
        id(conv)
        for m in network.modules()
        if isinstance(m, SqueezeExcite)
        for conv in (m.reduce, m.expand)
    }
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert (module.bias is not None) == (id(module) in gates)


# ── Weights ──────────────────────────────────────────────────────────────────────────────────────


def weights(network: Network) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_a_seed_decides_the_weights() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(weights(build(sampled("tiny"))))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_initial_weights() -> None:
    torch.manual_seed(0)
    network = build(replace(efficientnet_b0(), num_classes=10))
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 50_000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.unique().tolist() == [1]
            assert module.bias.unique().tolist() == [0]
        elif isinstance(module, nn.Linear):
            assert module.bias.unique().tolist() == [0]
            # Small enough that the first logits say next to nothing, whatever the classes.
            assert 0.02 < module.weight.abs().max().item() < 0.04


def test_measuring_the_cost_changes_no_network() -> None:
    network = build(sampled("efficientnet"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measure_cost(sampled("efficientnet"))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", SPACES)
def test_a_training_step_in_channels_last(name: str) -> None:
    torch.manual_seed(0)
    network = build(sampled(name, seed=1), stochastic_depth=0.1)
    network = network.to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 32, 32).to(memory_format=torch.channels_last)
    loss = nn.functional.cross_entropy(network(images), torch.arange(8) % 7)
    loss.backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    before = weights(network)
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert not torch.equal(weights(network), before)


def test_a_network_learns() -> None:
    torch.manual_seed(0)
    network = build(sampled("tiny", resolution=16))
    images, labels = torch.randn(14, 3, 16, 16), torch.arange(14) % 7
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    assert sum(b < a for a, b in pairwise(losses)) > 20


def test_stochastic_depth_is_the_identity_in_eval_mode() -> None:
    drop = StochasticDepth(0.4)
    x = torch.ones(20_000, 1, 1, 1)
    assert torch.equal(drop.eval()(x), x)
    dropped = drop.train()(x)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 1 / 0.6])
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.05)
