"""Latencies measured on this machine."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

import nas
from nas.cli import _run as command
from nas.errors import InputError
from nas.export.latency_benchmark import Device, _at_once, _Job, _scaled, _timed, measure, setting
from nas.export.latency_networks import COVERS, covering
from nas.spaces.latency_table import Timing, block_keys, keys, read_table, write_table
from nas.spaces.registry import load_space

TINY = load_space("tiny")
SMALL = replace(TINY, stages=TINY.stages[:1])  # whose blocks are measured in seconds


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


@pytest.mark.parametrize(
    ("backend", "padding"),
    [("pytorch", "symmetric"), ("onnxruntime", "symmetric"), ("onnxruntime", "same")],
)
def test_every_block_is_measured_and_the_sums_are_checked(backend: str, padding: str) -> None:
    where = setting(backend, "cpu", 2)  # type: ignore[arg-type]
    assert where.batch == 2
    space = replace(SMALL, padding=padding)
    table = measure(space, where, rounds=1, checked=4)
    assert set(table.blocks) == set(block_keys(space))
    for timing in table.blocks.values():
        assert 0 < timing.low <= timing.median <= timing.high
        assert timing.repeats >= COVERS
    assert table.check is not None
    assert table.check.networks == 4
    assert 0 < table.check.fastest <= table.check.slowest
    # A block of much work takes longer than one of little, on whatever machine.
    big = measure(replace(space, resolution=128), where, rounds=1, checked=0)
    assert sum(t.median for t in big.blocks.values()) > sum(t.median for t in table.blocks.values())
    assert big.check is None


def test_what_was_measured_is_remembered_and_measured_again_when_asked() -> None:
    device = Device()
    first = device.table(SMALL, checked=2)
    assert device.table(SMALL, checked=2).blocks == first.blocks
    again = replace(device, again=True).table(SMALL, checked=2)
    assert set(again.blocks) == set(first.blocks)
    assert again.blocks != first.blocks
    # With other classes only the heads are new.
    other = device.table(replace(SMALL, num_classes=7), checked=2)
    assert {key.split()[0] for key in set(other.blocks) - set(again.blocks)} == {"head"}
    assert set(block_keys(replace(SMALL, num_classes=7))) == set(other.blocks)
    # Measuring those again forgets nothing else.
    renewed = replace(device, again=True).table(replace(SMALL, num_classes=7), checked=2)
    assert renewed.blocks != other.blocks
    heads = {key: timing for key, timing in again.blocks.items() if key.startswith("head")}
    assert {key: device.table(SMALL, checked=2).blocks[key] for key in heads} == heads


@pytest.mark.parametrize("backend", ["pytorch", "onnxruntime"])
def test_networks_take_turns(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = setting(backend, "cpu", 1)  # type: ignore[arg-type]
    first, second = covering(TINY, set())[:2]
    jobs = [_Job(first, 5), _Job(second, 4, 3)]
    _timed(jobs, where, 0)
    assert [len(job.ends) for job in jobs] == [5, 4]
    assert [len(job.blocks) for job in jobs] == [0, 3]
    assert all(len(run) == len(keys(second)) for run in jobs[1].blocks)
    # Every run has a time, and no block has none: what a profile says is given to the right ones.
    assert min(jobs[0].ends) > 1
    assert all(
        median(run[place] for run in jobs[1].blocks) > 1 for place in range(len(keys(second)))
    )
    assert Device().whole(first, 3).repeats == 3
    # All at once, or as many as there is memory for.
    assert _at_once(jobs, where) == 2
    monkeypatch.setattr("nas.export.latency_benchmark._MEMORY", 1e-9)
    assert _at_once(jobs, where) == 1


def test_blocks_are_scaled_so_that_sums_agree_with_whole_networks() -> None:
    """Timing inside costs a fifth, and errs by up to 15 % a block: whole networks tell."""
    rng = random.Random(0)
    networks = [TINY.decode(TINY.sample(rng)) for _ in range(260)]
    names = sorted({key for network in networks for key in keys(network)})
    truth = {key: rng.randrange(50_000, 500_000) for key in names}
    seen = {key: round(1.2 * truth[key] * rng.uniform(0.85, 1.15)) for key in names}

    def job(network: nas.Architecture) -> _Job:
        whole = sum(truth[key] for key in keys(network))
        return _Job(network, 3, 3, [whole] * 3, [[seen[key] for key in keys(network)]] * 3)

    jobs = [job(network) for network in networks]
    learnt, others = jobs[:200], jobs[200:]
    table = _scaled(learnt, learnt, {})

    def error(blocks: Mapping[str, float]) -> float:
        sums = [sum(blocks[key] for key in keys(job.network)) for job in others]
        return sum(abs(s / job.whole - 1) for s, job in zip(sums, others, strict=True)) / len(sums)

    assert error(seen) > 0.15
    assert error({key: value / 1.2 for key, value in seen.items()}) > 0.02
    assert error({key: timing.median for key, timing in table.items()}) < 0.005
    # What is known stays as it is, and the rest is what it leaves.
    known = {key: Timing(truth[key], truth[key], truth[key], 9) for key in names[::2]}
    rest = _scaled(learnt, learnt, known)
    assert set(rest) == set(names) - set(known)
    both = {key: timing.median for key, timing in (known | rest).items()}
    assert error(both) < 0.005

    # What the machine is slower now than it was then is not what the new ones are slower.
    def slower(job: _Job) -> _Job:
        blocks = [[round(1.3 * value) for value in run] for run in job.blocks]
        return replace(job, ends=[round(1.3 * value) for value in job.ends], blocks=blocks)

    late = [slower(job) for job in learnt]
    after = _scaled(late, late, known)
    assert error({key: timing.median for key, timing in (known | after).items()}) < 0.01
    # A block that no whole network has keeps what was measured inside, but for what that costs.
    without = [job for job in learnt if not set(keys(job.network)[1:-1]) & set(names[1:9])]
    kept = _scaled(learnt, without, {})
    factor = kept[names[1]].median / seen[names[1]]
    assert factor == pytest.approx(1 / 1.2, rel=0.05)
    assert all(
        kept[key].median / seen[key] == pytest.approx(factor, rel=1e-4) for key in names[1:9]
    )


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
    assert command([*words, "--resolution", "64"]) == 2
    assert "holds another run: space differ" in capsys.readouterr().err


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


@pytest.mark.parametrize("backend", ["pytorch", "onnxruntime"])
def test_a_block_of_much_work_takes_longer_than_one_of_little(backend: str) -> None:
    """In one network: what takes long is told apart from what does not, by either backend."""
    light = nas.Stage("mbconv", kernel=3, expansion=1, width=8, layers=1, stride=1, se_ratio=0.0)
    heavy = replace(light, kernel=5, expansion=6, width=64)
    some = TINY.decode(TINY.sample(random.Random(0)))
    network = replace(some, resolution=96, stages=(light, heavy, light))
    job = _Job(network, 1, 5)
    _timed([job], setting(backend, "cpu", 1), 0)  # type: ignore[arg-type]
    taken = [median(run[place] for run in job.blocks) for place in range(5)]
    assert taken.index(max(taken)) == 2


@pytest.mark.soak
def test_drivers_of_one_storage_mean_the_same_milliseconds(tmp_path: Path) -> None:
    words = ["--space", "tiny", "--budget", "60000ms-latency", "--proxy", "zero-cost:params"]
    words += ["--no-scale", "--quiet", "--storage", f"sqlite:///{tmp_path / 'study.db'}"]
    one, other = tmp_path / "one", tmp_path / "other"
    assert command([*words, "--trials", "3", "--out", str(one)]) == 0
    assert command([*words, "--trials", "4", "--out", str(other)]) == 0
    assert (one / "latency.json").read_bytes() == (other / "latency.json").read_bytes()
    first, second = (json.loads((run / "run.json").read_text()) for run in (one, other))
    assert first["identity"] == second["identity"]
    assert (first["trials"]["finished"], second["trials"]["finished"]) == (3, 4)
