"""Exports: each is the same network, what a target cannot express is named, and no half is left."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import nas
from nas.cli import _run as command
from nas.data import ImageData
from nas.errors import InputError, NotProved
from nas.export import export as export_run
from nas.export import onnx as onnx_target
from nas.export.equivalence import Proof, accepted, load_source, prove, randomised
from nas.export.export import TARGETS, Target, export_network
from nas.export.int8 import ENOUGH, quantise
from nas.export.onnx import count, onnx_model, run, session
from nas.export.optional_packages import package
from nas.export.timm import timm_definition
from nas.export.torchvision import torchvision_definition
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.cost import count_module, measure_cost
from nas.networks.modules import build
from nas.networks.weights import load_weights
from nas.networks.weights_file import TrainedOn, read_weights, save_weights
from nas.spaces.registry import shipped
from tests.support.silent import Silent

SPACES = sorted(shipped("search_spaces"))


def export(architecture: Architecture, target: Target, folder: Path, **more: Any) -> Any:
    return export_network(architecture, target, folder, progress=Silent(), **more)


def small(**changes: Any) -> Architecture:
    """A network of every kind of block that all targets can express."""
    stages = (
        Stage("mbconv", 3, 1, 1, 16, 2, 0.25),
        Stage("fused_mbconv", 3, 2, 4, 24, 2, 0.0),
        Stage("mbconv", 5, 2, 6, 24, 1, 0.25),
        Stage("fused_mbconv", 3, 1, 1, 24, 1, 0.0),
    )
    made = Architecture("small", 32, 3, 5, "silu", Norm(), Stem(3, 2, 16), stages, Head(32, 0.2))
    return replace(made, **changes)


def unexpressed(architecture: Architecture, target: Target) -> str:
    """What a target says it cannot express; nothing where it can."""
    define = {"timm": timm_definition, "torchvision": torchvision_definition}.get(target)
    try:
        if define is not None:
            define(architecture)
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
    proof = made.document["proof"]
    assert (proof["params"], proof["flops"]) == (cost.params, cost.flops)
    assert proof["logits"]["largest_difference"] <= proof["logits"]["accepted"]
    assert proof["logits"]["largest"] > 0.01


@pytest.mark.soak
@pytest.mark.parametrize("space", SPACES)
def test_all_targets_of_twenty_random_networks(
    space: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the space's own resolution and classes: proved, or refused with a field; nothing else."""
    found = nas.load_space(space)
    rng = random.Random(f"exports of {space}")
    networks = [found.decode(found.sample(rng)) for _ in range(20)]
    for target in TARGETS:
        proved, largest = 0, 0.0
        fields: Counter[str] = Counter()
        for index, architecture in enumerate(networks):
            named = unexpressed(architecture, target)
            if named:
                assert named.startswith(f"{target} cannot express ")
                fields[re.sub(r"\d+", "*", named.split()[3].rstrip(":"))] += 1
                with pytest.raises(InputError, match="cannot express"):
                    export(architecture, target, tmp_path / f"{target}-{index}")
                continue
            made = export(architecture, target, tmp_path / f"{target}-{index}")
            cost = measure_cost(architecture)
            assert (made.proof.params, made.proof.flops) == (cost.params, cost.flops)
            assert made.proof.difference <= accepted(made.proof.largest)
            proved, largest = proved + 1, max(largest, made.proof.difference)
        assert proved + fields.total() == len(networks)
        with capsys.disabled():
            print(
                f"\n{space:13} {target:12} {proved:3} proved, logits within {largest:.1e};"
                f" {fields.total():3} refused"
                + "".join(f", {count} for {field}" for field, count in fields.most_common()),
                end="",
            )


@pytest.mark.parametrize("target", TARGETS)
def test_b0_is_expressed_by_all(target: Target, tmp_path: Path) -> None:
    b0 = replace(nas.load_architecture("efficientnet-b0"), resolution=64)
    made = export(b0, target, tmp_path / "b0")
    assert made.proof.params == 5_288_548
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


# ── The proof ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "hardswish"},
        {"norm": Norm(eps=1e-2)},
        {"stages": (*small().stages[:3], replace(small().stages[3], op="skip", kernel=1))},
    ],
)
def test_another_network_is_not_proved(changes: dict[str, Any]) -> None:
    """Random weights make every part felt: activation, constants, a block more."""
    architecture = small()
    network = randomised(architecture, 0)
    other = build(replace(architecture, **changes)).eval()
    other.load_state_dict(network.state_dict(), strict=False)
    cost = measure_cost(architecture)
    right = cost.params, cost.flops
    with pytest.raises(NotProved, match="logits of the export differ"):
        prove(architecture, network, other, right, seed=0)
    prove(architecture, network, network, right, seed=0)
    with pytest.raises(NotProved, match="parameters"):
        prove(architecture, network, network, (cost.params + 1, cost.flops), seed=0)
    with pytest.raises(NotProved, match="FLOPs"):
        prove(architecture, network, network, (cost.params, cost.flops - 1), seed=0)


def test_one_weight_less_is_felt() -> None:
    architecture = small()
    network, other = randomised(architecture, 0), randomised(architecture, 0)
    cost = measure_cost(architecture)
    for name, parameter in other.named_parameters():
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.flatten()[0] += 0.5
        with pytest.raises(NotProved):
            prove(architecture, network, other, (cost.params, cost.flops), seed=0)
        with torch.no_grad():
            parameter.copy_(before)
        assert name


def test_logits_that_are_no_numbers_are_no_proof() -> None:
    architecture = small()
    network = randomised(architecture, 0)
    cost = measure_cost(architecture)
    with pytest.raises(NotProved, match="nan"):
        prove(
            architecture,
            network,
            lambda images: network(images) * torch.nan,
            (cost.params, cost.flops),
            seed=0,
        )


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_what_is_not_proved_is_not_left(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{target}_source"
    real = getattr(export_run, name)

    def wrong(*arguments: Any) -> str:
        return str(real(*arguments)).replace("eps=1e-05", "eps=0.1")

    monkeypatch.setattr(export_run, name, wrong)
    with pytest.raises(NotProved):
        export(small(), target, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_weights_that_leave_the_structure_unfelt_do_not_prove_it(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network that was never trained no logit is above 1e-10: none can differ by much."""
    b0 = replace(nas.load_architecture("efficientnet-b0"), resolution=64)
    file = tmp_path / "fresh.safetensors"
    torch.manual_seed(0)
    nas.save_weights(build(b0), b0, file)
    made = export(b0, target, tmp_path / "right", weights=file)
    assert made.proof.largest < 1e-4
    assert made.structure.largest > 0.01
    found = made.document["proof"]
    assert found["random_weights"]["largest"] == made.structure.largest
    assert found["random_weights"]["largest_difference"] <= found["random_weights"]["accepted"]
    real = getattr(export_run, f"{target}_source")

    def wrong(*arguments: Any) -> str:
        return str(real(*arguments)).replace("eps=1e-05", "eps=0.1")

    monkeypatch.setattr(export_run, f"{target}_source", wrong)
    with pytest.raises(NotProved):
        export(b0, target, tmp_path / "wrong", weights=file)


def test_large_logits_may_differ_by_as_much_more() -> None:
    architecture = small()
    network = randomised(architecture, 0)
    with torch.no_grad():
        network.head[-1].weight *= 1e4  # type: ignore[operator]
    cost = measure_cost(architecture)
    counted = cost.params, cost.flops

    def off(share: float) -> Proof:
        return prove(architecture, network, lambda x: network(x) * (1 + share), counted, seed=0)

    assert off(1e-6).difference > 1e-4
    with pytest.raises(NotProved, match="logits of the export differ"):
        off(1e-3)


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_the_weights_that_were_written_are_proved(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, network = small(), randomised(small(), 3)
    file = tmp_path / "w.safetensors"
    save_weights(network, architecture, file)
    other = randomised(architecture, 4)
    if target == "torch":
        save = torch.save
        monkeypatch.setattr(torch, "save", lambda _, place: save(other.state_dict(), place))
    else:
        monkeypatch.setattr(export_run, "save_weights", lambda _, *more: save_weights(other, *more))
    with pytest.raises(NotProved, match="logits of the export differ"):
        export(architecture, target, tmp_path / "out", weights=file)
    assert not (tmp_path / "out").exists()


def test_counting_changes_nothing() -> None:
    network = build(small()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert count_module(network, 3, 32) == measure_cost(small())
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


# ── Python files ─────────────────────────────────────────────────────────────────────────────────


def test_the_torch_file_needs_torch_alone(tmp_path: Path) -> None:
    """It is run where nothing else of ours can be, and makes the same logits."""
    architecture = small()
    network = randomised(architecture, 0)
    save_weights(network, architecture, tmp_path / "w.safetensors")
    export(architecture, "torch", tmp_path / "out", weights=tmp_path / "w.safetensors")
    program = (
        "import sys, torch; sys.path.insert(0, '.'); import model; "
        "assert 'nas' not in sys.modules; network = model.build('weights.pt').eval(); "
        "torch.manual_seed(0); print(network(torch.randn(1, 3, 32, 32)).flatten().tolist())"
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
        wanted = network(torch.randn(1, 3, 32, 32)).flatten().tolist()
    assert json.loads(done.stdout) == pytest.approx(wanted, abs=1e-5)
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
    network = randomised(architecture, 3)
    save_weights(network, architecture, tmp_path / "w.safetensors")
    made = export(architecture, target, tmp_path / "out", weights=tmp_path / "w.safetensors")
    assert made.document["weights"] == "w.safetensors"
    assert made.document["notes"] == []
    package(target)
    theirs = load_source(tmp_path / "out" / "model.py").build().eval()
    file = tmp_path / "out" / "model.safetensors"
    theirs.load_state_dict(dict(read_weights(file).tensors))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert (theirs(images) - network(images)).abs().max() < 1e-5
        # And back, by the export of what was exported.
        export(architecture, "json", tmp_path / "back", weights=file)
        back = load_weights(tmp_path / "back" / "weights.safetensors").eval()
        assert torch.equal(back(images), network(images))


# ── ONNX ─────────────────────────────────────────────────────────────────────────────────────────


def test_batch_and_resolution_are_free_where_they_are_to_be(tmp_path: Path) -> None:
    made = export(small(), "onnx", tmp_path / "free", dynamic_resolution=True)
    assert [list(shape) for shape in made.proof.shapes] == [[4, 3, 32, 32], [1, 3, 64, 72]]
    export(small(), "onnx", tmp_path / "fixed")
    free, fixed = (session(str(tmp_path / name / "model.onnx")) for name in ("free", "fixed"))
    for batch in (1, 5):
        images = torch.randn(batch, 3, 32, 32)
        assert (run(free, images) - run(fixed, images)).abs().max() < 1e-5
    assert fixed.get_inputs()[0].shape == ["batch", 3, 32, 32]
    assert free.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT|invalid dimensions"):
        run(fixed, torch.randn(1, 3, 40, 40))


def test_the_same_network_gives_the_same_graph(tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(small(), "onnx", tmp_path / name)
    assert (tmp_path / "a" / "model.onnx").read_bytes() == (
        tmp_path / "b" / "model.onnx"
    ).read_bytes()


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_graph_is_counted_as_it_is(dynamic: bool) -> None:
    architecture = replace(nas.load_architecture("efficientnet-b0"), resolution=33)
    model = onnx_model(build(architecture), architecture, dynamic_resolution=dynamic)
    for pixels in (33, 64) if dynamic else (33,):
        cost = measure_cost(architecture, pixels)
        assert count(model, pixels) == (cost.params, cost.flops)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(kept["architecture"]) == architecture.to_dict()
    assert model.opset_import[0].version == onnx_target.OPSET


def test_folding_changes_no_logit() -> None:
    architecture = small()
    network = randomised(architecture, 0)
    model = onnx_model(network, architecture, fold=True)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        difference = run(session(model.SerializeToString()), images) - network(images)
    assert difference.abs().max() < 1e-5


# ── Eight bits ───────────────────────────────────────────────────────────────────────────────────


def stripes(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of two classes: stripes down or across, of any colour."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n,), generator=generator)
    wave = (torch.arange(32)[None, :] // 4 % 2).expand(32, 32).float()
    images = torch.stack([wave if label else wave.t() for label in labels.tolist()])
    colours = torch.rand(n, 3, 1, 1, generator=generator)
    noise = torch.rand(n, 3, 32, 32, generator=generator)
    return ((images[:, None] * colours + noise) * 127).to(torch.uint8), labels


@pytest.fixture(scope="module")
def trained() -> tuple[Architecture, Any, ImageData]:
    architecture = small(num_classes=2, activation="relu")
    parts = (stripes(256, 0), stripes(64, 1), stripes(64, 2))
    data = ImageData.from_parts("stripes", ("down", "across"), *parts)
    torch.manual_seed(0)
    network = build(architecture)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    images, labels = data.train_images.float() / 255, data.train_labels
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (data.mean, data.std))
    for step in range(24):
        part = slice(step % 4 * 64, step % 4 * 64 + 64)
        loss = torch.nn.functional.cross_entropy(network((images[part] - mean) / std), labels[part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return architecture, network.eval(), data


def in_eight_bits(architecture: Architecture, network: Any, data: ImageData, file: Path) -> Any:
    float_bytes = len(onnx_model(network, architecture).SerializeToString())
    return quantise(
        network,
        architecture,
        data,
        (data.mean, data.std),
        file,
        dynamic_resolution=True,
        float_bytes=float_bytes,
        labelled=True,
        seed=0,
        progress=Silent(),
    )


def right(architecture: Architecture, network: Any, data: ImageData) -> float:
    """Accuracy on the validation and test parts together, by PyTorch."""
    assert data.test_images is not None
    assert data.test_labels is not None
    images = torch.cat([data.validation_images, data.test_images]).float() / 255
    labels = torch.cat([data.validation_labels, data.test_labels])
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (data.mean, data.std))
    with torch.inference_mode():
        return (network((images - mean) / std).argmax(1) == labels).double().mean().item()


def test_a_trained_network_in_eight_bits(trained: Any, tmp_path: Path) -> None:
    found = in_eight_bits(*trained, tmp_path / "int8.onnx")
    assert found.held_out == 128
    assert found.agreement > 0.95
    assert len(found.left_out) < found.layers / 2
    assert found.bytes == (tmp_path / "int8.onnx").stat().st_size
    assert found.accuracy is not None
    assert found.float_accuracy is not None
    assert found.half_width is not None
    assert abs(found.accuracy - found.float_accuracy) <= 1 - found.agreement
    assert found.float_accuracy == right(*trained)
    assert (found.half_width > 0) == (found.agreement < 1)
    model = package("onnx").load(tmp_path / "int8.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert "QuantizeLinear" in kinds


def test_the_layer_that_loses_most_is_left_out(trained: Any, tmp_path: Path) -> None:
    """One channel a thousand times as large, and its next weights a thousandth: the same network.

    But in eight bits the other channels of what the next layer sees are gone.
    """
    architecture, network, data = trained
    spoilt = build(architecture).eval()
    spoilt.load_state_dict(network.state_dict())
    with torch.no_grad():
        spoilt.stem[1].weight[0] *= 1000
        spoilt.stem[1].bias[0] = spoilt.stem[1].bias[0] * 1000 + 1000
        spoilt.blocks[0].branch[0][0].weight[0] /= 1000
    found = in_eight_bits(architecture, spoilt, data, tmp_path / "int8.onnx")
    assert "blocks.0.branch.0.0" in found.left_out
    assert found.agreement > ENOUGH - 0.05


def test_one_held_out_image_has_no_interval(trained: Any, tmp_path: Path) -> None:
    architecture, network, data = trained
    one = replace(
        data,
        validation_images=data.validation_images[:1],
        validation_labels=data.validation_labels[:1],
        test_images=None,
        test_labels=None,
    )
    found = in_eight_bits(architecture, network, one, tmp_path / "int8.onnx")
    assert (found.held_out, found.half_width) == (1, None)
    assert found.accuracy in (0.0, 1.0)


def test_images_of_other_channels_are_refused(trained: Any, tmp_path: Path) -> None:
    architecture, _, data = trained
    grey = replace(architecture, in_channels=1)
    with pytest.raises(InputError, match="stripes: its images have 3 channels, small takes 1"):
        in_eight_bits(grey, build(grey), data, tmp_path / "int8.onnx")


# ── The folder and the command ───────────────────────────────────────────────────────────────────


@pytest.fixture
def file(tmp_path: Path) -> str:
    nas.save_architecture(small(), tmp_path / "small.json")
    return str(tmp_path / "small.json")


def test_the_same_command_writes_the_same_files(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", file, "--to", "torch", "--out", str(tmp_path / "out")]
    assert command(arguments) == 0
    said = capsys.readouterr().out
    assert "small for torch: proved to be the same network" in said
    assert f"{measure_cost(small()).params:,}" in said
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert command([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["out"] == str(tmp_path / "out")
    logits = document["proof"]["logits"]
    assert logits["accepted"] == 1e-4 * max(1, logits["largest"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    assert {path.name for path in tmp_path.iterdir()} == {"out", "small.json"}


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_python_leaves_nothing_in_the_folder_and_an_import_hinders_nothing(
    target: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user has Python: it keeps what it compiled beside the file that it imports."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    out = tmp_path / "out"
    arguments = ["export", file, "--to", target, "--out", str(out), "-q"]
    assert command(arguments) == 0
    listed = set(json.loads((out / "export.json").read_text())["files"])
    assert {path.name for path in out.iterdir()} == listed | {"export.json"}
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"compiled")
    assert command(arguments) == 0
    assert {path.name for path in out.iterdir()} == listed | {"export.json"}


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_removed_or_put_back(file: str, tmp_path: Path) -> None:
    out, pid = tmp_path / "out", ended()
    arguments = ["export", file, "--to", "json", "--out", str(out), "-q"]
    assert command(arguments) == 0
    first = (out / "export.json").read_bytes()
    half, running = tmp_path / f".out.{pid}.tmp", tmp_path / ".out.1.tmp"
    for place in (half, running):
        place.mkdir()
        (place / "architecture.json").write_text("half")
    out.rename(tmp_path / f".out.{pid}.old")  # killed between the two steps of replacing it
    assert command([*arguments, "--seed", "1"]) == 2  # the earlier export is there again
    assert (out / "export.json").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {"out", "small.json", running.name}


def test_an_export_that_cannot_be_put_in_place_leaves_the_earlier_one(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["export", file, "--to", "json", "--out", str(out), "-q"]
    assert command(arguments) == 0
    first = (out / "export.json").read_bytes()
    rename, calls = os.rename, 0

    def failing(*places: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        rename(*places)

    monkeypatch.setattr("nas.export.folder.os.rename", failing)
    assert command(arguments) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (out / "export.json").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {"out", "small.json"}


def edit(out: Path) -> None:
    (out / "model.py").write_text("mine")


def add(out: Path) -> None:
    (out / "notes.txt").write_text("mine")


def empty(out: Path) -> None:
    (out / "export.json").unlink()


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (edit, [], "'model.py' was changed since"),
        (add, [], "'notes.txt' is not of this export"),
        (empty, [], "holds 'model.py'"),
        (lambda out: None, ["--seed", "1"], "another export: seed differ"),
        (lambda out: None, ["--to", "onnx"], "another export: target differ"),
    ],
)
def test_other_files_are_never_replaced(
    change: Callable[[Path], None],
    more: list[str],
    said: str,
    file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = ["export", file, "--to", "torch", "--out", str(out), "-q"]
    assert command(arguments) == 0
    change(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert command([*arguments, *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "tflite"], "target 'tflite' is not accepted: timm, torchvision, onnx, torch"),
        (["--to", "timm", "--int8"], "--int8 goes with --to onnx"),
        (["--to", "timm", "--dynamic-resolution"], "--dynamic-resolution goes with --to onnx"),
        (["--to", "onnx", "--int8"], "--int8 goes with --weights"),
        (["--to", "onnx", "--data", "fractals"], "--data goes with --int8"),
        (["--to", "onnx", "--weights", "none.safetensors"], "none.safetensors: no such file"),
        ([], "Missing option '--to'"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    said: str,
    file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(["export", file, "--out", str(tmp_path / "out"), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("target", "missing"), [("timm", "timm"), ("onnx", "onnxruntime")])
def test_a_missing_package_is_named(
    target: str,
    missing: str,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    package.cache_clear()
    assert command(["export", file, "--to", target, "--out", str(tmp_path / "out")]) == 2
    package.cache_clear()
    error = capsys.readouterr().err
    assert f"{missing} is not installed: pip install 'nas-search[export]'" in error
    assert error.count("\n") == 1


def test_what_is_not_proved_is_status_1(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export_run, "count", lambda model, resolution: (1, 1))
    assert command(["export", file, "--to", "onnx", "--out", str(tmp_path / "out"), "-q"]) == 1
    assert "parameters, not" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [("down", "across"), ("across", "down"), None])
def test_eight_bits_by_the_command(
    classes: tuple[str, str] | None,
    trained: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An accuracy is said where the network is known to tell the images' classes apart."""
    architecture, network, data = trained
    asked: list[Any] = []
    monkeypatch.setattr("nas.data.dataset.load_data", lambda *all_: (asked.append(all_), data)[1])
    nas.save_architecture(architecture, tmp_path / "a.json")
    known = classes and TrainedOn(tuple(data.mean), tuple(data.std), 32, classes)
    save_weights(network, architecture, tmp_path / "w.safetensors", trained_on=known)
    arguments = ["export", str(tmp_path / "a.json"), "--to", "onnx", "--int8", "--data", "stripes"]
    arguments += ["--weights", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "out")]
    assert command(arguments) == 0
    said = capsys.readouterr().out
    [(name, channels, *_, most)] = asked
    assert (name, channels, most) == ("stripes", 3, 32)  # as a training at 32 px sees them
    document = json.loads((tmp_path / "out" / "export.json").read_text())
    found = document["int8"]
    assert "with random weights by " in said
    assert f"{found['agreement']:.1%} of 128 held-out images of stripes" in said
    assert f"{len(found['left_out'])} of {found['layers']} layers" in said
    assert (tmp_path / "out" / "model-int8.onnx").stat().st_size == found["bytes"]
    assert found["normalised"]["mean"] == list(data.mean)
    if classes == data.classes:
        assert found["float_accuracy"] == right(*trained)
        assert f"{found['accuracy']:.2%} instead of {found['float_accuracy']:.2%}" in said
    else:
        assert found["accuracy"] is None
        assert "instead of" not in said.replace("MB instead of", "")
