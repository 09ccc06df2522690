"""Benchmark tables and latency tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.corpus.box import Act, Box
from tests.corpus.case import (
    Case,
    drop,
    of_bytes,
    of_data,
    of_place,
    of_text,
    put,
    words,
)
from tests.corpus.faults import BYTES, CONTROLS, HARMLESS, JSON, PLACES, UNKNOWN, WRONG
from tests.corpus.valid import valid

JUDGED = words("fidelity", "--table", "FILE", "--space", "tiny", "--proxy", "table:FILE", "--quiet")
FITTED = words("fit-predictor", "FILE", "--space", "tiny", "--out", "OUT", "--quiet")


def _line(text: str, change: Callable[[Any], object]) -> str:
    first, _, rest = text.partition("\n")
    data = json.loads(first)
    change(data)
    return f"{json.dumps(data)}\n{rest}"


LINES: Mapping[str, Callable[[Any], object]] = {
    "an accuracy above one": put("accuracy", value=1.01),
    "an accuracy of text": put("accuracy", value="0.5"),
    "an accuracy of 10^400": put("accuracy", value=10**400),
    "an accuracy of true": put("accuracy", value=True),
    "no accuracy": drop("accuracy"),
    "no choices": drop("choices"),
    "choices of another space": put("choices", value={"stage9.kernel": 3}),
    "choices that are a list": put("choices", value=[3, 5]),
    "a choice of a list": put("choices", "stage1.op", value=["mbconv"]),
    "a choice of control characters": put("choices", "stage1.op", value=CONTROLS),
    "a choice of 4,000 digits": put("choices", "stage1.expansion", value=int("7" * 4_000)),
    "a choice of a megabyte": put("choices", "stage1.op", value="m" * (1 << 20)),
    "a choice named by control characters": put("choices", CONTROLS, value=3),
}


def table_cases() -> Iterator[Case]:
    """Yield the cases of benchmark tables."""
    name = "table.jsonl"
    yield from of_place("table", name, JUDGED)
    yield from of_bytes("table", name, JUDGED, {**BYTES, "half of it": lambda b: b[:-20]})
    yield from of_bytes("table", name, JUDGED, HARMLESS, 0)
    documents = {"two documents", "a list", "a number", "null", "a string", "an empty object"}
    faults = {fault: change for fault, change in JSON.items() if fault not in documents}
    yield from of_text("table", name, JUDGED, faults)
    yield from of_text(
        "table", name, JUDGED, {f: lambda text, c=c: _line(text, c) for f, c in LINES.items()}
    )
    more: Mapping[str, Callable[[str], str]] = {
        "one row": lambda text: text.partition("\n")[0],
        "blank lines alone": lambda text: "\n" * 100,
        "twenty million blank lines": lambda text: "\n" * 20_000_000,
        "all accuracies the same": lambda text: _same(text),
    }
    yield from of_text("table", name, JUDGED, more, 2)
    kept = {
        "further keys of anything": lambda text: _line(
            text, put(CONTROLS, value={"a": [CONTROLS, None]})
        )
    }
    yield from of_text("table", name, JUDGED, kept, 0)
    few = {fault: BYTES[fault] for fault in ("noise", "UTF-16")}
    proxy = ("--space", "tiny", "--proxy", "table:FILE")
    pipes = set(PLACES) - {"a pipe", "an endless device"}
    for option, meet in {
        "fit-predictor": FITTED,
        "--proxy": words(*proxy, "--budget", "3M-flops", "--no-scale", "--quiet", "--out", "OUT"),
        "evaluate": words("evaluate", "FILE", *proxy, "--quiet"),
    }.items():
        yield from of_bytes(f"table, {option}", name, meet, few)
        yield from of_place(f"table, {option}", name, meet, *pipes)


def _same(text: str) -> str:
    rows = [json.loads(line) for line in text.splitlines()]
    return "".join(json.dumps({**row, "accuracy": 0.5}) + "\n" for row in rows[:5])


# -- latencies ------------------------------------------------------------------------------------

TIMED = words(
    *("--space", "tiny", "--budget", "20ms-latency", "--latency-table", "FILE"),
    *("--proxy", "table:TABLE", "--trials", "1", "--no-scale", "--quiet", "--out", "OUT"),
)


def _timed(box: Box, file: Path) -> Act:
    made = TIMED(box, file)
    assert isinstance(made, list)
    return [word.replace("TABLE", str(valid() / "table.jsonl")) for word in made]


def _block(data: Any) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(data["blocks"].values()))
    return found


LATENCIES: Mapping[str, Callable[[Any], object]] = {
    "no blocks": put("blocks", value={}),
    "a block missing": lambda data: data["blocks"].popitem(),
    "a block named by control characters": put("blocks", CONTROLS, value=3),
    "a median of nothing": lambda data: _block(data).update(median=0),
    "a median of 10^30": lambda data: _block(data).update(median=10**30),
    "a median with a fraction": lambda data: _block(data).update(median=1.5),
    "a backend that is not known": put("setting", "backend", value="cuda; rm -rf /"),
    "a batch of text": put("setting", "batch", value="1"),
    "versions that are a list": put("setting", "versions", value=[1]),
    "a check that is no check": put("check", value={"networks": 1}),
    "another schema": put("schema", value="nas-search-latency/2"),
}


def latency_cases() -> Iterator[Case]:
    """Yield the cases of latency tables."""
    name = "latency.json"
    yield from of_place("latency", name, _timed)
    yield from of_bytes("latency", name, _timed, BYTES)
    yield from of_text("latency", name, _timed, {**JSON, **UNKNOWN, **WRONG})
    yield from of_data("latency", name, _timed, LATENCIES)
    yield from of_data(
        *("latency", name, _timed),
        {"a processor of control characters": put("setting", "processor", value=CONTROLS)},
        0,
    )
