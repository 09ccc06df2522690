"""Runs for reports: small ones, made quickly, and one with names that no page may believe."""

import json
import shutil
from pathlib import Path
from typing import Any

from nas.accuracy import Accuracy
from nas.cli import _run as command
from nas.evaluation.study import Study
from nas.evaluation.trial import Trial
from nas.networks.cost import measure_cost
from nas.records.run_state import study_name
from nas.report.run_folder import read_run
from nas.seeding import derived_rng
from nas.spaces.feasible import Feasible
from nas.spaces.search_space import SearchSpace
from tests.support.paths import ROOT
from tests.support.studies import trial_row

COMMITTED = ROOT / "results" / "cifar10-400M-flops"

PREDICTED = ["--budget", "400M-flops", "--proxy", "imagenet", "--no-scale", "--quiet"]

EVIL = "<script>alert(1)</script>"
ENDING = "</script><img src=x onerror=alert(2)>\u2028 ${x} %{y} &lt;b&gt;"


def predicted(folder: Path, trials: int = 40, seed: int = 0) -> Path:
    """Make a run on predicted accuracies, in seconds."""
    words = [*PREDICTED, "--trials", str(trials), "--seed", str(seed), "--out", str(folder)]
    assert command([*words, "--sampler", "random"]) == 0
    return folder


def complete(folder: Path, trials: int = 60) -> Path:
    """Make the committed run's folder whole again: with a study, of made-up accuracies.

    Its front and its baseline are kept, and are trials of the study.
    """
    shutil.copytree(COMMITTED, folder)
    run = read_run(folder)
    assert run.space is not None
    files = {record.provenance["trial"]: record for record in run.front or ()}
    assert run.baseline is not None
    files[run.baseline.provenance["trial"]] = run.baseline
    rows = _made_up(run.space, Feasible(run.space, run.budget), range(max([*files, trials]) + 1))
    document = json.loads((folder / "run.json").read_text())
    name = study_name(document["study"], "search", document["identity"])
    with Study(folder, name, run.space.choices) as study:
        for trial in rows:
            record = files.get(trial.number)
            if record is not None:
                accuracy = record.accuracy
                assert accuracy is not None
                trial = Trial(
                    trial.number, record.provenance["choices"], record.architecture, record.cost,
                    "finished", accuracy, accuracy.likelihood,
                )  # fmt: skip
            study.add(trial_row(trial))
    return folder


def _made_up(space: SearchSpace, feasible: Feasible, numbers: range) -> list[Trial]:
    """Return trials of random networks; every ninth failed, every tenth was stopped early."""
    rng = derived_rng("a made-up study")
    found = []
    for number in numbers:
        choices = feasible.sample(rng)
        architecture = space.decode(choices)
        cost = measure_cost(architecture)
        mean = round(0.2 + 0.25 * (cost.flops / 4e8) ** 0.5 + rng.uniform(0, 0.04), 4)
        accuracy = Accuracy(mean, 0.015, loss=2.3 - 2 * mean, metric="made up", proxy="supernet")
        state: Any = "failed" if number % 9 == 8 else "stopped" if number % 10 == 9 else "finished"
        known = accuracy if state == "finished" else None
        score = None if known is None else known.likelihood
        reason = "ValueError: odd" if state == "failed" else ""
        trial = Trial(number, choices, architecture, cost, state, known, score, reason=reason)
        found.append(trial)
    return found


def renamed(folder: Path, names: tuple[str, str] = (EVIL, ENDING)) -> Path:
    """Give what has a name in a folder names that no page may believe."""
    for path in (folder / "baseline.json", folder / "front.json", *(folder / "family").glob("*")):
        data = json.loads(path.read_text())
        for at, one in enumerate(data.get("points", [data])):
            one["name"] = names[at % 2]
            if one["accuracy"]:
                one["accuracy"]["metric"] = names[0]
                one["accuracy"]["data"] = names[1]
        path.write_text(json.dumps(data))
    finals = json.loads((folder / "finalists.json").read_text())
    for at, entry in enumerate(finals["entries"]):
        entry["name"] = names[at % 2] + str(at)
    (folder / "finalists.json").write_text(json.dumps(finals))
    run = json.loads((folder / "run.json").read_text())
    run["notes"] = list(names)
    run["command"]["data"] = names[0]
    run["data"]["name"] = names[1]
    run["versions"]["torch"] = names[0]
    (folder / "run.json").write_text(json.dumps(run))
    return folder
