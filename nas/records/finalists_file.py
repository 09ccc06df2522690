"""``finalists.json`` of a run: the finalists beside the reference, and the test of the baseline."""

from __future__ import annotations

from nas.records.comparison_document import ComparedEntry, ComparisonPart


class FinalistEntry(ComparedEntry):
    """A finalist, or the reference.

    Attributes:
        trial: number of its trial in the search; None: it is the reference alone.
    """

    trial: int | None


class BaselineTest(ComparisonPart):
    """The baseline, and the reference if that is another network, on the test images."""

    entries: tuple[ComparedEntry, ...]
    against: str
    seed_to_seed_deviation: float | None


class FinalistsFile(ComparisonPart):
    """The content of ``finalists.json``.

    Attributes:
        entries: the finalists in the order of the search, then the reference, if it is another.
        reference: name of the network that differences are to.
        chosen: name of the baseline; None: none was chosen.
        tied: names of the finalists that are not significantly different from it (95 %).
        seed_to_seed_deviation: standard deviation of one accuracy from seed to seed, what a seed
            does to all networks alike taken out; None: not known.
        test: on images that chose nothing; None: not yet, or there are none.
    """

    entries: tuple[FinalistEntry, ...]
    reference: str
    chosen: str | None
    tied: tuple[str, ...]
    seed_to_seed_deviation: float | None
    test: BaselineTest | None
