"""How large the report of a long run is, and how soon it can be used.

    python benchmarks/report.py [--trials 8000] [--folder DIR]

Makes a run of so many trials (or takes one), times the making of its report, and opens the page in
a headless Chromium, with empty caches each time. Interactive: from the start of the navigation
until all text and the plot of all trials are there and answer; drawn: until every plot is. Beside
it stands what a user would make instead: one figure of the same dots, with the choices where a
pointer rests, by Plotly's own `write_html`.

Goals for 8,000 trials: at most 7 MB (plotly.js alone is about 4.8), interactive within 2 s.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from nas.cli import _run as command
from nas.report.write import FILES, PAGE, write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

INTERACTIVE, DRAWN = (
    f"document.documentElement.dataset.{what}" for what in ("interactive", "ready")
)

PLAIN_READY = """() => new Promise(resolve => {
  const plot = document.querySelector('.plotly-graph-div');
  if (plot.calcdata) resolve(performance.now());
  else plot.on('plotly_afterplot', () => resolve(performance.now()));
})"""


def opened(browser: Browser, page: Path, ready: str, repeats: int) -> list[float]:
    """Return seconds to interactive, of several openings."""
    found = []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        tab = context.new_page()
        faults: list[str] = []
        tab.on("console", lambda said, faults=faults: faults.append(said.text))
        tab.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
        tab.goto(page.resolve().as_uri())
        if ready != PLAIN_READY:
            tab.locator("html[data-ready]").wait_for(state="attached")
        found.append(float(tab.evaluate(ready)) / 1000)
        assert not faults, faults
        context.close()
    return found


def plain(folder: Path, out: Path) -> None:
    """Write the figure of the same dots by Plotly alone."""
    import plotly.graph_objects as go

    from nas.report.document import run_document
    from nas.report.run_folder import read_run

    run = run_document(read_run(folder))
    trials: dict[str, Any] = run["trials"]
    names = list(trials["choices"])
    words = [
        "<br>".join(
            f"{name} = {trials['choices'][name][ord(letter) - 48]}"
            for name, letter in zip(
                names, trials["words"][at * len(names) : (at + 1) * len(names)], strict=True
            )
        )
        for at in range(trials["count"])
    ]
    dots = go.Scatter(x=trials["flops"], y=trials["mean"], mode="markers", text=words)
    go.Figure(dots).write_html(out, include_plotlyjs=True)


def line(name: str, page: Path, seconds: list[float]) -> None:
    """Print how large a page is and how soon it can be used."""
    median, most = statistics.median(seconds), max(seconds)
    size = page.stat().st_size / 1e6
    print(f"{name:32}{size:9.2f} MB{median:9.2f} s{most:9.2f} s", flush=True)


def main() -> None:
    """Print sizes and times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=8000)
    parser.add_argument("--folder", type=Path, help="of a run that is there already")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        parser.error(f"no browser: {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary, "run")
        if options.folder is None:
            words = ["--budget", "400M-flops", "--sampler", "random", "--no-scale", "--quiet"]
            words += ["--trials", str(options.trials), "--out", str(folder)]
            assert command(words) == 0
        copied = Path(shutil.copytree(folder, Path(temporary, "copy")))
        for name in FILES:
            (copied / name).unlink(missing_ok=True)
        start = time.perf_counter()
        write_report(copied)
        made = time.perf_counter() - start
        trials = sum(json.loads((copied / "run.json").read_text())["trials"].values())
        print(f"{trials:,} trials; page and pictures made in {made:.1f} s")
        print(f"{'':32}{'size':>12}{'median':>11}{'slowest':>11}")
        plain(copied, Path(temporary, "plain.html"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=QUIET)
            ours = {
                name: opened(browser, copied / PAGE, ready, options.repeats)
                for name, ready in (("interactive", INTERACTIVE), ("drawn", DRAWN))
            }
            theirs = opened(browser, Path(temporary, "plain.html"), PLAIN_READY, options.repeats)
            browser.close()
        for name, seconds in ours.items():
            line(f"nas-search report, {name}", copied / PAGE, seconds)
        line("one figure, write_html", Path(temporary, "plain.html"), theirs)


if __name__ == "__main__":
    main()
