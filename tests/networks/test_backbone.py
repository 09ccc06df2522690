"""Networks as backbones: the maps, their strides, a classifier's weights, and what compiles."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import nas
from nas.errors import InputError
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem, efficientnet_b0
from nas.networks.modules import Backbone, Network, build
from nas.networks.optional_packages import package
from nas.networks.pretrained_names import rename
from nas.spaces.toml import read_space
from tests.support.paths import ROOT
from tests.support.same_function import SAME, doubled, relative_difference

SPACES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))


def sampled(name: str, seed: int = 0) -> Architecture:
    space = replace(read_space(ROOT / f"search_spaces/{name}.toml"), num_classes=7)
    return space.decode(space.sample(random.Random(seed)))


def made_of(stem_stride: int, *stages: tuple[str, int, int]) -> Architecture:
    """An architecture of (op, stride, width)."""
    return Architecture(
        name="made",
        resolution=32,
        in_channels=3,
        num_classes=4,
        activation="relu",
        norm=Norm(),
        stem=Stem(3, stem_stride, 8),
        stages=tuple(
            Stage(op, 1, stride, 1, width, 1, 0.0)  # type: ignore[arg-type]
            if op == "skip"
            else Stage(op, 3, stride, 2, width, 2, 0.25)  # type: ignore[arg-type]
            for op, stride, width in stages
        ),
        head=Head(32, 0.0),
    )


def lively(network: nn.Module) -> nn.Module:
    """Statistics of batch norm that are not those of no training at all."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.7, 1.4)
    return network.eval()


def pair(architecture: Architecture, **more: Any) -> tuple[Network, Backbone]:
    """A classifier, and a backbone with its weights."""
    torch.manual_seed(0)
    network = build(architecture)
    lively(network)
    backbone = build(architecture, features_only=True, **more).eval()
    backbone.load_state_dict(network.state_dict())
    return network, backbone


def maps_of(network: Network, images: Tensor) -> dict[int, Tensor]:
    """The last activation of each size, by how many times smaller it is: by hooks."""
    found: dict[int, Tensor] = {}
    stride = 1

    def keep(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        nonlocal stride
        stride *= max(m.stride[0] for m in module.modules() if isinstance(m, nn.Conv2d))
        found[stride] = out.clone()

    hooks = [m.register_forward_hook(keep) for m in (network.stem, *network.blocks)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return found


# ── The maps ─────────────────────────────────────────────────────────────────────────────────────


def test_of_b0() -> None:
    backbone = build(efficientnet_b0(), features_only=True)
    assert backbone.strides == (4, 8, 16, 32)
    assert backbone.channels == (24, 40, 112, 320)
    assert not [name for name in backbone.state_dict() if name.startswith("head")]
    every = build(efficientnet_b0(), features_only=True, strides=[2, 4, 8, 16, 32])
    assert every.channels == (16, 24, 40, 112, 320)


@settings(max_examples=15)
@given(st.sampled_from(SPACES), st.integers(0, 10_000), st.integers(1, 90), st.integers(1, 90))
def test_they_are_the_classifier_s_activations(
    space: str, seed: int, height: int, width: int
) -> None:
    """In images of any size, 32 dividing it or not."""
    network, backbone = pair(sampled(space, seed))
    images = torch.randn(1, 3, height, width)
    with torch.no_grad():
        maps = backbone(images)
    theirs = maps_of(network, images)
    assert list(backbone.strides) == [s for s in theirs if 4 <= s <= 32]
    for stride, channels, ours in zip(backbone.strides, backbone.channels, maps, strict=True):
        assert ours.shape == (1, channels, -(-height // stride), -(-width // stride))
        assert torch.equal(ours, theirs[stride])


@pytest.mark.parametrize(
    ("architecture", "strides", "channels"),
    [
        (made_of(1, ("mbconv", 2, 16), ("mbconv", 2, 24)), (4,), (24,)),
        (made_of(2, ("mbconv", 4, 16), ("mbconv", 2, 24)), (8, 16), (16, 24)),  # no stride of 4
        (made_of(2, ("mbconv", 3, 16), ("mbconv", 2, 24)), (6, 12), (16, 24)),
        (made_of(2, ("mbconv", 2, 16), ("skip", 1, 16), ("skip", 2, 24)), (4, 8), (16, 24)),
        (made_of(2, ("mbconv", 2, 16), ("skip", 1, 20)), (4,), (20,)),
        (made_of(1), (1,), (8,)),  # nothing from 4 on: the last there is
        (made_of(2, ("fused_mbconv", 1, 12)), (2,), (12,)),
        (made_of(4, *[("mbconv", 2, 8)] * 4), (4, 8, 16, 32), (8, 8, 8, 8)),
    ],
)
def test_of_architectures_without_some_strides(
    architecture: Architecture, strides: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    network, backbone = pair(architecture)
    assert (backbone.strides, backbone.channels) == (strides, channels)
    images = torch.randn(1, 3, 37, 50)
    theirs = maps_of(network, images)
    with torch.no_grad():
        for stride, ours in zip(strides, backbone(images), strict=True):
            assert torch.equal(ours, theirs[stride])


def test_which_strides() -> None:
    network, backbone = pair(efficientnet_b0(), strides=(8, 2))
    assert backbone.strides == (2, 8)
    assert len(backbone.blocks) == 5  # nothing is computed for nothing
    images = torch.randn(1, 3, 64, 64)
    theirs = maps_of(network, images)
    with torch.no_grad():
        assert all(
            torch.equal(ours, theirs[s]) for s, ours in zip((2, 8), backbone(images), strict=True)
        )
    for strides in ([3], [], [4, 64]):
        with pytest.raises(InputError, match="has 2, 4, 8, 16, 32"):
            build(efficientnet_b0(), features_only=True, strides=strides)
    with pytest.raises(InputError, match="features_only"):
        build(efficientnet_b0(), strides=[4])  # type: ignore[call-overload]


def test_they_are_timm_s() -> None:
    timm = package("timm")
    network, backbone = pair(efficientnet_b0())
    theirs = timm.create_model("efficientnet_b0", features_only=True, out_indices=(1, 2, 3, 4))
    assert theirs.feature_info.channels() == list(backbone.channels)
    assert theirs.feature_info.reduction() == list(backbone.strides)
    tensors = rename(network.state_dict(), efficientnet_b0(), "timm")
    assert theirs.load_state_dict(tensors, strict=False).missing_keys == []
    images = torch.randn(1, 3, 75, 100)
    assert relative_difference(doubled(backbone), doubled(theirs.eval()), images) < SAME


# ── Weights ──────────────────────────────────────────────────────────────────────────────────────


def test_the_weights_of_a_file(tmp_path: Path) -> None:
    architecture = sampled("tiny")
    network, expected = pair(architecture)
    nas.save_weights(network, architecture, tmp_path / "w.safetensors")
    backbone = nas.load_weights(tmp_path / "w.safetensors", features_only=True)
    assert isinstance(backbone, nas.Backbone)
    assert all(p.requires_grad and not p.is_meta for p in backbone.parameters())
    images = torch.randn(2, 3, 33, 47)
    with torch.no_grad():
        for one, other in zip(backbone.eval()(images), expected(images), strict=True):
            assert torch.equal(one, other)
    grey = replace(architecture, in_channels=1, num_classes=3)
    backbone = nas.load_weights(tmp_path / "w.safetensors", grey, transfer=True, features_only=True)
    assert backbone(images[:, :1])[0].shape[1] == backbone.channels[0]


def test_only_the_head_may_be_left_out() -> None:
    network, backbone = pair(sampled("tiny"))
    tensors = network.state_dict()
    for name in ("stem.0.weight", f"blocks.{len(network.blocks) - 1}.branch.0.0.weight"):
        with pytest.raises(RuntimeError, match=f'Missing key.*"{name}"'):
            backbone.load_state_dict({k: v for k, v in tensors.items() if k != name})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*blocks\.99\.weight"):
        backbone.load_state_dict(tensors | {"blocks.99.weight": torch.zeros(1)})
    assert [k for k in tensors if k.startswith("head")]  # what was given is as it was

    detector = nn.ModuleDict({"body": backbone})
    detector.load_state_dict({f"body.{name}": value for name, value in tensors.items()})


def test_it_is_trained_like_a_network() -> None:
    torch.manual_seed(0)
    backbone = build(sampled("efficientnet"), features_only=True, stochastic_depth=0.1)
    backbone = backbone.to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 50, 70).to(memory_format=torch.channels_last)
    maps = backbone(images)
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in maps)
    torch.stack([one.square().mean() for one in maps]).sum().backward()
    for parameter in backbone.parameters():  # none is there for nothing
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


# ── Compiled and exported ────────────────────────────────────────────────────────────────────────


def small() -> Architecture:
    """Every kind of block, and a skip that computes."""
    stages = [("mbconv", 2, 16), ("fused_mbconv", 2, 24), ("skip", 2, 24), ("mbconv", 2, 32)]
    return made_of(2, *stages)


@pytest.fixture(params=["network", "backbone"])
def module(request: pytest.FixtureRequest) -> nn.Module:
    """In float64: what compiles it may take sums in another order."""
    return dict(zip(("network", "backbone"), pair(small()), strict=True))[request.param].double()


SIZES = ((64, 64), (75, 33))


@pytest.mark.parametrize(
    ("layout", "backend"), [(torch.contiguous_format, "eager"), (torch.channels_last, "aot_eager")]
)
def test_it_compiles(module: nn.Module, layout: torch.memory_format, backend: str) -> None:
    """In one graph. (Inductor, which needs a compiler, begins with what aot_eager does.)"""
    torch._dynamo.reset()
    compiled = torch.compile(module.to(memory_format=layout), backend=backend, fullgraph=True)
    for height, width in SIZES:
        images = torch.randn(2, 3, height, width).to(memory_format=layout)
        assert relative_difference(compiled, module, images) < SAME


def test_it_is_exported_for_images_of_any_size(module: nn.Module) -> None:
    """Larger than the last stride: PyTorch takes a map of one pixel for another program."""
    side = {name: torch.export.Dim(name, min=33, max=2048) for name in ("height", "width")}
    exported = torch.export.export(
        module,
        (torch.randn(2, 3, 64, 96).double(),),
        dynamic_shapes={"x": {0: torch.export.Dim("n"), 2: side["height"], 3: side["width"]}},
    ).module()
    for height, width in (*SIZES, (256, 300)):
        assert relative_difference(exported, module, torch.randn(3, 3, height, width)) < SAME
