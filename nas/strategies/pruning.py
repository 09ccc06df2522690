"""Early stopping: the intermediate value below which a trial is in the lowest quarter."""

from __future__ import annotations

from bisect import insort

from nas.evaluation.trial import Trial


class StopFloors:
    """By step, the lower quartile of the intermediate values of the trials so far.

    The percentile stopping rule of Vizier (Golovin et al. 2017), at the lower quartile and not at
    the median, since intermediate values rank networks poorly and a good one must not be lost.

    Args:
        at_least: a step that fewer trials have reached has no floor.
    """

    def __init__(self, at_least: int = 6) -> None:
        self._at_least = at_least
        self._values: dict[int, list[float]] = {}

    def add(self, trial: Trial) -> None:
        """Take in the intermediate values of a trial."""
        for step, value in trial.steps:
            insort(self._values.setdefault(step, []), value)

    def by_step(self) -> dict[int, float]:
        """Return the floors of all steps that have one."""
        return {
            step: values[len(values) // 4]
            for step, values in self._values.items()
            if len(values) >= self._at_least
        }
