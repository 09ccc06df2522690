"""How EfficientNet-B0 was reproduced: all but the draws and searches, computed again."""

from __future__ import annotations

from collections.abc import Iterator

from nas.proxies.protocol import description
from nas.runs.reproduction.document import followed
from nas.runs.reproduction.evidence import Question
from nas.runs.verify.json_diff import JsonDifference, differing
from nas.runs.verify.verified_folder import VerifiedFolder, VerifyStep


def discovery_parts(folder: VerifiedFolder) -> list[VerifyStep]:
    """Return what of a reproduction can be computed again."""
    return [VerifyStep("networks and conclusions", "discovery.json", lambda: _documents(folder))]


def _documents(folder: VerifiedFolder) -> Iterator[JsonDifference]:
    data = folder.read("discovery.json")
    identity = folder.document["identity"]
    yield from differing("discovery.json", data["settings"], identity, "settings")
    question = Question()
    if identity["proxy"] != description(question.proxy):
        folder.notes.append(
            "the folder was made with another predictor: predictions are not recomputed"
        )
        return
    version = f"nas-search {folder.document['versions']['nas-search']}"
    for name, computed in followed(question, data).items():
        if "provenance" in computed:
            computed["provenance"]["made_by"] = version
        yield from differing(name, folder.read(name), computed)
    folder.notes.append(
        "which networks were drawn and found, and how many evaluations each sampler took, is not "
        "recomputed; nas-search reproduce b0 does that"
    )
