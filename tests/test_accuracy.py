import math
import random
from typing import Any

import pytest
from pydantic import ValidationError

from nas.accuracy import Accuracy, pooled


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": math.nan},
        {"mean": 1.01},
        {"mean": -0.01},
        {"mean": "0.5"},
        {"standard_error": math.inf},
        {"standard_error": -1.0},
        {"n": 0},
        {"loss": math.nan},
        {"loss": -0.1},
        {"seeds": ("a",)},
        {"unknown": 1},
    ],
)
def test_what_is_no_accuracy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Accuracy(**{"mean": 0.5, "standard_error": 0.0, **wrong})


def test_plain_data_and_back() -> None:
    accuracy = Accuracy(0.75, 0.01, 3, (1, 2, 3), 0.5, "top-1", "training", "digits", True)
    assert accuracy.to_dict() == {
        "mean": 0.75,
        "standard_error": 0.01,
        "n": 3,
        "seeds": [1, 2, 3],
        "loss": 0.5,
        "metric": "top-1",
        "proxy": "training",
        "data": "digits",
        "predicted": True,
    }
    assert Accuracy(**accuracy.to_dict()) == accuracy


def test_likelihood_ranks_like_the_loss() -> None:
    assert Accuracy(0.5, 0.0, loss=0.0).likelihood == 1.0
    assert Accuracy(0.5, 0.0, loss=math.log(4)).likelihood == pytest.approx(0.25)
    with pytest.raises(ValueError, match="no loss"):
        _ = Accuracy(0.5, 0.0).likelihood


def test_the_pooled_error_is_of_the_images_and_of_the_seeds() -> None:
    scattered = pooled([Accuracy(0.4, 0.0, seeds=(1,)), Accuracy(0.6, 0.0, seeds=(2,))])
    assert scattered.mean == pytest.approx(0.5)
    assert scattered.standard_error == pytest.approx(0.1)  # deviation 0.1·√2, over √2
    assert (scattered.n, scattered.seeds, scattered.loss) == (2, (1, 2), None)
    alike = pooled([Accuracy(0.5, 0.03, loss=1.0), Accuracy(0.5, 0.04, loss=2.0)])
    assert alike.standard_error == pytest.approx(0.05 / math.sqrt(2))  # more seeds, the same images
    assert alike.loss == pytest.approx(1.5)
    both = pooled([Accuracy(0.4, 0.1), Accuracy(0.6, 0.1)])
    assert both.standard_error == pytest.approx(0.1 * math.sqrt(2))
    one = Accuracy(0.5, 0.03)
    assert pooled([one]) is one


def test_intervals_of_pooled_accuracies_hold_as_often_as_they_say() -> None:
    """Three seeds on the same 500 images, of networks that differ by two points a seed."""
    rng = random.Random(0)
    truth, images, held, times = 0.8, 500, 0, 400
    for _ in range(times):
        hardness = [rng.random() for _ in range(images)]
        found = []
        for _ in range(3):
            mean = truth + rng.gauss(0, 0.02)
            # Nine parts of ten an image is right or wrong for what it is, one part by chance.
            right = sum((h if rng.random() < 0.9 else rng.random()) < mean for h in hardness)
            share = right / images
            found.append(Accuracy(share, math.sqrt(share * (1 - share) / images)))
        one = pooled(found)
        held += abs(one.mean - truth) <= 1.96 * one.standard_error
    assert held / times >= 0.92
