"""How far a search's proxy can be trusted: some networks trained longer, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.evaluation.seeded_runs import SeededRuns
from nas.networks.architecture import Architecture
from nas.networks.cost import measure_cost
from nas.seeding import derived_rng, derived_seed
from nas.spaces.feasible import Feasible
from nas.statistics import Agreement, Interval, agreement, interval, resample


@dataclass(frozen=True)
class ProxyCheck:
    """How a proxy ranked networks that were then trained longer.

    Attributes:
        proxy: by the proxy's score.
        flops: by FLOPs alone.
        minus_flops_ci95: of τ of the proxy less that of FLOPs, by a paired bootstrap.
        samples: networks that both measured.
    """

    proxy: Agreement
    flops: Agreement
    minus_flops_ci95: Interval
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands in ``run.json``."""
        return {
            "samples": self.samples,
            "kendall_tau": self.proxy.kendall_tau,
            "kendall_tau_ci95": list(self.proxy.kendall_tau_ci95),
            "spearman": self.proxy.spearman,
            "regret": self.proxy.regret,
            "kendall_tau_flops": self.flops.kendall_tau,
            "kendall_tau_flops_ci95": list(self.flops.kendall_tau_ci95),
            "kendall_tau_minus_flops_ci95": list(self.minus_flops_ci95),
        }

    def __str__(self) -> str:
        """Return it in a sentence."""
        low, high = self.proxy.kendall_tau_ci95
        verdict = (
            "better than FLOPs alone"
            if self.minus_flops_ci95[0] > 0
            else "worse than FLOPs alone"
            if self.minus_flops_ci95[1] < 0
            else "not significantly different from FLOPs alone"
        )
        return (
            f"the proxy ranks {self.samples} networks trained longer with τ "
            f"{self.proxy.kendall_tau:.2f} ({low:.2f} to {high:.2f}), FLOPs with "
            f"{self.flops.kendall_tau:.2f}: {verdict} (95 % CI)"
        )


def sample(feasible: Feasible, count: int, seed: int) -> list[Architecture]:
    """Return different networks within the budget, drawn whatever the search found.

    Of a space with fewer, all that were met in ten times as many draws.
    """
    rng = derived_rng(seed, "check")
    found: dict[str, Architecture] = {}
    for _ in range(10 * count):
        if len(found) == count:
            break
        architecture = feasible.space.decode(feasible.sample(rng))
        found.setdefault(architecture.key(), architecture)
    return list(found.values())


def check(
    networks: Sequence[Architecture], proxy: SeededRuns, trained: SeededRuns, seed: int
) -> ProxyCheck | None:
    """Say how the proxy and a longer training judged the same networks.

    Args:
        networks: those of both.
        proxy: evaluations by the proxy; of one round.
        trained: longer trainings; of one round.
        seed: of the bootstrap.

    Returns:
        How they agree; None where fewer than four networks were measured by both, which says
        nothing.
    """
    everyone = range(len(networks))
    scores = [proxy.measured(index).scores() for index in everyone]
    truths = [trained.measured(index).scores() for index in everyone]
    both = [index for index in everyone if scores[index] and truths[index]]
    if len(both) < 4:
        return None
    score = np.array([scores[index][0] for index in both])
    truth = np.array([truths[index][0] for index in both])
    flops = np.array([float(measure_cost(networks[index]).flops) for index in both])
    samples = resample(len(both), derived_seed(seed, "check"))
    ours, plain = agreement(truth, score, samples), agreement(truth, flops, samples)
    return ProxyCheck(ours, plain, interval(ours.taus - plain.taus), len(both))
