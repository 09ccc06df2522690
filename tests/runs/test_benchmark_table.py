"""A benchmark table of one's own: drawn in a band, trained alone, kept, judged by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nas
import nas.proxies.presets
from nas.cli import _run as command
from nas.errors import InputError
from nas.networks.cost import measure_cost
from nas.proxies.benchmark_table import read_table
from nas.proxies.short_training import TrainingSettings
from nas.runs.benchmark_table.rows import draw_band
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible

TINY = nas.load_space("tiny")
BAND = (400_000, 900_000)
FEASIBLE = Feasible(TINY, Budget("900000-flops", flops=900_000))

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(24):
            pixels = np.clip(rng.normal(level, 60, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    settings = TrainingSettings(resolution=16, images_seen=48, batch_size=16)
    monkeypatch.setattr(nas.proxies.presets, "default_settings", lambda *of, **how: settings)
    monkeypatch.setenv("NAS_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_networks_of_a_band_are_different_and_the_seed_decides() -> None:
    networks = draw_band(FEASIBLE, BAND, 20, 3)
    assert len({network.key() for network in networks}) == 20
    assert all(BAND[0] <= measure_cost(network).flops <= BAND[1] for network in networks)
    assert networks == draw_band(FEASIBLE, BAND, 20, 3)
    assert networks != draw_band(FEASIBLE, BAND, 20, 4)
    assert networks[:5] == draw_band(FEASIBLE, BAND, 5, 3)


def test_a_band_with_too_few_is_refused() -> None:
    with pytest.raises(InputError, match=r"899\.99K-900K"):
        draw_band(FEASIBLE, (899_990, 900_000), 2, 0)


def words(*more: str, out: str = "t") -> list[str]:
    return [
        *("table", "--space", "tiny", "--data", "images", "--flops", "400K-900K", "--jobs", "1"),
        *("--out", out, *more),
    ]


def test_a_table_is_made_goes_on_and_judges(capsys: Captured) -> None:
    assert command(words("--networks", "10", "--seeds", "1", "--json")) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "out": "t/table.jsonl",
        "networks": 10,
        "rows": 10,
        "failed": 0,
    }
    first = Path("t/table.jsonl").read_text().splitlines()
    assert command(words("--networks", "10", "--seeds", "2")) == 0
    said = capsys.readouterr()
    assert "table.jsonl" in said.out
    assert "10/20" in said.err
    both = Path("t/table.jsonl").read_text().splitlines()
    assert both[::2] == first
    table = read_table(Path("t/table.jsonl"))
    assert len({network.key() for network in table.architectures(TINY)}) == 10
    assert [row.more["seed"] for row in table.rows] == [0, 1] * 10
    assert command(["verify", "t", "--quiet"]) == 0
    judged = ["fidelity", "--table", "t/table.jsonl", "--space", "tiny"]
    assert command([*judged, "--proxy", "zero-cost:params", "--samples", "10", "--json"]) == 0
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert -1 <= data["kendall_tau_repeats"] <= 1
    low, high = data["kendall_tau_repeats_ci95"]
    assert low <= data["kendall_tau_repeats"] <= high


def test_a_folder_with_another_table_is_refused(capsys: Captured) -> None:
    assert command(words("--networks", "1", "--seeds", "1", "--quiet")) == 0
    before = Path("t/table.jsonl").read_bytes()
    assert command(words("--networks", "1", "--seed", "1", "--quiet")) == 2
    assert ": seed " in capsys.readouterr().err
    assert Path("t/table.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--networks", "0"), "networks: 0"),
        (("--seeds", "101"), "seeds: 101"),
        (("--images", "5"), "images: 5"),
        (("--flops", "5M"), "band '5M'"),
        (("--jobs", "0"), "jobs: 0"),
        (("--flops", "1K-2K"), "cheapest"),
    ],
)
def test_wrong_words_leave_nothing_behind(
    more: tuple[str, ...], named: str, capsys: Captured
) -> None:
    assert command(words(*more)) == 2
    said = capsys.readouterr()
    assert named in said.err
    assert len(said.err.splitlines()) == 1
    assert not Path("t").exists()
