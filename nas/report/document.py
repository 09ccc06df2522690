"""What the page shows of a run, as plain data: all that follows from its folder, no more."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any

from nas.evaluation.journal import JOURNAL
from nas.evaluation.objective import Objective, make_objective
from nas.files import parse_json, to_json
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.architecture_file import ArchitectureRecord
from nas.networks.cost import CONVENTION, measure_cost
from nas.records.finalists_file import FinalistsFile
from nas.records.run_state import RunCommand
from nas.report.importance import importance
from nas.report.run_folder import RunFolder
from nas.report.trial_columns import Trials, document, trials_of
from nas.spaces.budget import amount


def run_document(run: RunFolder) -> dict[str, Any]:
    """Return what the page shows of a run.

    Architecture files go into it as text: a seed has more digits than a script's numbers.

    Raises:
        InputError: its study has rows that no search wrote.
    """
    objective = make_objective(run.state.identity["objective"], run.budget, run.rank_by)
    trials = None if run.rows is None else trials_of(run.rows, run.space, JOURNAL)
    baseline = run.baseline or _best_so_far(run, trials)
    state = run.state
    return {
        "name": run.name,
        "title": _title(run),
        "finished": state.status == "finished",
        "budget": {"name": run.budget.name, "limits": run.budget.limits},
        "objective": _objective(objective),
        "rank_by": run.rank_by,
        "convention": CONVENTION,
        "proxy": state.identity["proxy"],
        "data": None
        if state.data is None
        else {
            "name": state.data.name,
            "classes": state.data.classes,
            "searched": state.identity["data"] is not None,
        },
        "sampler": state.identity["sampler"],
        "seed": str(state.identity["seed"]),
        "seconds": state.seconds,
        "baseline": None if baseline is None else to_json(baseline.to_dict()),
        "reference": None if baseline is None else _reference(baseline.architecture),
        "front": _front(run, trials, objective),
        "trials": None if trials is None else document(trials, run.space),
        "importance": None if trials is None else importance(trials, objective),
        "finals": None if run.finals is None else _finals(run.finals),
        "scaling": None if run.scaling is None else run.scaling.model_dump(mode="json"),
        "family": [_member(record) for record in run.family],
        "trained": _trained(run),
        "check": None if state.check is None else state.check.model_dump(mode="json"),
        "missing": list(run.missing),
        "notes": list(state.notes),
        "provenance": _provenance(run),
    }


def published() -> dict[str, Any]:
    """Return the networks of others, with what was published of each and where."""
    text = (files("nas.report") / "published.json").read_text(encoding="utf-8")
    found: dict[str, Any] = parse_json(text, "published.json")
    return found


def _title(run: RunFolder) -> str:
    space = run.space.name if run.space is not None else run.state.space
    limits = [
        f"{value:g} ms" if metric == "latency_ms" else f"{amount(value)} {_LIMITS[metric]}"
        for metric, value in run.budget.limits.items()
    ]
    return f"{space} within {' and '.join(limits)}"


_LIMITS = {"flops": "FLOPs", "params": "parameters", "activations": "activations"}


def _objective(objective: Objective) -> str:
    """Return in words what the search maximised."""
    quality = "exp(−validation loss)" if objective.rank_by == "loss" else "accuracy"
    if objective.kind == "accuracy":
        return quality
    assert objective.target_flops is not None
    return f"{quality} · (FLOPs / {amount(objective.target_flops)})^{objective.exponent:g}"


def _best_so_far(run: RunFolder, trials: Trials | None) -> ArchitectureRecord | None:
    """Return the best trial as a record, where there is no baseline yet and its space is known."""
    at = None if trials is None else trials.best()
    if trials is None or at is None or run.space is None:
        return None
    choices = {
        name: values[place]
        for (name, values), place in zip(
            trials.values.items(), trials.words[at].tolist(), strict=True
        )
    }
    architecture = run.space.decode(choices)
    origin = {"trial": trials.numbers[at], "choices": choices, "rank_by": run.rank_by}
    return ArchitectureRecord(architecture, trials.costs[at], trials.accuracies[at], origin)


def _front(run: RunFolder, trials: Trials | None, objective: Objective) -> dict[str, Any]:
    """Return the front: the records of its file, and where they are among the trials."""
    if run.front is not None:
        numbers = [record.provenance.get("trial") for record in run.front]
        places = {} if trials is None else {n: i for i, n in enumerate(trials.numbers)}
        return {
            "records": [to_json(record.to_dict()) for record in run.front],
            "places": [places.get(n) if isinstance(n, int) else None for n in numbers],
        }
    return {"records": None, "places": [] if trials is None else trials.front(objective)}


def _reference(like: Architecture) -> str:
    """Return EfficientNet-B0 for the same input and classes, with what it costs so."""
    network = replace(
        efficientnet_b0(),
        resolution=like.resolution,
        in_channels=like.in_channels,
        num_classes=like.num_classes,
    )
    return to_json(ArchitectureRecord(network, measure_cost(network), None, {}).to_dict())


def _finals(finals: FinalistsFile) -> dict[str, Any]:
    single = {"entries": {"__all__": {"runs"}}}  # evaluations that the page does not show
    return finals.model_dump(mode="json", exclude={**single, "test": single})


def _trained(run: RunFolder) -> dict[str, Any] | None:
    """Return what the baseline is worth after its final training, and how it came to that."""
    trained, training = run.state.trained, run.training
    if trained is None:
        return None
    found: dict[str, Any] = trained.model_dump(mode="json")
    if training is None:
        return found | {"curve": [], "inherited": None, "classes": []}
    best = training.best_known
    return found | {
        "curve": [
            [one.epoch, one.validation_accuracy, one.validation_loss] for one in training.epochs
        ],
        "inherited": None if training.inherited is None else training.inherited.architecture,
        "classes": [] if best is None else [asdict(one) for one in best.classes],
    }


def _member(record: ArchitectureRecord) -> dict[str, Any]:
    network = record.architecture
    return {
        "name": network.name,
        "resolution": network.resolution,
        "layers": sum(stage.layers for stage in network.stages),
        "width": network.head.width,
        "dropout": network.head.dropout,
        "shares": record.provenance.get("shares"),
        **record.cost.to_dict(),
    }


def _provenance(run: RunFolder) -> list[list[str]]:
    """Return where the numbers come from, as names and values."""
    state = run.state
    data = state.data
    rows = {
        "command": "" if state.command is None else command_line(state.command),
        "seed": str(state.identity["seed"]),
        "space (SHA-256)": state.identity["space"],
        "data": ""
        if data is None
        else f"{data.name}: {data.classes} classes; {_images(data.images)} images "
        f"(training, validation, test) of {data.image_resolution} px",
        "data (fingerprint)": state.identity["data"] or "",
        "proxy": _settings(state.identity["proxy"]),
        "FLOPs": CONVENTION,
        "time": ", ".join(f"{name} {value:,.0f} s" for name, value in state.seconds.items()),
        "sessions": str(state.sessions),
        "jobs": f"{state.jobs} on {state.device}",
        "versions": ", ".join(f"{name} {value}" for name, value in state.versions.items()),
        "machine": ", ".join(f"{name} {value}" for name, value in state.machine.items()),
        "commit": state.git_commit or "",
        # Not of the report's own files: the page would have to know its own hash.
        **{
            f"{name} (SHA-256)": value
            for name, value in state.files.items()
            if name.endswith((".json", ".log"))
        },
    }
    return [[name, value] for name, value in rows.items() if value]


def _images(counts: list[int]) -> str:
    return ", ".join(f"{count:,}" for count in counts)


def _settings(proxy: dict[str, Any] | str) -> str:
    if isinstance(proxy, str):
        return proxy
    rest = (f"{key} {value}" for key, value in proxy.items() if key != "name")
    return f"{proxy.get('name')}: " + ", ".join(rest)


_DEFAULTS = {key: RunCommand.model_fields[key].default for key in ("fit", "augment", "max_pixels")}
_SWITCHES = {
    "scale": "--no-scale",
    "check": "--no-check",
    "train": "--no-train",
    "hold_out": "--no-test",
}
_NAMES = {"weights_architecture": "weights-arch"}


def command_line(command: RunCommand) -> str:
    """Return the command that a run remembers, as it could be given again."""
    words = ["nas-search"]
    options = command.model_dump()
    if command.data is None:
        del options["train"], options["hold_out"]  # there are no images
    for key, value in options.items():
        if key in _SWITCHES:
            words += [] if value else [_SWITCHES[key]]
        elif value is not None and value != _DEFAULTS.get(key):
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{_NAMES.get(key, key.replace('_', '-'))}", str(one)]
    return shlex.join(words)
