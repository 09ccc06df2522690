"""What is said of a search's trials as they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nas.evaluation.objective import ranked
from nas.evaluation.trial import Trial
from nas.progress import ALREADY, Progress
from nas.spaces.budget import amount

REASONS = 5
"""So many kinds of failure are told when they come; the study has them all."""


class Teller:
    """Tells of trials as they end: how many, the best so far, and why some failed."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._best: Trial | None = None
        self._reasons: Counter[str] = Counter()

    def resumed(self, trials: Sequence[Trial]) -> None:
        """Tell of what an earlier session has evaluated."""
        for trial in trials:
            self._take(trial)
        if trials:
            self._progress.advance(len(trials), ALREADY, best=self._words())

    def trial(self, trial: Trial) -> None:
        """Tell of one more."""
        if self._take(trial):
            self._progress.note(f"trial {trial.number} failed: {trial.reason}")
        failed = self._reasons.total()
        self._progress.advance(1, f"{failed} failed" if failed else "", best=self._words())

    def _take(self, trial: Trial) -> bool:
        """Return whether it failed as none has before."""
        rivals = [trial] if self._best is None else [self._best, trial]
        self._best = next(iter(ranked(rivals)), None)
        if trial.state == "failed":
            self._reasons[trial.reason] += 1
        new = trial.state == "failed" and self._reasons[trial.reason] == 1
        return new and len(self._reasons) <= REASONS

    def _words(self) -> str:
        if self._best is None or self._best.accuracy is None:
            return ""
        accuracy = self._best.accuracy
        loss = "" if accuracy.loss is None else f", loss {accuracy.loss:.3f}"
        return f"{accuracy.mean:.4f} at {amount(self._best.cost.flops)} FLOPs{loss}"
