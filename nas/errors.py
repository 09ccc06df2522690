"""What is said when the input, not the program, is at fault."""

from __future__ import annotations

import math


class InputError(ValueError):
    """Wrong input: one line that names the file, key or value and what is accepted.

    The command prints it without a traceback and ends with exit status 2.
    """


class Lost(InputError):
    """What is to be written cannot be, through no fault of the input: a full disk, a database gone.

    The command ends with exit status 1.
    """


class Interrupted(Exception):
    """The user asked to stop; the message says what is left of the work, in one line."""


class EvaluationFailed(RuntimeError):
    """Evaluations cannot go on, or none gave a result; the message says why in one line."""


class Diverged(ArithmeticError):
    """A training or a score came to numbers that mean nothing; the message says how, in a line."""


class NotEquivalent(Exception):
    """An export computes another function than its original; the message says how they differ."""


def one_line(text: object, most: int = 1_000) -> str:
    """Return a message on one line, with nothing in it that a terminal obeys, and not endless.

    What names files, keys and values shows what others have written.
    """
    line = visible(" ".join(str(text).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def visible(text: str) -> str:
    """Return text with control characters, halves of surrogates and the like as their escapes.

    Lines stay lines: a line feed is all that is left as it is.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()
        for one in text
    )


class OutOfMemory(InputError):
    """What was asked for needs more memory than there is."""


def check_range(name: str, value: float | None, least: float, most: float | None = None) -> None:
    """Raise :class:`InputError` where a number that was given is outside a range.

    Args:
        name: of the number, for the message.
        value: None: it was not given.
        least: smallest value that is accepted.
        most: largest value that is accepted; None: there is no limit.
    """
    accepted = f"at least {least:,}" if most is None else f"{least:,} to {most:,}"
    if value is not None and not least <= value <= (math.inf if most is None else most):
        raise InputError(f"{name}: {value} is not accepted: {accepted}")
