"""The shared weights of a supernet: the weights of a network are slices of shared tensors."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas.networks.architecture import Layer, stage_layers
from nas.networks.fast_convolution import quicken
from nas.networks.modules import Block, Network, block, build, head, stem
from nas.networks.pretrained import Normalisation, Pretrained
from nas.spaces.search_space import Choices, SearchSpace, StageSpace, Value
from nas.training.inheritance import inherit_into

NetworkPath = tuple[tuple[str, Layer], ...]
"""A network as a path through the supernet: its layers, each with its place in the space."""


@dataclass(frozen=True)
class _SharedModule:
    """A module of a network, without weights of its own.

    Attributes:
        prefix: its name in :class:`nas.networks.modules.Network`.
        module: what computes, given weights.
        banks: the name of the bank that each of its tensors is a slice of.
    """

    prefix: str
    module: nn.Module
    banks: dict[str, str]


@dataclass
class _Extent:
    """The shapes of the largest and the smallest slice of a bank.

    Attributes:
        largest: in each dimension; the shape of the bank.
        smallest: in each dimension.
        residual: every slice belongs to a block that is added to its input.
    """

    largest: tuple[int, ...]
    smallest: tuple[int, ...]
    residual: bool = True

    def include(self, shape: tuple[int, ...], residual: bool) -> None:
        pairs = list(zip_longest(self.largest, shape, self.smallest, fillvalue=0))
        self.largest = tuple(max(a, b) for a, b, _ in pairs)
        self.smallest = tuple(min(b, c) for _, b, c in pairs)
        self.residual &= residual


class SharedWeights:
    """The weights of every network of a space, shared wherever networks agree.

    A place is a stage and a layer of it. At each place, every tensor of each kind of block (MBConv,
    fused MBConv, skip) has a bank: a tensor of the shape that the largest such block needs. A
    smaller block uses its first channels and the centre of its kernels.

    Training one network overwrites what others have learned, unless a weight has the same role in
    all of them. So all networks are initialised to the same function: weights that only larger
    blocks use (the outer rings of a kernel, further input channels) are 0, and the expansion of an
    MBConv is the identity on its first channels, as if there were none.

    Batch norms have no running statistics: in training they normalise by each batch, and for a
    network that is taken out of the supernet they are measured on training images.

    Args:
        space: of the networks, with the widths at which they are trained.
        seed: of the initial weights.
        device: of the weights.
    """

    def __init__(self, space: SearchSpace, seed: int, device: str = "cpu") -> None:
        self.space = space
        self._empty = space.architecture(())
        self._threads = threading.local()
        self._device = device
        self._packed: tuple[list[int], Tensor] | None = None
        self.banks = {
            name: bank.to(device).requires_grad_() for name, bank in self._initial(seed).items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all banks."""
        return sum(bank.nbytes for bank in self.banks.values())

    def path(self, choices: Choices) -> NetworkPath:
        """Return the path of the network that choices of the space describe."""
        found: list[tuple[str, Layer]] = []
        width = self.space.stem.width
        for index, stage in enumerate(self.space.stages):
            values = tuple(choices[f"stage{index + 1}.{name}"] for name in stage.values())
            option = self.space.filled(index, width)[values]
            layers = stage_layers(option.stage, width) if option.stage else ()
            found += ((_place(index, number), layer) for number, layer in enumerate(layers))
            width = option.width
        return tuple(found)

    def leaves(self, path: NetworkPath) -> dict[str, Tensor]:
        """Return the banks that a path uses, by name, as new autograd leaves on the same memory.

        Gradients are taken with respect to these. Threads must not build graphs on the same leaf:
        PyTorch locks it, in some operations while it holds the interpreter's lock and in others
        before it waits for that, so two threads could deadlock.
        """
        names = (name for part in self._parts(path) for name in part.banks.values())
        return {name: self.banks[name].detach().requires_grad_() for name in dict.fromkeys(names)}

    def forward(self, path: NetworkPath, images: Tensor, banks: dict[str, Tensor]) -> Tensor:
        """Return the logits of images, normalised by batch statistics; thread-safe.

        Args:
            path: of the network.
            images: (batch, in_channels, h, w).
            banks: those that the path uses, by name; for gradients, leaves of one thread alone.
        """
        x = images
        for part in self._parts(path):
            slices = _slices(part, banks)
            x = functional_call(part.module, slices, (x,), tie_weights=False)
        return x

    def network(self, choices: Choices) -> Network:
        """Return a network of the space with a copy of its weights.

        Its batch norms have no statistics yet: they average over the batches that it is given in
        train mode.
        """
        with torch.device("meta"):
            network = Network(self.space.decode(choices))
        network.to_empty(device=self.banks["stem.0.weight"].device)
        own = dict(network.named_parameters())
        with torch.no_grad():
            for part in self._parts(self.path(choices)):
                for name, values in _slices(part, self.banks).items():
                    own[f"{part.prefix}.{name}"].copy_(values)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        return network

    def inherit(
        self, weights: Pretrained, images: Tensor | None, normalisation: Normalisation
    ) -> None:
        """Let the largest network of the space inherit trained weights; the others share them.

        The channels of the source are sorted by their importance, so that the first ones, which
        smaller networks use, are the best choice. Kinds of blocks that this network does not have
        keep their new weights.

        Args:
            weights: trained weights.
            images: uint8 (n, channels, h, w), on which gates that are not kept are measured; None:
                they are estimated.
            normalisation: of the images.
        """
        choices = largest_choices(self.space)
        largest = self.space.decode(choices)
        network = build(largest, zero_init_residual=True)
        inherit_into(network, largest, weights, images, normalisation, ordered=True)
        own = dict(network.named_parameters())
        with torch.no_grad():
            for part in self._parts(self.path(choices)):
                for name, tensor in part.module.named_parameters():
                    values = own[f"{part.prefix}.{name}"]
                    _slice(self.banks[part.banks[name]], tensor.shape).copy_(values)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs: the banks, without the modules of each thread.

        They are packed into one tensor, since every tensor that processes share takes a file
        descriptor in each of them, and there are hundreds of banks. It is kept until a bank
        changes.
        """
        banks = self.banks.values()
        versions = [bank._version for bank in banks]
        if self._packed is None or self._packed[0] != versions:
            self._packed = versions, torch.cat([bank.detach().flatten() for bank in banks])
        layout = {name: (bank.shape, bank.stride()) for name, bank in self.banks.items()}
        state = {"space": self.space, "_device": self._device}
        return {**state, "packed": self._packed[1], "layout": layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the banks from the packed tensor."""
        layout = state.pop("layout")
        parts = state.pop("packed").split([math.prod(shape) for shape, _ in layout.values()])
        self.__dict__.update(state)
        self.banks = {}
        for (name, (shape, stride)), part in zip(layout.items(), parts, strict=True):
            bank = torch.empty_strided(shape, stride, dtype=part.dtype, device=part.device)
            self.banks[name] = bank.copy_(part.view(shape)).requires_grad_()
        self._packed = None
        self._empty = self.space.architecture(())
        self._threads = threading.local()

    def _parts(self, path: NetworkPath) -> Iterator[_SharedModule]:
        yield self._stem()
        for index, (place, layer) in enumerate(path):
            yield self._block(f"blocks.{index}", place, layer)
        yield self._head(path[-1][1].width if path else self.space.stem.width)

    def _stem(self) -> _SharedModule:
        module = self._module("stem", lambda: stem(self._empty))
        return _SharedModule("stem", module, _named(module, lambda name: f"stem.{name}"))

    def _block(self, prefix: str, place: str, layer: Layer) -> _SharedModule:
        space = self.space
        module = self._module(
            layer, lambda: block(layer, space.activation, space.norm, padding=space.padding)
        )
        banks = _named(module, lambda name: f"{place}.{_role(layer, name)}")
        return _SharedModule(prefix, module, banks)

    def _head(self, width: int) -> _SharedModule:
        module = self._module(("head", width), lambda: head(self._empty, width))
        return _SharedModule("head", module, _named(module, lambda name: f"head.{name}"))

    def _module(self, key: Hashable, make: Callable[[], nn.Module]) -> nn.Module:
        """Return a module without weights, of this thread alone: it is given weights in use."""
        made: dict[Hashable, nn.Module] = self._threads.__dict__.setdefault("made", {})
        if key not in made:
            with torch.device("meta"):
                module = make()
            for inner in module.modules():
                if isinstance(inner, nn.BatchNorm2d):
                    inner.track_running_stats = False
                    inner.running_mean = inner.running_var = inner.num_batches_tracked = None
                elif isinstance(inner, nn.Dropout):
                    inner.p = 0.0  # shared weights underfit as it is
            if self._device == "cpu":
                quicken(module)
            made[key] = module
        return made[key]

    def _initial(self, seed: int) -> dict[str, Tensor]:
        extents: dict[str, _Extent] = {}

        def include(part: _SharedModule) -> None:
            residual = isinstance(part.module, Block) and part.module.residual
            for name, tensor in part.module.named_parameters():
                shape = tuple(tensor.shape)
                extent = extents.setdefault(part.banks[name], _Extent(shape, shape))
                extent.include(shape, residual)

        include(self._stem())
        widths = {self.space.stem.width}
        for index in range(len(self.space.stages)):
            options = [(w, o) for w in sorted(widths) for o in self.space.options(index, w)]
            for width, option in options:
                layers = stage_layers(option.stage, width) if option.stage else ()
                for number, layer in enumerate(layers):
                    include(self._block("", _place(index, number), layer))
            widths = {option.width for _, option in options}
        for width in sorted(widths):
            include(self._head(width))
        generator = torch.Generator().manual_seed(seed)
        return {name: _initial_values(name, extents[name], generator) for name in sorted(extents)}


def largest_choices(space: SearchSpace) -> Choices:
    """Return choices of the network with the most of everything; of kinds of blocks, the largest.

    That is the kind with the most weights at the first of the widths.
    """
    chosen: dict[str, Value] = {}
    width = space.stem.width
    for index, stage in enumerate(space.stages, 1):
        values = stage.values()
        numbers = {name: max(v) for name, v in values.items() if name not in ("op", "block")}
        kinds = [name for name in ("op", "block") if name in values]
        made = [numbers | {name: v} for name in kinds for v in values[name]] or [numbers]
        largest = max(made, key=partial(_stage_weights, stage, width))
        chosen |= {f"stage{index}.{name}": value for name, value in largest.items()}
        width = stage.make(largest, width)[1]
    return {name: chosen[name] if name in chosen else max(v) for name, v in space.choices.items()}


def _stage_weights(stage: StageSpace, width: int, chosen: Mapping[str, Value]) -> int:
    made, _ = stage.make(chosen, width)
    return 0 if made is None else sum(layer.weights for layer in stage_layers(made, width))


def _place(stage: int, layer: int) -> str:
    return f"stage{stage + 1}.layer{layer + 1}"


def _named(module: nn.Module, rename: Callable[[str], str]) -> dict[str, str]:
    return {name: rename(name) for name, _ in module.named_parameters()}


def _role(layer: Layer, name: str) -> str:
    """Return the name of a tensor of a block by its role, which is the name of its bank.

    Its name in the module depends on its position: ``branch.1.0.weight`` is the depthwise
    convolution of an MBConv with an expansion, and the projection of one without.
    """
    if layer.op == "skip":
        return f"skip.{name}"
    _, index, rest = name.split(".", 2)
    return f"{layer.op}.{_branch(layer)[int(index)]}.{rest}"


def _branch(layer: Layer) -> list[str]:
    """Return the roles of the modules of a block's branch, in their order."""
    gate = ["gate"] if layer.se_width else []
    if layer.op == "mbconv":
        expand = ["expand"] if layer.expansion != 1 else []
        return [*expand, "depthwise", *gate, "project"]
    return ["fused", *gate, "project"] if layer.expansion != 1 else ["single"]


def _slices(part: _SharedModule, banks: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: _slice(banks[part.banks[name]], tensor.shape)
        for name, tensor in part.module.named_parameters()
    }


def _slice(bank: Tensor, shape: torch.Size) -> Tensor:
    """Return the first channels of a bank, and the centre of its kernel."""
    if bank.shape == shape:
        return bank
    for dim, size in enumerate(shape):
        if bank.shape[dim] != size:
            bank = bank.narrow(dim, (bank.shape[dim] - size) // 2 if dim > 1 else 0, size)
    return bank


def _initial_values(name: str, extent: _Extent, generator: torch.Generator) -> Tensor:
    """Return the initial values of a bank, with the distribution that :func:`nas.build` uses."""
    shape = extent.largest
    if len(shape) == 1:
        # A residual branch is initialised to 0 (Goyal et al. 2017, section 5.1).
        last = name.endswith(("project.1.weight", "single.1.weight"))
        zero = name.endswith("bias") or (last and extent.residual)
        return torch.zeros(shape) if zero else torch.ones(shape)
    if len(shape) == 2:
        bound = 1 / math.sqrt(max(shape))
        return (2 * torch.rand(shape, generator=generator) - 1) * bound
    values = torch.randn(shape, generator=generator)
    values *= math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
    common = torch.zeros(shape)
    same = torch.Size((shape[0], *extent.smallest[1:]))
    _slice(common, same).copy_(_slice(values, same))
    if name.endswith("mbconv.expand.0.weight"):
        channels = torch.arange(extent.smallest[1])
        common[channels] = 0
        common[channels, channels] = 1
    return common.to(memory_format=torch.channels_last)
