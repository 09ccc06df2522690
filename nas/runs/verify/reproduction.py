"""How EfficientNet-B0 was reproduced: all but the draws and searches, computed again."""

from __future__ import annotations

from collections.abc import Iterator

from nas.proxies.protocol import description
from nas.runs.reproduction.document import followed
from nas.runs.reproduction.evidence import Question
from nas.runs.verify.json_diff import JsonDifference, differing
from nas.runs.verify.result_folder import VerifyStep, Written


def discovery_parts(written: Written) -> list[VerifyStep]:
    """Return what of a reproduction can be computed again."""
    return [VerifyStep("networks and conclusions", "discovery.json", lambda: _documents(written))]


def _documents(written: Written) -> Iterator[JsonDifference]:
    data = written.read("discovery.json")
    identity = written.document["identity"]
    yield from differing("discovery.json", data["settings"], identity, "settings")
    question = Question()
    if identity["proxy"] != description(question.proxy):
        written.notes.append(
            "the folder was made with another predictor: predictions are not recomputed"
        )
        return
    version = f"nas-search {written.document['versions']['nas-search']}"
    for name, computed in followed(question, data).items():
        if "provenance" in computed:
            computed["provenance"]["made_by"] = version
        yield from differing(name, written.read(name), computed)
    written.notes.append(
        "which networks were drawn and found, and how many evaluations each sampler took, is not "
        "recomputed; nas-search reproduce b0 does that"
    )
