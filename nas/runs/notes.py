"""What is said of a run on the way and stays: shown once, kept in ``run.json``."""

from __future__ import annotations

from nas.progress import Progress


class Notes:
    """Collects the notes of a run, each once, and shows them as they come.

    Args:
        progress: shows them.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """Show and keep a note, unless it was made already."""
        if text not in self._texts:
            self._texts.append(text)
            self._progress.note(text)

    @property
    def texts(self) -> tuple[str, ...]:
        """All notes, in their order."""
        return tuple(self._texts)
