"""ONNX graphs in int8: what they are worth is measured on images that chose nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.cli import _run as command
from nas.data import ImageData
from nas.errors import InputError
from nas.export.int8 import ENOUGH, _accuracies, quantise
from nas.export.onnx import onnx_model
from nas.networks.architecture import Architecture
from nas.networks.modules import build
from nas.networks.optional_packages import package
from nas.networks.weights_file import TrainedOn, save_weights
from tests.support.exports import small
from tests.support.silent import Silent


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
    assert found.half_width > 0
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
    assert f"{found['agreement']:.1%} on 128 held-out images of stripes" in said
    assert f"{len(found['left_out'])} of {found['layers']} layers" in said
    assert (tmp_path / "out" / "model-int8.onnx").stat().st_size == found["bytes"]
    assert found["normalised"]["mean"] == list(data.mean)
    if classes == data.classes:
        assert found["float_accuracy"] == right(*trained)
        [line] = [line for line in said.splitlines() if line.startswith("  accuracy")]
        assert f"{found['accuracy']:.2%}" in line
        assert f"{found['float_accuracy']:.2%}" in line
    else:
        assert found["accuracy"] is None
        assert "  accuracy" not in said


def test_intervals_say_what_so_many_images_can_tell() -> None:
    wrong, right = torch.zeros(100, dtype=torch.bool), torch.ones(100, dtype=torch.bool)
    assert _accuracies(right, right) == (1.0, 1.0, 0.03)
    assert _accuracies(right[:4], right[:4]) == (1.0, 1.0, None)
    mixed = torch.cat([right[:50], wrong[:50]])
    assert _accuracies(mixed, right)[2] == pytest.approx(1.96 * 0.5025 / 10, abs=1e-3)
