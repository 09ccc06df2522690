"""What the tests of runs share: pictures, and a run that nothing interrupted."""

from pathlib import Path

import pytest

from tests.support.job import draw_pictures, process, words
from tests.support.waiting import HANG


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders: coloured noise, 32 px."""
    return draw_pictures(tmp_path_factory.mktemp("data") / "noise of colour")


@pytest.fixture(scope="session")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("finished") / "a run"
    done = process(words(pictures, folder, "--quiet"))
    out, err = done.communicate(timeout=HANG)
    assert done.returncode == 0, err
    assert (out, err) == ("", "")  # quiet
    return folder
