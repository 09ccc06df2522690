"""Convolutions that train faster on CPUs than the library's own; the same function and gradients.

Small images and narrow networks spend most of a training step where the CPU library is weak: 1×1
convolutions, which are a matrix product, and the weight gradient of depthwise ones of 5×5, or on
maps of a few pixels, where it takes up to 80 times a forward pass. `benchmarks/training.py` shows
what it brings.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the 1×1 convolution of (n, c, h, w) by (o, c, 1, 1) and perhaps (o,): (n, o, h, w).

    As one matrix product over pixels, which needs no copy where ``x`` is in channels_last.
    """
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def depthwise(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Return the depthwise convolution of (n, c, h, w) by (c, 1, k, k), padded by k // 2."""
    kernel, size = weight.shape[2], -(-x.shape[2] // stride)
    if kernel == 1 or size > (4 if kernel > 3 else 2) or not weight.requires_grad:
        return F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=len(weight))
    result: Tensor = _Depthwise.apply(x, weight, stride)  # type: ignore[no-untyped-call]
    return result


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose weight gradient is taken tap by tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_input, of_weight = None, None
        if ctx.needs_input_grad[0]:
            pad, stride, groups = weight.shape[2] // 2, ctx.stride, len(weight)
            of_input = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [stride, stride], [pad, pad], [1, 1], False, [0, 0],
                groups, [True, False, False],
            )[0]  # fmt: skip
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, gradient, weight.shape[2], ctx.stride)
        return of_input, of_weight, None


def _weight_gradient(x: Tensor, gradient: Tensor, kernel: int, stride: int) -> Tensor:
    """Return (c, 1, k, k); a tap that only ever sees padding has a gradient of 0."""
    pixels, out = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    taps = pixels.new_zeros(kernel * kernel, pixels.shape[3])
    for i in range(kernel):
        rows = _seen(i - kernel // 2, stride, pixels.shape[1], out.shape[1])
        for j in range(kernel):
            columns = _seen(j - kernel // 2, stride, pixels.shape[2], out.shape[2])
            if rows is not None and columns is not None:
                seen = pixels[:, rows[0], columns[0]] * out[:, rows[1], columns[1]]
                torch.sum(seen, (0, 1, 2), out=taps[i * kernel + j])
    return taps.t().reshape(-1, 1, kernel, kernel)


def _seen(offset: int, stride: int, size: int, out: int) -> tuple[slice, slice] | None:
    """Return which input places a tap sees inside the image, and for which outputs."""
    first = max(0, -(offset // stride)) if offset < 0 else 0
    last = min(out - 1, (size - 1 - offset) // stride)
    if last < first:
        return None
    start = first * stride + offset
    return slice(start, last * stride + offset + 1, stride), slice(first, last + 1)


class Pointwise(nn.Conv2d):
    """A 1×1 convolution as a matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, o, h, w)."""
        return pointwise(x, self.weight, self.bias)


class Depthwise(nn.Conv2d):
    """A depthwise convolution with a quick weight gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h', w')."""
        if self.bias is not None:  # folded: nothing is trained any more
            return super().forward(x)
        return depthwise(x, self.weight, self.stride[0])


def lay_out(network: nn.Module, device: str) -> None:
    """Bring a network into the memory format, and on a CPU to the convolutions, that are fastest.

    Parameters, their names and what is computed stay.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device == "cpu":
        quicken(network)


def fold_norms(network: nn.Module) -> None:
    """Multiply the batch norms of a network in eval mode into the convolutions before them.

    It then computes the same, to rounding, in less time, and can no longer be trained.
    """
    for module in network.modules():
        if isinstance(module, nn.Sequential) and len(module) > 1:
            conv, norm = module[0], module[1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def quicken(network: nn.Module) -> None:
    """Let a network's layers compute the faster way to train; parameters and names stay."""
    for module in network.modules():
        if type(module) is nn.Conv2d:
            if module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1:
                module.__class__ = Pointwise
            elif module.groups == module.in_channels == module.out_channels and (
                module.bias is None and module.padding == (module.kernel_size[0] // 2,) * 2
            ):
                module.__class__ = Depthwise
        elif isinstance(module, nn.SiLU | nn.Hardswish):
            # Their gradient needs the input: in place, it would be copied first.
            module.inplace = False
