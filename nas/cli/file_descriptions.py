"""What the files of a folder are, in a few words: the one place that knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FILES = {
    "report.html": "all of it on one page, to look at",
    "baseline.json": "the best within the budget: a network on its own",
    "family/*.json": "the family; b0 is the baseline",
    "front.json": "the Pareto front, accuracy against FLOPs",
    "finalists.json": "the best of the search, trained alike",
    "coefficients.json": "every (α, β, γ) evaluated, and the one chosen",
    "weights.safetensors": "the weights; no pickle",
    "architecture.json": "the network that they belong to",
    "history.json": "losses and accuracies by epochs, and by classes",
    "discovery.json": "the evidence: numbers, differences, limits",
    "comparison.json": "accuracies and differences, with intervals",
    "fidelity.json": "how far the proxy can be trusted",
    "table.jsonl": "the benchmark table, a training a line",
    "table.json": "what the table was made of",
    "export.json": "what was exported, and how it compares with the original",
    "latency.json": "how long the blocks take, which the budget means",
    "run.json": "command, seeds, versions, times, hashes",
    "study.log": "every trial: for optuna-dashboard, and to go on from",
    "tensorboard/": "for tensorboard --logdir",
    "supernet/": "the shared weights that ranked the candidates",
    "checkpoint/": "what an interrupted training goes on from",
    "*.png": "pictures, for papers",
    "*.svg": "the same, to scale",
}
"""Files, and folders of which the content does not matter, in the order in which they are told."""


def contents(folder: Path) -> list[tuple[str, str]]:
    """Return what lies in a folder, and what each of it is; hidden files are left out.

    Several files that are the same thing are told at once: ``family/b0.json … b7.json``.
    """
    told: set[str] = set()
    found = []
    for pattern, what in FILES.items():
        names = sorted(_matching(folder, pattern) - told)
        told |= set(names)
        if names:
            last = names[-1].rpartition("/")[2]
            found.append((names[0] if len(names) == 1 else f"{names[0]} … {last}", what))
    return found + [(name, "") for name in sorted(set(_names(folder)) - told)]


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
