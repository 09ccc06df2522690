"""The trials of a run in columns, compact, so that a page holds thousands and decodes one at will.

A network is a word: a letter for each choice, the place of its value. The page makes the stages of
it again by tables that hold only what occurs (:func:`tables`), and knows nothing of spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.accuracy import Accuracy
from nas.errors import InputError, one_line
from nas.evaluation.objective import Objective, non_dominated, rank_key
from nas.evaluation.study_row import StudyRow
from nas.networks.cost import Cost
from nas.spaces.search_space import SearchSpace, Value

DIGITS = 6
"""Decimals of what was measured of a trial, on the page; its file and the study have all."""

FIRST_LETTER = 48
"""The code point of the letter for a choice's first value: 0."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """The trials of a study, in columns; what a trial does not have is NaN.

    Attributes:
        numbers: of the trials, rising.
        names: of the networks.
        states: ``finished``, ``stopped`` or ``failed``.
        costs: what each costs.
        accuracies: of each; None unless finished.
        scores: what the search maximised.
        reasons: why it failed; empty otherwise.
        values: of each choice, by name, in the space's order where it is known.
        words: of each trial, the place of its value of every choice.
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    states: tuple[str, ...]
    costs: tuple[Cost, ...]
    accuracies: tuple[Accuracy | None, ...]
    scores: Floats
    reasons: tuple[str, ...]
    values: dict[str, tuple[Value, ...]]
    words: NDArray[np.intp]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.numbers)

    @cached_property
    def flops(self) -> Floats:
        """FLOPs of each."""
        return np.array([cost.flops for cost in self.costs], dtype=np.float64)

    def quality(self, objective: Objective) -> Floats:
        """Return what stands for accuracy, of each; NaN where there is none."""
        return np.array(
            [
                np.nan
                if accuracy is None or (objective.rank_by == "loss" and accuracy.loss is None)
                else objective.quality(accuracy)
                for accuracy in self.accuracies
            ]
        )

    def front(self, objective: Objective) -> list[int]:
        """Return where those are that no other beats in both accuracy and FLOPs, by FLOPs."""
        quality = self.quality(objective).tolist()
        finished = self._finished()
        front = non_dominated(
            [quality[i] for i in finished],
            [self.costs[i] for i in finished],
            [self.numbers[i] for i in finished],
        )
        return [finished[index] for index in front]

    def best(self) -> int | None:
        """Return where the best one is (see :func:`nas.evaluation.objective.rank_key`)."""
        return min(
            self._finished(),
            key=lambda i: rank_key(float(self.scores[i]), self.costs[i], self.numbers[i]),
            default=None,
        )

    def _finished(self) -> list[int]:
        return [index for index, state in enumerate(self.states) if state == "finished"]


def trials_of(rows: Sequence[StudyRow], space: SearchSpace | None, where: str) -> Trials:
    """Return the rows of a search's study in columns.

    Raises:
        InputError: a row is not what a search writes; names ``where`` and the trial.
    """
    values = dict(space.choices) if space is not None else _occurring(rows)
    places = {name: {value: i for i, value in enumerate(own)} for name, own in values.items()}
    costs, accuracies, words, scores = [], [], [], []
    for row in rows:
        try:
            accuracy = row.attrs["accuracy"]
            costs.append(Cost(**row.attrs["cost"]))
            accuracies.append(None if accuracy is None else Accuracy(**accuracy))
            words.append([places[name][row.params[name]] for name in values])
            scores.append(np.nan if row.value is None else float(row.value))
            if row.state == "finished" and (accuracy is None or row.value is None):
                raise ValueError("finished without an accuracy")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}: trial {row.number}: cannot be used: {one_line(error, 100)}"
            ) from None
    return Trials(
        numbers=tuple(row.number for row in rows),
        names=tuple(str(row.attrs.get("architecture") or "") for row in rows),
        states=tuple(row.state for row in rows),
        costs=tuple(costs),
        accuracies=tuple(accuracies),
        scores=np.array(scores, dtype=np.float64),
        reasons=tuple(str(row.attrs.get("reason") or "") for row in rows),
        values=values,
        words=np.array(words, dtype=np.intp).reshape(len(rows), len(values)),
    )


def _occurring(rows: Sequence[StudyRow]) -> dict[str, tuple[Value, ...]]:
    """Return the values of each choice that occur, where nobody knows which might."""
    found: dict[str, dict[Value, None]] = {}
    for row in rows:
        for name, value in row.params.items():
            found.setdefault(name, {})[value] = None
    return {
        name: tuple(sorted(values, key=lambda value: (isinstance(value, str), value)))
        for name, values in found.items()
    }


def document(trials: Trials, space: SearchSpace | None) -> dict[str, Any]:
    """Return the trials as the page reads them."""
    prefix = _prefix(trials.names)
    whats: dict[tuple[Any, ...], int] = {}
    which = [
        -1
        if one is None
        else whats.setdefault((one.metric, one.proxy, one.data, one.predicted, one.n), len(whats))
        for one in trials.accuracies
    ]
    losses = [None if one is None else _rounded(one.loss) for one in trials.accuracies]
    contiguous = trials.numbers == tuple(range(len(trials)))
    return {
        "count": len(trials),
        "numbers": None if contiguous else list(trials.numbers),
        "states": "".join({"finished": "f", "stopped": "s"}.get(s, "x") for s in trials.states),
        "prefix": prefix,
        "names": [name[len(prefix) :] for name in trials.names],
        "flops": [cost.flops for cost in trials.costs],
        "params": [cost.params for cost in trials.costs],
        "activations": [cost.activations for cost in trials.costs],
        "mean": [None if one is None else _rounded(one.mean) for one in trials.accuracies],
        "error": [
            None if one is None else _rounded(one.standard_error) for one in trials.accuracies
        ],
        "loss": losses if any(loss is not None for loss in losses) else None,
        "score": [None if np.isnan(score) else _rounded(float(score)) for score in trials.scores],
        "which": which if len(whats) > 1 else None,
        "whats": [
            dict(zip(("metric", "proxy", "data", "predicted", "n"), what, strict=True))
            for what in whats
        ],
        "reasons": {str(index): reason for index, reason in enumerate(trials.reasons) if reason},
        "choices": {name: list(values) for name, values in trials.values.items()},
        "words": "".join(chr(FIRST_LETTER + place) for place in trials.words.ravel().tolist()),
        "decoding": None if space is None else tables(trials, space),
    }


def tables(trials: Trials, space: SearchSpace) -> dict[str, Any]:
    """Return how a word becomes an architecture.

    ``stages`` has for each stage how many letters are its own and, by the width before it and these
    letters, the row of ``rows`` that they make (-1: an identity, which is dropped) and the width
    after it. The first letters, ``before`` these, are of the whole network; ``frame`` is what all
    networks of the space share.
    """
    rows: dict[Any, int] = {}
    stages: list[dict[str, Any]] = []
    widths = [space.stem.width] * len(trials)
    names = list(trials.values)
    first = before = int(bool(space.resolutions))  # the letter of the resolution
    for index, stage in enumerate(space.stages):
        count = len(stage.values())
        own = trials.words[:, first : first + count].tolist()
        values = [trials.values[name] for name in names[first : first + count]]
        made: dict[str, tuple[int, int]] = {}
        for trial, places in enumerate(own):
            key = f"{widths[trial]}:" + "".join(chr(FIRST_LETTER + place) for place in places)
            if key not in made:
                chosen = tuple(options[at] for options, at in zip(values, places, strict=True))
                option = space.filled(index, widths[trial])[chosen]
                row = -1 if option.stage is None else rows.setdefault(option.stage, len(rows))
                made[key] = row, option.width
            widths[trial] = made[key][1]
        stages.append({"letters": count, "made": {key: list(one) for key, one in made.items()}})
        first += count
    return {
        "before": before,
        "frame": {
            "resolution": space.resolution,
            "in_channels": space.in_channels,
            "num_classes": space.num_classes,
            "activation": space.activation,
            **({} if space.padding == "symmetric" else {"padding": space.padding}),
            "norm": asdict(space.norm),
            "stem": asdict(space.stem),
            "head": asdict(space.head),
        },
        "rows": [asdict(stage) for stage in rows],
        "stages": stages,
    }


def _prefix(names: Sequence[str]) -> str:
    """Return how all names begin, up to a hyphen: a network's is its space's and eight digits."""
    prefix = names[0][: names[0].rfind("-") + 1] if names else ""
    return prefix if all(name.startswith(prefix) for name in names) else ""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
