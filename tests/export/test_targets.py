"""Exports to every target: each is equivalent, or names the field that cannot be expressed."""

import json
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import nas
from nas.errors import InputError
from nas.export.random_network import random_network
from nas.export.targets import Target, check_expressible, load_source
from nas.export.timm import timm_definition
from nas.export.torchvision import torchvision_definition
from nas.networks.architecture import Architecture, Norm, Stage, Stem
from nas.networks.cost import measure_cost
from nas.networks.optional_packages import package
from nas.networks.weights import load_weights
from nas.networks.weights_file import read_weights, save_weights
from nas.spaces.registry import shipped
from tests.support.exports import export, small
from tests.support.same_function import SAME, doubled, relative_difference

SPACES = sorted(shipped("search_spaces"))
TARGETS: tuple[Target, ...] = get_args(Target)


def unexpressed(architecture: Architecture, target: Target) -> str:
    """What a target says it cannot express; nothing where it can."""
    try:
        check_expressible(architecture, target)
    except InputError as error:
        return str(error)
    return ""


def sample(space: str, seed: int) -> Architecture:
    found = replace(nas.load_space(space), resolution=32, num_classes=7)
    return found.decode(found.sample(random.Random(seed)))


# ── The same network ─────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from(SPACES), st.sampled_from(TARGETS), st.integers(0, 999))
@settings(max_examples=6)
@example("efficientnet", "timm", 0)
@example("efficientnetv2", "timm", 0)
@example("efficientnetv2", "torchvision", 0)
@example("proxyless", "onnx", 0)
@example("tiny", "onnx", 0)
@example("efficientnetv2", "onnx", 291)  # 31 blocks, 15 of them on a 1×1 grid
def test_a_random_network_is_exported_or_a_field_is_named(
    tmp_path_factory: pytest.TempPathFactory, space: str, target: Target, seed: int
) -> None:
    architecture = sample(space, seed)
    folder = tmp_path_factory.mktemp("export") / "out"
    named = unexpressed(architecture, target)
    if named:
        assert named.startswith(f"{target} cannot express ")
        assert named.split()[3].startswith(("stem.", "stage", "activation"))
        return
    made = export(architecture, target, folder)
    cost = measure_cost(architecture)
    compared = made.document["equivalence"]
    assert (compared["params"], compared["flops"]) == (cost.params, cost.flops)
    assert compared["logits"]["largest_difference"] <= compared["logits"]["accepted"]
    assert compared["logits"]["largest"] > 0.01


@pytest.mark.soak
@pytest.mark.parametrize("space", SPACES)
def test_all_targets_of_twenty_random_networks(
    space: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the space's own resolution and classes: equivalent, or refused naming a field."""
    loaded = nas.load_space(space)
    rng = random.Random(f"exports of {space}")
    networks = [loaded.decode(loaded.sample(rng)) for _ in range(20)]
    for target in TARGETS:
        made, largest = 0, 0.0
        fields: Counter[str] = Counter()
        for index, architecture in enumerate(networks):
            named = unexpressed(architecture, target)
            if named:
                assert named.startswith(f"{target} cannot express ")
                fields[re.sub(r"\d+", "*", named.split()[3].rstrip(":"))] += 1
                with pytest.raises(InputError, match="cannot express"):
                    export(architecture, target, tmp_path / f"{target}-{index}")
                continue
            found = export(architecture, target, tmp_path / f"{target}-{index}").equivalence
            cost = measure_cost(architecture)
            assert (found.params, found.flops) == (cost.params, cost.flops)
            assert found.difference <= found.accepted
            made, largest = made + 1, max(largest, found.difference / found.largest)
        assert made + fields.total() == len(networks)
        with capsys.disabled():
            print(
                f"\n{space:13} {target:12} {made:3} equivalent, logits within {largest:.1e};"
                f" {fields.total():3} refused"
                + "".join(f", {count} for {field}" for field, count in fields.most_common()),
                end="",
            )


@pytest.mark.parametrize("target", TARGETS)
def test_b0_is_expressed_by_all(target: Target, tmp_path: Path) -> None:
    b0 = replace(nas.load_architecture("efficientnet-b0"), resolution=64)
    made = export(b0, target, tmp_path / "b0")
    assert made.equivalence.params == 5_288_548
    kept = json.loads((tmp_path / "b0" / "export.json").read_text())
    assert kept == made.document
    assert kept["architecture"] == b0.to_dict()
    assert kept["weights"] == "random"
    assert set(kept["files"]) | {"export.json"} == {p.name for p in (tmp_path / "b0").iterdir()}
    assert "weights are random" in kept["notes"][0]


def test_b0_is_what_timm_and_torchvision_say_of_it() -> None:
    b0 = nas.load_architecture("efficientnet-b0")
    assert timm_definition(b0)["arch_def"] == [
        ["ds_r1_k3_s1_e1_c16_se0.25"],
        ["ir_r2_k3_s2_e6_c24_se0.25"],
        ["ir_r2_k5_s2_e6_c40_se0.25"],
        ["ir_r3_k3_s2_e6_c80_se0.25"],
        ["ir_r3_k5_s1_e6_c112_se0.25"],
        ["ir_r4_k5_s2_e6_c192_se0.25"],
        ["ir_r1_k3_s1_e6_c320_se0.25"],
    ]
    rows = [tuple(row.values()) for row in torchvision_definition(b0)["rows"]]
    assert rows[1] == ("MBConvConfig", 6, 3, 2, 16, 24, 2)
    assert torchvision_definition(b0)["last_channel"] == 1280


@pytest.mark.parametrize("target", ["timm", "torch", "onnx"])
@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "relu"},
        {"activation": "relu6", "in_channels": 1},
        {"activation": "hardswish", "norm": Norm(eps=1e-2, momentum=0.01)},
        {"stem": Stem(5, 2, 13)},
        # Widths whose squeeze-excite channels the libraries' own rounding would miss.
        {"stages": (Stage("mbconv", 3, 1, 1, 22, 3, 0.25), Stage("mbconv", 3, 2, 4, 30, 2, 0.3))},
        # More strides than 32 in all, and a stage that does nothing.
        {
            "stages": (
                Stage("skip", 1, 1, 1, 16, 1, 0.0),
                *(Stage("mbconv", 3, 2, 2, 16, 1, 0.0) for _ in range(5)),
            )
        },
    ],
)
def test_unusual_networks(target: Target, changes: dict[str, Any], tmp_path: Path) -> None:
    export(small(**changes), target, tmp_path / "out")


def test_a_skip_that_computes_and_every_block(tmp_path: Path) -> None:
    stages = (
        Stage("skip", 1, 2, 1, 24, 1, 0.0),
        Stage("fused_mbconv", 3, 1, 4, 24, 2, 0.25),
        Stage("mbconv", 7, 3, 3, 32, 2, 0.0),
    )
    for target in ("torch", "onnx", "json"):
        export(small(stages=stages, stem=Stem(3, 1, 16)), target, tmp_path / target)  # type: ignore[arg-type]


def test_a_network_of_no_block(tmp_path: Path) -> None:
    for target in ("torch", "onnx", "json"):
        export(small(stages=()), target, tmp_path / target)  # type: ignore[arg-type]


# ── What a target cannot express ─────────────────────────────────────────────────────────────────

ONE = small().stages[0]


@pytest.mark.parametrize(
    ("target", "changes", "field"),
    [
        ("timm", {"stem": Stem(3, 1, 16)}, "stem.stride 1"),
        ("timm", {"stages": ()}, "stages"),
        ("timm", {"stages": (ONE, Stage("skip", 1, 2, 1, 24, 1, 0.0))}, "stage2.op skip"),
        ("timm", {"stages": (replace(ONE, stride=3),)}, "stage1.stride 3"),
        ("timm", {"stem": Stem(3, 2, 9), "stages": (replace(ONE, expansion=6),)}, "stage1.expan"),
        ("torchvision", {"in_channels": 1}, "in_channels 1"),
        ("torchvision", {"activation": "relu"}, "activation relu"),
        ("torchvision", {"stem": Stem(5, 2, 16)}, "stem.kernel 5"),
        ("torchvision", {"stem": Stem(3, 1, 16)}, "stem.stride 1"),
        ("torchvision", {"stem": Stem(3, 2, 20)}, "stage1.expansion 1"),
        ("torchvision", {"stages": ()}, "stages"),
        ("torchvision", {"stages": (ONE, Stage("skip", 1, 2, 1, 24, 1, 0.0))}, "stage2.op skip"),
        ("torchvision", {"stages": (replace(ONE, stride=4),)}, "stage1.stride 4"),
        ("torchvision", {"stages": (replace(ONE, se_ratio=0.0),)}, "stage1.se_ratio 0.0"),
        ("torchvision", {"stages": (replace(ONE, se_ratio=0.5),)}, "stage1.se_ratio 0.5"),
        ("torchvision", {"stages": (ONE, replace(ONE, width=20))}, "stage2.width 20"),
        (
            "torchvision",
            {"stages": (Stage("fused_mbconv", 3, 1, 4, 16, 1, 0.25),)},
            "stage1.se_ratio 0.25",
        ),
    ],
)
def test_a_field_that_a_target_has_not_is_named(
    target: Target, changes: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"^{target} cannot express {field}") as error:
        export(small(**changes), target, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


# ── Python files ─────────────────────────────────────────────────────────────────────────────────


def test_the_torch_file_needs_torch_alone(tmp_path: Path) -> None:
    """It is run where nothing else of ours can be, and makes the same logits."""
    architecture = small()
    network = random_network(architecture, 0)
    save_weights(network, architecture, tmp_path / "w.safetensors")
    export(architecture, "torch", tmp_path / "out", weights=tmp_path / "w.safetensors")
    program = (
        "import sys, torch; sys.path.insert(0, '.'); import model; "
        "assert 'nas' not in sys.modules; network = model.build('weights.pt').eval(); "
        "torch.manual_seed(0); images = torch.randn(1, 3, 32, 32).double(); "
        "print(network.double()(images).flatten().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    with torch.inference_mode():
        wanted = doubled(network)(torch.randn(1, 3, 32, 32).double()).flatten().tolist()
    assert json.loads(done.stdout) == pytest.approx(wanted, rel=1e-6)
    text = (tmp_path / "out" / "model.py").read_text()
    imported = [line for line in text.splitlines() if line.startswith(("import", "from"))]
    assert imported == ["import math", "import torch", "from torch import nn"]


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
@pytest.mark.parametrize(
    "name",
    [
        '"""\nraise SystemExit(3)\n"""',
        "\\",
        'b0"',
        "{stem.width} {0} %s",
        "\u2028raise SystemExit(3)\r\x00",
        "'''",
    ],
)
def test_a_name_is_only_a_name(target: Target, name: str, tmp_path: Path) -> None:
    export(small(name=name), target, tmp_path / "out")


@pytest.mark.parametrize("target", ["timm", "torchvision"])
def test_weights_go_along_in_the_targets_names(target: Target, tmp_path: Path) -> None:
    architecture = small()
    network = random_network(architecture, 3)
    save_weights(network, architecture, tmp_path / "w.safetensors")
    made = export(architecture, target, tmp_path / "out", weights=tmp_path / "w.safetensors")
    assert made.document["weights"] == "w.safetensors"
    assert made.document["notes"] == []
    package(target)
    theirs = load_source(tmp_path / "out" / "model.py").build().eval()
    file = tmp_path / "out" / "model.safetensors"
    theirs.load_state_dict(dict(read_weights(file).tensors))
    images = torch.randn(2, 3, 32, 32)
    assert relative_difference(doubled(theirs), doubled(network), images) < SAME
    # And back, by the export of what was exported.
    export(architecture, "json", tmp_path / "back", weights=file)
    back = load_weights(tmp_path / "back" / "weights.safetensors").state_dict()
    assert all(torch.equal(back[name], value) for name, value in network.state_dict().items())
