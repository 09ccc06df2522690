"""The picture of a training: loss and accuracy by epochs, with the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.report.style import BLUE, DARK, GREY, VERMILION, drawn
from nas.training.trainer import EpochMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (9.0, 3.6)
"""In inches."""


def draw_history(
    epochs: Sequence[EpochMetrics], title: str, test: float | None = None
) -> dict[str, bytes]:
    """Return the history of a training as PNG and as SVG.

    Args:
        epochs: what was seen at each look at the validation images, in their order.
        title: of the picture.
        test: accuracy on the test images; None: not known.
    """
    at = [row.epoch for row in epochs]
    # A single point is no line.
    marker = "o" if len(at) < 30 else ""

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for values, colour, label in (
            ([row.loss for row in epochs], GREY, "training"),
            ([row.validation_loss for row in epochs], BLUE, "validation"),
        ):
            left.plot(at, values, color=colour, marker=marker, markersize=3, label=label)
        left.set_xlabel("epochs")
        left.set_ylabel("loss (nats)")
        left.set_title(title)
        left.legend(frameon=False)
        accuracies = [100 * row.validation_accuracy for row in epochs]
        right.plot(at, accuracies, color=BLUE, marker=marker, markersize=3, label="validation")
        if test is not None:
            label = f"test: {100 * test:.2f} %"
            right.plot(at[-1], 100 * test, color=VERMILION, marker="D", ls="", label=label)
        right.set_xlabel("epochs")
        right.set_ylabel("accuracy (%)")
        right.set_title(f"{accuracies[-1]:.2f} % of the validation images")
        right.legend(loc="lower right", framealpha=1, edgecolor="none")
        rate = right.twinx()
        rate.plot(at, [row.learning_rate for row in epochs], color=DARK, lw=0.8, ls=":")
        rate.set_ylabel("learning rate (dotted)", color=DARK)
        rate.set_ylim(bottom=0)
        rate.spines["right"].set_visible(True)
        # Below the accuracies and their legend.
        right.set_zorder(rate.get_zorder() + 1)
        right.patch.set_visible(False)

    return drawn(paint, SIZE)
