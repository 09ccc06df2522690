"""What shows how far something is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

ALREADY = "already done"
"""The text of steps that an earlier session has done; they say nothing of the speed."""


class Progress(Protocol):
    """What shows a run's progress; phases come one after the other."""

    def phase(self, name: str, total: int | None, *, seconds: float | None = None) -> None:
        """Begin a phase of ``total`` steps, or as many as end in so many seconds."""
        ...

    def advance(self, done: int, text: str = "", *, best: str = "") -> None:
        """Say how many more steps are done, with a few words on the state.

        Of a phase without a total: how many in all. ``best`` is the best found so far, in a few
        words; empty: the same as before.
        """
        ...

    def note(self, text: str) -> None:
        """Say something that stays."""
        ...


class SilentProgress:
    """A progress that shows nothing: notes go to this module's logger, and are kept.

    Attributes:
        notes: what was said, in its order.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def phase(self, name: str, total: int | None, *, seconds: float | None = None) -> None:
        """Do nothing."""

    def advance(self, done: int, text: str = "", *, best: str = "") -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Log and keep a note."""
        self.notes.append(text)
        logger.info("%s", text)


def shown_as(progress: Progress, phase: str) -> Callable[[int, int, str], None]:
    """Return what shows, as a phase, how many of how many are done."""
    shown: int | None = None

    def tell(done: int, total: int, text: str) -> None:
        nonlocal shown
        if shown is None:
            progress.phase(phase, total)
            text = ALREADY
        if done > (shown or 0):
            progress.advance(done - (shown or 0), text)
        shown = max(done, shown or 0)

    return tell
