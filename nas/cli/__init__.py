"""The command ``nas-search``: parses, calls what does the work, and prints the result."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import cast

import typer

from nas.errors import (
    Diverged,
    EvaluationFailed,
    InputError,
    Interrupted,
    Lost,
    NotEquivalent,
    one_line,
)

__all__ = ["main"]

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    _open_closed_streams()
    signal.signal(signal.SIGTERM, _interrupt)  # preemption is Ctrl-C by other means
    # Where there is no home it says at length that fonts are found anew each time.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal knows α or ±
    sys.exit(_run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """Open the standard streams that are closed, as services leave them.

    Before any file is opened: it would get the number of one of them, and be written to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _run(arguments: list[str]) -> int:
    from nas.cli.app import app

    if isinstance(sys.stdout, TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    # Click's exception, or that of typer's own copy of click.
    usage_error = cast(type[Exception], typer.BadParameter.__mro__[2])
    try:
        code = app(arguments, standalone_mode=False, prog_name="nas-search")
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer takes Ctrl-C for itself
            raise KeyboardInterrupt
        return int(code or DONE)
    except Lost as error:
        return _say(error, FAILED)
    except InputError as error:
        return _say(error, WRONG_INPUT)
    except usage_error as error:
        context = getattr(error, "ctx", None)
        path = "nas-search" if context is None else context.command_path
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return _say(f"{message}; see {path} --help", WRONG_INPUT)
    except (EvaluationFailed, NotEquivalent, Diverged) as error:
        return _say(error, FAILED)
    except Interrupted as error:
        return _say(error, INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted; nothing was saved: rerun the command to start again", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output is gone; what is left to flush must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(message: object, code: int) -> int:
    print("nas-search:", one_line(message), file=sys.stderr)
    return code
