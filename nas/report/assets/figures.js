"use strict";
// Figures: each a function of what it shows and of the theme's colours, as Plotly reads them.

// Plotly takes tags and entities in texts for its own; what comes from files is to be neither.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// Joined first: thousands of texts are made before the page answers.
const lines = (parts) => plain(parts.join("\n")).replaceAll("\n", "<br>");

function theme() {
  const style = getComputedStyle(document.documentElement);
  const names = [
    "card", "ink", "soft", "line", "grid", "blue", "vermilion", "green", "orange", "purple", "grey",
    "low", "high", "sunken",
  ];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// ── Colours ────────────────────────────────────────────────────────────────────────────────────

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

function luminance(colour) {
  const [red, green, blue] = channels(colour).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

// Black or white, whichever can be read on a colour: one of the two always can.
const readableOn = (colour) =>
  contrast("#000000", colour) > contrast("#ffffff", colour) ? "#000000" : "#ffffff";

function between(low, high, share) {
  const [from, to] = [channels(low), channels(high)];
  const mixed = from.map((value, at) => Math.round(value + share * (to[at] - value)));
  return "#" + mixed.map((value) => value.toString(16).padStart(2, "0")).join("");
}

// ── What all figures share ─────────────────────────────────────────────────────────────────────

function axis(colours, title, more) {
  return {
    title: { text: title, font: { size: 13, color: colours.soft }, standoff: 10 },
    tickfont: { size: 12, color: colours.soft },
    gridcolor: colours.grid,
    linecolor: colours.line,
    zeroline: false,
    automargin: true,
    ...more,
  };
}

function layout(colours, height, more) {
  return {
    height,
    margin: { l: 56, r: 16, t: 12, b: 48 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: colours.ink },
    hovermode: "closest",
    hoverlabel: {
      align: "left",
      bgcolor: colours.card,
      bordercolor: colours.line,
      font: { family: "system-ui, sans-serif", size: 12, color: colours.ink },
    },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { color: colours.ink } },
    dragmode: "zoom",
    ...more,
  };
}

function vertical(colours, x, label, more) {
  return {
    shape: {
      type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1,
      line: { color: colours.soft, width: 1.5, dash: "dash" },
    },
    note: {
      x, yref: "paper", y: 0, text: label, showarrow: false, xanchor: "right", yanchor: "bottom",
      xshift: -4, font: { size: 12, color: colours.soft }, ...more,
    },
  };
}

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];
const strokes = (colours) => [
  colours.blue, colours.vermilion, colours.green, colours.orange, colours.purple, colours.grey,
  colours.ink,
];

const SCALES = {
  accuracy: { title: "accuracy (%)", of: (networks, i) => 100 * networks.mean[i] },
  loss: { title: "validation loss (nats; lower is better)", of: (networks, i) => networks.loss[i] },
};

const MOST_DOTS = 10000;

// Places of the networks with an accuracy: evenly thinned where a browser could not draw them all.
function dots(networks) {
  const known = [];
  for (let i = 0; i < networks.count; i += 1) if (networks.mean[i] !== null) known.push(i);
  const step = Math.ceil(known.length / MOST_DOTS);
  return step > 1 ? known.filter((_, at) => at % step === 0) : known;
}

// ── Figures ────────────────────────────────────────────────────────────────────────────────────

// Accuracy against FLOPs: all trials, their front, the baseline and the budget.
function frontFigure(colours, run, networks, measure) {
  const scale = SCALES[measure];
  const front = frontOf(run, networks);
  const all = dots(networks);
  const trace = (places, name, more) => ({
    type: "scatter",
    mode: "markers",
    name,
    x: places.map((i) => networks.flops[i]),
    y: places.map((i) => scale.of(networks, i)),
    customdata: places,
    text: places.map((i) => lines(summary(networks, i))),
    hovertemplate: "%{text}<extra></extra>",
    ...more,
  });
  const data = [];
  if (run.trials) {
    const marker = { color: colours.blue, size: all.length > 1000 ? 4 : 6, opacity: 0.45 };
    data.push(trace(all, `trials (${thousands(all.length)})`, { marker }));
  }
  // What ranks the networks makes a front that rises; on the other scale it would only zigzag.
  const rises = (measure === "loss") === (run.rank_by === "loss");
  data.push(
    trace(front, `front (${front.length})`, {
      mode: rises ? "lines+markers" : "markers",
      line: { color: colours.ink, width: 1.5, shape: "hv" },
      marker: { color: colours.ink, size: 7 },
    }),
  );
  const best = run.baseline ? networks.numbers.indexOf(run.baseline.provenance.trial) : -1;
  if (best >= 0 && networks.mean[best] !== null) {
    const error = { type: "data", array: [100 * networks.error[best]], color: colours.vermilion };
    data.push(
      trace([best], run.finished ? "baseline" : "best so far", {
        marker: {
          color: colours.vermilion, size: 15, symbol: "star", line: { color: colours.card, width: 1 },
        },
        error_y: measure === "accuracy" ? error : undefined,
      }),
    );
  }
  const limit = run.budget.limits.flops;
  const line = limit && vertical(colours, limit, `budget ${amount(limit)}`);
  return {
    data,
    layout: layout(colours, 460, {
      xaxis: axis(colours, "FLOPs (multiply-adds)", { tickformat: "~s" }),
      yaxis: axis(colours, scale.title, measure === "loss" ? { autorange: "reversed" } : {}),
      shapes: line ? [line.shape] : [],
      annotations: line ? [line.note] : [],
    }),
  };
}

// The fronts of several runs that measured the same.
function frontsFigure(colours, group) {
  const data = group.map(({ run, networks, place }) => {
    const front = frontOf(run, networks).filter((i) => networks.mean[i] !== null);
    const colour = strokes(colours)[place % 7];
    return {
      type: "scatter",
      mode: run.rank_by === "loss" ? "markers" : "lines+markers",
      name: plain(run.name),
      x: front.map((i) => networks.flops[i]),
      y: front.map((i) => 100 * networks.mean[i]),
      customdata: front.map((i) => [place, i]),
      text: front.map((i) => lines([run.name, ...summary(networks, i)])),
      hovertemplate: "%{text}<extra></extra>",
      line: { color: colour, width: 1.5, shape: "hv" },
      marker: { color: colour, size: 8, symbol: SYMBOLS[place % 7] },
    };
  });
  const limits = [...new Set(group.map(({ run }) => run.budget.limits.flops).filter(Boolean))];
  const marks = limits.map((limit) => vertical(colours, limit, `budget ${amount(limit)}`));
  return {
    data,
    layout: layout(colours, 420, {
      showlegend: true,
      xaxis: axis(colours, "FLOPs (multiply-adds)", { tickformat: "~s" }),
      yaxis: axis(colours, "accuracy (%)"),
      shapes: marks.map((mark) => mark.shape),
      annotations: marks.map((mark) => mark.note),
    }),
  };
}

// Published networks, on an axis of their own: accuracy after full training.
function publishedFigure(colours, run) {
  const data = DATA.published.families.map((family, at) => ({
    type: "scatter",
    mode: family.networks.length > 1 ? "lines+markers" : "markers",
    name: plain(family.name),
    x: family.networks.map((network) => network.flops),
    y: family.networks.map((network) => network.top1),
    text: family.networks.map((network) =>
      lines([
        `${family.name} ${network.name}`,
        `${network.top1} % top-1, ${amount(network.flops)} FLOPs`,
        family.training,
        family.source,
      ]),
    ),
    hovertemplate: "%{text}<extra></extra>",
    line: { color: strokes(colours)[at % 7], width: 1 },
    marker: { color: strokes(colours)[at % 7], size: 9, symbol: SYMBOLS[at % 7] },
  }));
  const marks = [];
  const limit = run && run.budget.limits.flops;
  if (limit) marks.push(vertical(colours, limit, `budget ${amount(limit)}`, { x: Math.log10(limit) }));
  if (run && run.baseline) {
    const flops = run.baseline.cost.flops;
    const note = { x: Math.log10(flops), xanchor: "left", xshift: 4, yshift: 16 };
    const own = vertical(colours, flops, "this run's baseline", note);
    own.shape.line = { color: colours.vermilion, width: 2 };
    marks.push(own);
  }
  return {
    data,
    layout: layout(colours, 420, {
      xaxis: axis(colours, "FLOPs (multiply-adds, as published)", {
        type: "log", tickformat: "~s", dtick: innerWidth < 600 ? 1 : "D2", tickangle: 0,
      }),
      yaxis: axis(colours, "ImageNet top-1 after full training (%)"),
      shapes: marks.map((mark) => mark.shape),
      annotations: marks.map((mark) => mark.note),
    }),
  };
}

// The best network so far, by trial.
function progressFigure(colours, group) {
  const reward = group[0].run.objective.includes("FLOPs");
  const byLoss = group[0].run.rank_by === "loss" && !reward;
  const title = reward ? "reward" : byLoss ? "validation loss" : SCALES.accuracy.title;
  const data = group.map(({ run, networks, place }) => {
    const better = [];
    // A higher score is better; ties go to fewer FLOPs, then to fewer parameters, then to the earlier.
    const beats = (i, j) => (networks.score[i] - networks.score[j]
      || networks.flops[j] - networks.flops[i] || networks.params[j] - networks.params[i]) > 0;
    for (let i = 0; i < networks.count; i += 1) {
      if (networks.score[i] === null || networks.states[i] !== "f") continue;
      if (!better.length || beats(i, better[better.length - 1])) better.push(i);
    }
    const value = (i) => {
      if (reward) return networks.score[i];
      return SCALES[byLoss ? "loss" : "accuracy"].of(networks, i);
    };
    const last = better.length ? value(better[better.length - 1]) : null;
    const colour = group.length > 1 ? strokes(colours)[place % 7] : colours.blue;
    return {
      type: "scatter",
      mode: "lines+markers",
      name: plain(run.name),
      x: [...better.map((i) => networks.numbers[i] + 1), networks.numbers[networks.count - 1] + 1],
      y: [...better.map(value), last],
      customdata: [...better.map((i) => [place, i]), null],
      text: [...better.map((i) => lines(summary(networks, i))), "the last trial"],
      hovertemplate: "%{text}<extra></extra>",
      line: { color: colour, width: 2, shape: "hv" },
      marker: { color: colour, size: better.map(() => 7).concat([0]), symbol: SYMBOLS[place % 7] },
    };
  });
  return {
    data,
    layout: layout(colours, 320, {
      showlegend: group.length > 1,
      xaxis: axis(colours, "trials", { rangemode: "tozero" }),
      yaxis: axis(colours, `${title}, best so far`, byLoss ? { autorange: "reversed" } : {}),
    }),
  };
}

const MOST_CHOICES = 40;

// Left: how much each choice explains alone. Right: which values those near the front have.
function choicesFigure(colours, importance) {
  const rows = importance.choices
    .filter((choice) => choice.values.length > 1)
    .sort((a, b) => (b.share || 0) - (a.share || 0))
    .slice(0, MOST_CHOICES)
    .reverse();
  const names = rows.map((choice) => plain(choice.name));
  const most = Math.max(2, ...rows.map((choice) => choice.values.length));
  const narrow = innerWidth < 600;
  const data = [
    {
      type: "bar",
      orientation: "h",
      name: "explained",
      y: names,
      x: rows.map((choice) => 100 * (choice.share || 0)),
      text: rows.map((choice) => `${percent(choice.share || 0, 0)} %`),
      textposition: "outside",
      cliponaxis: false,
      textfont: { color: colours.soft, size: 11 },
      hovertemplate: "%{y}: %{text}<extra></extra>",
      marker: { color: colours.blue },
      showlegend: false,
    },
  ];
  for (let at = 0; at < most; at += 1) {
    const share = (choice) => (100 * (choice.near[at] || 0)) / importance.near;
    const base = (choice) => (100 * (choice.all[at] || 0)) / importance.trials;
    const shades = rows.map((choice) => {
      return between(colours.low, colours.high, Math.min(1, at / (choice.values.length - 1)));
    });
    data.push({
      type: "bar",
      orientation: "h",
      xaxis: "x2",
      y: names,
      x: rows.map(share),
      // The text of a narrow part would not fit into it.
      text: rows.map((c) => (at < c.values.length && share(c) >= 14 ? plain(c.values[at]) : "")),
      textposition: "inside",
      insidetextanchor: "middle",
      textangle: 0,
      constraintext: "none",
      textfont: { size: 11, color: shades.map(readableOn) },
      hovertext: rows.map((choice) =>
        at < choice.values.length
          ? lines([
              `${choice.name} = ${choice.values[at]}`,
              `${share(choice).toFixed(0)} % of the trials near the front`,
              `${base(choice).toFixed(0)} % of all finished trials`,
            ])
          : "",
      ),
      hovertemplate: "%{hovertext}<extra></extra>",
      marker: { color: shades, line: { color: colours.card, width: 1 } },
      showlegend: false,
    });
  }
  return {
    data,
    layout: layout(colours, 90 + 21 * rows.length, {
      barmode: "stack",
      bargap: 0.2,
      yaxis: axis(colours, "", { tickfont: { size: 12, color: colours.ink }, fixedrange: true }),
      xaxis: axis(colours, narrow ? "explained (%)" : "variance explained (%)", {
        domain: [0, 0.44], rangemode: "tozero", fixedrange: true, nticks: 5,
      }),
      xaxis2: axis(colours, narrow ? "at the front (%)" : "near the front (%)", {
        domain: [0.52, 1], range: [0, 100], fixedrange: true, dtick: 50,
      }),
      margin: { l: 56, r: 10, t: 6, b: 48 },
    }),
  };
}

// The validation of a training, by epoch: accuracy on the left, loss on the right.
function curveFigure(colours, curve) {
  const line = (name, at, factor, colour, more) => ({
    type: "scatter", mode: "lines+markers", name, x: curve.map((one) => one[0]), y: curve.map((one) => factor * one[at]),
    line: { color: colour, width: 2 }, marker: { size: 5 }, hovertemplate: `epoch %{x}: %{y:.4~g}<extra>${name}</extra>`, ...more,
  });
  return {
    data: [
      line("accuracy (%)", 1, 100, colours.blue),
      line("loss", 2, 1, colours.vermilion, { yaxis: "y2", line: { color: colours.vermilion, width: 1.5, dash: "dot" } }),
    ],
    layout: layout(colours, 300, {
      xaxis: axis(colours, "epoch", { rangemode: "tozero" }),
      yaxis: axis(colours, "validation accuracy (%)"),
      yaxis2: axis(colours, "validation loss", {
        overlaying: "y", side: "right", showgrid: false, tickmode: "auto", rangemode: "tozero",
      }),
      margin: { l: 56, r: 56, t: 12, b: 48 },
    }),
  };
}

// Shares in the plane: depth alone at the left, width alone at the right, resolution alone on top.
const flat = ([, width, resolution]) => [width + resolution / 2, (resolution * Math.sqrt(3)) / 2];

// The smallest set of directions that holds so much of the posterior, by place.
function region(mass, level) {
  const order = mass.map((_, at) => at).sort((a, b) => mass[b] - mass[a]);
  const whole = mass.reduce((a, b) => a + b, 0);
  const inside = new Set();
  let held = 0;
  for (const at of order) {
    if (held >= level * whole) break;
    held += mass[at];
    inside.add(at);
  }
  return inside;
}

// The directions of growth: the posterior of the best one, and what it is compared with.
function triangleFigure(colours, scaling) {
  const { shares, mass } = scaling.posterior;
  const words = (own) => `depth ${wholePercent(own[0])}, width ${wholePercent(own[1])}, resolution ${wholePercent(own[2])}`;
  const dots = (name, own, marker, more) => ({
    type: "scatter",
    mode: "markers",
    name: plain(name),
    x: own.map((one) => flat(one)[0]),
    y: own.map((one) => flat(one)[1]),
    text: own.map((one) => lines([name, words(one)])),
    hovertemplate: "%{text}<extra></extra>",
    marker,
    ...more,
  });
  const wide = region(mass, 0.9);
  const narrow = region(mass, 0.5);
  const pick = (inside) => shares.filter((_, at) => inside(at));
  const corners = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]];
  const values = (own) => [own.depth, own.width, own.resolution];
  const paper = scaling.compared[0];
  return {
    data: [
      {
        type: "scatter", mode: "lines", x: corners.map((one) => flat(one)[0]), y: corners.map((one) => flat(one)[1]),
        line: { color: colours.soft, width: 1.2 }, hoverinfo: "skip", showlegend: false,
      },
      dots("90 % of the posterior", pick((at) => wide.has(at) && !narrow.has(at)),
        { color: colours.blue, opacity: 0.25, size: 11, symbol: "hexagon2" }),
      dots("50 % of the posterior", pick((at) => narrow.has(at)),
        { color: colours.blue, opacity: 0.6, size: 11, symbol: "hexagon2" }),
      ...(scaling.training
        ? [dots("own trainings", scaling.training.points.map((one) => values(one.shares)), { color: colours.green, size: 8 })]
        : []),
      dots("equal shares", [[1 / 3, 1 / 3, 1 / 3]], { color: colours.ink, size: 9, symbol: "cross-thin", line: { width: 2, color: colours.ink } }),
      dots(paper.name, [values(paper.shares)], { color: colours.orange, size: 11, symbol: "diamond" }),
      dots("chosen", [values(scaling.shares)], { color: colours.vermilion, size: 15, symbol: "star" }),
    ],
    layout: layout(colours, 380, {
      xaxis: axis(colours, "", { visible: false, range: [-0.12, 1.12], fixedrange: true }),
      yaxis: axis(colours, "", { visible: false, range: [-0.1, 0.95], scaleanchor: "x", fixedrange: true }),
      annotations: ["depth alone", "width alone", "resolution alone"].map((text, at) => ({
        x: flat(corners[at])[0], y: flat(corners[at])[1] + (at === 2 ? 0.05 : -0.06), text, showarrow: false,
        font: { size: 12, color: colours.soft },
      })),
      margin: { l: 8, r: 8, t: 12, b: 8 },
    }),
  };
}

// The predicted error of the members relative to b0, beside the published family's.
function errorFigure(colours, members, others) {
  const steps = [0, ...members.map((one) => one.doublings)];
  const at = (times) => [1, ...members.map((one) => Math.exp(one.mean + times * one.standard_error))];
  const [first] = others.networks;
  const band = (y, more) => ({
    type: "scatter", mode: "lines", x: steps, y, line: { width: 0 }, hoverinfo: "skip", showlegend: false, ...more,
  });
  return {
    data: [
      band(at(-1.645)),
      band(at(1.645), { fill: "tonexty", fillcolor: colours.blue + "33", showlegend: true, name: "90 % interval" }),
      {
        type: "scatter", mode: "lines+markers", name: "predicted", x: steps, y: at(0),
        line: { color: colours.blue, width: 2 }, marker: { color: colours.blue, size: 7 },
        hovertemplate: "%{x} doublings: %{y:.3f}<extra>predicted</extra>",
      },
      {
        type: "scatter", mode: "markers", name: plain(`${others.name}, published`),
        x: others.networks.map((one) => Math.log2(one.flops / first.flops)),
        y: others.networks.map((one) => (100 - one.top1) / (100 - first.top1)),
        text: others.networks.map((one) => plain(one.name)),
        marker: { color: colours.grey, size: 9, symbol: "square-open" },
        hovertemplate: "%{text}: %{y:.3f}<extra></extra>",
      },
    ],
    layout: layout(colours, 320, {
      xaxis: axis(colours, "doublings of b0's FLOPs", {}),
      yaxis: axis(colours, "top-1 error relative to b0", {}),
    }),
  };
}

// FLOPs over φ: the family, exact doubling, and the published family.
function familyFigure(colours, members, others) {
  const line = (name, x, y, colour, more) => ({
    type: "scatter",
    mode: "lines+markers",
    name: plain(name),
    x,
    y,
    hovertemplate: "%{text}<extra></extra>",
    text: y.map((flops, at) => lines([`${name}: ${x[at]}`, `${amount(flops)} FLOPs`])),
    line: { color: colour, width: 2 },
    marker: { color: colour, size: 8 },
    ...more,
  });
  const names = members[0].family.map((_, phi) => `b${phi}`);
  const data = members.map(({ run, family, place }, at) =>
    line(
      members.length > 1 ? run.name : "this family",
      family.map((member, phi) => `b${phi}`),
      family.map((member) => member.flops),
      strokes(colours)[(members.length > 1 ? place : 1) % 7],
      { marker: { size: 9, symbol: SYMBOLS[at % 7], color: strokes(colours)[(members.length > 1 ? place : 1) % 7] } },
    ),
  );
  const first = members[0].family[0].flops;
  data.push(
    line("doubling", names, names.map((_, phi) => first * 2 ** phi), colours.soft, {
      mode: "lines", line: { color: colours.soft, width: 1.2, dash: "dot" },
    }),
    line(others.name, others.networks.map((_, phi) => `b${phi}`),
      others.networks.map((network) => network.flops), colours.grey,
      { marker: { size: 7, symbol: "square-open", color: colours.grey }, line: { width: 1, color: colours.grey } }),
  );
  return {
    data,
    layout: layout(colours, 340, {
      xaxis: axis(colours, "", { type: "category" }),
      yaxis: axis(colours, "FLOPs", { type: "log", tickformat: "~s", dtick: "D2" }),
    }),
  };
}

// Kendall's τ of the proxy and of FLOPs alone, with their intervals.
function trustFigure(colours, check) {
  const rows = [
    ["FLOPs alone", check.kendall_tau_flops, check.kendall_tau_flops_ci95, colours.grey],
    ["the proxy", check.kendall_tau, check.kendall_tau_ci95, colours.blue],
  ];
  return {
    data: rows.map(([name, tau, [low, high], colour]) => ({
      type: "scatter",
      mode: "markers",
      x: [tau],
      y: [name],
      error_x: {
        type: "data", symmetric: false, array: [high - tau], arrayminus: [tau - low],
        color: colour, thickness: 2, width: 6,
      },
      marker: { color: colour, size: 12 },
      text: [`${name}: τ ${tau.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`],
      hovertemplate: "%{text}<extra></extra>",
      showlegend: false,
    })),
    layout: layout(colours, 170, {
      xaxis: axis(colours, "Kendall's τ (95 % CI)", {
        range: [-1.05, 1.05], zeroline: true, zerolinecolor: colours.line,
      }),
      yaxis: axis(colours, "", { tickfont: { size: 13, color: colours.ink }, range: [-0.6, 1.6] }),
    }),
  };
}
