"""Networks as ONNX graphs, run by ONNX Runtime."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import nas
from nas.export import onnx as onnx_target
from nas.export.equivalence import accepted_difference
from nas.export.onnx import count, onnx_model, run, session
from nas.export.random_network import random_network
from nas.networks.cost import measure_cost
from nas.networks.modules import Network, build
from tests.support.exports import export, small
from tests.support.same_function import doubled


def assert_computes(running: Any, network: Network, images: Tensor) -> None:
    """A session's logits are the network's, to as many digits as float32 has there."""
    with torch.inference_mode():
        exact = doubled(network)(images.double())
        rounding = (network(images) - exact).abs().max().item()
    accepted = accepted_difference("float32", exact.abs().max().item(), rounding)
    assert (run(running, images) - exact).abs().max().item() <= accepted


def test_batch_and_resolution_are_free_where_they_are_to_be(tmp_path: Path) -> None:
    made = export(small(), "onnx", tmp_path / "free", dynamic_resolution=True)
    assert [list(shape) for shape in made.equivalence.shapes] == [[4, 3, 32, 32], [1, 3, 64, 72]]
    export(small(), "onnx", tmp_path / "fixed")
    network = random_network(small(), 0)  # as without a file of weights
    free, fixed = (session(str(tmp_path / name / "model.onnx")) for name in ("free", "fixed"))
    for batch in (1, 5):
        for running in (free, fixed):
            assert_computes(running, network, torch.randn(batch, 3, 32, 32))
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
    network = random_network(architecture, 0)
    model = onnx_model(network, architecture, fold=True)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert_computes(session(model.SerializeToString()), network, torch.randn(2, 3, 32, 32))
