"""Weights of timm and torchvision, from their own caches: nothing is downloaded."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from nas.errors import InputError
from nas.export.random_network import random_images, randomise
from nas.networks.optional_packages import package
from nas.networks.pretrained import load_pretrained

NAME = "test_efficientnet.r160_in1k"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub, as its library keeps it, with one model of random weights."""
    import huggingface_hub.constants as constants

    timm = package("timm")
    theirs = timm.create_model(NAME.partition(".")[0])
    randomise(theirs, random_images((8, 3, 64, 64), 0))
    place = tmp_path / f"models--timm--{NAME}"
    snapshot = place / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    save_file(theirs.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return theirs


def test_timm_from_its_cache(hub):
    found = load_pretrained(f"timm:{NAME}")
    assert found.architecture.resolution == 160
    config = package("timm").get_pretrained_cfg(NAME)
    assert found.normalisation(3) == (tuple(config.mean), tuple(config.std))
    images = random_images((4, 3, 96, 96), 1)
    with torch.no_grad():
        ours = found.network(3, 1000).eval()(images)
        assert (ours - hub(images)).abs().max() < 1e-4
    assert len(found.digest) == 64
    assert found.source == f"timm:{NAME}"


def test_torchvision_from_its_cache(tmp_path, monkeypatch):
    models = package("torchvision.models")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    theirs = models.efficientnet_b0().eval()
    entry = models.get_model_weights("efficientnet_b0").DEFAULT
    (tmp_path / "checkpoints").mkdir()
    torch.save(theirs.state_dict(), tmp_path / "checkpoints" / entry.url.rpartition("/")[2])
    found = load_pretrained("torchvision:efficientnet_b0")
    assert found.classes is not None
    assert found.classes[0] == "tench"
    assert found.normalisation(3) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = random_images((2, 3, 64, 64), 1)
    with torch.no_grad():
        assert (found.network(3, 1000).eval()(images) - theirs(images)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("timm:resnet18", "a ResNet is not of this family"),
        ("timm:mobilenetv3_large_100", "MobileNetV3 is not of this family"),
        ("timm:mixnet_s", "its activations are relu, silu"),
        ("timm:efficientnet_b77", "no such weights; accepted"),
        ("torchvision:resnet18", "no such weights; accepted: efficientnet_b0"),
        ("torchvision:efficientnet_b0.NONE", "accepted: efficientnet_b0.IMAGENET1K_V1"),
        (f"timm:{NAME}", "cannot be downloaded"),
    ],
)
def test_what_is_not_accepted_is_named(source, said, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=said):
        load_pretrained(source)


@pytest.mark.parametrize(
    ("name", "padding", "stages"),
    [
        ("efficientnet_b1.ft_in1k", "symmetric", 7),
        ("tf_efficientnet_b3.ns_jft_in1k", "same", 7),
        ("tf_efficientnetv2_s.in21k_ft_in1k", "same", 6),
        ("mobilenetv2_100.ra_in1k", "symmetric", 7),
        ("mnasnet_100.rmsp_in1k", "symmetric", 7),
    ],
)
def test_families_that_are_read(name, padding, stages):
    from nas.networks.libraries import timm_architecture

    timm = package("timm")
    with torch.device("meta"):
        model = timm.create_model(name)
    known = timm_architecture(f"timm:{name}", model, 224)
    assert (known.padding, len(known.stages)) == (padding, stages)
