"""The picture of a comparison: accuracies with what separates them, network by network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.report.style import BLUE, DARK, GREY, VERMILION, drawn
from nas.spaces.budget import amount
from nas.strategies.comparison import SeededComparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(comparison: SeededComparison, against: int, title: str) -> dict[str, bytes]:
    """Return networks' differences in accuracy to one of them, as PNG and as SVG.

    Bars are 95 % intervals of the difference, by common seeds: one that leaves 0 out is blue.
    """
    networks = comparison.networks
    measured = [i for i, network in enumerate(networks) if network.accuracy is not None]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        labels = []
        for row, index in enumerate(measured):
            network, accuracy = networks[index], networks[index].accuracy
            assert accuracy is not None
            labels.append(
                f"{network.name}\n{amount(network.cost.flops)} FLOPs, {100 * accuracy.mean:.2f} %"
            )
            if index == against:
                axes.plot(0, row, marker="D", color=VERMILION, markersize=8)
                continue
            difference = comparison.difference(index, against)
            if difference is None:
                continue
            colour = BLUE if difference.real else GREY
            error = None if difference.half_width is None else 100 * difference.half_width
            axes.errorbar(
                100 * difference.mean, row, xerr=error, fmt="o", color=colour,
                markersize=7, capsize=4, linewidth=1.8,
            )  # fmt: skip
        axes.axvline(0, color=DARK, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        name = networks[against].name
        axes.set_xlabel(
            f"difference in accuracy to {name} (percentage points)\n"
            "bars: 95 % confidence intervals; grey: not significantly different"
        )
        axes.set_title(title)

    return drawn(paint, (8.5, 1.4 + 0.6 * max(1, len(measured))))
