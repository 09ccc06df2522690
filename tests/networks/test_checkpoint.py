"""Weights as others save them: checkpoints, prefixes, headless networks, other packages' names."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.networks.modules import build
from nas.networks.pretrained import load_pretrained
from nas.networks.pretrained_names import rename
from nas.networks.weights import load_weights
from nas.networks.weights_file import read_weights
from nas.spaces.registry import load_architecture

LAYOUTS = ("nas-search", "timm", "torchvision", "efficientnet_pytorch")


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    return replace(load_architecture("efficientnet-b0"), num_classes=3)


@pytest.fixture(scope="module")
def tensors(architecture: Architecture) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(build(architecture).state_dict())


def prefixed(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def equal(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_prefixes(
    layout: Any,
    prefix: str,
    architecture: Architecture,
    tensors: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    theirs = prefixed(rename(tensors, architecture, layout), prefix)
    save_file(theirs, tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "w.safetensors").layout == layout
    assert equal(load_weights(tmp_path / "w.safetensors", architecture), tensors)


@pytest.mark.parametrize("ending", ["pt", "pth", "bin", "ckpt", "pth.tar"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "arch": "b0", "state_dict": state},
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"model_state_dict": prefixed(state, "module."), "loss": 0.3},
        lambda state: {"state_dict": prefixed(state, "model."), "callbacks": {}, "loops": [1, 2]},
        lambda state: {"args": argparse.Namespace(lr=0.1), "state_dict": OrderedDict(state)},
        lambda state: {"state_dict": state, "ema": {"decay": 0.999}},
        lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
    ],
    ids=[
        "plain",
        "timm",
        "model",
        "parallel",
        "lightning",
        "arguments",
        "ema settings",
        "averaged model",
    ],
)
def test_checkpoints(
    wrap: Any,
    ending: str,
    architecture: Architecture,
    tensors: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    torch.save(wrap(tensors), tmp_path / f"w.{ending}")
    assert equal(load_weights(tmp_path / f"w.{ending}", architecture), tensors)


@pytest.mark.parametrize("kind", ["entries", "prefixes"])
def test_a_moving_average_comes_first_and_is_said(
    kind: str, architecture: Architecture, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    last = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    if kind == "entries":
        content: Any = {"state_dict": last, "state_dict_ema": prefixed(tensors, "module.")}
    else:
        content = {**prefixed(last, "model."), **prefixed(tensors, "ema_model.module.")}
    torch.save(content, tmp_path / "w.pth")
    assert equal(load_weights(tmp_path / "w.pth", architecture), tensors)
    assert any("ema" in note for note in read_weights(tmp_path / "w.pth").steps)


def test_a_plain_file_has_no_notes(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").steps == ()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_headless_network_gets_a_new_classifier_where_it_is_transferred(
    layout: Any, architecture: Architecture, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.4.")}
    torch.save(rename(body, architecture, layout), tmp_path / "w.pth")
    network = load_weights(tmp_path / "w.pth", architecture, transfer=True)
    loaded = network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in body.items())
    assert loaded["head.4.weight"].shape == (3, 1280)
    with pytest.raises(InputError, match=r"weight is missing.*is missing"):
        load_weights(tmp_path / "w.pth", architecture)


def test_names_of_efficientnet_pytorch(architecture: Architecture) -> None:
    """As that package prints them: its first blocks have no expansion."""
    theirs = rename(build(architecture).state_dict(), architecture, "efficientnet_pytorch")
    expected = {
        "_conv_stem.weight",
        "_bn0.running_mean",
        "_blocks.0._depthwise_conv.weight",
        "_blocks.0._bn1.weight",
        "_blocks.0._se_reduce.bias",
        "_blocks.0._se_expand.weight",
        "_blocks.0._project_conv.weight",
        "_blocks.0._bn2.bias",
        "_blocks.1._expand_conv.weight",
        "_blocks.1._bn0.weight",
        "_blocks.15._project_conv.weight",
        "_conv_head.weight",
        "_bn1.running_var",
        "_fc.weight",
        "_fc.bias",
    }
    assert expected <= set(theirs)
    assert not any(name.startswith("_blocks.0._expand") for name in theirs)


def test_other_padding_is_said(
    architecture: Architecture, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    theirs = rename(tensors, architecture, "efficientnet_pytorch")
    torch.save(theirs, tmp_path / "w.pth")
    found = load_pretrained(tmp_path / "w.pth", target=architecture)
    assert any("TensorFlow" in note for note in found.notes)
    same = replace(architecture, padding="same")
    assert not any("TensorFlow" in n for n in load_pretrained(tmp_path / "w.pth", same).notes)


def test_what_does_not_fit_is_named_with_what_was_tried(
    architecture: Architecture, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    wrong = dict(rename(tensors, architecture, "timm"))
    wrong["conv_head.weight"] = torch.zeros(4, 4)
    del wrong["bn1.bias"]
    torch.save({"state_dict": prefixed(wrong, "module.")}, tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        load_weights(tmp_path / "w.pth", architecture)
    text = str(caught.value)
    for part in (
        "bn1.bias is missing",
        "conv_head.weight is [4, 4] and not [1280, 320, 1, 1]",
        "read by the names of timm",
        "the entry 'state_dict' of the checkpoint is used",
        "'module.' before the names is removed",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fc.weight": torch.zeros(2, 2)}, r"first tensors are fc\.weight; accepted: nas-search"),
        ({"epoch": 3}, "'epoch' is no dense tensor"),
        ({"state_dict": {}}, "not a state dict"),
        ({"model": {"model": {"model": {"model": {}}}}}, "not a state dict"),
    ],
)
def test_what_has_no_known_network(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=message):
        read_weights(tmp_path / "w.pth")


class Runs:
    """Would open a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return (open, ("harmed", "w"))


def test_code_beside_the_weights_is_refused_and_named(
    tensors: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": tensors, "model": Runs()}, "w.pth")
    with pytest.raises(InputError, match=r"contains .*open, which could run code; save model"):
        read_weights(Path("w.pth"))
    assert not Path("harmed").exists()
