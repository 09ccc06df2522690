"""Hostile and broken input: one clear line, in bounds; nothing run, nothing else touched."""

import resource
from collections import Counter
from pathlib import Path

import pytest

from tests.corpus.all import cases
from tests.corpus.box import SECONDS, Box, meet, tally
from tests.corpus.case import Case

CASES = list(cases())


def named(case: Case) -> str:
    text = f"{case.reader}: {case.name}"
    return text.encode("unicode_escape").decode()


def test_every_reader_has_its_cases() -> None:
    names = [named(case) for case in CASES]
    assert len(set(names)) == len(names) >= 300


@pytest.mark.parametrize("case", CASES, ids=named)
def test_hostile_input(case: Case, tmp_path: Path) -> None:
    box = Box.make(tmp_path / "box")
    outcome = meet(box, case.make(box))
    assert outcome.faults(*case.statuses) == []


@pytest.mark.soak
def test_no_hostile_input_takes_long(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """All cases, each of at most SECONDS; prints how many of each reader, and what came of them."""
    outcomes = []
    for case in CASES:
        box = Box.make(tmp_path_factory.mktemp("box") / "box")
        outcomes.append(meet(box, case.make(box)))
        assert outcomes[-1].faults(*case.statuses) == [], named(case)
    readers = Counter(case.reader.split(",")[0] for case in CASES)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    with capsys.disabled():
        print(f"\n{', '.join(f'{name} {count}' for name, count in readers.items())}")
        print(f"{tally(outcomes)}; at most {most:,} MiB in memory")
    assert not [one for one in outcomes if one.seconds > SECONDS]
