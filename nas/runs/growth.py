"""The trainings of grown networks in a run."""

from __future__ import annotations

from collections.abc import Sequence

from nas.evaluation.seeded_runs import MeasuredNetwork
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.networks.small_base import small_base
from nas.records.coefficients_file import GrownRun
from nas.records.plan import ScaledPlan, grown_phase
from nas.runs.coefficients import MeasuredGrowth
from nas.runs.session import RunSession
from nas.strategies.grown_networks import GrownNetwork, grown_networks


def planned_networks(baseline: Architecture, plan: ScaledPlan) -> list[GrownNetwork]:
    """Return the networks that a run trains for its coefficients.

    Raises:
        InputError: the baseline cannot grow so far.
    """
    return grown_networks(
        baseline,
        plan.flops,
        plan.pixels,
        plan.with_resolution,
        baseline.in_channels,
        baseline.num_classes,
    )


def measure_growth(session: RunSession, baseline: Architecture, plan: ScaledPlan) -> MeasuredGrowth:
    """Train the grown networks, each for every length.

    Raises:
        InputError: the baseline cannot grow so far.
        EvaluationFailed: too many trainings in a row failed.
    """
    networks = planned_networks(baseline, plan)
    deadline = session.deadline("coefficients")
    by_length = []
    for settings in plan.trainings:
        phase = grown_phase(settings)
        trainer = session.context.trainers[phase]
        own = [network.architecture for network in networks]
        with session.seeded(phase, own, trainer, 1, deadline) as rounds:
            rounds.run(0, range(len(own)))
            by_length.append((settings.images_seen, rounds.all_measured()))
    data = session.state.data
    return growth_of_runs(
        baseline,
        plan,
        "the images" if data is None else data.name,
        networks,
        runs_of_networks(by_length),
    )


def runs_of_networks(
    by_length: Sequence[tuple[int, Sequence[MeasuredNetwork]]],
) -> tuple[tuple[GrownRun, ...], ...]:
    """Return the trainings of each network, from those of all networks for each length."""
    return tuple(
        tuple(
            GrownRun(images_seen=images_seen, round=run.round, accuracy=run.accuracy)
            for (images_seen, _), network in zip(by_length, networks, strict=True)
            for run in network.runs
        )
        for networks in zip(*(measured for _, measured in by_length), strict=True)
    )


def growth_of_runs(
    baseline: Architecture,
    plan: ScaledPlan,
    data: str,
    networks: Sequence[GrownNetwork],
    runs: tuple[tuple[GrownRun, ...], ...],
) -> MeasuredGrowth:
    """Return grown networks and the trainings of each as what is known of their growth."""
    small = small_base(
        baseline, plan.flops, plan.pixels, baseline.in_channels, baseline.num_classes
    )
    return MeasuredGrowth(
        data=data,
        classes=baseline.num_classes,
        flops=measure_cost(small).flops,
        pixels=plan.pixels,
        with_resolution=plan.with_resolution,
        networks=tuple(networks),
        runs=runs,
    )
