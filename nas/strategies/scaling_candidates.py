"""Which coefficients to compare: the ways to scale a baseline that really double its FLOPs.

Tan & Le 2019 (arXiv 1905.11946), section 3.3: fix phi = 1, constrain alpha * beta**2 * gamma**2 to
about 2, and search the coefficients on the baseline. With the official rounding such a product
costs anything from 1.9 to 3.3 times the baseline, so here the constraint is on what the network
costs after rounding; the product is shown beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product as combinations

from nas.networks.architecture import Architecture
from nas.networks.compound_scaling import PAPER, Coefficients, compound, grows
from nas.networks.cost import measure_cost

STEP = 0.01
LARGEST = (2.2, 1.5, 1.5)
"""How far alpha, beta and gamma are tried: each alone a little past twice the FLOPs."""

PROXY_TOLERANCE = 0.15
"""How far a point's cost at the proxy's scale may be off the target before it is passed over."""

View = Callable[[Architecture], Architecture]


@dataclass(frozen=True)
class ScalingCandidate:
    """One way to scale the baseline by one step of phi.

    Attributes:
        coefficients: alpha, beta, gamma; of the many that round to this network, those whose
            product is nearest to the target.
        architecture: the scaled baseline.
        flops: what it costs.
        ratio: its FLOPs over the baseline's.
        proxy_flops: what the network costs that the proxy really trains.
        proxy_ratio: the same over the baseline's.
        only_enlarges: the proxy's images are enlarged for it beyond what they hold, so more
            resolution shows the network nothing new.
        eligible: within the tolerance, so that it may be chosen.
    """

    coefficients: Coefficients
    architecture: Architecture
    flops: int
    ratio: float
    proxy_flops: int
    proxy_ratio: float
    only_enlarges: bool
    eligible: bool


def make_point(
    baseline: Architecture,
    coefficients: Coefficients,
    *,
    view: View,
    image_resolution: int | None = None,
    eligible: bool = True,
) -> ScalingCandidate:
    """Return a point with its costs measured, for real and as the proxy sees it."""
    scaled = compound(baseline, coefficients, 1, f"{baseline.name}-{coefficients}")
    flops, proxy_flops = measure_cost(scaled).flops, measure_cost(view(scaled)).flops
    return ScalingCandidate(
        coefficients,
        scaled,
        flops,
        flops / measure_cost(baseline).flops,
        proxy_flops,
        proxy_flops / measure_cost(view(baseline)).flops,
        image_resolution is not None
        and coefficients.gamma > 1
        and view(scaled).resolution > image_resolution,
        eligible,
    )


def candidates(
    baseline: Architecture,
    *,
    view: View = lambda architecture: architecture,
    image_resolution: int | None = None,
    target: float = 2.0,
    tolerance: float = 0.05,
    nominal: bool = False,
) -> list[ScalingCandidate]:
    """Return the distinct networks that cost ``target`` times the baseline, by (alpha, beta).

    Networks that the proxy could not tell apart are listed once. Coefficients whose family would
    not grow at every step (resolution alone, say) are left out.

    Args:
        baseline: what is scaled.
        view: the network that the proxy trains for a given one.
        image_resolution: pixels of the proxy's images as they come; None: unknown.
        target: FLOPs over the baseline's.
        tolerance: relative, on both sides.
        nominal: constrain alpha * beta**2 * gamma**2, as the paper does, not the real FLOPs.
    """
    axes = [
        [round(1 + STEP * i, 2) for i in range(round((most - 1) / STEP) + 1)] for most in LARGEST
    ]
    # Most steps of a coefficient change nothing: rounding makes a few classes on each axis.
    depths = _classes(axes[0], lambda a: compound(baseline, Coefficients(a, 1, 1), 1))
    widths = _classes(axes[1], lambda b: compound(baseline, Coefficients(1, b, 1), 1))
    pixels = _classes(axes[2], lambda c: compound(baseline, Coefficients(1, 1, c), 1))
    base = measure_cost(baseline).flops
    kept: list[Coefficients] = []
    for depth, width in combinations(depths, widths):
        network = compound(baseline, Coefficients(depth[0], width[0], 1), 1)
        for pixel in pixels:
            resolution = compound(baseline, Coefficients(1, 1, pixel[0]), 1).resolution
            ratio = measure_cost(network, resolution).flops / base
            if not nominal and abs(ratio / target - 1) > tolerance:
                continue
            for coefficients in sorted(
                (Coefficients(*triple) for triple in combinations(depth, width, pixel)),
                key=lambda c: (abs(c.product - target), c.gamma, c.beta),
            ):
                if nominal and abs(coefficients.product / target - 1) > tolerance:
                    break
                if grows(baseline, coefficients):
                    kept.append(coefficients)
                    break
    points: dict[str, ScalingCandidate] = {}
    for coefficients in kept:
        point = make_point(baseline, coefficients, view=view, image_resolution=image_resolution)
        points.setdefault(view(point.architecture).key(), point)
    return list(points.values())


def _classes(values: Sequence[float], scaled: Callable[[float], Architecture]) -> list[list[float]]:
    classes: dict[str, list[float]] = {}
    for value in values:
        classes.setdefault(scaled(value).key(), []).append(value)
    return list(classes.values())


def spread(
    points: Sequence[ScalingCandidate], count: int, target: float = 2.0
) -> list[ScalingCandidate]:
    """Return ``count`` points that lie far from each other in how they share out the FLOPs.

    Points whose cost at the proxy's scale is near the target come first: only those are compared
    at equal cost by the proxy too. Chosen one by one, each the farthest from those chosen, from
    the one that shares most evenly on.
    """
    fair = [p for p in points if abs(p.proxy_ratio / target - 1) <= PROXY_TOLERANCE]
    rest = sorted(
        (p for p in points if p not in fair), key=lambda p: abs(math.log(p.proxy_ratio / target))
    )
    pool = fair + rest[: max(0, count - len(fair))]
    if len(pool) <= count:
        return pool
    chosen = [min(pool, key=imbalance)]
    while len(chosen) < count:
        chosen.append(
            max(
                (p for p in pool if p not in chosen),
                key=lambda p: min(math.dist(_shares(p), _shares(q)) for q in chosen),
            )
        )
    return [point for point in points if point in chosen]


def imbalance(point: ScalingCandidate) -> float:
    """Return how far a point is from growing depth, width and resolution by equal shares."""
    return math.dist(_shares(point), (1 / 3, 1 / 3, 1 / 3))


def _shares(point: ScalingCandidate) -> tuple[float, float, float]:
    """Return which share of the growth goes to depth, width and resolution."""
    c = point.coefficients
    logs = (math.log(c.alpha), 2 * math.log(c.beta), 2 * math.log(c.gamma))
    return (logs[0] / sum(logs), logs[1] / sum(logs), logs[2] / sum(logs))


def reference_point(
    baseline: Architecture, *, view: View, image_resolution: int | None, tolerance: float = 0.05
) -> ScalingCandidate:
    """Return the paper's (1.2, 1.1, 1.15) on this baseline, eligible only if it meets the target.

    On EfficientNet-B0 itself it costs 2.57 times the baseline, not 2.
    """
    point = make_point(baseline, PAPER, view=view, image_resolution=image_resolution)
    fits = abs(point.ratio / 2 - 1) <= tolerance and grows(baseline, PAPER)
    return replace(point, eligible=fits)
