"""The main command on pictures of noise, with trainings of a few steps."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from PIL import Image

IMAGES_SEEN = 64
QUICK = f"TrainingSettings(width=0.5, resolution=16, images_seen={IMAGES_SEEN}, batch_size=16)"

# The command with trainings of a few steps.
SCRIPT = f"""
import nas.runs.schedule
from nas.cli import main
from nas.proxies.short_training import TrainingSettings
nas.runs.schedule.default_settings = lambda *of, **how: {QUICK}
nas.runs.schedule.final_settings = lambda settings, *of: settings
main()
"""


def draw_pictures(folder: Path) -> Path:
    """Fill a folder with class folders: coloured noise, 32 px."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for name, colour in (
            ("red", (190, 80, 80)),
            ("green", (80, 190, 80)),
            ("grey", (120,) * 3),
        ):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(rng.normal(colour, 70, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder


def words(pictures: Path, out: Path, *more: str, trials: int = 3) -> list[str]:
    """The command's arguments; finalists and the check are left out unless they are asked for."""
    return [
        *("--space", "tiny", "--budget", "1M-flops", "--data", str(pictures)),
        *(() if "--proxy" in more else ("--proxy", "training")),
        *("--trials", str(trials), "--jobs", "1", "--out", str(out)),
        "--no-train",
        *(() if "--coefficients" in more else ("--coefficients", "prior")),
        *(() if "--finalists" in more else ("--finalists", "0", "--no-check")),
        *more,
    ]


def process(arguments: list[str], script: str = SCRIPT) -> subprocess.Popen[str]:
    """The command in a process and a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def results(folder: Path) -> dict[str, bytes]:
    """The documents of a run, without times and machines."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.json"))
        if path.name != "run.json"
    }


def trials(folder: Path) -> list[list[Any]]:
    """What the studies hold, but for the seconds."""
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    )
    rows: list[list[Any]] = []
    for summary in optuna.get_all_study_summaries(storage):
        study = optuna.load_study(study_name=summary.study_name, storage=storage)
        for trial in study.trials:
            attrs = {k: v for k, v in trial.user_attrs.items() if k != "seconds"}
            rows.append([trial.state.name, trial.value, dict(trial.params), attrs])
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
