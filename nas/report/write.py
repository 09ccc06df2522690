"""Reports on disk: a page and pictures beside a run, or one page that compares several."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nas.files import write_bytes, write_text
from nas.records.document import hashes
from nas.records.run_state import RunState
from nas.report.document import published, run_document
from nas.report.page import make_page
from nas.report.plots import PICTURES, draw_pictures
from nas.report.run_folder import read_run

logger = logging.getLogger(__name__)

PAGE = "report.html"

FILES = frozenset({PAGE, *(f"{name}.{kind}" for name in PICTURES for kind in ("png", "svg"))})
"""What a report leaves in a run's folder."""


def write_report(folder: Path, storage: str | None = None) -> list[Path]:
    """Write the page and the pictures of a run into its folder; return them.

    What is written follows from what is in the folder, and from nothing else. Pictures of what is
    not there any more are removed. The hashes that a finished run lists are brought up to date.

    Args:
        folder: of the run, finished or not.
        storage: the study's URL with a password, where ``run.json`` has it without.

    Raises:
        InputError: no run's folder, a file of it that cannot be read, or it cannot be written.
    """
    document = run_document(read_run(folder, storage))
    pictures = draw_pictures(document)
    write_text(folder / PAGE, _page([document]))
    for name, content in pictures.items():
        write_bytes(folder / name, content)
    written = {PAGE, *pictures}
    for name in FILES - written:
        (folder / name).unlink(missing_ok=True)
    _list(folder, written)
    logger.info("%s: report written, %d files", folder, len(written))
    return [folder / name for name in (PAGE, *pictures)]


def _list(folder: Path, written: Iterable[str]) -> None:
    """Write down the hashes of a report's files where those of a finished run's files stand."""
    state = RunState.read(folder)
    if state.status != "finished":
        return
    others = {name: value for name, value in state.files.items() if name not in FILES}
    listed = others | hashes(folder, sorted(written))
    if listed != state.files:
        state.updated(files=listed).write(folder)


def write_page(folders: Sequence[Path], out: Path) -> Path:
    """Write one page for one run, or one that compares several, to a file of its own; return it.

    Raises:
        InputError: no run's folder, a file of it that cannot be read, or it cannot be written.
    """
    write_text(out, _page([run_document(read_run(folder)) for folder in folders]))
    logger.info("%s: page of %d runs written", out, len(folders))
    return out


def _page(documents: Sequence[dict[str, Any]]) -> str:
    title = f"{len(documents)} architecture searches"
    if len(documents) == 1:
        title = documents[0]["title"]
        # A folder that moves keeps its page: only where there are others a name tells it from them.
        documents = [{**documents[0], "name": title}]
    data = {"title": title, "published": published(), "runs": list(documents)}
    return make_page(f"{title} · nas-search", data)
