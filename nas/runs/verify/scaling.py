"""The evidence for compound scaling, computed again from the predictor."""

from __future__ import annotations

from collections.abc import Iterator

from nas.runs.reproduction.scaling import DATA, ScalingQuestion, scaling_evidence
from nas.runs.verify.json_diff import JsonDifference, differing
from nas.runs.verify.verified_folder import VerifiedFolder, VerifyStep


def scaling_parts(folder: VerifiedFolder) -> list[VerifyStep]:
    """Return what of the evidence can be computed again: all of it."""
    return [VerifyStep("directions and conclusions", DATA, lambda: _evidence(folder))]


def _evidence(folder: VerifiedFolder) -> Iterator[JsonDifference]:
    question = ScalingQuestion.shipped()
    if folder.document["identity"] != question.identity():
        folder.note("the folder was made with another predictor: nothing is recomputed")
        return
    yield from differing(DATA, folder.read(DATA), scaling_evidence(question))
