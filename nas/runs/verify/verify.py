"""``nas-search verify DIR``: whose folder it is, its files against their hashes, and the rest."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nas.errors import InputError, one_line
from nas.evaluation.journal import JOURNAL
from nas.files import decoded, parse_json, read_bytes, sha256, to_json
from nas.progress import Progress
from nas.records.comparison_document import ComparisonDocument
from nas.records.document import SEAL, Document, check_schema, sealed
from nas.records.fidelity_document import FidelityDocument
from nas.records.reproduction_document import ReproductionDocument
from nas.records.run_state import RunState
from nas.records.scaling_document import ScalingDocument
from nas.records.table_document import TableDocument
from nas.records.training_document import TrainingDocument
from nas.report.tensorboard import FOLDER as EVENTS
from nas.report.write import FILES as REPORT
from nas.runs.verify.comparison import comparison_parts
from nas.runs.verify.json_diff import NOTHING, JsonDifference, differing, text
from nas.runs.verify.reproduction import discovery_parts
from nas.runs.verify.run import run_parts
from nas.runs.verify.scaling import scaling_parts
from nas.runs.verify.table import table_parts
from nas.runs.verify.training import training_parts
from nas.runs.verify.verified_folder import VerifiedFolder, VerifyStep

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES = 256 * 1024 * 1024
"""Largest file of results that is hashed; the largest that is written is the study."""


def _of_fidelity(opened: VerifiedFolder) -> list[VerifyStep]:
    opened.note(
        "the benchmark table is not in the folder: the proxy's agreement with it is not recomputed"
    )
    return []


PARTS: dict[type[Document], Callable[[VerifiedFolder], list[VerifyStep]]] = {
    RunState: run_parts,
    ReproductionDocument: discovery_parts,
    ComparisonDocument: comparison_parts,
    TableDocument: table_parts,
    FidelityDocument: _of_fidelity,
    TrainingDocument: training_parts,
    ScalingDocument: scaling_parts,
}
"""What of each kind of folder can be computed again."""


@dataclass(frozen=True)
class Verification:
    """What came of verifying a folder.

    Attributes:
        kind: of the folder, in a word or two.
        files: how many were held against their hashes.
        differences: where what is written is not what is computed.
        notes: what could not be checked, and files that nobody listed.
    """

    kind: str
    files: int
    differences: tuple[JsonDifference, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "kind": self.kind,
            "files": self.files,
            "differences": [difference.to_dict() for difference in self.differences],
            "notes": list(self.notes),
        }


def verify(folder: Path, progress: Progress) -> Verification:
    """Hold a folder of results against its hashes, and compute again what follows from it.

    Nothing in the folder is changed.

    Args:
        folder: a finished run, training, comparison, table, fidelity or reproduction.
        progress: told of each part.

    Raises:
        InputError: no such folder, or not one of these, or not finished.
    """
    kind, document, content = _opened(folder)
    listed = _listed(folder / kind.FILE, document)
    opened = VerifiedFolder(folder, kind.FILE, document)
    parts = [VerifyStep("hashes", kind.FILE, lambda: _hashes(opened, content, listed))]
    parts += PARTS[kind](opened)
    differences: list[JsonDifference] = []
    progress.phase("verify", len(parts))
    for part in parts:
        found = _computed(part)
        logger.debug("%s: %s: %d differences", folder, part.name, len(found))
        differences += found
        progress.advance(1)
    unlisted = _unlisted(folder, {kind.FILE, *listed})
    notes = (*opened.notes, *(f"{name}: not listed in {kind.FILE}" for name in unlisted))
    # What differs in one way is told once, however many parts come to it.
    held = 1 + sum(opened.has(name) for name in listed)
    return Verification(kind.KIND, held, tuple(dict.fromkeys(differences)), notes)


def _opened(folder: Path) -> tuple[type[Document], dict[str, Any], bytes]:
    """Return the kind of a folder, its document, and the bytes of that."""
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    names = list(dict.fromkeys(kind.FILE for kind in PARTS))
    path = next((folder / name for name in names if os.path.isfile(folder / name)), None)
    if path is None:
        raise InputError(f"{folder}: holds none of {', '.join(names)}: nothing to verify")
    content = read_bytes(path)
    document = parse_json(decoded(content, str(path)), str(path))
    kinds = {kind.SCHEMA: kind for kind in PARTS if path.name == kind.FILE}
    kind = kinds[check_schema(document, kinds, str(path))]
    if document.get("status") != "finished":
        raise InputError(f"{path}: not finished: rerun its command, then it can be verified")
    return kind, document, content


def _listed(path: Path, document: Mapping[str, Any]) -> dict[str, str]:
    """Return the hashes that a document lists, by file."""
    listed = document.get("files", {})
    if not isinstance(listed, dict):
        raise InputError(f"{path}: files: not accepted: hashes by file")
    for name, value in listed.items():
        place = PurePosixPath(name)
        if not name or "\0" in name or place.is_absolute() or ".." in place.parts:
            raise InputError(f"{path}: files: {name!r} is not accepted: a file of the folder")
        if not isinstance(value, str):
            raise InputError(f"{path}: files.{name}: {text(value)[:60]} is not accepted: a SHA-256")
    return listed


def _hashes(
    opened: VerifiedFolder, content: bytes, listed: Mapping[str, str]
) -> Iterator[JsonDifference]:
    """Yield the files that are not what they were when they were written."""
    file, document = opened.file, opened.document
    computed = sealed(document)[SEAL]
    yield from differing(file, document.get(SEAL, NOTHING), computed, SEAL)
    if content != to_json(document).encode():
        # Its content may be the same, but a byte is not: a space, the form of a number.
        yield JsonDifference(file, "", "different formatting", "as nas-search writes it")
    for name, known in listed.items():
        if opened.has(name):
            try:
                found = sha256(opened.path / name, MAX_RESULT_BYTES)
                yield from differing(name, known, found, SEAL)
            except InputError as error:
                yield JsonDifference(name, SEAL, known, str(error))
        elif name in REPORT and file == RunState.FILE:
            opened.note("files of the report are missing: nas-search report writes them")
        elif name != JOURNAL:  # which need not be taken along: a note says what that means
            yield JsonDifference(name, SEAL, known, "no such file")


def _computed(part: VerifyStep) -> list[JsonDifference]:
    """Return where a part differs; one that cannot be computed from what is written differs too."""
    found: list[JsonDifference] = []
    try:
        for difference in part.compute():
            found.append(difference)
    except Exception as error:  # whatever it trips over: what is written may be anything
        reason = one_line(error, 200)
        if not isinstance(error, InputError):
            reason = f"{type(error).__name__}: {reason}"
        found.append(JsonDifference(part.file, "", "cannot be used", reason))
    return found


def _unlisted(folder: Path, listed: set[str]) -> list[str]:
    """Return what else lies in a folder, hidden files left out; folders of none listed as one."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.name == EVENTS:
            continue  # made of the rest, and made again at any time
        if path.is_dir():
            inside = [
                one.relative_to(folder).as_posix()
                for one in sorted(path.rglob("*"))
                if one.is_file()
            ]
            if any(name in listed for name in inside):
                found += [name for name in inside if name not in listed]
            else:
                found.append(f"{path.name}/")
        elif path.name not in listed:
            found.append(path.name)
    return found
