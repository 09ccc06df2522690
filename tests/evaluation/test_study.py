import errno
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage

import nas.evaluation.study
from nas.errors import InputError
from nas.evaluation.study import Study
from nas.evaluation.study_row import Param, StudyRow

CHOICES: dict[str, tuple[Param, ...]] = {
    "stage1.kernel": (3, 5),
    "stage1.se_ratio": (0.0, 0.25),
    "stage2.block": ("skip", "mbconv_k3_e6"),
    "stage3.width": (16,),
}

ROWS = (
    StudyRow(
        0,
        {
            "stage1.kernel": 5,
            "stage1.se_ratio": 0.0,
            "stage2.block": "skip",
            "stage3.width": 16,
        },
        "finished",
        0.1 + 0.2,  # a float that needs all its digits
        ((1, 0.25), (10, 1 / 3)),
        {"accuracy": {"mean": 0.3}, "reason": ""},
    ),
    StudyRow(
        2,
        {
            "stage1.kernel": 3,
            "stage1.se_ratio": 0.25,
            "stage2.block": "mbconv_k3_e6",
            "stage3.width": 16,
        },
        "stopped",
        None,
        ((1, 0.125),),
        {"accuracy": None, "reason": ""},
    ),
    StudyRow(
        1,
        {
            "stage1.kernel": 3,
            "stage1.se_ratio": 0.0,
            "stage2.block": "skip",
            "stage3.width": 16,
        },
        "failed",
        None,
        (),
        {"accuracy": None, "reason": "ValueError: a “reason” of\u2028any kind \x00 \ud800"},
    ),
)


def journal(folder: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(folder / "study.log")))


def location(kind: str, folder: Path) -> Path | str:
    return folder if kind == "journal" else f"sqlite:///{folder / 'study.db'}"


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_rows_come_back_exactly_and_open_with_optuna(kind: str, tmp_path: Path) -> None:
    where = location(kind, tmp_path)
    study = Study(where, "search", CHOICES)
    assert study.rows() == {}
    for row in ROWS:
        study.add(row)
    expected = {row.number: row for row in ROWS}
    assert study.rows() == expected
    again = Study(where, "search", CHOICES).rows()
    assert again == expected
    types = {name: type(value) for name, value in again[0].params.items()}
    assert types == {name: type(value) for name, value in ROWS[0].params.items()}

    theirs = optuna.load_study(
        study_name="search", storage=where if isinstance(where, str) else journal(tmp_path)
    )
    assert [trial.state.name for trial in theirs.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert theirs.best_value == 0.1 + 0.2
    assert theirs.best_params == ROWS[0].params
    assert theirs.trials[0].intermediate_values == {1: 0.25, 10: 1 / 3}
    assert theirs.trials[2].user_attrs["number"] == 1


def test_one_place_holds_several_studies(tmp_path: Path) -> None:
    Study(tmp_path, "search", CHOICES).add(ROWS[0])
    finals = Study(tmp_path, "finals", {})
    row = StudyRow(7, {}, "finished", 0.5, (), {})
    finals.add(row)
    assert Study(tmp_path, "finals", {}).rows() == {7: row}
    assert Study(tmp_path, "search", CHOICES).rows() == {0: ROWS[0]}


@pytest.mark.parametrize("left", [b'{"op_code": 4, "worker', b"\xff\xfe", b"{"])
def test_a_line_half_written_is_cut_off(left: bytes, tmp_path: Path) -> None:
    Study(tmp_path, "search", CHOICES).add(ROWS[0])
    whole = (tmp_path / "study.log").read_bytes()
    (tmp_path / "study.log").write_bytes(whole + left)
    study = Study(tmp_path, "search", CHOICES)
    assert study.rows() == {0: ROWS[0]}
    study.add(ROWS[1])
    assert Study(tmp_path, "search", CHOICES).rows() == {0: ROWS[0], 2: ROWS[1]}


def test_a_file_cut_anywhere_opens_with_the_rows_it_has_whole(tmp_path: Path) -> None:
    study = Study(tmp_path, "search", CHOICES)
    for row in ROWS:
        study.add(row)
    whole = (tmp_path / "study.log").read_bytes()
    for length in range(0, len(whole) + 1, 97):
        (tmp_path / "study.log").write_bytes(whole[:length])
        rows = Study(tmp_path, "search", CHOICES).rows()
        complete = max(0, whole[:length].count(b"\n") - 1)  # the first line makes the study
        assert list(rows) == [row.number for row in ROWS][:complete]


@pytest.mark.parametrize("name", ["study.log.lock", "study.log.lock1234.rename"])
@pytest.mark.parametrize("symbolic", [True, False])
def test_a_killed_owners_lock_is_no_hindrance(name: str, symbolic: bool, tmp_path: Path) -> None:
    Study(tmp_path, "search", CHOICES).add(ROWS[0])
    if symbolic:
        (tmp_path / name).symlink_to("nowhere")
    else:
        (tmp_path / name).touch()
    study = Study(tmp_path, "search", CHOICES)
    study.add(ROWS[1])
    assert sorted(study.rows()) == [0, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["study.log"]


def test_a_full_disk_is_one_line_and_what_was_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path, "search", CHOICES)
    study.add(ROWS[0])

    def full(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        with (tmp_path / "study.log").open("a") as stream:
            stream.write(json.dumps(logs[0])[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(InputError) as caught:
            study.add(ROWS[1])
    assert str(caught.value).startswith(f"storage {tmp_path / 'study.log'}: ")
    assert "No space left on device" in str(caught.value)
    assert study.rows() == {0: ROWS[0]}
    again = Study(tmp_path, "search", CHOICES)
    assert again.rows() == {0: ROWS[0]}
    again.add(ROWS[1])
    assert sorted(Study(tmp_path, "search", CHOICES).rows()) == [0, 2]


def test_places_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "study.log").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "study.log").write_text("not a journal\nat all\n")
    missing = tmp_path / "none" / "study.db"
    for where, named in (
        (tmp_path / "file" / "below", tmp_path / "file" / "below" / "study.log"),
        (tmp_path / "folder", tmp_path / "folder" / "study.log"),
        (tmp_path / "other", tmp_path / "other" / "study.log"),
        (f"sqlite:///{missing}", f"sqlite:///{missing}"),
        ("nosuch://host/base", "nosuch://host/base"),
    ):
        with pytest.raises(InputError) as caught:
            Study(where, "search", CHOICES)  # type: ignore[arg-type]
        message = str(caught.value)
        assert message.startswith(f"storage {named}: ")
        assert "\n" not in message
        assert len(message) < 400


@pytest.mark.parametrize(
    "url",
    [
        "nosuch://user:hunter2@host/base",
        "nosuch://user@host/base?password=hunter2",
        "nosuch://user:hunter2@host:port/base",
        "nosuch//user:hunter2@host",
        "user:hunter2",
        "",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    with pytest.raises(InputError, match="storage") as caught:
        Study(url, "search", CHOICES)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_drivers_message_that_holds_the_password_is_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(url: str, **_: object) -> None:
        raise RuntimeError(f"cannot connect to {url}")

    pytest.importorskip("psycopg")
    monkeypatch.setattr(optuna.storages, "RDBStorage", refuse)
    monkeypatch.setattr(nas.evaluation.study, "making_tables", lambda url: nullcontext())
    with pytest.raises(InputError, match="cannot connect") as caught:
        Study("postgresql://user:hunter2@host/base", "search", CHOICES)
    assert "hunter2" not in str(caught.value)


def test_somebody_elses_study_is_refused(tmp_path: Path) -> None:
    study = optuna.create_study(storage=journal(tmp_path), study_name="search")
    study.ask()
    with pytest.raises(InputError, match="study 'search'"):
        Study(tmp_path, "search", CHOICES)


def test_opening_a_study_again_changes_no_byte(tmp_path: Path) -> None:
    study = Study(tmp_path, "s", {"a": (1, 2)})
    study.add(StudyRow(0, {"a": 1}, "finished", 0.5, (), {}))
    before = (tmp_path / "study.log").read_bytes()
    assert Study(tmp_path, "s", {"a": (1, 2)}).rows() == study.rows()
    assert (tmp_path / "study.log").read_bytes() == before
