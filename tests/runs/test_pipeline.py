"""A whole run in its folder: what is written, resuming, killing, and who may use the folder."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import optuna
import pytest
import torch

import nas
import nas.data.dataset
import nas.runs.context
import nas.runs.phases
import nas.runs.pipeline
import nas.runs.schedule
import nas.runs.session
import nas.strategies.finalists
from nas.accuracy import Accuracy, at_chance
from nas.cli import _run as command
from nas.errors import EvaluationFailed
from nas.files import sha256
from nas.networks.architecture_file import save_architecture
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.records.lock import locked
from nas.report.write import FILES as REPORT
from nas.runs.settings import RunSettings
from nas.runs.status import read_status
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.training import supernet_trainer
from nas.training.supernet_trainer import SupernetSettings
from tests.support.interrupted import resumable
from tests.support.job import IMAGES_SEEN, SCRIPT, load, process, results, trials, words
from tests.support.paths import ROOT
from tests.support.waiting import HANG, cpu_seconds, descendants, is_running, wait_until

TINY, ANY = load_space("tiny"), Budget("none")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = TrainingSettings(width=0.5, resolution=16, images_seen=IMAGES_SEEN, batch_size=16)
    monkeypatch.setattr(nas.runs.schedule, "default_settings", lambda *of, **how: settings)
    monkeypatch.setattr(nas.runs.schedule, "final_settings", lambda settings, *of: settings)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "moved elsewhere"))


def test_all_files_are_there(finished: Path) -> None:
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*")}
    assert names == {
        ".lock",
        "run.json",
        "study.log",
        "front.json",
        "baseline.json",
        "coefficients.json",
        "family",
        *(f"family/b{i}.json" for i in range(8)),
        "report.html",
        *(
            f"{name}.{kind}"
            for name in ("front", "progress", "choices", "coefficients", "family")
            for kind in ("png", "svg")
        ),
    }


def test_run_json(finished: Path) -> None:
    run = load(finished / "run.json")
    assert run["status"] == "finished"
    assert run["command"]["budget"] == "1M-flops"
    assert run["trials"]["finished"] + run["trials"]["stopped"] == 3
    report = {path.name for path in finished.iterdir()} & REPORT
    assert "report.html" in report
    listed = {*results(finished), "study.log", *report}
    assert run["files"] == {name: sha256(finished / name) for name in listed}
    assert set(run["seconds"]) >= {"search", "coefficients", "test"}
    assert run["versions"]["optuna"] == optuna.__version__
    assert set(run["identity"]) == {
        "augment",
        "coefficients",
        "space",
        "budget",
        "data",
        "proxy",
        "objective",
        "sampler",
        "seed",
        "start",
        "latency",
        "plugins",
    }


def test_the_architectures(finished: Path) -> None:
    schema = load(ROOT / "nas" / "architecture.schema.json")
    baseline, b0 = load(finished / "baseline.json"), load(finished / "family" / "b0.json")
    assert {**b0, "name": ""} == {**baseline, "name": ""}
    assert b0["name"] == "b0"
    assert baseline["cost"]["flops"] <= 1_000_000
    assert baseline["num_classes"] == 3
    assert baseline["provenance"]["test"]["data"].endswith("(test)")
    front = load(finished / "front.json")["points"]
    assert baseline["name"] in [point["name"] for point in front]
    family = [load(finished / "family" / f"b{i}.json") for i in range(8)]
    for data in (baseline, *family, *front):
        jsonschema.validate(data, schema)
    for data in (baseline, *family):
        path = finished / "family" / f"{data['name']}.json"
        if path.exists():
            measured = nas.measure_cost(nas.load_architecture(path))
            assert measured.to_dict() == data["cost"]
    for metric in ("flops", "params"):
        costs = [member["cost"][metric] for member in family]
        assert costs == sorted(set(costs))
    text = "".join(path.read_text() for path in finished.rglob("*.json") if path.name != "run.json")
    assert str(finished.parent) not in text


def test_coefficients(finished: Path) -> None:
    scaling = load(finished / "coefficients.json")
    baseline = load(finished / "baseline.json")
    product = scaling["alpha"] * scaling["beta"] ** 2 * scaling["gamma"] ** 2
    assert product == pytest.approx(2, abs=0.02)
    assert sum(scaling["shares"].values()) == pytest.approx(1)
    assert sum(scaling["posterior"]["mass"]) == pytest.approx(1, abs=1e-3)
    for phi in range(1, 8):
        member = load(finished / "family" / f"b{phi}.json")
        ratio = member["cost"]["flops"] / baseline["cost"]["flops"]
        assert member["provenance"]["ratio"] == pytest.approx(ratio, abs=1e-6)
        assert ratio == pytest.approx(2**phi, rel=0.25)  # a tiny space: few layers and widths
        assert member["provenance"]["coefficients"] == {
            key: scaling[key] for key in ("alpha", "beta", "gamma")
        }


def test_the_study_opens_with_optuna(finished: Path) -> None:
    assert [row[0] for row in trials(finished)].count("RUNNING") == 0
    assert len(trials(finished)) > 3


def test_the_same_command_again_trains_nothing_and_changes_nothing(
    pictures: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The folder was moved and renamed in between, and that must not lose the trials.
    def trained(*args: object, **more: object) -> None:
        raise AssertionError("trained again")

    before, rows = results(copy), trials(copy)
    monkeypatch.setattr(TrainingProxy, "_train_and_score", trained)
    assert command(words(pictures, copy, "--quiet")) == 0
    assert results(copy) == before
    assert trials(copy) == rows
    assert load(copy / "run.json")["sessions"] == 2
    assert command(["resume", str(copy), "--quiet"]) == 0
    assert results(copy) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--seed", "1"], "seed"),
        (["--budget", "2M-flops"], "budget"),
        (["--resolution", "48"], "space"),
        (["--sampler", "random"], "sampler"),
        (["--objective", "reward"], "objective"),
        (["--start", "START"], "start"),
    ],
)
def test_another_run_s_folder_is_refused(
    pictures: Path,
    copy: Path,
    change: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    change = [str(copy / "baseline.json") if word == "START" else word for word in change]
    assert command(words(pictures, copy, "--quiet", *change)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f": {named} " in err
    after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert {p: b for p, b in after.items() if p.name != ".lock"} == {
        p: b for p, b in before.items() if p.name != ".lock"
    }


def classes(count: int, folder: Path) -> str:
    """The file of a space whose networks tell so many classes apart."""
    text = (ROOT / "search_spaces" / "tiny.toml").read_text()
    path = folder / f"tiny{count}.toml"
    path.write_text(text.replace("num_classes = 10", f"num_classes = {count}"))
    return str(path)


def test_a_budget_is_held_against_the_classes_of_the_images(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = (Feasible(replace(TINY, num_classes=n), ANY).least("params") for n in (3, 1000))
    for count, limit, status in ((1000, small, 0), (2, small, 0), (2, small - 1, 2)):
        assert limit < large
        out = tmp_path / f"{count}-{limit}"
        said = words(pictures, out, "--no-scale", "--quiet", trials=1)
        said[said.index("tiny")] = classes(count, tmp_path)
        said[said.index("1M-flops")] = f"{limit}-params"
        assert command(said) == status, (count, limit)
        err = capsys.readouterr().err
        assert (f"{small:,} params" in err) == (status == 2), err
        assert out.exists() == (status == 0)


def test_another_version_s_plan_in_a_storage_is_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(
        nas.runs.context, "agreed", lambda where, name, content: {**content, "colour": "red"}
    )
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert command(words(pictures, tmp_path / "r", "--storage", url, "--quiet")) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{url}: " in err
    assert ": colour: " in err


HOLD = """
import fcntl, os, sys
stream = open(sys.argv[1], "a+")
fcntl.flock(stream, fcntl.LOCK_EX)
stream.truncate(0)
stream.write(str(os.getpid()))
stream.flush()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    held: list[subprocess.Popen[str]] = []

    def start(path: Path) -> subprocess.Popen[str]:
        owner = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        held.append(owner)
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        return owner

    yield start
    for owner in held:
        owner.kill()
        owner.communicate()


def test_a_living_run_s_folder_is_refused_and_a_dead_one_s_taken_over(
    pictures: Path,
    copy: Path,
    hold: Callable[[Path], subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    owner = hold(copy / ".lock")
    assert command(words(pictures, copy, "--quiet")) == 2
    err = capsys.readouterr().err
    assert f"(pid {owner.pid})" in err
    assert err.count("\n") == 1
    owner.kill()
    owner.wait()
    assert (copy / ".lock").read_text() == str(owner.pid)
    assert command(words(pictures, copy, "--quiet")) == 0


SCORED = [
    *("--space", "tiny", "--budget", "5M-flops", "--proxy", "zero-cost:flops", "--no-scale"),
    *("--trials", "3", "--quiet"),
]


def test_where_the_trials_are_is_part_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, elsewhere = tmp_path / "r", tmp_path / "elsewhere"
    assert command([*SCORED, "--storage", "sqlite:///a.db", "--out", str(out)]) == 0
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert command(["resume", str(out), "--trials", "1", "--quiet"]) == 0
    assert load(out / "run.json")["trials"]["finished"] == 3
    before = results(out)
    other = ["--storage", "sqlite:///a.db"]  # that of this folder
    for said in (
        ["resume", str(out), "--quiet", *other],
        [*SCORED, "--out", str(out), *other],
        [*SCORED, "--out", str(out)],
    ):
        capsys.readouterr()
        assert command(said) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert f"sqlite:///{tmp_path / 'a.db'}" in err
        asked = f"sqlite:///{elsewhere / 'a.db'}" if "--storage" in said else f"{out / 'study.log'}"
        assert asked in err
    assert results(out) == before
    assert list(elsewhere.iterdir()) == []
    journal = tmp_path / "journal"
    assert command([*SCORED, "--out", str(journal)]) == 0
    assert command(["resume", str(journal), "--quiet", *other]) == 2
    err = capsys.readouterr().err
    assert f"{journal / 'study.log'}" in err
    assert f"sqlite:///{elsewhere / 'a.db'}" in err
    assert command([*SCORED, "--out", str(out), "--storage", f"sqlite:///{tmp_path}/a.db"]) == 0


def test_a_copied_folder_has_a_driver_of_its_own(tmp_path: Path) -> None:
    out, copied = tmp_path / "r", tmp_path / "copied"
    assert command([*SCORED, "--storage", "sqlite:///a.db", "--out", str(out)]) == 0
    name = load(out / "run.json")["driver"]
    shutil.copytree(out, copied)
    for folder in (out, copied):
        assert command(["resume", str(folder), "--quiet"]) == 0
    assert load(out / "run.json")["driver"] == name
    assert load(copied / "run.json")["driver"] != name


def test_what_began_under_ray_goes_on_without(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = load(copy / "run.json")
    state["command"] |= {"engine": "ray", "ray_address": "head:6379", "gpus_per_trial": 0.25}
    (copy / "run.json").write_text(json.dumps(state))
    settings: list[RunSettings] = []

    def run(given: RunSettings, progress: object) -> None:
        settings.append(given)
        raise EvaluationFailed("far enough")

    monkeypatch.setattr(nas.runs.pipeline, "run", run)
    assert command(["resume", str(copy), "--engine", "local", "--quiet"]) == 1
    assert (settings[0].engine, settings[0].ray_address) == ("local", None)
    assert command(["resume", str(copy), "--jobs", "1", "--quiet"]) == 1
    assert (settings[1].engine, settings[1].gpus_per_trial) == ("ray", 0.25)
    said = ["resume", str(copy), "--engine", "local", "--gpus-per-trial", "1", "--quiet"]
    assert command(said) == 2
    assert "--gpus-per-trial" in capsys.readouterr().err


def test_a_foreign_folder_is_refused_and_left_as_it_is(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "holidays"
    (folder / "deep").mkdir(parents=True)
    for name in ("photo.jpg", ".draft.tmp", "deep/.other.1.tmp"):
        (folder / name).write_text("mine")
    before = sorted(folder.rglob("*"))
    assert command(words(pictures, folder, "--quiet")) == 2
    err = capsys.readouterr().err
    assert "photo.jpg" in err or "deep" in err
    assert err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_what_a_killed_writer_left_is_removed(pictures: Path, copy: Path) -> None:
    left = [copy / ".baseline.json.123.tmp", copy / "family" / ".b3.json.123.tmp"]
    for path in left:
        path.write_text("{")
    assert command(["resume", str(copy), "--quiet"]) == 0
    assert not any(path.exists() for path in left)


def test_killed_between_two_files(pictures: Path, copy: Path, finished: Path) -> None:
    run = load(copy / "run.json")
    run["status"] = "running"
    (copy / "run.json").write_text(json.dumps(run))
    (copy / "coefficients.json").unlink()
    shutil.rmtree(copy / "family")
    assert command(["resume", str(copy), "--quiet"]) == 0
    assert results(copy) == results(finished)


def test_more_trials_go_on_and_equal_a_run_of_as_many(
    pictures: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["resume", str(copy), "--trials", "5", "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert document["trials"] == {"finished": 5, "failed": 0}
    assert document["out"] == str(copy)
    whole = tmp_path / "whole"
    assert command(words(pictures, whole, "--quiet", trials=5)) == 0
    assert results(copy) == results(whole)
    assert load(copy / "run.json")["command"]["trials"] == 5


def test_json_is_one_document(
    pictures: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(words(pictures, copy, "--json")) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert list(document) == ["out", "trials", "baseline", "coefficients", "family", "trained"]
    assert set(document["trials"]) == {"finished", "failed"}
    assert document["baseline"] == load(copy / "baseline.json")
    assert set(document["coefficients"]) == {"alpha", "beta", "gamma", "ratio"}
    assert [member["name"] for member in document["family"]] == [f"b{i}" for i in range(8)]
    assert set(document["family"][0]) == {"name", "flops", "params", "resolution"}
    assert "search" in captured.err
    assert "\x1b" not in captured.err + captured.out


def test_tables_fit_a_pipe_of_80_columns(
    pictures: Path, copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert command(words(pictures, copy)) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    lines = captured.out.splitlines()
    assert len(lines) <= 45
    facts = next(i for i, line in enumerate(lines) if line.startswith("baseline  "))
    assert "…" not in "".join(lines[:facts])
    assert max(map(len, lines[:facts])) <= 80
    assert "Family" in lines
    assert any(str(copy) in line for line in lines)
    for name in ("baseline.json", "family/b0.json … b7.json", "coefficients.json", "study.log"):
        assert any(line.startswith(f"  {name}  ") for line in lines), name
    assert any(line.startswith("  nas-search verify ") for line in lines)


def test_no_scale(
    pictures: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(words(pictures, tmp_path / "r", "--no-scale", "--json", "--quiet")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["coefficients"] is None
    assert document["family"] == []
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert names - REPORT == {".lock", "run.json", "study.log", "front.json", "baseline.json"}
    assert not [name for name in names if name.startswith("family")]
    # A family of an earlier baseline must not stay beside a new one.
    assert command(words(pictures, copy, "--no-scale", "--quiet", trials=5)) == 0
    assert {path.name for path in copy.iterdir()} == names
    assert (copy / "baseline.json").is_file()


def test_start(pictures: Path, finished: Path, tmp_path: Path) -> None:
    start = ("--start", str(finished / "baseline.json"))
    out = tmp_path / "r"
    assert command(words(pictures, out, *start, "--quiet", "--no-scale", trials=1)) == 0
    ours, theirs = load(out / "baseline.json"), load(finished / "baseline.json")
    assert ours["stages"] == theirs["stages"]


def test_storage_by_url(pictures: Path, finished: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    out = tmp_path / finished.name
    assert command(words(pictures, out, "--storage", url, "--quiet")) == 0
    assert not (out / "study.log").exists()
    assert results(out) == results(finished)
    names = [summary.study_name for summary in optuna.get_all_study_summaries(url)]
    assert len(names) == 2  # search, test
    assert command(["resume", str(out), "--quiet"]) == 0
    assert results(out) == results(finished)


@pytest.mark.parametrize("name", ["run.json", "front.json", "coefficients.json", "b4.json"])
def test_a_full_disk_at_a_file(
    pictures: Path,
    finished: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    out = tmp_path / "r"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert command(words(pictures, out, "--quiet")) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert re.search(rf"{name}: .*No space left on device", captured.err)
    assert captured.out == ""
    assert list(tmp_path.rglob("*.tmp")) == []
    assert not (out / name).exists()
    assert out.exists() == (name != "run.json")
    for path in tmp_path.rglob("*.json"):
        load(path)
    assert command(words(pictures, out, "--quiet")) == 0
    assert results(out) == results(finished)


def test_a_full_disk_for_the_study(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fsync, calls = os.fsync, 0

    def full(stream: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(stream)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert command(words(pictures, tmp_path / "r", "--quiet")) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left on device" in err
    assert command(words(pictures, tmp_path / "r", "--quiet")) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_is_full_in_the_middle_of_a_line(
    pictures: Path, finished: Path, tmp_path: Path
) -> None:
    whole = (finished / "study.log").read_bytes()
    # In the middle of a line, after the second trial or so.
    room = whole.index(b"\n", len(whole) // 2) + 20
    full = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
    out = tmp_path / finished.name
    stopped = process(words(pictures, out, "--quiet"), full + SCRIPT)
    _, err = stopped.communicate(timeout=HANG)
    assert stopped.returncode == 1
    assert err.count("\n") == 1
    assert f"{out / 'study.log'}: " in err
    assert "File too large" in err
    assert (out / "study.log").stat().st_size == room  # a torn line
    assert command(words(pictures, out, "--quiet")) == 0
    assert results(out) == results(finished)
    assert trials(out) == trials(finished)


def test_a_damaged_run_json_is_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "run.json"
    good = load(path)
    for change in (
        {"command": {"budget": "1M-flops"}},
        {"command": {**good["command"], "trials": "three"}},
        {"command": {**good["command"], "colour": 1}},
        {"command": None},
        {"identity": None},
        {"plan": {"search": {}}},
        {"plan": []},
        {"seconds": {"search": "long"}},
        {"schema": "nas-search-run/9"},
    ):
        path.write_text(json.dumps({**good, **change}))
        assert command(["resume", str(copy), "--quiet"]) == 2, change
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "run.json" in err


def test_with_images_a_supernet_is_the_default(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quick = SupernetSettings(resolution=16, images_seen=320, batch_size=8, validation_images=6)
    monkeypatch.setattr(nas.runs.schedule, "supernet_settings", lambda *of, **how: quick)
    monkeypatch.setattr(supernet_trainer, "INTERVAL", 5)
    monkeypatch.setattr(supernet_trainer, "SAVE_SECONDS", 0.0)
    said = [word for word in words(pictures, tmp_path, "--no-scale") if word != str(tmp_path)]
    at = said.index("--proxy")
    del said[at : at + 2], said[said.index("--out")]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert command([*said, "--quiet", "--out", str(whole)]) == 0

    step = supernet_trainer.SupernetTrainer._step

    def dies(self: Any, number: int, rate: float, workers: Any) -> Any:
        if number == 12:
            raise KeyboardInterrupt
        return step(self, number, rate, workers)

    with monkeypatch.context() as patch:
        patch.setattr(supernet_trainer.SupernetTrainer, "_step", dies)
        assert command([*said, "--quiet", "--out", str(killed)]) == 130
    assert not (killed / "baseline.json").exists()
    capsys.readouterr()
    assert command([*said, "--out", str(killed)]) == 0
    assert re.search("supernet +160/320 ", capsys.readouterr().err)
    assert results(killed) == results(whole)

    baseline = load(whole / "baseline.json")
    assert baseline["accuracy"]["proxy"] == "supernet"
    assert baseline["provenance"]["rank_by"] == "loss"
    assert baseline["provenance"]["proxy"]["images_seen"] == 320
    assert baseline["provenance"]["test"]["proxy"] == "training"  # trained alone
    state = load(whole / "run.json")
    assert state["plan"]["supernet"]["images_seen"] == 320
    assert {"supernet", "search", "test"} <= set(state["seconds"])
    # It is there to go on from, and no result.
    assert (whole / "supernet" / "state.json").exists()
    assert read_status(whole).supernet == 1.0
    assert "supernet/state.json" not in state["files"]


def test_a_supernet_that_diverges_again_and_again_is_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    quick = SupernetSettings(resolution=16, images_seen=320, batch_size=8, validation_images=6)
    monkeypatch.setattr(nas.runs.schedule, "supernet_settings", lambda *of, **how: quick)
    monkeypatch.setattr(
        supernet_trainer.SupernetTrainer, "_step", lambda *of: torch.tensor(float("nan"))
    )
    said = words(pictures, tmp_path / "r", "--quiet", "--proxy", "supernet")
    assert command(said) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the supernet" in err


# Has the process kill itself, so many seconds after its study has so many lines or, where these are
# None, after it has written the baseline, the first of the results.
DIES = """
import os, signal, threading
from pathlib import Path

log, lines, seconds = Path({log!r}), {lines}, {seconds}
fsync, replace = os.fsync, os.replace


def die():
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def then_count(stream):
    fsync(stream)
    if lines is not None and log.exists() and log.read_bytes().count(b"\\n") >= lines:
        die()


def then_look(source, target):
    replace(source, target)
    if lines is None and Path(target).name == "baseline.json":
        die()


os.fsync, os.replace = then_count, then_look
"""


def killed_and_resumed(
    pictures: Path, finished: Path, folder: Path, kills: int, rng: random.Random
) -> None:
    """Kill a run so many times, each time further on; then let it end, as one that was not killed.

    A fifth of the kills come when the study is whole and the results are being written.
    """
    lines = (finished / "study.log").read_bytes().count(b"\n")
    late = -(-kills // 5)
    moments = [*sorted(rng.randrange(lines) for _ in range(kills - late)), *[None] * late]
    for moment in moments:
        dies = DIES.format(log=str(folder / "study.log"), lines=moment, seconds=rng.random() / 10)
        running = process(words(pictures, folder, "--quiet"), dies + SCRIPT)
        _, err = running.communicate(timeout=HANG)
        assert running.returncode == -signal.SIGKILL, (moment, err)
    assert command(words(pictures, folder, "--quiet")) == 0
    assert results(folder) == results(finished)
    assert trials(folder) == trials(finished)
    assert list(folder.rglob("*.tmp")) == []


def test_killed_at_three_moments_it_ends_the_same(
    pictures: Path, finished: Path, tmp_path: Path
) -> None:
    killed_and_resumed(pictures, finished, tmp_path / finished.name, 3, random.Random(1))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_ten_moments_it_ends_the_same(
    pictures: Path, finished: Path, tmp_path: Path, seed: int
) -> None:
    killed_and_resumed(pictures, finished, tmp_path / finished.name, 10, random.Random(seed))


@pytest.mark.soak
def test_killed_at_25_moments_it_ends_the_same(
    pictures: Path, finished: Path, tmp_path: Path
) -> None:
    killed_and_resumed(pictures, finished, tmp_path / finished.name, 25, random.Random(25))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
@pytest.mark.parametrize(
    ("number", "to_all", "jobs"),
    [
        (signal.SIGTERM, False, 2),
        pytest.param(signal.SIGINT, True, 2, marks=pytest.mark.soak),
    ],
)
def test_a_signal_ends_it_and_leaves_no_worker(
    pictures: Path, tmp_path: Path, number: signal.Signals, to_all: bool, jobs: int
) -> None:
    out = tmp_path / "r"
    endless = SCRIPT.replace(f"images_seen={IMAGES_SEEN}", "images_seen=100_000_000")
    arguments = [*words(pictures, out), "--jobs", str(jobs), "--quiet"]
    running = process(arguments, endless)

    def training() -> list[int]:
        """The workers that have computed for longer than it takes to import everything."""
        assert running.poll() is None, running.communicate()
        return [pid for pid in descendants(running.pid) if cpu_seconds(pid) > 5]

    wait_until(lambda: len(training()) >= jobs, "the workers train")
    workers = descendants(running.pid)
    (os.killpg if to_all else os.kill)(running.pid, number)
    stdout, err = running.communicate(timeout=HANG)
    assert running.returncode == 130
    assert err.count("\n") == 1
    assert resumable(err)
    assert stdout == ""
    wait_until(lambda: not any(map(is_running, workers)), "the workers have ended")
    # Another process may take it over at once.
    assert load(out / "run.json")["status"] == "running"
    with locked(out):
        pass


def test_what_is_no_better_than_guessing_is_said() -> None:
    lucky = Accuracy(mean=0.12, standard_error=0.02)
    assert at_chance(lucky, 10)
    assert not at_chance(replace(lucky, standard_error=0.005), 10)
    assert not at_chance(replace(lucky, predicted=True), 10)
    assert not at_chance(None, 10)


def reference(folder: Path) -> str:
    """A network of a few weights in a file, to compare with."""
    space = load_space("tiny")
    first = space.decode({name: values[0] for name, values in space.choices.items()})
    save_architecture(replace(first, name="small one"), folder / "reference.json")
    return str(folder / "reference.json")


def test_finalists_are_trained_with_a_reference_and_the_proxy_is_checked(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(nas.runs.phases, "CHECKED", 4)
    for module in (nas.runs.phases, nas.strategies.finalists):
        monkeypatch.setattr(module, "at_chance", lambda *of: False)  # after 64 images it would be
    out = tmp_path / "r"
    more = ["--finalists", "2", "--reference", reference(tmp_path), "--no-scale"]
    assert command(words(pictures, out, *more)) == 0
    said = capsys.readouterr()
    assert "Finalists" in said.out
    assert "small one" in said.out
    finals, run = load(out / "finalists.json"), load(out / "run.json")
    baseline = load(out / "baseline.json")
    names = [entry["name"] for entry in finals["entries"]]
    assert names[-1] == finals["reference"] == "small one"
    assert [entry["accuracy"]["n"] for entry in finals["entries"]] == [3, 3, 3]
    assert baseline["name"] == finals["chosen"]
    assert baseline["name"] in names[:2]
    assert [entry["name"] for entry in finals["test"]["entries"]] == [baseline["name"], names[-1]]
    assert baseline["provenance"]["test"] == finals["test"]["entries"][0]["accuracy"]
    assert baseline["provenance"]["test"]["data"].endswith("(test)")
    assert baseline["provenance"]["finals"]["accuracy"]["data"].endswith("(validation)")
    assert run["check"]["samples"] == 4
    assert f"{run['check']['kendall_tau']:.2f}" in said.out
    assert set(run["seconds"]) >= {"search", "finals", "check", "test"}
    before = results(out)
    assert command(words(pictures, out, *more, "--quiet")) == 0
    assert results(out) == before
    # Without them, what they left is gone.
    assert command(words(pictures, out, "--no-scale", "--quiet")) == 0
    assert not (out / "finalists.json").exists()
    assert load(out / "run.json")["check"] is None


def test_finalists_at_chance_choose_nothing(
    pictures: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for module in (nas.runs.phases, nas.strategies.finalists):
        monkeypatch.setattr(module, "at_chance", lambda *of: True)
    out = tmp_path / "r"
    more = ["--finalists", "2", "--reference", reference(tmp_path), "--no-scale", "--no-check"]
    assert command(words(pictures, out, *more)) == 0
    assert [note for note in load(out / "run.json")["notes"] if "chance" in note]
    finals = load(out / "finalists.json")
    assert finals["chosen"] is None
    assert [entry["accuracy"]["n"] for entry in finals["entries"]] == [3, 3, 3]
    # As where there were no finalists.
    baseline = load(out / "baseline.json")
    assert baseline["name"] == load(finished / "baseline.json")["name"]
    assert "finals" not in baseline["provenance"]


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [("--finalists", "-1", "finalists: -1"), ("--reference", "resnet", "resnet")],
)
def test_wrong_finalists_are_one_line(
    option: str, value: str, named: str, pictures: Path, tmp_path: Path, capsys: Any
) -> None:
    assert command(words(pictures, tmp_path / "r", option, value)) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert named in error
    assert not (tmp_path / "r").exists()
