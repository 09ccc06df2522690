"""Coefficients of a run by published trainings and by its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import nas.runs.coefficients
import nas.runs.schedule
from nas.cli import _run as command
from nas.errors import InputError
from nas.progress import SilentProgress
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.report.document import run_document
from nas.report.run_folder import read_run
from nas.report.scaling_plot import draw_triangle
from nas.runs.verify.verify import Verification, verify
from tests.support.documents import ROOT
from tests.support.job import IMAGES_SEEN, draw_pictures, load, results, words

MEASURED = ("--coefficients", "training")


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Trainings of a few steps, of networks of next to nothing."""
    candidate = TrainingSettings(width=0.5, resolution=16, images_seen=IMAGES_SEEN, batch_size=16)

    def lengths(data: object, pixels: int, images: float) -> tuple[TrainingSettings, ...]:
        return tuple(
            TrainingSettings(
                width=1.0, resolution=pixels, images_seen=count, batch_size=16, checks=()
            )
            for count in (16, 32)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nas.runs.schedule, "default_settings", lambda *of, **how: candidate)
        patch.setattr(nas.runs.schedule, "final_settings", lambda settings, *of: settings)
        patch.setattr(nas.runs.schedule, "grown_settings", lengths)
        patch.setattr(nas.runs.schedule, "GROWN_FLOPS", 1e5)
        # After two steps all are at chance level.
        patch.setattr(nas.runs.coefficients, "at_chance", lambda *of: False)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, quick: None) -> Path:
    folder = tmp_path_factory.mktemp("growth")
    pictures = draw_pictures(folder / "pictures")
    assert command(words(pictures, folder / "run", "--quiet", *MEASURED)) == 0
    return folder / "run"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def verified(folder: Path) -> Verification:
    return verify(folder, SilentProgress())


def test_each_network_is_trained_for_each_length(finished: Path) -> None:
    coefficients = load(finished / "coefficients.json")
    training = coefficients["training"]
    assert len(training["points"]) == 12
    assert not training["with_resolution"]
    for point in training["points"]:
        assert [run["images_seen"] for run in point["runs"]] == [16, 32]
        assert point["shares"]["resolution"] == 0
        assert 4 < point["flops"] / training["flops"] < 11
    assert "24 own trainings on pictures" in coefficients["evidence"]["kind"]
    assert 0 <= training["moved"] <= 1
    run = load(finished / "run.json")
    assert run["identity"]["coefficients"] == "training"
    assert set(run["phases"]) >= {"coefficients-16", "coefficients-32"}


def test_all_of_it_is_verified_with_the_study_and_without(copy: Path) -> None:
    assert verified(copy).differences == ()
    (copy / "study.log").unlink()
    assert verified(copy).differences == ()


def test_the_report_has_it_and_the_picture_marks_it(finished: Path, copy: Path) -> None:
    written = load(finished / "coefficients.json")
    assert run_document(read_run(finished))["scaling"]["training"] == written["training"]
    assert draw_triangle(written) != draw_triangle({**written, "training": None})
    (copy / "study.log").unlink()
    data = json.loads((copy / "coefficients.json").read_text())
    data["training"]["flops"] += 1
    (copy / "coefficients.json").write_text(json.dumps(data))
    found = {(one.file, one.key) for one in verified(copy).differences}
    assert ("coefficients.json", "training.flops") in found


def test_the_same_command_again_trains_nothing(
    finished: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*of: object, **more: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(TrainingProxy, "_train_and_score", trained)
    before = results(copy)
    pictures = finished.parent / "pictures"
    assert command(words(pictures, copy, "--quiet", *MEASURED)) == 0
    assert results(copy) == before


def test_what_was_killed_in_between_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, out = finished.parent / "pictures", tmp_path / "killed"
    train, count = TrainingProxy._train_and_score, 0

    def dies(self: TrainingProxy, *of: object, **more: object) -> object:
        nonlocal count
        count += 1
        if count == 3 + 17:
            raise KeyboardInterrupt
        return train(self, *of, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProxy, "_train_and_score", dies)
        assert command(words(pictures, out, "--quiet", *MEASURED)) == 130
    assert not (out / "coefficients.json").exists()
    assert command(words(pictures, out, "--quiet", *MEASURED)) == 0
    whole = load(finished / "coefficients.json")
    assert load(out / "coefficients.json") == whole


def test_a_network_that_cannot_grow_leaves_the_prior(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuses(*of: object) -> None:
        raise InputError("skips do not grow")

    monkeypatch.setattr(nas.runs.growth, "grown_networks", refuses)
    pictures = finished.parent / "pictures"
    assert command(words(pictures, tmp_path / "out", *MEASURED)) == 0
    assert "no growth is measured: skips do not grow" in capsys.readouterr().err
    assert load(tmp_path / "out" / "coefficients.json")["training"] is None
    assert verified(tmp_path / "out").differences == ()


def test_other_evidence_is_another_run(
    finished: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = finished.parent / "pictures"
    assert command(words(pictures, copy, "--quiet", "--coefficients", "prior")) == 2
    assert ": coefficients " in capsys.readouterr().err


def test_the_committed_run_measured_growth() -> None:
    folder = ROOT / "results" / "cifar10-400M-flops"
    if not folder.exists():
        pytest.skip("results/ is not in a source distribution")
    training = load(folder / "coefficients.json")["training"]
    assert [run["images_seen"] for run in training["points"][0]["runs"]] == [5_000, 15_000]
