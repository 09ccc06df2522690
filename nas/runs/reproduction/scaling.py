"""``nas-search reproduce scaling``: does the evidence support compound scaling?"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.environment import environment
from nas.files import to_json, write_bytes
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.compound_scaling import PAPER
from nas.networks.cost import measure_cost
from nas.networks.scaled_family import scaled_member
from nas.networks.scaling_direction import DIMENSIONS, Direction
from nas.progress import Progress, SilentProgress
from nas.proxies.scaling_model import ScalingSurface
from nas.proxies.scaling_predictor import shipped_scaling
from nas.records.result_folder import ResultFolder
from nas.records.scaling_document import ScalingDocument
from nas.report.scaling_plot import draw_reproduction
from nas.runs.coefficients import LIMITS
from nas.strategies.scaling_choice import (
    DRAWS,
    PAPERS,
    ScalingChoice,
    choose_direction,
    rounded_shares,
)

DATA = "scaling.json"
FILES = (DATA, "scaling.png", "scaling.svg")

FACTORS = (2, 4, 8, 16)
"""Realised FLOPs, relative to the baseline's, at which directions are compared."""

SHORT, LONG = (1, 2, 3), (1, 2, 3, 4, 5, 6, 7)
"""Members that decide: b1 to b3, and the whole family."""

CHOSEN = "best direction, b1 to b3"
SEED = 0
_QUANTILES = (0.05, 0.95)


@dataclass(frozen=True)
class ScalingQuestion:
    """What is asked, and of which evidence.

    Attributes:
        baseline: the network that is scaled.
        surface: what is known of its growth.
        predictor: SHA-256 of the arrays of the predictor that the surface is of.
        trainings: published trainings behind it; ``groups``: of them.
    """

    baseline: Architecture
    surface: ScalingSurface
    predictor: str
    trainings: int
    groups: int

    @classmethod
    def shipped(cls) -> ScalingQuestion:
        """Return the question for EfficientNet-B0, by the shipped predictor."""
        baseline, predictor = efficientnet_b0(), shipped_scaling()
        return cls(
            baseline,
            predictor.surface(baseline.resolution, measure_cost(baseline).flops),
            predictor.metadata.arrays_sha256,
            predictor.metadata.trainings,
            len(predictor.metadata.groups),
        )

    def identity(self) -> dict[str, Any]:
        """Return all that the numbers follow from."""
        return {
            "baseline": self.baseline.key(),
            "predictor": self.predictor,
            "factors": list(FACTORS),
            "draws": DRAWS,
            "seed": SEED,
        }


def reproduce_scaling(out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write the folder of the evidence for compound scaling; return ``scaling.json``.

    Nothing is trained. The same predictor writes the same bytes; ``run.json`` alone has the time
    and the machine.

    Args:
        out: folder to write.
        progress: shows how far it is; None: nothing is shown.

    Raises:
        InputError: the folder is in use, holds something else or cannot be written.
    """
    start = time.monotonic()
    progress = progress or SilentProgress()
    question = ScalingQuestion.shipped()
    own = question.identity()
    with ResultFolder.open(out, ScalingDocument, progress.note) as results:
        results.check_identity(own)
        progress.phase("reproduce scaling", None)
        data = scaling_evidence(question)
        pictures = draw_reproduction(data)
        document = ScalingDocument(
            identity=own, **environment(), seconds=round(time.monotonic() - start, 1)
        )
        results.save(document)
        write_bytes(results.path / DATA, to_json(data).encode())
        for kind, content in pictures.items():
            write_bytes(results.path / f"scaling.{kind}", content)
        results.finish(document, FILES)
    return data


def scaling_evidence(question: ScalingQuestion) -> dict[str, Any]:
    """Return the content of ``scaling.json``."""
    short = choose_direction(question.surface, SHORT, seed=SEED)
    whole = choose_direction(question.surface, LONG, seed=SEED)
    directions = {
        CHOSEN: short.direction,
        PAPERS: Direction.of(PAPER),
        **{f"{name} alone": Direction.along(name) for name in DIMENSIONS},
    }
    rows = compared(question, directions)
    data: dict[str, Any] = {
        "baseline": question.baseline.name,
        "flops": measure_cost(question.baseline).flops,
        "evidence": {
            "predictor": question.predictor,
            "trainings": question.trainings,
            "groups": question.groups,
            "limits": LIMITS,
        },
        "directions": {name: rounded_shares(one) for name, one in directions.items()},
        "compared": rows,
        "best": {"b1 to b3": best(short), "b1 to b7": best(whole)},
    }
    return {**data, "conclusions": conclusions(data)}


def compared(question: ScalingQuestion, directions: dict[str, Direction]) -> list[dict[str, Any]]:
    """Return what is predicted of the networks on each direction, by their realised FLOPs.

    Differences are to the paper's direction, at the same multiple of the baseline's FLOPs.
    """
    rows = []
    for factor in FACTORS:
        members = {
            name: scaled_member(question.baseline, direction, math.log2(factor))
            for name, direction in directions.items()
        }
        growths = []
        for name, member in members.items():
            shares = member.shares or directions[name]
            growths.append([math.log(member.ratio) * one for one in shares.shares().values()])
        means, errors = question.surface.predict(np.array(growths))
        drawn = question.surface.sampled_changes(np.array(growths), DRAWS, SEED)
        gaps = drawn - drawn[:, [list(directions).index(PAPERS)]]
        low, high = np.quantile(gaps, _QUANTILES, axis=0)
        for place, (name, member) in enumerate(members.items()):
            rows.append(
                {
                    "direction": name,
                    "factor": factor,
                    "flops": member.flops,
                    "layers": sum(stage.layers for stage in member.architecture.stages),
                    "resolution": member.architecture.resolution,
                    "ln_error": round(float(means[place]), 5),
                    "standard_error": round(float(errors[place]), 5),
                    "against_paper": round(float(gaps[:, place].mean()), 5),
                    "interval_90": [round(float(low[place]), 5), round(float(high[place]), 5)],
                    "probability_worse": round(float((gaps[:, place] > 0).mean()), 4),
                }
            )
    return rows


def best(choice: ScalingChoice) -> dict[str, Any]:
    """Return a best direction, and how far the paper's is from it."""
    content = choice.to_dict()
    shares, papers = content["shares"], rounded_shares(Direction.of(PAPER))
    paper = next(one for one in choice.compared if one.name == PAPERS)
    return {
        **content,
        "distance_of_paper": round(sum(abs(shares[n] - papers[n]) for n in shares) / 2, 4),
        "cost_of_paper": round(paper.difference, 5),
        "cost_of_paper_interval_90": [round(end, 5) for end in paper.interval],
    }


def conclusions(data: dict[str, Any]) -> list[str]:
    """Return what follows, in sentences."""
    found = []
    last = {row["direction"]: row for row in data["compared"] if row["factor"] == FACTORS[-1]}
    for name in DIMENSIONS:
        row = last[f"{name} alone"]
        low, high = row["interval_90"]
        verdict = "The evidence decides" if low > 0 or high < 0 else "The evidence does not decide"
        found.append(
            f"{name.capitalize()} alone at {FACTORS[-1]} times the FLOPs: the error is "
            f"{_worse(row['against_paper'])} than by the paper's coefficients "
            f"(90 %: {_percent(low)} to {_percent(high)}). {verdict} between them."
        )
    for members, one in data["best"].items():
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in one["shares"].items())
        low, high = one["cost_of_paper_interval_90"]
        zero = one["may_be_zero"]
        found.append(
            f"Best direction over {members}: {shares}. "
            + (f"The intervals of {_listed(zero)} reach 0. " if zero else "")
            + f"The paper's coefficients put {100 * one['distance_of_paper']:.0f} % of the growth "
            f"elsewhere, and their error is {_worse(one['cost_of_paper'])} "
            f"(90 %: {_percent(low)} to {_percent(high)})."
        )
    return found


def _percent(change: float) -> str:
    return f"{100 * math.expm1(change):+.1f} %"


def _worse(change: float) -> str:
    return f"{100 * abs(math.expm1(change)):.1f} % {'lower' if change < 0 else 'higher'}"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
