"""One self-contained HTML page: the data in it, and what shows them; nothing is loaded."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

from nas._version import __version__

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
"""The page asks for nothing, wherever it lies: a browser refuses it any request."""

SCRIPTS = ("data.js", "figures.js", "page.js")
STYLE = "page.css"

_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def embedded(data: Any) -> str:
    """Return JSON that stands safely within a script element: no name in it can end that.

    It is ASCII, so no separator of lines that only some parsers know, and no half of a pair.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def make_page(title: str, data: dict[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        title: free text.
        data: what the scripts show, JSON values only.
    """
    from plotly.offline import get_plotlyjs, get_plotlyjs_version

    data = {"made_by": f"nas-search {__version__}, plotly.js {get_plotlyjs_version()}", **data}
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            # An icon in the page, so that no browser asks for one.
            '<link rel="icon" href="data:,">',
            f"<title>{html.escape(title.encode('utf-8', 'replace').decode())}</title>",
            f"<style>\n{_own(STYLE)}</style>",
            "</head>",
            "<body>",
            "<noscript>This page needs JavaScript, which it contains; the numbers are also in the "
            "JSON files beside it.</noscript>",
            '<main id="report"></main>',
            f'<script type="application/json" id="data">{embedded(data)}</script>',
            f"<script>{_script(get_plotlyjs())}</script>",
            *(f"<script>\n{_script(_own(name))}</script>" for name in SCRIPTS),
            "</body>",
            "</html>",
            "",
        )
    )


def _own(name: str) -> str:
    return (files("nas.report") / "assets" / name).read_text(encoding="utf-8")


def _script(text: str) -> str:
    """Return a script that its element can hold."""
    if "</script" in text.lower():
        raise AssertionError("a script must not close its own element")
    return text
