"""Reports: what goes into a page, of whole folders, half ones and wrong ones."""

import json
import random
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas.report.write
from nas.cli import _run as command
from nas.errors import InputError
from nas.evaluation.objective import Objective, pareto_front
from nas.evaluation.study import Study
from nas.evaluation.trial import Trial, read_trials
from nas.networks.architecture import architecture_from_dict
from nas.networks.cost import measure_cost
from nas.records.run_state import RunCommand
from nas.report.document import command_line, published, run_document
from nas.report.importance import explained
from nas.report.page import embedded
from nas.report.run_folder import read_run
from nas.report.trial_columns import FIRST_LETTER, document, trials_of
from nas.report.write import FILES, write_page, write_report
from nas.spaces.registry import load_space, shipped
from tests.support.report_runs import COMMITTED, complete, predicted
from tests.support.studies import trial_row


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run with everything, its study too."""
    return complete(tmp_path_factory.mktemp("report") / "whole")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on predicted accuracies, made by the command."""
    return predicted(tmp_path_factory.mktemp("report") / "quick")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def shown(folder: Path) -> dict[str, Any]:
    return run_document(read_run(folder))


def data_of(page: Path) -> Any:
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_a_run_makes_its_report(quick: Path) -> None:
    names = {path.name for path in quick.iterdir()}
    drawn = {f"{n}.{kind}" for n in ("front", "progress", "choices") for kind in ("png", "svg")}
    assert names & FILES == {"report.html", *drawn}
    [run] = data_of(quick / "report.html")["runs"]
    assert run["trials"]["count"] == 40
    assert json.loads(run["baseline"]) == json.loads((quick / "baseline.json").read_text())


def test_the_same_folder_gives_the_same_bytes(quick: Path, tmp_path: Path) -> None:
    first = {name: (quick / name).read_bytes() for name in FILES if (quick / name).exists()}
    moved = Path(shutil.copytree(quick, tmp_path / "elsewhere"))
    before = {p: p.read_bytes() for p in moved.iterdir() if p.name not in FILES}
    write_report(moved)
    assert {name: (moved / name).read_bytes() for name in first} == first
    assert {p: p.read_bytes() for p in moved.iterdir() if p.name not in FILES} == before


def test_pictures_of_what_is_gone_go_too(copy: Path) -> None:
    written = {path.name for path in write_report(copy)}
    assert written == FILES
    (copy / "coefficients.json").unlink()
    shutil.rmtree(copy / "family")
    write_report(copy)
    gone = {f"{name}.{kind}" for name in ("coefficients", "family") for kind in ("png", "svg")}
    assert {path.name for path in copy.iterdir()} & FILES == FILES - gone


def test_verification_knows_a_report(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["verify", str(quick), "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["differences"], found["notes"]) == ([], [])


def test_a_report_that_cannot_be_made_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(folder: Path, storage: str | None = None) -> list[Path]:
        raise RuntimeError("no ink\nat all")

    monkeypatch.setattr(nas.report.write, "write_report", fails)
    folder = predicted(tmp_path / "run", trials=5)
    run = json.loads((folder / "run.json").read_text())
    assert run["status"] == "finished"
    assert run["notes"] == ["the report could not be made: no ink at all"]
    assert not (folder / "report.html").exists()
    assert command(["verify", str(folder), "--quiet"]) == 0


def test_the_command(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(quick, tmp_path / "one"))
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    assert command(["report", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == str(folder / "report.html")
    assert (folder / "report.html").read_bytes() == (quick / "report.html").read_bytes()
    assert (folder / "front.svg").exists()
    assert command(["report", str(COMMITTED), "--out", str(tmp_path / "p.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": [str(tmp_path / "p.html")]}
    assert not (COMMITTED / "report.html").exists()
    monkeypatch.chdir(tmp_path)
    assert command(["report", str(folder), str(COMMITTED), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert [run["name"] for run in data_of(Path("report.html"))["runs"]] == ["one", COMMITTED.name]


def test_wrong_input_is_one_line(
    quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    torn = Path(shutil.copytree(quick, tmp_path / "torn"))
    (torn / "study.log").write_text("what is this\nand that\n")
    for words, named in (
        ([str(tmp_path / "nowhere")], "nowhere"),
        ([str(tmp_path / "empty")], "run.json"),
        ([str(tmp_path / "file")], "file"),
        ([str(COMMITTED.parent / "b0-discovery")], "schema"),
        ([str(quick), str(tmp_path / "nowhere")], "nowhere"),
        ([str(torn)], "study.log"),
        ([str(quick), "--out", str(tmp_path / "file" / "x.html")], "x.html"),
        ([], "DIR"),
    ):
        assert command(["report", *words, "--quiet"]) == 2, words
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert named in captured.err
        assert captured.out == ""


# ── What is on the page ──────────────────────────────────────────────────────────────────────────


def test_committed_results_without_their_study(tmp_path: Path) -> None:
    page = write_page([COMMITTED], tmp_path / "report.html")
    [run] = data_of(page)["runs"]
    assert (run["trials"], run["importance"]) == (None, None)
    assert any("study.log" in text for text in run["missing"])
    assert len(run["front"]["records"]) == 12
    assert [member["name"] for member in run["family"]] == [f"b{i}" for i in range(8)]
    written = json.loads((COMMITTED / "coefficients.json").read_text())
    assert {name: written[name] for name in run["scaling"]} == run["scaling"]
    assert run["check"]["kendall_tau"] == pytest.approx(0.0714, abs=1e-4)


def test_a_run_that_goes_on_shows_what_there_is(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    shutil.copy(whole / "study.log", folder)
    state = json.loads((whole / "run.json").read_text())
    del state["sha256"]
    state |= {"files": {}, "check": None, "trials": None}
    (folder / "run.json").write_text(json.dumps(state | {"status": "running"}))
    run = shown(folder)
    assert not run["finished"]
    assert run["missing"][0].startswith("The run is not finished")
    study = read_run(folder)
    assert study.space is not None
    with Study(Path(shutil.copytree(folder, tmp_path / "c")), _name(folder), {}) as rows:
        trials = read_trials(rows, study.space)
    front = pareto_front(trials, Objective(rank_by="loss"))
    assert [trials[at].number for at in run["front"]["places"]] == [t.number for t in front]
    best = json.loads(run["baseline"])
    assert (
        best["provenance"]["trial"]
        == max((t for t in trials if t.score), key=lambda t: t.score or 0).number
    )
    # Nothing but the run's own file: nothing to plot, and a page all the same.
    (folder / "study.log").unlink()
    assert shown(folder)["baseline"] is None
    assert write_report(folder) == [folder / "report.html"]


def _name(folder: Path) -> str:
    from nas.records.run_state import study_name

    state = json.loads((folder / "run.json").read_text())
    return study_name(state["study"], "search", state["identity"])


def test_a_database_that_is_not_there_is_said(copy: Path) -> None:
    state = json.loads((copy / "run.json").read_text())
    state["storage"] = f"sqlite:///{copy}/gone.db"
    (copy / "run.json").write_text(json.dumps(state))
    run = shown(copy)
    assert run["trials"] is None
    assert any("gone.db" in text for text in run["missing"])


def test_a_space_that_is_not_known_any_more(copy: Path) -> None:
    state = json.loads((copy / "run.json").read_text())
    state["space"] = "mine"
    (copy / "run.json").write_text(json.dumps(state))
    # Its study goes by the identity, which stays: so trials are there, and no way to draw them.
    run = shown(copy)
    assert run["trials"]["decoding"] is None
    assert run["trials"]["choices"]["stage1.kernel"] == [3, 5]
    assert any("'mine'" in text for text in run["missing"])


@pytest.mark.parametrize("name", sorted(shipped("search_spaces")))
def test_words_become_the_networks_that_they_stand_for(name: str) -> None:
    space = load_space(name)
    rng = random.Random(0)
    rows = []
    for number in range(60):
        choices = space.sample(rng)
        architecture = space.decode(choices)
        trial = Trial(number, choices, architecture, measure_cost(architecture), "failed")
        rows.append(trial_row(trial))
    found = document(trials_of(rows, space, "the study"), space)
    length, decoding = len(space.choices), found["decoding"]
    for number, row in enumerate(rows):
        word = found["words"][number * length : (number + 1) * length]
        values = zip(space.choices.items(), word, strict=True)
        assert {n: v[ord(letter) - FIRST_LETTER] for (n, v), letter in values} == row.params
        width, stages = decoding["frame"]["stem"]["width"], []
        for stage in decoding["stages"]:
            own, word = word[: stage["letters"]], word[stage["letters"] :]
            place, width = stage["made"][f"{width}:{own}"]
            stages += [decoding["rows"][place]] * (place >= 0)
        full_name = found["prefix"] + found["names"][number]
        made = {"name": full_name, **decoding["frame"], "stages": stages}
        assert architecture_from_dict(made) == space.decode(row.params)


def test_the_share_that_a_choice_explains() -> None:
    scores = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    assert explained(np.array([0, 0, 1, 1, 2, 2]), scores) == 1
    assert explained(np.array([0, 0, 0, 0, 0, 0]), scores) is None
    assert explained(np.arange(6), scores) is None
    assert explained(np.array([0, 1, 0, 1, 0, 1]), np.ones(6)) is None
    # Two groups of means 1 and 2 with a variance of 1/3 within: 1 - (4/8) / (6/11 + ...), by hand.
    groups = np.repeat([0, 1], 5)
    values = np.array([0.5, 0.75, 1, 1.25, 1.5, 1.5, 1.75, 2, 2.25, 2.5])
    within, total = 1.25 / 8, (1.25 + 2.5) / 9
    assert explained(groups, values) == pytest.approx(1 - within / total, abs=1e-4)
    rng = np.random.default_rng(0)
    noise = [explained(rng.integers(0, 3, 200), rng.normal(size=200)) for _ in range(50)]
    assert np.mean([share or 0 for share in noise]) < 0.01


def test_those_near_the_front_are_those_that_lack_least(whole: Path) -> None:
    run = shown(whole)
    found = run["importance"]
    finished = run["trials"]["states"].count("f")
    assert found["trials"] == finished
    assert found["near"] == round(0.1 * finished)
    for choice in found["choices"]:
        assert sum(choice["all"]) == found["trials"]
        assert sum(choice["near"]) == found["near"]
        assert choice["share"] is None or 0 <= choice["share"] <= 1


def test_published_networks_have_sources() -> None:
    families = published()["families"]
    names = {family["name"] for family in families}
    assert names >= {"EfficientNet", "MnasNet", "MobileNetV2", "MobileNetV3", "ResNet-50"}
    assert names >= {"OFA", "AttentiveNAS"}
    for family in families:
        assert "arXiv" in family["source"]
        assert family["training"]
        for network in family["networks"]:
            assert 60 < network["top1"] < 90
            assert 5e7 < network["flops"] < 1e11


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.text(), x)))  # fmt: skip
def test_data_in_a_page_end_nothing(data: Any) -> None:
    text = embedded(data)
    assert json.loads(text) == data
    assert not set(text) & set("<>&\u2028\u2029")
    assert text.isascii()


def test_a_command_can_be_given_again() -> None:
    state = json.loads((COMMITTED / "run.json").read_text())
    said = RunCommand(**state["command"]).model_copy(
        update={"data": "my images", "start": ["a.json"], "scale": False}
    )
    words = shlex.split(command_line(said))
    assert words[:3] == ["nas-search", "--budget", "400M-flops"]
    assert words[words.index("--data") + 1] == "my images"
    assert words[words.index("--start") + 1] == "a.json"
    assert "--no-scale" in words
    assert "--time" not in words
    assert "--no-check" not in words


# ── Whatever a file holds ────────────────────────────────────────────────────────────────────────


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _places(value, (*path, key))
    elif isinstance(data, list):
        for index in range(min(len(data), 2)):
            yield from _places(data[index], (*path, index))


def _changed(data: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    made = json.loads(json.dumps(data))
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = change(inner[path[-1]])
    return made


@pytest.mark.parametrize("name", ["run", "baseline", "front", "coefficients", "finalists"])
def test_whatever_a_file_holds_it_is_a_page_or_one_line(name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(COMMITTED, tmp_path / "copy"))
    path = folder / f"{name}.json"
    data = json.loads(path.read_text())
    rng = random.Random(name)
    places = list(_places(data))
    for where in rng.sample(places, min(len(places), 40)):
        value = rng.choice([None, [], {}, "x", -1, 1e300, True, [None], {"a": 1}])
        path.write_text(json.dumps(_changed(data, where, lambda old, new=value: new)))
        said = f"{name}.json"
        try:
            embedded(shown(folder))
        except InputError as error:
            said = str(error)
        assert "\n" not in said
        assert f"{name}.json" in said or "objective" in said, where
