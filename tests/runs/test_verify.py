"""``nas-search verify``: what is finished differs in nothing; any byte that changes is found."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import nas
import nas.runs.phases
import nas.runs.schedule
import nas.runs.verify.run
import nas.runs.verify.verified_run
from nas.cli import _run as command
from nas.errors import InputError
from nas.evaluation.seeded_runs import SeededRuns
from nas.files import sha256, write_json
from nas.proxies.short_training import TrainingSettings
from nas.records.document import sealed
from nas.runs.verify.json_diff import differing
from nas.runs.verify.verify import Verification, verify
from nas.spaces.latency_table import LatencyTable, Setting, Timing, block_keys, write_table
from tests.support.paths import ROOT
from tests.support.silent import Silent

COMMITTED = sorted(path for path in ROOT.glob("results/*") if path.is_dir())

Captured = pytest.CaptureFixture[str]


def verified(folder: Path) -> Verification:
    return verify(folder, Silent())


def keys(folder: Path) -> set[tuple[str, str]]:
    return {(one.file, one.key) for one in verified(folder).differences}


@pytest.fixture(scope="module")
def _quick() -> Iterator[None]:
    """Trainings of a few steps, that choose although they are no better than chance."""
    training = TrainingSettings(width=0.5, resolution=16, images_seen=64, batch_size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nas.runs.schedule, "default_settings", lambda *of, **how: training)
        patch.setattr(nas.runs.schedule, "final_settings", lambda settings, *of: settings)
        for module in (nas.runs.phases, nas.runs.verify.run):
            patch.setattr(module, "CHECKED", 4)
        for module in (nas.runs.phases, nas.strategies.finalists):
            patch.setattr(module, "at_chance", lambda *of: False)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, _quick: None) -> Path:
    """A run with all its phases on noise of three colours."""
    colours = (("red", (190, 80, 80)), ("green", (80, 190, 80)), ("grey", (120, 120, 120)))
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("trained") / "a run"
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for name, colour in colours:
            (data / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(rng.normal(colour, 70, (16, 16, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(data / split / name / f"{i}.png")
    words = ["--space", "tiny", "--budget", "1M-flops", "--data", str(data), "--proxy", "training"]
    more = ["--trials", "4", "--jobs", "1", "--finalists", "2", "--coefficients", "prior"]
    more += ["--no-train"]
    assert command([*words, *more, "--quiet", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose networks were judged by the predictor."""
    out = tmp_path_factory.mktemp("predicted") / "run"
    words = ["--budget", "400M-flops", "--trials", "12", "--no-scale", "--quiet"]
    assert command([*words, "--out", str(out)]) == 0
    return out


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def forge(folder: Path, name: str, data: Any) -> None:
    """Write a file anew with all hashes that belong to it: only what it says can tell."""
    if name != "run.json":
        write_json(folder / name, data)
    run = data if name == "run.json" else load(folder / "run.json")
    there = [name for name in run["files"] if (folder / name).exists()]
    run["files"] |= {name: sha256(folder / name) for name in there}
    write_json(folder / "run.json", sealed(run))


# ── Nothing differs ──────────────────────────────────────────────────────────────────────────────


def test_a_finished_run_differs_in_nothing(trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    result = verified(trained)
    assert result.differences == ()
    assert result.notes == ()  # all was there, and nothing taken as written
    assert result.files == len(before) - 1  # all but the lock
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    assert load(trained / "run.json")["check"]["samples"] == 4


def test_a_run_of_predictions_differs_in_nothing(predicted: Path) -> None:
    result = verified(predicted)
    assert (result.differences, result.notes) == ((), ())


def test_without_its_study_a_run_is_held_against_itself(copy: Path) -> None:
    (copy / "study.log").unlink()
    result = verified(copy)
    assert result.differences == ()
    assert [note for note in result.notes if note.startswith("study.log")]


def test_what_needs_no_study_is_computed_without_it(copy: Path) -> None:
    """FLOPs of the networks that are known, and how many trainings an accuracy is of."""
    (copy / "study.log").unlink()
    finals, front = load(copy / "finalists.json"), load(copy / "front.json")
    finals["test"]["entries"][-1]["cost"]["flops"] += 1
    forge(copy, "finalists.json", finals)
    front["points"][0]["accuracy"]["n"] += 1
    forge(copy, "front.json", front)
    found = keys(copy)
    last = len(finals["test"]["entries"])
    assert ("finalists.json", f"test.entries{last}.cost.flops") in found
    assert ("front.json", "points1.accuracy.n") in found


def test_what_needs_no_space_is_computed_without_it(copy: Path) -> None:
    run, data = load(copy / "run.json"), load(copy / "coefficients.json")
    run["space"] = "gone.toml"
    forge(copy, "run.json", run)
    assert [note for note in verified(copy).notes if "'gone.toml'" in note]
    assert keys(copy) == set()
    data["regret"] += 0.1
    forge(copy, "coefficients.json", data)
    assert {file for file, _ in keys(copy)} == {"coefficients.json"}


def test_the_latency_of_the_baseline_is_the_sum_by_the_table(tmp_path: Path) -> None:
    space = nas.load_space("tiny")
    where = Setting("pytorch", "cpu", "a processor", 1, 2, {"torch": "2.13.0"})
    blocks = {key: Timing(len(key), 1, 900, 30) for key in block_keys(space)}
    write_table(tmp_path / "phone.json", LatencyTable(where, blocks))
    out = tmp_path / "run"
    words = ["--space", "tiny", "--budget", "9ms-latency", "--proxy", "zero-cost:params"]
    words += ["--latency-table", str(tmp_path / "phone.json"), "--trials", "3", "--no-scale"]
    assert command([*words, "--quiet", "--out", str(out)]) == 0
    assert keys(out) == set()
    run = load(out / "run.json")
    run["latency"]["sum"] += 1
    forge(out, "run.json", run)
    assert keys(out) == {("run.json", "latency.sum")}


@pytest.mark.usefixtures("_quick")
def test_more_trials_seal_it_anew(copy: Path) -> None:
    assert command(["resume", str(copy), "--trials", "5", "--quiet"]) == 0
    assert verified(copy).differences == ()


@pytest.mark.usefixtures("_quick")
def test_finals_that_were_cut_off_in_a_round_differ_in_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SeededRuns.run

    def cut(self: SeededRuns, turn: int, which: Sequence[int]) -> bool:
        short = self._purpose == "finals" and turn == 1
        return run(self, turn, which[:1] if short else which) and not short

    with monkeypatch.context() as patch:
        patch.setattr(SeededRuns, "run", cut)
        assert command(["resume", str(copy), "--quiet", "--trials", "6"]) == 0
    finals = load(copy / "finalists.json")
    assert len({entry["accuracy"]["n"] for entry in finals["entries"]}) == 2
    best = max(
        (e for e in finals["entries"] if e["trial"] is not None), key=lambda e: float(e["score"])
    )
    assert finals["chosen"] == best["name"]
    assert verified(copy).differences == ()


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_what_is_committed_differs_in_nothing(folder: Path, capsys: Captured) -> None:
    assert command(["verify", str(folder), "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["differences"] == []
    assert not [note for note in result["notes"] if "not listed" in note]


def test_what_is_committed_is_there() -> None:
    if not (ROOT / "results").exists():
        pytest.skip("results/ is not in a source distribution")
    assert len(COMMITTED) >= 4


# ── What differs is named ────────────────────────────────────────────────────────────────────────


def test_a_changed_number_is_named_with_both_values(copy: Path, capsys: Captured) -> None:
    path = copy / "family" / "b3.json"
    data = load(path)
    data["cost"]["flops"] += 1
    write_json(path, data)
    assert command(["verify", str(copy), "--json", "--quiet"]) == 1
    found = json.loads(capsys.readouterr().out)["differences"]
    assert {(one["file"], one["key"]) for one in found} == {
        ("family/b3.json", "sha256"),
        ("family/b3.json", "cost.flops"),
    }
    [one] = [one for one in found if one["key"] == "cost.flops"]
    assert int(one["written"]) == int(one["computed"]) + 1
    assert command(["verify", str(copy)]) == 1
    said = capsys.readouterr()
    assert "family/b3.json" in said.out
    assert "cost.flops" in said.out
    assert command(["verify", str(copy), "--quiet"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def changed(data: Any, *path: Any) -> Any:
    *outer, last = path
    for key in outer:
        data = data[key]
    value = data[last]
    if isinstance(value, bool):
        data[last] = not value
    elif isinstance(value, int | float):
        data[last] = value + 1 if isinstance(value, int) else value + 1e-6
    else:
        data[last] = f"{value}x"
    return value


DERIVED: list[tuple[str, tuple[Any, ...], str]] = [
    ("front.json", ("points", 0, "cost", "params"), "points1.cost.params"),
    ("front.json", ("points", 0, "accuracy", "loss"), "points1.accuracy.loss"),
    ("front.json", ("points", 0, "provenance", "made_by"), "points1.provenance.made_by"),
    ("baseline.json", ("cost", "activations"), "cost.activations"),
    ("baseline.json", ("provenance", "test", "mean"), "provenance.test.mean"),
    ("baseline.json", ("provenance", "finals", "accuracy", "n"), "provenance.finals.accuracy.n"),
    ("baseline.json", ("provenance", "data", "fingerprint"), "provenance.data.fingerprint"),
    ("finalists.json", ("entries", 0, "score"), "entries1.score"),
    ("finalists.json", ("entries", 1, "cost", "flops"), "entries2.cost.flops"),
    ("finalists.json", ("entries", 0, "difference", "real"), "entries1.difference.real"),
    ("finalists.json", ("seed_to_seed_deviation",), "seed_to_seed_deviation"),
    ("finalists.json", ("test", "entries", 0, "accuracy", "mean"), "test.entries1.accuracy.mean"),
    ("coefficients.json", ("alpha",), "alpha"),
    ("coefficients.json", ("shares", "depth"), "shares.depth"),
    ("coefficients.json", ("compared", 0, "probability"), "compared1.probability"),
    ("coefficients.json", ("members", 2, "mean"), "members3.mean"),
    ("family/b7.json", ("stages", 0, "width"), "stages1.width"),
    ("family/b2.json", ("provenance", "phi"), "provenance.phi"),
    ("run.json", ("trials", "finished"), "trials.finished"),
    ("run.json", ("check", "kendall_tau"), "check.kendall_tau"),
    ("run.json", ("identity", "sampler"), "identity.sampler"),
]


@pytest.mark.parametrize(("name", "path", "key"), DERIVED)
def test_what_is_derived_is_computed_again(
    copy: Path, name: str, path: tuple[Any, ...], key: str
) -> None:
    """Even where every hash was made to fit."""
    data = load(copy / name)
    changed(data, *path)
    forge(copy, name, data)
    assert (name, key) in keys(copy)


@pytest.mark.parametrize(
    ("name", "path", "key"),
    [
        ("finalists.json", ("entries", 0), "entries1.accuracy.mean"),
        ("finalists.json", ("test", "entries", 0), "test.entries1.accuracy.mean"),
    ],
)
def test_one_evaluation_that_was_changed_is_found_without_the_study(
    copy: Path, name: str, path: tuple[Any, ...], key: str
) -> None:
    (copy / "study.log").unlink()
    data = load(copy / name)
    changed(data, *path, "runs", 0, "accuracy", "mean")
    forge(copy, name, data)
    assert (name, key) in keys(copy)


def test_a_front_that_lacks_a_point_is_not_the_front(copy: Path) -> None:
    data = load(copy / "front.json")
    del data["points"][-1]
    forge(copy, "front.json", data)
    assert "front.json" in {file for file, _ in keys(copy)}


def test_other_choices_are_found(copy: Path) -> None:
    """The coefficients chosen, and with them the whole family, made to be others."""
    data = load(copy / "coefficients.json")
    data |= {"alpha": 1.3, "beta": 1.1, "gamma": 1.1275}
    forge(copy, "coefficients.json", data)
    found = keys(copy)
    assert {file for file, _ in found} >= {"coefficients.json", "family/b1.json"}
    finals = load(copy / "finalists.json")
    names = [entry["name"] for entry in finals["entries"] if entry["trial"] is not None]
    finals["chosen"] = next(name for name in names if name != finals["chosen"])
    forge(copy, "finalists.json", finals)
    assert ("finalists.json", "chosen") in keys(copy)
    (copy / "study.log").unlink()  # and by the document alone
    assert ("finalists.json", "chosen") in keys(copy)


def test_a_corrected_accuracy_is_computed_again(predicted: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(predicted, tmp_path / "copy"))
    data = load(copy / "baseline.json")
    data["provenance"]["corrected"]["mean"] += 0.001
    data["accuracy"]["mean"] += 0.001
    forge(copy, "baseline.json", data)
    assert keys(copy) == {
        ("baseline.json", "provenance.corrected.mean"),
        ("baseline.json", "accuracy.mean"),
    }


def test_files_that_are_gone_and_files_of_others(copy: Path) -> None:
    (copy / "family" / "b5.json").unlink()
    (copy / "family" / "b9.json").write_text("{}")
    (copy / "notes.txt").write_text("mine")
    (copy / "checkpoints").mkdir()
    result = verified(copy)
    told = {(one.file, one.computed) for one in result.differences}
    assert ("family/b5.json", "no such file") in told
    assert [file for file, _ in told if file == "family/b9.json"]
    assert {note.split(":")[0] for note in result.notes} == {
        "family/b9.json",
        "notes.txt",
        "checkpoints/",
    }


def test_the_report_and_its_pictures_need_not_be_taken_along(copy: Path) -> None:
    before = verified(copy)
    (copy / "report.html").unlink()
    for path in copy.glob("*.svg"):
        path.unlink()
    after = verified(copy)
    assert after.differences == ()
    assert after.files < before.files
    assert [note for note in after.notes if "nas-search report" in note]


def test_a_folder_without_a_seal_differs(copy: Path) -> None:
    run = load(copy / "run.json")
    del run["sha256"]
    write_json(copy / "run.json", run)
    assert keys(copy) == {("run.json", "sha256")}


def test_the_last_digits_of_a_fraction_do_not_count() -> None:
    written = {"a": [0.1 + 0.2, 1e-17, 3], "b": None, "c": 2.0}
    computed = {"a": (0.3, 0.0, 3), "b": None, "c": 2}
    assert list(differing("f", written, computed)) == []
    for other in ({"a": [0.3, 0.0, 4]}, {"a": [0.3001, 0.0, 3]}, {"b": 0}, {"c": True}, {"d": 1}):
        assert list(differing("f", written, {**computed, **other})) != []


# ── Any byte ─────────────────────────────────────────────────────────────────────────────────────


def flipped(folder: Path, data: st.DataObject) -> None:
    """Change a byte of a file, and see that it is found; then change it back."""
    names = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"]
    path = data.draw(st.sampled_from(names))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    bits = data.draw(st.integers(1, 255))
    changed = bytearray(content)
    changed[place] ^= bits
    path.write_bytes(changed)
    try:
        found = {one.file for one in verified(folder).differences}
    except InputError:  # exit status 2
        found = {path.relative_to(folder).as_posix()}
    finally:
        path.write_bytes(content)
    assert path.relative_to(folder).as_posix() in found


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_byte_of_a_run_that_changes_is_found(trained: Path, data: st.DataObject) -> None:
    flipped(trained, data)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not COMMITTED:
        pytest.skip("results/ is not in a source distribution")
    folder = tmp_path_factory.mktemp("results")
    for path in COMMITTED:
        shutil.copytree(path, folder / path.name)
    return folder


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_byte_of_committed_results_that_changes_is_found(
    copies: Path, data: st.DataObject
) -> None:
    flipped(data.draw(st.sampled_from(sorted(copies.iterdir()))), data)


@pytest.mark.parametrize("name", ["run.json", "baseline.json", "study.log", "coefficients.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"a": 1}\n', b"[" * 200])
def test_whatever_a_file_holds_no_traceback(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    assert command(["verify", str(copy), "--quiet"]) == (2 if name == "run.json" else 1)


# ── Wrong input ──────────────────────────────────────────────────────────────────────────────────


def test_what_is_no_folder_of_results_is_one_line(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    other = tmp_path / "other"
    other.mkdir()
    write_json(other / "run.json", {"schema": "somebody-else/1"})
    for path in (tmp_path / "none", tmp_path / "file", tmp_path / "empty", other):
        assert command(["verify", str(path), "--quiet"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert str(path) in error


def test_an_unfinished_run_is_told_to_go_on(copy: Path, capsys: Captured) -> None:
    run = load(copy / "run.json") | {"status": "running"}
    del run["files"]
    write_json(copy / "run.json", run)
    assert command(["verify", str(copy), "--quiet"]) == 2
    assert "not finished" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "", "a\0b"])
def test_files_outside_are_not_looked_at(copy: Path, name: str) -> None:
    run = load(copy / "run.json")
    run["files"][name] = "0" * 64
    write_json(copy / "run.json", sealed(run))
    with pytest.raises(InputError, match="is not accepted"):
        verified(copy)


def test_a_space_that_is_not_known_here_is_a_note(copy: Path) -> None:
    run = load(copy / "run.json")
    run["space"] = "gone.toml"
    forge(copy, "run.json", run)
    result = verified(copy)
    assert result.differences == ()
    assert [note for note in result.notes if "gone.toml" in note]


def test_rewards_choose_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--budget", "400M-flops", "--trials", "12", "--no-scale", "--quiet"]
    assert command([*words, "--objective", "reward", "--out", str(out)]) == 0
    assert verified(out).differences == ()
    (out / "study.log").unlink()
    assert verified(out).differences == ()
    data = load(out / "baseline.json")
    worse = next(p for p in load(out / "front.json")["points"] if p["name"] != data["name"])
    assert worse["name"] != data["name"]
    data |= {key: worse[key] for key in worse if key != "provenance"}
    data["provenance"] |= {key: worse["provenance"][key] for key in ("trial", "choices")}
    forge(out, "baseline.json", data)
    assert ("baseline.json", "name") in keys(out)
