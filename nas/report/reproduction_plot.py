"""The picture of it: random networks, trials and B0; and how soon each sampler has matched B0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.accuracy import percent
from nas.report.style import BLUE, DARK, GREEN, GREY, ORANGE, PURPLE, VERMILION, drawn
from nas.statistics import Z90, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STROKES: tuple[tuple[str, Any], ...] = (
    (BLUE, "-"),
    (ORANGE, (0, (6, 1.5))),
    (GREEN, (0, (1.2, 1.2))),
    (PURPLE, (0, (6, 1.5, 1.2, 1.5))),
    (DARK, (0, (3, 1.5))),
)
"""Colour and dashes of the line of each sampler."""

SIZE = (10.0, 5.2)
"""In inches."""

LOWEST = 0.2
"""So large a part of the random networks lies below what is shown."""

CELLS = (165, 130)
"""In which random networks are counted."""

CLOSEST = 6.0
"""Labels at the right are at least so many per cent apart."""


def draw(
    random: tuple[Floats, Floats],
    trials: Mapping[str, Sequence[tuple[int, float]]],
    data: dict[str, Any],
) -> dict[str, bytes]:
    """Return the picture as PNG and as SVG; the same evidence, the same bytes.

    Args:
        random: FLOPs and accuracies of the random networks, both (networks,).
        trials: FLOPs and accuracy of the evaluated trials, by the objective of their search.
        data: ``discovery.json``.
    """

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
        _networks(left, random, trials, data)
        _samplers(right, data)

    return drawn(paint, SIZE)


def _networks(
    axes: Axes,
    random: tuple[Floats, Floats],
    trials: Mapping[str, Sequence[tuple[int, float]]],
    data: dict[str, Any],
) -> None:
    """Draw accuracy against FLOPs: random networks, the trials, their front, B0."""
    from matplotlib.colors import LogNorm

    (flops, accuracy), b0 = random, data["b0"]
    limit = data["settings"]["budget"]["flops"] / 1e6
    low = float(np.quantile(accuracy, LOWEST))
    front = data["front"]["points"]
    high = max(front[-1]["accuracy"], b0["accuracy"], float(accuracy.max()))
    frame = (
        (float(flops.min()) / 1e6, limit),
        (100 * low, 100 * (high + 0.1 * (high - low))),
    )
    counts, *_ = np.histogram2d(flops / 1e6, 100 * accuracy, CELLS, frame)
    axes.imshow(
        np.ma.masked_equal(counts.T, 0),
        extent=(*frame[0], *frame[1]),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="Greys",
        norm=LogNorm(0.2, 100 * max(1.0, float(counts.max()))),
    )
    legend = [_dots(axes, [], [], GREY, f"{len(flops):,} random networks")]
    for name, colour in (("accuracy", BLUE), ("reward", GREEN)):
        evaluated = trials[name]
        legend += [
            _dots(
                axes,
                [cost / 1e6 for cost, _ in evaluated],
                [100 * mean for _, mean in evaluated],
                colour,
                f"{len(evaluated)} trials by {name}",
            )
        ]
    legend += axes.step(
        [*(point["flops"] / 1e6 for point in front), limit],
        [*(100 * point["accuracy"] for point in front), 100 * front[-1]["accuracy"]],
        where="post",
        color=DARK,
        linewidth=1,
        label="front of both searches",
    )
    best = data["best"]
    for one, marker, size, colour, name in (
        (best["accuracy"], "^", 10, BLUE, "best by accuracy"),
        (best["reward"], "v", 10, GREEN, "best by reward"),
        (b0, "*", 15, VERMILION, "EfficientNet-B0"),
    ):
        cost = one["cost"]["flops"] / 1e6
        middle = one.get("corrected", one["accuracy"])
        error = one.get("corrected_standard_error", one["standard_error"])
        axes.errorbar(
            cost, 100 * middle, 100 * Z90 * error, color=colour, linewidth=1.6, capsize=3, zorder=5
        )
        legend += axes.plot(
            cost,
            100 * one["accuracy"],
            linestyle="",
            marker=marker,
            markersize=size,
            markeredgecolor="white",
            markeredgewidth=0.9,
            color=colour,
            zorder=6,
            label=f"{name}: {percent(one['accuracy'])} at {cost:.0f}M",
        )
    axes.axvline(limit, color=DARK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(frame[0][0], limit + 6)
    axes.set_ylim(*frame[1])
    axes.annotate(
        f"budget {limit:.0f}M",
        (limit, frame[1][0]),
        xytext=(-4, 6),
        textcoords="offset points",
        ha="right",
        color=DARK,
    )
    axes.annotate(
        "bars: 90 %\nintervals; best:\nbias-corrected",
        (frame[0][0], frame[1][0]),
        xytext=(6, 6),
        textcoords="offset points",
        fontsize=8.5,
        color=DARK,
    )
    axes.set_xlabel("FLOPs (millions of multiply-adds of convolutions and linear layers)")
    axes.set_ylabel(f"{data['metric']} (%)")
    axes.set_title("Where B0 stands in its search space")
    axes.legend(
        handles=legend,
        loc="upper left",
        fontsize=8.5,
        framealpha=0.9,
    )


def _dots(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str) -> Any:
    return axes.plot(
        x,
        y,
        linestyle="",
        marker="o",
        markersize=3.4,
        markeredgewidth=0,
        color=colour,
        alpha=0.6,
        label=label,
    )[0]


def _samplers(axes: Axes, data: dict[str, Any]) -> None:
    """Draw the share of the seeds that have matched B0 against evaluations."""
    matching = data["matching"]
    most = matching["most"]
    lines = []
    for place, (name, row) in enumerate(matching["samplers"].items()):
        found = sorted(count for count in row["evaluations"] if count is not None)
        shares = [100 * share / row["of"] for share in (*range(len(found) + 1), len(found))]
        colour, dashes = STROKES[place % len(STROKES)]
        axes.step(
            [0, *found, most],
            shares,
            where="post",
            color=colour,
            linestyle=dashes,
            linewidth=1.9,
            clip_on=False,
        )
        lines.append((shares[-1], -sum(found), name, colour, row))
    lines.sort()
    heights = _apart([line[0] for line in lines])
    for height, (_, _, name, colour, row) in zip(heights, lines, strict=True):
        axes.annotate(
            f"{name} {row['matched']}/{row['of']}",
            (most, height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
        )
    axes.set_xlim(0, most)
    axes.set_ylim(0, 100)
    axes.set_xlabel("evaluations")
    axes.set_ylabel("seeds that have matched B0 (%)")
    axes.set_title("As accurate as B0, at no more FLOPs")


def _apart(rising: Sequence[float]) -> list[float]:
    """Return heights of labels near those given, none close to another, none below 0."""
    heights: list[float] = []
    for height in reversed(rising):
        heights.append(min(height, heights[-1] - CLOSEST) if heights else height)
    heights.reverse()
    for place, height in enumerate(heights):
        heights[place] = max(height, heights[place - 1] + CLOSEST if place else 0.0)
    return heights
