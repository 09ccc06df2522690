"""Standard streams that are closed, and accounts without a home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MAIN = "from nas.cli import main; main()"
RUN = "--space tiny --budget 5M-flops --proxy zero-cost:flops --trials 2 --no-scale --out"


def shell(words: str, streams: str, where: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell that closes some of its streams."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {words} {streams}', sys.executable, MAIN],
        capture_output=True,
        text=True,
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(streams: str, tmp_path: Path) -> None:
    done = shell("spaces", streams, tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr


def test_a_run_with_all_streams_closed_writes_the_same_files(tmp_path: Path) -> None:
    assert shell(f"{RUN} closed", "<&- >&- 2>&-", tmp_path).returncode == 0
    assert shell(f"{RUN} open --quiet", "", tmp_path).returncode == 0
    for name in ("baseline.json", "front.json"):
        assert (tmp_path / "closed" / name).read_bytes() == (tmp_path / "open" / name).read_bytes()


@pytest.mark.parametrize("home", ["nonexistent/home", "file"])
def test_a_home_that_cannot_be_written(home: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "nonexistent").write_text("")
    variables = {"HOME": str(tmp_path / home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    done = shell(f"{RUN} run --quiet", "", tmp_path, **variables)
    assert (done.returncode, done.stderr) == (0, "")
