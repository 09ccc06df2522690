"""Architectures: a document that every command reads first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.corpus.case import (
    NO_ESCAPE,
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

COST = words("cost", "FILE")
STAGE: dict[str, Any] = {
    "op": "mbconv",
    "kernel": 3,
    "stride": 1,
    "expansion": 1,
    "width": 8,
    "layers": 1,
    "se_ratio": 0.0,
}


def _huge(data: Any) -> None:
    data["stages"] = [{**STAGE, "width": 65_536, "expansion": 64, "layers": 2}]


def _many(data: Any) -> None:
    data["stages"] = [{**STAGE, "layers": 256} for _ in range(100)]


def _dear(data: Any) -> None:
    wide = {**STAGE, "width": 4_096}
    data["stages"] = [wide, {**wide, "op": "fused_mbconv", "kernel": 11, "expansion": 2}]


BROKEN = {
    "an even kernel": put("stages", 0, "kernel", value=4),
    "a width of 10^30": put("stages", 0, "width", value=10**30),
    "no stem": drop("stem"),
    "another schema": put("schema", value="nas-search-architecture/99"),
    "an operation that is code": put("stages", 0, "op", value="__import__('os').system('id')"),
    "stages that are no list": put("stages", value={"0": STAGE}),
    "a thousand stages": put("stages", value=[STAGE] * 1_000),
    "a name of a megabyte": put("name", value="n" * (1 << 20)),
    "no name": put("name", value=""),
    "an accuracy above one": put(
        "accuracy", value={"mean": 1.5, "standard_error": 0.0, "n": 1, "seeds": []}
    ),
    "a cost below nothing": put("cost", "flops", value=-1),
    "a momentum of text": put("norm", "momentum", value="0.1"),
    "a dropout of one": put("head", "dropout", value=1.0),
    "a terabyte of weights": _huge,
    "a block of four thousand million weights": _dear,
    "twenty thousand layers": _many,
    "a million classes of a wide head": lambda data: data.update(
        num_classes=1_000_000, head={"width": 65_536, "dropout": 0.0}
    ),
    "a control character as operation": put("stages", 0, "op", value=CONTROLS),
    "an activation of control characters": put("activation", value=CONTROLS),
}

ODD = {
    "a name of control characters": put("name", value=CONTROLS),
    "a name that is a path": put("name", value=NO_ESCAPE),
    "a name that is a tag": put("name", value="<script>alert(1)</script>"),
    "a name that is markup": put("name", value="[bold red]no[/] [link=file:///etc/passwd]x[/link]"),
    "a name of dots": put("name", value=".."),
    "a provenance of anything": put("provenance", value={"x": [[{"y": CONTROLS}]]}),
}
"""Free text and free data: valid, and to be shown and written without harm."""


def architecture_cases() -> Iterator[Case]:
    """Yield the cases of architectures."""
    reader, name = "architecture", "architecture.json"
    yield from of_place(reader, name, COST)
    yield from of_bytes(reader, name, COST, BYTES)
    yield from of_bytes(reader, name, COST, HARMLESS, 0)
    yield from of_text(reader, name, COST, {**JSON, **UNKNOWN, **WRONG})
    yield from of_data(reader, name, COST, BROKEN)
    yield from of_data(reader, name, COST, ODD, 0)
    yield from of_data(
        "architecture, written",
        name,
        words("export", "FILE", "--to", "torch", "--out", "OUT", "--quiet"),
        {**ODD, "a name that is Python": put("name", value='"""\nraise SystemExit(3)\n"""')},
        0,
    )
    triple = ("--alpha", "1.2", "--beta", "1.1", "--gamma", "1.15", "--phi", "1")
    yield from of_data(
        "architecture, scaled", name, words("scale", "FILE", *triple, "--out", "OUT"), ODD, 0
    )
    few = {fault: BYTES[fault] for fault in ("half of it", "UTF-16")}
    search = ("--space", "tiny", "--budget", "3M-flops", "--no-scale", "--quiet", "--out", "OUT")
    for option, meet in {
        "scale": words("scale", "FILE", *triple),
        "export": words("export", "FILE", "--to", "json", "--out", "OUT", "--quiet"),
        "compare": words("compare", "FILE", "efficientnet-b0", "--quiet", "--out", "OUT"),
        "train": words("train", "FILE", "--quiet", "--out", "OUT"),
        "evaluate": words("evaluate", "FILE", "--quiet"),
        "--teacher": words(
            *("train", "efficientnet-b0", "--teacher", "FILE", "--teacher-weights", "FILE"),
            *("--quiet", "--out", "OUT"),
        ),
        "--start": words(*search, "--start", "FILE"),
        "--reference": words(*search, "--reference", "FILE"),
    }.items():
        yield from of_bytes(f"architecture, {option}", name, meet, few)
        yield from of_text(
            f"architecture, {option}", name, meet, {f: JSON[f] for f in ("a key twice", "NaN")}
        )
        pipes = set(PLACES) - {"a pipe", "an endless device"}
        yield from of_place(f"architecture, {option}", name, meet, *pipes)
    yield from of_data(
        "architecture, export",
        name,
        words("export", "FILE", "--to", "torch", "--out", "OUT", "--quiet"),
        {"images of a terabyte": put("resolution", value=16_384), "twenty thousand layers": _many},
    )
