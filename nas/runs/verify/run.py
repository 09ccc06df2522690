"""A run's folder: its front, baseline, finals, coefficients and family, computed again.

Where the study is there, from every evaluation; else from what the files say of one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

from nas.errors import InputError
from nas.evaluation.journal import JOURNAL
from nas.evaluation.objective import make_objective, pareto_front, ranked
from nas.evaluation.trial import Trial
from nas.networks.compound_scaling import Coefficients
from nas.networks.cost import measure_cost
from nas.proxies.imagenet_predictor import ImagenetProxy
from nas.proxies.registry import SUPERNET
from nas.records.results import baseline_record, family_of, front_records, tested
from nas.records.run_state import FAMILY
from nas.runs.coefficients import choose_coefficients
from nas.runs.identity import corrected, final
from nas.runs.schedule import CHECKED
from nas.runs.verify.coefficients import growth_of
from nas.runs.verify.finalists import finals_of, test_of
from nas.runs.verify.json_diff import JsonDifference, counted, differing
from nas.runs.verify.verified_folder import (
    VerifiedFolder,
    VerifyStep,
    runs_of,
)
from nas.runs.verify.verified_run import BASELINE, COEFFICIENTS, FINALS, FRONT, RUN, VerifiedRun
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_budget
from nas.strategies.comparison import SeededComparison
from nas.strategies.proxy_check import check, sample


def run_parts(folder: VerifiedFolder) -> list[VerifyStep]:
    """Return what of a run can be computed again.

    Raises:
        InputError: ``run.json`` is no run's.
    """
    checks = _RunChecks(VerifiedRun(folder))
    return [
        VerifyStep("command", RUN, checks.of_command),
        VerifyStep("trials", RUN, checks.of_trials),
        VerifyStep("front", FRONT, checks.of_front),
        VerifyStep("finals", FINALS, checks.of_finals),
        VerifyStep("baseline", BASELINE, checks.of_baseline),
        VerifyStep("coefficients", COEFFICIENTS, checks.of_coefficients),
        VerifyStep("family", FAMILY, checks.of_family),
        VerifyStep("accuracies", FRONT, checks.of_accuracies),
        VerifyStep("check", RUN, checks.of_check),
    ]


class _RunChecks:
    def __init__(self, run: VerifiedRun) -> None:
        self.run = run

    def of_command(self) -> Iterator[JsonDifference]:
        """What the run is known by follows from its command."""
        identity, command = self.run.identity, self.run.state.command
        if command is not None:
            for key, written, given in (
                ("objective", identity["objective"], command.objective),
                ("sampler", identity["sampler"], command.sampler),
                ("seed", identity["seed"], command.seed),
            ):
                yield from differing(RUN, written, given, f"identity.{key}")
        try:
            limits = load_budget(self.run.state.budget).limits
        except InputError:
            self.run.note("the budget is not available by its name: its limits are not checked")
        else:
            yield from differing(RUN, identity["budget"], limits, "identity.budget")
        table = self.run.budget.latencies
        if table is not None:
            found = table.fingerprint()
            yield from differing(RUN, self.run.identity["latency"], found, "identity.latency")
        supernet = None if self.run.state.plan is None else self.run.state.plan.supernet
        if supernet is not None and "proxy" not in self.run.identity["plugins"]:
            planned = {"name": SUPERNET, **asdict(supernet)}
            if "weights" in identity:
                planned["weights"] = identity["weights"][0]
            yield from differing(RUN, identity["proxy"], planned, "identity.proxy")

    def of_trials(self) -> Iterator[JsonDifference]:
        """Every trial of the study costs and scores what it says; and there are as many."""
        if not self.run.from_study:
            return
        counts = {
            state: sum(trial.state == state for trial in self.run.known)
            for state in ("finished", "stopped", "failed")
        }
        written = self.run.state.trials
        yield from differing(RUN, written and written.model_dump(), counts, "trials")
        for trial in self.run.known:
            key, cost = f"trial {trial.number}", measure_cost(trial.architecture)
            yield from differing(JOURNAL, trial.cost.to_dict(), cost.to_dict(), f"{key}: cost")
            if trial.accuracy is None:
                continue
            score = self.run.objective.score(trial.accuracy, cost)
            yield from differing(JOURNAL, trial.score, score, f"{key}: value")
            if self.run.predictor is not None:
                again = self.run.predicted(trial.architecture).to_dict()
                yield from differing(JOURNAL, trial.accuracy.to_dict(), again, f"{key}: accuracy")

    def of_front(self) -> Iterator[JsonDifference]:
        """The front is that of the trials."""
        front = pareto_front(self.run.known, self.run.objective)
        records = front_records(front, self.run.provenance, self.run.budget.latencies)
        points = [record.to_dict() for record in records]
        yield from differing(FRONT, self.run.folder.read(FRONT), {"points": points})

    @cached_property
    def test(self) -> SeededComparison | None:
        """What the baseline has on the test images, if that is known."""
        return test_of(self.run)

    def of_finals(self) -> Iterator[JsonDifference]:
        """The choice among the finalists, and their differences, follow from their trainings."""
        data = self.run.finals_written
        if data is None:
            return
        computed = finals_of(self.run) or {}
        yield from differing(FINALS, data, {**computed, "test": tested(self.test)})

    @cached_property
    def baseline(self) -> Trial:
        """The finals' choice, or the best of the search."""
        data = self.run.finals_written
        if data is None or data["chosen"] is None:
            return ranked(self.run.known)[0]
        number = next(e["trial"] for e in data["entries"] if e["name"] == data["chosen"])
        found = next((trial for trial in self.run.known if trial.number == number), None)
        if found is None:
            raise InputError(
                f"{BASELINE}: provenance.trial: not {number}, which the finalists' comparison chose"
            )
        return found

    def of_baseline(self) -> Iterator[JsonDifference]:
        """The baseline is that trial, with what the finals and the test say of it."""
        data, best = self.run.folder.read(BASELINE), self.baseline
        theirs: Mapping[str, Any] = data["provenance"]
        more: dict[str, Any] = {}
        if self.run.predictor is not None:
            more = corrected(self.run.predictor, best.architecture)
        elif self.run.proxy["name"] == ImagenetProxy.name:
            more = {key: theirs[key] for key in ("corrected", "nearest")}
        test = None if self.test is None else self.test.networks[0].accuracy
        more |= final(self.run.finals_written)
        latencies = self.run.budget.latencies
        record = baseline_record(best, self.run.provenance, test, more, latencies)
        computed = record.to_dict()
        if self.test is None and not self.run.has_study:
            # The study alone knows the test of a baseline without finalists.
            computed["provenance"]["test"] = theirs.get("test")
        yield from differing(BASELINE, data, computed)
        if latencies is not None:
            timed = self.run.state.latency
            own = None if timed is None else timed.sum
            yield from differing(RUN, own, latencies.of(best.architecture), "latency.sum")
        limit = self.run.budget.latency_ms
        if not self.run.budget.allows(measure_cost(best.architecture)) or (
            latencies is not None and latencies.of(best.architecture) > 1e6 * (limit or 0)
        ):
            yield JsonDifference(BASELINE, "cost", "over the budget", str(self.run.budget))

    def of_coefficients(self) -> Iterator[JsonDifference]:
        """The direction follows from the baseline, this version's predictor and the trainings."""
        if self.run.folder.has(COEFFICIENTS):
            data = self.run.folder.read(COEFFICIENTS)
            baseline = self.run.baseline_record.architecture
            found = choose_coefficients(baseline, growth_of(self.run, data))
            yield from differing(COEFFICIENTS, data, found.to_dict())

    def of_family(self) -> Iterator[JsonDifference]:
        """Each member follows from the baseline and the coefficients chosen."""
        family = self.run.folder.path / FAMILY
        there = {path.name for path in family.glob("*.json")} if family.is_dir() else set()
        expected: dict[str, Any] = {}
        if self.run.folder.has(COEFFICIENTS):
            chosen = self.run.folder.read(COEFFICIENTS)
            coefficients = Coefficients(*(chosen[key] for key in ("alpha", "beta", "gamma")))
            members = family_of(self.run.baseline_record, coefficients)
            expected = {f"{m.architecture.name}.json": m.to_dict() for m in members}
        for name, computed in expected.items():
            place = f"{FAMILY}/{name}"
            if name not in there:
                yield JsonDifference(place, "", "no such file", "a member of the family")
                continue
            yield from differing(place, self.run.folder.read(place), computed)
        for name in sorted(there - expected.keys()):
            yield JsonDifference(
                f"{FAMILY}/{name}", "", "a member of the family", "none of that name"
            )

    def of_accuracies(self) -> Iterator[JsonDifference]:
        """Every accuracy is of as many trainings as it names seeds."""
        for name in (FRONT, BASELINE, FINALS):
            if self.run.folder.has(name):
                yield from counted(name, self.run.folder.read(name))

    def of_check(self) -> Iterator[JsonDifference]:
        """How far the proxy can be trusted follows from the study."""
        summary = self.run.state.check
        data = None if summary is None else summary.model_dump()
        if data is None or not self.run.from_study or self.run.space is None:
            return
        seed = self.run.identity["seed"]
        networks = sample(Feasible(self.run.space, self.run.budget), CHECKED, seed)
        keys = [network.key() for network in networks]
        objective = make_objective("accuracy", self.run.budget, "loss")
        with (
            self.run.folder.study(self.run.named("check-proxy", *keys)) as judged,
            self.run.folder.study(self.run.named("check", *keys)) as trained,
        ):
            if judged is None or trained is None:
                self.run.note("study.log has no check of these networks")
                return
            result = check(
                networks,
                runs_of(networks, judged, objective, seed, "check-proxy"),
                runs_of(networks, trained, objective, seed, "check"),
                seed,
            )
        yield from differing(RUN, data, None if result is None else result.to_dict(), "check")
