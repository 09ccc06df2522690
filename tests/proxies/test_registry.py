"""Proxies by name: built in, and installed by other distributions."""

import json
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import _run as command
from nas.proxies.protocol import Proxy, ProxyCapabilities, capabilities_of
from nas.proxies.registration import ProxyFactory, ProxySetup
from nas.proxies.registry import (
    PROXIES,
    check_data,
    make_proxy,
    proxy_capabilities,
    proxy_factory,
    recorded_rank_by,
)
from tests.support.plugins import install

GROUP = "nas_search.proxies"
MODULE = """
import nas
from nas.proxies.registration import ProxyFactory

class Deep:
    def prepare(self, space, budget, folder):
        pass

    def evaluate(self, arch, *, seed, report):
        return nas.Accuracy(mean=sum(s.layers for s in arch.stages) / 100, standard_error=0.0)

class ByLoss(Deep):
    capabilities = nas.ProxyCapabilities(rank_by="loss")

class Undeclared(Deep):
    capabilities = {"rank_by": "loss"}

class Demanding(Deep):
    def __init__(self, images):
        self.images = images

LOOKS = ProxyFactory(
    lambda setup: Demanding(setup.images), nas.ProxyCapabilities(needs_images=True)
)
WRONG = ProxyFactory(lambda setup: "a word")
NUMBER = 7
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    names = {
        "deep": "Deep",
        "by-loss": "ByLoss",
        "undeclared": "Undeclared",
        "looks": "LOOKS",
        "demanding": "Demanding",
        "wrong": "WRONG",
        "number": "NUMBER",
    }
    targets = {name: f"made_up_proxies:{attribute}" for name, attribute in names.items()}
    modules = {"made_up_proxies": MODULE}
    return install(monkeypatch, tmp_path / "site", {GROUP: targets}, modules=modules)


@pytest.mark.parametrize("registration", PROXIES.built_in, ids=PROXIES)
def test_every_built_in_proxy_is_where_the_registry_says(registration: Any) -> None:
    assert isinstance(PROXIES.load(registration), ProxyFactory)


def test_what_built_in_proxies_declare() -> None:
    declared = {name: proxy_capabilities(name) for name in PROXIES}
    assert [name for name, one in declared.items() if one.needs_images] == [
        *("supernet", "training", "zero-cost:naswot"),
    ]
    assert [name for name, one in declared.items() if one.rank_by == "loss"] == [
        *("supernet", "training"),
    ]
    assert recorded_rank_by("supernet") == "loss"
    assert recorded_rank_by("table") == "accuracy"
    assert recorded_rank_by("MyProxy") is None


def test_a_made_proxy_declares_what_its_factory_does() -> None:
    for name in ("imagenet", "zero-cost:flops"):
        assert capabilities_of(make_proxy(name)) == proxy_capabilities(name)


@pytest.mark.usefixtures("installed")
def test_a_class_is_enough() -> None:
    proxy = make_proxy("deep")
    assert isinstance(proxy, Proxy)
    assert proxy_capabilities("deep") == ProxyCapabilities()
    result = nas.search(nas.load_space("tiny"), nas.parse_budget("1M-flops"), proxy, trials=3)
    assert len(result.trials) == 3


@pytest.mark.usefixtures("installed")
def test_an_installed_proxy_declares_like_a_built_in_one() -> None:
    assert proxy_capabilities("by-loss").rank_by == "loss"
    check_data("looks", "cifar10")
    with pytest.raises(nas.InputError, match="uses no images"):
        check_data("deep", "cifar10")
    images: Any = object()
    made: Any = proxy_factory("looks").make(ProxySetup(data=images))
    assert made.images is images


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("undeclared", ["proxy Undeclared: capabilities: dict", "ProxyCapabilities"]),
        ("demanding", ["'demanding' (made-up 1.2.3, ", "cannot be made: TypeError", "images"]),
        ("wrong", ["'wrong' (made-up 1.2.3, ", "str", "evaluate"]),
        ("number", ["'number' (made-up 1.2.3, ", "int is not accepted", "ProxyFactory"]),
        ("deep:7", ["'deep:7' is not accepted", "table:FILE", "by-loss"]),
    ],
)
def test_one_that_cannot_be_used_is_one_line(name: str, named: list[str]) -> None:
    with pytest.raises(nas.InputError) as caught:
        make_proxy(name)
    assert "\n" not in str(caught.value)
    for part in named:
        assert part in str(caught.value)


@pytest.mark.usefixtures("installed")
def test_the_commands_list_and_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["proxies", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows)[: len(PROXIES.built_in)] == list(PROXIES)
    assert (rows["deep"]["distribution"], rows["deep"]["version"]) == ("made-up", "1.2.3")
    assert rows["training"]["distribution"] is None
    assert command(["proxies"]) == 0
    assert "made-up 1.2.3" in capsys.readouterr().out
    assert command(["evaluate", "efficientnet-b0", "--proxy", "deep", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == 0.16
    assert command(["evaluate", "efficientnet-b0", "--proxy", "number"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
