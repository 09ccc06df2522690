"""The command train: real trainings, tiny, on made-up images."""

import json
import math
import pkgutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import nas
import nas.training.initialisation
from nas.cli import _run as command
from nas.data import ImageData
from nas.errors import Diverged, InputError
from nas.export.random_network import random_network
from nas.networks.architecture_file import read_record
from nas.networks.weights_file import TrainedOn, read_weights, save_weights
from nas.records.beside import WEIGHTS
from nas.records.training_document import TrainingDocument
from nas.report.tensorboard import write_events
from nas.runs.training import train as training_life
from nas.runs.training.outcome import PICTURE
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import Trained, train
from nas.training import trainer as loop
from nas.training.recipe import Recipe, recipe_for
from tests.support.colours import CLASSES, made_up
from tests.support.silent import Silent

QUICK = Recipe(batch_size=16, learning_rate=6e-3, progressive_resizing=((0.0, 0.5), (0.5, 1.0)))

# All that draws random numbers, so that a resumed training could draw others.
RANDOM = replace(QUICK, stochastic_depth=0.3, cutout=0.25, cutmix=0.5, shards=2)


@pytest.fixture
def network() -> nas.Architecture:
    space = nas.load_space("tiny")
    return space.decode({name: values[0] for name, values in space.choices.items()})


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> ImageData:
    found = made_up()
    monkeypatch.setattr(training_life, "load_data", lambda *_: found)
    return found


@pytest.fixture
def settings(
    network: nas.Architecture, data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainSettings:
    monkeypatch.setattr(training_life, "recipe_for", lambda *_, **__: RANDOM)
    return TrainSettings(network, "made up", tmp_path / "out", resolution=16, epochs=3, test=True)


def tensors(file: Path) -> dict[str, torch.Tensor]:
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def untimed(trained: Trained) -> list[dict[str, Any]]:
    timed = ("seconds", "images_per_second")
    epochs = [asdict(epoch) for epoch in trained.document.epochs]
    return [{k: v for k, v in row.items() if k not in timed} for row in epochs]


def test_a_batch_is_never_more_than_all_images(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learning rate too is that of the batches there are."""
    monkeypatch.setattr(training_life, "recipe_for", recipe_for)
    found = train(replace(settings, batch_size=4096, epochs=2), Silent()).document
    assert found.recipe.batch_size == 96
    assert found.recipe.learning_rate == recipe_for(2, batch_size=96).learning_rate
    assert found.schedule.steps == 2


def test_a_grey_network_sees_a_users_images_in_grey(
    network: nas.Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def loaded(name: str, channels: int, *_: Any) -> ImageData:
        asked.append(channels)
        return made_up(channels=channels)

    monkeypatch.setattr(training_life, "load_data", loaded)
    grey = replace(network, in_channels=1)
    request = TrainSettings(grey, "mine", tmp_path / "out", resolution=16, epochs=1)
    assert train(request, Silent()).architecture.in_channels == 1
    assert asked == [1]


# ── Trainings ────────────────────────────────────────────────────────────────────────────────────


def test_what_is_written(settings: TrainSettings) -> None:
    trained = train(settings, Silent())
    folder = settings.folder
    kept = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert kept == {TrainingDocument.FILE, WEIGHTS, "architecture.json", PICTURE}
    assert (folder / PICTURE).read_bytes().startswith(b"\x89PNG")

    document = json.loads((folder / TrainingDocument.FILE).read_text())
    assert document == trained.document.to_dict()
    assert document["status"] == "finished"
    assert [row["epoch"] for row in document["epochs"]] == [1, 2, 3]
    assert [row["resolution"] for row in document["epochs"]] == [16, 16, 16]
    assert document["schedule"]["resolutions"] == [[0, 16]]
    assert document["test"]["accuracy"]["mean"] > 0.6
    assert document["test"]["accuracy"]["standard_error"] > 0
    assert document["test"]["accuracy"]["data"] == "made up (test)"
    assert document["validation"]["accuracy"]["n"] == 1
    assert [row["name"] for row in document["test"]["classes"]] == list(CLASSES)
    assert sum(row["support"] for row in document["test"]["classes"]) == 24
    last = document["epochs"][-1]
    assert document["validation"]["accuracy"]["loss"] == last["validation_loss"]

    record = read_record(folder / "architecture.json")
    assert (record.architecture.resolution, record.architecture.num_classes) == (16, 3)
    assert record.accuracy is not None
    assert record.accuracy.mean == document["test"]["accuracy"]["mean"]

    known = read_weights(folder / WEIGHTS)
    assert known.architecture == record.architecture
    assert known.trained_on is not None
    assert known.trained_on.classes == CLASSES
    assert known.trained_on.resolution == 16
    loaded = nas.load_weights(folder / WEIGHTS).eval()
    data = made_up()
    assert known.trained_on.mean == data.mean
    assert data.test_images is not None
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (data.mean, data.std))
    with torch.inference_mode():
        answers = loaded((data.test_images.float() / 255 - mean) / std).argmax(1)
    accuracy = float((answers == data.test_labels).double().mean())
    assert accuracy == pytest.approx(document["test"]["accuracy"]["mean"])


def test_it_learns_and_repeats_itself(settings: TrainSettings, tmp_path: Path) -> None:
    first = train(settings, Silent())
    again = train(replace(settings, out=tmp_path / "again"), Silent())
    assert untimed(first) == untimed(again)
    assert same(tensors(first.folder / WEIGHTS), tensors(again.folder / WEIGHTS))
    other = train(replace(settings, out=tmp_path / "other", seed=1), Silent())
    assert not same(tensors(first.folder / WEIGHTS), tensors(other.folder / WEIGHTS))
    losses = [row.loss for row in first.document.epochs]
    assert losses[-1] < losses[0]


class KilledError(Exception):
    """What a test stops a training with."""


def killed_in(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does not survive so many calls."""
    count = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == calls:
            raise KilledError
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize(
    ("place", "calls"),
    [
        ("nas.training.trainer.Trainer.step", 1),
        ("nas.training.trainer.Trainer.step", 4),
        ("nas.training.trainer.Trainer.step", 17),
        ("nas.training.trainer.Trainer._validate", 2),
        ("nas.training.checkpoint.write_bytes", 3),
        ("nas.training.checkpoint.write_json", 3),
        ("nas.runs.training.train.save_weights", 1),
        ("nas.runs.training.train.write_bytes", 1),
        ("nas.runs.training.train.shutil.rmtree", 1),
    ],
)
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(
    settings: TrainSettings, tmp_path: Path, place: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(replace(settings, out=tmp_path / "whole"), Silent())
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)  # after each step
    with monkeypatch.context() as patched:
        owner, _, name = place.rpartition(".")
        owner = pkgutil.resolve_name(owner)
        patched.setattr(owner, name, killed_in(calls, getattr(owner, name)))
        with pytest.raises(KilledError):
            train(settings, Silent())
    torch.manual_seed(99)
    resumed = train(settings, Silent())
    assert untimed(resumed) == untimed(whole)
    assert same(tensors(resumed.folder / WEIGHTS), tensors(whole.folder / WEIGHTS))
    for part in ("validation", "test"):
        assert getattr(resumed.document, part) == getattr(whole.document, part)
    one, other = (r.folder / "architecture.json" for r in (resumed, whole))
    assert one.read_bytes() == other.read_bytes()
    assert not (resumed.folder / "checkpoint").exists()


def test_a_resumed_training_does_not_do_again_what_is_saved(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    step = loop.Trainer.step
    monkeypatch.setattr(loop.Trainer, "step", killed_in(12, step))
    with pytest.raises(KilledError):
        train(settings, Silent())
    seen: list[int] = []

    def noted(self: loop.Trainer, number: int, workers: Any) -> torch.Tensor:
        seen.append(number)
        return step(self, number, workers)

    monkeypatch.setattr(loop.Trainer, "step", noted)
    train(settings, Silent())
    assert seen == list(range(11, 18))


def test_a_finished_training_is_not_done_again(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    untested = train(replace(settings, test=False), Silent())
    assert untested.document.test is None
    picture = (settings.folder / PICTURE).read_bytes()
    monkeypatch.setattr(loop.Trainer, "step", killed_in(1, loop.Trainer.step))
    again = train(replace(settings, test=False), Silent())
    assert again.document == untested.document
    tested = train(settings, Silent())  # only the test is missing
    assert tested.document.test is not None
    accuracy = tested.document.test.accuracy.mean
    assert accuracy > 0.6
    assert TrainingDocument.read(settings.folder) == tested.document
    # All that was written says so, as if it had been asked for at once.
    record = read_record(settings.folder / "architecture.json")
    assert record.accuracy is not None
    assert record.accuracy.metric.startswith("test accuracy")
    assert (settings.folder / PICTURE).read_bytes() != picture


def test_the_test_images_choose_nothing(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = train(settings, Silent())
    data = made_up()
    assert data.test_images is not None
    poisoned = replace(data, test_images=torch.zeros_like(data.test_images))
    monkeypatch.setattr(training_life, "load_data", lambda *_: poisoned)
    other = train(replace(settings, out=tmp_path / "other"), Silent())
    assert untimed(one) == untimed(other)
    assert same(tensors(one.folder / WEIGHTS), tensors(other.folder / WEIGHTS))
    assert one.document.test != other.document.test


def test_a_time_is_planned_for_and_a_resumed_run_keeps_the_plan(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(settings, epochs=None, seconds=3.0)
    shown = Silent()
    run = loop.Trainer.run
    monkeypatch.setattr(loop.Trainer, "run", killed_in(1, run))
    with pytest.raises(KilledError):
        train(request, shown)
    monkeypatch.setattr(loop.Trainer, "run", run)
    assert any(note.startswith("planned: ") for note in shown.notes)
    plan = TrainingDocument.read(request.folder).schedule
    assert plan.steps >= 1
    assert plan.seconds == 3.0
    assert plan.images_per_second
    monkeypatch.setattr(training_life, "measure_throughput", None)
    trained = train(request, Silent())
    assert trained.document.schedule == plan
    assert trained.document.epochs[-1].epoch == pytest.approx(plan.epochs, abs=1e-4)


@pytest.mark.parametrize("where", ["rate", "loss", "answers"])
def test_divergence_is_one_clear_end(
    settings: TrainSettings, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop.Trainer.step
    if where == "rate":
        recipe = replace(RANDOM, learning_rate=1e38)
        monkeypatch.setattr(training_life, "recipe_for", lambda *_, **__: recipe)
    elif where == "loss":
        monkeypatch.setattr(
            loop.Trainer, "step", lambda self, n, w: step(self, n, w) * (math.nan if n == 9 else 1)
        )
    else:
        monkeypatch.setattr(loop, "predict", lambda *_: torch.full((30, 3), math.inf))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    with pytest.raises(Diverged, match="the training diverged"):
        train(replace(settings, tensorboard=True), Silent())
    assert not settings.folder.exists()


def test_grey_images(settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_life, "load_data", lambda *_: made_up(channels=1))
    trained = train(settings, Silent())
    assert trained.architecture.in_channels == 1
    assert nas.load_weights(trained.folder / WEIGHTS).stem[0].in_channels == 1  # type: ignore[index]


# ── Weights and teachers ─────────────────────────────────────────────────────────────────────────


def weights_of(
    network: nas.Architecture, file: Path, classes: tuple[str, ...], stride: int = 2
) -> tuple[Path, nas.Architecture, TrainedOn]:
    arch = replace(
        network,
        num_classes=len(classes),
        resolution=16,
        stem=replace(network.stem, stride=stride),
    )
    known = TrainedOn((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 16, classes)
    save_weights(random_network(arch, 7), arch, file, trained_on=known)
    return file, arch, known


@pytest.mark.parametrize("classes", [("a", "b", "c", "d"), ("a", "b", "c"), CLASSES])
def test_training_begins_with_the_weights_of_a_file(
    settings: TrainSettings,
    tmp_path: Path,
    classes: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, _, known = weights_of(settings.architecture, tmp_path / "w.safetensors", classes)
    begun: list[dict[str, torch.Tensor]] = []
    run = loop.Trainer.run

    def noted(self: loop.Trainer, *args: Any) -> loop.TrainingState:
        begun.append({k: v.clone() for k, v in self.average.state_dict().items()})
        return run(self, *args)

    monkeypatch.setattr(loop.Trainer, "run", noted)
    trained = train(replace(settings, weights=file), Silent())
    [first] = begun
    theirs = tensors(file)
    head = [name for name in first if name.startswith("head.4")]
    assert all(torch.equal(first[name], theirs[name]) for name in first if name not in head)
    kept = classes == CLASSES  # a classifier of other classes says nothing of these
    mine, others = (named["head.4.weight"] for named in (first, theirs))
    assert (mine.shape == others.shape and torch.equal(mine, others)) == kept
    found = read_weights(trained.folder / WEIGHTS).trained_on
    assert found is not None
    pixels = found.image_resolution  # normalised as the weights know it
    assert found == replace(known, classes=CLASSES, image_resolution=pixels)


def test_a_teacher_changes_what_is_learned(settings: TrainSettings, tmp_path: Path) -> None:
    alone = train(settings, Silent())
    file, arch, _ = weights_of(settings.architecture, tmp_path / "t.safetensors", CLASSES, 1)
    taught = replace(
        settings, out=tmp_path / "taught", teacher=settings.architecture, teacher_weights=file
    )
    read, reads = nas.training.initialisation.read_weights, []

    def counted(path: Path) -> Any:
        reads.append(path)
        return read(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nas.training.initialisation, "read_weights", counted)
        timed = replace(taught, out=tmp_path / "timed", epochs=None, seconds=2.0)
        train(timed, Silent())
    assert reads == [file]  # once, for the measurement of the speed and the training
    pupil = train(taught, Silent())
    assert not same(tensors(alone.folder / WEIGHTS), tensors(pupil.folder / WEIGHTS))
    with pytest.raises(InputError, match="holds another run: temperature differ"):
        train(replace(taught, temperature=5.0), Silent())
    assert arch.stem.stride == 1


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("a", "b"), "the teacher has 2 classes, made up has 3"),
        (("a", "b", "c"), "the teacher's classes are a, b, c, made up's are red, green, blue"),
    ],
)
def test_a_teacher_of_other_classes_is_refused(
    settings: TrainSettings, tmp_path: Path, classes: tuple[str, ...], said: str
) -> None:
    file, _, _ = weights_of(settings.architecture, tmp_path / "t.safetensors", classes)
    with pytest.raises(InputError, match=said):
        train(replace(settings, teacher=settings.architecture, teacher_weights=file), Silent())
    assert not settings.folder.exists()


# ── The command ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def file(network: nas.Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    nas.save_architecture(network, "tiny.json")
    return "tiny.json"


def test_the_command(
    file: str, data: ImageData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["train", file, "--resolution", "16", "--epochs", "2", "--batch-size", "16"]
    assert command([*line, "--eval-test", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["out"].startswith("results/")
    assert found["status"] == "finished"
    assert 0 <= found["test"]["accuracy"]["mean"] <= 1
    assert command(line) == 0  # done already
    text = capsys.readouterr().out
    assert f"{found['test']['accuracy']['mean']:.4f} ±" in text
    assert all(word in text for word in ("precision", "recall", "F1", *CLASSES))
    assert command([*line, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    weights = f"{found['out']}/{WEIGHTS}"
    trained = f"{found['out']}/architecture.json"
    out = ["--to", "torch", "--out", "exported", "--quiet"]
    assert command(["export", trained, "--weights", weights, *out]) == 0
    exported = json.loads(Path("exported/export.json").read_text())
    assert exported["trained_on"]["classes"] == list(CLASSES)
    assert exported["trained_on"]["mean"] == found["normalisation"]["mean"]


@pytest.mark.parametrize("batch", ["16", "23"])  # an epoch is a whole number of steps, or not
def test_tensorboard_is_told_as_it_trains(
    batch: str, file: str, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = []

    def write(folder: Path) -> None:
        told.append(len(json.loads((folder / "history.json").read_text())["epochs"]))
        write_events(folder)

    monkeypatch.setattr(training_life, "write_events", write)
    line = ["train", file, "--resolution", "16", "--epochs", "3", "--batch-size", batch]
    assert command([*line, "--tensorboard", "--quiet", "--out", "out"]) == 0
    epochs = json.loads(Path("out/history.json").read_text())["epochs"]
    assert told == [*range(1, len(epochs) + 1), len(epochs)]
    found = EventAccumulator("out/tensorboard/training")
    found.Reload()
    losses = [one.value for one in found.Scalars("loss/training")]
    assert losses == pytest.approx([epoch["loss"] for epoch in epochs])


def test_divergence_is_exit_status_1(
    file: str, data: ImageData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["train", file, "--resolution", "16", "--epochs", "3"]
    monkeypatch.setattr(loop, "predict", lambda *_: torch.full((30, 3), math.nan))
    assert command([*line, "--quiet", "--out", "x"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "the training diverged" in captured.err
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "0"], "epochs: 0 is not accepted"),
        (["--epochs", "1", "--time", "5m"], "accepted: only one of them"),
        (["--time", "soon"], "time 'soon' is not accepted"),
        (["--resolution", "2"], "resolution: 2 is not accepted: 8 to 4,096"),
        (["--stem-stride", "3"], "stem-stride: 3 is not accepted: 1 to 2"),
        (["--batch-size", "1"], "batch-size: 1 is not accepted"),
        (["--learning-rate", "nan"], "learning-rate: nan is not accepted"),
        (["--teacher", "efficientnet-b0"], "need each other"),
        (["--temperature", "3"], "--temperature needs --teacher"),
        (["--device", "tpu"], "device 'tpu' is not accepted"),
        (["--weights", "none.safetensors"], "none.safetensors: no such file"),
        (["--data", "./none"], "none: no such file or folder"),
        (["--seed", "x"], "'--seed'"),
    ],
)
def test_wrong_input_is_one_line(
    file: str,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "--data" not in arguments:
        monkeypatch.setattr(training_life, "load_data", lambda *_: made_up())
    assert command(["train", file, "--out", "out", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.strip().splitlines()[-1].startswith("nas-search: ")
    assert not Path("out").exists()


def test_another_training_in_the_folder_is_refused(settings: TrainSettings) -> None:
    train(settings, Silent())
    for other, what in (
        (replace(settings, seed=1), "seed"),
        (replace(settings, epochs=4), "epochs"),
        (replace(settings, learning_rate=0.1), "learning_rate"),
        (replace(settings, stem_stride=2), "architecture"),
    ):
        with pytest.raises(InputError, match=f"holds another run: {what} differ"):
            train(other, Silent())
