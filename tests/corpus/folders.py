"""Folders of results: status, resume and verify, and folders that lead astray."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.corpus.box import Act, Box
from tests.corpus.case import (
    NO_ESCAPE,
    Case,
    drop,
    encoded,
    in_folder,
    nobody,
    of_file,
    of_place,
    put,
    rewritten_json,
    run_copy,
    words,
)
from tests.corpus.faults import BYTES, CONTROLS, JSON, PLACES
from tests.corpus.valid import valid

RUNS: Mapping[str, Callable[[Any], object]] = {
    "a pass of nothing": lambda data: data.update(
        plan={"supernet": {"images_seen": 0, "batch_size": 1, "paths": 1}}
    ),
    "a total of 4,000 digits": lambda data: (
        data["phases"].setdefault("search", {}).update(total=int("7" * 4_000))
    ),
    "seconds of text": put("seconds", value={"search": "inf"}),
    "an end that is no number": lambda data: data.update(until="nan", status="running"),
    "phases that are a list": put("phases", value=[]),
    "a study that is a path": lambda data: data["phases"]["search"].update(study=NO_ESCAPE),
    "a storage that is not there": put("command", "storage", value="sqlite:////etc/shadow"),
    "a storage that is no database": put(
        "command", "storage", value="sqlite:///given/run/run.json"
    ),
    "a storage of another kind": put("command", "storage", value="mysql://root@localhost/x"),
    "a storage that nobody serves": put("command", "storage", value="postgresql://127.0.0.1:1/x"),
    "another status": put("status", value=CONTROLS),
    "a phase of control characters": put("phase", value=CONTROLS),
    "a phase named by control characters": lambda data: data["phases"].update(
        {CONTROLS: {"study": CONTROLS, "total": 3}}
    ),
}

COMMANDS: Mapping[str, Callable[[Any], object]] = {
    "no command": drop("command"),
    "a command that is text": put("command", value="rm -rf /"),
    "an unknown option": put("command", "shell", value="rm -rf /"),
    "a budget that is a list": put("command", "budget", value=["400M-flops"]),
    "a space that is a device": put("command", "space", value="/dev/zero"),
    "a space that is not there": put("command", "space", value=f"{NO_ESCAPE}.toml"),
    "a space of control characters": put("command", "space", value=CONTROLS),
    "data that are a device": put("command", "data", value="/dev/zero"),
    "an engine that is not known": put("command", "engine", value="ssh evil"),
    "a device that is not known": put("command", "device", value="cpu; id"),
    "a storage that is a path": put("command", "storage", value="/etc/passwd"),
    "a start that is a device": put("command", "start", value=["/dev/zero"]),
    "trials below nothing": put("command", "trials", value=-1),
    "no plan": drop("plan"),
    "a plan of text": put("plan", value="x"),
    "a plan of no pixels": put("plan", value={"search": {"resolution": -1}}),
    "another identity": put("identity", "seed", value=7),
    "an identity that is a list": put("identity", value=[]),
    "seconds below nothing": put("seconds", value={"search": "minus"}),
    "sessions of text": put("sessions", value="many"),
    "a proxy that is not known": put("command", "proxy", value="pickle:evil"),
    "a proxy that is a device": put("command", "proxy", value="table:/dev/zero"),
}

NOISE = random.Random(0).randbytes(4_096)

JOURNALS: Mapping[str, Callable[[bytes], bytes]] = {
    "noise": lambda content: NOISE,
    "noise at the end": lambda content: content + NOISE,
    "noise in the middle": lambda content: content.replace(b"\n", b"\n\xff\xfe{[\n", 2),
    "zeros": lambda content: bytes(4_096),
    "lists 100,000 deep": lambda content: content + b"[" * 100_000 + b"\n",
    "lines that are no objects": lambda content: content + b"1\n[]\nnull\n",
    "an operation that is not known": lambda content: content + b'{"op_code": 999}\n',
    "an operation of text": lambda content: content + b'{"op_code": "import os"}\n',
    "numbers that are text": lambda content: content.replace(b'"number": 1', b'"number": "one"'),
    "numbers that are lists": lambda content: content.replace(b'"number": 1', b'"number": [1]'),
    "numbers that are 10^30": lambda content: content.replace(
        b'"number": 1', b'"number": ' + b"1" + b"0" * 30
    ),
    "costs that are text": lambda content: content.replace(b'"cost": {', b'"cost": "free", "x": {'),
    "costs below nothing": lambda content: content.replace(b'"flops": ', b'"flops": -'),
    "retries of text": lambda content: content.replace(
        b'"reason": ""', b'"retries": "many", "reason": ""'
    ),
    "reasons that are lists": lambda content: content.replace(b'"reason": ""', b'"reason": ["x"]'),
    "accuracies that are lists": lambda content: content.replace(
        b'"accuracy": {', b'"accuracy": [1], "x": {'
    ),
    "accuracies of text": lambda content: content.replace(b'"mean": ', b'"mean": "x", "y": '),
    "names that are objects": lambda content: content.replace(
        b'"architecture": "', b'"architecture": {"x": 1}, "y": "'
    ),
}


def _journal_case(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Study files are JSON with attributes as objects of their own, or as text within: try both."""

    def changed(content: bytes) -> bytes:
        found = change(content)
        if found != content:
            return found
        # Optuna writes a row's attributes compactly: the same change in its way of writing.
        spaced = content.replace(b'":', b'": ').replace(b":  ", b": ")
        return change(spaced)

    return changed


STATUS = words("status", "FILE")
STATUS_JSON = words("status", "FILE", "--json")
RESUME = words("resume", "FILE", "--quiet")
VERIFY = words("verify", "FILE", "--quiet")


def _results() -> Iterator[Case]:
    shutil_name = "run.json"
    for reader, meet, place in (
        ("status", STATUS, "given"),
        ("resume", RESUME, "out"),
        ("verify", VERIFY, "given"),
    ):
        # A folder's own file, as a place, as bytes and as JSON.
        faults = dict(JSON) if reader == "status" else {
            f: JSON[f] for f in ("a key twice", "NaN", "lists 100,000 deep", "half a pair in a key")
        }  # fmt: skip
        cases = (
            *of_place(reader, shutil_name, nobody),
            *of_file(reader, "run/run.json", BYTES),
            *of_file(reader, "run/run.json", encoded(faults)),
        )
        yield from in_folder(reader, "run", "run.json", meet, iter(cases), place)
        # The study.
        journals = (
            *of_place(reader, "study.log", nobody, "nothing", "empty"),
            *of_file(reader, "run/study.log", {f: _journal_case(c) for f, c in JOURNALS.items()}),
        )
        statuses = {"status": (0, 2), "resume": (0, 2), "verify": (0, 1, 2)}[reader]
        for case in in_folder(reader, "run", "study.log", meet, iter(journals), place):
            yield Case(case.reader, case.name, case.make, statuses)
    for fault, change in RUNS.items():
        for reader, meet in (("status", STATUS), ("status --json", STATUS_JSON)):
            cases = iter(
                [*of_file(reader, "run/run.json", encoded({fault: rewritten_json(change)}))]
            )
            for case in in_folder(reader, "run", "run.json", meet, cases):
                yield Case(case.reader, case.name, case.make, (0, 2))
    for fault, change in COMMANDS.items():
        cases = of_file("resume", "run/run.json", encoded({fault: rewritten_json(change)}))
        yield from in_folder("resume", "run", "run.json", RESUME, cases, "out")


def _verified() -> Iterator[Case]:
    """Documents of finished folders that say what cannot be, hashes and all."""
    parts = {
        "run": ("baseline.json", "front.json"),
        "cifar10-400M-flops": (
            *("baseline.json", "coefficients.json", "finalists.json", "front.json"),
            "family/b3.json",
        ),
        "joint-block": ("table.jsonl",),
        "b0-discovery": ("discovery.json", "b0.json"),
        "scaling": ("scaling.json",),
    }
    few = {f: JSON[f] for f in ("lists 100,000 deep", "half a pair in a key", "a list", "NaN")}
    for kind, names in parts.items():
        for name in names:
            whole = kind == "run" or name in ("coefficients.json", "finalists.json")
            chosen = few if whole else {"a list": JSON["a list"]}
            cases = (
                *of_file("verify", f"{kind}/{name}", encoded(chosen)),
                *(
                    Case("verify", fault, lambda box, p=place, n=name: p(box.given / Path(n).name))
                    for fault, place in PLACES.items()
                    if fault
                    in ("a pipe", "a link to itself", "of ten gigabytes")[: 3 if whole else 1]
                ),
            )
            for case in in_folder("verify", kind, name, VERIFY, iter(cases)):
                yield Case("verify", f"{kind}: {case.name}", case.make, (1,))
    main: Mapping[tuple[str, str], Mapping[str, Callable[[Any], object]]] = {
        ("joint-block", "table.json"): {
            "a thousand million networks": put("identity", "networks", value=10**9),
            "networks below nothing": put("identity", "networks", value=-1),
            "a band of text": put("identity", "flops", value=["a", "b"]),
            "a space that is a device": put("space", value="/dev/zero"),
            "files that are a list": put("files", value=[1]),
            "a file above the folder": put("files", value={"../../x": "0"}),
            "an absolute file": put("files", value={"/etc/passwd": "0"}),
            "a file of control characters": put("files", value={CONTROLS: "0"}),
            "a hash of a number": put("files", value={"x": 1}),
            "another schema": put("schema", value=CONTROLS),
        },
        ("compared", "comparison.json"): {
            "entries that are text": put("entries", value="x"),
            "an entry against nobody": put("against", value="nobody"),
            "a mean of 4,000 digits": put("entries", 0, "accuracy", "n", value=int("7" * 4_000)),
            "a study beside it": put("identity", "seed", value="x"),
        },
        ("run", "run.json"): {
            "identity of nothing": put("identity", value={}),
            "a proxy of lists": put("identity", "proxy", value={"name": []}),
            "a budget below nothing": put("identity", "budget", value={"flops": -5}),
            "a budget of surprise": put("identity", "budget", value={"surprise": 5}),
            "command of devices": put("command", "space", value="/dev/zero"),
            "versions without ours": put("versions", value={}),
            "a sample of ten thousand million": put("check", value={"samples": 10**10}),
        },
        ("cifar10-400M-flops", "run.json"): {
            "a plan of a million pixels": put("plan", "finals", "resolution", value=10**6),
            "a plan of no width": put("plan", "finals", "width", value=0),
            "images of no channels": put("data", "mean", value=[]),
            "a million classes": put("data", "classes", value=10**6),
        },
    }
    for (kind, name), changes in main.items():
        for fault, change in changes.items():
            cases = iter(
                [*of_file("verify", f"{kind}/{name}", encoded({fault: rewritten_json(change)}))]
            )
            for case in in_folder("verify", kind, name, VERIFY, cases):
                yield Case("verify", f"{kind}: {case.name}", case.make, (1, 2))


# A folder that was made to lead those that write into it astray.


def _led_astray() -> Iterator[Case]:
    links = {
        ".lock": "canary/.lock",
        "study.log": "canary/study.log",
        "family": "canary/folder",
        "baseline.json": "canary/baseline.json",
        "run.json": "canary/precious.txt",
    }
    for name, target in links.items():

        def linked(box: Box, name: str = name, target: str = target) -> Act:
            folder = run_copy(box, "run", "out")
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(box.root / target)
            return RESUME(box, folder)

        yield Case("resume", f"{name} is a link to elsewhere", linked, (2,))
    for content in ("99999999999999999999", "-1", "0", "text", "1" * 5_000, "\x1b[2J", "\xff"):

        def locked(box: Box, content: str = content) -> Act:
            folder = run_copy(box)
            (folder / ".lock").write_bytes(content.encode("latin-1"))
            return STATUS(box, folder)

        yield Case("status", f"a lock of {content[:20]!r}", locked, (0,))
    for fault in ("a pipe", "an endless device", "a folder", "of ten gigabytes"):

        def odd_lock(box: Box, fault: str = fault) -> Act:
            folder = run_copy(box)
            (folder / ".lock").unlink(missing_ok=True)
            PLACES[fault](folder / ".lock")
            return STATUS(box, folder)

        yield Case("status", f"a lock that is {fault}", odd_lock, (0,))

        def odd_lock_resumed(box: Box, fault: str = fault) -> Act:
            folder = run_copy(box, "run", "out")
            (folder / ".lock").unlink(missing_ok=True)
            PLACES[fault](folder / ".lock")
            return RESUME(box, folder)

        yield Case("resume", f"a lock that is {fault}", odd_lock_resumed, (0, 2))
    yield Case("verify", "a folder of control characters", _odd_folder(CONTROLS), (0,))
    yield Case("verify", "a folder of no text", _odd_folder("\udcff\udcfe"), (0,))
    for text in (CONTROLS, "\udcff", "a" * 5_000, "a\0b", "", "/dev/zero", "~nobody-there/x"):
        for command in ("status", "verify", "resume", "cost"):
            name = repr(text[:20])
            yield Case(command, f"named {name}", _named(command, text))


def _named(command: str, text: str) -> Callable[[Box], Act]:
    quiet = ["--quiet"] if command in ("verify", "resume") else []
    return lambda box: [command, text, *quiet]


def _odd_folder(name: str) -> Callable[[Box], Act]:
    def make(box: Box) -> Act:
        folder = box.given / name.replace("/", "")
        shutil.copytree(valid() / "run", folder)
        return ["verify", str(folder)]

    return make


def folder_cases() -> Iterator[Case]:
    """Yield the cases of folders of results."""
    yield from _results()
    yield from _verified()
    yield from _led_astray()
