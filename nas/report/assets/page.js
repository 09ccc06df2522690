"use strict";
// The page: sections made of the data. Text is set as text, never read as HTML.

function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "click") element.addEventListener("click", value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== "") element.append(child);
  }
  return element;
}

const root = document.getElementById("report");
const RUNS = DATA.runs.map((run, place) => ({ run, networks: networksOf(run), place }));
const ready = { plots: [] };

// ── Plots ──────────────────────────────────────────────────────────────────────────────────────

const CONFIG = {
  displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  toImageButtonOptions: { format: "svg" },
};

// A plot that is drawn later, after those before it, and redrawn when the colours change.
function plot(label, figure, click) {
  const element = el("div", { class: "plot", role: "figure", "aria-label": label });
  ready.plots.push({ element, figure, click });
  return element;
}

// On paper: light, and as wide as the page.
const PAPER = 680;
const printing = () => document.documentElement.dataset.print !== undefined;

function draw({ element, figure, click }) {
  const { data, layout: drawn } = figure(theme());
  const first = !element.data;
  if (printing()) drawn.width = PAPER;
  Plotly[first ? "newPlot" : "react"](element, data, drawn, CONFIG);
  if (first && click) {
    element.on("plotly_click", (event) => {
      const found = event.points[0].customdata;
      if (found !== undefined && found !== null) click(found);
    });
  }
}

const redraw = () => ready.plots.forEach(draw);
const visible = () => ready.plots.filter(({ element }) => element.data);

// The first plot is drawn at once, the others one by one, so that the page stays responsive. The
// times are recorded as data attributes of the document, for benchmarks.
function drawAll() {
  const rest = [...ready.plots];
  const reached = (what) => {
    document.documentElement.dataset[what] = String(Math.round(performance.now()));
  };
  const next = () => {
    const one = rest.shift();
    if (!one) {
      reached("ready");
      return;
    }
    draw(one);
    if (!document.documentElement.dataset.interactive) reached("interactive");
    setTimeout(next);
  };
  next();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

addEventListener("beforeprint", () => {
  document.documentElement.dataset.print = "";
  redraw();
});
addEventListener("afterprint", () => {
  delete document.documentElement.dataset.print;
  redraw();
});

let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    if (!printing()) visible().forEach(({ element }) => Plotly.Plots.resize(element));
  });
});

// ── Pieces ─────────────────────────────────────────────────────────────────────────────────────

const headings = [];

function section(id, heading, why, ...body) {
  headings.push([id, heading]);
  return el(
    "section", { id, "aria-labelledby": `${id}-heading` },
    el("h2", { id: `${id}-heading` }, heading), el("p", { class: "why" }, why), ...body,
  );
}

function table(caption, head, rows) {
  const cells = (row) =>
    row.cells.map((cell, at) => (at ? el("td", {}, cell) : el("th", { scope: "row" }, cell)));
  return el(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("p", { class: "caption" }, caption),
    el(
      "table", {},
      el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map((row) => el("tr", { class: row.chosen ? "chosen" : null }, cells(row)))),
    ),
  );
}

function number(what, value, ...more) {
  // Accuracies need more room, for the description of what was measured.
  return el(
    "div", { class: what.endsWith("accuracy") ? "number wide" : "number" }, el("div", { class: "what" }, what),
    el("div", { class: "value" }, value),
    more.map((one) => (typeof one === "string" ? el("div", { class: "more" }, one) : one)),
  );
}

function copy(text, button) {
  const done = () => {
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy JSON"), 1500);
  };
  const byHand = () => {
    const area = el("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    done();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, byHand);
  else byHand();
}

// Where one network is shown: what it is, its stages and its JSON.
function networkPanel(id) {
  const title = el("h3", { id: `${id}-title` });
  const facts = el("div", { class: "fine" });
  const code = el("pre", { tabindex: "0", "aria-label": "the architecture as JSON" });
  const button = el("button", { type: "button", click: () => copy(code.textContent, button) }, "copy JSON");
  const element = el(
    "aside", { class: "network", id, "aria-live": "polite", "aria-labelledby": `${id}-title` },
    title, facts, el("div", { class: "buttons", style: "margin-top:8px" }, button), code,
  );
  const show = (networks, i) => {
    const [name, ...rest] = summary(networks, i);
    title.textContent = name;
    facts.replaceChildren(...rest.map((line) => el("div", {}, line)));
    code.textContent = textOf(networks.record(i));
    code.scrollTop = 0;
  };
  return { element, show };
}

function facts(rows) {
  const made = rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)));
  return el("table", { class: "facts" }, el("tbody", {}, made));
}

// ── Sections ───────────────────────────────────────────────────────────────────────────────────

function headline({ run, networks }) {
  const cards = [];
  const best = run.baseline;
  if (best) {
    const limit = run.budget.limits.flops;
    const share = limit ? best.cost.flops / limit : null;
    cards.push(
      number(run.finished ? "baseline" : "best so far", best.name,
        `${amount(best.cost.params)} parameters, ${best.resolution} px, ${thousands(best.num_classes)} classes`),
      number(
        "FLOPs", amount(best.cost.flops),
        share && el("div", { class: "gauge", role: "img", "aria-label": `${percent(share, 1)} % of the budget` },
          el("div", { style: `width:${Math.min(100, 100 * share)}%` })),
        share ? `${percent(share, 1)} % of the budget of ${amount(limit)}` : run.convention,
      ),
    );
    if (best.accuracy) cards.push(number("accuracy", accuracyText(best.accuracy), measured(run)));
    const corrected = best.provenance.corrected;
    if (corrected) {
      cards.push(number("corrected", accuracyText(corrected), "for selection bias: it is the best of many predictions"));
    }
  }
  const test = run.finals && run.finals.test;
  if (test && test.entries[0].accuracy) {
    const gap = test.entries[0].difference;
    cards.push(
      number("test accuracy", accuracyText(test.entries[0].accuracy), test.entries[0].accuracy.metric,
        gap ? `${gapText(gap)} to ${test.against}` : null),
    );
  } else if (best && best.provenance.test) {
    const found = best.provenance.test;
    cards.push(number("test accuracy", accuracyText(found), found.metric));
  }
  if (run.trained) {
    const [part, found] = trainedScore(run.trained);
    cards.push(number(`trained accuracy`, accuracyText(found),
      `on ${part} images, after ${trainedLength(run.trained)}`, run.trained.file));
  }
  if (run.trials) {
    const count = (state) => [...run.trials.states].filter((letter) => letter === state).length;
    cards.push(
      number("trials", thousands(run.trials.count),
        `${thousands(count("f"))} finished, ${thousands(count("s"))} stopped early, ${thousands(count("x"))} failed`,
        `sampler ${run.sampler}, seed ${run.seed}`),
    );
  }
  const seconds = Object.values(run.seconds);
  if (seconds.length) {
    const phases = Object.entries(run.seconds).map(([name, value]) => `${name} ${minutes(value)}`);
    cards.push(number("time", minutes(seconds.reduce((a, b) => a + b, 0)), phases.join(", ")));
  }
  return el("div", { class: "numbers" }, cards);
}

function gapText(gap) {
  if (!gap.ci95) return `${signed(100 * gap.mean)} points, standard error unknown`;
  const half = 50 * (gap.ci95[1] - gap.ci95[0]);
  const verdict = gap.real ? "" : ", not significantly different (95 % CI)";
  return `${signed(100 * gap.mean)} ± ${half.toFixed(2)} points${verdict}`;
}

// In parentheses where it is not significantly different.
function gapCell(gap) {
  const half = gap.ci95 ? ` ± ${(50 * (gap.ci95[1] - gap.ci95[0])).toFixed(2)}` : "";
  const text = signed(100 * gap.mean) + half;
  return gap.real ? text : `(${text})`;
}

function frontSection({ run, networks }) {
  if (!networks.count) return null;
  const panel = networkPanel("network");
  let measure = "accuracy";
  const drawn = plot(
    "Accuracy against FLOPs of all trials, with their front, the baseline and the budget",
    (colours) => frontFigure(colours, run, networks, measure),
    (i) => panel.show(networks, i),
  );
  const hasLoss = networks.loss && networks.loss.some((loss) => loss !== null);
  const switches = ["accuracy", "loss"].map((name) => {
    const button = el("button", { type: "button", "aria-pressed": String(name === measure) }, name);
    button.addEventListener("click", () => {
      measure = name;
      switches.forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      redraw();
    });
    return button;
  });
  const front = frontOf(run, networks);
  const rows = front.map((i) => ({
    chosen: run.baseline && run.baseline.provenance.trial === networks.numbers[i],
    cells: [
      networks.name(i), amount(networks.flops[i]), amount(networks.params[i]),
      `${percent(networks.mean[i])} ± ${percent(networks.error[i])}`,
      ...(hasLoss ? [fixed(networks.loss[i], 3)] : []),
      el("button", { type: "button", "aria-label": `show ${networks.name(i)}`,
        click: () => panel.show(networks, i) }, "show"),
    ],
  }));
  const at = run.baseline ? networks.numbers.indexOf(run.baseline.provenance.trial) : -1;
  const first = at >= 0 ? at : front[front.length - 1];
  if (first !== undefined) panel.show(networks, first);
  const thinned = run.trials && dots(networks).length < networks.mean.filter((m) => m !== null).length;
  return section(
    "front", "Accuracy against FLOPs",
    "Each dot is an evaluated network. No other network is both cheaper and more accurate than one on the " +
      "Pareto front. Hover over a dot to see the network, click it for its JSON.",
    el("div", { class: "beside" },
      el("div", {},
        hasLoss ? el("div", { class: "buttons", role: "group", "aria-label": "vertical axis" }, switches) : null,
        drawn,
        el("p", { class: "fine" },
          `Accuracy: ${measured(run)}. The search maximised ${run.objective}.` +
            (run.rank_by === "loss" ? " Networks are ranked by loss, so the front is that of the loss." : "") +
            (thinned ? ` At most ${thousands(MOST_DOTS)} dots are drawn, evenly spaced.` : ""))),
      panel.element),
    el("details", {}, el("summary", {}, `The Pareto front as a table (${front.length} networks)`),
      table("Networks on the Pareto front, by FLOPs",
        ["network", "FLOPs", "params", "accuracy (%)", ...(hasLoss ? ["loss"] : []), "JSON"], rows)),
  );
}

function publishedSection(one) {
  const run = one && one.run;
  return section(
    "published", "Published networks",
    "ImageNet accuracy after full training. It is not comparable with the accuracies of this run, so it has a " +
      "plot of its own: only the FLOPs can be compared.",
    plot("ImageNet accuracy of published networks against FLOPs", (colours) => publishedFigure(colours, run)),
    el("details", {}, el("summary", {}, "Sources"),
      el("ul", { class: "fine" }, DATA.published.families.map((family) =>
        el("li", {}, `${family.name}: ${family.source}. Training: ${family.training}.`)))),
  );
}

function progressSection(group, id, more) {
  const known = group.filter(({ run }) => run.trials && run.trials.states.includes("f"));
  if (!known.length) return null;
  return section(
    id, "Progress",
    `The best network so far, by trial${more || ""}. A line that has been flat for long suggests that the search has converged.`,
    plot("Best network so far over trials", (colours) => progressFigure(colours, known)),
  );
}

function choicesSection({ run }) {
  const found = run.importance;
  if (!found || !found.choices.some((choice) => choice.values.length > 1)) return null;
  const flops = found.flops === null ? "" : ` FLOPs alone explain ${percent(found.flops, 0)} %.`;
  return section(
    "choices", "Which choices matter",
    `Left: the share of the variance of ${run.objective} that each choice explains on its own. Right: the values ` +
      `of the ${found.near} trials nearest to the Pareto front.`,
    plot("Importance of choices, and their values near the front", (colours) => choicesFigure(colours, found)),
    el("p", { class: "fine" },
      `The share is the correlation ratio over ${thousands(found.trials)} finished trials, corrected for chance ` +
        `(ε²).${flops} A search prefers good networks, so its choices are correlated, and those that it ` +
        "settled early vary little: the shares describe these trials, not the whole space. Darker parts " +
        "are later values in a choice's list; hover over one for its share among all trials."),
  );
}

// ── The network, stage by stage ────────────────────────────────────────────────────────────────

function rowsOf(record) {
  let size = Math.ceil(record.resolution / record.stem.stride);
  const stem = { text: `${record.stem.kernel}×${record.stem.kernel} convolution → ${record.stem.width}`,
    size, blocks: [[record.stem.kernel, record.stem.width, 0]] };
  const stages = record.stages.map((stage) => {
    size = Math.ceil(size / stage.stride);
    const block = [stage.kernel, stage.width, stage.se_ratio];
    return { text: stageText(stage), size, blocks: Array(stage.layers).fill(block) };
  });
  const head = { text: `1×1 convolution → ${record.head.width}`, size, blocks: [[1, record.head.width, 0]] };
  return { stem, stages, head };
}

function stageCell(row, same) {
  if (!row) return el("td", {}, "–");
  const blocks = row.blocks.map(([kernel, width, ratio]) => {
    const known = [1, 3, 5, 7].includes(kernel) ? kernel : 9;
    const long = Math.round(8 + 5 * Math.log2(1 + width / 8));
    return el("i", { class: `k${known}${ratio ? " se" : ""}`, style: `width:${long}px` });
  });
  return el("td", {}, el("div", { class: "blocks", "aria-hidden": "true" }, blocks),
    el("div", { class: same ? "same" : null }, `${row.text}, ${row.size} px`));
}

function stagesSection(records, heading) {
  const drawn = records.map(rowsOf);
  const most = Math.max(...drawn.map((one) => one.stages.length));
  const last = drawn.length - 1;
  const line = (name, read) => {
    const found = drawn.map(read);
    return el("tr", {}, el("th", { scope: "row" }, name),
      found.map((row) => stageCell(row, row && found[last] && row.text === found[last].text)));
  };
  const stages = Array.from({ length: most }, (_, at) => line(String(at + 1), (one) => one.stages[at]));
  const key = (kind, text) => [el("span", { class: `key ${kind}`, "aria-hidden": "true" }), text];
  const costs = records.map((record) => `${amount(record.cost.flops)} FLOPs, ${amount(record.cost.params)} parameters`);
  return section(
    "stages", heading,
    "Each bar is a block: its length shows the channels, its colour the kernel size. Stages equal to " +
      "those of EfficientNet-B0 are grey.",
    el("p", { class: "fine" }, key("k3", "3×3"), key("k5", "5×5"), key("k7", "7×7"), key("k1", "1×1"),
      key("se", "squeeze-excite")),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heading },
      el("table", { class: "stages", style: `min-width:${60 + 112 * records.length}px` },
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "stage"),
          records.map((record, at) => el("th", { scope: "col" }, record.name, el("br"), costs[at])))),
        el("tbody", {}, line("stem", (one) => one.stem), stages, line("head", (one) => one.head)))),
  );
}

// ── Comparisons, coefficients, family, trust ──────────────────────────────────────────────────────

function contestRows(entries, marks) {
  return entries.map((entry) => ({
    chosen: marks(entry).includes("★"),
    cells: [
      `${marks(entry)} ${entry.name}`.trim(), amount(entry.cost.flops), accuracyText(entry.accuracy),
      entry.accuracy ? String(entry.accuracy.n) : "0", entry.difference ? gapCell(entry.difference) : "–",
    ],
  }));
}

function finalsSection({ run }) {
  const finals = run.finals;
  if (!finals) return null;
  const head = ["network", "FLOPs", "accuracy", "seeds", "difference"];
  const marks = (entry) =>
    (entry.name === finals.chosen ? "★" : finals.tied.includes(entry.name) ? "=" : "") +
    (entry.name === finals.reference ? "R" : "");
  const metric = (entries) => (entries.find((entry) => entry.accuracy) || { accuracy: { metric: "" } }).accuracy.metric;
  return section(
    "finals", "Finalists",
    "The best networks of the search and what they are compared with, trained under the same conditions. The best " +
      "of them is the baseline.",
    table(`${metric(finals.entries)}. ★ chosen, = not significantly different from it, R reference. Differences to R in percentage points, with 95 % confidence intervals; ( ) not significant`,
      head, contestRows(finals.entries, marks)),
    finals.test && table(`${metric(finals.test.entries)}: not used for any choice; differences to ${finals.test.against}`, head,
      contestRows(finals.test.entries, () => "")),
  );
}

const trainedScore = (trained) =>
  trained.test ? ["test", trained.test] : ["validation", trained.validation];

const trainedLength = (trained) => `${Number(trained.epochs.toPrecision(3))} epochs at ${trained.resolution} px`;

const MOST_CLASSES = 20;

function trainedSection({ run }) {
  const trained = run.trained;
  if (!trained) return null;
  const [part, found] = trainedScore(trained);
  const half = 1.96 * found.standard_error;
  const share = (value) => (value === null ? "–" : percent(value, 1));
  const worst = [...trained.classes].sort((a, b) => (a.f1 ?? 2) - (b.f1 ?? 2)).slice(0, MOST_CLASSES);
  const head = trained.classes.length > MOST_CLASSES
    ? `The ${MOST_CLASSES} classes with the lowest F1 of ${thousands(trained.classes.length)}, on ${part} images`
    : `The classes by F1, on ${part} images`;
  return section(
    "trained", "Trained network",
    `The baseline, trained ${trained.inherited ? `from the weights of ${trained.inherited}` : "from scratch"} for ` +
      `${trainedLength(trained)}. ${found.metric[0].toUpperCase()}${found.metric.slice(1)}: ${percent(found.mean)} % ` +
      `(95 % CI ${percent(Math.max(0, found.mean - half))} to ${percent(Math.min(1, found.mean + half))})` +
      (trained.test ? "; the test images were not used for any choice." : ".") +
      ` Its weights are in ${trained.file}.`,
    trained.curve.length > 1
      ? plot("Validation accuracy and loss by epoch", (colours) => curveFigure(colours, trained.curve))
      : null,
    worst.length
      ? el("details", {}, el("summary", {}, head),
          table(head, ["class", "precision (%)", "recall (%)", "F1 (%)", "images"],
            worst.map((one) => ({ cells: [one.name, share(one.precision), share(one.recall), share(one.f1), thousands(one.support)] }))))
      : null,
  );
}

function scalingSection({ run }) {
  const scaling = run.scaling;
  if (!scaling) return null;
  const names = ["depth", "width", "resolution"];
  const shares = names.map((name) => ({
    cells: [
      name, wholePercent(scaling.shares[name]), scaling.intervals[name].map(wholePercent).join(" to "),
    ],
  }));
  const compared = scaling.compared.map((one) => ({
    cells: [
      one.name, names.map((name) => wholePercent(one.shares[name])).join(" / "), wholePercent(one.probability),
      `${signed(100 * one.difference, 1)} (${one.interval.map((value) => signed(100 * value, 1)).join(" to ")})`,
    ],
  }));
  return section(
    "coefficients", "Scaling coefficients",
    `α ${scaling.alpha.toFixed(3)} depth, β ${scaling.beta.toFixed(3)} width, γ ${scaling.gamma.toFixed(3)} ` +
      "resolution: the posterior mean of the direction in which the error falls fastest. " +
      (scaling.may_be_zero.length ? `The evidence does not tell the share of ${scaling.may_be_zero.join(" and ")} from 0. ` : "") +
      `The error along it is expected to be ${(100 * scaling.regret).toFixed(1)} % above that of the best direction, which is ` +
      `not known; along the paper's, ${(100 * scaling.paper_regret).toFixed(1)} %.`,
    el("div", { class: "pair" },
      plot("Triangle of the shares of depth, width and resolution", (colours) =>
        triangleFigure(colours, scaling)),
      el("div", {},
        table("Shares of the growth in log FLOPs, with 90 % intervals", ["", "share", "interval"], shares),
        table("Other directions: probability that the one chosen has the lower error, and how much higher " +
          "theirs is in percent (90 % interval)",
          ["direction", "depth / width / resolution", "probability", "error"], compared))),
    growthTable(scaling.training),
    el("p", { class: "fine" }, `By ${scaling.evidence.kind}. ${scaling.evidence.limits}.`),
  );
}

function growthTable(training) {
  if (!training) return null;
  const lengths = [...new Set(training.points.flatMap((point) => point.runs.map((run) => run.images_seen)))].sort((a, b) => a - b);
  const rows = training.points.map((point) => ({
    cells: [
      Object.values(point.shares).map(wholePercent).join(" / "), amount(point.flops),
      ...lengths.map((length) => {
        const run = point.runs.find((one) => one.images_seen === length && one.accuracy);
        return run ? accuracyText(run.accuracy) : "–";
      }),
    ],
  }));
  return table(
    `Own trainings on ${training.data}: a small network of ${amount(training.flops)} FLOPs, grown eight times in each direction, ` +
      "accuracy after so many images. " +
      (training.with_resolution ? "" : "Resolution did not grow: the images have too few pixels. ") +
      `They moved ${wholePercent(training.moved)} of the growth; without them: ` +
      `${Object.entries(training.prior).map(([name, share]) => `${name} ${wholePercent(share)}`).join(", ")}.`,
    ["depth / width / resolution", "FLOPs", ...lengths.map((length) => `${length.toLocaleString("en")} images`)], rows);
}

const efficientnet = DATA.published.families.find((family) => family.name === "EfficientNet");

function familySection({ run, place }) {
  if (!run.family.length) return null;
  const base = run.family[0].flops;
  const rows = run.family.map((member) => ({
    cells: [
      member.name, String(member.resolution), String(member.layers), amount(member.flops),
      (member.flops / base).toFixed(2), amount(member.params), String(member.dropout),
      member.shares ? Object.values(member.shares).map((share) => (100 * share).toFixed(0)).join(" / ") : "–",
    ],
  }));
  return section(
    "family", "Family",
    "The baseline scaled by the coefficients. Each file is self-contained: it is all that is needed to build its network.",
    el("div", { class: "pair" },
      table("b0 is the baseline", ["name", "px", "layers", "FLOPs", "× b0", "params", "dropout", "shares (%)"], rows),
      el("div", {}, plot("FLOPs of the family's members", (colours) =>
        familyFigure(colours, [{ run, family: run.family, place }], efficientnet)))),
    run.scaling && plot("Error predicted of the family's members after training on ImageNet, relative to b0", (colours) =>
      errorFigure(colours, run.scaling.members, efficientnet)),
  );
}

function trustSection({ run }) {
  const check = run.check;
  const proxy = run.proxy;
  const predicted = run.baseline && run.baseline.accuracy && run.baseline.accuracy.predicted;
  if (!check && !predicted) return null;
  const body = [];
  if (check) {
    const [low, high] = check.kendall_tau_minus_flops_ci95;
    const verdict = low > 0 ? "better than" : high < 0 ? "worse than" : "not significantly differently from";
    body.push(
      plot("Kendall's τ of the proxy and of FLOPs alone", (colours) => trustFigure(colours, check)),
      el("p", { class: "fine" },
        `${check.samples} further random networks within the budget were trained longer. The proxy ranks them ` +
          `${verdict} FLOPs alone (95 % CI). τ is 1 for the same order, 0 for no correlation, −1 for the reverse.`),
    );
  }
  if (predicted) {
    const found = run.baseline.provenance.nearest;
    const near = Array.isArray(found) ? found.filter((one) => one && one.choices) : [];
    if (typeof proxy.kendall_tau === "number") {
      body.push(el("p", {},
        `Nothing was trained: accuracies are predicted by a model fitted to ${thousands(proxy.rows)} trained networks. On ` +
          `held-out networks it reached Kendall τ ${proxy.kendall_tau.toFixed(3)} and an RMSE of ${percent(proxy.rmse)} points.`));
    }
    if (near.length) {
      body.push(table("The trained networks nearest to the baseline",
        ["choices that differ", "FLOPs", "measured accuracy (%)"],
        near.map((one) => ({ cells: [differing(one.choices, run.baseline.provenance.choices), amount(one.flops),
          percent(one.accuracy)] }))));
    }
  }
  return section("trust", "How far the proxy can be trusted",
    "A proxy is a cheap measure of accuracy. What matters is whether it ranks networks as longer training does.", body);
}

function differing(choices, own) {
  const names = Object.keys(choices).filter((name) => !own || own[name] !== choices[name]);
  return names.map((name) => `${name} ${choices[name]}`).join(", ") || "none";
}

function provenanceSection(members) {
  return section("provenance", "Provenance", "What is needed to reproduce the run.",
    members.map(({ run }) => [
      members.length > 1 ? el("h3", {}, run.name) : null,
      run.notes.length ? el("ul", { class: "fine" }, run.notes.map((note) => el("li", {}, note))) : null,
      facts(run.provenance),
    ]),
    el("p", { class: "fine" }, `Page written by ${DATA.made_by}.`));
}

// ── Several runs ───────────────────────────────────────────────────────────────────────────────

function overview() {
  const rows = RUNS.map(({ run }) => ({
    cells: [
      run.name, run.baseline ? run.baseline.name : "–",
      run.baseline ? amount(run.baseline.cost.flops) : "–",
      run.baseline ? accuracyText(run.baseline.accuracy) : "–",
      run.trials ? thousands(run.trials.count) : "–", `${run.sampler}, seed ${run.seed}`,
      run.scaling ? [run.scaling.alpha, run.scaling.beta, run.scaling.gamma].map((one) => one.toFixed(2)).join(", ") : "–",
      minutes(Object.values(run.seconds).reduce((a, b) => a + b, 0)), run.title,
    ],
  }));
  return section("overview", "Runs",
    "Accuracies share a plot only where the same metric was measured on the same data.",
    table("The runs",
      ["folder", "baseline", "FLOPs", "accuracy", "trials", "sampler", "α, β, γ", "time", "search"], rows));
}

function groups() {
  const found = new Map();
  for (const one of RUNS.filter(({ networks }) => networks.count)) {
    const key = measured(one.run);
    found.set(key, [...(found.get(key) || []), one]);
  }
  return [...found.entries()];
}

function comparedFronts() {
  const panel = networkPanel("network");
  const show = ([place, i]) => panel.show(RUNS[place].networks, i);
  const drawn = groups().map(([what, group]) =>
    el("div", {}, el("h3", {}, what),
      plot(`Pareto fronts: ${what}`, (colours) => frontsFigure(colours, group), show)));
  const one = groups()[0];
  if (!one) return null;
  const front = frontOf(one[1][0].run, one[1][0].networks);
  if (front.length) panel.show(one[1][0].networks, front[front.length - 1]);
  return section("front", "Pareto fronts",
    drawn.length > 1
      ? "The runs measured different metrics: each has a plot of its own, and only FLOPs can be compared between plots."
      : "All runs measured the same metric on the same data. Hover over a dot to see the network, click it for its JSON.",
    el("div", { class: "beside" }, el("div", {}, drawn), panel.element));
}

function comparedProgress() {
  // Scores are comparable only where the same objective was maximised.
  const found = new Map();
  for (const one of RUNS.filter(({ run }) => run.trials && run.trials.states.includes("f"))) {
    const key = `${measured(one.run)}; maximised: ${one.run.objective}`;
    found.set(key, [...(found.get(key) || []), one]);
  }
  if (!found.size) return null;
  return section("progress", "Progress", "The best network so far, by trial.",
    [...found.entries()].map(([what, group]) => [
      el("h3", {}, what), plot(`Progress: ${what}`, (colours) => progressFigure(colours, group))]));
}

function comparedFamilies() {
  const members = RUNS.filter(({ run }) => run.family.length)
    .map(({ run, place }) => ({ run, family: run.family, place }));
  if (!members.length) return null;
  return section("family", "Families", "The baselines, each scaled by its own coefficients.",
    plot("FLOPs of the families' members", (colours) => familyFigure(colours, members, efficientnet)));
}

// ── All of it ──────────────────────────────────────────────────────────────────────────────────

function sections() {
  if (RUNS.length === 1) {
    const [one] = RUNS;
    const best = one.run.baseline;
    return [
      frontSection(one),
      progressSection(RUNS, "progress"),
      choicesSection(one),
      best && stagesSection([best, one.run.reference], "The network, stage by stage"),
      finalsSection(one),
      trainedSection(one),
      scalingSection(one),
      familySection(one),
      trustSection(one),
      publishedSection(one),
      provenanceSection(RUNS),
    ];
  }
  const best = RUNS.filter(({ run }) => run.baseline);
  return [
    overview(),
    comparedFronts(),
    comparedProgress(),
    best.length
      ? stagesSection([...best.map(({ run }) => run.baseline), best[0].run.reference], "The baselines, stage by stage")
      : null,
    comparedFamilies(),
    publishedSection(null),
    provenanceSection(RUNS),
  ];
}

function missing() {
  const said = RUNS.flatMap(({ run }) =>
    run.missing.map((text) => (RUNS.length > 1 ? `${run.name}: ${text}` : text)));
  return said.length ? el("ul", { class: "said", "aria-label": "what is missing" }, said.map((text) => el("li", {}, text))) : null;
}

const made = sections().filter(Boolean);
if (made.length) made[0].classList.add("first");
const single = RUNS.length === 1 ? RUNS[0] : null;
root.append(
  el("header", {},
    el("h1", {}, DATA.title),
    el("p", { class: "lead" }, single
      ? `Architecture search by the sampler ${single.run.sampler}` +
          (single.run.data && single.run.data.searched ? ` on ${single.run.data.name}` : "") +
          (single.run.finished ? "." : ", not finished.")
      : `${RUNS.length} runs compared.`),
    el("nav", { "aria-label": "sections" }, headings.map(([id, heading]) => el("a", { href: `#${id}` }, heading)))),
  ...[missing(), single && headline(single), ...made].filter(Boolean),
);
drawAll();
