"""``nas-search reproduce b0``: a small one, the committed one, and what is refused."""

import copy
import hashlib
import json
import math
import re
import shutil
import signal
import struct
import subprocess
import sys
import xml.etree.ElementTree
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import nas
import nas.strategies.samplers
from nas.cli import _run as command
from nas.errors import InputError
from nas.networks.architecture_file import read_record
from nas.networks.stage_diff import parts
from nas.proxies.imagenet_predictor import METRIC, ImagenetProxy
from nas.runs.reproduction.conclusions import conclusions, limits
from nas.runs.reproduction.evidence import Match, RandomDraw, ReproductionSettings
from nas.runs.reproduction.reproduce import FILES
from tests.support.interrupted import resumable
from tests.support.paths import ROOT
from tests.support.waiting import HANG, wait_until

COMMITTED = ROOT / "results" / "b0-discovery"
SPACE = nas.load_space("efficientnet")
B0 = nas.load_architecture("efficientnet-b0")
B0_FLOPS = 385_814_752

SMALL = ["--random", "500", "--trials", "20", "--seeds", "2", "--samplers", "random,evolution"]

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small answer, made by two jobs."""
    folder = tmp_path_factory.mktemp("small") / "found"
    assert command(["reproduce", "b0", *SMALL, "--jobs", "2", "--quiet", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def data(small: Path) -> Any:
    return json.loads((small / "discovery.json").read_text(encoding="utf-8"))


def committed() -> Any:
    if not COMMITTED.parent.exists():
        pytest.skip("results/ is not in a source distribution")
    return json.loads((COMMITTED / "discovery.json").read_text(encoding="utf-8"))


def predicted(arch: nas.Architecture) -> nas.Accuracy:
    return ImagenetProxy().evaluate(arch, seed=0, report=lambda step, value: False)


# ── A small one ──────────────────────────────────────────────────────────────────────────────────


def test_the_files(small: Path) -> None:
    assert {path.name for path in small.iterdir()} - {".lock"} == {*FILES, "run.json"}
    run = json.loads((small / "run.json").read_text(encoding="utf-8"))
    assert run["files"] == {
        name: hashlib.sha256((small / name).read_bytes()).hexdigest() for name in FILES
    }
    assert run["jobs"] == 2
    assert {"versions", "machine", "seconds", "git_commit"} <= set(run)


def test_again_with_other_jobs_makes_the_same_bytes(
    small: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "again"
    shutil.copytree(small, out)
    words = ["reproduce", "b0", *SMALL, "--jobs", "1", "--json", "--out", str(out)]
    assert command(words) == 0
    assert capsys.readouterr().out == (small / "discovery.json").read_text(encoding="utf-8")
    for name in FILES:
        assert (out / name).read_bytes() == (small / name).read_bytes(), name
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["jobs"] == 1
    # Other settings are not for this folder.
    assert command([*words, "--seed", "1"]) == 2
    assert ": seed " in capsys.readouterr().err
    assert (out / "discovery.json").read_bytes() == (small / "discovery.json").read_bytes()


def test_the_document(data: Any) -> None:
    assert list(data) == [
        *("schema", "target", "settings", "metric", "convention", "b0", "random", "best", "front"),
        *("matching", "table", "conclusions", "limits"),
    ]
    assert data["schema"] == "nas-search-discovery/1"
    assert data["target"] == "efficientnet-b0"
    assert data["metric"] == METRIC
    assert data["convention"] == "fvcore conv+linear MACs"
    settings = data["settings"]
    assert (settings["random"], settings["trials"], settings["seeds"]) == (500, 20, 2)
    assert settings["samplers"] == list(data["matching"]["samplers"]) == ["random", "evolution"]
    assert settings["sampler"] == nas.strategies.samplers.DEFAULT
    assert settings["reward_exponent"] == -0.07
    assert settings["budget"] == {"flops": 400_000_000}
    assert set(data["best"]) == {"accuracy", "reward"}
    assert data["random"]["within_budget"] == 500 < data["random"]["drawn"]
    for name in ("accuracy", "reward"):
        assert 1 <= data["random"][name]["rank_of_b0"] <= 501
    for row in data["matching"]["samplers"].values():
        assert len(row["evaluations"]) == row["of"] == 2
    assert all(isinstance(sentence, str) for sentence in data["conclusions"] + data["limits"])


def test_the_searches_are_searches(data: Any) -> None:
    for objective in ("accuracy", "reward"):
        result = nas.search(
            SPACE,
            nas.parse_budget("400M-flops"),
            ImagenetProxy(),
            trials=20,
            seed=0,
            objective=objective,
        )
        best = data["best"][objective]
        assert best["name"] == result.baseline.architecture.name
        assert best["trial"] == result.baseline.number
        assert best["trials"] == 20


def test_the_pictures(small: Path) -> None:
    content = (small / "discovery.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 1000
    assert height >= 500
    text = (small / "discovery.svg").read_text(encoding="utf-8")
    assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
    assert "<dc:date>" not in text


def test_what_is_printed(small: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from nas.cli.commands import reproduce

    data = json.loads((small / "discovery.json").read_text(encoding="utf-8"))
    for width in (80, 100):
        console = Console(width=width, highlight=False)
        for table in (
            reproduce.networks_table,
            reproduce.stages_table,
            reproduce.dominating_table,
            reproduce.samplers_table,
            reproduce.nearest_table,
        ):
            console.print(table(data))
        text = capsys.readouterr().out
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        for part in ("65.6", "386M", "stage7", "evolution", "predicted ImageNet top-1"):
            assert part in text


# ── Its parts ────────────────────────────────────────────────────────────────────────────────────


def test_draws_are_uniform_within_the_budget() -> None:
    told: list[int] = []
    draws = RandomDraw(4_000, 7).compute(told.append)
    assert told == [1]
    assert len(draws.flops) == len(draws.accuracy) == 4_000
    assert draws.flops.max() <= 400_000_000
    assert 0.6 < 4_000 / draws.drawn < 0.75  # about two thirds of the space are within
    best = SPACE.decode(draws.best["accuracy"])
    place = int(draws.accuracy.argmax())
    assert predicted(best).mean == pytest.approx(draws.accuracy[place], abs=2e-5)
    assert nas.measure_cost(best).flops == draws.flops[place]
    again = RandomDraw(4_000, 7).compute(told.append)
    assert (again.accuracy == draws.accuracy).all()
    assert (RandomDraw(4_000, 8).compute(told.append).accuracy != draws.accuracy).any()
    # The first of many are the few.
    few = RandomDraw(1_000, 7).compute(told.append)
    assert (few.flops == draws.flops[:1_000]).all()


def test_b0_is_matched_by_a_search() -> None:
    told: list[int] = []
    evaluations = Match("guided", 120, 0).compute(told.append)
    assert told == [120]
    assert evaluations is not None
    result = nas.search(
        SPACE,
        nas.parse_budget("400M-flops"),
        ImagenetProxy(),
        trials=evaluations,
        seed=0,
        sampler="guided",
    )
    goal = predicted(B0).mean
    matched = [
        trial.number
        for trial in result.trials
        if trial.accuracy and trial.accuracy.mean >= goal and trial.cost.flops <= B0_FLOPS
    ]
    assert matched == [evaluations - 1]
    assert Match("guided", evaluations - 1, 0).compute(told.append) is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"random": 0}, "random: 0"),
        ({"trials": -1}, "trials: -1"),
        ({"seeds": 0}, "seeds: 0"),
        ({"samplers": ("psychic",)}, "psychic"),
        ({"samplers": ("random", "random")}, "samplers"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        ReproductionSettings(**wrong)


B0_SENTENCE, RANDOM, BY_ACCURACY, BY_REWARD, FRONT, MATCHING, TABLE = range(7)
AGAINST = ("best", "accuracy", "against_b0")


@pytest.mark.parametrize(
    ("path", "value", "sentence", "said"),
    [
        (("b0", "reward"), 0.12341, B0_SENTENCE, "0.1234"),
        (("b0", "cost", "flops"), 123_456_789, B0_SENTENCE, "123,456,789"),
        (("b0", "standard_error"), 0.0432, B0_SENTENCE, "4.32"),
        (("random", "within_budget"), 54_321, RANDOM, "54,321"),
        (("random", "accuracy", "rank_of_b0"), 77, RANDOM, "77"),
        (("random", "reward", "rank_of_b0"), 78, RANDOM, "78"),
        (("random", "as_accurate_as_b0_at_its_flops"), 4_321, RANDOM, "4,321"),
        (("random", "accuracy", "best", "accuracy"), 0.7654, RANDOM, "76.54"),
        (("random", "accuracy", "quantiles", "0.5"), 0.4567, RANDOM, "45.67"),
        (("best", "accuracy", "trials"), 777, BY_ACCURACY, "777"),
        (("best", "accuracy", "accuracy"), 0.7654, BY_ACCURACY, "76.54"),
        ((*AGAINST, "corrected"), -0.0432, BY_ACCURACY, "4.32"),
        ((*AGAINST, "accuracy"), 0.0432, BY_ACCURACY, "4.32"),
        ((*AGAINST, "interval_90"), [-0.0123, 0.0456], BY_ACCURACY, "4.56"),
        (("best", "reward", "reward"), 0.43211, BY_REWARD, "0.4321"),
        (("best", "reward", "cost", "flops"), 123_000_000, BY_REWARD, "123M"),
        (("matching", "samplers", "random", "median"), 17, MATCHING, "random 17 "),
        (("matching", "most"), 4_321, MATCHING, "4321"),
        (("table", "rows"), 54_321, TABLE, "54,321"),
        (("table", "best_within_budget", "accuracy"), 0.7654, TABLE, "76.54"),
    ],
)  # fmt: skip
def test_conclusions_say_what_the_numbers_are(
    data: Any, path: tuple[str, ...], value: Any, sentence: int, said: str
) -> None:
    changed = copy.deepcopy(data)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    before, after = conclusions(data)[sentence], conclusions(changed)[sentence]
    assert said in after
    assert said not in before


@pytest.mark.parametrize("key", ["accuracy", "corrected"])
def test_conclusions_say_which_side_of_b0_a_network_is_on(data: Any, key: str) -> None:
    said = set()
    for difference in (-0.0432, 0.0432):
        changed = copy.deepcopy(data)
        changed["best"]["accuracy"]["against_b0"][key] = difference
        said.add(conclusions(changed)[BY_ACCURACY])
    assert len(said) == 2


@pytest.mark.parametrize("objective", ["accuracy", "reward"])
def test_conclusions_say_which_differences_are_real(data: Any, objective: str) -> None:
    sentence = BY_ACCURACY if objective == "accuracy" else BY_REWARD
    said = {}
    for real in (False, True):
        changed = copy.deepcopy(data)
        changed["best"][objective]["against_b0"]["told_apart"] = real
        said[real] = conclusions(changed)
    differing = [i for i, pair in enumerate(zip(*said.values(), strict=True)) if len(set(pair)) > 1]
    assert differing == [sentence]


def test_conclusions_say_whether_b0_is_on_the_front(data: Any) -> None:
    on, off = copy.deepcopy(data), copy.deepcopy(data)
    on["front"] |= {"b0_is_on_it": True, "dominating": 0}
    point = off["front"]["points"][-1] | {"dominates_b0": True, "accuracy": 0.7654}
    off["front"] |= {"b0_is_on_it": False, "dominating": 1, "points": [point]}
    assert "76.54" in conclusions(off)[FRONT]
    assert "76.54" not in conclusions(on)[FRONT]


def test_limits_say_what_the_numbers_are(data: Any) -> None:
    changed = copy.deepcopy(data)
    changed["table"]["rows"] = 54_321
    changed["b0"]["standard_error"] = 0.0432
    changed["settings"]["proxy"]["rmse"] = 0.0234
    changed["best"]["accuracy"] |= {"accuracy": 0.75, "corrected": 0.7166}
    changed["table"]["best_within_budget"]["accuracy"] = 0.70
    above = " ".join(limits(changed))
    for said in ("54,321", "4.32", "2.34", "3.34", "1.66"):
        assert said in above
    changed["table"]["best_within_budget"]["accuracy"] = 0.7332
    assert " ".join(limits(changed)) != above  # as far below


# ── The command ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["b8"], "'b8'"),
        (["b0", "--seeds", "0"], "seeds: 0"),
        (["b0", "--jobs", "0"], "jobs: 0"),
        (["b0", "--samplers", "guided,psychic"], "'psychic'"),
        (["b0", "--out", "mine"], "'thesis.txt'"),
        (["b0", "--out", "run"], "run/run.json: schema"),
    ],
)
def test_wrong_input(
    words: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"mine/thesis.txt": "mine", "run/run.json": '{"schema": "other"}'}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    before = sorted(path for path in tmp_path.rglob("*"))
    assert command(["reproduce", *words, "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert named in captured.err
    after = sorted(path for path in tmp_path.rglob("*") if path.name != ".lock")
    assert after == before


def test_what_a_killed_writer_left_is_written_again(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    shutil.copytree(small, out)
    (out / "discovery.png").rename(out / ".discovery.png.123.tmp")
    (out / "b0.json").unlink()
    assert command(["reproduce", "b0", *SMALL, "--jobs", "2", "--quiet", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([".lock", "run.json", *FILES])
    assert (out / "b0.json").read_bytes() == (small / "b0.json").read_bytes()


def test_help(capsys: Captured) -> None:
    assert command(["reproduce", "--help"]) == 0
    assert "--samplers" in capsys.readouterr().out


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from nas.cli import main; main()", "reproduce", "b0"]
    running = subprocess.Popen(
        [*words, "--out", str(tmp_path / "out"), "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert re.fullmatch(r"reproduce b0  0/[\d,]+\n", running.stderr.readline())
    wait_until((tmp_path / "out").exists, "the folder is made")
    running.stderr.readline()  # the first trial
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=HANG)
    assert running.returncode == 130
    assert out == ""
    assert not resumable(err)
    assert list(tmp_path.iterdir()) == []


# ── What is committed ────────────────────────────────────────────────────────────────────────────


def check_numbers(data: Any) -> None:
    """Compute again what is cheap, and compare with equality."""
    proxy = ImagenetProxy()
    b0, reward = data["b0"], lambda mean, flops: round(mean * (flops / 400e6) ** -0.07, 5)
    accuracy = predicted(B0)
    assert b0["cost"]["flops"] == data["matching"]["flops"] == B0_FLOPS
    assert b0["cost"] == nas.measure_cost(B0).to_dict()
    assert (b0["accuracy"], b0["standard_error"]) == (accuracy.mean, accuracy.standard_error)
    assert b0["reward"] == reward(accuracy.mean, B0_FLOPS)
    assert SPACE.decode(b0["choices"]).key() == B0.key()

    def same(row: Any, network: nas.Architecture) -> None:
        cost, accuracy = nas.measure_cost(network), predicted(network)
        corrected = proxy.corrected(network)
        against = row["against_b0"]
        error = math.hypot(corrected.standard_error, b0["standard_error"])
        gap = corrected.mean - b0["accuracy"]
        assert (row["accuracy"], row["standard_error"]) == (accuracy.mean, accuracy.standard_error)
        assert against["flops"] == cost.flops - B0_FLOPS
        assert against["accuracy"] == round(accuracy.mean - b0["accuracy"], 5)
        assert against["corrected"] == round(gap, 5)
        assert against["standard_error"] == round(error, 5)
        assert against["told_apart"] == (abs(gap) > 1.645 * error)
        low, high = against["interval_90"]
        assert against["told_apart"] == (low > 0 or high < 0)

    for best in data["best"].values():
        network = SPACE.decode(best["choices"])
        assert best["name"] == network.name
        assert best["cost"] == nas.measure_cost(network).to_dict()
        assert best["cost"]["flops"] <= 400_000_000
        assert best["reward"] == reward(best["accuracy"], best["cost"]["flops"])
        assert best["corrected"] == proxy.corrected(network).mean < best["accuracy"]
        same(best, network)
        for row, mine, theirs in zip(best["stages"], parts(B0), parts(network), strict=True):
            assert row["name"] == mine.name
            assert (row["b0"], row["found"]) == (mine.to_dict(), theirs.to_dict())
            assert row["differs"] == [
                key for key in row["b0"] if key not in ("flops", "params")
                and row["b0"][key] != row["found"][key]
            ]  # fmt: skip
        assert sum(row["found"]["flops"] for row in best["stages"]) == best["cost"]["flops"]
        for row in best["nearest"]:
            assert row["different_choices"] == sum(
                row["choices"][key] != value for key, value in best["choices"].items()
            )
            assert row["flops"] == nas.measure_cost(SPACE.decode(row["choices"])).flops
    for name in ("accuracy", "reward"):
        row = data["random"][name]
        assert row["rank_of_b0"] == row["better_than_b0"] + 1
        # Predicted alone, and together with others.
        assert row["best"][name] == pytest.approx(row["quantiles"]["1"], abs=1e-4)
        assert (row["better_than_b0"] == 0) == (row["best"][name] <= b0[name])
        same_network = SPACE.decode(row["best"]["choices"])
        assert row["best"]["accuracy"] == predicted(same_network).mean
        assert row["best"]["cost"] == nas.measure_cost(same_network).to_dict()

    points = data["front"]["points"]
    for before, after in pairwise(points):
        assert before["flops"] < after["flops"]
        assert before["accuracy"] < after["accuracy"]
    for point in points:
        network = SPACE.decode(point["choices"])
        assert point["name"] == network.name
        assert point["flops"] == nas.measure_cost(network).flops
        same(point, network)
        assert point["dominates_b0"] == (
            point["accuracy"] >= b0["accuracy"]
            and point["flops"] <= B0_FLOPS
            and (point["accuracy"], point["flops"]) != (b0["accuracy"], B0_FLOPS)
        )
    assert points[-1]["accuracy"] >= data["best"]["accuracy"]["accuracy"]
    dominating = [point for point in points if point["dominates_b0"]]
    assert data["front"]["dominating"] == len(dominating)
    assert data["front"]["b0_is_on_it"] == (not dominating)
    for row in data["matching"]["samplers"].values():
        counts = [math.inf if count is None else count for count in row["evaluations"]]
        assert row["matched"] == sum(math.isfinite(count) for count in counts)
        middle = median(counts)
        assert row["median"] == (None if math.isinf(middle) else middle)
        assert all(1 <= count <= data["matching"]["most"] or count == math.inf for count in counts)
    assert data["matching"]["accuracy"] == b0["accuracy"]


def test_the_small_numbers(data: Any) -> None:
    check_numbers(data)


def test_the_committed_numbers() -> None:
    data = committed()
    check_numbers(data)
    # What was written then is what would be written now.
    assert data["conclusions"] == conclusions(data)
    assert data["limits"] == limits(data)
    settings = data["settings"]
    assert settings["sampler"] == nas.strategies.samplers.DEFAULT
    assert settings["samplers"] == list(nas.strategies.samplers.SAMPLERS)
    assert (settings["random"], settings["trials"], settings["seeds"]) == (100_000, 300, 20)
    assert not data["table"]["has_b0"]


def test_the_committed_files() -> None:
    data = committed()
    run = json.loads((COMMITTED / "run.json").read_text(encoding="utf-8"))
    assert run["files"] == {
        name: hashlib.sha256((COMMITTED / name).read_bytes()).hexdigest() for name in FILES
    }
    assert run["identity"] == data["settings"]
    record = read_record(COMMITTED / "b0.json")
    assert record.architecture == B0
    assert record.accuracy == predicted(B0)
    for name, best in data["best"].items():
        record = read_record(COMMITTED / f"best-{name}.json")
        assert record.architecture.name == best["name"]
        assert record.cost.to_dict() == best["cost"] == nas.measure_cost(
            record.architecture
        ).to_dict()  # fmt: skip
        assert record.accuracy == predicted(record.architecture)
        assert record.provenance["corrected"]["mean"] == best["corrected"]
        assert record.provenance["choices"] == best["choices"]


def test_the_guide_says_what_is_committed() -> None:
    """The sentences of docs/b0.md are those of discovery.json: paste them from there."""
    data = committed()
    text = (ROOT / "docs" / "b0.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    said = [" ".join(part.split()) for part in block.strip().split("\n\n")]
    assert said == data["conclusions"]
    assert "](../results/b0-discovery/discovery.png)" in text


@pytest.mark.soak
def test_the_command_makes_what_is_committed(tmp_path: Path) -> None:
    committed()
    assert command(["reproduce", "b0", "--quiet", "--out", str(tmp_path / "out")]) == 0
    for name in FILES:
        if name.endswith(".json"):
            made, there = (folder / name for folder in (tmp_path / "out", COMMITTED))
            assert made.read_bytes() == there.read_bytes(), name
