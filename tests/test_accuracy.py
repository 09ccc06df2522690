import math
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


def test_pooled_error_is_the_larger_of_the_measurements_and_their_scatter() -> None:
    scattered = pooled([Accuracy(0.4, 0.001, seeds=(1,)), Accuracy(0.6, 0.001, seeds=(2,))])
    assert scattered.mean == pytest.approx(0.5)
    assert scattered.standard_error == pytest.approx(0.1)  # deviation 0.1·√2, over √2
    assert (scattered.n, scattered.seeds, scattered.loss) == (2, (1, 2), None)
    alike = pooled([Accuracy(0.5, 0.03, loss=1.0), Accuracy(0.5, 0.04, loss=2.0)])
    assert alike.standard_error == pytest.approx(0.05 / 2)
    assert alike.loss == pytest.approx(1.5)
    one = Accuracy(0.5, 0.03)
    assert pooled([one]) is one
