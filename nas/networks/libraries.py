"""Networks and weights of timm and torchvision: as the libraries build, download and cache them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.errors import InputError, one_line
from nas.networks.architecture import Activation, Architecture, Head, Norm, Op, Stage, Stem
from nas.networks.optional_packages import package
from nas.networks.pretrained_names import Layout
from nas.networks.weights import state_shapes
from nas.networks.weights_file import TrainedOn, Weights, read_weights

_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "relu6": "relu6",
    "silu": "silu",
    "swish": "silu",
    "hardswish": "hardswish",
}
"""Activations by the names of their classes, in small letters."""


@dataclass(frozen=True)
class _Row:
    """One block of a library's network."""

    op: Op
    kernel: int
    stride: int
    expansion: int
    in_width: int
    width: int
    se_width: int

    def continues(self, first: _Row) -> bool:
        """Return whether the block may be a further layer of the stage that begins with another."""
        return self.stride == 1 and all(
            getattr(self, name) == getattr(first, name)
            for name in ("op", "kernel", "expansion", "width")
        )


def library_weights(library: str, name: str) -> tuple[Path, Architecture, Weights]:
    """Return the file of a library's weights, their network, and what the file holds.

    The library's own cache is used; what is not in it is downloaded.

    Args:
        library: one of :data:`LIBRARIES`.
        name: of the model there; timm's tag and torchvision's weights may follow a full stop.

    Raises:
        InputError: the library is not installed, there is no such model or weights, they cannot be
            downloaded, or the network is not of this family.
    """
    return LIBRARIES[library](name)


def _timm(name: str) -> tuple[Path, Architecture, Weights]:
    timm = package("timm")
    source = f"timm:{name}"
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None or not (config.hf_hub_id or config.url):
        known = timm.list_models(f"*{name.partition('.')[0]}*", pretrained=True)
        known = known or timm.list_models("*efficientnet_b*", pretrained=True)
        raise InputError(f"{source}: no such weights; accepted: {_some(known)}")
    model = _on_meta(lambda: timm.create_model(name, pretrained=False))
    if type(model).__name__ != "EfficientNet":
        raise InputError(
            f"{source}: a {type(model).__name__} is not of this family; accepted: "
            "EfficientNet, EfficientNetV2, EfficientNet-Lite, MobileNetV2, MnasNet"
        )
    architecture = timm_architecture(source, model, config.input_size[-1])
    path = _from_hub(source, config) if config.hf_hub_id else _from_url(source, config.url)
    about = TrainedOn(tuple(config.mean), tuple(config.std), architecture.resolution, ())
    return path, architecture, replace(read_weights(path), source=source, trained_on=about)


def timm_architecture(source: str, model: Any, resolution: int) -> Architecture:
    """Return the architecture of one of timm's networks of the class ``EfficientNet``.

    Args:
        source: name of the network, for messages.
        model: the network.
        resolution: of its images, in pixels.

    Raises:
        InputError: an architecture cannot express it.
    """
    reader = _ModuleReader(source)
    architecture = Architecture(
        name=source.partition(":")[2].partition(".")[0],
        resolution=resolution,
        in_channels=model.conv_stem.in_channels,
        num_classes=model.num_classes,
        activation=reader.activation(model.modules()),
        norm=reader.norm(model.modules()),
        stem=reader.stem(model.conv_stem),
        stages=reader.stages([[reader.timm_block(block) for block in s] for s in model.blocks]),
        head=reader.head(getattr(model, "conv_head", None), getattr(model, "bn2", None), model),
        **reader.padding(model.modules()),
    )
    _check(source, architecture, "timm", model)
    return architecture


def _torchvision(name: str) -> tuple[Path, Architecture, Weights]:
    models = package("torchvision.models")
    source = f"torchvision:{name}"
    plain, _, version = name.partition(".")
    known = [one for one in models.list_models(models) if one.startswith("efficientnet")]
    if plain not in known:
        raise InputError(f"{source}: no such weights; accepted: {', '.join(known)}")
    entries = models.get_model_weights(plain)
    if version and version not in entries.__members__:
        raise InputError(
            f"{source}: no such weights; accepted: "
            + ", ".join(f"{plain}.{one}" for one in entries.__members__)
        )
    entry = entries[version] if version else entries.DEFAULT
    model = _on_meta(lambda: models.get_model(plain))
    reader, transforms = _ModuleReader(source), entry.transforms()
    pixels = int(transforms.crop_size[0])
    architecture = Architecture(
        name=plain,
        resolution=pixels,
        in_channels=3,
        num_classes=len(entry.meta["categories"]),
        activation=reader.activation(model.modules()),
        norm=reader.norm(model.modules()),
        stem=reader.stem(model.features[0][0]),
        stages=reader.stages(
            [[reader.torchvision_block(block) for block in s] for s in model.features[1:-1]]
        ),
        head=Head(model.features[-1][0].out_channels, float(model.classifier[0].p)),
    )
    _check(source, architecture, "torchvision", model)
    path = _from_url(source, entry.url)
    about = TrainedOn(
        tuple(transforms.mean), tuple(transforms.std), pixels, tuple(entry.meta["categories"])
    )
    return path, architecture, replace(read_weights(path), source=source, trained_on=about)


LIBRARIES: dict[str, Callable[[str], tuple[Path, Architecture, Weights]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}
"""What reads the weights of each library by the name of a model."""


class _ModuleReader:
    """Reads a library's modules as the parts of an architecture, or refuses what it cannot be."""

    def __init__(self, source: str) -> None:
        self._source = source

    def refused(self, what: str) -> InputError:
        return InputError(f"{self._source}: {what}, which an architecture cannot express")

    def activation(self, modules: Iterable[Any]) -> Activation:
        """Return the one activation of a network; gates are not counted."""
        names = {type(module).__name__.lower() for module in modules}
        found = {_ACTIVATIONS[name] for name in names & _ACTIVATIONS.keys()}
        if len(found) != 1 or "hardsigmoid" in names:
            raise self.refused(
                f"its activations are {', '.join(sorted(found | {'hardsigmoid'} & names))}"
            )
        return found.pop()

    def norm(self, modules: Iterable[Any]) -> Norm:
        """Return the constants of the batch norms, which are all alike."""
        found = {(m.eps, m.momentum) for m in modules if hasattr(m, "running_mean")}
        if len(found) != 1:
            raise self.refused("its batch norms have several constants")
        eps, momentum = found.pop()
        return Norm(float(eps), float(momentum))

    def padding(self, modules: Iterable[Any]) -> dict[str, Any]:
        """Return the field of an architecture that says how convolutions pad their inputs."""
        same = any(type(module).__name__ == "Conv2dSame" for module in modules)
        return {"padding": "same"} if same else {}

    def stem(self, conv: Any) -> Stem:
        return Stem(self.kernel(conv), conv.stride[0], conv.out_channels)

    def kernel(self, conv: Any) -> int:
        """Return the size of a kernel that is square, padded by half of it and not dilated."""
        size = int(conv.kernel_size[0])
        square = tuple(conv.kernel_size) == (size, size) and tuple(conv.dilation) == (1, 1)
        padded = type(conv).__name__ == "Conv2dSame" or tuple(conv.padding) == (size // 2,) * 2
        if not square or not padded:
            raise self.refused(f"its convolution is {conv}")
        return size

    def head(self, conv: Any, norm: Any, model: Any) -> Head:
        if conv is None or norm is None or not hasattr(norm, "running_mean"):
            raise self.refused("its head has no convolution with a batch norm")
        return Head(conv.out_channels, float(model.drop_rate))

    def timm_block(self, block: Any) -> _Row:
        kind = type(block).__name__
        op: Op = "mbconv"
        if kind == "DepthwiseSeparableConv":
            first, project, conv = block.conv_dw, block.conv_pw, block.conv_dw
        elif kind == "InvertedResidual":
            first, project, conv = block.conv_pw, block.conv_pwl, block.conv_dw
        elif kind == "EdgeResidual":
            op = "fused_mbconv"
            first, project, conv = block.conv_exp, block.conv_pwl, block.conv_exp
        elif kind == "ConvBnAct":
            first = project = conv = block.conv
            op = "fused_mbconv"
        else:
            raise self.refused(f"it has a block {kind}")
        squeeze = getattr(block, "se", None)
        squeeze = getattr(squeeze, "conv_reduce", None)
        return self._row(op, conv, first, project, squeeze, conv.groups)

    def torchvision_block(self, block: Any) -> _Row:
        parts = list(block.block)
        squeeze = next((p.fc1 for p in parts if type(p).__name__ == "SqueezeExcitation"), None)
        convs = [part[0] for part in parts if hasattr(part, "__getitem__")]
        deep = next((conv for conv in convs if conv.groups > 1), None)
        conv = convs[0] if deep is None else deep
        op: Op = "fused_mbconv" if deep is None else "mbconv"
        return self._row(op, conv, convs[0], convs[-1], squeeze, conv.groups)

    def _row(self, op: Op, conv: Any, first: Any, project: Any, squeeze: Any, groups: int) -> _Row:
        inner = project.in_channels
        alone = first is project
        expansion = 1 if alone else inner // first.in_channels
        if not alone and inner != expansion * first.in_channels:
            raise self.refused(f"it has {inner} inner channels of {first.in_channels}")
        if groups not in (1, conv.out_channels):
            raise self.refused(f"it has {groups} groups of channels")
        return _Row(
            op=op,
            kernel=self.kernel(conv),
            stride=conv.stride[0],
            expansion=expansion,
            in_width=first.in_channels,
            width=project.out_channels,
            se_width=0 if squeeze is None else squeeze.out_channels,
        )

    def stages(self, groups: Sequence[Sequence[_Row]]) -> tuple[Stage, ...]:
        """Return the stages: blocks that differ within a library's stage become stages too."""
        stages: list[Stage] = []
        for rows in groups:
            rest = list(rows)
            while rest:
                count = 1
                while (
                    count < len(rest)
                    and rest[count].continues(rest[0])
                    and _ratio(rest[: count + 1]) is not None
                ):
                    count += 1
                first, ratio = rest[0], _ratio(rest[:count])
                assert ratio is not None
                stages.append(
                    Stage(
                        first.op,
                        first.kernel,
                        first.stride,
                        first.expansion,
                        first.width,
                        count,
                        ratio,
                    )
                )
                rest = rest[count:]
        return tuple(stages)


def _ratio(rows: Sequence[_Row]) -> float | None:
    """Return a squeeze-excite ratio that gives all blocks their channels; None: there is none."""
    if not any(row.se_width for row in rows):
        return 0.0
    low = max(row.se_width / row.in_width for row in rows)
    high = min((row.se_width + 1) / row.in_width for row in rows)
    if low <= 0.25 < high:
        return 0.25
    return (
        low
        if low < high and all(int(row.in_width * low) == row.se_width for row in rows)
        else ((low + high) / 2 if low < high else None)
    )


def _on_meta(make: Callable[[], Any]) -> Any:
    """Return a network without memory for its weights."""
    import torch

    with torch.device("meta"):
        return make()


def _check(source: str, architecture: Architecture, layout: Layout, model: Any) -> None:
    """Raise :class:`InputError` unless the network has exactly the tensors of the library's."""
    theirs = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    ours = state_shapes(architecture, layout)
    wrong = sorted(set(theirs.items()) ^ set(ours.items()))
    if wrong:
        name, shape = wrong[0]
        raise InputError(
            f"{source}: not a network of this family: {name} {list(shape)} is "
            f"{'unknown' if name in theirs else 'missing'}"
        )


def _from_hub(source: str, config: Any) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    files = [config.hf_hub_filename] if config.hf_hub_filename else []
    problem: Exception | None = None
    for file in (*files, "model.safetensors", "pytorch_model.bin"):
        try:
            return Path(hf_hub_download(config.hf_hub_id, file))
        except EntryNotFoundError as error:
            problem = error
        except Exception as error:
            raise InputError(f"{source}: cannot be downloaded: {one_line(str(error))}") from None
    raise InputError(f"{source}: cannot be downloaded: {one_line(str(problem))}")


def _from_url(source: str, url: str) -> Path:
    """Return the file of an address, from torch's cache or downloaded to it."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / os.path.basename(url)
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except Exception as error:
            raise InputError(f"{source}: cannot be downloaded: {one_line(str(error))}") from None
    return path


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
