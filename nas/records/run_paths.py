"""Where the files and folders are that a run's command names: found again from another place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class RunPath(BaseModel):
    """A file or folder that a command names.

    Attributes:
        absolute: its path; None in a finished run, which may be handed on to others.
        relative: its path from the run's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    absolute: str | None
    relative: Annotated[str, Field(min_length=1)]

    def find(self, folder: Path) -> Path | None:
        """Return where it is now; None: nowhere.

        Args:
            folder: the run's, wherever that is now.
        """
        places = [] if self.absolute is None else [Path(self.absolute)]
        places.append(Path(os.path.normpath(os.path.abspath(folder / self.relative))))
        return next((place for place in places if place.exists()), None)


def run_paths(words: Mapping[str, str], folder: Path) -> dict[str, RunPath]:
    """Return what of the words of a command is there as a file or folder, by word.

    Args:
        words: values of options, names of built-in things among them, and where each leads to.
        folder: the run's.
    """
    found = {}
    for word, place in words.items():
        path = Path(os.path.expanduser(place))
        if os.path.exists(path):
            # Links are kept: what is beside a checkout is not where it is on this machine.
            absolute = os.path.abspath(path)
            relative = os.path.relpath(absolute, os.path.abspath(folder))
            found[word] = RunPath(absolute=absolute, relative=relative)
    return found


def found_again(paths: Mapping[str, RunPath], folder: Path) -> dict[str, str]:
    """Return where the words of a command lead to now, by word; what is nowhere is left out."""
    places = {word: path.find(folder) for word, path in paths.items()}
    return {word: str(place) for word, place in places.items() if place is not None}
