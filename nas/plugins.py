"""Names that users give to proxies and samplers: built in, or installed as entry points."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from nas.errors import InputError, one_line


@dataclass(frozen=True)
class Registration:
    """A name, and where the object is that it stands for.

    Attributes:
        name: what a user types.
        target: ``module:attribute``; the module is imported when the name is first used.
        help: one line.
        argument: what follows the name and a colon, in one word (``FILE``); empty: nothing does.
        distribution: the installed distribution that brings it; None: it is built in.
        version: the version of that distribution.
    """

    name: str
    target: str
    help: str
    argument: str = ""
    distribution: str | None = None
    version: str | None = None

    @property
    def usage(self) -> str:
        """The name as help shows it: ``table:FILE``."""
        return f"{self.name}:{self.argument}" if self.argument else self.name

    def argument_in(self, given: str) -> str | None:
        """Return the argument in what a user typed, or None where that is another name."""
        if not self.argument:
            return "" if given == self.name else None
        name, _, argument = given.partition(":")
        return argument if name == self.name and argument else None

    def origin(self) -> dict[str, str | None]:
        """Return what an installed object is identified by, ready for JSON."""
        return {"name": self.name, "distribution": self.distribution, "version": self.version}


class Registry(Collection[str]):
    """The names of one kind of object; as a collection, the built-in ones.

    Entry points are looked up only for names that are not built in, so that a command which uses
    none does not wait for the metadata of all installed distributions.

    Args:
        kind: what the objects are, for messages: ``proxy``.
        group: the group of the entry points that add names.
        built_in: in the order in which they are listed.
    """

    def __init__(self, kind: str, group: str, built_in: Sequence[Registration]) -> None:
        self.kind = kind
        self.group = group
        self.built_in = tuple(built_in)

    def __iter__(self) -> Iterator[str]:
        """Yield the built-in names as help shows them."""
        return (registration.usage for registration in self.built_in)

    def __len__(self) -> int:
        """Return how many names are built in."""
        return len(self.built_in)

    def __contains__(self, name: object) -> bool:
        """Return whether a name is built in."""
        return name in [*self]

    def installed(self) -> list[Registration]:
        """Return what other distributions add, by name; a built-in name cannot be replaced."""
        names = {registration.name for registration in self.built_in}
        found = _installed(self.group, tuple(sys.path))
        return [registration for registration in found if registration.name not in names]

    def find(self, given: str) -> Registration:
        """Return what a name, with its argument if it takes one, stands for.

        Raises:
            InputError: no such name, or several distributions have it.
        """
        for registration in self.built_in:
            if registration.argument_in(given) is not None:
                return registration
        installed = self.installed()
        found = [registration for registration in installed if registration.name == given]
        if len(found) == 1:
            return found[0]
        if found:
            owners = ", ".join(f"{one.distribution} {one.version}" for one in found)
            raise InputError(f"{self.kind} {given!r}: several distributions have it: {owners}")
        accepted = ", ".join([*self, *(registration.name for registration in installed)])
        raise InputError(f"{self.kind} {given!r} is not accepted: {accepted}")

    def load(self, registration: Registration) -> object:
        """Import and return the object that a name stands for.

        Raises:
            InputError: an installed one cannot be imported.
        """
        entry = EntryPoint(registration.name, registration.target, self.group)
        try:
            return entry.load()
        except Exception as error:
            if registration.distribution is None:
                raise
            raise self.unusable(registration, "cannot be loaded", error) from error

    def unusable(
        self, registration: Registration, reason: str, error: Exception | None = None
    ) -> InputError:
        """Return the error that says why an installed object cannot be used."""
        cause = "" if error is None else f": {type(error).__name__}: {one_line(error, 200)}"
        return InputError(
            f"{self.kind} {registration.name!r} ({registration.distribution} "
            f"{registration.version}, {registration.target}): {reason}{cause}"
        )


@cache
def _installed(group: str, path: tuple[str, ...]) -> tuple[Registration, ...]:
    """Return the entry points of a group, by name; ``path`` is where Python looks for them."""
    found = []
    for entry in entry_points(group=group):
        distribution, version = "an unknown distribution", ""
        if entry.dist is not None:
            distribution, version = entry.dist.name, entry.dist.version
        help = f"installed with {distribution} {version}".rstrip()
        found.append(
            Registration(entry.name, entry.value, help, distribution=distribution, version=version)
        )
    return tuple(sorted(found, key=lambda one: (one.name, one.distribution or "")))
