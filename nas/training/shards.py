"""A batch in shards: each is computed by a thread of its own, and their gradients are added.

The threads of OpenMP spin while they wait for each other, so a training with several of them
collapses where other processes run too; one thread a shard does not. Batch norms normalise each
shard by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas.networks.modules import Dropout, RandomModule

SHARDS = {"cpu": 2}
"""Shards of a batch by the type of the device, unless asked for; 1 on others, which compute a whole
batch in parallel."""

MIN_IMAGES = 8
"""Images of a shard, at least: batch norms of fewer are too noisy. A smaller batch has fewer
shards."""


def default_shards(device: str) -> int:
    """Return how many shards a batch has on a device, such as ``cuda:1``, unless asked for."""
    return SHARDS.get(device.split(":")[0], 1)


def split(indices: Tensor, shards: int) -> tuple[Tensor, ...]:
    """Return a batch in shards of equal size but for one image, the larger ones first.

    Args:
        indices: (images,).
        shards: how many; fewer where a shard would have less than :data:`MIN_IMAGES`.
    """
    return torch.tensor_split(indices, max(1, min(shards, len(indices) // MIN_IMAGES)))


class Replicas:
    """Copies of a network that share its weights, a copy a shard; the first is the network itself.

    Each has buffers of its own, so that the batch norms of all can compute at once, and draws the
    random numbers of its dropout from a generator of its own.

    Args:
        network: what is trained.
        count: how many there are.
        device: of the network.
    """

    def __init__(self, network: nn.Module, count: int, device: str) -> None:
        shared = {id(parameter): parameter for parameter in network.parameters()}
        self._networks = [
            network,
            *(copy.deepcopy(network, dict(shared)) for _ in range(count - 1)),
        ]
        self._generators = [torch.Generator(device) for _ in self._networks]
        self._buffers = [
            [buffer for buffer in one.buffers() if buffer.is_floating_point()]
            for one in self._networks
        ]
        self._features = True
        for one, generator in zip(self._networks, self._generators, strict=True):
            for module in one.train().modules():
                if isinstance(module, RandomModule):
                    module.generator = generator

    def seeded(self, number: int, seed: int) -> nn.Module:
        """Return a replica, in training mode, its random numbers seeded."""
        self._generators[number].manual_seed(seed)
        return self._networks[number]

    def train(self, *, features: bool) -> None:
        """Choose what is in training mode: all of it, or dropout alone.

        Args:
            features: layers before the classifier are trained; otherwise their batch norms
                normalise by the statistics that they have.
        """
        if features == self._features:
            return
        self._features = features
        for one in self._networks:
            one.train(features)
            for module in one.modules():
                if isinstance(module, Dropout):
                    module.train()

    def spread_buffers(self) -> None:
        """Copy the buffers of the network, which are averaged or loaded, to the other replicas."""
        with torch.no_grad():
            for others in self._buffers[1:]:
                torch._foreach_copy_(others, self._buffers[0])

    def average_buffers(self, shares: Sequence[float]) -> None:
        """Set the buffers of the network to the mean over the replicas.

        Running statistics are linear in those of a batch, so that this is what the mean of the
        shards' statistics would have made of them.

        Args:
            shares: weight of each replica; their sum is 1. Further replicas are not counted.
        """
        if len(shares) == 1:
            return
        with torch.no_grad():
            torch._foreach_mul_(self._buffers[0], shares[0])
            for others, share in zip(self._buffers[1:], shares[1:], strict=False):
                torch._foreach_add_(self._buffers[0], others, alpha=share)


def balanced_parts(sizes: Sequence[int], parts: int) -> list[list[int]]:
    """Return the positions of the sizes in groups of about equal sum, each in rising order."""
    groups: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for position in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        smallest = sums.index(min(sums))
        groups[smallest].append(position)
        sums[smallest] += sizes[position]
    return [sorted(group) for group in groups if group]
