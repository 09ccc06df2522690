"""The main plots as pictures, for papers: what the page shows, drawn by matplotlib."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.report.document import published
from nas.report.scaling_plot import draw_triangle
from nas.report.style import BLUE, DARK, GREY, VERMILION, drawn
from nas.spaces.budget import amount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CHOICES = 40
"""So many choices are drawn, those that explain most."""

SHADES = "Blues"

Document = dict[str, Any]
"""What the page shows of a run: :func:`nas.report.document.run_document`."""


def draw_pictures(run: Document) -> dict[str, bytes]:
    """Return the pictures that a run has data for, by file name; the same run, the same bytes."""
    found = {}
    for name, picture in PICTURES.items():
        for kind, content in picture(run).items():
            found[f"{name}.{kind}"] = content
    return found


def _front(run: Document) -> dict[str, bytes]:
    """Draw accuracy against FLOPs: all trials, their front, the baseline, the budget."""
    baseline = None if run["baseline"] is None else json.loads(run["baseline"])
    if baseline is None or baseline["accuracy"] is None:
        return {}
    trials, by_loss = run["trials"], run["rank_by"] == "loss"
    if run["front"]["records"] is not None:
        records = [json.loads(record) for record in run["front"]["records"]]
        front = [(one["cost"]["flops"], one["accuracy"]["mean"]) for one in records]
    else:
        front = [(trials["flops"][at], trials["mean"][at]) for at in run["front"]["places"]]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        if trials is not None:
            known = [at for at, mean in enumerate(trials["mean"]) if mean is not None]
            axes.plot(
                [trials["flops"][at] / 1e6 for at in known],
                [100 * trials["mean"][at] for at in known],
                "o", color=BLUE, alpha=0.4, markersize=3.4 if len(known) < 1000 else 2.2,
                markeredgewidth=0, label=f"{len(known):,} trials",
                rasterized=len(known) > 1000,  # thousands of dots make a heavy SVG
            )  # fmt: skip
        axes.plot(
            [flops / 1e6 for flops, _ in front],
            [100 * mean for _, mean in front],
            # By the loss a front rises; in accuracy it may go down here and there.
            "o" if by_loss else "o-", drawstyle="steps-post", color=DARK, linewidth=1,
            markersize=4, label="front" + (" by loss" if by_loss else ""),
        )  # fmt: skip
        accuracy = baseline["accuracy"]
        axes.errorbar(
            baseline["cost"]["flops"] / 1e6, 100 * accuracy["mean"],
            yerr=100 * accuracy["standard_error"], fmt="*", color=VERMILION, markersize=13,
            markeredgecolor="white", capsize=3, zorder=5,
            label=f"{'baseline' if run['finished'] else 'best so far'}, "
            f"{100 * accuracy['mean']:.2f} %",
        )  # fmt: skip
        limit = run["budget"]["limits"].get("flops")
        if limit:
            label = f"budget {amount(limit)}"
            axes.axvline(limit / 1e6, color=DARK, lw=1, ls=(0, (4, 3)), label=label)
        axes.set_xlabel("FLOPs (millions of multiply-adds)")
        axes.set_ylabel("accuracy (%)")
        axes.set_title(_wrapped(accuracy["metric"]))
        axes.legend(loc="lower right", framealpha=0.9, edgecolor="none")

    return drawn(paint, (6.5, 4.4))


def _progress(run: Document) -> dict[str, bytes]:
    """Draw the best score so far over trials."""
    trials = run["trials"]
    if trials is None or not any(score is not None for score in trials["score"]):
        return {}
    numbers = trials["numbers"] or list(range(trials["count"]))
    percent = run["objective"] == "accuracy"
    unit = 100 if percent else 1
    scores = np.array([np.nan if score is None else unit * score for score in trials["score"]])
    best = np.fmax.accumulate(scores)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        at = np.array(numbers) + 1
        rasterized = len(scores) > 1000
        axes.plot(at, scores, "o", color=GREY, markersize=2.2, markeredgewidth=0, alpha=0.6,
                  rasterized=rasterized)  # fmt: skip
        axes.step(at, best, where="post", color=BLUE, linewidth=1.8)
        low, high = np.nanquantile(scores, 0.05), np.nanmax(scores)
        if high > low:
            axes.set_ylim(low, high + 0.06 * (high - low))
        axes.set_xlabel("trials")
        axes.set_ylabel("accuracy (%)" if percent else run["objective"])
        axes.set_title("Best so far, and all trials")

    return drawn(paint, (6.5, 3.4))


def _choices(run: Document) -> dict[str, bytes]:
    """Draw how much each choice explains alone, and the values of those near the front."""
    importance = run["importance"]
    if importance is None:
        return {}
    rows = [choice for choice in importance["choices"] if len(choice["values"]) > 1]
    rows = sorted(rows, key=lambda choice: -(choice["share"] or 0))[:MOST_CHOICES][::-1]
    if not rows:
        return {}

    def paint(figure: Figure) -> None:
        from matplotlib import colormaps

        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.25))
        places = np.arange(len(rows))
        left.barh(places, [100 * (choice["share"] or 0) for choice in rows], color=BLUE, height=0.7)
        left.set_yticks(places, [choice["name"] for choice in rows])
        left.set_xlabel("variance explained (%)")
        left.set_title("Importance of each choice")
        for place, choice in zip(places, rows, strict=True):
            before = 0.0
            for value, count, shade in zip(
                choice["values"],
                choice["near"],
                np.linspace(0.12, 0.85, len(choice["values"])),
                strict=True,
            ):
                share = 100 * count / importance["near"]
                colour = colormaps[SHADES](shade)
                right.barh(place, share, left=before, color=colour, height=0.8, edgecolor="white")
                if share >= 10:
                    ink = "white" if shade > 0.5 else DARK
                    right.text(
                        before + share / 2, place, str(value), color=ink,
                        ha="center", va="center", fontsize=7.5,
                    )  # fmt: skip
                before += share
        right.set_xlim(0, 100)
        right.set_ylim(-0.6, len(rows) - 0.4)
        right.set_xlabel("near the front (%)")
        right.set_title(f"Values of the {importance['near']} trials nearest to the front")

    return drawn(paint, (7.5, 1.2 + 0.19 * len(rows)))


def _scaling(run: Document) -> dict[str, bytes]:
    """Draw which directions of growth the evidence supports."""
    return {} if run["scaling"] is None else draw_triangle(run["scaling"])


def _family(run: Document) -> dict[str, bytes]:
    """Draw what the family costs, and the error that is predicted of it."""
    family = run["family"]
    if not family:
        return {}

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        names = [member["name"] for member in family]
        flops = [member["flops"] for member in family]
        left.axhline(0, color=GREY, linestyle=":", linewidth=1)
        off = [100 * (one / flops[0] / 2**phi - 1) for phi, one in enumerate(flops)]
        left.plot(names, off, "o-", color=VERMILION, markersize=5)
        left.set_ylim(min(-5.0, min(off) - 1), max(5.0, max(off) + 1))
        left.set_ylabel("realised FLOPs against 2^k (%)")
        if run["scaling"] is not None:
            _errors(right, run["scaling"]["members"])

    return drawn(paint, (7.5, 3.2))


def _errors(axes: Axes, members: list[dict[str, float]]) -> None:
    """Draw the predicted top-1 error relative to b0, beside the published EfficientNets'."""
    steps = np.array([0.0, *(member["doublings"] for member in members)])
    mean = np.array([0.0, *(member["mean"] for member in members)])
    error = np.array([0.0, *(member["standard_error"] for member in members)])
    low, high = np.exp(mean - 1.645 * error), np.exp(mean + 1.645 * error)
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, linewidth=0, label="90 % interval")
    axes.plot(steps, np.exp(mean), color=BLUE, label="predicted")
    family = next(one for one in published()["families"] if one["name"] == "EfficientNet")
    networks = family["networks"]
    axes.plot(
        [math.log2(one["flops"] / networks[0]["flops"]) for one in networks],
        [(100 - one["top1"]) / (100 - networks[0]["top1"]) for one in networks],
        "s", color=GREY, markerfacecolor="white", label="EfficientNet B0 to B7, published",
    )  # fmt: skip
    axes.set_xlabel("doublings of b0's FLOPs")
    axes.set_ylabel("top-1 error relative to b0")
    axes.legend(frameon=False, fontsize=8)


def _wrapped(text: str, width: int = 72) -> str:
    """Return a title in lines that fit the picture; what would start mathematics is a sign."""
    return fill(text.replace("$", r"\$"), width)


PICTURES: dict[str, Callable[[Document], dict[str, bytes]]] = {
    "front": _front,
    "progress": _progress,
    "choices": _choices,
    "coefficients": _scaling,
    "family": _family,
}
"""The pictures by name; each is a PNG and an SVG, or nothing where there is nothing to draw."""
