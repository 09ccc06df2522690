"""Event files, read by TensorBoard's own reader and by its server."""

import json
import urllib.request
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import nas
import nas.report.tensorboard
from nas.cli import _run as command
from nas.environment import environment
from nas.evaluation.study import Study
from nas.evaluation.study_reader import read_study
from nas.evaluation.study_row import StudyRow
from nas.files import to_json
from nas.networks.cost import CONVENTION
from nas.records.training_document import (
    Normalisation,
    TrainingDocument,
    TrainingImages,
    TrainingScore,
)
from nas.report.tensorboard import EVENT_FILE, FOLDER, Scalar, Series, content, training_series
from nas.training.recipe import Recipe
from nas.training.schedule import TrainingSchedule
from nas.training.trainer import EpochMetrics

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.support.run_states import run_state

TRIALS = 12
RUN = ["--budget", "400M-flops", "--sampler", "random", "--no-scale", "--trials", str(TRIALS)]

B0 = nas.load_architecture("efficientnet-b0")
HISTORY = TrainingDocument(
    identity={},
    **environment(),
    architecture=B0.name,
    cost=nas.measure_cost(B0),
    convention=CONVENTION,
    data=TrainingImages(
        name="made up",
        classes=("a", "b"),
        images=(640, 64, 0),
        image_resolution=32,
        imbalance=1.0,
    ),
    normalisation=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
    resolution=32,
    stem_stride=1,
    recipe=Recipe(learning_rate=0.003),
    schedule=TrainingSchedule(
        steps=20, steps_per_epoch=10, validation_interval=5, resolutions=((0, 32),)
    ),
    device="cpu",
    threads=1,
    epochs=tuple(
        EpochMetrics(
            epoch=0.5 * look,
            learning_rate=0.01 / look,
            resolution=32,
            loss=2.0 / look,
            validation_loss=2.5 / look,
            validation_accuracy=0.2 * look,
            seconds=30.0,
            images_per_second=100.0,
        )
        for look in (1, 2, 3)
    ),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events") / "a run"
    assert command([*RUN, "--out", str(folder), "--quiet"]) == 0
    assert command(["events", str(folder), "--top", "5", "--quiet"]) == 0
    return folder


def read(folder: Path) -> Any:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = read(folder)
    return {
        tag: [(one.step, one.value) for one in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def choices(folder: Path) -> dict[str, Any]:
    """What the plugin of hyperparameters knows of a session."""
    data = read(folder).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = HParamsPluginData.FromString(data).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


def records(folder: Path) -> list[StudyRow]:
    study = json.loads((folder / "run.json").read_text())["phases"]["search"]["study"]
    return sorted(read_study(folder, study), key=lambda row: row.number)


def test_a_search_by_trial(run: Path) -> None:
    rows = records(run)
    found = scalars(run / FOLDER / "search")
    assert set(found) == {
        *("search/accuracy", "search/best so far", "search/FLOPs", "search/parameters"),
        "search/seconds",
    }
    for tag, value in (
        ("search/accuracy", lambda row: row.attrs["accuracy"]["mean"]),
        ("search/FLOPs", lambda row: row.attrs["cost"]["flops"]),
        ("search/parameters", lambda row: row.attrs["cost"]["params"]),
    ):
        assert [step for step, _ in found[tag]] == list(range(TRIALS))
        assert [one for _, one in found[tag]] == pytest.approx([value(row) for row in rows])
    best = [value for _, value in found["search/best so far"]]
    assert best == sorted(best)
    baseline = json.loads((run / "baseline.json").read_text())
    assert best[-1] == pytest.approx(baseline["accuracy"]["mean"])


def test_the_best_trials_have_their_choices(run: Path) -> None:
    rows = records(run)
    best = sorted(rows, key=lambda row: -(row.value or 0.0))[:5]
    folders = {path.name for path in (run / FOLDER / "trials").iterdir()}
    assert folders == {f"{row.number:04}" for row in best}
    for row in best:
        place = run / FOLDER / "trials" / f"{row.number:04}"
        assert choices(place) == dict(row.params)
        [(step, value)] = scalars(place)["trial/accuracy"]
        assert (step, value) == (row.number, pytest.approx(row.attrs["accuracy"]["mean"]))


def test_what_was_measured_on_the_way(tmp_path: Path) -> None:
    accuracy = {"mean": 0.5, "loss": 1.5}
    cost = {"flops": 9, "params": 8, "activations": 7}
    study = Study(tmp_path, "mine", {"stage1.kernel": [3, 5], "stage1.block": ["skip", "mbconv"]})
    params = {"stage1.kernel": 5, "stage1.block": "skip"}
    attrs = {"accuracy": accuracy, "cost": cost}
    study.add(StudyRow(0, params, "finished", 0.2, ((1, 0.1), (2, 0.2)), attrs))
    study.add(StudyRow(1, {}, "failed", None, (), {"accuracy": None, "reason": "x"}))
    state = run_state(phases={"search": {"study": "mine", "total": 9}})
    (tmp_path / "run.json").write_text(json.dumps(state))
    assert command(["events", str(tmp_path), "--quiet"]) == 0
    found = scalars(tmp_path / FOLDER / "trials" / "0000")
    assert found["trial/intermediate"] == [(1, pytest.approx(0.1)), (2, pytest.approx(0.2))]
    assert found["trial/loss"] == [(0, 1.5)]
    assert choices(tmp_path / FOLDER / "trials" / "0000") == params
    assert list(scalars(tmp_path / FOLDER / "search")["search/accuracy"]) == [(0, 0.5)]


def test_a_training(tmp_path: Path) -> None:
    HISTORY.write(tmp_path)
    assert command(["events", str(tmp_path), "--quiet"]) == 0
    place = tmp_path / FOLDER / "training"
    found = scalars(place)
    assert [step for step, _ in found["loss/training"]] == [5, 10, 15]
    assert found["accuracy/validation"][-1] == (15, pytest.approx(0.6))
    assert [one.wall_time for one in read(place).Scalars("loss/validation")] == [30, 60, 90]
    chosen = choices(place)
    assert chosen["architecture"] == "efficientnet-b0"
    assert (chosen["batch_size"], chosen["flip"], chosen["learning_rate"]) == (64, True, 0.003)
    assert "accuracy/test" not in found
    score = TrainingScore(accuracy=nas.Accuracy(0.55, 0.01), classes=(), confusion=None)
    last = training_series(HISTORY.updated(test=score)).scalars[-1]
    assert (last.tag, last.step, last.value) == ("accuracy/test", 15, 0.55)


def test_what_is_new_is_appended(tmp_path: Path) -> None:
    """A TensorBoard that has the file open goes on reading it."""
    path = tmp_path / FOLDER / "training" / EVENT_FILE
    sizes = []
    for looks in (1, 2, 3, 3):
        HISTORY.updated(epochs=HISTORY.epochs[:looks]).write(tmp_path)
        before = path.read_bytes() if sizes else b""
        inode = path.stat().st_ino if sizes else None
        assert command(["events", str(tmp_path), "--quiet"]) == 0
        assert path.read_bytes().startswith(before)
        assert inode in (None, path.stat().st_ino)
        sizes.append(path.stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3]
    assert len(scalars(path.parent)["loss/training"]) == 3
    # Another history is another file.
    HISTORY.updated(architecture="another").write(tmp_path)
    assert command(["events", str(tmp_path), "--quiet"]) == 0
    assert choices(path.parent)["architecture"] == "another"


def test_the_same_numbers_are_the_same_bytes(run: Path) -> None:
    before = {path: path.read_bytes() for path in (run / FOLDER).rglob(EVENT_FILE)}
    assert command(["events", str(run), "--top", "5", "--quiet"]) == 0
    assert {path: path.read_bytes() for path in (run / FOLDER).rglob(EVENT_FILE)} == before
    assert content(Series([Scalar("a", 1, 2.0, 3.0)])) == content(
        Series([Scalar("a", 1, 2.0, 3.0)])
    )


def test_trials_that_are_no_longer_among_the_best_go(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["events", str(run), "--top", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["out"] == str(run / FOLDER)
    there = {str(path) for path in (run / FOLDER).rglob("*") if path.is_file()}
    assert there == set(document["files"])
    assert len(there) == 3
    assert command(["events", str(run), "--top", "5"]) == 0
    assert f"tensorboard --logdir '{run / FOLDER}'" in capsys.readouterr().out


def test_verify_says_nothing_of_them(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["verify", str(run), "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"] == []
    assert not [note for note in found["notes"] if FOLDER in note]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "holds neither run.json nor history.json"),
        ({"run.json": "{"}, "not JSON"),
        ({"run.json": '{"schema": "mine"}'}, "schema"),
        ({"history.json": "{}"}, "history.json"),
        (
            {"history.json": to_json(HISTORY.updated(epochs=()).to_dict())},
            "nothing has been",
        ),
        ({"run.json": json.dumps(run_state())}, "nothing has been"),
    ],
)
def test_what_holds_no_numbers_is_one_line(
    files: dict[str, str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert command(["events", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert named in captured.err
    assert not (tmp_path / FOLDER).exists()


def test_without_tensorboard_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(nas.report.tensorboard, "import_module", missing)
    for line in (["events", str(tmp_path)], ["train", "efficientnet-b0", "--tensorboard"]):
        assert command(line) == 2
        assert capsys.readouterr() == (
            "",
            "nas-search: tensorboard is not installed: pip install 'nas-search[tensorboard]', "
            "or tensorboard itself\n",
        )


@pytest.fixture
def server(run: Path) -> str:
    with warnings.catch_warnings():  # of a library that TensorBoard brings along
        warnings.filterwarnings("ignore", "html5lib's sanitizer is deprecated", DeprecationWarning)
        program = import_module("tensorboard.program")
        board = program.TensorBoard()
    board.configure(
        argv=[
            *("tensorboard", "--logdir", str(run / FOLDER), "--load_fast=false"),
            *("--host", "127.0.0.1", "--port", "0", "--reload_interval", "0"),
        ]
    )
    return str(board.launch())


def asked(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_tensorboard_serves_them(run: Path, server: str) -> None:
    tags = asked(f"{server}data/plugin/scalars/tags")
    assert "search/best so far" in tags["search"]
    assert sum(name.startswith("trials/") for name in tags) == 5
    series = asked(f"{server}data/plugin/scalars/scalars?run=search&tag=search/accuracy")
    assert [step for _, step, _ in series] == list(range(TRIALS))
    experiment = asked(f"{server}data/plugin/hparams/experiment", {"experimentName": ""})
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert names == set(records(run)[0].params)
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert "trial/accuracy" in metrics
