"""How the phases of a run share its time."""

from __future__ import annotations

from typing import Any

import pytest

from nas.budget import parse_budget
from nas.catalogue import load_space
from nas.plan import LATEST, shares, time_for
from nas.settings import Settings

SPACE, BUDGET = load_space("efficientnet"), parse_budget("400M-flops")
RUNS: list[dict[str, Any]] = [
    {"data": "mine"},
    {"data": "mine", "proxy": "training"},
    {"data": "mine", "finalists": 0, "check": False, "scale": False},
    {},
]


@pytest.mark.parametrize("run", RUNS)
def test_phases_that_end_in_time_have_what_was_planned(run: dict[str, Any]) -> None:
    settings = Settings(SPACE, BUDGET, seconds=1000.0, **run)
    parts = {name: part for name, part in shares(settings).items() if part}
    gone = 0.0
    for name, part in parts.items():
        seconds = time_for(settings, name, gone)
        assert seconds == pytest.approx(part * LATEST * 1000)
        gone += seconds
    assert gone == pytest.approx(LATEST * 1000)


def test_a_phase_that_is_late_leaves_the_others_some_time() -> None:
    settings = Settings(SPACE, BUDGET, seconds=1000.0, data="mine")
    gone = 700.0  # the supernet alone; planned were 307
    for name in ("search", "finals", "check", "grid"):
        seconds = time_for(settings, name, gone)
        assert seconds is not None
        assert seconds > 20
        gone += seconds
    assert gone == pytest.approx(LATEST * 1000)
    assert time_for(settings, "search", 2000.0) == 0


def test_without_a_limit_there_is_none() -> None:
    assert time_for(Settings(SPACE, BUDGET), "search", 1e9) is None
