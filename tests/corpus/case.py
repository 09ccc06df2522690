"""A case of the corpus, and how cases are made of a valid file and what may be wrong with it."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.corpus.box import Act, Box
from tests.corpus.faults import PLACES
from tests.corpus.valid import valid


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Attributes:
        reader: what reads it.
        name: what is wrong with it.
        make: writes it, and returns what meets it.
        statuses: exit statuses that are right.
    """

    reader: str
    name: str
    make: Callable[[Box], Act]
    statuses: tuple[int, ...] = (2,)


Meet = Callable[[Box, Path], Act]
"""From the box and a file in it to what reads the file."""

NO_ESCAPE = "../../escape"
"""A name that must not become a path."""


def words(*text: str) -> Meet:
    """Return what makes a command line: ``FILE`` is the file, ``OUT`` a place for output."""
    return lambda box, file: [
        word.replace("FILE", str(file)).replace("OUT", str(box.out / "made")) for word in text
    ]


def of_place(reader: str, name: str, meet: Meet, *left_out: str) -> Iterator[Case]:
    """Yield the cases of what is no file, or none that can be read."""
    for fault, place in PLACES.items():
        if fault in left_out:
            continue

        def make(box: Box, place: Callable[[Path], object] = place) -> Act:
            file = box.given / name
            place(file)
            return meet(box, file)

        yield Case(reader, fault, make)


def of_bytes(
    reader: str, name: str, meet: Meet, faults: Mapping[str, Callable[[bytes], bytes]], *status: int
) -> Iterator[Case]:
    """Yield the cases of a valid file whose bytes are changed."""
    for fault, change in faults.items():

        def make(box: Box, change: Callable[[bytes], bytes] = change) -> Act:
            file = box.given / name
            file.write_bytes(change((valid() / name).read_bytes()))
            return meet(box, file)

        yield Case(reader, fault, make, status or (2,))


def of_text(
    reader: str, name: str, meet: Meet, faults: Mapping[str, Callable[[str], str]], *status: int
) -> Iterator[Case]:
    """Yield the cases of a valid file whose text is changed."""
    changed = {
        fault: lambda content, change=change: change(content.decode()).encode()
        for fault, change in faults.items()
    }
    return of_bytes(reader, name, meet, changed, *status)


def of_data(
    reader: str, name: str, meet: Meet, faults: Mapping[str, Callable[[Any], object]], *status: int
) -> Iterator[Case]:
    """Yield the cases of a valid JSON document whose content is changed in place."""

    def text(change: Callable[[Any], object]) -> Callable[[str], str]:
        def changed(content: str) -> str:
            data = json.loads(content)
            change(data)
            return json.dumps(data)

        return changed

    return of_text(reader, name, meet, {f: text(c) for f, c in faults.items()}, *status)


def put(*path: str | int, value: object) -> Callable[[Any], object]:
    """Return what sets one value in a document."""

    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[Any], object]:
    """Return what removes one entry of a document."""

    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        del data[path[-1]]

    return change


def run_copy(box: Box, kind: str = "run", place: str = "given") -> Path:
    to = getattr(box, place) / kind
    shutil.copytree(valid() / kind, to)
    return Path(to)


def in_folder(
    reader: str, kind: str, name: str, meet: Meet, cases: Iterator[Case], place: str = "given"
) -> Iterator[Case]:
    """Yield cases of one file as cases of a folder of results that holds it.

    Each case writes a file of that name, and it is put where the folder has it.
    """
    for case in cases:

        def make(box: Box, case: Case = case) -> Act:
            folder = run_copy(box, kind, place)
            case.make(box)
            written, old = box.given / Path(name).name, folder / name
            old.unlink(missing_ok=True)
            if os.path.lexists(written):
                os.rename(written, old)
            return meet(box, folder)

        yield Case(reader, f"{name}: {case.name}", make, case.statuses)


def nobody(box: Box, file: Path) -> Act:
    return []


def of_file(
    reader: str, source: str, faults: Mapping[str, Callable[[bytes], bytes]]
) -> Iterator[Case]:
    """Yield cases that write a changed copy of a valid file under its own name."""
    for fault, change in faults.items():

        def make(box: Box, change: Callable[[bytes], bytes] = change) -> Act:
            content = (valid() / source).read_bytes()
            (box.given / Path(source).name).write_bytes(change(content))
            return []

        yield Case(reader, fault, make)


def encoded(faults: Mapping[str, Callable[[str], str]]) -> dict[str, Callable[[bytes], bytes]]:
    return {f: lambda b, change=change: change(b.decode()).encode() for f, change in faults.items()}


def rewritten_json(change: Callable[[Any], object]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    return changed


def mutated(content: bytes, seed: int) -> bytes:
    """Return the content with a few bytes changed, removed or doubled; the same for a seed."""
    rng = random.Random(seed)
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[place] = rng.randrange(256)
            case 1:
                changed[place] ^= 1 << rng.randrange(8)
            case 2:
                del changed[place : place + rng.randrange(1, 64)]
            case _:
                changed[place:place] = changed[place : place + rng.randrange(1, 64)]
    return bytes(changed) or b"\0"


Content = Callable[[], bytes]
"""Made when it is needed: naming the cases costs nothing."""


def good(name: str) -> Content:
    return lambda: (valid() / name).read_bytes()


def cut(content: Content, what: str = "cut") -> dict[str, Content]:
    def at(part: int) -> Content:
        return lambda: content()[: len(content()) * part // 100]

    return {f"{what} at {part} %": at(part) for part in (1, 10, 50, 90, 99)}


def mutants(content: Content, count: int) -> dict[str, Content]:
    def of(seed: int) -> Content:
        return lambda: mutated(content(), seed)

    return {f"changed bytes {seed}": of(seed) for seed in range(count)}


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def changed_file(
    name: str, content: Callable[[Box], bytes], meet: Callable[[Box, Path], Act]
) -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        file = box.given / name
        file.write_bytes(content(box))
        return meet(box, file)

    return make


def of_content(content: Content) -> Callable[[Box], bytes]:
    return lambda box: content()


def placed(
    name: str, place: Callable[[Path], object], meet: Callable[[Box, Path], Act]
) -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        place(box.given / name)
        return meet(box, box.given / name)

    return make


def trained(box: Box, data: Path | str) -> Act:
    return [
        *("train", str(valid() / "architecture.json"), "--data", str(data), "--epochs", "1"),
        *("--quiet", "--out", str(box.out / "trained")),
    ]
