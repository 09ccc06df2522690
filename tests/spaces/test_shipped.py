"""Names to things: spaces, budgets and networks."""

from pathlib import Path

import pytest

import nas
from nas.errors import InputError
from nas.spaces.registry import KNOWN_ARCHITECTURES, shipped
from tests.support.paths import ROOT


def test_what_is_shipped() -> None:
    spaces, budgets = shipped("search_spaces"), shipped("budgets")
    assert set(spaces) == {
        *("efficientnet", "efficientnetv2", "joint-block", "mnasnet", "proxyless", "tiny")
    }
    assert set(budgets) >= {"100M-flops", "400M-flops", "600M-flops"}
    assert "efficientnet" in spaces
    assert all(nas.load_space(name).name == name for name in spaces)
    assert all(nas.load_budget(name).name == name for name in budgets)


def test_a_budget_file_says_what_its_name_says() -> None:
    for name in shipped("budgets"):
        assert nas.load_budget(name).limits == nas.parse_budget(name).limits


def test_files_and_terms(tmp_path: Path) -> None:
    folder = tmp_path / "my files"
    folder.mkdir()
    space = folder / "mine.toml"
    space.write_bytes((ROOT / "search_spaces" / "tiny.toml").read_bytes())
    assert nas.load_space(space) == nas.load_space(str(space)) == nas.load_space("tiny")
    budget = folder / "small.toml"
    budget.write_text('schema = "nas-search-budget/1"\n[limits]\nparams = 5\n', encoding="utf-8")
    assert nas.load_budget(budget).limits == nas.load_budget(str(budget)).limits == {"params": 5}
    assert nas.load_budget("1.5M-flops+2K-params").limits == {"flops": 1_500_000, "params": 2_000}


def test_known_networks() -> None:
    assert KNOWN_ARCHITECTURES[0] == "efficientnet-b0"
    assert len(KNOWN_ARCHITECTURES) == 8 + 5  # EfficientNet-B0 … B7, EfficientNet-Lite0 … Lite4
    for name in KNOWN_ARCHITECTURES:
        assert nas.load_architecture(name).name == name


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: nas.load_space("efficient-net"), ["'efficient-net'", "efficientnet", "tiny"]),
        (lambda: nas.load_space("nowhere.toml"), ["nowhere.toml: no such file"]),
        (lambda: nas.load_space(""), ["space ''"]),
        (lambda: nas.load_space("."), ["space '.'"]),
        (lambda: nas.load_budget("300M-flop"), ["'300M-flop'", "400M-flops"]),
        (lambda: nas.load_budget("-5M-flops"), ["'-5M-flops'"]),
        (lambda: nas.load_budget("nan-flops"), ["'nan-flops'"]),
        (lambda: nas.load_budget("400M-flops+"), ["'400M-flops+'"]),
        (lambda: nas.load_budget("nowhere.toml"), ["nowhere.toml: no such file"]),
        (
            lambda: nas.load_architecture("efficientnet-b8"),
            ["'efficientnet-b8'", "efficientnet-b7"],
        ),
        (lambda: nas.load_architecture("nowhere.json"), ["nowhere.json: no such file"]),
    ],
)
def test_unknown_names_say_what_is_accepted(
    call: object, named: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert callable(call)
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for part in named:
        assert part in str(caught.value)


def test_a_space_is_no_architecture_nor_the_other_way_round(tmp_path: Path) -> None:
    tiny = ROOT / "search_spaces" / "tiny.toml"
    with pytest.raises(InputError, match=r"tiny\.toml"):
        nas.load_architecture(tiny)
    with pytest.raises(InputError, match=r"tiny\.toml"):
        nas.load_budget(tiny)
    path = tmp_path / "b0.json"
    nas.save_architecture(nas.load_architecture("efficientnet-b0"), path)
    with pytest.raises(InputError, match=r"b0\.json"):
        nas.load_space(path)
