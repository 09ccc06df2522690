"""The optimiser of every training: learning rate, weight decay, state."""

import math

import pytest
import torch

from nas.errors import Diverged
from nas.training.divergence import check_finite
from nas.training.optimiser import Optimiser, learning_rate_factor


def parameters() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last)
    return {"weight": weight.requires_grad_(), "bias": torch.ones(4, requires_grad=True)}


def optimiser(parameters: dict[str, torch.Tensor], weight_decay: float = 0.1) -> Optimiser:
    return Optimiser(
        parameters, learning_rate=0.01, weight_decay=weight_decay, warm_up=0.2, steps=10
    )


def train(parameters: dict[str, torch.Tensor], of: Optimiser, steps: range) -> None:
    for step in steps:
        of.zero_grad()
        sum((p - 2).square().sum() for p in parameters.values()).backward()  # type: ignore[union-attr]
        of.step(step)


def test_a_restored_optimiser_goes_on_with_the_same_bytes() -> None:
    whole = parameters()
    train(whole, optimiser(whole), range(10))
    first = parameters()
    before = optimiser(first)
    train(first, before, range(4))
    # In another memory format, as tensors come from a file.
    saved = {name: value.contiguous().clone() for name, value in before.state().items()}
    assert saved.keys() == {f"{p}/{m}" for p in first for m in ("step", "exp_avg", "exp_avg_sq")}
    second = {name: p.detach().clone().requires_grad_() for name, p in first.items()}
    after = optimiser(second)
    after.load_state(saved)
    train(second, after, range(4, 10))
    assert all(torch.equal(whole[name], second[name]) for name in whole)
    kept = {name: value.clone() for name, value in saved.items()}
    train(second, after, range(1))
    assert all(torch.equal(saved[name], kept[name]) for name in saved)  # they are copied


def test_only_weights_decay() -> None:
    found = parameters()
    of = optimiser(found, weight_decay=0.5)
    bias, weight = found["bias"].detach().clone(), found["weight"].detach().clone()
    for parameter in found.values():
        parameter.grad = torch.zeros_like(parameter)
    of.step(2)
    assert torch.equal(found["bias"], bias)
    assert torch.allclose(found["weight"], weight * (1 - 0.5 * of.learning_rate(2)))


def test_the_learning_rate_is_that_of_the_step_times_the_factor() -> None:
    found = parameters()
    of = optimiser(found)
    assert of.learning_rate(2) == 0.01
    assert of.learning_rate(9) < of.learning_rate(5) < 0.01
    assert of.learning_rate(1) == 0.005
    for factor in (1.0, 0.5):
        fresh = parameters()
        fresh_optimiser = optimiser(fresh, weight_decay=0.0)
        before = fresh["bias"].detach().clone()
        fresh["bias"].grad = torch.ones(4)
        fresh_optimiser.step(2, factor)
        # The first step of Adam changes every parameter by the learning rate.
        assert torch.allclose(before - fresh["bias"].detach(), torch.tensor(0.01 * factor))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_divergence(value: float) -> None:
    check_finite(torch.tensor([0.0, 1e30]), "the loss")
    with pytest.raises(Diverged, match="the loss at step 3 of 10 is not finite"):
        check_finite(torch.tensor([0.0, value]), "the loss at step 3 of 10")


def test_the_learning_rate_rises_and_then_falls_to_0() -> None:
    values = [learning_rate_factor(step / 100, 0.2) for step in range(101)]
    assert max(values) == values[20] == 1.0
    assert values[:20] == sorted(values[:20])
    assert values[20:] == sorted(values[20:], reverse=True)
    assert values[100] == pytest.approx(0.0, abs=1e-12)
    assert values[60] == pytest.approx(0.5)
