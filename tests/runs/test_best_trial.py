"""Where trials tie, every command names the network that is in ``baseline.json``."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from nas.cli import _run as command
from nas.evaluation.study import Study
from nas.evaluation.study_reader import read_study
from nas.evaluation.trial import Trial, read_trials
from nas.progress import Progress
from nas.report.tensorboard import search_series
from nas.report.trial_columns import trials_of
from nas.runs.status import read_status
from nas.runs.trial_log import Teller
from nas.spaces.registry import load_space

TRIALS = 8
TINY = load_space("tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of networks that are all equally accurate."""
    folder = tmp_path_factory.mktemp("ties")
    names, values = list(TINY.choices), list(TINY.choices.values())
    with (folder / "table.jsonl").open("w") as stream:
        for own in itertools.product(*values):
            choices = dict(zip(names, own, strict=True))
            stream.write(json.dumps({"choices": choices, "accuracy": 0.5}) + "\n")
    out = folder / "run"
    words = ["--space", "tiny", "--budget", "10M-flops", "--proxy", f"table:{folder}/table.jsonl"]
    words += ["--sampler", "random", "--trials", str(TRIALS), "--no-scale", "--out", str(out)]
    assert command([*words, "--quiet"]) == 0
    return out


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def study_name(run: Path) -> str:
    return str(load(run / "run.json")["phases"]["search"]["study"])


@pytest.fixture(scope="module")
def trials(run: Path) -> list[Trial]:
    return read_trials(Study(run, study_name(run), TINY.choices), TINY)


@pytest.fixture(scope="module")
def best(run: Path, trials: list[Trial]) -> int:
    number = load(run / "baseline.json")["provenance"]["trial"]
    assert len(trials) == TRIALS
    assert {trial.score for trial in trials} == {0.5}
    cheapest = min(trials, key=lambda t: (t.cost.flops, t.cost.params, t.number))
    assert number == cheapest.number
    assert number != 0  # the earliest is another one
    return number


def test_status(run: Path, best: int) -> None:
    found = read_status(run).best
    assert found is not None
    assert found["number"] == best
    assert found["architecture"] == load(run / "baseline.json")["name"]


def test_events_of_tensorboard(run: Path, best: int) -> None:
    series = search_series(read_study(run, study_name(run)), top=1)
    assert set(series) == {"search", f"trials/{best:04}"}


def test_the_report_of_a_run_without_a_baseline(run: Path, best: int) -> None:
    columns = trials_of(read_study(run, study_name(run)), TINY, "study")
    place = columns.best()
    assert place is not None
    assert columns.numbers[place] == best


class Shown(Progress):
    """Keeps what it is told is the best."""

    def __init__(self) -> None:
        self.best = ""

    def advance(self, done: int, text: str = "", *, best: str = "") -> None:
        self.best = best


def test_the_line_of_progress(trials: list[Trial], best: int) -> None:
    one_by_one, resumed = Shown(), Shown()
    teller = Teller(one_by_one)
    for trial in trials:
        teller.trial(trial)
    Teller(resumed).resumed(trials)
    alone = Shown()
    Teller(alone).trial(next(trial for trial in trials if trial.number == best))
    assert one_by_one.best == resumed.best == alone.best != ""
