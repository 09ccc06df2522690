"""What is said when the input, not the program, is at fault."""

from __future__ import annotations


class InputError(ValueError):
    """Wrong input: one line that names the file, key or value and what is accepted.

    The command prints it without a traceback and ends with exit status 2.
    """


class Interrupted(Exception):
    """The user asked to stop; the message says what is left of the work, in one line."""


class Diverged(ArithmeticError):
    """A training ended in numbers that are not finite; the message says when, in one line."""


class NotProved(Exception):
    """What was made is not what it was made from; the message says how they differ, in one line."""
