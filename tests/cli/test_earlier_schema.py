"""A folder that an earlier version of nas-search wrote: each command refuses it in one line."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

import nas
from nas.cli import _run as command

RUN, TRAINING = ("run.json", "nas-search-run"), ("history.json", "nas-search-training")
COMPARISON, TABLE = ("comparison.json", "nas-search-comparison"), ("table.json", "nas-search-table")
FIDELITY = ("fidelity.json", "nas-search-fidelity")
DISCOVERY = ("run.json", "nas-search-discovery-run")
KINDS = (RUN, TRAINING, COMPARISON, TABLE, FIDELITY, DISCOVERY)

READERS = (
    *((["status", "old"], RUN), (["resume", "old"], RUN), (["report", "old"], RUN)),
    *((["report", "old", "old"], RUN), (["events", "old"], RUN), (["events", "old"], TRAINING)),
    *(
        (["verify", "old"], kind)
        for kind in (RUN, TRAINING, COMPARISON, TABLE, FIDELITY, DISCOVERY)
    ),
)
WRITERS = (
    (["--budget", "400M-flops", "--no-scale", "--trials", "1"], RUN),
    (["train", "one.json"], TRAINING),
    (["compare", "one.json", "efficientnet-b0"], COMPARISON),
    (["table", "--space", "tiny", "--flops", "400K-900K", "--networks", "2"], TABLE),
    (
        ["fidelity", "--table", "rows.jsonl", "--space", "tiny", "--proxy", "zero-cost:params"],
        FIDELITY,
    ),
    (["reproduce", "b0"], DISCOVERY),
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = nas.load_space("tiny")
    drawn = [space.sample(random.Random(seed)) for seed in range(20)]
    nas.save_architecture(space.decode(drawn[0]), "one.json")
    rows = [json.dumps({"choices": choices, "accuracy": 0.5}) for choices in drawn]
    Path("rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    Path("old").mkdir()


def refused(words: list[str], kind: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    name, schema = kind
    path = Path("old", name)
    path.write_text(json.dumps({"schema": f"{schema}/1", "status": "finished"}), encoding="utf-8")
    before = path.read_bytes()
    assert command(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = [line for line in captured.err.splitlines() if line.startswith("nas-search: ")]
    assert captured.err.endswith(line + "\n")
    number = 3 if schema == RUN[1] else 2
    assert all(part in line for part in (str(path), f"{schema}/1", f"{schema}/{number}", "--out"))
    assert path.read_bytes() == before
    shutil.rmtree("old")


@pytest.mark.parametrize(("words", "kind"), READERS)
def test_readers(
    words: list[str], kind: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "events":
        pytest.importorskip("tensorboard")
    refused(words, kind, capsys)


@pytest.mark.parametrize(("words", "kind"), WRITERS)
def test_writers(
    words: list[str], kind: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*words, "--out", "old"], kind, capsys)
