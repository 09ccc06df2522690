"""A folder of results: opened by one process at a time, resumed, saved, and sealed at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, TypeVar

from nas.errors import InputError
from nas.files import why
from nas.records.document import Document, hashes
from nas.records.lock import LOCK, locked

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class ResultFolder(Generic[D]):
    """A folder of results that this process has locked; see :meth:`open`.

    Attributes:
        path: the folder.
        kind: the model of its document.
        before: the document that an earlier process left; None: the folder is new.
        temporary: whether the folder is removed at the end.
    """

    path: Path
    kind: type[D]
    before: D | None
    temporary: bool = False

    @classmethod
    @contextmanager
    def open(
        cls, path: Path | None, kind: type[D], note: Callable[[str], None] = logger.warning
    ) -> Iterator[ResultFolder[D]]:
        """Lock a folder and read what is there; a new one is made.

        Temporary files of a process that was killed are removed. Where the work ends before
        anything is saved, because of wrong input perhaps, no new folder is left behind.

        Args:
            path: the folder; None: a temporary one.
            kind: the model of its document.
            note: told where the file system has no locks.

        Raises:
            InputError: another process holds the folder (the message has its pid); it holds files
                but no document of this kind; its document is of another schema; it cannot be
                written; or a symbolic link in it leads elsewhere.
        """
        if path is None:
            with TemporaryDirectory() as temporary:
                yield cls(Path(temporary), kind, None, temporary=True)
            return
        made = _make(path)
        with locked(path, note):
            try:
                before = _before(path, kind)
                if before is None:
                    logger.info("%s: opened, a new folder", path)
                else:
                    logger.info("%s: resumed, status %s", path, before.status)
                yield cls(path, kind, before)
            finally:
                if not os.path.lexists(path / kind.FILE):
                    (path / LOCK).unlink(missing_ok=True)
                    with suppress(OSError):
                        for folder in made:
                            folder.rmdir()

    def check_identity(self, identity: Mapping[str, Any]) -> None:
        """Raise :class:`InputError`, naming what differs, if the folder holds other results."""
        logger.debug("%s: identity %s", self.path, identity)
        if self.before is not None:
            check_identity(self.path, self.before.identity, identity)

    def save(self, document: D) -> None:
        """Write the document, whole or not at all."""
        document.write(self.path)
        logger.debug("%s: %s written, status %s", self.path, self.kind.FILE, document.status)

    def finish(self, document: D, files: Iterable[str]) -> D:
        """Seal the folder: write and return the document as finished, with hashes of the files.

        Args:
            document: what the folder says of itself.
            files: what belongs to the results, by path in the folder; those that are not there are
                left out.
        """
        finished = document.updated(status="finished", files=hashes(self.path, files))
        self.save(finished)
        logger.info("%s: finished and sealed, %d files hashed", self.path, len(finished.files))
        return finished

    def discard(self) -> None:
        """Remove the document: nothing has begun, or nothing is left of it."""
        (self.path / self.kind.FILE).unlink(missing_ok=True)


def check_identity(folder: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` if what a folder is known by differs from what is asked for.

    Args:
        folder: named in the message.
        before: by key, what the folder has.
        identity: by key, what it should have.
    """
    keys = dict.fromkeys((*identity, *before))
    differing = [key for key in keys if before.get(key) != identity.get(key)]
    if differing:
        raise InputError(
            f"{folder}: holds another run: {', '.join(differing)} differ; "
            "name another folder with --out"
        )


def _make(folder: Path) -> list[Path]:
    """Make a folder; return it and its parents, as far as they are new, the innermost first."""
    try:
        made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        folder.mkdir(parents=True, exist_ok=True)
        with os.scandir(folder) as entries:
            links = sorted(entry.name for entry in entries if entry.is_symlink())
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {why(error)}") from None
    except ValueError as error:  # what cannot be a path
        raise InputError(f"{folder}: cannot be written: {error}") from None
    if links:
        raise InputError(
            f"{folder}: {links[0]!r} is a symbolic link; a folder that is written to must have none"
        )
    return made


def _before(folder: Path, kind: type[D]) -> D | None:
    """Return the document that an earlier process left, or None; remove its temporary files."""
    before = None
    if os.path.lexists(folder / kind.FILE):
        before = kind.read(folder)
    else:
        others = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        foreign = sorted(others - kind.PRECEDED_BY)
        if foreign:
            raise InputError(
                f"{folder}: holds {foreign[0]!r} but no {kind.FILE}: not a run's folder; name an "
                "empty one with --out"
            )
    half_written = ".*.*.[0-9]*.tmp"
    for left in (*folder.glob(half_written), *folder.glob(f"*/{half_written}")):
        left.unlink(missing_ok=True)
        logger.info("%s: removed, left by a killed process", left)
    return before
