import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.accuracy import Accuracy
from nas.errors import InputError
from nas.evaluation.objective import Objective, make_objective, pareto_front, ranked, ranked_rows
from nas.evaluation.study_row import StudyRow
from nas.evaluation.trial import Trial
from nas.networks.architecture import efficientnet_b0
from nas.networks.cost import Cost
from nas.spaces.budget import Budget, parse_budget

B0 = efficientnet_b0()


def trial(
    number: int, mean: float, flops: int = 100, params: int = 10, *, score: float | None = None
) -> Trial:
    return Trial(
        number,
        {},
        B0,
        Cost(flops, params, 1),
        "finished",
        Accuracy(mean, 0.0),
        mean if score is None else score,
    )


def unfinished(number: int, state: str) -> Trial:
    return Trial(number, {}, B0, Cost(1, 1, 1), state)  # type: ignore[arg-type]


def test_accuracy_is_the_mean_whatever_it_costs() -> None:
    objective = make_objective("accuracy", parse_budget("400M-flops"))
    assert objective.score(Accuracy(0.7, 0.0), Cost(1, 1, 1)) == 0.7
    assert objective.score(Accuracy(0.7, 0.0), Cost(10**9, 1, 1)) == 0.7


def test_reward_is_mnasnets() -> None:
    objective = make_objective("reward", parse_budget("400M-flops"))
    assert objective.exponent == -0.07
    at_the_limit = objective.score(Accuracy(0.7, 0.0), Cost(400_000_000, 1, 1))
    assert at_the_limit == pytest.approx(0.7)
    # ACC·(FLOPS/T)^w at half the FLOPs: 2^0.07 times the accuracy.
    assert objective.score(Accuracy(0.7, 0.0), Cost(200_000_000, 1, 1)) == pytest.approx(
        0.7 * 2**0.07
    )
    # MnasNet chose w so that 5 % more accuracy are worth twice the cost.
    double = objective.score(Accuracy(0.7 * 1.05, 0.0), Cost(800_000_000, 1, 1))
    assert double == pytest.approx(at_the_limit, rel=0.001)


def test_ranking_by_loss() -> None:
    objective = make_objective("accuracy", parse_budget("1M-params"), "loss")
    cost = Cost(1, 1, 1)
    assert objective.score(Accuracy(0.1, 0.0, loss=0.5), cost) == pytest.approx(math.exp(-0.5))
    assert objective.score(Accuracy(0.9, 0.0, loss=0.6), cost) == pytest.approx(math.exp(-0.6))
    with pytest.raises(ValueError, match="loss"):  # never mixed with accuracies
        objective.score(Accuracy(0.9, 0.0), cost)


@pytest.mark.parametrize(
    ("kind", "budget", "rank_by", "message"),
    [
        ("reward", Budget("5M-params", params=5_000_000), "accuracy", "'reward'"),
        ("speed", parse_budget("1M-flops"), "accuracy", "'speed'"),
        ("accuracy", parse_budget("1M-flops"), "los", "'los'"),
    ],
)
def test_objectives_that_are_refused(kind: str, budget: Budget, rank_by: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_objective(kind, budget, rank_by)  # type: ignore[arg-type]


def test_ties_go_to_fewer_flops_then_params_then_the_earlier() -> None:
    best_first = [
        trial(9, 0.6, 500, 50),
        trial(8, 0.5, 90, 50),
        trial(7, 0.5, 100, 9),
        trial(3, 0.5, 100, 10),
        trial(6, 0.5, 100, 10),
    ]
    shuffled = [best_first[i] for i in (4, 1, 3, 0, 2)]
    assert ranked(shuffled) == best_first
    assert [row.number for row in ranked_rows(map(row_of, shuffled))] == [9, 8, 7, 3, 6]


def row_of(trial: Trial) -> StudyRow:
    attrs = {"cost": trial.cost.to_dict()}
    return StudyRow(trial.number, {}, trial.state, trial.score, (), attrs)


def test_a_row_without_a_cost_cannot_be_ranked() -> None:
    with pytest.raises(InputError, match="trial 3: cost"):
        ranked_rows([StudyRow(3, {}, "finished", 0.5, (), {})])
    assert ranked_rows([StudyRow(3, {}, "failed", None, (), {})]) == []


def test_only_finished_trials_rank() -> None:
    trials = [unfinished(0, "stopped"), unfinished(1, "failed"), trial(2, 0.1)]
    assert ranked(trials) == [trials[2]]
    assert pareto_front(trials, Objective()) == [trials[2]]
    assert ranked(trials[:2]) == []
    assert pareto_front(trials[:2], Objective()) == []


def test_ranking_follows_the_score_and_the_front_the_accuracy() -> None:
    cheap, dear = trial(0, 0.5, 10, score=0.9), trial(1, 0.6, 100, score=0.6)
    assert ranked([cheap, dear]) == [cheap, dear]
    assert pareto_front([dear, cheap], Objective("reward", target_flops=10)) == [cheap, dear]


@given(
    st.lists(
        st.tuples(st.integers(0, 4).map(lambda n: n / 4), st.integers(1, 5), st.integers(1, 3)),
        max_size=12,
    )
)
def test_the_front_is_what_nothing_dominates(rows: list[tuple[float, int, int]]) -> None:
    trials = [trial(n, mean, flops, params) for n, (mean, flops, params) in enumerate(rows)]
    points = {(flops, mean) for mean, flops, _ in rows}
    undominated = {
        (flops, mean)
        for flops, mean in points
        if not any(f <= flops and m >= mean and (f, m) != (flops, mean) for f, m in points)
    }
    front = pareto_front(trials, Objective())
    assert [t.cost.flops for t in front] == sorted(t.cost.flops for t in front)
    assert [(t.cost.flops, t.score) for t in front] == sorted(undominated)  # each once
    for kept in front:
        equals = [t for t in trials if (t.cost.flops, t.score) == (kept.cost.flops, kept.score)]
        assert kept == min(equals, key=lambda t: (t.cost.params, t.number))
