"""Networks trained alike: which differences are real, computed again from their evaluations."""

from __future__ import annotations

from collections.abc import Iterator

from nas.networks.architecture import efficientnet_b0
from nas.records.comparison_document import ComparisonDocument
from nas.runs.comparison import OBJECTIVE, STUDY
from nas.runs.verify.json_diff import JsonDifference, counted, differing
from nas.runs.verify.verified_folder import (
    VerifiedFolder,
    VerifyStep,
    runs_of,
)
from nas.strategies.comparison import SeededComparison

FILE = ComparisonDocument.FILE


def comparison_parts(folder: VerifiedFolder) -> list[VerifyStep]:
    """Return what of ``comparison.json`` can be computed again."""
    folder.notes.append("the networks are not in the folder: their costs are not recomputed")
    document = ComparisonDocument.from_dict(folder.document, str(folder.path / FILE))
    return [
        VerifyStep("differences", FILE, lambda: _differences(folder, document)),
        VerifyStep("study", FILE, lambda: _study(folder, document)),
    ]


def _differences(folder: VerifiedFolder, document: ComparisonDocument) -> Iterator[JsonDifference]:
    """What is said of the networks follows from their evaluations."""
    data, entries = folder.document, document.entries
    keys = document.identity["networks"]
    yield from differing(FILE, len(entries), len(keys), "entries")
    yield from counted(FILE, data["entries"], "entries")
    comparison = SeededComparison.of([entry.measured.rescored(OBJECTIVE) for entry in entries])
    for key, computed in comparison.to_dict(against=len(entries) - 1).items():
        yield from differing(FILE, data[key], computed, key)


def _study(folder: VerifiedFolder, document: ComparisonDocument) -> Iterator[JsonDifference]:
    """The evaluations are those of the study, where that is there."""
    with folder.study(STUDY) as study:
        if study is None:
            return
        # Which networks they are does not matter to what was measured of them.
        networks = [efficientnet_b0()] * len(document.entries)
        runs = runs_of(networks, study, OBJECTIVE, document.identity["seed"], STUDY)
        for index, (entry, found) in enumerate(
            zip(document.entries, runs.all_measured(), strict=True), 1
        ):
            theirs = [run.to_dict() for run in entry.runs]
            measured = [run.to_dict() for run in found.runs]
            yield from differing(FILE, theirs, measured, f"entries{index}.runs")
