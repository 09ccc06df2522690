"use strict";
// The data of the page, the networks decoded from it, and the formatting of numbers.

const DATA = JSON.parse(document.getElementById("data").textContent);
const FIRST_LETTER = 48;

// Architecture files are kept as text: a seed has more digits than a JavaScript number holds.
const TEXTS = new WeakMap();

function fileOf(text) {
  if (text === null) return null;
  const record = JSON.parse(text);
  TEXTS.set(record, text);
  return record;
}

const textOf = (record) => TEXTS.get(record) || JSON.stringify(record, null, 2) + "\n";

for (const run of DATA.runs) {
  run.baseline = fileOf(run.baseline);
  run.reference = fileOf(run.reference);
  if (run.front.records) run.front.records = run.front.records.map(fileOf);
}

// ── Numbers ────────────────────────────────────────────────────────────────────────────────────

// 400M, 1.23G: three digits.
function amount(value) {
  const rounded = Number(value.toPrecision(3));
  for (const [symbol, unit] of [["G", 1e9], ["M", 1e6], ["K", 1e3]]) {
    if (rounded >= unit) {
      const scaled = rounded / unit;
      return (scaled >= 100 ? scaled.toFixed(0) : String(Number(scaled.toPrecision(3)))) + symbol;
    }
  }
  return String(rounded);
}

const percent = (value, digits = 2) => (100 * value).toFixed(digits);
const wholePercent = (share) => `${percent(share, 0)} %`;
const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const signed = (value, digits = 2) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const thousands = (value) => value.toLocaleString("en");

function minutes(seconds) {
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  return seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function accuracyText(accuracy) {
  if (!accuracy) return "–";
  return `${percent(accuracy.mean)} ± ${percent(accuracy.standard_error)} %`;
}

// ── Networks ───────────────────────────────────────────────────────────────────────────────────

const OPERATIONS = { mbconv: "MBConv", fused_mbconv: "fused MBConv", skip: "skip" };

function stageText(stage) {
  const ratio = stage.se_ratio ? ` SE ${stage.se_ratio}` : "";
  const shape = stage.op === "skip" ? "" : ` k${stage.kernel} e${stage.expansion}`;
  return `${stage.layers}× ${OPERATIONS[stage.op] || stage.op}${shape}${ratio} → ${stage.width}`;
}

// The networks of a run: all trials or, where the study is missing, those that have a file. Each
// column has one entry per network; `record(i)` is its architecture file.
function networksOf(run) {
  const files = new Map();
  for (const record of [...(run.front.records || []), ...(run.baseline ? [run.baseline] : [])]) {
    if (typeof record.provenance.trial === "number") files.set(record.provenance.trial, record);
  }
  return run.trials ? ofTrials(run.trials, files) : ofFiles([...files.values()]);
}

function ofFiles(records) {
  const of = (read) => records.map(read);
  const found = (read) => of((record) => (record.accuracy ? read(record.accuracy) : null));
  return {
    count: records.length,
    numbers: of((record) => record.provenance.trial),
    states: "f".repeat(records.length),
    flops: of((record) => record.cost.flops),
    params: of((record) => record.cost.params),
    mean: found((accuracy) => accuracy.mean),
    error: found((accuracy) => accuracy.standard_error),
    loss: found((accuracy) => accuracy.loss),
    score: null,
    name: (i) => records[i].name,
    stages: (i) => records[i].stages,
    record: (i) => records[i],
    choices: (i) => records[i].provenance.choices || null,
  };
}

function ofTrials(trials, files) {
  const names = Object.keys(trials.choices);
  const length = names.length;
  const numbers = trials.numbers || Array.from({ length: trials.count }, (_, i) => i);
  const name = (i) => {
    const file = files.get(numbers[i]);
    return file ? file.name : trials.prefix + trials.names[i];
  };
  const word = (i) => trials.words.slice(i * length, (i + 1) * length);

  function choices(i) {
    const letters = word(i);
    const pairs = names.map((key, place) => {
      return [key, trials.choices[key][letters.charCodeAt(place) - FIRST_LETTER]];
    });
    return Object.fromEntries(pairs);
  }

  function stages(i) {
    const decoding = trials.decoding;
    if (!decoding) return null;
    const letters = word(i);
    const made = [];
    let width = decoding.frame.stem.width;
    let first = decoding.before;
    for (const stage of decoding.stages) {
      const key = `${width}:${letters.slice(first, first + stage.letters)}`;
      const [row, after] = stage.made[key];
      if (row >= 0) made.push(decoding.rows[row]);
      width = after;
      first += stage.letters;
    }
    return made;
  }

  function accuracy(i) {
    if (trials.mean[i] === null) return null;
    const what = trials.whats[trials.which ? trials.which[i] : 0];
    return {
      mean: trials.mean[i],
      standard_error: trials.error[i],
      n: what.n,
      loss: trials.loss ? trials.loss[i] : null,
      metric: what.metric,
      proxy: what.proxy,
      data: what.data,
      predicted: what.predicted,
    };
  }

  function record(i) {
    const file = files.get(numbers[i]);
    if (file) return file;
    const cost = {
      flops: trials.flops[i], params: trials.params[i], activations: trials.activations[i],
    };
    const origin = { trial: numbers[i], choices: choices(i) };
    if (trials.reasons[i]) origin.reason = trials.reasons[i];
    const decoding = trials.decoding;
    if (!decoding) return { name: name(i), cost, accuracy: accuracy(i), provenance: origin };
    const frame = decoding.frame;
    return {
      schema: `nas-search-architecture/${frame.padding ? 2 : 1}`,
      name: name(i),
      resolution: origin.choices.resolution || frame.resolution,
      in_channels: frame.in_channels,
      num_classes: frame.num_classes,
      activation: frame.activation,
      norm: frame.norm,
      stem: frame.stem,
      stages: stages(i),
      head: frame.head,
      ...(frame.padding ? { padding: frame.padding } : {}),
      cost,
      accuracy: accuracy(i),
      provenance: origin,
    };
  }

  return {
    count: trials.count, numbers, states: trials.states, flops: trials.flops,
    params: trials.params, mean: trials.mean, error: trials.error, loss: trials.loss,
    score: trials.score, name, stages, record, choices,
  };
}

// The places of the front's networks among those of the run.
function frontOf(run, networks) {
  if (run.trials) return run.front.places.filter((place) => place !== null);
  const numbers = new Set((run.front.records || []).map((record) => record.provenance.trial));
  const places = [];
  networks.numbers.forEach((number, i) => numbers.has(number) && places.push(i));
  return places.sort((a, b) => networks.flops[a] - networks.flops[b]);
}

// A network in a few lines, as the hover text shows it.
function summary(networks, i) {
  const lines = [
    `${networks.name(i)} (trial ${networks.numbers[i]})`,
    `${amount(networks.flops[i])} FLOPs, ${amount(networks.params[i])} parameters`,
  ];
  if (networks.mean[i] !== null) {
    const loss = networks.loss && networks.loss[i] !== null;
    lines.push(
      `accuracy ${percent(networks.mean[i])} ± ${percent(networks.error[i])} %` +
        (loss ? `, loss ${networks.loss[i].toFixed(3)}` : ""),
    );
  }
  (networks.stages(i) || []).forEach((stage, at) => lines.push(`${at + 1} · ${stageText(stage)}`));
  return lines;
}

// What was measured, on which data: only runs that agree in it share an axis.
function measured(run) {
  const found = run.baseline && run.baseline.accuracy;
  return found ? `${found.metric} (${found.data || found.proxy})` : "accuracy";
}
