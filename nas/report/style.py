"""How pictures look, and how they become files: the same picture, the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's colours, which the colour-blind can tell apart.
BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
GREY, DARK = "#8A8A8A", "#333333"

DPI = 150


def drawn(paint: Callable[[Figure], None], size: tuple[float, float]) -> dict[str, bytes]:
    """Return a picture as PNG and as SVG, by kind.

    Args:
        paint: draws on an empty figure.
        size: width and height in inches.
    """
    import matplotlib.style
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    own: dict[Any, Any] = {
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "nas-search",
        "text.parse_math": False,  # names are free text, with a dollar perhaps
    }
    result = {}
    # Not what a user's own matplotlibrc may say.
    with (
        matplotlib.style.context("default"),
        rc_context(own),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        paint(figure)
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, metadata=metadata)
            result[kind] = stream.getvalue()
    return result
