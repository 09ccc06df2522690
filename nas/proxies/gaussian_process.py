"""Fitting a Gaussian process to measured networks: their features, the kernel, the error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nas.networks.cost import Parts, head_cost, stage_cost, stem_cost
from nas.proxies.predictor import Floats, PredictorArrays
from nas.proxies.stage_options import Options, stage_options
from nas.spaces.search_space import SearchSpace

METHOD = (
    "Gaussian process: linear and squared-exponential kernel, a length for each feature by "
    "marginal likelihood; features: each stage's choices, and the logarithms of FLOPs, parameters "
    "and activations of stages and network; standard error by leave-one-out residuals"
)
"""How it is fitted, in words."""

Z90 = 1.6448536
"""90 % of a normal distribution is within so many standard deviations of its mean."""

_BATCH = 1_000
_STEPS = 100
_LEVELS = 10


def unfitted(space: SearchSpace) -> PredictorArrays:
    """Return arrays that hold the features of a space, and no measured network yet."""
    width, size = space.stem.width, -(-space.resolution // space.stem.stride)
    embeddings, sums = [], []
    for stage in space.stages:
        rows, costs = [], []
        for chosen in stage_options(stage):
            made, _ = stage.make(chosen, width)
            cost = Parts(0, 0, 0) if made is None else stage_cost(made, width, size)
            costs.append((*cost, 0 if made is None else made.layers))
            row: list[float] = []
            for field, values in stage.values().items():
                value = chosen[field]
                if len(values) == 2:
                    row.append(float(value == values[1]))
                elif len(values) > 2:
                    row += [float(value == other) for other in values]
            rows.append(row)
        table = np.array(costs, dtype=float)
        logs = np.log1p(table)
        logs = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 1e-9)
        embeddings.append(np.concatenate([np.array(rows, dtype=float), logs], axis=1))
        sums.append(table)
        width, size = stage.width[0], -(-size // stage.stride)
    network = space.architecture(())
    ends = zip(stem_cost(network, space.resolution), head_cost(network, width, size), strict=True)
    nothing = np.zeros(0)
    return PredictorArrays(
        embeddings=tuple(embeddings),
        sums=tuple(sums),
        constant=np.array([*(float(a + b) for a, b in ends), 1.0]),
        centre=np.zeros(4),
        spread=np.ones(4),
        scale=nothing,
        linear=nothing,
        offset=nothing,
        rows=np.zeros((0, len(sums)), dtype=np.int64),
        accuracy=nothing,
        weights=nothing,
        levels=nothing,
        errors=nothing,
    )


class Kernel:
    """The covariance of the accuracies of two networks, by their features."""

    def __init__(self, features: int) -> None:
        self.log_scale = torch.full((features,), math.log(0.12), dtype=torch.float64)
        self.log_linear = torch.full((features,), -3.0, dtype=torch.float64)
        self.log_amplitude = torch.tensor(0.0, dtype=torch.float64)
        self.log_noise = torch.tensor(-2.5, dtype=torch.float64)

    @property
    def parameters(self) -> list[Tensor]:
        return [self.log_scale, self.log_linear, self.log_amplitude, self.log_noise]

    def noisy(self, x: Tensor) -> Tensor:
        """Return the covariance of measurements at ``x``."""
        z, linear = x * self.log_scale.exp(), x * self.log_linear.exp()
        squares = (z * z).sum(1)
        distance = (squares[:, None] + squares[None, :] - 2 * z @ z.T).clamp_min(0)
        smooth = self.log_amplitude.exp() * torch.exp(-0.5 * distance)
        return smooth + linear @ linear.T + self.log_noise.exp() * torch.eye(len(x), dtype=x.dtype)

    def learn(self, x: Tensor, y: Tensor, seed: int) -> None:
        """Maximise the marginal likelihood of random batches, with Adam."""
        for parameter in self.parameters:
            parameter.requires_grad_()
        optimiser = torch.optim.Adam(self.parameters, lr=0.08)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(_STEPS):
            batch = torch.randperm(len(x), generator=generator)[:_BATCH]
            root = torch.linalg.cholesky(self.noisy(x[batch]))
            weights = torch.cholesky_solve(y[batch, None], root)[:, 0]
            loss = 0.5 * y[batch] @ weights + root.diagonal().log().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for parameter in self.parameters:
            parameter.requires_grad_(False)


def learn_kernel(blank: PredictorArrays, options: Options, accuracy: Floats, seed: int) -> Kernel:
    """Return a kernel whose hyperparameters are learned from these rows."""
    arrays = _standardised(blank, options)
    kernel = Kernel(arrays.features(options).shape[1])
    kernel.learn(torch.from_numpy(arrays.features(options)), _in_units(accuracy), seed)
    return kernel


def fit(
    blank: PredictorArrays, options: Options, accuracy: Floats, kernel: Kernel
) -> PredictorArrays:
    """Return the arrays of a process that is conditioned on these rows."""
    arrays = _standardised(blank, options)
    x, y = torch.from_numpy(arrays.features(options)), _in_units(accuracy)
    middle, unit = accuracy.mean(), accuracy.std()
    root = torch.linalg.cholesky(kernel.noisy(x))
    weights = torch.cholesky_solve(y[:, None], root)[:, 0]
    linear = (2 * kernel.log_linear).exp() * (x.T @ weights)
    # Leave-one-out residuals of a Gaussian process (Rasmussen & Williams 2006, eq. 5.12).
    residual = (unit * weights / torch.cholesky_inverse(root).diagonal()).numpy()
    levels, errors = _calibrate(accuracy - residual, np.abs(residual))
    return replace(
        arrays,
        scale=kernel.log_scale.exp().numpy().copy(),
        linear=unit * linear.numpy(),
        offset=np.array([middle]),
        accuracy=accuracy,
        weights=unit * kernel.log_amplitude.exp().item() * weights.numpy(),
        levels=levels,
        errors=errors,
    )


def _standardised(blank: PredictorArrays, options: Options) -> PredictorArrays:
    logs = np.log(blank.totals(options))
    spread = np.maximum(logs.std(axis=0), 1e-9)
    return replace(blank, centre=logs.mean(axis=0), spread=spread, rows=options)


def _in_units(accuracy: Floats) -> Tensor:
    return torch.from_numpy((accuracy - accuracy.mean()) / accuracy.std())


def _calibrate(mean: Floats, residual: Floats) -> tuple[Floats, Floats]:
    """Return levels of the prediction, and the error that covers 90 % of the residuals at each."""
    parts = np.array_split(np.argsort(mean, kind="stable"), _LEVELS)
    levels = np.array([mean[part].mean() for part in parts])
    share = [min(1.0, 0.9 * (1 + 1 / len(part))) for part in parts]  # conformal, finite samples
    errors = [
        np.quantile(residual[part], q, method="higher") / Z90
        for part, q in zip(parts, share, strict=True)
    ]
    return levels, np.array(errors)
