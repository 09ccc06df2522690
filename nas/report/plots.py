"""The main plots as pictures, for papers: what the page shows, drawn by matplotlib."""

from __future__ import annotations

import json
from collections.abc import Callable
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.report.style import BLUE, DARK, GREY, VERMILION, drawn
from nas.spaces.budget import amount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = {"chosen": "*", "tied": "=", "paper": "P", "off": "!"}

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


def _coefficients(run: Document) -> dict[str, bytes]:
    """Draw γ against β, α in the cell, the cell's colour what was measured."""
    grid = run["grid"]
    if grid is None or not any(point["accuracy"] for point in grid["points"]):
        return {}
    points, by_loss = grid["points"], grid["ranked_by"] == "loss"
    betas = sorted({point["beta"] for point in points})
    gammas = sorted({point["gamma"] for point in points})
    values = np.full((len(gammas), len(betas)), np.nan)
    texts: dict[tuple[int, int], list[str]] = {}
    for point in points:  # the best first: a cell has the colour of its best
        cell = gammas.index(point["gamma"]), betas.index(point["beta"])
        marks = "".join(MARKS[mark] for mark in point["marks"])
        texts.setdefault(cell, []).append(f"{point['alpha']:g}{marks}")
        found = point["accuracy"]
        if found is not None and np.isnan(values[cell]):
            values[cell] = found["loss"] if by_loss else 100 * found["mean"]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(
            values, origin="lower", aspect="auto", cmap=SHADES + ("_r" if by_loss else "")
        )
        low, high = np.nanmin(values), np.nanmax(values)
        for (row, column), words in texts.items():
            share = (values[row, column] - low) / (high - low) if high > low else 0.0
            dark = (share < 0.5) == by_loss and not np.isnan(share)
            axes.text(
                column, row, "\n".join(words), ha="center", va="center", fontsize=8,
                color="white" if dark else DARK,
            )  # fmt: skip
        axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
        axes.set_yticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
        axes.set_xlabel(
            "β width\nin the cells: α depth; * chosen  = not significantly different (95 % CI)\n"
            "P the paper's  ! off the FLOPs target"
        )
        axes.set_ylabel("γ resolution")
        axes.set_title("Scaling coefficients")
        label = "validation loss (lower is better)" if by_loss else "accuracy (%)"
        figure.colorbar(image, ax=axes, label=label)

    return drawn(paint, (max(5.5, 1.8 + 0.55 * len(betas)), max(3.2, 1.4 + 0.34 * len(gammas))))


def _family(run: Document) -> dict[str, bytes]:
    """Draw what the family costs, step by step."""
    family = run["family"]
    if not family:
        return {}

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        names = [member["name"] for member in family]
        flops = [member["flops"] / 1e9 for member in family]
        _line(left, names, flops, "FLOPs (billions)")
        doubling = [flops[0] * 2**phi for phi in range(len(names))]
        left.plot(names, doubling, color=GREY, linestyle=":", label="doubling")
        left.legend(frameon=False)
        _line(right, names, [member["params"] / 1e6 for member in family], "parameters (millions)")

    return drawn(paint, (7.5, 3.2))


def _line(axes: Axes, names: list[str], values: list[float], label: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.plot(names, values, "o-", color=VERMILION, markersize=5)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(label)


def _wrapped(text: str, width: int = 72) -> str:
    """Return a title in lines that fit the picture; what would start mathematics is a sign."""
    return fill(text.replace("$", r"\$"), width)


PICTURES: dict[str, Callable[[Document], dict[str, bytes]]] = {
    "front": _front,
    "progress": _progress,
    "choices": _choices,
    "coefficients": _coefficients,
    "family": _family,
}
"""The pictures by name; each is a PNG and an SVG, or nothing where there is nothing to draw."""
