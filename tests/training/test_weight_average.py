"""The moving average of the weights."""

from dataclasses import replace

import pytest
import torch

from nas.networks.architecture import efficientnet_b0
from nas.networks.modules import build
from nas.training.weight_average import WeightAverage


def test_the_average_covers_the_last_steps_and_forgets_the_first() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    average = WeightAverage(layer, horizon=20)
    layer[0].weight.data.fill_(1e6)
    average.update(0, ["0.weight"])
    assert float(average.network[0].weight) == 1e6  # type: ignore[index]
    names = ["0.weight", "1.running_mean"]
    for step in range(1, 1000):
        layer[0].weight.data.fill_(step % 2)
        layer[1].running_mean.fill_(3.0)  # type: ignore[union-attr]
        average.update(step, names)
    assert float(average.network[0].weight) == pytest.approx(0.5, abs=0.05)  # type: ignore[index]
    assert float(average.network[1].running_mean) == pytest.approx(3.0)  # type: ignore[index]
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())


def test_the_average_of_constant_weights_is_these_weights() -> None:
    built = build(replace(efficientnet_b0(), resolution=32))
    average = WeightAverage(built, horizon=5)
    for step in range(10):
        average.update(step, [name for name, _ in built.named_parameters()])
    averaged = average.network.state_dict()
    assert all(torch.equal(averaged[name], value) for name, value in built.state_dict().items())
