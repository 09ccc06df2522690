"""What ``-v`` shows: the log of the library, on standard error."""

from __future__ import annotations

import logging
import sys

import typer

from nas.errors import visible

LIBRARY = logging.getLogger("nas")


class StandardError(logging.Handler):
    """Writes to what ``sys.stderr`` is at that time, which while a line is live is above it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record on a line of its own, with nothing in it that a terminal obeys."""
        try:
            print(visible(self.format(record)), file=sys.stderr)
        except Exception:
            self.handleError(record)


_HANDLER = StandardError()
_HANDLER.setFormatter(
    logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
)


def show_log(context: typer.Context, verbosity: int) -> int:
    """Show the log while a command runs: from INFO on if asked for once, from DEBUG on if twice."""
    if verbosity and not context.resilient_parsing:
        LIBRARY.addHandler(_HANDLER)
        LIBRARY.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
        context.call_on_close(_hide)
    return verbosity


def _hide() -> None:
    LIBRARY.removeHandler(_HANDLER)
    LIBRARY.setLevel(logging.NOTSET)
