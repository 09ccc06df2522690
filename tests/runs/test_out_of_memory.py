"""A training that needs more memory than there is: one line, and the folder is free again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import nas
from nas.cli import _run as command
from nas.errors import InputError, OutOfMemory
from nas.runs.training import train as training_life
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train
from nas.training.out_of_memory import is_out_of_memory
from nas.training.threads import Map
from nas.training.trainer import Trainer
from tests.support.colours import made_up

WORDS = [
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
    "CUDA out of memory. Tried to allocate 20.00 GiB.",
    "std::bad_alloc",
    "could not create a primitive",
]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    data = made_up()
    monkeypatch.setattr(training_life, "load_data", lambda *_: data)
    space = nas.load_space("tiny")
    network = space.decode({name: values[0] for name, values in space.choices.items()})
    return TrainSettings(network, "made up", tmp_path / "out", resolution=16, epochs=8)


def fails_at(monkeypatch: pytest.MonkeyPatch, step: int, error: Exception) -> None:
    original = Trainer.step

    def failing(self: Trainer, number: int, workers: Map) -> torch.Tensor:
        if number == step:
            raise error
        return original(self, number, workers)

    monkeypatch.setattr(Trainer, "step", failing)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("x"), *map(RuntimeError, WORDS)]
)
def test_errors_that_say_it(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shape '[2]' is invalid"), ValueError("memory")])
def test_other_errors(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("step", [0, 3])
def test_it_is_said_and_another_batch_size_is_accepted(
    settings: TrainSettings, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fails_at(patch, step, RuntimeError(WORDS[0]))
        with pytest.raises(OutOfMemory) as caught:
            train(settings)
    assert "batches of 64 images of 16 px" in str(caught.value)
    assert "--batch-size" in str(caught.value)
    assert "--resolution" in str(caught.value)
    assert not settings.folder.exists()
    trained = train(replace(settings, batch_size=16))
    assert trained.document.recipe.batch_size == 16


def test_what_has_been_trained_is_kept(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.training.trainer.SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        fails_at(patch, 5, RuntimeError(WORDS[0]))
        with pytest.raises(OutOfMemory):
            train(settings)
    with pytest.raises(InputError, match="batch_size differ"):
        train(replace(settings, batch_size=16))
    assert train(settings).document.status == "finished"


def test_a_training_killed_before_it_recorded_a_step_can_be_another(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    with monkeypatch.context() as patch:
        fails_at(patch, 1, KilledError())  # type: ignore[arg-type]
        with pytest.raises(KilledError):
            train(settings)
    assert settings.folder.is_dir()
    assert train(replace(settings, batch_size=16)).document.recipe.batch_size == 16


def test_the_command_prints_one_line(
    settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nas.save_architecture(settings.architecture, tmp_path / "network.json")
    fails_at(monkeypatch, 0, RuntimeError(WORDS[1]))
    arguments = ["train", str(tmp_path / "network.json"), "--out", str(settings.folder), "--quiet"]
    assert command(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
