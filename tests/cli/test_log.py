"""What ``-v`` shows, and that without it nothing is shown."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.cli import _run as command
from nas.cli.log import LIBRARY
from tests.support.terminal import SEARCH, in_a_pipe, on_a_terminal

Captured = pytest.CaptureFixture[str]

QUICK = [
    *("--space", "tiny", "--budget", "1M-flops", "--proxy", "zero-cost:params", "--trials", "3"),
    *("--no-scale", "--out", "r", "--quiet"),
]
LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING) (nas(?:\.\w+)+): \S")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def records(text: str) -> set[tuple[str, str]]:
    """Levels and loggers of what was shown, where every line is a record."""
    found = [LINE.match(line) for line in text.splitlines()]
    assert all(found), text
    return {match.groups() for match in found if match}


def test_the_log_is_shown_where_it_is_asked_for(capsys: Captured) -> None:
    assert command(QUICK) == 0
    assert capsys.readouterr() == ("", "")
    assert command(["report", "r", "--quiet", "-v"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert records(err) == {("INFO", "nas.report.write")}
    assert command(["report", "r", "--quiet"]) == 0  # only for the command that asks
    assert capsys.readouterr() == ("", "")
    assert LIBRARY.level == logging.NOTSET


def test_twice_shows_the_details_and_still_nothing_of_other_libraries(capsys: Captured) -> None:
    assert command([*QUICK, "-v"]) == 0
    once = records(capsys.readouterr().err)
    assert "DEBUG" not in {level for level, _ in once}
    for name in ("records.result_folder", "evaluation.study", "evaluation.scheduler"):
        assert ("INFO", f"nas.{name}") in once
    assert command([*QUICK, "--trials", "6", "-vv"]) == 0
    twice = records(capsys.readouterr().err)
    assert {("DEBUG", "nas.records.lock"), ("DEBUG", "nas.evaluation.scheduler")} <= twice


def test_an_evaluation_that_fails_is_a_warning(capsys: Captured) -> None:
    space = nas.load_space("tiny")
    choices = {name: values[0] for name, values in space.choices.items()}
    row = json.dumps({"choices": choices, "accuracy": 0.5})
    Path("t.jsonl").write_text(row + "\n", encoding="utf-8")
    nas.save_architecture(space.decode(choices), "known.json")
    words = [*QUICK, "--proxy", "table:t.jsonl", "--start", "known.json"]
    assert command([*words, "-v"]) == 0
    assert ("WARNING", "nas.evaluation.scheduler") in records(capsys.readouterr().err)


def test_it_goes_to_standard_error_beside_the_document(capsys: Captured) -> None:
    assert command([*QUICK, "--json", "-v"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("{")
    assert records(err)


def test_a_record_is_one_line_without_controls(capsys: Captured) -> None:
    Path("a\x1b[31m").mkdir()
    assert command([*QUICK[:-2], "a\x1b[31m", "-q", "-v"]) == 0
    assert "\x1b" not in capsys.readouterr().err


def test_a_live_line_stays_whole_below_the_log() -> None:
    seen = on_a_terminal([*SEARCH, "--trials", "20", "-v"], columns=100)
    assert seen.status == 0, "\n".join(seen.end)
    assert any(re.search(r" search  [━─]+  \d+/20 ", line) for line in seen.lines)
    shown = [line for line in seen.end if LINE.match(line)]
    assert any("nas.report.write" in line for line in shown)
    # What was live is gone: of each phase one line is left, and nothing shares a line with it.
    assert len([line for line in seen.end if " search " in line and "20/20" in line]) == 1
    assert not [line for line in seen.end if "━" in line]


def test_a_pipe_has_lines_of_both() -> None:
    done = in_a_pipe([*SEARCH, "--trials", "4", "-v"])
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert any(LINE.match(line) for line in lines)
    assert "search  0/4" in lines


def test_the_library_alone_prints_nothing() -> None:
    script = "import nas, logging; logging.getLogger('nas.x').error('a'); nas.load_space('tiny')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
