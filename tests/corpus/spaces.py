"""Search spaces and budgets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.corpus.box import Act, Box
from tests.corpus.case import (
    NO_ESCAPE,
    Case,
    of_bytes,
    of_place,
    of_text,
    words,
)
from tests.corpus.faults import BYTES, CONTROLS, HARMLESS, PLACES, TOML
from tests.corpus.valid import tiny, valid

SEARCH = words(
    *("--space", "FILE", "--budget", "3M-flops", "--proxy", "training", "--trials", "1"),
    *("--no-scale", "--quiet", "--out", "OUT"),
)
BUDGETED = words(
    *("--space", "tiny", "--budget", "FILE", "--proxy", "table:missing.jsonl"),
    *("--no-scale", "--quiet", "--out", "OUT"),
)

WIDE = """schema = "nas-search-space/1"
name = "wide"
resolution = 32
num_classes = 10
activation = "relu"
stem = { kernel = 3, stride = 1, width = 8 }
head = { width = 64, dropout = 0.1 }
"""


def _wide(stages: int, choices: int) -> str:
    numbers = ", ".join(map(str, range(1, choices + 1)))
    odd = ", ".join(str(2 * i + 1) for i in range(16))
    ratios = ", ".join(f"{i / choices}" for i in range(choices))
    stage = (
        f'[[stage]]\nop = ["mbconv", "fused_mbconv"]\nkernel = [{odd}]\nexpansion = [{numbers}]\n'
        f"layers = [{numbers}]\nwidth = [{numbers}]\nstride = 1\nse_ratio = [{ratios}]\n"
    )
    return WIDE + stage * stages


SPACES: Mapping[str, Callable[[str], str]] = {
    "a thousand million options of a stage": lambda text: _wide(1, 64),
    "64 stages of a million options": lambda text: _wide(64, 16),
    "a stage of a terabyte": lambda text: (
        WIDE + '[[stage]]\nop = "mbconv"\nkernel = 3\nexpansion = 64\nlayers = 2\n'
        "width = 65536\nstride = 1\n"
    ),
    "no stages": lambda text: WIDE + "stage = []",
    "a value twice": lambda text: text.replace("expansion = [1, 2]", "expansion = [1, 1]"),
    "a block twice": lambda text: text.replace('{ op = "skip" },', '{ op = "skip" },' * 2),
    "a block and an operation": lambda text: text.replace("block = [", 'op = "skip"\nblock = ['),
    "an operation that is code": lambda text: text.replace('"relu"', "\"__import__('os')\""),
    "a name of a megabyte": lambda text: text.replace('"tiny"', f'"{"n" * (1 << 20)}"'),
}


def space_cases() -> Iterator[Case]:
    """Yield the cases of search spaces."""
    name = "space.toml"
    # What reads well, and is a search for which there is no time here, is told apart elsewhere.
    yield from of_place("space", name, SEARCH)
    yield from of_bytes("space", name, SEARCH, BYTES)
    yield from of_bytes("space", name, lambda box, file: lambda: _load_space(file), HARMLESS, 0)
    yield from of_text("space", name, SEARCH, TOML)
    yield from of_text("space", name, SEARCH, SPACES)
    pipes = set(PLACES) - {"a pipe", "an endless device"}
    for option, meet in {
        "fidelity": words("fidelity", "--table", "FILE", "--space", "FILE", "--quiet"),
        "latency": words("latency", "--space", "FILE", "--quiet"),
        "table": words("table", "--space", "FILE", "--flops", "1M-3M", "--out", "OUT", "--quiet"),
        "evaluate": words("evaluate", "efficientnet-b0", "--space", "FILE", "--quiet"),
    }.items():
        yield from of_bytes(f"space, {option}", name, meet, {"half of it": BYTES["half of it"]})
        yield from of_place(f"space, {option}", name, meet, *pipes)
    for fault in ("a name of control characters", "a name that is a path"):
        yield Case("space, written", fault, _named_space(fault), (0,))
    yield Case("space, measured", "a name that is a path", _profiled_space, (0,))


def _load_space(file: Path) -> object:
    import nas

    return nas.load_space(file)


def _named_space(fault: str) -> Callable[[Box], Act]:
    """A whole search in a space with such a name."""
    name = {"a name of control characters": CONTROLS, "a name that is a path": NO_ESCAPE}[fault]

    def make(box: Box) -> Act:
        text = (valid() / "space.toml").read_text(encoding="utf-8")
        file = box.given / "space.toml"
        file.write_text(text.replace('"tiny"', json.dumps(name)), encoding="utf-8")
        table = f"table:{valid() / 'table.jsonl'}"
        return [
            *("--space", str(file), "--budget", "3M-flops", "--proxy", table, "--trials", "2"),
            *("--no-scale", "--out", str(box.out / "run"), "--quiet"),
        ]

    return make


def _profiled_space(box: Box) -> Act:
    """ONNX Runtime writes a profile: under a name of its own, not the network's."""
    from dataclasses import replace

    def act() -> object:
        from nas.export.latency_benchmark import _Job, _timed
        from nas.spaces.latency_table import Setting

        network = tiny().decode({n: v[0] for n, v in tiny().choices.items()})
        where = Setting("onnxruntime", "cpu", "a processor", 1, 1, {})
        job = _Job(replace(network, name=NO_ESCAPE), 2, 2)
        _timed([job], where, 0)
        return job

    return act


BUDGETS: Mapping[str, Callable[[str], str]] = {
    "no limits": lambda text: text.partition("flops")[0],
    "an unknown limit": lambda text: text + "watts = 3\n",
    "a limit of 10^30": lambda text: text.replace("3_000_000", "1" + "0" * 30),
    "a latency of no time": lambda text: text + "latency_ms = 0.0\n",
    "a latency that is no number": lambda text: text + "latency_ms = nan\n",
    "an endless latency": lambda text: text + "latency_ms = inf\n",
    "a description that is a list": lambda text: text.replace('"small"', '["small"]'),
    "less than the cheapest network": lambda text: text.replace("3_000_000", "1"),
}


def budget_cases() -> Iterator[Case]:
    """Yield the cases of budgets."""
    name = "budget.toml"
    yield from of_place("budget", name, BUDGETED)
    yield from of_bytes("budget", name, BUDGETED, BYTES)
    yield from of_bytes("budget", name, lambda box, file: lambda: _load_budget(file), HARMLESS, 0)
    yield from of_text("budget", name, BUDGETED, {**TOML, **BUDGETS})
    for text in (
        *("", "+", "400M", "400M-watts", "-1M-flops", "0-flops", "1e9-flops", "NaN-flops"),
        *("1M-flops+1M-flops", "9" * 5_000 + "-flops", "1M-flops\n", CONTROLS, "../../etc/passwd"),
        *(
            "..",
            "a" * 5_000,
            "a" * 5_000 + ".toml",
            "\u0661M-flops",
            "0.0000001ms-latency",
            "~/x.toml",
        ),
    ):
        given = ["--space", "tiny", "--budget", text, "--quiet", "--no-scale", "--out", "made"]
        name = repr(text) if len(text) < 40 else f"{text[:8]!r} and so on, {len(text):,} characters"
        yield Case("budget, in words", name, lambda box, given=given: given)


def _load_budget(file: Path) -> object:
    import nas

    return nas.load_budget(file)
