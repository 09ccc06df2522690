"""The command line: what is printed, exit statuses, and one line for every wrong input."""

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image

import nas
import nas.proxies.presets
from nas.cli import _run as command
from nas.networks.cost import CONVENTION
from nas.proxies.registry import PROXIES
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.strategies.samplers import SAMPLERS
from tests.support.interrupted import resumable
from tests.support.paths import ROOT

SMALL = ["--space", "tiny", "--budget", "1M-flops", "--quiet"]

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def said(arguments: list[str], capsys: Captured, status: int = 0) -> str:
    assert command(arguments) == status, capsys.readouterr().err
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert (captured.err == "") == (status == 0)
    return captured.out


def document(arguments: list[str], capsys: Captured) -> Any:
    return json.loads(said([*arguments, "--json"], capsys))


def pictures(folder: Path, classes: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for index, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.normal(60 + 60 * index, 40, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


# ── What there is ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "listed", "keys"),
    [
        ("spaces", "tiny", {"name", "size", "resolution", "source"}),
        ("budgets", "400M-flops", {"name", "limits", "description"}),
        ("proxies", "training", {"name", "description", "distribution", "version"}),
        ("samplers", "guided", {"name", "description", "distribution", "version"}),
    ],
)
def test_listings(name: str, listed: str, keys: set[str], capsys: Captured) -> None:
    text = said([name], capsys)
    rows = document([name], capsys)
    assert all(set(row) == keys for row in rows)
    assert listed in [row["name"] for row in rows]
    assert all(row["name"] in text for row in rows)


def test_every_proxy_and_sampler_is_listed(capsys: Captured) -> None:
    assert [row["name"] for row in document(["proxies"], capsys)] == list(PROXIES)
    assert [row["name"] for row in document(["samplers"], capsys)] == list(SAMPLERS)


def test_version(capsys: Captured) -> None:
    lines = said(["--version"], capsys).splitlines()
    assert lines[:2] == [f"nas-search {nas.__version__}", f"python {platform.python_version()}"]
    assert {line.split()[0] for line in lines[2:]} >= {"torch", "optuna", "ray", "fvcore", "numpy"}
    found = document(["--version"], capsys)
    assert [f"{name} {number}" for name, number in found.items()] == lines
    assert found["optuna"] == optuna.__version__
    assert said(["--version", "cost", "no-such.json"], capsys).splitlines() == lines


# ── One network ──────────────────────────────────────────────────────────────────────────────────


def test_cost(capsys: Captured) -> None:
    text = said(["cost", "efficientnet-b0"], capsys)
    assert "385,814,752" in text
    assert "5,288,548" in text
    data = document(["cost", "efficientnet-b0"], capsys)
    assert list(data) == ["flops", "params", "activations", "resolution", "convention"]
    assert (data["flops"], data["params"]) == (385_814_752, 5_288_548)
    assert data["resolution"] == 224
    assert data["convention"] == CONVENTION == "fvcore conv+linear MACs"
    other = document(["cost", "efficientnet-b0", "--resolution", "112"], capsys)
    assert other["resolution"] == 112
    assert other["params"] == data["params"]
    assert other["flops"] < data["flops"] / 3.5


@pytest.mark.parametrize(
    ("index", "params", "giga"),
    [
        (1, 7.8, 0.687),
        (2, 9.1, 0.994),
        (3, 12.2, 1.83),
        (4, 19.3, 4.39),
        (5, 30.4, 10.3),
        (6, 43.0, 19.1),
        (7, 66.3, 37.7),
    ],
)
def test_cost_of_the_published_family(
    index: int, params: float, giga: float, capsys: Captured
) -> None:
    data = document(["cost", f"efficientnet-b{index}"], capsys)
    assert data["params"] / 1e6 == pytest.approx(params, abs=0.06)
    assert data["flops"] / 1e9 == pytest.approx(giga, rel=0.006)


def test_the_official_preset(capsys: Captured) -> None:
    records = document(["scale", "efficientnet-b0", "--preset", "official"], capsys)
    ratios = [record["cost"]["flops"] / records[0]["cost"]["flops"] for record in records]
    for ratio, published in zip(ratios, (1, 1.78, 2.58, 4.74, 11.4, 26.6, 49.4, 97.8), strict=True):
        assert ratio == pytest.approx(published, rel=0.005)
    assert [record["resolution"] for record in records] == [
        *(224, 240, 260, 300, 380, 456, 528, 600),
    ]
    text = said(["scale", "efficientnet-b0", "--preset", "official"], capsys)
    assert "97.83" in text
    assert "2.57" in text  # what the formula makes of phi = 1


def test_scale(capsys: Captured, tmp_path: Path) -> None:
    triple = ["--alpha", "1.1", "--beta", "1.15", "--gamma", "1.1"]
    family = document(["scale", "efficientnet-b0", *triple, "--out", "the family"], capsys)
    assert [record["name"] for record in family] == [f"b{i}" for i in range(8)]
    for record in family:
        written = tmp_path / "the family" / f"{record['name']}.json"
        assert json.loads(written.read_text(encoding="utf-8")) == record
        assert nas.load_architecture(written).name == record["name"]
    one = document(["scale", "efficientnet-b0", *triple, "--phi", "1"], capsys)
    assert [record["cost"] for record in one] == [family[1]["cost"]]


@pytest.mark.parametrize("target", ["1.8G", "600M", "385814752"])
def test_target_flops(target: str, capsys: Captured) -> None:
    limit = nas.parse_budget(f"{target}-flops").flops
    assert limit is not None
    [record] = document(["scale", "efficientnet-b0", "--target-flops", target], capsys)
    assert 0.85 * limit <= record["cost"]["flops"] <= limit


def test_compare(capsys: Captured) -> None:
    records = document(["scale", "efficientnet-b0", "--compare"], capsys)
    kinds = [record["name"].rpartition("-")[2] for record in records]
    assert kinds == ["depth", "width", "resolution", "compound"]
    flops = [record["cost"]["flops"] for record in records]
    assert max(flops) / min(flops) < 1.1
    assert "compound" in said(["scale", "efficientnet-b0", "--compare"], capsys)


def test_evaluate(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = TrainingSettings(width=0.25, resolution=16, images_seen=64, batch_size=16)
    monkeypatch.setattr(nas.proxies.presets, "default_settings", lambda *of, **how: quick)
    folder = pictures(tmp_path / "two kinds", {"a": 8, "b": 8})
    words = ["evaluate", "efficientnet-b0", "--data", str(folder), "--seeds", "2", "--quiet"]
    data = document(words, capsys)
    assert list(data) == [
        *("mean", "standard_error", "n", "seeds", "loss", "metric", "proxy", "data", "predicted"),
    ]
    assert data["n"] == len(set(data["seeds"])) == 2
    assert data["proxy"] == "training"
    assert document(words, capsys) == data
    assert said(words, capsys) == ""
    assert command([word for word in words if word != "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "efficientnet-b0" in text
    assert "±" in text


def test_an_interrupt_of_what_keeps_nothing_does_not_say_that_it_is_saved(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*of: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingProxy, "evaluate", stopped)
    folder = str(pictures(tmp_path / "two kinds", {"a": 8, "b": 8}))
    assert command(["evaluate", "efficientnet-b0", "--data", folder, "--quiet"]) == 130
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not resumable(said)


# ── Wrong input ──────────────────────────────────────────────────────────────────────────────────


def refused(arguments: list[str], capsys: Captured, named: list[str]) -> None:
    """Status 2, one line, nothing written."""
    before = sorted(Path.cwd().rglob("*"))
    assert command(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nas-search: ")
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    for part in named:
        assert part in captured.err
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], ["--budget"]),
        (["--budget"], ["--budget"]),
        (["--colour", "red"], ["--colour"]),
        (["paint"], ["paint"]),
        (["--budget", "300M-flop"], ["'300M-flop'", "400M-flops"]),
        (["--budget", "-5M-flops"], ["'-5M-flops'"]),
        (["--budget", "nan-flops"], ["'nan-flops'"]),
        (["--budget", "400M-flops+"], ["'400M-flops+'"]),
        (["--budget", ""], ["budget ''"]),
        (["--budget", "5s-latency"], ["5s-latency", "ms-latency"]),
        (["--budget", "none.toml"], ["none.toml: no such file"]),
        (["--budget", "1K-flops"], ["1K-flops", "cheapest"]),
        (["--budget", "400M-flops", "--space", "efficient"], ["'efficient'", "efficientnet"]),
        (["--budget", "400M-flops", "--space", "none.toml"], ["none.toml"]),
        ([*SMALL, "--data", "nowhere/at/all"], ["nowhere/at/all"]),
        ([*SMALL, "--proxy", "psychic"], ["'psychic'", "training"]),
        ([*SMALL, "--coefficients", "psychic"], ["'psychic'", "prior or training"]),
        ([*SMALL, "--coefficients", "training"], ["--coefficients", "--data"]),
        ([*SMALL, "--sampler", "psychic"], ["'psychic'", "tpe"]),
        ([*SMALL, "--objective", "beauty"], ["'beauty'", "reward"]),
        (["--space", "tiny", "--budget", "9K-params", "--objective", "reward"], ["reward"]),
        ([*SMALL, "--engine", "steam"], ["'steam'", "local"]),
        ([*SMALL, "--device", "tpu"], ["'tpu'", "cuda"]),
        ([*SMALL, "--device", "cuda:999"], ["cuda:999"]),
        ([*SMALL, "--trials", "0"], ["trials: 0"]),
        ([*SMALL, "--trials", "many"], ["--trials", "integer"]),
        ([*SMALL, "--jobs", "0"], ["jobs: 0"]),
        (["--budget", "400M-flops", "--finalists", "2"], ["--finalists 2", "imagenet", "--data"]),
        (["--budget", "400M-flops", "--reference", "efficientnet-b1"], ["--reference"]),
        ([*SMALL, "--reference", "efficientnet-b1"], ["--reference"]),
        (
            [*SMALL, "--data", "images", "--finalists", "0", "--reference", "efficientnet-b1"],
            ["--reference"],
        ),
        ([*SMALL, "--time", "10"], ["'10'", "10m"]),
        ([*SMALL, "--time", "0s"], ["'0s'"]),
        ([*SMALL, "--time", "-1m"], ["'-1m'"]),
        ([*SMALL, "--resolution", "0"], ["resolution: 0"]),
        ([*SMALL, "--resolution", "99999"], ["resolution: 99999"]),
        ([*SMALL, "--start", "efficientnet-b9"], ["efficientnet-b9"]),
        ([*SMALL, "--out", "a file"], ["a file"]),
        ([*SMALL, "--out", "a file/inside"], ["a file/inside"]),
        ([*SMALL, "--data", "images", "--start", "efficientnet-b0"], ["efficientnet-b0"]),
        ([*SMALL, "--data", "images", "--start", "large.json"], ["start", "over budget"]),
        ([*SMALL, "--data", "images", "--storage", "not a url"], ["storage"]),
        ([*SMALL, "--data", "images", "--storage", "sqlite:///no/such/dir/s.db"], ["storage"]),
        (["resume", "nowhere"], ["nowhere"]),
        (["cost", "efficientnet-b8"], ["efficientnet-b8", "efficientnet-b7"]),
        (["cost", "none.json"], ["none.json"]),
        (["cost", "extra.json"], ["extra.json", "groups: unknown key"]),
        (["cost", "missing.json"], ["missing.json", "num_classes: missing key"]),
        (["cost", "efficientnet-b0", "--resolution", "0"], ["resolution: 0"]),
        (["cost", "efficientnet-b0", "--resolution", "-8"], ["resolution: -8"]),
        (["cost"], ["ARCH"]),
        (["scale", "efficientnet-b0", "--alpha", "1.1"], ["--alpha"]),
        (["scale", "efficientnet-b0", "--preset", "paper"], ["'paper'", "official"]),
        (["scale", "efficientnet-b0", "--compare", "--phi", "3"], ["--phi", "--compare"]),
        (["scale", "efficientnet-b0", "--compare", "--seeds", "5"], ["--seeds", "--data"]),
        (["scale", "efficientnet-b0", "--compare", "--time", "5m"], ["--time", "--data"]),
        (["scale", "efficientnet-b0", "--jobs", "2"], ["--jobs", "--data"]),
        (["scale", "efficientnet-b0", "--phi", "-1"], ["phi: -1"]),
        (["scale", "efficientnet-b0", "--phi", "nan"], ["phi: nan"]),
        (["scale", "efficientnet-b0", "--phi", "1", "--target-flops", "1G"], ["--phi"]),
        (["scale", "efficientnet-b0", "--target-flops", "1M"], ["385,814,752"]),
        (["scale", "efficientnet-b0", "--target-flops", "much"], ["much"]),
        (
            ["scale", "efficientnet-b0", "--alpha", "nan", "--beta", "1", "--gamma", "1"],
            ["alpha: nan"],
        ),
        (
            ["scale", "efficientnet-b0", "--alpha", "1", "--beta", "1", "--gamma", "1"],
            ["(1, 1, 1)"],
        ),
        (["scale", "efficientnet-b0", "--out", "a file"], ["a file"]),
        (["evaluate", "efficientnet-b0", "--proxy", "psychic"], ["'psychic'"]),
        (["evaluate", "efficientnet-b0", "--seeds", "0"], ["seeds: 0"]),
        (["evaluate", "efficientnet-b0", "--time", "soon"], ["'soon'"]),
        (["evaluate", "efficientnet-b0", "--data", "nowhere/at/all", "--quiet"], ["nowhere"]),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], named: list[str], capsys: Captured, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("mine")
    if "images" in arguments:
        pictures(tmp_path / "images", {"a": 4, "b": 4})
    tiny = nas.load_space("tiny")
    dearest = tiny.decode({name: values[-1] for name, values in tiny.choices.items()})
    good = tmp_path / "large.json"
    nas.save_architecture(dearest, good)
    for name, change in {
        "extra.json": lambda d: d["stages"][0].update(groups=2),
        "missing.json": lambda d: d.pop("num_classes"),
    }.items():
        data = json.loads(good.read_text(encoding="utf-8"))
        change(data)
        (tmp_path / name).write_text(json.dumps(data))
    refused(arguments, capsys, named)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.replace("[stem]", "colour = 1\n[stem]"), "colour: unknown key"),
        (lambda t: t.replace("width = 64", 'width = "wide"'), "head.width"),
        (lambda t: t.replace("layers = [1, 2]", "layers = []", 1), "layers"),
        (lambda t: t.replace("stride = 2", "stride = 0", 1), "stride"),
        (lambda t: t.replace("schema", "scheme"), "schem"),
        (lambda t: t.replace("[stem]", "[stem"), "not TOML"),
        (lambda t: "", "missing key"),
    ],
)
def test_a_wrong_space_is_one_line(
    change: Callable[[str], str], named: str, capsys: Captured, tmp_path: Path
) -> None:
    text = (ROOT / "search_spaces" / "tiny.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(change(text), encoding="utf-8")
    refused(["--budget", "1M-flops", "--space", "mine.toml"], capsys, ["mine.toml", named])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('schema = "nas-search-budget/1"\n[limits]\nflops = "400M"\n', "limits.flops"),
        ('schema = "nas-search-budget/1"\n[limits]\nflops = 0\n', "limits.flops"),
        ('schema = "nas-search-budget/1"\n[limits]\n', "no limit is set"),
        ('schema = "nas-search-budget/1"\n[limits]\nflop = 5\n', "limits.flop: unknown key"),
        ('schema = "nas-search-budget/1"\n[limits]\nlatency_ms = 0\n', "latency"),
    ],
)
def test_a_wrong_budget_is_one_line(
    text: str, named: str, capsys: Captured, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    refused(["--budget", "mine.toml", "--space", "tiny"], capsys, ["mine.toml", named])


@pytest.mark.parametrize(
    ("classes", "damage", "named"),
    [
        ({"only": 5}, None, "one class only"),
        ({"a": 5, "b": 1}, None, "'b'"),
        ({"a": 5, "b": 0}, None, "b"),
        ({"a": 5, "b": 5}, "a/3.png", "3.png"),
        ({}, None, "images"),
    ],
)
def test_a_wrong_data_folder_is_one_line(
    classes: dict[str, int], damage: str | None, named: str, capsys: Captured, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    pictures(folder, classes)
    if damage:
        (folder / damage).write_bytes((folder / damage).read_bytes()[:60])
    refused([*SMALL, "--data", "images"], capsys, [named])


# ── As a process ─────────────────────────────────────────────────────────────────────────────────


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    listing = [sys.executable, "-c", "from nas.cli import main; main()", "spaces"]
    with subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        assert running.stderr.read() == b""
        assert running.wait() in (0, 1)
