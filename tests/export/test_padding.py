"""Networks that pad as TensorFlow does, in every target."""

from __future__ import annotations

from dataclasses import replace

import pytest

import nas
from nas.errors import InputError
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from tests.support.exports import export

NETWORK = Architecture(
    name="padded",
    resolution=37,
    in_channels=3,
    num_classes=5,
    activation="relu6",
    norm=Norm(1e-3, 0.01),
    stem=Stem(3, 2, 8),
    stages=(
        Stage("fused_mbconv", 3, 2, 1, 16, 1, 0.0),
        Stage("mbconv", 5, 2, 4, 16, 2, 0.25),
    ),
    head=Head(24, 0.1),
    padding="same",
)


@pytest.mark.parametrize("resolution", [36, 37])
@pytest.mark.parametrize("target", ["torch", "timm", "onnx"])
def test_the_export_pads_likewise(target, resolution, tmp_path):
    made = export(replace(NETWORK, resolution=resolution), target, tmp_path / "out")
    compared = made.document["equivalence"]["logits"]
    assert compared["largest_difference"] <= compared["accepted"]
    assert compared["largest"] > 0.01


def test_torchvision_refuses_it(tmp_path):
    silu = replace(NETWORK, activation="silu")
    with pytest.raises(InputError, match="torchvision cannot express padding same"):
        export(silu, "torchvision", tmp_path / "out")


def test_symmetric_and_same_padding_are_different_networks(tmp_path):
    symmetric = replace(NETWORK, padding="symmetric")
    assert symmetric.key() != NETWORK.key()
    assert nas.measure_cost(symmetric) == nas.measure_cost(NETWORK)
    nas.save_architecture(NETWORK, tmp_path / "a.json")
    assert nas.load_architecture(tmp_path / "a.json") == NETWORK
    assert '"nas-search-architecture/2"' in (tmp_path / "a.json").read_text()
    nas.save_architecture(symmetric, tmp_path / "b.json")
    assert '"padding"' not in (tmp_path / "b.json").read_text()
