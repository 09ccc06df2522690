"""The phases of a run: each computes one result from the context and the results before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from nas.accuracy import at_chance
from nas.errors import InputError
from nas.proxies.protocol import capabilities_of
from nas.proxies.short_training import TrainingProxy, TrainingTestProxy, seen_by_training
from nas.proxies.supernet import SupernetProxy
from nas.records.run_state import TrainedBaseline
from nas.runs.coefficients import ChosenCoefficients, choose_coefficients
from nas.runs.final_training import train_in_run
from nas.runs.growth import measure_growth
from nas.runs.schedule import CHECKED, FINAL_SEEDS
from nas.runs.session import RunSession
from nas.runs.trial_log import Teller
from nas.spaces.feasible import Feasible
from nas.strategies.comparison import SeededComparison, compare_networks
from nas.strategies.finalists import (
    FinalistsResult,
    compare_finalists,
    finalists,
    with_references,
)
from nas.strategies.proxy_check import ProxyCheck, check, sample
from nas.strategies.search import SearchResult, search


@dataclass(frozen=True)
class PhaseResults:
    """What the phases of a run have found so far; None: not yet, or the run has no such phase.

    Attributes:
        search: of the search; its baseline is the one that the finalists decided.
        finals: of the finalists.
        check: how far the proxy can be trusted.
        scaling: the coefficients.
        test: of the baseline and its reference on the test images.
        trained: the final training of the baseline.
    """

    search: SearchResult | None = None
    finals: FinalistsResult | None = None
    check: ProxyCheck | None = None
    scaling: ChosenCoefficients | None = None
    test: SeededComparison | None = None
    trained: TrainedBaseline | None = None

    @property
    def found(self) -> SearchResult:
        """The result of the search, which the phases after it need."""
        assert self.search is not None
        return self.search


def train_supernet(session: RunSession, results: PhaseResults) -> PhaseResults:
    """Train the shared weights of all networks of the space."""
    context = session.context
    proxy = context.proxy
    proxy.prepare(context.space, context.settings.budget, session.folder.path)
    state = proxy.training_state if isinstance(proxy, SupernetProxy) else None
    if state is not None and state.rollbacks:
        session.notes.add(
            f"the supernet's training diverged: {len(state.rollbacks)} rollbacks, "
            f"finished at {state.rate:g} times the learning rate"
        )
    return results


def search_space(session: RunSession, results: PhaseResults) -> PhaseResults:
    """Search the space for the best network within the budget."""
    context, settings = session.context, session.context.settings
    proxy = context.proxy
    told = Teller(session.progress)
    seconds = session.seconds_for("search")
    session.progress.phase("search", settings.trial_count, seconds=seconds)
    name = session.state.study_name("search")
    session.begin("search", name, settings.trial_count)
    capabilities = capabilities_of(proxy)
    trained = capabilities.trains_candidates or capabilities.shares_weights
    engine = None
    if session.cluster is not None and trained:
        proxy.prepare(context.space, settings.budget, session.folder.path)
        engine = session.cluster.engine(proxy, context.jobs)
    found = search(
        context.space,
        settings.budget,
        proxy,
        trials=settings.trial_count,
        seed=settings.seed,
        storage=settings.storage or session.folder.path,
        study_name=name,
        sampler=settings.sampler,
        objective=settings.objective,
        jobs=session.jobs_for(proxy) if trained else 1,
        engine=engine,
        start=context.starts,
        seconds=seconds,
        driver=session.state.driver,
        on_trial=told.trial,
        on_resume=told.resumed,
        folder=session.folder.path,
    )
    if found.exhausted:
        session.notes.add(f"the space has only {len(found.trials)} networks within the budget")
    if found.out_of_time:
        session.notes.add(
            f"the time limit ended the search after {len(found.trials)} of "
            f"{settings.trial_count} trials"
        )
    if at_chance(found.baseline.accuracy, context.space.num_classes):
        session.notes.add(
            "the baseline's accuracy is at chance level after so little training, so the result "
            "of the search is not meaningful; use another --out with more --time, or your own "
            "--data"
        )
    return replace(results, search=found)


def train_finalists(session: RunSession, results: PhaseResults) -> PhaseResults:
    """Train the best of the search and the reference from scratch, and choose the baseline."""
    context, settings = session.context, session.context.settings
    trainer, found = context.trainers["finals"], results.found
    plan = session.state.plan
    assert plan is not None  # there are images
    seen = seen_by_training(plan.finals, context.space.resolution)
    chosen = finalists(found.trials, settings.finalist_count, seen)
    references = context.references()
    networks = with_references((trial.architecture for trial in chosen), references)
    deadline = session.deadline("finals")
    with session.seeded("finals", networks, trainer, FINAL_SEEDS, deadline) as rounds:
        objective = session.objective(trainer, settings.objective)
        result = compare_finalists(chosen, networks, references[0], rounds, objective, FINAL_SEEDS)
    if not result.measured:
        session.notes.add(
            "no finalist could be trained; the baseline is the best network of the search"
        )
    elif result.chosen is None:
        session.notes.add(
            "the accuracy of all finalists is at chance level after so little training, so the "
            "baseline is the best network of the search; use another --out with more --time"
        )
    found = replace(found, baseline=result.baseline(chosen) or found.baseline)
    for text in _as_good(result, len(chosen)) if settings.weights is not None else ():
        session.notes.add(text)
    return replace(results, search=found, finals=result)


def _as_good(result: FinalistsResult, finalists: int) -> Iterator[str]:
    """Yield which references are as good as the baseline, which a user should rather take."""
    for index in range(finalists, len(result.comparison.networks)):
        difference = None
        if result.chosen is not None:
            difference = result.comparison.difference(result.chosen, index)
        if difference is not None and (not difference.real or difference.mean < 0):
            name = result.comparison.networks[index].name
            yield (
                f"the baseline is not significantly better than {name} (95 % CI), which needs no "
                "search: take that one, or give the run more time"
            )


def check_proxy(session: RunSession, results: PhaseResults) -> PhaseResults:
    """Measure how far the proxy's ranking can be trusted, where enough could be measured."""
    context, settings = session.context, session.context.settings
    networks = sample(Feasible(context.space, settings.budget), CHECKED, settings.seed)
    everyone = range(len(networks))
    deadline = session.deadline("check")
    # One after the other: each shows its own progress, and has the cores to itself.
    with session.seeded("check-proxy", networks, context.proxy, 1, deadline) as judged:
        judged.run(0, everyone)
    with session.seeded("check", networks, context.trainers["check"], 1, deadline) as trained:
        trained.run(0, everyone)
    result = check(networks, judged, trained, settings.seed)
    session.notes.add(
        "too few networks were measured to check the proxy" if result is None else str(result)
    )
    return replace(results, check=result)


def scale_baseline(session: RunSession, results: PhaseResults) -> PhaseResults:
    """Choose in which direction the baseline grows: by published trainings, and by own ones."""
    baseline = results.found.baseline.architecture
    plan = session.state.plan
    measured = None
    if plan is not None and plan.scaled is not None:
        try:
            measured = measure_growth(session, baseline, plan.scaled)
        except InputError as error:
            session.notes.add(f"coefficients: no growth is measured: {error}")
    session.progress.phase("coefficients", None)
    chosen = choose_coefficients(baseline, measured)
    if measured is not None and chosen.training is None:
        session.notes.add(
            "coefficients: the trainings of grown networks are too few or at chance level, so "
            "published trainings alone decide"
        )
    loose = chosen.choice.may_be_zero
    if loose:
        session.notes.add(
            f"coefficients: the evidence does not tell the share of {' and '.join(loose)} from 0"
        )
    return replace(results, scaling=chosen)


def test_baseline(session: RunSession, results: PhaseResults) -> PhaseResults:
    """Score the baseline and the references on the test images, which have chosen nothing."""
    context = session.context
    trainer, best = context.trainers["test"], results.found.baseline.architecture
    assert isinstance(trainer, TrainingProxy)
    if trainer.data.test_labels is None:
        return results
    networks, seeds = [best], 1
    if context.settings.finalist_count:
        networks, seeds = with_references([best], context.references()), FINAL_SEEDS
    with session.seeded("test", networks, TrainingTestProxy(trainer), seeds, None) as rounds:
        return replace(results, test=compare_networks(rounds, seeds))


def train_baseline(session: RunSession, results: PhaseResults) -> PhaseResults:
    """Train the baseline at its own resolution, and keep its weights."""
    best = results.found.baseline.architecture
    trained = train_in_run(session, best)
    return replace(results, trained=trained)


Work = Callable[[RunSession, PhaseResults], PhaseResults]

WORK: Mapping[str, Work] = {
    "supernet": train_supernet,
    "search": search_space,
    "finals": train_finalists,
    "check": check_proxy,
    "coefficients": scale_baseline,
    "test": test_baseline,
    "train": train_baseline,
}
"""What each phase of :data:`nas.runs.schedule.PHASES` does."""
