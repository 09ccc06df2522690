"""Measures without training: what they are, and that they claim to be no more."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from nas.cli import _run as command
from nas.data import ImageData
from nas.errors import Diverged
from nas.networks.architecture import Architecture, Stage
from nas.networks.compound_scaling import scale
from nas.networks.cost import measure_cost
from nas.networks.modules import build
from nas.proxies.protocol import Proxy
from nas.proxies.zero_cost import MEASURES, ZeroCostProxy, naswot, synflow
from nas.spaces.budget import Budget
from nas.spaces.registry import load_space

SMALL = replace(
    load_space("efficientnet").decode(
        {name: values[0] for name, values in load_space("efficientnet").choices.items()}
    ),
    name="small",
)


@pytest.fixture(scope="module")
def images() -> ImageData:
    rng = torch.Generator().manual_seed(0)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.randint(0, 256, (count, 3, 16, 16), generator=rng, dtype=torch.uint8)
        return pixels, torch.arange(count) % 4

    return ImageData.from_parts("noise", "abcd", part(80), part(8), None)


def proxy(measure: str, data: ImageData) -> ZeroCostProxy:
    found = ZeroCostProxy(measure, data)
    found.prepare(load_space("efficientnet"), Budget("none"), Path())
    return found


def value(of: Proxy, arch: Architecture, seed: int = 0) -> float:
    return of.evaluate(arch, seed=seed, report=lambda step, value: False).mean


@pytest.mark.parametrize("measure", list(MEASURES))
def test_scores_are_the_same_for_the_same_seed_and_claim_no_accuracy(
    measure: str, images: ImageData
) -> None:
    found = proxy(measure, images)
    accuracy = found.evaluate(SMALL, seed=3, report=lambda step, value: False)
    assert accuracy.mean == value(proxy(measure, images), SMALL, 3)
    assert "not an accuracy" in accuracy.metric
    assert accuracy.predicted
    assert accuracy.proxy == f"zero-cost:{measure}"
    assert isinstance(found, Proxy)


@pytest.mark.parametrize("measure", ["flops", "params"])
def test_costs_rank_as_they_are(measure: str, images: ImageData) -> None:
    networks = [scale(SMALL, width=width) for width in (1.0, 1.3, 1.7, 2.2)]
    costs = [getattr(measure_cost(network), measure) for network in networks]
    assert all(a < b for a, b in pairwise(costs))
    scores = [value(proxy(measure, images), network) for network in networks]
    assert all(a < b for a, b in pairwise(scores))


def test_synflow_grows_with_paths_and_with_weights() -> None:
    torch.manual_seed(0)
    network = build(replace(SMALL, resolution=32))
    deeper = build(replace(SMALL, resolution=32, stages=(*SMALL.stages, _stage(SMALL))))
    small, large = synflow(network, 3, 32), synflow(deeper, 3, 32)
    assert small > 0
    assert large > small  # more layers are more paths
    with torch.no_grad():
        for parameter in deeper.parameters():
            parameter.mul_(0.5)
    assert synflow(deeper, 3, 32) < large


def _stage(architecture: Architecture) -> Stage:
    return replace(architecture.stages[-1], stride=1)


def test_naswot_tells_different_images_from_alike_ones() -> None:
    torch.manual_seed(0)
    network = build(replace(SMALL, resolution=32))
    images = torch.randn(8, 3, 32, 32)
    apart = naswot(network, images)
    near = images[:1] + 0.1 * images
    assert naswot(network, near) < apart
    with pytest.raises(Diverged, match="not distinct"):
        naswot(network, images[:1].repeat(8, 1, 1, 1))


def test_naswot_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="needs images"):
        ZeroCostProxy("naswot")


@pytest.mark.parametrize("measure", ["synflow", pytest.param("naswot", marks=pytest.mark.soak)])
def test_a_search_by_a_measure(
    measure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--budget", "200M-flops", "--proxy", f"zero-cost:{measure}", "--no-scale"]
    assert command([*arguments, "--trials", "3", "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["trials"] == {"finished": 3, "failed": 0}
    assert "not an accuracy" in result["baseline"]["accuracy"]["metric"]


def test_an_unknown_measure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--budget", "200M-flops", "--proxy", "zero-cost:luck"]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert "zero-cost:luck" in error
    assert "zero-cost:synflow" in error
