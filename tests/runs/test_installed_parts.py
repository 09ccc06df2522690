"""A run with a proxy and a sampler of another distribution: who they are is part of what it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from nas.cli import _run as command
from tests.support.plugins import install

MODULE = """
import nas

class Deep:
    capabilities = nas.ProxyCapabilities(rank_by="loss")

    def prepare(self, space, budget, folder):
        pass

    def evaluate(self, arch, *, seed, report):
        depth = sum(stage.layers for stage in arch.stages)
        return nas.Accuracy(mean=depth / 100, standard_error=0.0, loss=100 / (1 + depth))

class Last:
    def propose(self, feasible, history, rng):
        return {name: values[-1] for name, values in feasible.space.choices.items()}
"""
ENTRY_POINTS = {
    "nas_search.proxies": {"deep": "made_up_parts:Deep"},
    "nas_search.samplers": {"last": "made_up_parts:Last"},
}
WORDS = ["--space", "tiny", "--budget", "1M-flops", "--no-scale", "--out", "run", "--quiet"]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def load(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def run(*more: str, proxy: str = "deep", sampler: str = "last") -> int:
    return command([*WORDS, "--proxy", proxy, "--sampler", sampler, "--trials", "4", *more])


def test_what_was_used_is_part_of_the_runs_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        install(patch, tmp_path / "old", ENTRY_POINTS, modules={"made_up_parts": MODULE})
        assert run() == 0
        of = {"distribution": "made-up", "version": "1.2.3"}
        used = {"proxy": {"name": "deep", **of}, "sampler": {"name": "last", **of}}
        assert load("run/run.json")["identity"]["plugins"] == used
        provenance = load("run/baseline.json")["provenance"]
        assert provenance["plugins"] == used
        assert (provenance["rank_by"], provenance["sampler"]) == ("loss", "last")
        assert run() == 0  # the same command resumes
        assert command(["verify", "run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["differences"] == []
        assert command(["report", "run", "--quiet"]) == 0
    capsys.readouterr()

    # Another version of the same distribution may measure something else.
    with monkeypatch.context() as patch:
        modules = {"made_up_parts": MODULE}
        install(patch, tmp_path / "new", ENTRY_POINTS, modules=modules, version="2.0")
        assert run() == 2
        assert "plugins differ" in capsys.readouterr().err

    # Without it the run can be looked at and verified, but not resumed.
    assert run() == 2
    assert "proxy 'deep' is not accepted: supernet" in capsys.readouterr().err
    assert command(["status", "run", "--json"]) == 0
    assert command(["verify", "run", "--quiet"]) == 0


def test_a_run_of_built_in_parts_names_no_plugins() -> None:
    assert run(proxy="zero-cost:flops", sampler="random") == 0
    assert load("run/run.json")["identity"]["plugins"] == {}
    assert "plugins" not in load("run/baseline.json")["provenance"]
