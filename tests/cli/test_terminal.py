"""What a terminal and a pipe show: the live line, plain lines, tables, the end of the main job."""

import json
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from rich.console import Console

import nas.cli.progress_line
from nas.cli import _run as command
from nas.cli.app import app
from nas.cli.console import plain_table, print_facts, print_table
from nas.cli.file_descriptions import FILES, contents
from nas.cli.progress_line import (
    PlainLines,
    ShownPhase,
    clock,
    finished_line,
    live_line,
    pace,
    plain_line,
)
from nas.cli.summary import next_commands
from nas.cli.terminal_progress import TerminalProgress
from nas.progress import ALREADY
from tests.support.interrupted import resumable
from tests.support.terminal import COLUMNS, SCRIPT, SEARCH, in_a_pipe, on_a_terminal

COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)


# ── The whole command ────────────────────────────────────────────────────────────────────────────


def test_a_search_on_a_terminal_of_80_columns() -> None:
    seen = on_a_terminal([*SEARCH, "--trials", "40"])
    assert seen.status == 0, "\n".join(seen.end)
    assert max(map(len, seen.lines)) <= COLUMNS
    live = [line for line in seen.lines if re.search(r" search  [━─]+  \d+/40 ", line)]
    assert any(
        re.search(r"  \d+(\.\d)?/(s|min)  \d:\d\d left  best 0\.\d{4} at \d+M FLOPs$", line)
        for line in live
    ), seen.lines
    # One finished line is left of the phase, and nothing of the live one.
    [finished] = [line for line in seen.end if " search  " in line]
    assert re.match(
        r"✓ search  40/40  in \d+:\d\d  \d+(\.\d)?/(s|min)  best 0\.\d{4} at \d+M FLOPs", finished
    )
    assert len(seen.end) <= 45
    text = "\n".join(seen.end)
    assert re.search(r"budget +\d+M of 400M FLOPs \(\d+ %\), [\d.]+M parameters", text)
    assert re.search(r"accuracy +0\.\d{4} ± 0\.\d{4} ", text)
    names = {path.name for path in Path("r").iterdir() if not path.name.startswith(".")}
    pictures = {name for name in names if name.endswith((".png", ".svg"))}
    for name in names - pictures:
        assert re.search(rf"^  {re.escape(name)} +\w", text, re.MULTILINE), name
    for kind in ("png", "svg"):
        first, *_, last = sorted(name for name in pictures if name.endswith(kind))
        assert f"  {first} … {last}  " in text
    assert "…" not in text.replace(" … ", "")
    assert COLOUR.search(seen.sent)


def test_no_color_and_a_dumb_terminal() -> None:
    seen = on_a_terminal([*SEARCH, "--trials", "5"], NO_COLOR="1")
    assert seen.status == 0
    assert not COLOUR.search(seen.sent)
    seen = on_a_terminal([*SEARCH, "--trials", "10"], TERM="dumb")
    assert seen.status == 0
    assert b"\x1b" not in seen.sent
    assert any(line.startswith("search  10/10  in ") for line in seen.end)


def test_a_narrow_terminal_loses_nothing() -> None:
    seen = on_a_terminal([*SEARCH, "--trials", "30"], columns=60)
    assert seen.status == 0
    # Commands are to be copied whole.
    assert max(len(line) for line in seen.lines if not line.startswith("  nas-search ")) <= 60
    text = "\n".join(seen.end)
    assert "…" not in text.replace(" … ", "")
    baseline = json.loads(Path("r/baseline.json").read_text())
    assert f"* {baseline['name']}" in " ".join(text.split())


def test_ctrl_c_on_a_terminal_is_one_line() -> None:
    seen = on_a_terminal(
        [*SEARCH, "--trials", "100000"],
        when=lambda line: re.search(r" search .* 1?\d\d/100,000 ", line) is not None,
        then=b"\x03",
    )
    assert seen.status == 130
    assert resumable(seen.end[-1])
    assert re.match(r"search  [\d,]+/100,000  ", seen.end[-2])
    assert len(seen.end) == 2


def test_a_search_in_a_pipe_is_plain_lines() -> None:
    done = in_a_pipe([*SEARCH, "--trials", "60"], TERM="xterm-256color")
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr)
    told = done.stderr.splitlines()
    assert told[0] == "search  0/60"
    searched = r"search  60/60  in \d+:\d\d  \d+(\.\d)?/(s|min)  best 0\.\d{4} at \d+M FLOPs"
    assert re.match(searched, told[-2])
    assert told[-1] == "report"
    assert len(told) < 30  # not one a trial
    assert max(map(len, told)) <= COLUMNS


def test_quiet_and_json_in_a_pipe() -> None:
    quiet = in_a_pipe([*SEARCH, "--trials", "4", "--quiet"])
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    both = in_a_pipe([*SEARCH, "--trials", "4", "--quiet", "--json"])
    assert both.stderr == ""
    assert json.loads(both.stdout)["trials"] == {"finished": 4, "failed": 0}


def test_a_terminal_without_unicode() -> None:
    done = in_a_pipe([*SEARCH, "--trials", "4"], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        ["evaluate", "efficientnet-b0", "--proxy", "imagenet"],
        ["scale", "efficientnet-b0", "--phi", "1"],
    ):
        assert command([*line, "--quiet"]) == 0
        assert capsys.readouterr() == ("", "")
        assert command(line) == 0
        assert capsys.readouterr().out


# ── What is said while it runs ───────────────────────────────────────────────────────────────────


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    moment = [1000.0]
    monkeypatch.setattr(nas.cli.progress_line.time, "monotonic", lambda: moment[0])
    return moment


def test_rates_and_times() -> None:
    assert [pace(rate) for rate in (None, 0.0, 1234.5, 12.34, 0.5, 1 / 90, 1 / 7200)] == [
        *("", "", "1,234/s", "12.3/s", "30.0/min", "40.0/h", "0.5/h"),
    ]
    assert [clock(seconds) for seconds in (0, 7.4, 754, 3723)] == [
        *("0:00", "0:07", "12:34", "1:02:03"),
    ]


def test_a_phase_knows_its_rate_and_when_it_ends() -> None:
    phase = ShownPhase("search", 100, began=0.0)
    assert (phase.per_second, phase.left(5.0)) == (None, None)
    for second in range(1, 11):
        phase.step(2, "", "", float(second))
    assert phase.per_second == pytest.approx(2.0)
    assert phase.left(10.0) == pytest.approx(40.0)
    assert phase.left(15.0) == pytest.approx(35.0)  # it goes on while nothing ends
    assert phase.left(500.0) == 0.0


def test_a_phase_ends_when_its_time_does() -> None:
    phase = ShownPhase("search", 100, began=0.0, until=60.0)
    assert phase.left(10.0) == 50
    phase.step(20, "", "", 20.0)  # one a second: 80 more would take longer
    assert phase.left(20.0) == 40
    phase.step(60, "", "", 30.0)
    assert phase.left(30.0) == pytest.approx(7.5)


def test_what_an_earlier_session_did_is_no_speed() -> None:
    phase = ShownPhase("search", 100, began=0.0)
    phase.step(50, ALREADY, "0.5", 0.1)
    assert phase.per_second is None
    assert plain_line(phase, 0.1) == "search  50/100  best 0.5, already done"
    phase.step(1, "", "", 10.1)
    assert phase.per_second == pytest.approx(0.1)
    assert phase.left(10.1) == pytest.approx(490)
    assert plain_line(phase, 10.1) == "search  51/100  6.0/min  8:10 left  best 0.5"


def test_of_how_many_may_be_said_later() -> None:
    phase = ShownPhase("load mine", None, began=0.0)
    assert plain_line(phase, 1.0) == "load mine"
    phase.step(1_000, "of 50,000 images", "", 1.0)
    phase.step(3_000, "of 50,000 images", "", 2.0)
    assert plain_line(phase, 2.0) == "load mine  3,000 of 50,000 images  1,500/s"
    assert "load mine  3,000 of 50,000 images  1,500/s  0:02" in live_line(phase, 2.0, 79).plain


def test_the_rate_is_the_latest() -> None:
    phase = ShownPhase("search", 1_000, began=0.0)
    for second in range(1, 101):
        phase.step(1, "", "", float(second))
    for step in range(1, 61):
        phase.step(1, "", "", 100 + step / 10)
    assert phase.per_second == pytest.approx(10.0)


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("total", [None, 7, 150_000])
@pytest.mark.parametrize("name", ["search", "train efficientnet-d5649327, 20 epochs", "x" * 200])
def test_a_live_line_fits_any_width(name: str, total: int | None, ascii_only: bool) -> None:
    phase = ShownPhase(name, total, began=0.0)
    best = "0.4821 at 391M FLOPs, loss 1.512"
    for seconds in (0.0, 3.0, 9.0):
        for width in range(12, 160):
            for line in (live_line, finished_line):
                shown = line(phase, seconds, width, ascii_only=ascii_only)
                assert shown.cell_len <= width
                assert "\n" not in shown.plain
        phase.step(3, "3 failed", best, seconds + 1)
    shown = live_line(phase, 9.0, 79, ascii_only=ascii_only).plain
    if name == "search" and total:
        assert "best 0.4821 at 391M FLOPs" in shown
        assert " left" in shown
    assert shown.isascii() or not ascii_only


def test_a_pipe_is_told_of_what_is_new_and_not_more(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A search of 8,000 trials, 100 a second, that finds something better now and then."""
    with TerminalProgress() as show:
        show.phase("search", 8_000)
        for trial in range(1, 8_001):
            now[0] += 0.01
            better = trial in (1, 2, 30, 1_000, 1_010, 5_550)
            show.advance(1, best=f"0.{trial:04}" if better else "")
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "search  0/8,000"
    assert told[-1] == "search  8,000/8,000  in 1:20  100/s  best 0.5550"
    assert 8 <= len(told) <= 2 + 80 / nas.cli.progress_line.LATEST + 6
    done = [int(re.findall(r"([\d,]+)/8,000", line)[0].replace(",", "")) for line in told]
    assert min(after - before for before, after in pairwise(done)) >= 100
    # What is better is told within a second.
    found = dict(zip(done, told, strict=True))
    assert any(1_000 <= at <= 1_105 and "best 0.1010" in line for at, line in found.items())
    assert "best 0.5550" in found[5_550]


def test_slow_steps_are_told_one_by_one_when_they_are_better(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with TerminalProgress() as show:
        show.phase("search", 3)
        for trial, best in enumerate(("0.4", "0.5", "")):
            now[0] += 20
            show.advance(1, f"{trial} failed" if trial else "", best=best)
        show.note("a note")
        show.phase("load", None)
    assert capsys.readouterr().err.splitlines() == [
        "search  0/3",
        "search  1/3  3.0/min  0:40 left  best 0.4",
        "search  2/3  3.0/min  0:20 left  best 0.5, 1 failed",
        "search  3/3  in 1:00  3.0/min  best 0.5, 2 failed",
        "a note",
        "load",
    ]


def test_a_phase_that_ends_early_says_how_far_it_came(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with TerminalProgress() as show:
        show.phase("coefficients", None)
        show.phase("coefficients", 9)
        show.advance(4, ALREADY)
        now[0] += 0.5
        show.advance(1)
        show.phase("test", 1)
    assert capsys.readouterr().err.splitlines() == [
        "coefficients",
        "coefficients  4/9  already done",
        "coefficients  5/9  2.0/s  0:02 left",
        "test  0/1",
    ]


def test_lines_do_not_read_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress() as show:
        show.phase("load [bold]x[/bold]", None)
        show.note("[red]mine[/red] :bomb:")
    assert capsys.readouterr().err == "load [bold]x[/bold]\n[red]mine[/red] :bomb:\n"
    print_facts([("[red]", ":bomb: [/bold]")])
    assert capsys.readouterr().out == "[red]     :bomb: [/bold]\n"
    PlainLines(Console(stderr=True)).say("[link=x]")
    assert capsys.readouterr().err == "[link=x]\n"


# ── What is found ────────────────────────────────────────────────────────────────────────────────


def test_a_table_in_a_pipe_is_as_wide_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = plain_table("A title", ("name", "number"), left=("name",))
    table.add_row("x" * 200, "5")
    print_table(table)
    out = capsys.readouterr().out
    assert "x" * 200 in out
    assert "…" not in out


@pytest.mark.parametrize("listing", ["spaces", "budgets", "proxies", "samplers"])
def test_a_listing_in_a_pipe_is_a_line_each(
    listing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command([listing]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert command([listing, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]


def test_what_lies_in_a_folder(tmp_path: Path) -> None:
    for name in ("run.json", "b.png", "a.png", "mine.txt", ".lock", "odd/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for folder, files in {"family": ("b0.json", "b1.json", "b7.json"), "supernet": ("x",)}.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).touch()
    assert contents(tmp_path) == [
        ("family/b0.json … b7.json", FILES["family/*.json"]),
        ("run.json", FILES["run.json"]),
        ("supernet/", FILES["supernet/"]),
        ("a.png … b.png", FILES["*.png"]),
        ("mine.txt", ""),
        ("odd/x.json", ""),
    ]
    assert all(len(what) <= 52 for what in FILES.values())  # beside the longest name, in 80


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("data", [None, "my images/"])
def test_what_comes_next_are_commands(data: str | None, trained: bool) -> None:
    import shlex

    main = typer.main.get_command(app)
    for line in next_commands(
        Path("results/a run"), data, ["--groups", "a column", "--no-test"], trained=trained
    ):
        program, *words = shlex.split(line)
        assert program == "nas-search"
        context = main.make_context(program, words)
        name, sub, rest = main.resolve_command(  # type: ignore[attr-defined]
            context, [*context._protected_args, *context.args]
        )
        sub.make_context(name, rest, parent=context)
        assert any("results/a run" in word for word in words)


# ── Wrong use ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--budgett 4", "--budget"),
        ("verfy x", "Did you mean 'verify'"),
        ("cost", "Missing argument 'ARCH'; see nas-search cost --help"),
        ("cost a b", "(b)"),
        ("--trials many", "--trials"),
        ("--budget", "--budget"),
        ("train efficientnet-b0 --epoch 3", "--epochs"),
        ("compare", "ARCH"),
        ("export efficientnet-b0", "--to"),
        ("export efficientnet-b0 --to onnxx --out x", "onnx, torch, json"),
        ("import accel x", "--out"),
        ("status", "DIR"),
        ("status nowhere", "nowhere"),
        ("events nowhere", "nowhere"),
        ("events . --top -1", "top: -1"),
        ("spaces --paint", "--paint"),
        ("scale efficientnet-b0 --alpha x", "--alpha"),
        ("--json=3", "--json"),
        ("-x", "-x"),
        ("reproduce b1 --quiet", "b0"),
        ("--budget 400M-flops extra", "extra"),
        ("cost --resolution 3.5 efficientnet-b0", "--resolution"),
        ("fidelity", "--table"),
        ("table --out x", "--flops"),
        ("fit-predictor", "TABLE"),
        ("latency --batch x", "--batch"),
        ("verify", "DIR"),
        ("resume", "DIR"),
        ("evaluate", "ARCH"),
    ],
)
def test_wrong_use_is_one_line_and_2(
    line: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nas-search: ")
    assert captured.err.count("\n") == 1
    assert named in captured.err


COMMANDS = [c.name or str(c.callback.__name__) for c in app.registered_commands if c.callback]


def test_ctrl_c_in_any_command_is_one_line_and_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for info, name in zip(app.registered_commands, COMMANDS, strict=True):

        def stopped() -> None:
            raise KeyboardInterrupt

        stopped.__name__ = name
        monkeypatch.setattr(info, "callback", stopped)
    assert len(COMMANDS) >= 18
    for name in COMMANDS:
        assert command([name]) == 130
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert not resumable(captured.err)


def test_a_signal_is_ctrl_c() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *SEARCH, "--trials", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if re.match(r"search  [1-9]", line):
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert resumable(err)
