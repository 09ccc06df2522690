"""The quick convolutions are the library's, gradients included."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.networks.architecture import efficientnet_b0
from nas.networks.compound_scaling import scale
from nas.networks.fast_convolution import (
    Depthwise,
    Pointwise,
    depthwise,
    fold_norms,
    pointwise,
    quicken,
)
from nas.networks.modules import build


def gradients(function: object, *tensors: Tensor) -> tuple[Tensor, ...]:
    own = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = function(*own)  # type: ignore[operator]
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return (out, *torch.autograd.grad((out * weights).sum(), own))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (7, 7), (4, 2)])
def test_depthwise(kernel: int, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, *size, dtype=torch.double).to(memory_format=torch.channels_last)
    weight = torch.randn(6, 1, kernel, kernel, dtype=torch.double)

    def plain(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, stride=stride, padding=kernel // 2, groups=6)

    ours = gradients(lambda x, w: depthwise(x, w, stride), x, weight)
    for mine, theirs in zip(ours, gradients(plain, x, weight), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("format_", [torch.channels_last, torch.contiguous_format])
def test_pointwise(format_: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, 4, 5, dtype=torch.double).to(memory_format=format_)
    weight, bias = torch.randn(7, 6, 1, 1, dtype=torch.double), torch.randn(7, dtype=torch.double)
    ours = gradients(pointwise, x, weight, bias)
    for mine, theirs in zip(ours, gradients(F.conv2d, x, weight, bias), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert pointwise(x, weight).is_contiguous(memory_format=torch.channels_last)


def test_without_a_gradient_to_take_nothing_is_kept() -> None:
    x = torch.randn(2, 4, 2, 2, dtype=torch.double)
    weight = torch.randn(4, 1, 5, 5, dtype=torch.double)
    torch.testing.assert_close(depthwise(x, weight), F.conv2d(x, weight, padding=2, groups=4))
    only = gradients(lambda x: depthwise(x, weight), x)
    plain = gradients(lambda x: F.conv2d(x, weight, padding=2, groups=4), x)
    for mine, theirs in zip(only, plain, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_quickened_network_is_the_same_network() -> None:
    torch.manual_seed(0)
    network = build(scale(efficientnet_b0(), width=0.5, resolution=32)).double()
    quick = copy.deepcopy(network)
    quicken(quick)
    kinds = {type(module) for module in quick.modules()}
    assert {Pointwise, Depthwise, nn.Conv2d} <= kinds
    assert list(quick.state_dict()) == list(network.state_dict())
    x = torch.randn(4, 3, 32, 32, dtype=torch.double)
    for one in (network, quick):
        for module in one.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        one(x).square().mean().backward()
    for mine, theirs in zip(quick.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    for mine, theirs in zip(quick.buffers(), network.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_folded_network_computes_the_same() -> None:
    torch.manual_seed(0)
    network = build(scale(efficientnet_b0(), width=0.5, resolution=32)).double()
    x = torch.randn(8, 3, 32, 32, dtype=torch.double)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_()
                module.bias.normal_()
        network(x)
        expected = network.eval()(x)
        for quick in (False, True):
            folded = copy.deepcopy(network)
            if quick:
                quicken(folded)
            fold_norms(folded)
            assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
            torch.testing.assert_close(folded(x), expected)
