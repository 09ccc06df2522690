"""The report in a real browser: what it shows, what it asks for, and what it believes."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.architecture_file import record_from_dict
from nas.records.run_state import TrainedBaseline
from nas.report.run_folder import read_run
from nas.report.write import write_page
from nas.runs.training.settings import TrainSettings
from nas.runs.training.train import train
from tests.support.browser import launched
from tests.support.job import draw_pictures
from tests.support.paths import ROOT
from tests.support.report_runs import COMMITTED, ENDING, EVIL, complete, renamed

SMALL = Architecture(
    name="small",
    resolution=32,
    in_channels=3,
    num_classes=3,
    activation="relu",
    norm=Norm(),
    stem=Stem(3, 2, 8),
    stages=(Stage("mbconv", 3, 2, 2, 8, 1, 0.0),),
    head=Head(16, 0.0),
)

READY = "html[data-ready]"

WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}

# Of every text that is seen: the contrast with what lies behind it, and whether it is large. What
# lies behind the text of a plot is its card; text on a coloured cell chooses its own colour.
CONTRASTS = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = rgb(getComputedStyle(at).backgroundColor);
      if (alpha > 0) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const hex = (parts) =>
    "#" + parts.slice(0, 3).map((one) => Math.round(one).toString(16).padStart(2, "0")).join("");
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.getClientRects().length) continue;
    if (element.closest("script, style, noscript, .annotation, .bars, .modebar")) continue;
    const style = getComputedStyle(element);
    const colour = element.closest("svg") ? style.fill : style.color;
    const large = parseFloat(style.fontSize) >= 24;
    const ratio = contrast(hex(rgb(colour)), hex(behind(element)));
    found.push({ text: node.textContent.trim().slice(0, 60), ratio, large });
  }
  return found;
}"""


@dataclass
class Opened:
    """A page in the browser, with what it said and asked for."""

    tab: Any
    said: list[str] = field(default_factory=list)

    def show(self, path: Path) -> None:
        """Open a report, and wait until it is drawn."""
        self.said.clear()
        self.tab.goto(path.resolve().as_uri())
        self.tab.locator(READY).wait_for(state="attached", timeout=300_000)


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    with launched() as browser:
        context = browser.new_context(viewport=WIDE, color_scheme="light")
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        found = Opened(context.new_page())
        tab, said = found.tab, found.said
        tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: said.append(f"error: {error}"))

        def asked(request: Any) -> None:
            if not request.url.startswith(("file:", "data:", "blob:")):
                said.append(f"request: {request.url}")

        def dialog(one: Any) -> None:
            said.append(f"dialog: {one.message}")
            one.dismiss()

        tab.on("request", asked)
        tab.on("dialog", dialog)
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(tmp_path_factory.mktemp("page") / "a run")


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return write_page([folder], folder / "report.html")


@pytest.fixture
def tab(opened: Opened, page: Path) -> Iterator[Any]:
    """The report of a whole run, as it is first seen."""
    if opened.tab.url != page.resolve().as_uri():
        opened.show(page)
    yield opened.tab
    opened.tab.set_viewport_size(WIDE)
    opened.tab.emulate_media(color_scheme="light", media="screen")


def until(tab: Any, expression: str) -> None:
    """Wait until an expression is true: asked again and again, as the policy lets no page do it."""
    end = time.monotonic() + 60
    while not tab.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.05)


def settle(tab: Any) -> None:
    """Wait until what a change of size or colours sets off is done."""
    tab.evaluate("() => new Promise((done) => setTimeout(done, 300))")


def place_of(tab: Any, trace: str, index: int) -> tuple[float, float]:
    """Return where a point of the first plot lies on the screen."""
    tab.locator("#front .plot").scroll_into_view_if_needed()
    found = tab.evaluate(
        """([name, index]) => {
          const plot = document.querySelector("#front .plot");
          const trace = plot.data.find((one) => one.name.startsWith(name));
          const { xaxis, yaxis } = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          return [
            box.left + xaxis._offset + xaxis.d2p(trace.x[index]),
            box.top + yaxis._offset + yaxis.d2p(trace.y[index]),
          ];
        }""",
        [trace, index],
    )
    return found[0], found[1]


def test_it_opens_without_a_word_and_asks_for_nothing(opened: Opened, page: Path) -> None:
    opened.show(page)
    assert opened.said == []
    headings = opened.tab.locator("h2").all_text_contents()
    assert len(headings) == 10
    assert opened.tab.locator(".plot .main-svg").count() >= 7
    # The policy refuses what a script in the page would ask for.
    asked = "fetch('https://example.org/').then(() => 'came', () => 'refused')"
    assert opened.tab.evaluate(asked) == "refused"
    opened.said.clear()


def test_hover_shows_the_architecture(tab: Any, folder: Path) -> None:
    record = json.loads((folder / "front.json").read_text())["points"][0]
    tab.mouse.move(5, 5)
    tab.mouse.move(*place_of(tab, "front", 0))
    label = tab.locator("#front .hoverlayer .hovertext")
    label.wait_for()
    text = label.text_content()
    assert record["name"] in text
    assert "k5 e1 → 16" in text
    assert f"{100 * record['accuracy']['mean']:.2f}" in text


def test_a_click_shows_the_json(tab: Any, folder: Path) -> None:
    front = json.loads((folder / "front.json").read_text())["points"]
    tab.mouse.move(5, 5)
    tab.mouse.click(*place_of(tab, "front", 1))
    shown = f"document.querySelector('#network pre').textContent.includes('{front[1]['name']}')"
    until(tab, shown)
    # To the last digit: seeds have more than a number of the page's script.
    assert json.loads(tab.locator("#network pre").text_content()) == front[1]
    tab.locator("#network button").click()
    until(tab, "document.querySelector('#network button').textContent === 'copied'")
    assert json.loads(tab.evaluate("navigator.clipboard.readText()")) == front[1]


def test_keys_reach_every_network_of_the_front(tab: Any, folder: Path) -> None:
    front = json.loads((folder / "front.json").read_text())["points"]
    tab.locator("#front summary").focus()
    tab.keyboard.press("Enter")
    button = tab.get_by_role("button", name=f"show {front[2]['name']}")
    button.focus()
    assert button.evaluate("(one) => getComputedStyle(one).outlineStyle") != "none"
    tab.keyboard.press("Enter")
    assert json.loads(tab.locator("#network pre").text_content())["name"] == front[2]["name"]


def test_every_trial_is_decoded_to_a_file_of_its_network(tab: Any, folder: Path) -> None:
    schema = json.loads((ROOT / "nas" / "architecture.schema.json").read_text())
    run = read_run(folder)
    assert run.space is not None
    assert run.rows is not None
    found = tab.evaluate(
        "() => Array.from({length: RUNS[0].networks.count}, (_, i) => RUNS[0].networks.record(i))"
    )
    assert len(found) == len(run.rows)
    for data, row in zip(found, run.rows, strict=True):
        if row.number % 20 == 0:  # the validator takes its time
            jsonschema.validate(data, schema)
        record = record_from_dict(data, "page")
        assert record.architecture == run.space.decode(row.params)
        assert record.cost.to_dict() == row.attrs["cost"]
        assert data["provenance"]["choices"] == row.params
        assert (record.accuracy is None) == (row.attrs["accuracy"] is None)


def test_the_other_axis(tab: Any) -> None:
    tab.get_by_role("button", name="loss", exact=True).click()
    settle(tab)
    assert "loss" in tab.locator("#front .ytitle").text_content()
    tab.get_by_role("button", name="accuracy", exact=True).click()
    settle(tab)
    assert "accuracy" in tab.locator("#front .ytitle").text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(tab: Any, opened: Opened, scheme: str) -> None:
    """WCAG AA: a contrast of 4.5, or of 3 where the text is large."""
    tab.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    tab.emulate_media(color_scheme=scheme)
    settle(tab)
    found = tab.evaluate(CONTRASTS)
    assert len(found) > 300
    assert [one for one in found if one["ratio"] < (3 if one["large"] else 4.5)] == []
    dark = tab.evaluate("luminance(theme().card) < 0.1")
    assert dark == (scheme == "dark")
    # Plots follow, and what stands in coloured cells is black or white as suits each.
    ink = tab.evaluate("document.querySelector('#front .plot').layout.font.color")
    assert ink == tab.evaluate("theme().ink")
    assert tab.evaluate(
        """() => Array.from({length: 101}, (_, i) => {
          const shade = between(theme().low, theme().high, i / 100);
          return contrast(shade, readableOn(shade));
        }).every((ratio) => ratio >= 4.5)"""
    )
    assert opened.said == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1400", "390"])
def test_nothing_lies_beside_the_screen(tab: Any, opened: Opened, size: dict[str, int]) -> None:
    tab.set_viewport_size(size)
    settle(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    # What is wider than its card scrolls within it; nothing is cut off.
    wider = """() => [...document.querySelectorAll("main *")].filter((one) =>
      !one.closest(".scroll, pre, svg, .plot") &&
      one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5
    ).map((one) => one.outerHTML.slice(0, 80))"""
    assert tab.evaluate(wider) == []
    plots = (
        "[...document.querySelectorAll('.plot')].map((p) => [p.clientWidth, p._fullLayout.width])"
    )
    for own, drawn in tab.evaluate(plots):
        assert abs(own - drawn) <= 2
    assert opened.said == []


def test_it_prints(tab: Any, opened: Opened) -> None:
    tab.emulate_media(color_scheme="dark")
    settle(tab)
    tab.evaluate(
        """() => addEventListener("beforeprint", () => {
          window.printed = [...document.querySelectorAll(".plot")].map((plot) => [
            plot._fullLayout.width, luminance(plot._fullLayout.font.color),
          ]);
        }, { once: true })"""
    )
    paper = tab.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") >= 8  # a section, a page
    printed = tab.evaluate("window.printed")
    assert len(printed) >= 7
    assert all(width <= 700 and ink < 0.1 for width, ink in printed)
    settle(tab)
    assert tab.evaluate("luminance(document.querySelector('.plot').layout.font.color)") > 0.5
    # What was there before still is: a click shows a network.
    tab.evaluate("document.querySelector('#network pre').textContent = ''")
    tab.mouse.move(5, 5)
    tab.mouse.click(*place_of(tab, "front", 1))
    until(tab, "document.querySelector('#network pre').textContent.length > 100")
    tab.emulate_media(media="print")
    hidden = "[...document.querySelectorAll('button')].every((one) => !one.getClientRects().length)"
    assert tab.evaluate(hidden)
    assert opened.said == []


def test_names_are_text(opened: Opened, folder: Path, tmp_path: Path) -> None:
    evil = renamed(Path(shutil.copytree(folder, tmp_path / "evil")))
    opened.show(write_page([evil], tmp_path / "evil.html"))
    tab = opened.tab
    assert opened.said == []
    assert tab.locator("img").count() == 0
    assert tab.locator("script").count() == 5
    assert EVIL in tab.locator(".number").first.text_content() or (
        ENDING in tab.locator(".number").first.text_content()
    )
    assert {EVIL, ENDING} <= set(tab.locator("#provenance li").all_text_contents())
    tab.mouse.move(5, 5)
    tab.mouse.move(*place_of(tab, "front", 0))
    label = tab.locator("#front .hoverlayer .hovertext")
    label.wait_for()
    assert EVIL in label.text_content()
    assert opened.said == []


def test_several_runs_on_one_page(opened: Opened, folder: Path, tmp_path: Path) -> None:
    evil = renamed(Path(shutil.copytree(folder, tmp_path / "<img src=x onerror=alert(3)>")))
    out = write_page([folder, COMMITTED, evil], tmp_path / "compared.html")
    opened.show(out)
    tab = opened.tab
    assert opened.said == []
    # Two measured the same; what the third says it measured is something else.
    assert tab.locator("#front .plot").count() == 2
    assert tab.locator("#front .plot").first.evaluate("(one) => one.data.length") == 2
    rows = tab.locator("#overview tbody tr").all_text_contents()
    assert len(rows) == 3
    assert tab.locator("img").count() == 0
    tab.set_viewport_size(NARROW)
    settle(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    tab.set_viewport_size(WIDE)


def test_the_trained_network(opened: Opened, folder: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(folder, tmp_path / "whole"))
    training = train(
        TrainSettings(
            SMALL, data=str(draw_pictures(tmp_path / "pictures")), out=whole / "training",
            epochs=3, batch_size=16, test=True,
        )
    ).document  # fmt: skip
    assert training.validation is not None
    assert training.test is not None
    trained = TrainedBaseline(
        file="baseline.safetensors",
        folder="training",
        epochs=3,
        resolution=training.resolution,
        validation=training.validation.accuracy.to_dict(),
        test=training.test.accuracy.to_dict(),
    )
    state = json.loads((whole / "run.json").read_text())
    state["trained"] = trained.model_dump(mode="json")
    (whole / "run.json").write_text(json.dumps(state))
    opened.show(write_page([whole], tmp_path / "trained.html"))
    assert opened.said == []
    tab = opened.tab
    accuracy = f"{100 * training.test.accuracy.mean:.2f}"
    assert accuracy in tab.locator("#trained .why").text_content()
    assert accuracy in tab.locator(".numbers").text_content()
    drawn = tab.locator("#trained .plot").evaluate("(one) => one.data[0].y")
    assert drawn == [100 * one.validation_accuracy for one in training.epochs]
    assert tab.locator("#trained tbody tr").count() == 3
    shutil.rmtree(whole / "training")  # as where a run is kept without it
    opened.show(write_page([whole], tmp_path / "alone.html"))
    assert opened.said == []
    assert accuracy in tab.locator("#trained .why").text_content()
    assert tab.locator("#trained .plot").count() == 0


def test_half_a_run(opened: Opened, folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    state = json.loads((folder / "run.json").read_text())
    (half / "run.json").write_text(json.dumps(state | {"status": "running"}))
    opened.show(write_page([half], tmp_path / "nothing.html"))
    assert opened.said == []
    assert "not finished" in opened.tab.locator("header").text_content()
    shutil.copy(folder / "study.log", half)
    opened.show(write_page([half], tmp_path / "half.html"))
    assert opened.said == []
    assert "best so far" in opened.tab.locator(".numbers").text_content()
