"""Networks trained alike: which differences are real, computed again from what is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

from nas.accuracy import Accuracy, pooled
from nas.evaluation.objective import Objective
from nas.evaluation.seeded_runs import SeededRuns
from nas.files import validate
from nas.networks.architecture import efficientnet_b0
from nas.runs.verify.json_diff import Difference, counted, differing
from nas.runs.verify.result_folder import Part, Written, rounds_of
from nas.statistics import Difference as Gap
from nas.statistics import compare, t_quantile

COMPARISON = "comparison.json"
STUDY = "comparison"

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Entry(BaseModel):
    """A network of a comparison, as it is written."""

    name: str
    flops: Annotated[int, Field(strict=True, ge=1)]
    score: _Finite | None
    accuracy: Accuracy | None
    reason: str
    trial: int | None = None

    @property
    def count(self) -> int:
        """Of how many trainings its score is."""
        return 0 if self.accuracy is None else self.accuracy.n


class Entries(BaseModel):
    """What is written of a comparison, whichever its document."""

    entries: Annotated[list[Entry], Field(min_length=1)]
    seed_to_seed_deviation: Annotated[_Finite, Field(ge=0)] | None

    def place(self, name: str) -> int:
        """Return where an entry of that name stands; raise ValueError where there is none."""
        return [entry.name for entry in self.entries].index(name)

    def gap(self, one: int, other: int) -> Gap | None:
        """Return by how much one entry is more accurate than another, with its interval.

        None where that needs the single trainings: not all networks had the same seeds.
        """
        accuracies = [entry.accuracy for entry in self.entries]
        seeds = {accuracy and accuracy.seeds for accuracy in accuracies}
        first, second = accuracies[one], accuracies[other]
        if len(seeds) > 1 or first is None or second is None:
            return None
        networks, n = len(accuracies), first.n
        freedom = (networks - 1) * (n - 1)
        half = None
        if self.seed_to_seed_deviation is not None and freedom:
            half = t_quantile(freedom) * self.seed_to_seed_deviation * math.sqrt(2 / n)
        return Gap(first.mean - second.mean, half)


_ENTRIES: TypeAdapter[Entries] = TypeAdapter(Entries)


def entries_of(data: Any, file: str) -> Entries:
    """Return what is written of a comparison.

    Raises:
        InputError: it is none.
    """
    return validate(_ENTRIES, data, file)


def gaps(file: str, data: dict[str, Any], against: str, key: str = "") -> Iterator[Difference]:
    """Yield where a comparison's differences to one of its entries do not follow from the rest."""
    comparison = entries_of(data, file)
    reference = comparison.place(against)
    # Where somebody has more seeds, the scores of the others are as if they had had them too.
    single = all(entry.count <= 1 for entry in comparison.entries)
    for index, written in enumerate(data["entries"]):
        gap = None if index == reference else comparison.gap(index, reference)
        where = f"{key}entries{index + 1}"
        if gap is not None or index == reference:
            yield from differing(file, written["difference"], gap_dict(gap), f"{where}.difference")
        one = comparison.entries[index]
        if single and one.accuracy is not None and one.accuracy.loss is not None:
            yield from differing(file, one.score, one.accuracy.likelihood, f"{where}.score")


def gap_dict(gap: Gap | None) -> dict[str, Any] | None:
    """Return a difference as it is written."""
    if gap is None:
        return None
    half = gap.half_width
    return {
        "mean": gap.mean,
        "ci95": None if half is None else [gap.mean - half, gap.mean + half],
        "real": gap.real,
    }


def comparison_parts(written: Written) -> list[Part]:
    """Return what of ``comparison.json`` can be computed again."""
    written.notes.append("the networks are not in the folder: their FLOPs are taken as written")
    return [
        Part("differences", COMPARISON, lambda: _differences(written)),
        Part("study", COMPARISON, lambda: _study(written)),
    ]


def _differences(written: Written) -> Iterator[Difference]:
    document = written.document
    keys, names = document["identity"]["networks"], [one["name"] for one in document["entries"]]
    yield from differing(COMPARISON, len(names), len(keys), "entries")
    yield from differing(COMPARISON, document["against"], names[-1], "against")
    yield from gaps(COMPARISON, document, names[-1])
    yield from counted(COMPARISON, document["entries"], "entries")


def _study(written: Written) -> Iterator[Difference]:
    """Compute the entries again from the single trainings, where their study is there."""
    document = written.document
    count = len(document["entries"])
    with written.study(STUDY) as study:
        if study is None:
            return
        # Which networks they are does not matter to what was measured of them.
        networks, objective = [efficientnet_b0()] * count, Objective("accuracy", "loss")
        rounds = rounds_of(networks, study, objective, document["identity"]["seed"], STUDY)
        yield from _entries(document, rounds)


def _entries(document: dict[str, Any], rounds: SeededRuns) -> Iterator[Difference]:
    everyone: Sequence[int] = range(len(document["entries"]))
    found = [rounds.accuracies(index) for index in everyone]
    scores = compare([rounds.scores(index) for index in everyone])
    means = compare([{turn: one.mean for turn, one in own.items()} for own in found])
    deviation = document["seed_to_seed_deviation"]
    yield from differing(COMPARISON, deviation, means.deviation, "seed_to_seed_deviation")
    for index, entry in enumerate(document["entries"]):
        accuracy = pooled(list(found[index].values())).to_dict() if found[index] else None
        measured = {
            "score": scores.means[index],
            "accuracy": accuracy,
            "reason": rounds.reason(index),
        }
        theirs = {key: entry[key] for key in measured}
        yield from differing(COMPARISON, theirs, measured, f"entries{index + 1}")
