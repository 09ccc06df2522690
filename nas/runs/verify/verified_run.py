"""What is known of a run that is verified, and all that its parts need of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, cast

from nas.accuracy import Accuracy, RankBy
from nas.errors import InputError
from nas.evaluation.journal import JOURNAL
from nas.evaluation.objective import Objective, make_objective
from nas.evaluation.trial import Trial, read_trials
from nas.networks.architecture import Architecture, architecture_from_dict, efficientnet_b0
from nas.networks.architecture_file import ArchitectureRecord, record_from_dict
from nas.networks.cost import measure_cost
from nas.proxies.imagenet_predictor import ImagenetProxy
from nas.proxies.protocol import description
from nas.proxies.registry import TRAINING, recorded_rank_by
from nas.records.run_state import LATENCY_FILE, RunState
from nas.runs.identity import provenance
from nas.runs.verify.verified_folder import VerifiedFolder
from nas.spaces.budget import Budget
from nas.spaces.latency_table import read_table
from nas.spaces.registry import load_architecture
from nas.spaces.search_space import SearchSpace

RUN, FRONT, BASELINE, FINALS, COEFFICIENTS = (
    f"{name}.json" for name in ("run", "front", "baseline", "finalists", "coefficients")
)


class VerifiedRun:
    """What is known of a run: its own file, its space, its trials, where its networks come from."""

    def __init__(self, folder: VerifiedFolder) -> None:
        """Read ``run.json``; raise :class:`InputError` where it is no run's."""
        self.folder = folder
        self.state = RunState.from_dict(folder.document, str(folder.path / RUN))
        self.identity = self.state.identity
        self.budget = Budget.of("the run's", dict(self.identity["budget"]))
        if self.budget.latency_ms is not None:
            table = read_table(folder.path / LATENCY_FILE)
            self.budget = replace(self.budget, latencies=table)

    @cached_property
    def space(self) -> SearchSpace | None:
        """The search space as the run had it, or None where it is not known here."""
        space = self.state.known_space()
        if space is None:
            self.note(
                f"space {self.state.space!r} is not available as the run used it: choices are "
                "not decoded"
            )
        return space

    @cached_property
    def references(self) -> tuple[Architecture, ...]:
        """The networks that finalists are compared with, as the run names them; empty: it does not.

        Raises:
            InputError: one is no architecture.
        """
        return tuple(
            architecture_from_dict(one, f"{RunState.FILE}: references")
            for one in self.state.references
        )

    @cached_property
    def reference(self) -> Architecture | None:
        """What finalists are compared with, or None where its file is not there any more."""
        if self.references:
            return self.references[0]
        command = self.state.command
        name = None if command is None else command.reference
        try:
            found = efficientnet_b0() if name is None else load_architecture(name)
        except InputError:
            self.note(
                f"reference {name!r} is missing: comparisons with it are not recomputed from "
                "the study"
            )
            return None
        like = self.baseline_record.architecture
        return replace(
            found,
            resolution=like.resolution,
            in_channels=like.in_channels,
            num_classes=like.num_classes,
        )

    @cached_property
    def rank_by(self) -> RankBy:
        """What the search ranked by: what its proxy declares, or as written if it is not known."""
        known = recorded_rank_by(self.proxy["name"])
        return known or cast(RankBy, self.baseline_record.provenance["rank_by"])

    @cached_property
    def objective(self) -> Objective:
        return make_objective(self.identity["objective"], self.budget, self.rank_by)

    @cached_property
    def proxy(self) -> dict[str, Any]:
        """The proxy as provenance describes it."""
        known = self.identity["proxy"]
        if isinstance(known, dict):
            return known
        if "proxy" in self.identity["plugins"]:
            self.note(f"proxy {known!r} is not built in: its settings are not checked")
            return cast(dict[str, Any], self.baseline_record.provenance["proxy"])
        if known != TRAINING or self.state.plan is None:
            raise InputError(f"identity.proxy: {known!r} is not accepted without a plan")
        settings = self.state.plan.search
        return {"name": known, **asdict(settings), "checks": list(settings.checks)}

    @cached_property
    def predictor(self) -> ImagenetProxy | None:
        """The predictor that judged the networks, where it is the one that is here."""
        if self.proxy["name"] != ImagenetProxy.name:
            return None
        found = ImagenetProxy()
        if description(found) != self.proxy:
            self.note(
                "the networks were scored by another predictor: predictions are not recomputed"
            )
            return None
        return found

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What every network of the search says of where it comes from."""
        space = self.baseline_record.provenance["space"] if self.space is None else self.space.name
        return provenance(self.state, space, self.proxy, self.rank_by)

    @cached_property
    def baseline_record(self) -> ArchitectureRecord:
        """The baseline as it is written."""
        return record_from_dict(self.folder.read(BASELINE), BASELINE)

    @cached_property
    def finals_written(self) -> dict[str, Any] | None:
        return cast(dict[str, Any], self.folder.read(FINALS)) if self.folder.has(FINALS) else None

    @cached_property
    def known(self) -> list[Trial]:
        """All trials, by the study; without it, those that files tell of."""
        if self.space is not None:
            with self.folder.study(self.named("search")) as study:
                if study is not None:
                    return read_trials(study, self.space)
        points = [
            record_from_dict(point, f"{FRONT}: points{index}")
            for index, point in enumerate(self.folder.read(FRONT)["points"], 1)
        ]
        trials = {trial.number: trial for trial in map(self.trial, points)}
        baseline = self.trial(self.baseline_record)
        return list({baseline.number: baseline, **trials}.values())

    @cached_property
    def has_study(self) -> bool:
        """Whether the study of the run is there."""
        with self.folder.study(self.named("search")) as study:
            if study is None and self.folder.has(JOURNAL):
                self.note(f"{JOURNAL} has no trials of this run")
            return study is not None

    @property
    def from_study(self) -> bool:
        """Whether the trials of the search are known by it, which needs the space."""
        return self.has_study and self.space is not None

    def trial(self, record: ArchitectureRecord) -> Trial:
        """Return the trial that a record tells of, all that can be computed of it computed."""
        number, choices = (record.provenance[key] for key in ("trial", "choices"))
        architecture = record.architecture
        if self.space is not None:
            architecture = self.space.decode(choices)
        accuracy, cost = record.accuracy, measure_cost(architecture)
        if self.predictor is not None:
            accuracy = self.predicted(architecture)
        if accuracy is None:
            raise InputError(f"{architecture.name}: accuracy: null is not accepted")
        score = self.objective.score(accuracy, cost)
        return Trial(number, choices, architecture, cost, "finished", accuracy, score)

    def predicted(self, architecture: Architecture) -> Accuracy:
        assert self.predictor is not None
        return self.predictor.evaluate(architecture, seed=0, report=lambda step, value: False)

    def named(self, phase: str, *more: str) -> str:
        return self.state.study_name(phase, *more)

    def note(self, text: str) -> None:
        self.folder.note(text)
