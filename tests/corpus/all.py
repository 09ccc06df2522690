"""The corpus: hostile and broken input for everything that reads, each a named case, made anew.

A case writes its files into a box and says what meets them: words of the command line, or a
function. Status 2 is wrong input; 0 is said where what is given is odd, and in fact valid; 1 where
``verify`` finds what differs.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.corpus.architectures import architecture_cases
from tests.corpus.archives import archive_cases
from tests.corpus.case import Case
from tests.corpus.folders import folder_cases
from tests.corpus.images import image_cases
from tests.corpus.spaces import budget_cases, space_cases
from tests.corpus.tables import latency_cases, table_cases
from tests.corpus.weights import weight_cases


def cases() -> Iterator[Case]:
    """Yield the whole corpus."""
    yield from architecture_cases()
    yield from space_cases()
    yield from budget_cases()
    yield from table_cases()
    yield from latency_cases()
    yield from folder_cases()
    yield from archive_cases()
    yield from image_cases()
    yield from weight_cases()
