"""How far a run is, read while it goes on, after it ended and after it died."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from nas.cli import _run as command
from nas.evaluation.database import database_url
from nas.evaluation.leases import Claims
from nas.evaluation.study import Study
from nas.evaluation.study_reader import read_study
from nas.evaluation.study_row import StudyRow
from nas.proxies.short_training import TrainingSettings
from nas.records.lock import holder, locked
from nas.runs.status import _rate, read_status
from nas.training.supernet_trainer import SupernetSettings
from tests.support.paths import ROOT

MAIN = "from nas.cli import main; main()"
BASE = ["--budget", "400M-flops", "--proxy", "imagenet", "--sampler", "random", "--no-scale"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("status") / "run"
    assert command([*BASE, "--trials", "6", "--out", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()
    }


def change(folder: Path, **values: Any) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_finished_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(finished)
    assert command(["status", str(finished), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["pid"], found["seconds_left"]) == ("finished", None, None)
    [search] = found["phases"]
    assert (search["name"], search["total"], search["finished"]) == ("search", 6, 6)
    assert (search["failed"], search["retries"], search["claimed"]) == (0, 0, None)
    baseline = json.loads((finished / "baseline.json").read_text())
    assert found["best"]["architecture"] == baseline["name"]
    assert found["best"]["flops"] == baseline["cost"]["flops"]
    assert found["best"]["accuracy"] == baseline["accuracy"]
    assert command(["status", str(finished)]) == 0
    out = capsys.readouterr().out
    assert f"{finished}: finished\n" in out
    assert re.search(r"search +6/6 +6\b", out)
    assert snapshot(finished) == before


def test_failures_are_told_by_reason_and_a_run_that_died_is_stopped(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = json.loads((copy / "run.json").read_text())["phases"]["search"]["study"]
    study = Study(copy, name, {})
    for number in range(6, 12):
        reason = "MemoryError:" if number % 3 else "ValueError: odd"
        study.add(StudyRow(number, {}, "failed", None, (), {"reason": reason, "retries": 1}))
    change(copy, status="running", until=time.time() + 60)
    (copy / ".lock").write_text("999999999")
    status = read_status(copy)
    assert (status.state, status.pid, status.seconds_left) == ("stopped", None, None)
    [search] = status.phases
    assert [(f.reason, f.count, f.trials) for f in search.failures] == [
        ("MemoryError:", 4, (7, 8, 10, 11)),
        ("ValueError: odd", 2, (6, 9)),
    ]
    assert (search.done, search.failed, search.retries) == (12, 6, 6)
    assert command(["status", str(copy)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"failed .*\b4\b.*search.*MemoryError.*7, 8, 10, 11", out)


def test_how_far_a_supernet_is_where_there_are_fewer_images_than_a_batch(copy: Path) -> None:
    training = asdict(TrainingSettings())
    supernet = asdict(SupernetSettings(images_seen=320, batch_size=64, paths=2))
    change(copy, plan=dict.fromkeys(("search", "finals"), training) | {"supernet": supernet})
    images = {"name": "a", "classes": 2, "image_resolution": 8, "imbalance": 1.0}
    images |= {"mean": [0.5], "std": [0.5]}
    state = copy / "supernet" / "state.json"
    state.parent.mkdir()
    for count, steps in ((20, 8), (1000, 2)):
        change(copy, data=images | {"images": [count, 5, 0]})
        for step in range(steps + 1):
            state.write_text(json.dumps({"state": {"step": step}}))
            assert read_status(copy).supernet == pytest.approx(step / steps, abs=1e-3)


def test_while_it_runs_without_its_lock_and_with_a_line_half_written(copy: Path) -> None:
    change(copy, status="running", until=time.time() + 3600)
    log = copy / "study.log"
    with locked(copy):
        assert holder(copy) == os.getpid()
        with log.open("ab") as stream:
            stream.write(b'{"op_code": 4, "wor')
        before = snapshot(copy)
        # From another process, as from another terminal.
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "status", str(copy), "--json"],
            capture_output=True, text=True, cwd=ROOT, check=True,
        )  # fmt: skip
        assert snapshot(copy) == before
    found = json.loads(done.stdout)
    assert (found["state"], found["pid"]) == ("running", os.getpid())
    assert found["phases"][0]["finished"] == 6
    assert found["seconds_left"] == 0.0  # of this phase all is done
    assert holder(copy) is None


def test_a_shared_storage_tells_what_all_drivers_do(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    out = tmp_path / "shared"
    assert command([*BASE, "--trials", "2", "--storage", url, "--out", str(out), "--quiet"]) == 0
    name = json.loads((out / "run.json").read_text())["phases"]["search"]["study"]
    theirs = Claims(database_url(url), name, "another driver")
    theirs.take(2, "a", {})
    theirs.take(3, "b", {})
    theirs._change(theirs._of(3), expires=1.0)
    [search] = read_status(out).phases
    assert (search.finished, search.claimed, search.abandoned) == (2, 1, 1)
    assert command(["status", str(out)]) == 0
    out_ = capsys.readouterr().out
    assert re.search(r"phase +done +finished +running +abandoned", out_)
    assert re.search(r"search +2/2 +2 +1 +1\b", out_)
    theirs.close()
    assert command(["status", str(copy), "--storage", url]) == 2
    (tmp_path / "study.db").unlink()
    assert command(["status", str(out)]) == 2
    assert "study.db" in capsys.readouterr().err
    assert not (tmp_path / "study.db").exists()


def test_a_study_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert read_study(tmp_path, "search") == []
    assert list(tmp_path.iterdir()) == []
    before = time.time()
    Study(tmp_path, "other", {}).add(StudyRow(0, {}, "failed", None, (), {}))
    after = time.time()
    assert read_study(tmp_path, "search") == []
    [row] = read_study(tmp_path, "other")
    assert row.written_at is not None
    assert before <= row.written_at <= after


@pytest.mark.parametrize("content", [None, "{}", '{"schema": "nas-search-run/3"}', "nonsense"])
def test_no_run_is_one_line(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert command(["status", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "run.json" in err


@pytest.mark.parametrize(
    ("moments", "rate"),
    [
        ([], None),
        ([5.0], None),
        ([0.0, 10.0, 20.0, 30.0], 6.0),
        ([0.0, 10.0, 86_400.0, 86_410.0, 86_420.0], 6.0),  # a night between two sessions
        ([20.0, 0.0, 10.0], 6.0),
        ([1.0, 1.0, 1.0], None),
    ],
)
def test_rates_leave_pauses_out(moments: list[float], rate: float | None) -> None:
    assert _rate(moments) == rate
