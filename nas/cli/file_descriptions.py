"""What each file of a results folder is, in a few words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FILES = {
    "report.html": "report on one page",
    "baseline.json": "best network within the budget",
    "baseline.safetensors": "its trained weights",
    "exported/": "the trained network for another library",
    "family/*.json": "scaled family; b0 is the baseline",
    "front.json": "Pareto front, accuracy against FLOPs",
    "finalists.json": "best networks and references, trained alike",
    "coefficients.json": "(α, β, γ), and how far the evidence decides them",
    "weights.safetensors": "trained weights",
    "architecture.json": "architecture of the trained network",
    "history.json": "loss and accuracy by epoch, metrics by class",
    "discovery.json": "evidence: numbers, differences, limits",
    "scaling.json": "directions of growth compared, and the best",
    "comparison.json": "accuracies and differences, with intervals",
    "fidelity.json": "rank correlation of the proxy",
    "table.jsonl": "benchmark table, one training per line",
    "table.json": "settings and data of the table",
    "export.json": "what was exported, compared with the original",
    "latency.json": "latency table that the budget refers to",
    "space.toml": "search space, made around the network of the weights",
    "run.json": "command, seeds, versions, times, hashes",
    "study.log": "Optuna study: every trial, needed to resume",
    "tensorboard/": "event files for tensorboard --logdir",
    "training/": "training of the baseline, by epoch",
    "supernet/": "shared weights that ranked the candidates",
    "checkpoint/": "checkpoint, to resume the training",
    "*.png": "plots",
    "*.svg": "the same plots as vector graphics",
}
"""Files, and folders that are listed as a whole, in the order of the listing."""


def contents(folder: Path) -> list[tuple[str, str]]:
    """Return the files of a folder, each with its description; hidden files are left out.

    Files of one kind share a line: ``family/b0.json … b7.json``.
    """
    listed: set[str] = set()
    found = []
    for pattern, what in FILES.items():
        names = sorted(_matching(folder, pattern) - listed)
        listed |= set(names)
        if names:
            last = names[-1].rpartition("/")[2]
            found.append((names[0] if len(names) == 1 else f"{names[0]} … {last}", what))
    return found + [(name, "") for name in sorted(set(_names(folder)) - listed)]


def _matching(folder: Path, pattern: str) -> set[str]:
    if pattern.endswith("/"):
        return {pattern} if (folder / pattern).is_dir() else set()
    return {path.relative_to(folder).as_posix() for path in folder.glob(pattern)}


def _names(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path.name
        elif f"{path.name}/" in FILES:
            yield f"{path.name}/"
        else:
            yield from (
                one.relative_to(folder).as_posix() for one in path.rglob("*") if one.is_file()
            )
