import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.accuracy import Accuracy
from nas.errors import EvaluationFailed, InputError
from nas.evaluation.executor import Outcome, Task, run_task
from nas.evaluation.local import InProcess
from nas.evaluation.objective import Objective, pareto_front, ranked
from nas.evaluation.trial import Trial
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.networks.cost import Cost, measure_cost
from nas.proxies.protocol import Proxy, ProxyCapabilities
from nas.seeding import derived_rng, derived_seed
from nas.spaces.budget import Budget, parse_budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace, Value
from nas.strategies.proposer import ASKS, Proposer
from nas.strategies.pruning import StopFloors
from nas.strategies.samplers import SAMPLERS, make_sampler
from nas.strategies.search import SearchResult, search
from nas.testing import ToyProxy, hashed, killing
from tests.support.toys import Scripted, raises

TINY = load_space("tiny")
EFFICIENTNET = load_space("efficientnet")
LOOSE = parse_budget("100M-flops")
Report = Callable[[int, float], bool]


def unlucky(arch: Architecture, seed: int) -> None:
    """A fault of some architectures."""
    luck = hashed("fate", arch.key())
    if luck < 0.15:
        raise ValueError(f"fate {luck}")


def eventful() -> ToyProxy:
    """Some evaluations fail, some are stopped early, as the architecture has it."""
    return ToyProxy(steps=3, fault=unlucky)


class TwoAtOnce:
    """An engine of two slots in this process; which task ends first is drawn."""

    slots = 2

    def __init__(self, proxy: Proxy, order: int = 0) -> None:
        self._proxy = proxy
        self._rng = random.Random(order)
        self._waiting: list[Task] = []
        self.closed = False

    def submit(self, task: Task) -> None:
        self._waiting.append(task)
        assert len(self._waiting) <= self.slots

    def next(self) -> Outcome:
        chosen = self._rng.randrange(len(self._waiting))
        return run_task(self._proxy, self._waiting.pop(chosen))

    def close(self) -> None:
        self.closed = True


class Killed(BaseException):
    pass


def killer(after: int) -> Callable[[Trial], None]:
    """An ``on_trial`` that ends the run when so many trials are on disk."""
    left = after

    def on_trial(trial: Trial) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    return on_trial


def facts(result: SearchResult | Sequence[Trial]) -> list[Trial]:
    """All of the trials but what the clock says."""
    trials = result.trials if isinstance(result, SearchResult) else result
    return [replace(trial, seconds=0.0, choices=dict(trial.choices)) for trial in trials]


def engine_of(jobs: int, proxy: Proxy, order: int = 0) -> InProcess | TwoAtOnce:
    return InProcess(proxy) if jobs == 1 else TwoAtOnce(proxy, order)


# --- resuming is replay -------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_killed_and_resumed_is_the_same_run(sampler: str, jobs: int, tmp_path: Path) -> None:
    def run(folder: str, order: int = 0, kill: int = 0) -> SearchResult:
        proxy = eventful()
        return search(
            TINY,
            LOOSE,
            proxy,
            trials=36,
            seed=5,
            sampler=sampler,
            storage=tmp_path / folder,
            engine=engine_of(jobs, proxy, order),
            on_trial=killer(kill) if kill else None,
        )

    whole = run("whole")
    states = Counter(trial.state for trial in whole.trials)
    assert [trial.number for trial in whole.trials] == list(range(36))
    assert min(states[state] for state in ("finished", "stopped", "failed")) >= 2
    assert len({trial.architecture.key() for trial in whole.trials}) == 36

    for order, kill in enumerate((1, 2, 7, 13), 1):  # on the way to 36 killed four times
        with pytest.raises(Killed):
            run("killed", order, kill)
        journal = tmp_path / "killed" / "study.log"
        with journal.open("ab") as stream:
            stream.write(b'{"op_code":4,"worker_id"')
        journal.with_name("study.log.lock").symlink_to("nowhere")
    resumed = run("killed", 9)
    assert facts(resumed) == facts(whole)
    assert facts(resumed.front) == facts(whole.front)
    assert facts([resumed.baseline]) == facts([whole.baseline])
    again = run("killed")  # nothing is left to do
    assert again == resumed


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_trials_lost_in_the_middle_are_filled_with_the_same(sampler: str, tmp_path: Path) -> None:
    def run(**kwargs: Any) -> SearchResult:
        return search(TINY, LOOSE, kwargs.pop("proxy"), trials=20, sampler=sampler, **kwargs)

    proxy = eventful()
    whole = run(proxy=proxy, engine=TwoAtOnce(proxy), storage=tmp_path)
    journal = tmp_path / "study.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    lost = {0, 7, 12, 18, 19}
    kept = [line for line in lines if not any(b'"number":%d,' % number in line for number in lost)]
    assert len(kept) == len(lines) - len(lost)
    journal.write_bytes(b"".join(kept))

    proxy = eventful()
    filled = run(proxy=proxy, engine=TwoAtOnce(proxy, 3), storage=tmp_path)
    assert facts(filled) == facts(whole)
    assert len(proxy.evaluated) == len(lost)

    # With another number of jobs they may be filled with others, but with none that is there.
    journal.write_bytes(b"".join(kept))
    proxy = eventful()
    other = run(proxy=proxy, storage=tmp_path)
    assert len({trial.architecture.key() for trial in other.trials}) == 20
    assert len(proxy.evaluated) == len(lost)


def test_the_order_in_which_trials_end_decides_nothing() -> None:
    def run(order: int) -> SearchResult:
        proxy = eventful()
        return search(TINY, LOOSE, proxy, trials=24, engine=TwoAtOnce(proxy, order))

    assert facts(run(0)) == facts(run(1)) == facts(run(2))


def test_seeds_decide(tmp_path: Path) -> None:
    def run(seed: int) -> SearchResult:
        return search(TINY, LOOSE, ToyProxy(), trials=4, seed=seed, sampler="random")

    assert facts(run(0)) == facts(run(0))
    assert facts(run(0)) != facts(run(1))


def test_more_trials_go_on_where_fewer_ended(tmp_path: Path) -> None:
    whole = search(TINY, LOOSE, ToyProxy(), trials=16)
    told: list[Sequence[Trial]] = []
    for trials in (5, 3, 16):
        result = search(
            TINY, LOOSE, ToyProxy(), trials=trials, storage=tmp_path, on_resume=told.append
        )
    assert facts(result) == facts(whole)
    assert [[trial.number for trial in trials] for trials in told] == [[], [0, 1, 2], [*range(5)]]


def test_a_study_opens_with_optuna(tmp_path: Path) -> None:
    result = search(TINY, LOOSE, ToyProxy(), trials=5, storage=tmp_path, study_name="mine")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
    study = optuna.load_study(study_name="mine", storage=optuna.storages.JournalStorage(backend))
    assert study.best_value == result.baseline.score
    assert study.best_params == result.baseline.choices
    assert study.best_trial.user_attrs["cost"] == result.baseline.cost.to_dict()


# --- nothing over budget, nothing twice ---------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_new_networks_within_the_budget_are_evaluated(sampler: str) -> None:
    budget = Budget("tight", flops=Feasible(TINY, LOOSE).least() * 2, params=6_000)
    rejected = sum(
        not budget.allows(measure_cost(TINY.decode(TINY.sample(random.Random(i)))))
        for i in range(50)
    )
    assert rejected > 25  # the budget is one that most of the space exceeds
    proxy = ToyProxy()
    result = search(TINY, budget, proxy, trials=30, sampler=sampler)
    costs = [measure_cost(arch) for arch in proxy.evaluated]
    assert all(map(budget.allows, costs))
    assert len(set(proxy.keys)) == len(proxy.keys) == len(result.trials) == 30
    assert [trial.cost for trial in result.trials] == costs
    assert not result.exhausted


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_small_rest_of_a_space_is_exhausted(sampler: str, jobs: int) -> None:
    cheapest = Feasible(TINY, LOOSE).least()
    budget = Budget("tiny", flops=cheapest * 5 // 4)
    feasible = {TINY.decode(choices).key() for choices in Feasible(TINY, budget)}
    assert 3 < len(feasible) < 60
    proxy = ToyProxy()
    result = search(
        TINY, budget, proxy, trials=1000, sampler=sampler, engine=engine_of(jobs, proxy)
    )
    assert result.exhausted
    assert not result.out_of_time
    assert sorted(proxy.keys) == sorted(feasible)


@pytest.mark.parametrize("space", [TINY, EFFICIENTNET], ids=["tiny", "efficientnet"])
def test_a_budget_of_the_cheapest_network_finds_it(space: SearchSpace) -> None:
    cheapest = Feasible(space, LOOSE).least()
    proxy = ToyProxy()
    result = search(space, Budget("exact", flops=cheapest), proxy, trials=3)
    assert result.exhausted
    assert [trial.cost.flops for trial in result.trials] == [cheapest]
    with pytest.raises(InputError, match=f"{cheapest:,}"):
        search(space, Budget("less", flops=cheapest - 1), proxy, trials=3)


def test_a_sampler_that_never_learns_does_not_hold_up_the_search() -> None:
    class Stubborn:
        asked = 0

        def propose(
            self, feasible: Feasible, history: Sequence[Trial], rng: random.Random
        ) -> Mapping[str, Value]:
            self.asked += 1
            return {name: values[-1] for name, values in feasible.space.choices.items()}

    sampler = Stubborn()
    proxy = ToyProxy()
    result = search(TINY, LOOSE, proxy, trials=10, sampler=sampler)
    assert len(set(proxy.keys)) == len(result.trials) == 10
    assert sampler.asked <= 10 * ASKS
    # A rejected proposal is mended by a small change, not by a new draw.
    first = result.trials[0].choices
    changes = [sum(first[k] != t.choices[k] for k in first) for t in result.trials[1:]]
    assert max(changes) <= 2


# --- networks to start with ---------------------------------------------------------------------


def test_start_networks_come_first() -> None:
    b0 = efficientnet_b0()
    proxy = ToyProxy()
    result = search(
        EFFICIENTNET, parse_budget("400M-flops"), proxy, trials=3, start=[b0, b0], sampler="random"
    )
    assert result.trials[0].architecture.key() == b0.key() == proxy.keys[0]
    assert result.trials[0].cost.flops == 385_814_752
    assert len(set(proxy.keys)) == 3


def test_start_networks_of_a_resumed_run(tmp_path: Path) -> None:
    def decoded(seed: int) -> Architecture:
        return TINY.decode(TINY.sample(random.Random(seed)))

    def run(trials: int, start: list[Architecture]) -> SearchResult:
        return search(TINY, LOOSE, ToyProxy(), trials=trials, start=start, storage=tmp_path)

    first = run(2, [decoded(0), decoded(1), decoded(2)])
    assert [t.architecture for t in first.trials] == [decoded(0), decoded(1)]
    more = run(5, [decoded(1), decoded(2), decoded(3)])  # what was evaluated is not again
    assert [t.architecture for t in more.trials][:4] == [decoded(i) for i in range(4)]


def test_a_start_outside_the_space_or_the_budget_is_refused() -> None:
    b0 = efficientnet_b0()
    proxy = ToyProxy()
    with pytest.raises(InputError, match=r"'efficientnet-b0'.*'tiny'"):
        search(TINY, LOOSE, proxy, start=[b0])
    with pytest.raises(
        InputError,
        match=r"'efficientnet-b0': .*'300M-flops': 385,814,752 ",
    ):
        search(EFFICIENTNET, parse_budget("300M-flops"), proxy, start=[b0])
    assert not proxy.prepared
    assert not proxy.evaluated


# --- failures -----------------------------------------------------------------------------------


def test_a_failed_trial_is_recorded_with_its_reason_and_counts(tmp_path: Path) -> None:
    faults: dict[int, Callable[[], object]] = {
        1: raises(ValueError("two\nlines")),
        2: lambda: Accuracy(float("nan"), 0.0),
        3: lambda: 0.9,
        5: raises(MemoryError("no")),
        6: raises(SystemExit(1)),
        7: lambda: None,
    }
    proxy = Scripted(faults)
    result = search(TINY, LOOSE, proxy, trials=10, storage=tmp_path, sampler="nsga2")
    assert [trial.number for trial in result.trials if trial.state == "failed"] == list(faults)
    reasons = {trial.number: trial.reason for trial in result.trials if trial.reason}
    assert list(reasons) == list(faults)
    assert reasons[1] == "ValueError: two lines"
    assert reasons[2].startswith("Accuracy: ")
    assert "nan" in reasons[2]
    assert "float" in reasons[3]
    assert reasons[5] == "MemoryError: no"
    assert reasons[6] == "SystemExit: 1"
    assert "NoneType" in reasons[7]
    assert (result.count("finished"), result.count("failed"), result.count("stopped")) == (4, 6, 0)
    assert all(t.score is None and t.accuracy is None for t in result.trials if t.reason)
    assert result.baseline in ranked(result.trials)
    assert len(set(proxy.keys)) == 10
    # What failed is not tried again.
    again = search(TINY, LOOSE, Scripted({}), trials=10, storage=tmp_path, sampler="nsga2")
    assert facts(again) == facts(result)


@pytest.mark.parametrize("jobs", [1, 2])
def test_too_many_failures_in_a_row_end_the_run_with_the_reason(jobs: int, tmp_path: Path) -> None:
    def run(faults: Sequence[int], kill: int = 0) -> SearchResult:
        proxy = Scripted({turn: raises(ValueError("broken")) for turn in faults})
        return search(
            TINY,
            LOOSE,
            proxy,
            trials=20,
            storage=tmp_path,
            engine=engine_of(jobs, proxy),
            on_trial=killer(kill) if kill else None,
        )

    with pytest.raises(EvaluationFailed, match="ValueError: broken"):
        run(range(2, 20))
    lines = (tmp_path / "study.log").read_text(encoding="utf-8").splitlines()
    done = sum("datetime_start" in json.loads(line) for line in lines)
    assert 8 <= done < 8 + 2 * 2
    # Once the fault is mended, the run goes on.
    assert len(run([]).trials) == 20


def test_failures_are_counted_across_a_kill(tmp_path: Path) -> None:
    broken = {turn: raises(ValueError("broken")) for turn in range(20)}
    with pytest.raises(Killed):
        search(TINY, LOOSE, Scripted(broken), trials=20, storage=tmp_path, on_trial=killer(4))
    proxy = Scripted(broken)
    with pytest.raises(EvaluationFailed, match="ValueError: broken"):
        search(TINY, LOOSE, proxy, trials=20, storage=tmp_path)
    assert len(proxy.keys) == 2


def test_five_failures_in_a_row_do_not_end_a_run() -> None:
    faults = {turn: raises(ValueError()) for turn in range(17) if turn % 6 != 5}
    assert len(search(TINY, LOOSE, Scripted(faults), trials=17).trials) == 17


def test_nothing_finished_is_a_failure() -> None:
    faults = {turn: raises(ValueError("broken")) for turn in range(3)}
    with pytest.raises(EvaluationFailed, match="ValueError: broken"):
        search(TINY, LOOSE, Scripted(faults), trials=3)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_at_all_is_a_failure(seconds: float, tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed, match="time"):
        search(TINY, LOOSE, ToyProxy(), seconds=seconds, storage=tmp_path)
    search(TINY, LOOSE, ToyProxy(), trials=3, storage=tmp_path)
    result = search(TINY, LOOSE, ToyProxy(), trials=9, seconds=seconds, storage=tmp_path)
    assert result.out_of_time
    assert len(result.trials) == 3
    result = search(TINY, LOOSE, ToyProxy(), trials=3, seconds=seconds, storage=tmp_path)
    assert not result.out_of_time  # all were done already


def test_no_trials_are_refused() -> None:
    with pytest.raises(InputError, match="trials: 0"):
        search(TINY, LOOSE, ToyProxy(), trials=0)


def test_whatever_happens_the_engine_is_closed() -> None:
    engine = TwoAtOnce(ToyProxy())
    with pytest.raises(Killed):
        search(TINY, LOOSE, ToyProxy(), trials=9, engine=engine, on_trial=killer(1))
    assert engine.closed


# --- early stopping -----------------------------------------------------------------------------


def stepping(number: int, *steps: tuple[int, float], state: Any = "finished") -> Trial:
    return Trial(number, {}, efficientnet_b0(), Cost(1, 1, 1), state, steps=steps)


def test_floors_are_the_lower_quartile_of_enough_trials() -> None:
    floors = StopFloors()
    assert floors.by_step() == {}
    for number, value in enumerate((0.5, 0.1, 0.4, 0.2, 0.3)):
        floors.add(stepping(number, (1, value), (2, value / 2)))
    assert floors.by_step() == {}
    floors.add(stepping(5, (1, 0.6)))
    assert floors.by_step() == {1: 0.2}  # of 0.1 … 0.6 the second, so the lowest would stop
    floors.add(stepping(6, (2, 0.9), state="stopped"))
    assert floors.by_step() == {1: 0.2, 2: 0.1}
    floors.add(stepping(7, (1, 0.15)))
    floors.add(stepping(8, (1, 0.25)))
    assert floors.by_step()[1] == 0.2  # of 8: 0.1 0.15 [0.2] 0.25 …
    assert StopFloors(at_least=1).by_step() == {}


@pytest.mark.parametrize("jobs", [1, 2])
def test_floors_come_from_the_trials_before_alone(jobs: int) -> None:
    class Recording(TwoAtOnce):
        slots = jobs

        def submit(self, task: Task) -> None:
            floors[task.number] = dict(task.floors)
            super().submit(task)

    floors: dict[int, dict[int, float]] = {}
    proxy = eventful()
    result = search(TINY, LOOSE, proxy, trials=24, engine=Recording(proxy))
    lag = 1 if jobs == 1 else 2 * jobs
    for number, given in floors.items():
        expected = StopFloors()
        for trial in result.trials[: max(0, number - lag + 1)]:
            expected.add(trial)
        assert given == expected.by_step()
    assert floors[23]


def test_stopped_trials_are_recorded_and_never_chosen(tmp_path: Path) -> None:
    class Hasty(ToyProxy):
        """Reports its worst where it is best, and does not listen."""

        def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
            quality = hashed(arch.key())
            report(1, 1 - quality)
            return Accuracy(quality, 0.0)

    result = search(TINY, LOOSE, Hasty(), trials=30, storage=tmp_path)
    stopped = [trial for trial in result.trials if trial.state == "stopped"]
    assert stopped
    for trial in stopped:
        assert trial.accuracy is trial.score is None
        assert len(trial.steps) == 1
        assert trial.reason == ""
        assert trial not in result.front
    assert max(1 - trial.steps[0][1] for trial in stopped) > result.baseline.score  # type: ignore[operator]
    assert facts(search(TINY, LOOSE, Hasty(), trials=30, storage=tmp_path)) == facts(result)
    patient = search(TINY, LOOSE, Hasty(), trials=30, early_stopping=False)
    assert patient.count("stopped") == 0


# --- what comes out -----------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["accuracy", "reward"])
def test_the_baseline_is_the_best_and_the_front_is_by_accuracy(objective: str) -> None:
    budget = parse_budget("2M-flops")
    result = search(TINY, budget, ToyProxy(), trials=25, objective=objective, sampler="random")
    assert result.baseline == ranked(result.trials)[0]
    assert result.front == tuple(pareto_front(result.trials, Objective()))
    for trial in result.trials:
        assert trial.accuracy is not None
        power = 0 if objective == "accuracy" else -0.07
        assert trial.score == pytest.approx(
            trial.accuracy.mean * (trial.cost.flops / 2_000_000) ** power
        )


def test_a_proxy_that_ranks_by_loss() -> None:
    def loss(arch: Architecture, seed: int) -> float:
        return 1 + hashed(arch.key())

    by_loss = ToyProxy(loss, capabilities=ProxyCapabilities(rank_by="loss"))
    result = search(TINY, LOOSE, by_loss, trials=8)
    losses = {t.number: t.accuracy.loss for t in result.trials if t.accuracy and t.accuracy.loss}
    assert result.baseline.number == min(losses, key=losses.__getitem__)


def test_reward_needs_a_limit_on_flops() -> None:
    proxy = ToyProxy()
    with pytest.raises(InputError, match="'reward'"):
        search(TINY, parse_budget("1M-params"), proxy, objective="reward")
    assert not proxy.prepared


def test_the_proxy_is_prepared_once_and_each_trial_has_its_own_seed(tmp_path: Path) -> None:
    proxy = ToyProxy()
    result = search(TINY, LOOSE, proxy, trials=6, seed=3, folder=tmp_path)
    assert proxy.prepared == [(TINY, LOOSE, tmp_path)]
    assert [t.accuracy.seeds for t in result.trials if t.accuracy] == [
        (derived_seed(3, "trial", number),) for number in range(6)
    ]


def test_every_trial_is_on_disk_when_it_is_told(tmp_path: Path) -> None:
    def on_trial(trial: Trial) -> None:
        lines = (tmp_path / "study.log").read_text().splitlines()
        assert f'"number":{trial.number},' in lines[-1]
        told.append(trial)

    told: list[Trial] = []
    result = search(TINY, LOOSE, ToyProxy(), trials=5, storage=tmp_path, on_trial=on_trial)
    assert told == list(result.trials)


def test_proposals_depend_on_history_and_number_alone() -> None:
    history = list(search(TINY, LOOSE, ToyProxy(), trials=12).trials)
    seen = {trial.architecture.key() for trial in history}
    proposals = [
        Proposer(TINY, LOOSE, make_sampler("tpe"), 0).propose(12, history, set(seen))
        for _ in range(2)
    ]
    assert proposals[0] == proposals[1]
    assert proposals[0] is not None
    assert TINY.decode(proposals[0]).key() not in seen


@pytest.mark.parametrize("space", [TINY, EFFICIENTNET], ids=["tiny", "efficientnet"])
def test_tight_budgets_are_no_hindrance(space: SearchSpace) -> None:
    limit = int(Feasible(space, LOOSE).least() * (1.5 if space is TINY else 1.08))
    budget = Budget("tight", flops=limit)
    proposer = Proposer(space, budget, make_sampler("random"), 0)
    seen: set[str] = set()
    for number in range(30):
        choices = proposer.propose(number, [], seen)
        assert choices is not None
        architecture = space.decode(choices)
        assert measure_cost(architecture).flops <= limit
        assert architecture.key() not in seen
        seen.add(architecture.key())


def test_the_last_networks_of_a_space_are_the_same_for_a_proposer_that_comes_late() -> None:
    budget = Budget("few", flops=int(Feasible(TINY, LOOSE).least() * 1.3))
    along = Proposer(TINY, budget, make_sampler("random"), 0)
    seen: set[str] = set()
    number = 0
    while (choices := along.propose(number, [], seen)) is not None:
        if number % 7 == 0:
            late = Proposer(TINY, budget, make_sampler("random"), 0)
            assert late.propose(number, [], seen) == choices
        seen.add(TINY.decode(choices).key())
        number += 1
    assert number > 20
    assert len(list(Feasible(TINY, budget))) == number


def test_derived_seeds_differ_in_every_part() -> None:
    seeds = {derived_seed(a, b, c) for a in range(4) for b in ("x", "y") for c in range(4)}
    assert len(seeds) == 32
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_rng(1, "a").random() == derived_rng(1, "a").random()


# --- several processes --------------------------------------------------------------------------


@dataclass(frozen=True)
class Deadly:
    """A fault: one architecture kills its process, others fail as they do."""

    victim: str

    def __call__(self, arch: Architecture, seed: int) -> None:
        if arch.key() == self.victim:
            killing()(arch, seed)
        unlucky(arch, seed)


def test_two_jobs_killed_and_resumed(tmp_path: Path) -> None:
    proxy = eventful()
    ran = search(TINY, LOOSE, proxy, trials=12, engine=TwoAtOnce(proxy))
    victim = ran.trials[3]
    with pytest.raises(Killed):
        search(
            TINY,
            LOOSE,
            ToyProxy(steps=3, fault=Deadly(victim.architecture.key())),
            trials=12,
            jobs=2,
            storage=tmp_path,
            on_trial=killer(6),
        )
    proxy = ToyProxy(steps=3, fault=Deadly(victim.architecture.key()))
    result = search(TINY, LOOSE, proxy, trials=12, jobs=2, storage=tmp_path)
    assert len({trial.architecture.key() for trial in result.trials}) == 12
    failed = result.trials[3]
    assert failed.state == "failed"
    assert "SIGKILL" in failed.reason
    assert facts(result)[:3] == facts(ran)[:3]
    assert failed.architecture == victim.architecture


def test_a_proxy_that_cannot_be_sent_is_wrong_input() -> None:
    class Local(ToyProxy):
        pass

    with pytest.raises(InputError, match="proxy Local: "):
        search(TINY, LOOSE, Local(), jobs=2)


# --- a user's own proxy, as the README shows it -------------------------------------------------


class MyProxy:
    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        pass

    def evaluate(
        self, arch: Architecture, *, seed: int, report: Callable[[int, float], bool]
    ) -> Accuracy:
        depth = sum(stage.layers for stage in arch.stages)
        return Accuracy(mean=depth / 100, standard_error=0.0)


def test_a_proxy_of_ones_own() -> None:
    assert isinstance(MyProxy(), Proxy)
    result = search(EFFICIENTNET, parse_budget("400M-flops"), MyProxy(), trials=12)
    assert len(result.trials) == 12
    assert result.baseline.cost.flops <= 400_000_000
    assert result.baseline.score == max(trial.score or 0 for trial in result.trials)


@pytest.fixture(autouse=True)
def _no_locks_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob("*.lock*"))


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_and_open_files_stay_flat_over_2000_trials(tmp_path: Path) -> None:
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    after: dict[int, tuple[float, int]] = {}

    def on_trial(trial: Trial) -> None:
        if len(seen) + 1 in (200, 2000):
            after[len(seen) + 1] = resident(), len(list(Path("/proc/self/fd").iterdir()))
        seen.append(trial.number)

    seen: list[int] = []
    search(
        load_space("efficientnet"),
        parse_budget("400M-flops"),
        ToyProxy(),
        trials=2000,
        sampler="evolution",
        storage=tmp_path,
        on_trial=on_trial,
    )
    print(f"\nafter 200 and 2,000 trials, MiB resident and open files: {after}")
    assert len(seen) == 2000
    assert after[2000][0] - after[200][0] <= 50
    assert after[2000][1] == after[200][1]
