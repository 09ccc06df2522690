"""The scaling predictor: its surface, the fit to published trainings, and what it may claim."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas.cli import _run as command
from nas.errors import InputError
from nas.proxies.scaling_fit import fit_scaling
from nas.proxies.scaling_model import PARAMETERS, ScalingSurface, growth_terms
from nas.proxies.scaling_predictor import predict_scaling, shipped_scaling
from nas.proxies.scaling_table import read_scaling_table, trainings_of
from tests.support.paths import ROOT

TABLE = ROOT.parent / "shared/data/scaling/scaling.csv"
published = pytest.mark.skipif(not TABLE.is_file(), reason="../shared is not there")

growths = st.tuples(*[st.floats(-1.5, 2.5)] * 3)


def surface() -> ScalingSurface:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(PARAMETERS, PARAMETERS)) / 50
    return ScalingSurface(rng.normal(size=PARAMETERS) / 10, root @ root.T)


@given(growths, growths)
def test_a_surface_seen_from_another_base_is_the_same_surface(
    offset: tuple[float, ...], growth: tuple[float, ...]
) -> None:
    own = surface()
    here, there = np.array([offset]), np.array([offset]) + np.array([growth])
    moved, _ = own.recentred(np.array(offset)).predict(np.array([growth]))
    assert moved[0] == pytest.approx(own.predict(there)[0][0] - own.predict(here)[0][0], abs=1e-9)


def test_measurements_update_a_surface_in_closed_form() -> None:
    own = surface()
    design = growth_terms(np.random.default_rng(1).normal(size=(40, 3)))
    truth = np.random.default_rng(2).normal(size=PARAMETERS) / 10
    assert own.updated(design[:0], np.zeros(0), np.zeros((0, 0))) is own
    sharp = own.updated(design, design @ truth, 1e-10 * np.eye(40))
    assert sharp.mean == pytest.approx(truth, abs=1e-3)
    noise = 0.01 * np.eye(40)
    found = own.updated(design, design @ truth, noise)
    information = np.linalg.inv(own.covariance) + design.T @ design / 0.01
    assert found.covariance == pytest.approx(np.linalg.inv(information), abs=1e-8)


def test_what_is_predicted_for_b0() -> None:
    same = predict_scaling(depth=1, width=1, resolution=224)
    assert (same.mean, same.standard_error) == pytest.approx((0, 0), abs=1e-12)
    larger = nas.predict_scaling(
        depth=1.2, width=1.1, resolution=258, base_resolution=224, base_flops=None
    )
    assert -0.15 < larger.mean < -0.05
    assert 0 < larger.standard_error < 0.03
    far = nas.predict_scaling(depth=4, width=2, resolution=448)
    assert far.mean < larger.mean
    assert far.standard_error > larger.standard_error


@pytest.mark.parametrize(
    ("key", "value"),
    [("depth", 0), ("width", -1), ("resolution", 0), ("base_resolution", math.nan),
     ("base_flops", -5)],
)  # fmt: skip
def test_what_cannot_be_scaled_is_refused(key: str, value: float) -> None:
    with pytest.raises(InputError, match=key):
        predict_scaling(**{key: value})


def test_what_is_shipped_is_as_good_as_is_claimed() -> None:
    scores = shipped_scaling().metadata.scores
    assert scores.mean_correlation >= 0.65
    assert scores.pooled_correlation >= 0.70
    assert scores.ordered >= 0.90
    assert 0.85 <= scores.coverage_90 <= 0.95
    for suffix in ("json", "safetensors"):
        assert (ROOT / f"nas/_models/scaling.{suffix}").stat().st_size <= 100 * 1024


@published
def test_the_shipped_fit_is_what_the_published_table_gives() -> None:
    table = read_scaling_table(TABLE)
    trainings = trainings_of(table)
    fit = fit_scaling(trainings, range(len(trainings.groups)))
    shipped = shipped_scaling()
    assert shipped.metadata.table_sha256 == table.sha256
    assert shipped.fit.hyperparameters == fit.hyperparameters
    assert shipped.fit.mean == pytest.approx(fit.mean, abs=1e-6)
    assert shipped.fit.covariance == pytest.approx(fit.covariance, abs=1e-6)


HEADER = (
    "group,base,block,depth,width,resolution_train,resolution_test,top1,macs_millions,source,notes"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "group"),
        ("group,base\na,b\n", "block"),
        (f"{HEADER}\na,b,c,1,1,224,224,much,300,s,\n", "top1"),
        (f"{HEADER}\na,b,c,1,-1,224,224,70,300,s,\n", "width"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert command(["fit-scaling", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "t.csv" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "o").exists()


@published
@pytest.mark.soak
def test_the_command_makes_what_is_shipped(tmp_path: Path) -> None:
    assert command(["fit-scaling", str(TABLE), "--out", str(tmp_path), "--quiet"]) == 0
    made = json.loads((tmp_path / "scaling.json").read_text())
    own = json.loads((ROOT / "nas/_models/scaling.json").read_text())
    assert made["scores"] == own["scores"]
