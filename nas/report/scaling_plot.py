"""The triangle of directions: which shares of the growth the evidence supports, as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.networks.scaling_direction import DIMENSIONS
from nas.report.style import BLUE, DARK, GREEN, GREY, ORANGE, PURPLE, VERMILION, drawn
from nas.statistics import Z90

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
_Point = tuple[float, float]

LEVELS = (0.5, 0.9)
"""Of the posterior mass: what the shaded regions hold."""

_TOP = math.sqrt(3) / 2


def draw_triangle(scaling: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the triangle as PNG and SVG.

    Args:
        scaling: of ``coefficients.json``, as the report's document has it.
    """

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        triangle(axes, scaling)

    return drawn(paint, (5.6, 4.9))


def triangle(axes: Axes, scaling: Mapping[str, Any]) -> None:
    """Draw the triangle: depth at the left corner, width at the right, resolution at the top."""
    axes.set_aspect("equal")
    axes.set_axis_off()
    corners = flat([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    lattice = scaling["posterior"]
    _shade(axes, flat(lattice["shares"]), np.array(lattice["mass"]))
    axes.fill(corners[:, 0], corners[:, 1], fill=False, edgecolor=DARK, linewidth=1.1, zorder=3)
    small: dict[str, Any] = {"color": GREY, "ha": "center", "va": "center"}
    for tick in (0.2, 0.4, 0.6, 0.8):
        for first, second, (x, y) in _lines(tick):
            axes.plot(*zip(first, second, strict=True), color="#DDDDDD", linewidth=0.6, zorder=0)
            axes.text(x, y, f"{100 * tick:.0f} %", fontsize=7.5, **small)
    for name, (x, y), angle in (
        ("depth", (0.5, -0.075), 0),
        ("width", (0.87, _TOP / 2 + 0.06), -60),
        ("resolution", (0.13, _TOP / 2 + 0.06), 60),
    ):
        axes.text(x, y, f"share of {name}", fontsize=8, rotation=angle, **small)
    for (x, y), name, above in zip(corners, DIMENSIONS, (-0.075, -0.075, 0.05), strict=True):
        axes.text(x, y + above, f"{name} alone", ha="center", va="center")
    for name, shares, style in _points(scaling):
        x, y = flat([shares])[0]
        axes.plot(x, y, label=name, linestyle="none", zorder=5, **style)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(-0.04, 1.02), fontsize=8.5)
    axes.set_xlim(-0.09, 1.09)
    axes.set_ylim(-0.12, _TOP + 0.1)
    axes.set_title("Shares of the growth in log FLOPs")


def draw_reproduction(data: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the picture of ``scaling.json`` as PNG and SVG.

    Left: predicted errors along the directions, at 1 to 16 times the FLOPs. Right: the triangle of
    the best direction over b1 to b3.
    """

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.05))
        _errors(left, data)
        triangle(right, data["best"]["b1 to b3"])

    return drawn(paint, (10.4, 4.9))


def _errors(axes: Axes, data: Mapping[str, Any]) -> None:
    base = data["flops"]
    for name, colour in zip(
        data["directions"], (VERMILION, ORANGE, BLUE, GREEN, PURPLE), strict=True
    ):
        rows = [row for row in data["compared"] if row["direction"] == name]
        steps = [1.0, *(row["flops"] / base for row in rows)]
        mean = np.array([0.0, *(row["ln_error"] for row in rows)])
        error = np.array([0.0, *(row["standard_error"] for row in rows)])
        low, high = np.exp(mean - Z90 * error), np.exp(mean + Z90 * error)
        axes.fill_between(steps, low, high, color=colour, alpha=0.10, linewidth=0)
        axes.plot(steps, np.exp(mean), "o-", color=colour, markersize=4, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axes.set_xlabel(f"realised FLOPs over {data['baseline']}'s")
    axes.set_ylabel("top-1 error relative to the baseline's")
    axes.set_title("Predicted from published trainings, with 90 % intervals")
    axes.legend(frameon=False, fontsize=8.5)


def flat(shares: Sequence[Sequence[float]] | Floats) -> Floats:
    """Return where shares (n, 3) lie in the plane, (n, 2): corners (0, 0), (1, 0), (½, √3/2)."""
    own = np.asarray(shares, float)
    return np.stack([own[:, 1] + own[:, 2] / 2, own[:, 2] * _TOP], axis=1)


def _shade(axes: Axes, places: Floats, mass: Floats) -> None:
    """Shade the regions of highest posterior mass."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle
    from matplotlib.tri import Triangulation

    if len(places) < 3 or mass.max() <= 0:
        return
    order = np.argsort(-mass)
    held = np.cumsum(mass[order])
    limits = [float(mass[order][np.searchsorted(held, level * held[-1])]) for level in LEVELS]
    colours = [to_rgba(BLUE, 0.18), to_rgba(BLUE, 0.42)]
    bounds = sorted({*limits, float(mass.max()) * 1.001})
    if len(bounds) < len(limits) + 1:
        bounds = [bounds[0] * 0.999, *bounds]
    plane = Triangulation(places[:, 0], places[:, 1])
    axes.tricontourf(plane, mass, levels=bounds[:3], colors=colours)
    for level, colour in zip(LEVELS, reversed(colours), strict=True):
        # Outside the picture, for the legend alone.
        label = f"{100 * level:.0f} % of the posterior"
        axes.add_patch(Rectangle((9, 9), 1, 1, facecolor=colour, label=label, linewidth=0))


def _lines(tick: float) -> list[tuple[_Point, _Point, _Point]]:
    """Return the three lines of a share, each with where its label stands, outside."""
    rest = 1 - tick
    lines = []
    for ends, (right, up) in (
        (((tick, rest, 0), (tick, 0, rest)), (0.0, -0.035)),
        (((0, tick, rest), (rest, tick, 0)), (0.05, 0.015)),
        (((rest, 0, tick), (0, rest, tick)), (-0.05, 0.015)),
    ):
        (x, y), (to_x, to_y) = flat(ends).tolist()
        lines.append(((x, y), (to_x, to_y), (x + right, y + up)))
    return lines


def _points(scaling: Mapping[str, Any]) -> list[tuple[str, Sequence[float], dict[str, Any]]]:
    """Return what is marked: the direction chosen, and what it is compared with."""

    def marker(sign: str, colour: str, size: int) -> dict[str, Any]:
        edge = colour if sign == "+" else "white"
        return {"marker": sign, "color": colour, "markersize": size, "markeredgecolor": edge}

    paper = scaling["compared"][0]
    training = scaling.get("training")
    measured = [] if training is None else training["points"]
    return [
        *(
            ("_" if place else "own trainings", list(one["shares"].values()), marker("o", GREEN, 5))
            for place, one in enumerate(measured)
        ),
        ("equal shares", [1 / 3] * 3, marker("+", DARK, 8)),
        (paper["name"], list(paper["shares"].values()), marker("D", ORANGE, 7)),
        ("chosen", list(scaling["shares"].values()), marker("*", VERMILION, 14)),
    ]
