"""``nas-search reproduce scaling``: the evidence for compound scaling."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nas.cli import _run as command
from nas.progress import SilentProgress
from nas.runs.reproduction.scaling import FACTORS, FILES
from nas.runs.verify.verify import verify
from tests.support.documents import ROOT
from tests.support.job import load

COMMITTED = ROOT / "results" / "scaling"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduced") / "scaling"
    assert command(["reproduce", "scaling", "--quiet", "--out", str(folder)]) == 0
    return folder


def test_what_is_committed_is_what_the_command_writes(made: Path) -> None:
    if not COMMITTED.exists():
        pytest.skip("results/ is not in a source distribution")
    assert load(made / "scaling.json") == load(COMMITTED / "scaling.json")


def test_directions_are_compared_at_equal_flops(made: Path) -> None:
    data = load(made / "scaling.json")
    rows = data["compared"]
    assert len(rows) == len(FACTORS) * len(data["directions"]) == 20
    for row in rows:
        assert row["flops"] / data["flops"] == pytest.approx(row["factor"], rel=0.01)
        low, high = row["interval_90"]
        assert low <= row["against_paper"] <= high
    assert len(data["conclusions"]) == 5
    for one in data["best"].values():
        assert one["alpha"] * one["beta"] ** 2 * one["gamma"] ** 2 == pytest.approx(2, abs=0.001)


def test_it_is_verified(made: Path, tmp_path: Path) -> None:
    assert verify(made, SilentProgress()).differences == ()
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    data = load(copy / "scaling.json")
    data["compared"][3]["ln_error"] -= 0.1
    (copy / "scaling.json").write_text(json.dumps(data))
    found = {(one.file, one.key) for one in verify(copy, SilentProgress()).differences}
    assert ("scaling.json", "compared4.ln_error") in found
    assert sorted(path.name for path in made.iterdir()) == sorted([".lock", "run.json", *FILES])


def test_tables_and_json(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["reproduce", "scaling", "--out", str(made)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("depth alone", "b1 to b7", "Conclusions", "Limits"))
    assert command(["reproduce", "scaling", "--out", str(made), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == load(made / "scaling.json")


@pytest.mark.parametrize("option", [["--trials", "3"], ["--seed", "1"], ["--jobs", "2"]])
def test_options_of_searches_are_refused(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["reproduce", "scaling", *option, "--out", str(tmp_path / "x")]) == 2
    assert f"{option[0]}: not accepted" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
