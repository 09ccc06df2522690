"""The main job with trained weights, and what it leaves: a trained network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
import torch

import nas
from nas.export.random_network import random_network
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.pretrained import load_pretrained
from nas.networks.weights_file import TrainedOn, read_weights, save_weights
from nas.records.run_state import RunState
from nas.records.table_document import TableDocument
from tests.support.job import draw_pictures

SOURCE = Architecture(
    name="source",
    resolution=64,
    in_channels=3,
    num_classes=7,
    activation="relu6",
    norm=Norm(1e-3, 0.01),
    stem=Stem(3, 2, 16),
    stages=(
        Stage("mbconv", 5, 2, 4, 16, 2, 0.25),
        Stage("mbconv", 5, 2, 4, 32, 3, 0.0),
    ),
    head=Head(32, 0.1),
    padding="same",
)

SCRIPT = """
import nas.runs.final_training
import nas.runs.schedule
from nas.cli import main
from nas.proxies.short_training import TrainingSettings
from nas.training.supernet_trainer import SupernetSettings
nas.runs.final_training.SECONDS = 4
quick = TrainingSettings(width=1.0, resolution=32, images_seen=64, batch_size=16)
shared = SupernetSettings(
    width=1.0, resolution=32, images_seen=256, batch_size=16, recalibration_images=16,
    validation_images=16,
)
nas.runs.schedule.default_settings = lambda *of, **how: quick
nas.runs.schedule.final_settings = lambda settings, *of: settings
nas.runs.schedule.supernet_settings = lambda *of, **how: shared
main()
"""


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A finished run at half of the FLOPs of its source."""
    folder = tmp_path_factory.mktemp("weights")
    pictures = draw_pictures(folder / "pictures")
    about = TrainedOn((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), 64, tuple("abcdefg"))
    file = folder / "source.safetensors"
    save_weights(random_network(SOURCE, 0), SOURCE, file, trained_on=about)
    limit = nas.measure_cost(SOURCE).flops // 2
    found = command(
        *("--budget", f"{limit}-flops", "--data", str(pictures), "--weights", str(file)),
        *("--trials", "6", "--finalists", "2", "--jobs", "1", "--json", "--no-check"),
        *("--export", "onnx"),
        *("--out", str(folder / "run")),
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return folder, json.loads(found.stdout)


def test_it_searches_what_can_be_cut_out_of_the_source(run):
    folder, found = run
    baseline = nas.load_architecture(folder / "run" / "baseline.json")
    assert (baseline.padding, baseline.activation, baseline.num_classes) == ("same", "relu6", 3)
    assert found["baseline"]["cost"]["flops"] <= nas.measure_cost(SOURCE).flops // 2
    space = nas.load_space(folder / "run" / "space.toml")
    fitting = replace(baseline, num_classes=7)
    assert space.decode(space.encode(fitting)).key() == fitting.key()


def test_the_finalists_are_compared_with_the_source_made_smaller(run):
    folder, _ = run
    state = RunState.read(folder / "run")
    names = [one["name"] for one in state.references]
    assert len(names) == 2
    assert names[0].startswith("source-")
    assert names[0].endswith("px")
    assert names[1].startswith("source-width-0.")
    finals = json.loads((folder / "run" / "finalists.json").read_text())
    assert [entry["name"] for entry in finals["entries"]][-2:] == names
    assert finals["reference"] == names[0]
    assert all(entry["accuracy"] for entry in finals["entries"])
    tested = finals["test"]
    assert [entry["name"] for entry in tested["entries"]][1:] == names
    assert tested["against"] == names[0]
    assert all(entry["accuracy"] for entry in tested["entries"])


def test_it_ends_with_a_trained_network(run):
    folder, found = run
    file = folder / "run" / "baseline.safetensors"
    known = read_weights(file).trained_on
    assert known is not None
    assert known.classes == ("green", "grey", "red")
    assert known.mean == (0.5, 0.4, 0.3)
    network = nas.load_weights(file)
    assert sum(p.numel() for p in network.parameters()) == found["baseline"]["cost"]["params"]
    trained = found["trained"]
    assert trained["file"] == "baseline.safetensors"
    assert trained["test"]["n"] == 1
    assert 0 <= trained["test"]["mean"] <= 1


def test_it_is_exported_with_its_weights(run):
    folder, found = run
    assert found["trained"]["export"] == "exported"
    document = json.loads((folder / "run" / "exported" / "export.json").read_text())
    assert document["weights"] == "baseline.safetensors"
    assert document["trained_on"]["classes"] == ["green", "grey", "red"]
    pixels = found["baseline"]["resolution"]
    images = torch.rand(1, 3, pixels, pixels)
    session = onnxruntime.InferenceSession(folder / "run" / "exported" / "model.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    network = nas.load_weights(folder / "run" / "baseline.safetensors").eval()
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(logits), network(images), atol=1e-4)


def test_it_verifies_and_resumes(run):
    folder, found = run
    checked = command("verify", str(folder / "run"))
    assert checked.returncode == 0, checked.stdout
    assert "no differences" in checked.stdout
    before = (folder / "run" / "baseline.safetensors").read_bytes()
    again = command("resume", str(folder / "run"), "--json")
    assert again.returncode == 0, again.stderr[-2000:]
    assert json.loads(again.stdout)["baseline"] == found["baseline"]
    assert (folder / "run" / "baseline.safetensors").read_bytes() == before


def test_other_weights_are_another_run(run, tmp_path):
    folder, _ = run
    other = tmp_path / "source.safetensors"
    save_weights(random_network(SOURCE, 1), SOURCE, other)
    limit = nas.measure_cost(SOURCE).flops // 2
    found = command(
        *("--budget", f"{limit}-flops", "--data", str(folder / "pictures")),
        *("--weights", str(other), "--out", str(folder / "run")),
    )
    assert found.returncode == 2
    assert found.stderr.count("\n") <= 6
    assert "weights" in found.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "none.safetensors"], "none.safetensors: no such file"),
        (["--weights-arch", "efficientnet-b0"], "--weights-arch needs --weights"),
        (["--export", "flax"], "'flax' is not accepted: timm, torchvision, onnx, torch"),
        (["--export", "onnx", "--no-train"], "--export onnx: needs --data, and no --no-train"),
    ],
)
def test_wrong_input_is_one_line(words, said, run):
    folder, _ = run
    data = ("--data", str(folder / "pictures"))
    found = command("--budget", "100M-flops", *data, *words)
    assert found.returncode == 2
    assert said in found.stderr


def test_weights_need_images(run):
    folder, _ = run
    found = command("--budget", "100M-flops", "--weights", str(folder / "source.safetensors"))
    assert found.returncode == 2
    assert "--weights: not accepted without --data" in found.stderr


def test_tables_of_networks_that_inherit(run, tmp_path):
    folder, _ = run
    whole = nas.measure_cost(SOURCE).flops
    words = [
        *("table", "--weights", str(folder / "source.safetensors"), "--resolution", "64"),
        *("--data", str(folder / "pictures"), "--networks", "2", "--seeds", "1", "--images", "256"),
        *("--flops", f"{whole // 4}-{whole}", "--jobs", "1"),
    ]
    made = command(*words, "--out", str(tmp_path / "table"))
    assert made.returncode == 0, made.stderr[-2000:]
    lines = (tmp_path / "table" / "table.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines if '"accuracy"' in line]
    assert len(rows) == 2
    document = json.loads((tmp_path / "table" / TableDocument.FILE).read_text())
    training = document["identity"]["training"]
    assert training["weights"] == load_pretrained(folder / "source.safetensors", None).digest
    assert (training["width"], training["resolution"]) == (1.0, 64)


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_other_commands_that_train_take_weights(name, run, tmp_path):
    folder, _ = run
    baseline = str(folder / "run" / "baseline.json")
    other = tmp_path / "other.json"
    nas.save_architecture(replace(SOURCE, name="other"), other)
    words = [name, baseline, *([str(other)] if name == "compare" else [])]
    words += ["--data", str(folder / "pictures"), "--seeds", "1", "--json"]
    found = command(*words, "--weights", str(folder / "source.safetensors"))
    assert found.returncode == 0, found.stderr[-2000:]
    document = json.loads(found.stdout)
    accuracy = document if name == "evaluate" else document["entries"][0]["accuracy"]
    assert "from weights of source" in accuracy["metric"]


def test_a_proxy_that_trains_nothing_takes_no_weights(run):
    folder, _ = run
    weights = ("--weights", str(folder / "source.safetensors"))
    found = command("evaluate", "efficientnet-b0", "--proxy", "imagenet", *weights)
    assert found.returncode == 2
    assert "--weights: not accepted with proxy imagenet" in found.stderr
