"""The shipped predictor, the proxy around it, fitting one, and runs that need no images."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
import nas.data.dataset
import nas.proxies.gaussian_process
import nas.proxies.predictor_validation
import nas.runs.phases
import nas.runs.schedule
from nas.cli import _run as command
from nas.errors import InputError
from nas.networks.architecture import Stage
from nas.networks.compound_scaling import official
from nas.proxies.accel_nasbench import import_accel_nasbench
from nas.proxies.benchmark_table import Table, read_table
from nas.proxies.imagenet_predictor import DATA, METRIC, ImagenetProxy, knows, shipped_predictor
from nas.proxies.predictor_file import read_predictor, write_predictor
from nas.proxies.predictor_fit import fit_predictor
from nas.proxies.registry import default_proxy
from nas.proxies.stage_options import choices_of, options_of

MODELS = Path(nas.__file__).parent / "_models"
SPACE = nas.load_space("efficientnet")
B0 = nas.load_architecture("efficientnet-b0")


def evaluate(proxy: ImagenetProxy, arch: nas.Architecture) -> nas.Accuracy:
    return proxy.evaluate(arch, seed=0, report=lambda step, value: False)


def sample(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [SPACE.sample(rng) for _ in range(count)]


# ── What is shipped ──────────────────────────────────────────────────────────────────────────────


def test_the_files_say_what_they_are() -> None:
    paths = sorted(MODELS.glob("imagenet.*"))
    assert sum(path.stat().st_size for path in paths) <= 1 << 20
    about = json.loads((MODELS / "imagenet.json").read_text(encoding="utf-8"))
    assert about["metric"] == METRIC == "predicted ImageNet top-1 after 16 epochs"
    assert about["data"] == DATA
    assert about["rows"] == 5_125
    for part in ("Apache", "42603572", "2404.08005"):
        assert part in about["source"]


def test_what_it_is_worth() -> None:
    scores = shipped_predictor().metadata.scores
    assert scores.kendall_tau >= 0.925
    assert scores.rmse <= 0.0040
    assert 0.88 <= scores.coverage_90 <= 0.92
    assert (scores.splits, scores.held_out) == (5, 0.1)


NUMPY_ONLY = """
import random, sys, nas
from nas.proxies.imagenet_predictor import shipped_predictor
space = nas.load_space("efficientnet")
shipped_predictor().predict([space.sample(random.Random(0))])
assert not {"torch", "sklearn", "optuna"} & (set(sys.modules) - before), "loaded"
"""


def test_predicting_needs_numpy_alone() -> None:
    script = "import sys, nas; before = set(sys.modules)\n" + NUMPY_ONLY
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_b0() -> None:
    accuracy = evaluate(ImagenetProxy(), B0)
    assert accuracy.mean == pytest.approx(0.657, abs=0.003)  # the published surrogate: 65.74
    assert 0.0015 <= accuracy.standard_error <= 0.006
    assert (accuracy.metric, accuracy.data, accuracy.proxy) == (METRIC, DATA, "imagenet")
    assert accuracy.predicted


def test_one_by_one_is_as_many_at_once() -> None:
    proxy, choices = ImagenetProxy(), sample(1_100)
    means, errors = proxy.predictor.predict(choices)
    for i in (0, 999, 1_000, 1_099):
        accuracy = evaluate(proxy, SPACE.decode(choices[i]))
        assert accuracy.mean == pytest.approx(means[i], abs=8e-6)
        assert accuracy.standard_error == pytest.approx(errors[i], abs=8e-6)
    assert means.min() > 0.3
    assert means.max() < 0.72


def test_it_knows_what_was_measured(shared: Callable[..., Path], tmp_path: Path) -> None:
    archive = shared("data", "accel-nasbench", "anb_dataset_jsons.tar.gz")
    import_accel_nasbench(archive, tmp_path / "anb.jsonl")
    table = read_table(tmp_path / "anb.jsonl")
    predictor = shipped_predictor()
    assert predictor.metadata.table_sha256 == table.sha256
    means, _ = predictor.predict([row.choices for row in table.rows])
    truth = np.array([row.accuracy for row in table.rows])
    assert float(np.sqrt(np.mean((means - truth) ** 2))) < 0.004
    row = table.rows[20]
    choices, accuracy = predictor.nearest(row.choices, 1)[0]
    assert choices == row.choices
    assert accuracy == pytest.approx(row.accuracy, abs=1e-6)


def test_the_best_of_many_is_corrected() -> None:
    proxy = ImagenetProxy()
    plain, corrected = evaluate(proxy, B0), proxy.corrected(B0)
    assert 0 < plain.mean - corrected.mean < 0.005
    assert corrected.standard_error > plain.standard_error
    near = proxy.nearest(B0)
    assert len(near) == 5
    assert all(abs(row["accuracy"] - plain.mean) < 0.03 for row in near)
    SPACE.check(near[0]["choices"])
    json.dumps(near)


def test_one_alone_does_not_depend_on_the_arithmetic() -> None:
    """The prediction by the formula, summed in another order, is the same to twelve digits."""
    arrays = shipped_predictor().arrays
    options = options_of(sample(16), SPACE)
    features, rows = arrays.features(options), arrays.features(arrays.rows)
    for one, value in zip(features, arrays.mean(options), strict=True):
        away = ((one - rows) * arrays.scale)[::-1]
        kernel = np.exp(-0.5 * (away * away).sum(axis=1))
        by_formula = arrays.offset + one @ arrays.linear + kernel @ arrays.weights[::-1]
        assert value == pytest.approx(by_formula, abs=1e-12)


def outside() -> list[tuple[nas.Architecture, str]]:
    deeper = list(B0.stages)
    deeper[1] = Stage("mbconv", 3, 2, 6, 24, 4, 0.25)
    return [
        (official(1), "resolution"),
        (replace(B0, resolution=192), "resolution"),
        (replace(B0, in_channels=1), "in_channels"),
        (replace(B0, activation="relu"), "activation"),
        (replace(B0, head=nas.Head(640, 0.2)), "head"),
        (replace(B0, stem=nas.Stem(3, 2, 16)), "stem"),
        (replace(B0, stages=tuple(deeper)), "before stage3: more layers"),
    ]


@pytest.mark.parametrize(("arch", "named"), outside())
def test_what_it_does_not_know_is_refused(arch: nas.Architecture, named: str) -> None:
    with pytest.raises(InputError, match=named):
        evaluate(ImagenetProxy(), arch)


def test_the_classes_do_not_count() -> None:
    proxy = ImagenetProxy()
    assert evaluate(proxy, replace(B0, num_classes=10, name="mine")) == evaluate(proxy, B0)


@pytest.mark.parametrize("name", ["tiny", "mnasnet", "proxyless", "efficientnetv2"])
def test_other_spaces_are_refused(name: str) -> None:
    space = nas.load_space(name)
    assert not knows(space)
    with pytest.raises(InputError, match=f"does not know space {space.name!r}"):
        ImagenetProxy().prepare(space, nas.parse_budget("1G-flops"), Path())


def test_the_default_proxy() -> None:
    assert default_proxy(SPACE, None) == "imagenet"
    assert default_proxy(SPACE, "cifar10") == "supernet"
    assert default_proxy(replace(SPACE, resolution=192), None) == "supernet"
    assert default_proxy(nas.load_space("tiny"), None) == "supernet"


# ── The files ────────────────────────────────────────────────────────────────────────────────────


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    for path in MODELS.glob("imagenet.*"):
        shutil.copy(path, tmp_path)
    packed = tmp_path / "imagenet.safetensors"
    content = packed.read_bytes()
    packed.write_bytes(content[:-1] + b"\x00\x00")
    with pytest.raises(InputError, match="SHA-256"):
        read_predictor(tmp_path, "imagenet", SPACE)
    packed.unlink()
    with pytest.raises(InputError, match="no such file"):
        read_predictor(tmp_path, "imagenet", SPACE)
    packed.write_bytes(content)
    read_predictor(tmp_path, "imagenet", SPACE)
    with pytest.raises(InputError, match=r"not arrays for space"):
        read_predictor(tmp_path, "imagenet", nas.load_space("tiny"))


def test_options_are_choices() -> None:
    for choices in sample(20):
        assert choices_of(options_of([choices], SPACE)[0], SPACE) == choices


# ── Fitting ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.proxies.gaussian_process, "_STEPS", 30)
    monkeypatch.setattr(nas.proxies.predictor_validation, "_POOL", 500)
    monkeypatch.setattr(nas.proxies.predictor_validation, "_HALVINGS", 1)


def made_up(path: Path, count: int) -> Table:
    """Accuracies by a rule: more FLOPs, more kernel, a noise of 0.1 points; some rows twice."""
    rng, lines = np.random.default_rng(0), []
    for choices in [*sample(count), *sample(5)]:
        flops = nas.measure_cost(SPACE.decode(choices)).flops
        kernels = sum(v for k, v in choices.items() if k.endswith("kernel"))
        accuracy = 0.3 + 0.05 * np.log(flops / 1e8) + 0.003 * kernels + rng.normal(0, 0.001)
        lines.append(json.dumps({"choices": choices, "accuracy": float(accuracy)}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_table(path)


@pytest.mark.usefixtures("_brief")
def test_fitting(tmp_path: Path) -> None:
    table = made_up(tmp_path / "t.jsonl", 240)
    predictor = fit_predictor(table, SPACE, metric="made up", data="none", source="this test")
    metadata = predictor.metadata
    assert metadata.rows == 240  # the repeats are no rows of their own
    assert metadata.scores.kendall_tau > 0.9
    assert metadata.scores.rmse < 0.006
    assert 0.8 <= metadata.scores.coverage_90 <= 1
    write_predictor(predictor, tmp_path, "mine")
    again = read_predictor(tmp_path, "mine", SPACE)
    assert again.predict(sample(9))[0] == pytest.approx(predictor.predict(sample(9))[0], abs=1e-4)
    second = fit_predictor(table, SPACE, metric="made up", data="none", source="this test")
    assert second.metadata == metadata


def test_what_cannot_be_fitted(tmp_path: Path) -> None:
    few = made_up(tmp_path / "few.jsonl", 20)
    with pytest.raises(InputError, match="20 different architectures"):
        fit_predictor(few, SPACE, metric="", data="", source="")
    wide = replace(SPACE, stages=(replace(SPACE.stages[0], width=(16, 24)), *SPACE.stages[1:]))
    with pytest.raises(InputError, match="widths"):
        fit_predictor(few, wide, metric="", data="", source="")


@pytest.mark.usefixtures("_brief")
def test_the_command_prints_what_it_is_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up(tmp_path / "t.jsonl", 120)
    words = ["fit-predictor", str(tmp_path / "t.jsonl"), "--out", str(tmp_path / "m" / "mine")]
    assert command([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {*("out", "bytes", "rows", "predictions_per_second", "scores", "optimism")}
    files = list((tmp_path / "m").iterdir())
    assert said["bytes"] == sum(path.stat().st_size for path in files)
    assert command(words) == 0
    assert "Kendall" in capsys.readouterr().out


# ── Commands and runs ────────────────────────────────────────────────────────────────────────────


def test_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "efficientnet-b0", "--proxy", "imagenet"]
    assert command([*words, "--seeds", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["metric"] == METRIC
    assert said["n"] == 1  # asked again, it says the same
    assert command([*words, "--data", "some"]) == 2
    assert "uses no images" in capsys.readouterr().err
    assert command(["evaluate", "efficientnet-b1", "--proxy", "imagenet"]) == 2
    err = capsys.readouterr().err
    assert "resolution is 240" in err
    assert err.count("\n") == 1


def no_images(*args: object, **more: object) -> None:
    raise AssertionError("loaded images")


def test_a_run_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.data.dataset, "load_images", no_images)
    out = tmp_path / "run"
    words = ["--budget", "400M-flops", "--sampler", "random", "--no-scale", "--quiet"]
    assert command([*words, "--trials", "8", "--start", "efficientnet-b0", "--out", str(out)]) == 0
    baseline = json.loads((out / "baseline.json").read_text())
    accuracy, corrected = baseline["accuracy"], baseline["provenance"]["corrected"]
    assert accuracy["metric"] == corrected["metric"] == METRIC
    assert accuracy["predicted"]
    assert corrected["mean"] < accuracy["mean"]
    assert len(baseline["provenance"]["nearest"]) == 5
    assert baseline["provenance"]["proxy"]["name"] == "imagenet"
    assert (baseline["num_classes"], baseline["resolution"]) == (1_000, 224)
    assert baseline["cost"]["flops"] <= 400_000_000
    run = json.loads((out / "run.json").read_text())
    assert (run["data"], run["plan"], run["command"]["proxy"]) == (None, None, None)
    before = (out / "baseline.json").read_bytes()
    assert command(["resume", str(out), "--quiet"]) == 0
    assert (out / "baseline.json").read_bytes() == before


def test_another_space_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.data.dataset, "load_images", no_images)
    words = ["--space", "tiny", "--budget", "1M-flops", "--proxy", "imagenet"]
    assert command([*words, "--out", str(tmp_path / "run")]) == 2
    assert "does not know space 'tiny'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
