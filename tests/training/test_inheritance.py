"""Networks that begin with the weights of others: on images, from libraries, in training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import nas
from nas.errors import InputError
from nas.export.random_network import random_images, random_network
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.pretrained import load_pretrained
from nas.networks.weights_file import TrainedOn, save_weights
from nas.training.inheritance import inherit, measure_gates, measure_norms, suit_momentum

SOURCE = Architecture(
    name="source",
    resolution=24,
    in_channels=3,
    num_classes=4,
    activation="silu",
    norm=Norm(),
    stem=Stem(3, 1, 8),
    stages=(
        Stage("mbconv", 3, 1, 1, 8, 1, 0.25),
        Stage("mbconv", 5, 2, 4, 12, 2, 0.25),
        Stage("mbconv", 3, 2, 4, 16, 2, 0.25),
    ),
    head=Head(24, 0.0),
)


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "source.safetensors"
    about = TrainedOn((0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 24, ("a", "b", "c", "d"))
    save_weights(random_network(SOURCE, 0), SOURCE, file, trained_on=about)
    return file


@pytest.fixture
def pixels():
    return (random_images((96, 3, 24, 24), 5) * 40 + 120).clamp(0, 255).to(torch.uint8)


def inputs(pixels):
    return (pixels.float() / 255 - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / 0.2


def test_the_same_network_has_the_same_weights(weights):
    network = inherit(weights, SOURCE)
    theirs = nas.load_weights(weights).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in network.state_dict().items())


def test_gates_that_are_dropped_are_measured_on_the_images(weights, pixels):
    """What reads the channels is multiplied by their mean gates on the images."""
    plain = replace(SOURCE, stages=tuple(replace(stage, se_ratio=0.0) for stage in SOURCE.stages))
    source = nas.load_weights(weights).eval()
    gates = measure_gates(source, inputs(pixels))
    assert gates
    found = inherit(weights, plain, pixels).state_dict()
    for name, gate in gates.items():
        block, place = name.split(".branch.")
        theirs = source.state_dict()[f"{block}.branch.{int(place) + 1}.0.weight"]
        ours = found[f"{block}.branch.{place}.0.weight"]
        assert torch.allclose(ours, theirs * gate[:, None, None], atol=1e-5)


def test_gates_and_norms_are_means_over_the_images(weights, pixels):
    source = nas.load_weights(weights).eval()
    images = inputs(pixels)
    seen = {}
    block = source.blocks[1].branch[2]
    hook = block.expand.register_forward_hook(lambda m, i, out: seen.update(gate=out.sigmoid()))
    with torch.no_grad():
        source(images)
    hook.remove()
    gates = measure_gates(source, images)
    assert torch.allclose(gates["blocks.1.branch.2"], seen["gate"].mean((0, 2, 3)), atol=1e-5)
    measure_norms(source, images[:64])
    with torch.no_grad():
        stem = source.stem[0](images[:64])
    assert torch.allclose(source.stem[1].running_mean, stem.mean((0, 2, 3)), atol=1e-4)
    assert source.stem[1].momentum == SOURCE.norm.momentum
    assert not source.training


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channels": 1},
        {"in_channels": 5},
        {"num_classes": 9},
        {"resolution": 40},
        {"stem": Stem(5, 2, 6)},
        {"head": Head(12, 0.2)},
        {"stages": SOURCE.stages[:2]},
        {"stages": (*SOURCE.stages, Stage("mbconv", 3, 1, 4, 24, 1, 0.0))},
        {"stages": (SOURCE.stages[0], replace(SOURCE.stages[1], op="fused_mbconv"))},
        {"stages": (replace(SOURCE.stages[0], expansion=3), *SOURCE.stages[1:])},
        {"stages": (SOURCE.stages[0], replace(SOURCE.stages[1], expansion=1))},
        {"stages": (Stage("skip", 1, 2, 1, 12, 1, 0.0), SOURCE.stages[1])},
        {"activation": "relu6", "padding": "same"},
    ],
)
def test_any_network_inherits(weights, pixels, changes):
    wanted = replace(SOURCE, **changes)
    images = pixels[:, :1].expand(-1, wanted.in_channels, -1, -1)
    network = inherit(weights, wanted, images, seed=3)
    again = inherit(weights, wanted, images, seed=3)
    fresh = nas.build(wanted).state_dict()
    state = network.state_dict()
    assert {name: v.shape for name, v in state.items()} == {n: v.shape for n, v in fresh.items()}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in state.items())
    with torch.no_grad():
        logits = network(inputs(pixels)[:, :1].expand(-1, wanted.in_channels, -1, -1))
    assert torch.isfinite(logits).all()
    assert state["head.4.weight"].shape[0] == wanted.num_classes


def test_images_of_other_channels_are_refused(weights):
    with pytest.raises(InputError, match="images: 1 channels, the network has 3"):
        inherit(weights, SOURCE, torch.zeros(4, 1, 24, 24, dtype=torch.uint8))


def test_momentum_suits_the_length():
    network = nas.build(replace(SOURCE, norm=Norm(1e-3, 0.01)))
    suit_momentum(network, 10_000)
    assert network.stem[1].momentum == 0.01
    suit_momentum(network, 100)
    assert network.stem[1].momentum == 0.1


def test_a_file_that_names_no_network_is_known_by_its_tensors(tmp_path):
    small = replace(SOURCE, name="mine")
    network = random_network(small, 0)
    torch.save(network.state_dict(), tmp_path / "plain.pt")
    assert load_pretrained(tmp_path / "plain.pt", target=small).architecture == small
    with pytest.raises(InputError, match="--weights-arch"):
        load_pretrained(tmp_path / "plain.pt")
    b0 = nas.load_architecture("efficientnet-b0")
    torch.save(nas.build(b0).state_dict(), tmp_path / "b0.pt")
    found = load_pretrained(tmp_path / "b0.pt", target=small)
    assert found.architecture == b0
    assert "the tensors are those of efficientnet-b0" in found.notes
