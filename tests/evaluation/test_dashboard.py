"""Optuna Dashboard opens a run's study: what it answers over HTTP."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import pytest

from nas.cli import _run as command
from nas.evaluation.study import Study
from nas.evaluation.study_row import StudyRow

optuna_dashboard = pytest.importorskip("optuna_dashboard")

TRIALS = 6
RUN = ["--budget", "400M-flops", "--sampler", "random", "--no-scale", "--trials", str(TRIALS)]


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None: ...


@contextmanager
def served(storage: str) -> Iterator[str]:
    """The dashboard of a storage, on a free port of this machine."""
    app = optuna_dashboard.wsgi(storage)  # a file name or a URL, as its command takes it
    with make_server("127.0.0.1", 0, app, handler_class=_Silent) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def answer(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as got:
        assert got.status == 200
        return json.loads(got.read())


@pytest.fixture(scope="module", params=["study.log", "sqlite"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A finished run, and where its study is kept."""
    folder = tmp_path_factory.mktemp("dashboard") / "run"
    if request.param == "study.log":
        where, more = str(folder / "study.log"), []
    else:
        where = f"sqlite:///{folder.parent / 'study.db'}"
        more = ["--storage", where]
    assert command([*RUN, "--out", str(folder), *more, "--quiet"]) == 0
    return folder, where


def test_a_run_is_a_study_that_it_shows(run: tuple[Path, str]) -> None:
    folder, where = run
    baseline = json.loads((folder / "baseline.json").read_text())
    with served(where) as url:
        with urllib.request.urlopen(f"{url}/dashboard") as page:
            assert b"<title>Optuna Dashboard</title>" in page.read()
        [study] = answer(f"{url}/api/studies")["study_summaries"]
        assert study["directions"] == ["maximize"]
        found = answer(f"{url}/api/studies/{study['study_id']}")
    assert found["name"] == study["study_name"]
    assert found["objective_names"] == ["accuracy"]
    assert [trial["state"] for trial in found["trials"]] == ["Complete"] * TRIALS
    [best] = found["best_trials"]
    assert best["values"] == [baseline["accuracy"]["mean"]]
    for trial in found["trials"]:
        attrs = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert attrs["architecture"].startswith("efficientnet-")
        assert int(attrs["flops"]) <= 400_000_000
        assert int(attrs["params"]) > 0
        assert float(attrs["accuracy_mean"]) == trial["values"][0]
    choices = {one["name"]: one["param_external_value"] for one in best["params"]}
    assert choices == {k: str(v) for k, v in baseline["provenance"]["choices"].items()}
    # What it can sort and draw by.
    numbers = {one["key"] for one in found["union_user_attrs"] if one["sortable"]}
    assert {"flops", "params", "accuracy_mean", "seconds"} <= numbers


def test_a_study_made_before_metrics_were_named_goes_on(tmp_path: Path) -> None:
    row = StudyRow(0, {"k": 3}, "finished", 0.5, (), {"architecture": "a"})
    old = Study(tmp_path, "old", {"k": [3, 5]})
    old.add(row)
    new = Study(tmp_path, "old", {"k": [3, 5]}, metric="accuracy")
    assert new.rows() == {0: row}
    new.add(StudyRow(1, {"k": 5}, "stopped", None, ((1, 0.1),), {"architecture": "b"}))
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(
            str(tmp_path / "study.log"),
            optuna.storages.journal.JournalFileOpenLock(str(tmp_path / "study.log")),
        )
    )
    study = optuna.load_study(study_name="old", storage=storage)
    assert study.metric_names is None
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    with served(str(tmp_path / "study.log")) as url:
        found = answer(f"{url}/api/studies/0")
    assert [trial["state"] for trial in found["trials"]] == ["Complete", "Pruned"]
    assert "objective_names" not in found
