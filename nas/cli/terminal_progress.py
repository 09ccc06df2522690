"""The progress of a command on standard error, and what an interrupted command says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from nas.cli.progress_line import LiveLine, PlainLines, ShownPhase
from nas.errors import Interrupted, visible


class TerminalProgress:
    """Progress of a command: a live line on a terminal, plain lines in a pipe, nothing if quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        errors = Console(stderr=True, highlight=False, emoji=False)
        # Not what FORCE_COLOR says: colours may be forced upon a log, a cursor that moves may not.
        drawn = errors.file.isatty() and not errors.is_dumb_terminal
        self._shown = None if quiet else LiveLine(errors) if drawn else PlainLines(errors)
        self._phase: ShownPhase | None = None
        self._ended = True

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._shown is not None:
            self._shown.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the last phase."""
        if self._shown is not None:
            if kind is None:
                self._end()
            begun = not self._ended and self._phase is not None and self._phase.own > 0
            self._shown.stop(self._phase if begun else None)

    def phase(self, name: str, total: int | None, *, seconds: float | None = None) -> None:
        """Begin a phase of ``total`` steps, or as many as end in so many seconds."""
        if self._shown is None:
            return
        now = began = time.monotonic()
        name = visible(name)
        again = not self._ended and self._phase is not None and self._phase.name == name
        if again and self._phase is not None:
            began = self._phase.began  # now the total is known
        else:
            self._end()
        self._phase = ShownPhase(name, total, began, None if seconds is None else now + seconds)
        self._ended = False
        self._shown.began(self._phase, again)

    def advance(self, done: int, text: str = "", *, best: str = "") -> None:
        """Say how many more steps are done."""
        if self._shown is None or self._phase is None:
            return
        self._phase.step(done, visible(text), visible(best), time.monotonic())
        if self._phase.complete:
            self._end()
        elif not self._ended:
            self._shown.stepped(self._phase)

    def note(self, text: str) -> None:
        """Say something that stays."""
        if self._shown is not None:
            self._shown.say(visible(text))

    def _end(self) -> None:
        if not self._ended and self._phase is not None and self._shown is not None:
            self._shown.ended(self._phase)
        self._ended = True


@contextmanager
def resumable(folder: Path | None) -> Iterator[None]:
    """Say, where the user interrupts what runs inside, that its folder keeps finished work."""
    try:
        yield
    except KeyboardInterrupt:
        if folder is None:
            raise
        raise Interrupted(
            "interrupted; finished work is saved: rerun the command to resume"
        ) from None
