"""How far a proxy can be trusted: the draw, the judgement, and the command."""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
import nas.proxies.presets
from nas.cli import _run as command
from nas.errors import EvaluationFailed, InputError
from nas.files import to_json
from nas.proxies.benchmark_table import Table
from nas.proxies.protocol import ProxyCapabilities
from nas.runs.fidelity.rank_agreement import Fidelity, measure_fidelity
from nas.runs.fidelity.table_sample import LEAST, TableSample, draw_networks
from nas.statistics import kendall_tau, regret
from nas.testing import ToyProxy

TINY = nas.load_space("tiny")
Captured = pytest.CaptureFixture[str]
BY_LOSS, PARTIAL = ProxyCapabilities(rank_by="loss"), ProxyCapabilities(partial=True)
Costs = Callable[[nas.Architecture], float]


def networks(count: int, space: nas.SearchSpace = TINY) -> list[dict[str, Any]]:
    """Choices of so many different networks."""
    rng = random.Random(0)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        choices = space.sample(rng)
        found.setdefault(space.decode(choices).key(), choices)
    return list(found.values())


def quality(arch: nas.Architecture) -> float:
    """What the made-up tables say: more with FLOPs, and as much again for large kernels."""
    large = sum(stage.kernel == 5 for stage in arch.stages) / len(arch.stages)
    return round(0.3 + 0.05 * np.log(nas.measure_cost(arch).flops / 1e5) + 0.2 * large, 6)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def made_up(path: Path, count: int = 120) -> Path:
    rows = [{"choices": c, "accuracy": quality(TINY.decode(c))} for c in networks(count)]
    return write(path, rows)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return nas.read_table(made_up(tmp_path / "t.jsonl"))


def says(value: Costs, capabilities: ProxyCapabilities | None = None) -> ToyProxy:
    """A proxy that says what a function does."""
    return ToyProxy(lambda arch, seed: value(arch), capabilities=capabilities)


def flops(arch: nas.Architecture) -> float:
    return nas.measure_cost(arch).flops / 1e9


def quartiles(table: Table) -> tuple[int, int, int]:
    found = [nas.measure_cost(arch).flops for arch in table.architectures(TINY)]
    low, middle, high = (int(q) for q in np.quantile(found, [0.25, 0.5, 0.75]))
    return low, middle, high


# ── The draw ─────────────────────────────────────────────────────────────────────────────────────


def test_the_draw_is_by_the_seed_and_not_by_the_rows_order(tmp_path: Path, table: Table) -> None:
    def keys(draw: TableSample) -> list[str]:
        return [network.architecture.key() for network in draw.groups[0].networks]

    drawn = keys(draw_networks(table, TINY, samples=30))
    assert len(set(drawn)) == 30
    assert drawn == keys(draw_networks(table, TINY, samples=30))
    assert drawn != keys(draw_networks(table, TINY, samples=30, seed=1))
    assert drawn == keys(draw_networks(table, TINY, samples=90))[:30]
    backwards = write(
        tmp_path / "back.jsonl",
        [{"choices": r.choices, "accuracy": r.accuracy} for r in reversed(table.rows)],
    )
    assert drawn == keys(draw_networks(nas.read_table(backwards), TINY, samples=30))


def test_rows_of_one_network_are_one_with_their_mean(tmp_path: Path) -> None:
    # In stage2 a skip of width 8 is an identity: how many layers it has does not count.
    rows = [{"choices": c, "accuracy": 0.5} for c in networks(LEAST - 1)]
    skip = {**networks(1)[0], "stage2.block": "skip", "stage2.width": 8}
    rows = [r for r in rows if TINY.decode(r["choices"]).key() != TINY.decode(skip).key()]
    for layers, accuracy in ((1, 0.2), (2, 0.3)):
        rows.append({"choices": {**skip, "stage2.layers": layers}, "accuracy": accuracy})
    rows += [{"choices": c, "accuracy": 0.6} for c in networks(40)[30:]]
    draw = draw_networks(nas.read_table(write(tmp_path / "t.jsonl", rows)), TINY)
    found = {n.architecture.key(): n.accuracy for n in draw.groups[0].networks}
    assert len(found) == len(rows) - 1
    assert found[TINY.decode(skip).key()] == pytest.approx(0.25)


def test_bands_hold_both_their_ends_and_share_the_draw(table: Table) -> None:
    low, middle, high = quartiles(table)
    every = draw_networks(table, TINY, samples=500)
    in_order = [n.architecture.key() for n in every.groups[0].networks]
    costs = sorted(n.cost.flops for n in every.groups[0].networks)
    low, high = (min(costs, key=lambda c: abs(c - end)) for end in (low, high))
    draw = draw_networks(table, TINY, samples=15, bands=[f"{low}-{high}", f"{middle}-1G"])
    assert str(draw.groups[0]) == "all"
    band = draw.groups[1]
    assert band.flops == (low, high)
    assert band.available == sum(low <= c <= high for c in costs) > 15
    assert all(low <= n.cost.flops <= high for n in band.networks)
    whole = draw_networks(table, TINY, samples=500, bands=[f"{low}-{high}"]).groups[1]
    assert {low, high} <= {n.cost.flops for n in whole.networks}
    places = [in_order.index(n.architecture.key()) for n in band.networks]
    assert places == sorted(places)
    distinct = draw.networks
    assert len({n.number for n in distinct}) == len(distinct) < 45
    # What comes first in any group is evaluated first: time that ends early hits all alike.
    firsts = {group.networks[0].number for group in draw.groups}
    assert {n.number for n in distinct[: len(firsts)]} == firsts


def test_bands_are_written_as_budgets_are(table: Table) -> None:
    draw = draw_networks(table, TINY, bands=["0.0K-0.001G", "100K-1M"])
    assert [group.flops for group in draw.groups] == [None, (0, 1_000_000), (100_000, 1_000_000)]
    assert [str(group) for group in draw.groups] == ["all", "0-1M", "100K-1M"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"bands": ["300M"]}, ["'300M'", "LOW-HIGH"]),
        ({"bands": ["300M-300M"]}, ["'300M-300M'", "less"]),
        ({"bands": ["2M-1M"]}, ["'2M-1M'", "less"]),
        ({"bands": ["-5M-1M"]}, ["'-5M-1M'"]),
        ({"bands": ["1m-2m"]}, ["'1m-2m'"]),
        ({"bands": ["1M-2M-flops"]}, ["'1M-2M-flops'"]),
        ({"bands": ["1G-2G"]}, ["'1G-2G'", "0 different networks", "at least 10"]),
        ({"samples": 9}, ["samples: 9", "at least 10"]),
    ],
)
def test_a_wrong_draw_is_named(more: dict[str, Any], named: list[str], table: Table) -> None:
    with pytest.raises(InputError) as error:
        draw_networks(table, TINY, **more)
    for part in named:
        assert part in str(error.value)


def test_a_small_table_is_refused(tmp_path: Path) -> None:
    small = nas.read_table(made_up(tmp_path / "small.jsonl", LEAST - 1))
    with pytest.raises(InputError, match=r"small\.jsonl: 9 "):
        draw_networks(small, TINY)


# ── The judgement ────────────────────────────────────────────────────────────────────────────────


def judged(table: Table, proxy: Any, *, seed: int = 0, **more: Any) -> Fidelity:
    bands = more.pop("bands", ())
    draw = draw_networks(table, TINY, samples=more.pop("samples", 40), bands=bands, seed=seed)
    return measure_fidelity(draw, proxy, **more)


def test_a_perfect_proxy(table: Table) -> None:
    low, middle, high = quartiles(table)
    found = judged(table, says(quality), bands=[f"{low}-{middle}", f"{middle}-{high}"])
    for measured in (found.overall, *found.bands):
        assert measured.ranking is not None
        assert measured.ranking.proxy.kendall_tau == 1
        assert measured.ranking.proxy.kendall_tau_ci95 == (1, 1)
        assert measured.ranking.proxy.spearman == pytest.approx(1)
        assert measured.ranking.proxy.regret == 0
        assert measured.ranking.flops.kendall_tau < 1
        assert measured.ranking.verdict == "better"
    assert found.in_sample == 0
    worst = judged(table, says(lambda arch: 1 - quality(arch)))
    assert worst.overall.ranking is not None
    assert worst.overall.ranking.proxy.kendall_tau == -1
    assert worst.overall.ranking.verdict == "worse"


def test_the_numbers_are_those_of_the_sample(table: Table) -> None:
    rng = random.Random(0)
    noise = {arch.key(): rng.uniform(0, 0.3) for arch in table.architectures(TINY)}
    found = judged(table, says(lambda arch: quality(arch) / 2 + noise[arch.key()]))
    ranking = found.overall.ranking
    assert ranking is not None
    drawn = [n.architecture for n in found.overall.group.networks]
    truth = np.array([quality(arch) for arch in drawn])
    said = np.array([quality(arch) / 2 + noise[arch.key()] for arch in drawn])
    costs = [nas.measure_cost(arch) for arch in drawn]
    by_flops = np.array([float(cost.flops) for cost in costs])
    by_params = np.array([float(cost.params) for cost in costs])
    assert ranking.proxy.kendall_tau == pytest.approx(kendall_tau(truth, said))
    assert ranking.flops.kendall_tau == pytest.approx(kendall_tau(truth, by_flops))
    assert ranking.params.kendall_tau == pytest.approx(kendall_tau(truth, by_params))
    assert ranking.proxy.regret == pytest.approx(regret(truth, said))
    assert ranking.proxy.regret == pytest.approx(truth.max() - truth[said.argmax()])
    assert ranking.flops.regret == pytest.approx(truth.max() - truth[by_flops.argmax()])
    by_layers = np.array([float(sum(s.layers for s in a.stages if s.op != "skip")) for a in drawn])
    assert ranking.layers is not None
    assert ranking.layers.kendall_tau == pytest.approx(kendall_tau(truth, by_layers))
    low, high = ranking.minus_flops_ci95
    assert low < ranking.proxy.kendall_tau - ranking.flops.kendall_tau < high


def test_flops_as_a_proxy_cannot_be_told_from_flops(table: Table) -> None:
    ranking = judged(table, says(flops)).overall.ranking
    assert ranking is not None
    assert ranking.proxy == ranking.flops
    assert ranking.minus_flops_ci95 == (0, 0)
    assert ranking.verdict == "equal"


def test_a_constant_proxy_picks_the_cheapest(table: Table) -> None:
    found = judged(table, says(lambda arch: 0.5))
    ranking = found.overall.ranking
    assert ranking is not None
    assert ranking.proxy.kendall_tau == ranking.proxy.spearman == 0
    drawn = found.overall.group.networks
    cheapest = min(drawn, key=lambda n: (n.cost.flops, n.cost.params))
    best = max(network.accuracy for network in drawn)
    assert ranking.proxy.regret == pytest.approx(best - cheapest.accuracy)


def test_it_ranks_by_the_loss_where_the_proxy_does(table: Table) -> None:
    ranking = judged(
        table, says(lambda arch: 1 - quality(arch), capabilities=BY_LOSS)
    ).overall.ranking
    assert ranking is not None
    assert ranking.proxy.kendall_tau == 1


def test_one_preparation_and_each_network_once(table: Table, tmp_path: Path) -> None:
    low, middle, _ = quartiles(table)
    proxy = says(quality)
    told: list[tuple[int, int]] = []
    other = replace(TINY, num_classes=3, in_channels=1)
    found = judged(
        table,
        proxy,
        bands=[f"{low}-{middle}", f"{low}-1G"],
        space=other,
        folder=tmp_path / "kept",
        on_evaluation=lambda done, total: told.append((done, total)),
    )
    [(space, budget, folder)] = proxy.prepared
    assert space == other
    assert folder == tmp_path / "kept"
    assert len(set(proxy.keys)) == len(proxy.keys) == found.evaluated == found.drawn < 120
    assert told == [(done, found.drawn) for done in range(found.drawn + 1)]
    # As the proxy's data has it, not as the table's.
    seen = [other.architecture(n.architecture.stages) for g in _groups(found) for n in g.networks]
    assert set(proxy.keys) == {arch.key() for arch in seen}
    assert budget.flops == max(nas.measure_cost(arch).flops for arch in seen)
    assert len(set(proxy.seeds)) == len(proxy.seeds)


def _groups(found: Fidelity) -> list[Any]:
    return [measured.group for measured in (found.overall, *found.bands)]


def test_without_bands_the_proxy_has_no_limit(table: Table) -> None:
    proxy = says(quality)
    judged(table, proxy)
    assert proxy.prepared[0][1].limits == {}


def test_what_fails_is_counted_and_left_out_for_all(table: Table) -> None:
    every = [arch.key() for arch in table.architectures(TINY)]
    broken = set(every[::3])

    def sometimes(arch: nas.Architecture) -> float:
        if arch.key() in broken:
            raise ArithmeticError("the training diverged")
        return quality(arch)

    proxy = says(sometimes, capabilities=PARTIAL)
    found = judged(table, proxy, samples=60)
    failed = len(broken & set(proxy.keys))
    assert found.overall.failed == failed > 0
    assert found.overall.finished == 60 - failed
    assert any("the training diverged" in note and str(failed) in note for note in found.notes)
    ranking = found.overall.ranking
    assert ranking is not None
    assert ranking.proxy.kendall_tau == 1
    kept = [n for n in found.overall.group.networks if n.architecture.key() not in broken]
    truth = np.array([n.accuracy for n in kept])
    by_flops = np.array([float(n.cost.flops) for n in kept])
    assert ranking.flops.kendall_tau == pytest.approx(kendall_tau(truth, by_flops))


def _never(arch: nas.Architecture) -> float:
    raise RuntimeError("no such thing")


def test_a_proxy_that_always_fails(table: Table) -> None:
    proxy = says(_never)
    with pytest.raises(EvaluationFailed, match=r"no such thing"):
        judged(table, proxy)
    assert len(proxy.keys) == 6  # in a row
    with pytest.raises(EvaluationFailed, match="no such thing"):
        judged(table, says(_never, capabilities=PARTIAL))


def test_a_band_of_which_nothing_finished_has_no_numbers(table: Table) -> None:
    low, middle, _ = quartiles(table)

    def large_only(arch: nas.Architecture) -> float:
        return quality(arch) if nas.measure_cost(arch).flops > middle else _never(arch)

    found = judged(table, says(large_only, capabilities=PARTIAL), bands=[f"{low}-{middle}"])
    plain = found.to_dict()
    [band] = plain["bands"]
    assert (band["samples"], band["failed"]) == (0, found.bands[0].failed)
    assert band["kendall_tau"] is band["regret"] is band["kendall_tau_minus_flops_ci95"] is None
    assert plain["kendall_tau"] == 1
    to_json(plain)


def test_time_that_ends(table: Table) -> None:
    with pytest.raises(EvaluationFailed, match="before the first"):
        judged(table, says(quality), seconds=0)


def test_it_is_decided_by_the_seed(table: Table) -> None:
    def numbers(seed: int, **more: Any) -> dict[str, Any]:
        plain = judged(table, says(flops), seed=seed, bands=["0-1G"], **more).to_dict()
        for part in (plain, *plain["bands"]):
            part.pop("seconds")
        plain.pop("preparation_seconds")
        return plain

    assert numbers(0) == numbers(0) != numbers(1)


def test_what_is_kept_is_not_evaluated_again(table: Table, tmp_path: Path) -> None:
    low, middle, _ = quartiles(table)
    first, second = says(quality), says(quality)
    alone = judged(table, first, samples=20, folder=tmp_path)
    more = judged(table, second, samples=40, bands=[f"{low}-{middle}"], folder=tmp_path)
    assert not set(first.keys) & set(second.keys)
    assert more.evaluated == more.drawn == len(first.keys) + len(second.keys)
    assert more.overall.finished == 40
    again = says(quality)
    kept = judged(table, again, samples=20, folder=tmp_path)
    assert replace(kept.overall, seconds=0.0) == replace(alone.overall, seconds=0.0)
    assert again.keys == []


def test_a_draw_that_takes_all_says_so(table: Table) -> None:
    assert (
        "all: the table has only 120 networks; all are used"
        in judged(table, says(quality), samples=200).notes
    )


# ── What went into the proxy itself ──────────────────────────────────────────────────────────────


def test_a_proxy_that_knew_the_table_says_so(table: Table) -> None:
    known = {arch.key() for arch in table.architectures(TINY)[:60]}

    class FromTheTable(ToyProxy):
        held_out = "τ 0.5 elsewhere"

        def in_sample(self, table_sha256: str, arch: nas.Architecture) -> bool:
            return table_sha256 == table.sha256 and arch.key() in known

    proxy = FromTheTable(lambda arch, seed: quality(arch))
    found = judged(table, proxy)
    assert 0 < found.in_sample == len(known & set(proxy.keys)) < 40
    assert any(
        f" {found.in_sample} of " in note and "τ 0.5 elsewhere" in note for note in found.notes
    )
    assert found.to_dict()["in_sample"] is True


def test_the_shipped_predictor_knows_its_rows(tmp_path: Path) -> None:
    from nas.proxies.imagenet_predictor import ImagenetProxy
    from nas.proxies.stage_options import choices_of

    space, proxy = nas.load_space("efficientnet"), ImagenetProxy()
    arrays = proxy.predictor.arrays
    rows = [
        {"choices": choices_of(arrays.rows[i], space), "accuracy": float(arrays.accuracy[i])}
        for i in range(30)
    ]
    draw = draw_networks(nas.read_table(write(tmp_path / "t.jsonl", rows)), space)
    found = measure_fidelity(draw, proxy)
    assert found.in_sample == 30
    assert any("0.933" in note for note in found.notes)
    others = [{"choices": c, "accuracy": 0.5 + i / 100} for i, c in enumerate(networks(20, space))]
    draw = draw_networks(nas.read_table(write(tmp_path / "o.jsonl", others)), space)
    assert measure_fidelity(draw, proxy).in_sample == 0
    arch = draw.groups[0].networks[0].architecture
    assert not proxy.in_sample("0" * 64, arch)
    assert proxy.in_sample(proxy.predictor.metadata.table_sha256, arch)


# ── The command ──────────────────────────────────────────────────────────────────────────────────

RANKED = (
    *("kendall_tau", "kendall_tau_ci95", "spearman", "kendall_tau_flops"),
    *("kendall_tau_flops_ci95", "kendall_tau_params", "kendall_tau_params_ci95"),
    *("kendall_tau_layers", "kendall_tau_layers_ci95"),
    *("kendall_tau_strided", "kendall_tau_strided_ci95"),
    *("kendall_tau_minus_flops_ci95", "regret", "regret_top5", "regret_flops", "regret_params"),
    *("kendall_tau_repeats", "kendall_tau_repeats_ci95"),
    *("samples", "failed", "in_table", "seconds", "proxy"),
)


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    made_up(tmp_path / "t.jsonl")


def words(*more: str, proxy: str = "table:t.jsonl") -> list[str]:
    return ["fidelity", "--table", "t.jsonl", "--space", "tiny", "--proxy", proxy, *more]


def said(arguments: list[str], capsys: Captured, status: int = 0) -> str:
    assert command(arguments) == status, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.usefixtures("_here")
def test_the_table_itself_is_perfect_and_in_sample(capsys: Captured) -> None:
    arguments = words("--samples", "30", "--band", "400K-900K", "--band", "0.9M-1G", "--quiet")
    data = json.loads(said([*arguments, "--json"], capsys))
    bands = data["bands"]
    assert [band.pop("flops") for band in bands] == [[400_000, 900_000], [900_000, 10**9]]
    assert list(data) == [
        *RANKED,
        *("preparation_seconds", "evaluations", "in_sample", "settings", "bands", "notes"),
    ]
    for part in (data, *bands):
        assert [key for key in part if key in RANKED] == list(RANKED)
        assert (part["kendall_tau"], part["kendall_tau_ci95"]) == (1, [1, 1])
        assert (part["regret"], part["proxy"], part["samples"]) == (0, "table", 30)
        assert part["kendall_tau_repeats"] is part["kendall_tau_repeats_ci95"] is None
    assert all(set(band) == set(RANKED) for band in bands)
    assert data["in_sample"] is True
    assert data["evaluations"] <= 90


@pytest.mark.usefixtures("_here")
def test_how_a_table_agrees_with_itself(tmp_path: Path, capsys: Captured) -> None:
    """Of networks that it measured twice; here the second time the other way round."""
    rows = [{"choices": c, "accuracy": flops(TINY.decode(c))} for c in networks(20)]
    twice = [*rows, *({**row, "accuracy": 1 - row["accuracy"]} for row in rows)]
    write(tmp_path / "t.jsonl", twice)
    data = json.loads(said(words("--samples", "20", "--json", "--quiet"), capsys))
    assert data["kendall_tau_repeats"] == -1
    assert data["kendall_tau_repeats_ci95"] == [-1, -1]
    text = said(words("--samples", "20"), capsys)
    assert "−1.000" in text
    write(tmp_path / "t.jsonl", twice[:-1])  # one network was measured once
    data = json.loads(said(words("--samples", "20", "--json", "--quiet"), capsys))
    assert data["kendall_tau_repeats"] is None


@pytest.mark.usefixtures("_here")
def test_another_table_as_the_proxy(tmp_path: Path, capsys: Captured) -> None:
    rows = [{"choices": c, "accuracy": flops(TINY.decode(c))} for c in networks(120)]
    write(tmp_path / "cheap.jsonl", rows)
    arguments = words("--samples", "40", "--band", "100K-1G", proxy="table:cheap.jsonl")
    data = json.loads(said([*arguments, "--json", "--quiet"], capsys))
    assert data["in_sample"] is False
    assert data["kendall_tau"] == data["kendall_tau_flops"] < 1
    assert said([*arguments, "--quiet"], capsys) == ""
    text = said(arguments, capsys)
    assert re.search(r"^table .* FLOPs alone .*, in 100K-1G \(95 % CI\)\.$", text, re.MULTILINE)
    assert "100K-1G" in text
    assert f"{data['kendall_tau']:.3f}" in text
    *table, conclusion = text.splitlines()
    assert conclusion.startswith("table ")
    assert max(map(len, table)) <= 80
    write(tmp_path / "few.jsonl", rows[:60])
    few = words("--samples", "120", "--json", "--quiet", proxy="table:few.jsonl")
    data = json.loads(said(few, capsys))
    assert (data["samples"], data["failed"]) == (60, 60)


def pictures(folder: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for index, name in enumerate("ab"):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.clip(rng.normal(60 + 60 * index, 40, (16, 16, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.usefixtures("_here")
def test_a_proxy_that_trains_and_a_folder_to_go_on_from(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas.proxies.short_training import TrainingProxy, TrainingSettings

    def quick(*of: object, **how: object) -> TrainingSettings:
        return TrainingSettings(width=0.25, resolution=16, images_seen=64, batch_size=16)

    monkeypatch.setattr(nas.proxies.presets, "default_settings", quick)
    prepared: list[tuple[int, str]] = []

    def prepare(self: object, space: nas.SearchSpace, budget: nas.Budget, folder: Path) -> None:
        prepared.append((space.num_classes, folder.name))

    monkeypatch.setattr(TrainingProxy, "prepare", prepare)
    pictures(tmp_path / "images")
    arguments = words("--data", "images", "--jobs", "1", "--samples", "10", "--out", "kept")
    arguments = [*arguments, "--json", "--quiet"]
    arguments[arguments.index("--proxy") + 1] = "training"
    data = json.loads(said(arguments, capsys))
    assert (data["samples"], data["proxy"], data["in_sample"]) == (10, "training", False)
    assert data["settings"]["images_seen"] == 64
    assert prepared == [(2, "kept")]
    kept = json.loads((tmp_path / "kept" / "fidelity.json").read_text(encoding="utf-8"))
    assert kept["result"] == data

    # How networks are trained is what was planned first, whatever a clock would say now.
    def never(*of: object) -> TrainingSettings:
        raise AssertionError("planned again")

    monkeypatch.setattr(nas.proxies.presets, "training_settings", never)
    monkeypatch.setattr(TrainingProxy, "evaluate", never)
    again = json.loads(said([*arguments, "--time", "1h"], capsys))
    changing = ("seconds", "preparation_seconds")
    assert {k: v for k, v in again.items() if k not in changing} == {
        k: v for k, v in data.items() if k not in changing
    }
    assert command([*arguments, "--seed", "1"]) == 2
    assert ": seed " in capsys.readouterr().err
    assert command(["verify", "kept", "--quiet"]) == 0


@pytest.mark.usefixtures("_here")
def test_scores_of_different_supernets_are_not_mixed(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas.proxies.supernet import SupernetProxy

    limits: list[float | None] = []
    evaluated = 0

    def prepare(self: object, space: object, budget: nas.Budget, folder: Path) -> None:
        limits.append(budget.flops)

    def evaluate(self: object, arch: nas.Architecture, **more: object) -> nas.Accuracy:
        nonlocal evaluated
        evaluated += 1
        return nas.Accuracy(0.5, 0.0, loss=flops(arch))

    monkeypatch.setattr(SupernetProxy, "prepare", prepare)
    monkeypatch.setattr(SupernetProxy, "evaluate", evaluate)
    pictures(tmp_path / "images")
    arguments = words("--data", "images", "--jobs", "1", "--out", "kept", proxy="supernet")
    arguments += ["--json", "--quiet"]
    band = ["--band", "0-1G"]
    for more, anew in (
        (["--samples", "10"], 10),
        (["--samples", "20"], 10),  # the same supernet
        (["--samples", "10", *band], 10),
        (["--samples", "60", *band], 60),
        (["--samples", "60", *band], 0),
        (["--samples", "10", *band], 0),
    ):
        evaluated = 0
        assert json.loads(said([*arguments, *more], capsys))["samples"] == int(more[1])
        assert evaluated == anew, more
    assert limits[:2] == [None, None]
    assert limits[2] == limits[5] != limits[3] == limits[4]


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fidelity", "--space", "tiny"], ["--table"]),
        (["fidelity", "--space", "tiny", "--table", "none.jsonl"], ["none.jsonl: no such file"]),
        (["fidelity", "--table", "t.jsonl"], ["line 1", "efficientnet"]),
        (words("--band", "1M"), ["'1M'", "LOW-HIGH"]),
        (words("--band", "1G-2G"), ["'1G-2G'", "0 different"]),
        (words("--samples", "3"), ["samples: 3"]),
        (words("--time", "soon"), ["'soon'"]),
        (words("--jobs", "0"), ["jobs: 0"]),
        (words("--device", "tpu"), ["'tpu'"]),
        (words("--data", "images"), ["--data images", "uses no images"]),
        (words(proxy="psychic"), ["'psychic'", "training"]),
        (words(proxy="imagenet"), ["'imagenet'", "'tiny'"]),
        (words("--out", "new", proxy="imagenet"), ["'imagenet'", "'tiny'"]),
        (words(proxy="table:none.jsonl"), ["none.jsonl"]),
        (words("--data", "nowhere/at/all", proxy="training"), ["nowhere"]),
        (words("--out", "t.jsonl"), ["t.jsonl"]),
        (words("--out", "other"), ["other", "mine.txt", "fidelity.json"]),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], named: list[str], tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert command([*arguments, "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nas-search: ")
    assert captured.err.count("\n") == 1, captured.err
    for part in named:
        assert part in captured.err
    left = [path for path in sorted(tmp_path.rglob("*")) if path.name != ".lock"]
    assert left == before
