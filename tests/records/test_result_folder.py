"""A folder of results: whose it is, what is left of it, and when it is sealed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import pytest

from nas.environment import environment
from nas.errors import InputError
from nas.files import sha256, to_json
from nas.records.document import SEAL, Document, sealed
from nas.records.result_folder import ResultFolder


class Toy(Document):
    """A document of a kind of its own."""

    KIND: ClassVar[str] = "toy"
    FILE: ClassVar[str] = "toy.json"
    SCHEMA: ClassVar[str] = "nas-search-toy/2"
    PRECEDED_BY: ClassVar[frozenset[str]] = frozenset({"early.json"})

    values: tuple[float, ...] = ()


TOY = Toy(identity={"seed": 0}, **environment(), values=(0.1, 2))


def test_what_is_saved_is_there_for_the_next(tmp_path: Path) -> None:
    with ResultFolder.open(tmp_path / "a" / "b", Toy) as results:
        assert results.before is None
        results.save(TOY)
        (results.path / "x.txt").write_text("x")
    with ResultFolder.open(tmp_path / "a" / "b", Toy) as results:
        assert results.before == TOY
        results.check_identity({"seed": 0})
        finished = results.finish(TOY, ["x.txt", "missing.txt"])
    assert Toy.read(tmp_path / "a" / "b") == finished
    assert finished.status == "finished"
    assert finished.files == {"x.txt": sha256(tmp_path / "a" / "b" / "x.txt")}


def test_only_what_is_finished_is_sealed(tmp_path: Path) -> None:
    with ResultFolder.open(tmp_path, Toy) as results:
        results.save(TOY)
        running = json.loads((tmp_path / "toy.json").read_text())
        results.finish(TOY, [])
    finished = json.loads((tmp_path / "toy.json").read_text())
    assert running == {
        "schema": "nas-search-toy/2",
        "status": "running",
        "identity": {"seed": 0},
        "values": [0.1, 2.0],
        **environment(),
    }
    assert finished == sealed(finished)
    assert list(finished) == [*running, "files", SEAL]


def test_without_a_path_nothing_is_left() -> None:
    with ResultFolder.open(None, Toy) as results:
        assert results.temporary
        results.finish(TOY, [])
    assert not results.path.exists()


@pytest.mark.parametrize("discard", [False, True])
def test_where_nothing_was_saved_no_folder_is_left(tmp_path: Path, discard: bool) -> None:
    with ResultFolder.open(tmp_path / "new" / "one", Toy) as results:
        if discard:
            results.save(TOY)
            results.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    with ResultFolder.open(tmp_path, Toy):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


def test_other_results_are_refused_by_what_differs(tmp_path: Path) -> None:
    with ResultFolder.open(tmp_path, Toy) as results:
        results.save(TOY.updated(identity={"seed": 0, "data": "a"}))
    with (
        ResultFolder.open(tmp_path, Toy) as results,
        pytest.raises(InputError, match="holds another run: seed, space differ"),
    ):
        results.check_identity({"seed": 1, "data": "a", "space": "b"})


def test_a_folder_with_files_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "early.json").write_text("{}")
    (tmp_path / ".hidden").write_text("")
    with ResultFolder.open(tmp_path, Toy) as results:
        assert results.before is None
    (tmp_path / "mine.txt").write_text("mine")
    with (
        pytest.raises(InputError, match=r"holds 'mine.txt' but no toy.json"),
        ResultFolder.open(tmp_path, Toy),
    ):
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_link_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link"), ResultFolder.open(folder, Toy):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_second_process_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    with (
        ResultFolder.open(tmp_path, Toy),
        pytest.raises(InputError, match=f"in use by another process \\(pid {os.getpid()} on "),
        ResultFolder.open(tmp_path, Toy),
    ):
        pass


def test_a_lock_of_a_process_that_ended_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("999999999")
    with ResultFolder.open(tmp_path, Toy):
        assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "family").mkdir()
    left = [tmp_path / ".toy.json.123.tmp", tmp_path / "family" / ".b1.json.123.tmp"]
    with ResultFolder.open(tmp_path / "family", Toy) as results:
        results.save(TOY)
    (tmp_path / "family" / "toy.json").rename(tmp_path / "toy.json")
    for path in left:
        path.write_text("half")
    with ResultFolder.open(tmp_path, Toy):
        assert not any(path.exists() for path in left)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"schema": "nas-search-toy/1"}', ["nas-search-toy/1", "nas-search-toy/2", "--out"]),
        ('{"schema": "nas-search-toy/3"}', ["nas-search-toy/3", "nas-search-toy/2", "--out"]),
        ('{"schema": "nas-search-run/3"}', ["nas-search-run/3", "nas-search-toy/2"]),
        ('{"schema": 2}', ["nas-search-toy/2"]),
        ("{}", ["schema", "nas-search-toy/2"]),
        ("[]", ["nas-search-toy/2"]),
        ('{"schema": "nas-search-toy/2", "status": "running"}', ["identity: missing key"]),
        (
            to_json(TOY.to_dict() | {"more": 1}),
            ["more: unknown key"],
        ),
    ],
)
def test_another_document_is_one_line(tmp_path: Path, content: str, told: list[str]) -> None:
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(InputError) as raised, ResultFolder.open(tmp_path, Toy):
        pass
    message = str(raised.value)
    assert message.count("\n") == 0
    assert str(tmp_path / "toy.json") in message
    assert all(part in message for part in told)
    assert (tmp_path / "toy.json").read_text() == content
