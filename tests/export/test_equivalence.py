"""The check that an export is equivalent to its original: it passes what is, and finds faults."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.errors import NotEquivalent
from nas.export import targets
from nas.export.equivalence import (
    ACCEPTED,
    COARSEST,
    ROUNDING,
    Equivalence,
    Precision,
    accepted_difference,
    check_equivalence,
)
from nas.export.onnx import count, onnx_model, run, session
from nas.export.random_network import random_network
from nas.export.targets import Target
from nas.networks.architecture import Architecture, Norm
from nas.networks.cost import measure_cost
from nas.networks.modules import Block, Network, build
from nas.networks.optional_packages import package
from nas.networks.weights_file import save_weights
from tests.support.exports import export, small
from tests.support.same_function import doubled

PRECISIONS: tuple[Precision, ...] = ("float64", "float32")


def compare(
    network: nn.Module, other: Any, precision: Precision = "float64", counted: Any = None
) -> Equivalence:
    """Check ``other``, a network in float32 or a function, against small() with random weights."""
    cost = measure_cost(small())
    if isinstance(other, nn.Module) and precision == "float64":
        other = doubled(other)
    counted = counted or (cost.params, cost.flops)
    return check_equivalence(small(), network, other, counted, precision=precision, seed=0)


@contextmanager
def found(what: str = "logits of the export differ") -> Iterator[None]:
    with pytest.raises(NotEquivalent, match=what):
        yield


# ── Faults in a network ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "hardswish"},
        {"norm": Norm(eps=1e-2)},
        {"stages": (*small().stages[:3], replace(small().stages[3], op="skip", kernel=1))},
    ],
)
def test_another_architecture_is_found(changes: dict[str, Any], precision: Precision) -> None:
    network = random_network(small(), 0)
    other = build(replace(small(), **changes)).eval()
    other.load_state_dict(network.state_dict(), strict=False)
    compare(network, network, precision)
    with found():
        compare(network, other, precision)


@pytest.mark.parametrize(("precision", "change"), [("float64", 1e-4), ("float32", 1e-2)])
def test_a_wrong_value_in_any_parameter_is_found(precision: Precision, change: float) -> None:
    network, other = random_network(small(), 0), random_network(small(), 0)
    compare(network, other, precision)
    tensors = [t for _, t in other.named_parameters()]
    tensors += [t for _, t in other.named_buffers() if t.is_floating_point()]
    for tensor in tensors:
        before = tensor.detach().clone()
        with torch.no_grad():
            tensor.flatten()[0] += change
        with found():
            compare(network, other, precision)
        with torch.no_grad():
            tensor.copy_(before)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_swapped_blocks_are_found(precision: Precision) -> None:
    network, other = random_network(small(), 0), random_network(small(), 0)
    first, second = (other.blocks[index].state_dict() for index in (0, 1))
    assert {k: v.shape for k, v in first.items()} == {k: v.shape for k, v in second.items()}
    other.blocks[0], other.blocks[1] = other.blocks[1], other.blocks[0]
    with found():
        compare(network, other, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_missing_activation_or_residual_is_found(precision: Precision) -> None:
    network, other = random_network(small(), 0), random_network(small(), 0)
    parents = [(m, name) for m in other.modules() for name, child in m.named_children()
               if isinstance(child, nn.SiLU)]  # fmt: skip
    assert len(parents) > 8
    for parent, name in parents:
        activation = getattr(parent, name)
        setattr(parent, name, nn.Identity())
        with found():
            compare(network, other, precision)
        setattr(parent, name, activation)
    residuals = [block for block in other.blocks if isinstance(block, Block) and block.residual]
    assert residuals
    for block in residuals:
        block.residual = False
        with found():
            compare(network, other, precision)
        block.residual = True
    compare(network, other, precision)


def test_wrong_counts_are_found() -> None:
    network, cost = random_network(small(), 0), measure_cost(small())
    with found("parameters"):
        compare(network, network, counted=(cost.params + 1, cost.flops))
    with found("FLOPs"):
        compare(network, network, counted=(cost.params, cost.flops - 1))


def test_logits_that_are_not_finite_are_never_accepted() -> None:
    network = random_network(small(), 0)
    exact = doubled(network)
    for value in (torch.nan, torch.inf):
        with found("nan|inf"):
            compare(network, lambda images, value=value: exact(images) * value)


def test_logits_of_another_shape_are_found() -> None:
    network = random_network(small(), 0)
    exact = doubled(network)
    with found("have shape"):
        compare(network, lambda images: exact(images)[:, :-1])


# ── Faults in a graph that computes in float32 ───────────────────────────────────────────────────


def compare_graph(network: Network, architecture: Architecture, model: Any) -> Equivalence:
    running = session(model.SerializeToString())
    return check_equivalence(
        architecture,
        network,
        lambda images: run(running, images),
        count(model, architecture.resolution),
        precision="float32",
        seed=0,
    )


def test_faults_in_a_graph_are_found() -> None:
    architecture = small(activation="relu")
    network = random_network(architecture, 0)
    model = onnx_model(network, architecture)
    compare_graph(network, architecture, model)
    numpy_helper = package("onnx").numpy_helper
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    for name in ("stem.0.weight", "blocks.2.branch.0.1.running_mean", "head.4.bias"):
        before = tensors[name].raw_data
        wrong = numpy_helper.to_array(tensors[name]).copy()
        wrong.flat[0] += 0.01
        tensors[name].raw_data = wrong.tobytes()
        with found():
            compare_graph(network, architecture, model)
        tensors[name].raw_data = before

    swapped = [tensors[f"blocks.{index}.branch.0.0.weight"] for index in (0, 1)]
    assert swapped[0].dims == swapped[1].dims
    contents = [tensor.raw_data for tensor in swapped]
    swapped[0].raw_data, swapped[1].raw_data = contents[1], contents[0]
    with found():
        compare_graph(network, architecture, model)
    swapped[0].raw_data, swapped[1].raw_data = contents

    activations = [node for node in model.graph.node if node.op_type == "Relu"]
    assert len(activations) > 8
    for node in activations:
        node.op_type = "Identity"
        with found():
            compare_graph(network, architecture, model)
        node.op_type = "Relu"
    compare_graph(network, architecture, model)


# ── What is accepted ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e4])
def test_differences_count_as_a_share_of_the_largest_logit(scale: float) -> None:
    network = random_network(small(), 0)
    with torch.no_grad():
        for parameter in network.head[-1].parameters():
            parameter *= scale
    exact = doubled(network)

    def off(share: float, precision: Precision) -> Equivalence:
        function = exact if precision == "float64" else network
        return compare(network, lambda images: function(images) * (1 + share), precision)

    assert off(1e-11, "float64").difference == pytest.approx(1e-11 * off(0, "float64").largest, 0.1)
    off(1e-6, "float32")
    for share, precision in ((1e-7, "float64"), (1e-3, "float32")):
        with found():
            off(share, precision)


def test_float32_is_accepted_as_far_off_as_the_original_is_in_float32() -> None:
    assert accepted_difference("float64", 2.0, 1e-3) == 2 * ACCEPTED
    assert accepted_difference("float32", 2.0, 1e-5) == ROUNDING * 1e-5
    assert 2e-7 < accepted_difference("float32", 2.0, 0.0) < 1e-5  # rounded to nothing by chance
    assert accepted_difference("float32", 2.0, 1.0) == COARSEST * 2
    assert accepted_difference("float32", 0.0, 0.0) == 0.0


def test_a_network_stays_as_it_is() -> None:
    network = random_network(small(), 0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    compare(network, network)
    after = network.state_dict()
    assert all(after[name].dtype == value.dtype for name, value in before.items())
    assert all(torch.equal(after[name], value) for name, value in before.items())


# ── Faults in what a target's files say ──────────────────────────────────────────────────────────


def break_source(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{target}_source"
    real = getattr(targets, name)

    def wrong(*arguments: Any) -> str:
        return str(real(*arguments)).replace("eps=1e-05", "eps=0.1")

    monkeypatch.setattr(targets, name, wrong)


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_nothing_is_left_of_an_export_that_is_not_equivalent(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_source(target, monkeypatch)
    with found():
        export(small(), target, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_faults_that_the_given_weights_hide_are_found_with_random_ones(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A classifier whose weights are zero answers with its bias, whatever is before it."""
    architecture = small()
    network = random_network(architecture, 1)
    with torch.no_grad():
        network.head[-1].weight.zero_()
    file = tmp_path / "w.safetensors"
    save_weights(network, architecture, file)
    made = export(architecture, target, tmp_path / "right", weights=file)
    assert made.equivalence.difference == 0
    assert made.structure is not None
    assert made.structure.largest > 0.01
    logits = made.document["equivalence"]["random_weights"]
    assert logits["largest"] == made.structure.largest
    assert logits["largest_difference"] <= logits["accepted"] == made.structure.accepted
    break_source(target, monkeypatch)
    with found():
        export(architecture, target, tmp_path / "wrong", weights=file)


@pytest.mark.parametrize("target", ["timm", "torchvision", "torch"])
def test_the_weights_that_were_written_are_compared(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, network = small(), random_network(small(), 3)
    file = tmp_path / "w.safetensors"
    save_weights(network, architecture, file)
    other = random_network(architecture, 4)
    if target == "torch":
        save = torch.save
        monkeypatch.setattr(torch, "save", lambda _, place: save(other.state_dict(), place))
    else:
        monkeypatch.setattr(targets, "save_weights", lambda _, *more: save_weights(other, *more))
    with found():
        export(architecture, target, tmp_path / "out", weights=file)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "precision"), [("torch", "float64"), ("json", "float64"), ("onnx", "float32")]
)
def test_the_document_says_what_was_compared(
    target: Target, precision: Precision, tmp_path: Path
) -> None:
    made = export(small(), target, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "export.json").read_text())
    cost = measure_cost(small())
    assert kept == made.document
    assert (kept["equivalence"]["params"], kept["equivalence"]["flops"]) == (
        cost.params,
        cost.flops,
    )
    logits = kept["equivalence"]["logits"]
    assert logits["precision"] == precision
    assert logits["images"] == [[4, 3, 32, 32]]
    assert logits["largest_difference"] <= logits["accepted"] <= COARSEST * logits["largest"]


def test_a_fresh_network_is_compared_as_closely_as_any(tmp_path: Path) -> None:
    """The logits of a deep network that was never trained are tiny, and so is what is accepted."""
    b0 = replace(nas.load_architecture("efficientnet-b0"), resolution=64)
    file = tmp_path / "fresh.safetensors"
    torch.manual_seed(0)
    nas.save_weights(build(b0), b0, file)
    made = export(b0, "torch", tmp_path / "right", weights=file)
    assert made.equivalence.largest < 1e-4
    assert made.equivalence.accepted <= ACCEPTED * made.equivalence.largest
