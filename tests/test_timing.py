"""Latencies measured on this machine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas.catalogue import load_space
from nas.cli import _run as command
from nas.errors import InputError
from nas.latency import block_keys, keys, read_table, write_table
from nas.timing import COVERS, Device, covering, end_to_end, measure, setting

TINY = load_space("tiny")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_SEARCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["tiny", "efficientnet", "joint-block"])
def test_networks_that_cover_a_space_have_every_block_and_are_few(name: str) -> None:
    space = load_space(name)
    networks = covering(space, set())
    times = dict.fromkeys(block_keys(space), 0)
    for network in networks:
        for key in keys(network):
            times[key] += 1
    assert min(times.values()) >= COVERS
    # No fewer can have all blocks of the stage with the most of them.
    widths, most = {space.stem.width}, 0
    for index in range(len(space.stages)):
        options = [option for width in widths for option in space.options(index, width)]
        widths, most = {option.width for option in options}, max(most, len(options))
    assert len(networks) <= COVERS * most
    assert covering(space, set(times)) == []
    [missing] = list(times)[5:6]
    some = covering(space, set(times) - {missing})
    assert 0 < len(some) <= COVERS
    assert all(missing in keys(network) for network in some)


@pytest.mark.parametrize("backend", ["pytorch", "onnxruntime"])
def test_every_block_is_measured_and_the_sums_are_checked(backend: str) -> None:
    where = setting(backend, "cpu", 2)  # type: ignore[arg-type]
    assert where.batch == 2
    table = measure(TINY, where, rounds=1, checked=4)
    assert set(table.blocks) == set(block_keys(TINY))
    for timing in table.blocks.values():
        assert 0 < timing.low <= timing.median <= timing.high
        assert timing.repeats >= COVERS
    assert table.check is not None
    assert table.check.networks == 4
    assert 0 < table.check.fastest <= table.check.slowest
    # A block of much work takes longer than one of little, on whatever machine.
    big = measure(replace(TINY, resolution=128), where, rounds=1, checked=0)
    assert sum(t.median for t in big.blocks.values()) > sum(t.median for t in table.blocks.values())
    assert big.check is None


def test_what_was_measured_is_remembered_and_measured_again_when_asked() -> None:
    device = Device()
    first = device.table(TINY, checked=2)
    assert device.table(TINY, checked=2).blocks == first.blocks
    again = replace(device, again=True).table(TINY, checked=2)
    assert set(again.blocks) == set(first.blocks)
    assert again.blocks != first.blocks
    # With other classes only the heads are new.
    other = device.table(replace(TINY, num_classes=7), checked=2)
    assert {key.split()[0] for key in set(other.blocks) - set(again.blocks)} == {"head"}
    assert set(block_keys(replace(TINY, num_classes=7))) == set(other.blocks)
    # Measuring those again forgets nothing else.
    renewed = replace(device, again=True).table(replace(TINY, num_classes=7), checked=2)
    assert renewed.blocks != other.blocks
    heads = {key: timing for key, timing in again.blocks.items() if key.startswith("head")}
    assert {key: device.table(TINY, checked=2).blocks[key] for key in heads} == heads


def test_whole_networks_take_turns() -> None:
    where = setting("pytorch", "cpu", 1)
    networks = covering(TINY, set())[:2]
    taken = end_to_end(networks, where, 5)
    assert [len(runs) for runs in taken] == [5, 5]
    assert all(value > 0 for runs in taken for value in runs)
    assert Device().whole(networks[0], 3).repeats == 3


def test_a_runtime_that_is_not_on_the_device_is_refused() -> None:
    with pytest.raises(InputError, match="device 'cuda' is not accepted: cpu"):
        setting("onnxruntime", "cuda", 1)


def test_the_command_writes_a_table_that_a_search_can_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "here.json"
    assert command(["latency", "--space", "tiny", "--out", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["blocks"] == len(read_table(path).blocks)
    assert said["check"]["networks"] == 30
    assert command(["latency", "--space", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "checked   30 whole networks, " in out


def test_a_run_measures_once_and_says_what_the_baseline_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = [
        *(
            "--space",
            "tiny",
            "--budget",
            "60000ms-latency",
            "--proxy",
            "zero-cost:params",
            "--no-scale",
        ),
        *("--trials", "5", "--out", str(out)),
    ]
    assert command(words) == 0
    said = capsys.readouterr()
    assert "latency of the baseline: " in said.err
    before = (out / "latency.json").read_bytes()
    state = json.loads((out / "run.json").read_text())
    assert state["latency"]["whole"]["median"] > 0
    assert command([*words, "--quiet"]) == 0
    assert (out / "latency.json").read_bytes() == before
    state = json.loads((out / "run.json").read_text())
    assert state["sessions"] == 2
    assert any(note.startswith("latency: ") and "whole networks" in note for note in state["notes"])
    # Measured otherwise, it is another run.
    capsys.readouterr()
    other = ["--latency-backend", "onnxruntime", "--latency-batch", "8"]
    assert command([*words, *other]) == 2
    said = capsys.readouterr().err
    assert "holds another run: latency backend, latency batch differ" in said
    assert (out / "latency.json").read_bytes() == before
    assert json.loads((out / "run.json").read_text()) == state


def test_a_table_of_another_machine_is_not_held_against_this_ones_clock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run taken to another machine goes on with its latencies, and measures none anew."""
    out = tmp_path / "run"
    words = ["--space", "tiny", "--budget", "60000ms-latency", "--proxy", "zero-cost:params"]
    words += ["--no-scale", "--trials", "3", "--quiet", "--out", str(out)]
    elsewhere = measure(TINY, setting("pytorch", "cpu", 1), rounds=1, checked=0)
    elsewhere = replace(elsewhere, setting=replace(elsewhere.setting, processor="another"))
    write_table(tmp_path / "there.json", elsewhere)
    assert command([*words, "--latency-table", str(tmp_path / "there.json")]) == 0
    assert command(words) == 0
    assert json.loads((out / "run.json").read_text())["latency"]["whole"] is None
