"""Latency as a budget: the table, its sums, and what is kept within a limit."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.cli import _run as command
from nas.errors import InputError
from nas.spaces.budget import Budget, parse_budget
from nas.spaces.encoding import Encoding
from nas.spaces.feasible import Feasible
from nas.spaces.latency_table import (
    Check,
    LatencyTable,
    Setting,
    TableFile,
    Timing,
    block_keys,
    keys,
    read_table,
    write_table,
)
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace

TINY = load_space("tiny")
HERE = Setting("pytorch", "cpu", "a processor", 1, 2, {"torch": "2.13.0"})


def table(space: SearchSpace = TINY, seed: int = 0) -> LatencyTable:
    """Latencies that have nothing to do with FLOPs."""
    rng = random.Random(seed)
    blocks = {
        key: Timing(median, median - 5, median + 5, 30)
        for key in block_keys(space)
        for median in (rng.randrange(10_000, 900_000),)
    }
    return LatencyTable(HERE, blocks, Check(30, 0.05, 0.01, 0.9, 0.95, 10**6, 10**7))


def every(space: SearchSpace) -> list[dict[str, Any]]:
    names = list(space.choices)
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*space.choices.values())
    ]


@pytest.mark.parametrize("name", ["tiny", "efficientnet", "joint-block"])
def test_the_keys_of_a_space_are_those_of_its_networks(name: str) -> None:
    space = load_space(name)
    all_keys = set(block_keys(space))
    seen: set[str] = set()
    for seed in range(300):
        own = keys(space.decode(space.sample(random.Random(seed))))
        assert set(own) <= all_keys
        seen |= set(own)
    assert len(seen) > 0.8 * len(all_keys)


def test_sums_are_the_same_by_network_and_by_stage() -> None:
    latencies = table()
    feasible = Feasible(TINY, replace(parse_budget("1000ms-latency"), latencies=latencies))
    for seed in range(50):
        choices = TINY.sample(random.Random(seed))
        network = TINY.decode(choices)
        whole = latencies.of(network)
        assert whole == sum(latencies.blocks[key].median for key in keys(network))
        encoding = Encoding(feasible)
        [[*_, by_stage]] = encoding.settle(encoding.row(choices)[None])[1]
        assert by_stage == whole


def test_padding_makes_other_blocks() -> None:
    padded = replace(TINY, padding="same")
    assert not set(block_keys(padded)) & set(block_keys(TINY))
    latencies = table(padded)
    feasible = Feasible(padded, replace(parse_budget("1000ms-latency"), latencies=latencies))
    choices = padded.sample(random.Random(0))
    encoding = Encoding(feasible)
    [[*_, by_stage]] = encoding.settle(encoding.row(choices)[None])[1]
    assert by_stage == latencies.of(padded.decode(choices))


def test_what_fits_is_exactly_what_is_within_both_limits() -> None:
    latencies = table()
    networks = {}
    for choices in every(TINY):
        network = TINY.decode(choices)
        networks[network.key()] = (latencies.of(network), network)
    limit = sorted(latency for latency, _ in networks.values())[len(networks) // 10]
    budget = replace(parse_budget("900K-flops"), latency_ms=limit / 1e6, latencies=latencies)
    feasible = Feasible(TINY, budget)
    found = {TINY.decode(choices).key() for choices in feasible}
    flops = Feasible(TINY, parse_budget("900K-flops"))
    expected = {
        key
        for key, (latency, network) in networks.items()
        if latency <= limit and flops.allows(TINY.encode(network))
    }
    assert 0 < len(expected) < len(networks)
    assert found == expected
    for seed in range(20):
        assert TINY.decode(feasible.sample(random.Random(seed))).key() in expected


def test_the_least_latency_is_named_where_nothing_fits() -> None:
    latencies = table()
    least = min(latencies.of(TINY.decode(choices)) for choices in every(TINY))
    just = Budget("just", latency_ms=least / 1e6, latencies=latencies)
    Feasible(TINY, just).check()
    assert Feasible(TINY, just).least("latency_ms") == least
    with pytest.raises(
        InputError, match=r"within 0\.0010 ms|within 0\.00 ms latency; the cheapest"
    ):
        Feasible(TINY, replace(just, latency_ms=0.001)).check()


def test_a_limit_without_latencies_is_refused() -> None:
    with pytest.raises(InputError, match="needs a latency table"):
        Feasible(TINY, parse_budget("20ms-latency"))


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "phone.json"
    write_table(path, table())
    assert read_table(path) == table()
    assert read_table(path).fingerprint() == table().fingerprint() != table(seed=1).fingerprint()
    assert TableFile(path).table(TINY) == table()
    with pytest.raises(InputError, match=r"phone\.json: latency table: has no (stem|block|head) "):
        TableFile(path).table(load_space("efficientnet"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "nas-search-latency/9"}, "schema"),
        ({"blocks": {"stem": {"median": 0, "low": 0, "high": 0, "repeats": 1}}}, "median"),
        ({"blocks": {"stem": {"median": 1.5, "low": 1, "high": 2, "repeats": 1}}}, "median"),
        ({"setting": None}, "setting"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(table().to_dict() | change))
    with pytest.raises(InputError) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


BASE = ["--space", "efficientnet", "--proxy", "imagenet", "--trials", "12", "--no-scale", "--quiet"]


def test_a_search_within_flops_and_milliseconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = load_space("efficientnet")
    latencies = table(space)
    path = tmp_path / "phone.json"
    write_table(path, latencies)
    drawn = [latencies.of(space.decode(space.sample(random.Random(i)))) for i in range(40)]
    limit = sorted(drawn)[10]
    out = tmp_path / "run"
    words = [
        *("--budget", f"500M-flops+{limit / 1e6:.6f}ms-latency", "--latency-table", str(path)),
        *BASE,
        *("--out", str(out)),
    ]
    assert command([*words, "--json"]) == 0
    baseline = json.loads(capsys.readouterr().out)["baseline"]
    for point in json.loads((out / "front.json").read_text())["points"]:
        assert point["provenance"]["latency"]["nanoseconds"] <= limit
        assert point["cost"]["flops"] <= 500_000_000
    assert baseline["provenance"]["latency"]["table"] == latencies.fingerprint()
    assert read_table(out / "latency.json") == latencies
    state = json.loads((out / "run.json").read_text())
    assert state["latency"] == {
        "sum": baseline["provenance"]["latency"]["nanoseconds"],
        "whole": None,
    }
    assert command(["verify", str(out)]) == 0
    # The same command goes on from it; another table is another run.
    assert command(words) == 0
    write_table(path, table(space, seed=1))
    assert command(words) == 2
    assert "holds another run: latency differ" in capsys.readouterr().err
    assert command(["resume", str(out), "--trials", "14", "--quiet"]) == 2
    # Where the table is gone, the run goes on with its copy, and says again how good it is.
    path.unlink()
    assert command(["resume", str(out), "--trials", "14", "--quiet"]) == 0
    state = json.loads((out / "run.json").read_text())
    assert state["trials"]["finished"] == 14
    assert any(note.startswith("latency: a processor, ") for note in state["notes"])
    assert command([*words[:-1], str(tmp_path / "other")]) == 2  # of another run there is none


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "400M-flops", "--latency-batch", "2"], "--latency-batch: not accepted"),
        (
            [
                "--budget",
                "9ms-latency",
                "--latency-table",
                "t.json",
                "--latency-backend",
                "pytorch",
            ],
            "--latency-backend: not accepted with --latency-table",
        ),
        (["--budget", "9ms-latency", "--latency-backend", "tvm"], "'tvm' is not accepted: pytorch"),
        (["--budget", "9ms-latency", "--latency-batch", "0"], "batch: 0 is not accepted"),
        (["--budget", "9ms-latency", "--latency-table", "none.json"], "none.json"),
    ],
)
def test_wrong_options_are_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command([*words, *BASE]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()
