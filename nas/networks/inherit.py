"""Weights of one network as the first weights of another: cut, padded and rearranged.

Inherited weights are described by Net2Net (Chen et al. 2016), FNA (Fang et al. 2020) and
Once-for-all (Cai et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas.networks.architecture import Activation, Architecture, Layer, Stage, stage_layers
from nas.networks.modules import activate

OPEN_GATE = 2.0
"""Logit of a squeeze-excite gate that is added: it is nearly open, and its sigmoid can still be
trained. What follows is divided by the gate, so that the function stays the same."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)

Tensors = Mapping[str, Tensor]
Gates = Mapping[str, Tensor]
"""Mean gate of every channel, by the name of the squeeze-excite module."""


@dataclass(frozen=True)
class _Source:
    """A network whose weights are inherited.

    Attributes:
        tensors: its state dict.
        architecture: of the network.
        gates: mean gates that were measured; others are estimated from the batch norms.
    """

    tensors: Tensors
    architecture: Architecture
    gates: Gates


@dataclass(frozen=True)
class _Placed:
    """A stage of a network, and where its layers are.

    Attributes:
        stage: its row.
        layers: as they are built.
        first: number of its first block.
        entry: number of the residual stream that it reads; the stem writes stream 0.
        exit: of the stream that it writes.
        scale: stride of the whole network after it.
    """

    stage: Stage
    layers: tuple[Layer, ...]
    first: int
    entry: int
    exit: int
    scale: int


def inherited(
    tensors: Tensors,
    known: Architecture,
    architecture: Architecture,
    fresh: Tensors,
    gates: Gates | None = None,
    *,
    ordered: bool = False,
) -> dict[str, Tensor]:
    """Return first weights of a network, made of the weights of another one.

    Of kernels the centre is kept, or they are padded with zeros. Of channels the most important
    ones are kept; channels that the other network does not have keep their new weights, and
    whatever reads them begins at zero. Stages are paired in order; of their layers the first are
    kept, and layers that are added begin as identities. A squeeze-excite that is added begins as an
    open gate; one that is not there any more is replaced by its mean gate.

    The function is the same where the target contains the source: where both have the same
    operations, strides, activation, padding and resolution, expansions of 1 stay 1, inputs are
    added to outputs at the same layers, and nothing is smaller than in the source.

    Args:
        tensors: state dict of the source, in the names of :class:`nas.networks.modules.Network`.
        known: its architecture; channels of the images and classes as in ``architecture``.
        architecture: the target.
        fresh: state dict of the target with new weights, whose residual branches begin at zero.
        gates: mean gates that were measured; None: they are estimated from the batch norms.
        ordered: sort channels by their importance even where all of them are kept, so that the
            first channels are the best choice of any number of them.
    """
    source = _Source(tensors, known, gates or {})
    return _Inheritance(source, architecture, dict(fresh), ordered).all()


class _Inheritance:
    """One target that inherits from one source."""

    def __init__(
        self, source: _Source, target: Architecture, tensors: dict[str, Tensor], ordered: bool
    ) -> None:
        self._source = source
        self._target = target
        self._old = source.tensors
        self._new = tensors
        self._ordered = ordered
        self._from = placed_stages(source.architecture)
        self._to = placed_stages(target)
        self._streams = _stream_importance(source, self._from)
        self._orders = [torch.argsort(one, descending=True, stable=True) for one in self._streams]

    def all(self) -> dict[str, Tensor]:
        """Return the state dict of the target."""
        old, new = self._source.architecture, self._target
        colours = torch.arange(new.in_channels)
        self._conv("stem.0", "stem.0", self._stream(0, new.stem.width), colours)
        self._norm("stem.1", "stem.1", self._stream(0, new.stem.width))
        for one, other in paired(self._from, self._to):
            self._stage(one, other)
        last = self._to[-1].stage.width if self._to else new.stem.width
        entry = self._from[-1].exit if self._from else 0
        head = self._chosen(_head_importance(self._source), new.head.width)
        self._conv("head.0.0", "head.0.0", head, self._stream(entry, last))
        self._norm("head.0.1", "head.0.1", head)
        if old.num_classes == new.num_classes:
            self._conv("head.4", "head.4", torch.arange(new.num_classes), head)
        return self._new

    def _stream(self, stream: int, width: int) -> Tensor:
        """Return which channel of a stream each of ``width`` channels is; -1: a new one."""
        return self._pick(self._orders[stream], width)

    def _chosen(self, importance: Tensor, width: int) -> Tensor:
        return self._pick(torch.argsort(importance, descending=True, stable=True), width)

    def _pick(self, order: Tensor, width: int) -> Tensor:
        count = len(order)
        if width < count or self._ordered:
            kept = order[:width]
            kept = kept if self._ordered else kept.sort().values
        else:
            kept = torch.arange(count)
        return torch.cat([kept, kept.new_full((max(0, width - len(kept)),), -1)])

    def _stage(self, old: _Placed, new: _Placed) -> None:
        pairs = zip(old.layers, new.layers, strict=False)
        for number, (have, want) in enumerate(pairs):
            entry = self._stream(old.entry if number == 0 else old.exit, want.in_width)
            leaving = self._stream(old.exit, want.width)
            theirs, ours = f"blocks.{old.first + number}", f"blocks.{new.first + number}"
            if {have.op, want.op} == {"skip"}:
                self._conv(f"{theirs}.0", f"{ours}.0", leaving, entry)
                self._norm(f"{theirs}.1", f"{ours}.1", leaving)
            elif "skip" not in (have.op, want.op):
                self._block(theirs, have, ours, want, entry, leaving)

    def _block(
        self, theirs: str, have: Layer, ours: str, want: Layer, entry: Tensor, leaving: Tensor
    ) -> None:
        """Fill a block; what only one of the two blocks has is approximated."""
        old, new = _parts(theirs, have), _parts(ours, want)
        if "single" in old or "single" in new:
            if "single" in old and "single" in new:
                self._conv(f"{old['single']}.0", f"{new['single']}.0", leaving, entry)
                self._norm(f"{old['single']}.1", f"{new['single']}.1", leaving)
            return
        inner = self._inner(theirs, have, want, entry)
        if "expand" in old and "expand" in new:
            if have.op == want.op or "depthwise" not in old | new:
                self._conv(f"{old['expand']}.0", f"{new['expand']}.0", inner, entry)
                self._norm(f"{old['expand']}.1", f"{new['expand']}.1", inner)
            elif have.op == "mbconv":
                self._fuse(old, new, inner, entry)
            else:
                self._separate(old, new, inner, entry)
        elif "expand" in new:
            self._expand_by_identity(new["expand"], entry, inner)
            if "depthwise" not in new:  # fused: the depthwise convolution on the diagonal
                self._on_diagonal(old, new, entry)
        if "depthwise" in old and "depthwise" in new:
            self._conv(f"{old['depthwise']}.0", f"{new['depthwise']}.0", inner, None)
            self._norm(f"{old['depthwise']}.1", f"{new['depthwise']}.1", inner)
        self._conv(f"{old['project']}.0", f"{new['project']}.0", leaving, inner)
        self._norm(f"{old['project']}.1", f"{new['project']}.1", leaving)
        self._gate(old, have, new, want, inner)

    def _inner(self, theirs: str, have: Layer, want: Layer, entry: Tensor) -> Tensor:
        """Return which inner channel of the source each inner channel of the target is."""
        importance = _inner_importance(self._source, theirs, have)
        wanted = want.in_width * want.expansion
        if have.expansion == 1:  # the inner channels are those of the stream
            return torch.cat([entry, entry.new_full((wanted - len(entry),), -1)])
        if want.expansion != 1:
            return self._chosen(importance, wanted)
        # No expansion any more: of each channel of the stream, the inner one that is most of it.
        expand = self._old[f"{_parts(theirs, have)['expand']}.0.weight"].abs().sum((2, 3))
        return torch.where(entry < 0, -1, (expand * importance[:, None])[:, entry].argmax(0))

    def _gate(
        self,
        old: Mapping[str, str],
        have: Layer,
        new: Mapping[str, str],
        want: Layer,
        inner: Tensor,
    ) -> None:
        project = f"{new['project']}.0.weight"
        if have.se_width and want.se_width:
            squeeze = self._chosen(self._squeeze_importance(old["gate"]), want.se_width)
            self._conv(f"{old['gate']}.reduce", f"{new['gate']}.reduce", squeeze, inner)
            self._conv(f"{old['gate']}.expand", f"{new['gate']}.expand", inner, squeeze)
        elif want.se_width:
            expand = f"{new['gate']}.expand"
            self._new[f"{expand}.weight"] = torch.zeros_like(self._new[f"{expand}.weight"])
            self._new[f"{expand}.bias"] = torch.full_like(self._new[f"{expand}.bias"], OPEN_GATE)
            self._new[project] = self._new[project] / (1 / (1 + math.exp(-OPEN_GATE)))
        elif have.se_width:
            gate = _mean_gate(self._source, old, have)
            factor = torch.where(inner < 0, gate.new_ones(()), gate[inner])
            self._new[project] = self._new[project] * factor[:, None, None]

    def _squeeze_importance(self, gate: str) -> Tensor:
        reduce, expand = (self._old[f"{gate}.{name}.weight"] for name in ("reduce", "expand"))
        return _norms(reduce.flatten(1), 1) * _norms(expand.flatten(1), 0)

    def _expand_by_identity(self, expand: str, entry: Tensor, inner: Tensor) -> None:
        """Let an expansion that the source does not have repeat the stream."""
        weight = self._new[f"{expand}.0.weight"].clone()
        size = weight.shape[-1]
        kept = int((inner >= 0).sum())
        weight[inner >= 0] = 0
        places = torch.nonzero(entry >= 0).flatten()[:kept]
        weight[places, places, size // 2, size // 2] = 1
        self._new[f"{expand}.0.weight"] = weight

    def _on_diagonal(self, old: Mapping[str, str], new: Mapping[str, str], entry: Tensor) -> None:
        name = f"{new['expand']}.0.weight"
        weight = self._new[name].clone()
        places = torch.nonzero(entry >= 0).flatten()
        kernel = of_kernel(self._old[f"{old['depthwise']}.0.weight"], weight.shape[-1])
        weight[places, places] = kernel[entry[places], 0]
        self._new[name] = weight
        rows = torch.full((len(weight),), -1)
        rows[places] = entry[places]
        self._norm(f"{old['depthwise']}.1", f"{new['expand']}.1", rows)

    def _fuse(
        self, old: Mapping[str, str], new: Mapping[str, str], inner: Tensor, entry: Tensor
    ) -> None:
        """Make one convolution of an expansion and a depthwise one; what lies between is lost."""
        norm = _Norm.of(self._old, f"{old['expand']}.1", self._source.architecture.norm.eps)
        expand = self._old[f"{old['expand']}.0.weight"] * norm.scale[:, None, None, None]
        kernel = expand * self._old[f"{old['depthwise']}.0.weight"]
        self._fill(f"{new['expand']}.0.weight", kernel, inner, entry)
        self._norm(f"{old['depthwise']}.1", f"{new['expand']}.1", inner)

    def _separate(
        self, old: Mapping[str, str], new: Mapping[str, str], inner: Tensor, entry: Tensor
    ) -> None:
        """Split a convolution into an expansion and a depthwise one: the nearest of rank 1."""
        kernel = self._old[f"{old['expand']}.0.weight"]
        u, s, v = torch.linalg.svd(kernel.flatten(2), full_matrices=False)
        size = kernel.shape[-1]
        root = s[:, :1].sqrt()
        self._fill(f"{new['expand']}.0.weight", (u[:, :, 0] * root)[..., None, None], inner, entry)
        depthwise = (v[:, 0] * root).reshape(-1, 1, size, size)
        self._fill(f"{new['depthwise']}.0.weight", depthwise, inner, None)
        self._norm(f"{old['expand']}.1", f"{new['depthwise']}.1", inner)

    def _conv(self, theirs: str, ours: str, rows: Tensor, columns: Tensor | None) -> None:
        """Fill a convolution or a linear layer, with its bias if it has one.

        Args:
            theirs: name of the source's.
            ours: name of the target's.
            rows: which output channel of the source each output channel is.
            columns: likewise the input channels; None: it is depthwise.
        """
        self._fill(f"{ours}.weight", self._old[f"{theirs}.weight"], rows, columns)
        if f"{ours}.bias" in self._new:
            self._vector(f"{theirs}.bias", f"{ours}.bias", rows)

    def _fill(self, ours: str, values: Tensor, rows: Tensor, columns: Tensor | None) -> None:
        weight = self._new[ours].clone()
        if weight.ndim == 4:
            values = of_kernel(values, weight.shape[-1])
        kept = rows >= 0
        picked = values[rows[kept]]
        if columns is not None:
            there = columns >= 0
            shape = (len(picked), len(columns), *picked.shape[2:])
            wider = picked.new_zeros(shape)
            wider[:, there] = picked[:, columns[there]]
            picked = wider
        weight[kept] = picked.to(weight.dtype)
        self._new[ours] = weight

    def _norm(self, theirs: str, ours: str, rows: Tensor) -> None:
        for kind in ("weight", "bias", "running_mean", "running_var"):
            self._vector(f"{theirs}.{kind}", f"{ours}.{kind}", rows)

    def _vector(self, theirs: str, ours: str, rows: Tensor) -> None:
        vector = self._new[ours].clone()
        vector[rows >= 0] = self._old[theirs][rows[rows >= 0]].to(vector.dtype)
        self._new[ours] = vector


def of_kernel(weight: Tensor, size: int) -> Tensor:
    """Return a convolution of another kernel size: its centre, or it with zeros around."""
    margin = (size - weight.shape[-1]) // 2
    return torch.nn.functional.pad(weight, (margin,) * 4)


def _norms(matrix: Tensor, dim: int) -> Tensor:
    """Return the Euclidean norms of the columns (0) or the rows (1) of a matrix."""
    norms: Tensor = torch.linalg.vector_norm(matrix, dim=dim)
    return norms


def placed_stages(architecture: Architecture) -> list[_Placed]:
    """Return the stages of a network that have layers, with the streams between them.

    A stage whose first layer adds its input to its output writes the stream that it reads.
    """
    result: list[_Placed] = []
    width, first, stream, scale = architecture.stem.width, 0, 0, architecture.stem.stride
    for stage in architecture.stages:
        layers = stage_layers(stage, width)
        width = stage.width
        if not layers:
            continue
        scale *= stage.stride
        entry = stream
        if not _adds_input(layers[0]):
            stream += 1
        result.append(_Placed(stage, layers, first, entry, stream, scale))
        first += len(layers)
    return result


def _adds_input(layer: Layer) -> bool:
    return layer.op != "skip" and layer.stride == 1 and layer.in_width == layer.width


def paired(old: Sequence[_Placed], new: Sequence[_Placed]) -> list[tuple[_Placed, _Placed]]:
    """Return which stage of the source each stage of the target inherits from, in order.

    Networks of as many stages are paired one by one. Otherwise stages are left out, so that
    the pairs agree best in stride, place in the pyramid, operation and width.
    """
    if len(old) == len(new):
        return list(zip(old, new, strict=True))
    best = np.zeros((len(old) + 1, len(new) + 1))
    for i in range(len(old) - 1, -1, -1):
        for j in range(len(new) - 1, -1, -1):
            both = _likeness(old[i], new[j]) + best[i + 1, j + 1]
            best[i, j] = max(both, best[i + 1, j], best[i, j + 1])
    result, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        if best[i, j] == best[i + 1, j]:
            i += 1
        elif best[i, j] == best[i, j + 1]:
            j += 1
        else:
            result.append((old[i], new[j]))
            i, j = i + 1, j + 1
    return result


def _likeness(one: _Placed, other: _Placed) -> float:
    """Return how much two stages are alike; always more than 0."""
    agrees = (
        2 * (one.stage.stride == other.stage.stride)
        + 2 * (one.scale == other.scale)
        + (one.stage.op == other.stage.op)
    )
    wider = abs(math.log(one.stage.width / other.stage.width))
    return agrees + 1 / (1 + wider)


def _parts(prefix: str, layer: Layer) -> dict[str, str]:
    """Return the names of the modules of a block by their roles."""
    if layer.op == "fused_mbconv" and layer.expansion == 1:
        return {"single": f"{prefix}.branch.0"}
    roles = ["expand"] if layer.expansion != 1 else []
    roles += ["depthwise"] if layer.op == "mbconv" else []
    roles += ["gate"] if layer.se_width else []
    return {role: f"{prefix}.branch.{i}" for i, role in enumerate([*roles, "project"])}


@dataclass(frozen=True)
class _Norm:
    """A batch norm in evaluation: factor, and the distribution of what it puts out."""

    scale: Tensor
    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(tensors: Tensors, name: str, eps: float) -> _Norm:
        weight = tensors[f"{name}.weight"]
        scale = weight / (tensors[f"{name}.running_var"] + eps).sqrt()
        return _Norm(scale, tensors[f"{name}.bias"], weight.abs())


def _moments(norm: _Norm, activation: Activation) -> tuple[Tensor, Tensor]:
    """Return mean and mean square of each channel behind a norm and the activation.

    What a batch norm puts out is taken as normal, with its bias as mean and its weight as standard
    deviation; the integrals are computed by Gauss-Hermite quadrature.
    """
    nodes = torch.as_tensor(_NODES, dtype=norm.mean.dtype)
    shares = torch.as_tensor(_WEIGHTS / _WEIGHTS.sum(), dtype=norm.mean.dtype)
    values = activate(norm.mean[:, None] + norm.deviation[:, None] * nodes, activation)
    return values @ shares, values.square() @ shares


def _inner_importance(source: _Source, prefix: str, layer: Layer) -> Tensor:
    """Return the importance of each inner channel: how much of the output comes from it."""
    tensors, eps = source.tensors, source.architecture.norm.eps
    parts = _parts(prefix, layer)
    if "single" in parts:
        return torch.ones(layer.in_width)
    before = parts["depthwise"] if "depthwise" in parts else parts["expand"]
    _, squares = _moments(_Norm.of(tensors, f"{before}.1", eps), source.architecture.activation)
    if layer.se_width:
        squares = squares * _mean_gate(source, parts, layer).square()
    scale = _Norm.of(tensors, f"{parts['project']}.1", eps).scale
    project = tensors[f"{parts['project']}.0.weight"].flatten(1) * scale[:, None]
    return _norms(project, 0) * squares.sqrt()


def _mean_gate(source: _Source, parts: Mapping[str, str], layer: Layer) -> Tensor:
    """Return the mean gate of each inner channel, as measured or by the batch norm before it."""
    name = parts["gate"]
    if name in source.gates:
        return source.gates[name].to(source.tensors[f"{name}.expand.bias"].dtype)
    tensors, known = source.tensors, source.architecture
    before = parts["depthwise"] if layer.op == "mbconv" else parts["expand"]
    pooled, _ = _moments(_Norm.of(tensors, f"{before}.1", known.norm.eps), known.activation)
    squeezed = tensors[f"{name}.reduce.weight"].flatten(1) @ pooled
    squeezed = activate(squeezed + tensors[f"{name}.reduce.bias"], known.activation)
    expanded = tensors[f"{name}.expand.weight"].flatten(1) @ squeezed
    return (expanded + tensors[f"{name}.expand.bias"]).sigmoid()


def _head_importance(source: _Source) -> Tensor:
    tensors, known = source.tensors, source.architecture
    _, squares = _moments(_Norm.of(tensors, "head.0.1", known.norm.eps), known.activation)
    return _norms(tensors["head.4.weight"], 0) * squares.sqrt()


def _stream_importance(source: _Source, stages: Sequence[_Placed]) -> list[Tensor]:
    """Return the importance of each channel of each stream: what is written, times what is read."""
    tensors, known = source.tensors, source.architecture
    count = 1 + (stages[-1].exit if stages else 0)
    written: list[Tensor | int] = [0] * count
    read: list[Tensor | int] = [0] * count
    _, squares = _moments(_Norm.of(tensors, "stem.1", known.norm.eps), known.activation)
    written[0] = squares
    for place in stages:
        for number, layer in enumerate(place.layers):
            name = f"blocks.{place.first + number}"
            entry = place.entry if number == 0 else place.exit
            first, last = _reader_and_writer(name, layer)
            norm = _Norm.of(tensors, f"{last}.1", known.norm.eps)
            written[place.exit] = written[place.exit] + norm.mean**2 + norm.deviation**2
            scale = _Norm.of(tensors, f"{first}.1", known.norm.eps).scale
            weight = tensors[f"{first}.0.weight"].flatten(2).norm(dim=2) * scale[:, None]
            reads = weight.square()
            depthwise = layer.op == "mbconv" and layer.expansion == 1
            read[entry] = read[entry] + (reads[:, 0] if depthwise else reads.sum(0))
    scale = _Norm.of(tensors, "head.0.1", known.norm.eps).scale
    head = tensors["head.0.0.weight"].flatten(1) * scale[:, None]
    read[-1] = read[-1] + head.square().sum(0)
    return [
        torch.as_tensor(one).sqrt() * torch.as_tensor(other).sqrt()
        for one, other in zip(written, read, strict=True)
    ]


def _reader_and_writer(name: str, layer: Layer) -> tuple[str, str]:
    """Return the first and the last convolution with its norm, of a block."""
    if layer.op == "skip":
        return name, name
    parts = list(_parts(name, layer).values())
    return parts[0], parts[-1]
