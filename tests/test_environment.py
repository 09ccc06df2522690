"""The device that is used where none is named."""

import pytest
import torch

from nas.cli.option_values import note_device
from nas.environment import chosen_device
from nas.errors import InputError
from tests.support.silent import Silent


@pytest.mark.parametrize("asked", [None, "auto"])
@pytest.mark.parametrize(
    ("cuda", "mps", "found"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_a_gpu_is_taken_where_there_is_one(asked, cuda, mps, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert chosen_device(asked) == found
    assert chosen_device("cpu") == "cpu"


def test_what_is_named_must_be_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="not available on this machine"):
        chosen_device("cuda:1")
    with pytest.raises(InputError, match="auto, cpu, cuda"):
        chosen_device("tpu")


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [(None, "cuda", True), ("cuda", "cuda", False), (None, "cpu", False)],
)
def test_a_device_that_was_found_is_said(asked, found, said):
    notes = []

    class Noted(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    note_device(Noted(), asked, found)
    assert bool(notes) is said
