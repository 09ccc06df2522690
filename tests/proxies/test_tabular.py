"""Benchmark tables, and the proxy that looks accuracies up in them."""

import json
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import _run as command
from nas.errors import InputError
from nas.files import sha256
from nas.proxies.benchmark_table import read_table, spread_of_repeats
from nas.proxies.tabular import TableProxy
from nas.spaces.toml import space_from_dict

TINY = nas.load_space("tiny")
BUDGET = nas.parse_budget("100M-flops")


MBCONV = {"op": "mbconv", "kernel": 3, "expansion": 3}
SKIPPING: dict[str, Any] = {
    "schema": "nas-search-space/1",
    "name": "skipping",
    "source": "made up",
    "resolution": 32,
    "in_channels": 3,
    "num_classes": 10,
    "activation": "relu",
    "stem": {"kernel": 3, "stride": 2, "width": 16},
    "head": {"width": 64, "dropout": 0.0},
}


def hundred_choices(space: nas.SearchSpace) -> list[dict[str, Any]]:
    """A hundred different networks of a space."""
    rng = random.Random(0)
    found = {}
    for _ in range(1_000):
        choices = space.sample(rng)
        found.setdefault(space.decode(choices).key(), choices)
    return list(found.values())[:100]


def write(path: Path, rows: list[Any]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def rows(count: int = 100) -> list[dict[str, Any]]:
    return [
        {"choices": choices, "accuracy": round(0.5 + 0.004 * i, 4), "note": i}
        for i, choices in enumerate(hundred_choices(TINY)[:count])
    ]


def evaluate(proxy: TableProxy, arch: nas.Architecture) -> nas.Accuracy:
    return proxy.evaluate(arch, seed=0, report=lambda step, value: False)


def prepared(path: Path, space: nas.SearchSpace = TINY) -> TableProxy:
    proxy = TableProxy(read_table(path))
    proxy.prepare(space, BUDGET, Path())
    return proxy


def test_what_is_there_is_found_exactly(tmp_path: Path) -> None:
    table = rows()
    proxy = prepared(write(tmp_path / "a table.jsonl", table))
    for row in table:
        accuracy = evaluate(proxy, TINY.decode(row["choices"]))
        assert (accuracy.mean, accuracy.n, accuracy.standard_error) == (row["accuracy"], 1, 0.0)
        assert accuracy.proxy == "table"
        assert accuracy.data == "a table.jsonl"
        assert not accuracy.predicted


def test_further_keys_and_lines_are_kept(tmp_path: Path) -> None:
    table = rows(2)
    read = read_table(write(tmp_path / "t.jsonl", [table[0], "", table[1]]))
    assert [row.more for row in read.rows] == [{"note": 0}, {"note": 1}]
    assert [row.line for row in read.rows] == [1, 3]


def test_name_and_input_do_not_count(tmp_path: Path) -> None:
    table = rows(3)
    proxy = prepared(write(tmp_path / "t.jsonl", table))
    arch = TINY.decode(table[1]["choices"])
    other = replace(arch, name="mine", num_classes=7, in_channels=1, resolution=96)
    assert evaluate(proxy, other).mean == table[1]["accuracy"]
    smaller = prepared(tmp_path / "t.jsonl", replace(TINY, num_classes=2, resolution=16))
    assert evaluate(smaller, arch).mean == table[1]["accuracy"]


def test_repeats_have_a_mean_and_an_error(tmp_path: Path) -> None:
    first, second, third = hundred_choices(TINY)[:3]
    measured = [(first, 0.5), (second, 0.6), (first, 0.52), (second, 0.6), (third, 0.7)]
    table = [{"choices": c, "accuracy": a} for c, a in measured]
    proxy = prepared(write(tmp_path / "t.jsonl", table))
    one, other, single = (evaluate(proxy, TINY.decode(c)) for c in (first, second, third))
    assert one.mean == pytest.approx(0.51)
    spread = (2 * 0.01**2 / 2) ** 0.5
    assert (one.n, single.n) == (2, 1)
    assert one.standard_error == other.standard_error == pytest.approx(spread / 2**0.5)
    assert single.standard_error == pytest.approx(spread)


def test_the_spread_of_repeats() -> None:
    assert spread_of_repeats({(1,): [0.5], (2,): [0.6]}) is None
    assert spread_of_repeats({(1,): [0.5, 0.5, 0.5]}) == 0


def test_what_is_lacking_raises(tmp_path: Path) -> None:
    table = rows()
    proxy = prepared(write(tmp_path / "t.jsonl", table[1:]))
    missing = TINY.decode(table[0]["choices"])
    with pytest.raises(LookupError, match=missing.name):
        evaluate(proxy, missing)


def test_two_ways_to_write_one_network_are_one_row(tmp_path: Path) -> None:
    # A skip that is an identity leaves its stage out: how many layers it has does not count.
    stage = {"width": 16, "layers": [1, 2], "stride": 1, "block": [{"op": "skip"}, MBCONV]}
    space = space_from_dict({**SKIPPING, "stage": [stage]})
    one = {"stage1.layers": 1, "stage1.block": "skip"}
    path = write(
        tmp_path / "t.jsonl",
        [
            {"choices": one, "accuracy": 0.25},
            {"choices": {**one, "stage1.layers": 2}, "accuracy": 0.75},
        ],
    )
    accuracy = evaluate(prepared(path, space), space.decode(one))
    assert (accuracy.mean, accuracy.n) == (0.5, 2)


def test_a_whole_number_for_a_ratio_is_understood(tmp_path: Path) -> None:
    space = nas.load_space("efficientnet")
    choices = space.sample(random.Random(0)) | {"stage1.se_ratio": 0.0, "stage2.se_ratio": 0.0}
    row = {"choices": {**choices, "stage1.se_ratio": 0}, "accuracy": 0.5}
    proxy = prepared(write(tmp_path / "t.jsonl", [row]), space)
    assert evaluate(proxy, space.decode(choices)).mean == 0.5


def test_describe_and_pickle(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", rows(3))
    proxy = prepared(path)
    assert proxy.describe() == {"file": "t.jsonl", "sha256": sha256(path), "rows": 3}
    arch = TINY.decode(rows(1)[0]["choices"])
    assert evaluate(pickle.loads(pickle.dumps(proxy)), arch) == evaluate(proxy, arch)


GOOD = rows(1)[0]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", ["not JSON"]),
        ("[]", ["[]"]),
        ({"choices": {}}, ["accuracy", "missing"]),
        ({"accuracy": 0.5}, ["choices", "missing"]),
        ({**GOOD, "accuracy": 61.2}, ["accuracy", "61.2"]),
        ({**GOOD, "accuracy": "0.5"}, ["accuracy", "'0.5'"]),
        ({**GOOD, "accuracy": True}, ["accuracy", "True"]),
        ('{"choices": {}, "accuracy": NaN}', ["NaN"]),
        ('{"choices": {}, "accuracy": 0.1, "accuracy": 0.2}', ["twice"]),
        ({**GOOD, "choices": {"stage1.kernel": True}}, ["stage1.kernel"]),
        ({**GOOD, "choices": {"stage1.kernel": [3]}}, ["stage1.kernel"]),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: Any, named: list[str]) -> None:
    path = write(tmp_path / "t.jsonl", [GOOD, line])
    with pytest.raises(InputError) as error:
        read_table(path)
    text = str(error.value)
    assert "t.jsonl: line 2: " in text
    assert "\n" not in text
    for part in named:
        assert part in text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stage1.colour": 3}, "stage1.colour"),
        ({next(iter(GOOD["choices"])): 99}, "99"),
    ],
)
def test_a_row_of_another_space_is_named(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    row = {**GOOD, "choices": GOOD["choices"] | change}
    with pytest.raises(InputError, match="line 2: not of space 'tiny'") as error:
        prepared(write(tmp_path / "t.jsonl", [GOOD, row]))
    assert named in str(error.value)


def test_no_file_and_no_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="holds no rows"):
        read_table(write(tmp_path / "t.jsonl", [""]))


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────


def run_words(table: Path, out: Path, *more: str) -> list[str]:
    words = ["--space", "tiny", "--budget", "100M-flops", "--proxy", f"table:{table}"]
    return [*words, "--sampler", "random", "--no-scale", "--out", str(out), "--quiet", *more]


def test_a_run_needs_no_images_and_records_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: object, **more: object) -> None:
        raise AssertionError("loaded images")

    monkeypatch.setattr("nas.data.dataset.load_images", loaded)
    table, out = write(tmp_path / "t.jsonl", rows()), tmp_path / "run"
    assert command(run_words(table, out, "--trials", "60", "--start", str(start(tmp_path)))) == 0
    run = json.loads((out / "run.json").read_text())
    assert run["trials"]["finished"] >= 1
    assert run["trials"]["failed"] >= 7  # six in a row would end a run that trains
    assert sum(run["trials"].values()) == 60
    baseline = json.loads((out / "baseline.json").read_text())
    assert baseline["num_classes"] == TINY.num_classes
    assert baseline["provenance"]["proxy"]["sha256"] == sha256(table)
    assert baseline["provenance"]["data"] is None
    assert baseline["accuracy"]["proxy"] == "table"
    assert str(tmp_path) not in (out / "baseline.json").read_text()


def start(folder: Path) -> Path:
    """A network of the table, as a file."""
    nas.save_architecture(TINY.decode(GOOD["choices"]), folder / "start.json")
    return folder / "start.json"


def test_another_table_is_another_run_and_a_moved_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = write(tmp_path / "t.jsonl", rows()), tmp_path / "run"
    more = ["--trials", "3", "--start", str(start(tmp_path))]
    assert command(run_words(table, out, *more)) == 0
    (tmp_path / "moved").mkdir()
    moved = table.rename(tmp_path / "moved" / "t.jsonl")
    assert command(run_words(moved, out, *more)) == 0
    write(moved, rows(99))
    assert command(run_words(moved, out, *more)) == 2
    assert "proxy differ" in capsys.readouterr().err


def test_a_wrong_table_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "none.jsonl", write(tmp_path / "t.jsonl", [GOOD, "{"])):
        assert command(run_words(path, tmp_path / "run")) == 2
        err = capsys.readouterr().err
        assert path.name in err
        assert err.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_evaluate_by_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, arch = write(tmp_path / "t.jsonl", rows(3)), start(tmp_path)
    words = ["--proxy", f"table:{table}", "--space", "tiny", "--json"]
    assert command(["evaluate", str(arch), *words]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == GOOD["accuracy"]
    nas.save_architecture(TINY.decode(rows(9)[8]["choices"]), tmp_path / "other.json")
    assert command(["evaluate", str(tmp_path / "other.json"), *words]) == 2
    assert "has no row" in capsys.readouterr().err
