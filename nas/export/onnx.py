"""A network as an ONNX graph, with nodes named after the modules, and its run by ONNX Runtime."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas._version import __version__
from nas.networks.architecture import Architecture
from nas.networks.modules import Block, Network, SamePadConv2d, SqueezeExcite
from nas.networks.optional_packages import package

OPSET = 17
_IR_VERSION = 8  # the one of that opset, which older runtimes read too
INPUT, OUTPUT = "images", "logits"


def onnx_model(
    network: Network,
    architecture: Architecture,
    *,
    dynamic_resolution: bool = False,
    fold: bool = False,
) -> Any:
    """Return the network in eval mode as an ``onnx.ModelProto``.

    Its input ``images`` is (batch, channels, height, width), its output ``logits`` (batch,
    classes), both float32; the batch is free. The same network always gives the same bytes.

    Args:
        network: of the architecture.
        architecture: of the network; written to the metadata.
        dynamic_resolution: leave height and width free too.
        fold: fold batch norms into the convolutions before them, which quantisation needs.
    """
    onnx = package("onnx")
    graph = _Graph(onnx, fold)
    graph.add("", network, INPUT)
    graph.nodes[-1].output[0] = OUTPUT  # the classifier's
    pixels = architecture.resolution
    sides = ("height", "width") if dynamic_resolution else (pixels, pixels)
    value = onnx.helper.make_tensor_value_info
    float32 = onnx.TensorProto.FLOAT
    made = onnx.helper.make_graph(
        graph.nodes,
        "network",
        [value(INPUT, float32, ["batch", architecture.in_channels, *sides])],
        [value(OUTPUT, float32, ["batch", architecture.num_classes])],
        graph.weights,
    )
    model = onnx.helper.make_model(
        made,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="nas-search",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(model, {"architecture": json.dumps(architecture.to_dict())})
    onnx.checker.check_model(model, full_check=True)
    return model


def count(model: Any, resolution: int) -> tuple[int, int]:
    """Return the parameters of an ONNX graph, and its multiply-adds for one image.

    Parameters are the weights and biases of ``Conv``, ``Gemm`` and ``BatchNormalization``;
    multiply-adds those of ``Conv`` and ``Gemm``, from the shapes that ONNX infers.
    """
    onnx = package("onnx")
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    sizes = (1, None, resolution, resolution)
    for dim, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        if size is not None:
            dim.dim_value = size
    fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in (*graph.value_info, *graph.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    params = flops = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "BatchNormalization"):
            params += sum(_size(weights[name]) for name in node.input[1:3])
        if node.op_type == "Conv":
            flops += _size(shapes[node.output[0]]) * _size(weights[node.input[1]][1:])
        elif node.op_type == "Gemm":
            flops += _size(weights[node.input[1]])
    return params, flops


def session(model: Any) -> Any:
    """Return an ONNX Runtime session on the CPU, with as many threads as torch has.

    Args:
        model: the serialised model, or its file.
    """
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(running: Any, images: Tensor) -> Tensor:
    """Return the logits (batch, classes) of images (batch, channels, height, width)."""
    return torch.from_numpy(running.run([OUTPUT], {INPUT: images.numpy()})[0])


def _size(shape: list[int]) -> int:
    return torch.Size(shape).numel()


@dataclass
class _Graph:
    """Nodes and weights so far."""

    onnx: Any
    fold: bool
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def add(self, name: str, module: nn.Module, x: str) -> str:
        """Append the nodes of a module that is applied to ``x``; return the name of its output."""
        match module:
            case Block():
                out = self.add(f"{name}.branch", module.branch, x)
                return self.node("Add", f"{name}.add", [x, out]) if module.residual else out
            case SqueezeExcite():
                gate = self._mean(f"{name}.pool", x)
                for part in ("reduce", "activation", "expand"):
                    gate = self.add(f"{name}.{part}", getattr(module, part), gate)
                gate = self.node("Sigmoid", f"{name}.sigmoid", [gate])
                return self.node("Mul", f"{name}.gate", [x, gate])
            case nn.Sequential() | Network():
                return self._sequence(name, module, x)
            case nn.Conv2d():
                return self._convolution(name, module, x, module.weight, module.bias)
            case nn.BatchNorm2d():
                assert module.running_mean is not None
                assert module.running_var is not None
                parts = {
                    "weight": module.weight,
                    "bias": module.bias,
                    "running_mean": module.running_mean,
                    "running_var": module.running_var,
                }
                inputs = [self.weight(f"{name}.{key}", part) for key, part in parts.items()]
                return self.node("BatchNormalization", name, [x, *inputs], epsilon=module.eps)
            case nn.Linear():
                weight = self.weight(f"{name}.weight", module.weight)
                bias = self.weight(f"{name}.bias", module.bias)
                return self.node("Gemm", name, [x, weight, bias], transB=1)
            case nn.ReLU():
                return self.node("Relu", name, [x])
            case nn.ReLU6():
                limits = [self.weight(f"{name}.{v}", torch.tensor(v)) for v in (0.0, 6.0)]
                return self.node("Clip", name, [x, *limits])
            case nn.Hardswish():
                return self.node("HardSwish", name, [x])
            case nn.SiLU():
                return self.node("Mul", name, [x, self.node("Sigmoid", f"{name}.sigmoid", [x])])
            case nn.AdaptiveAvgPool2d():
                return self._mean(name, x)
            case nn.Flatten():
                return self.node("Flatten", name, [x])
            case nn.Dropout():
                return x
        raise AssertionError(f"{name}: no ONNX for {type(module).__name__}")

    def _mean(self, name: str, x: str) -> str:
        # ONNX Runtime's GlobalAveragePool adds up one value after the other: its error is ten times
        # as large.
        return self.node("ReduceMean", name, [x], axes=[2, 3], keepdims=1)

    def _sequence(self, name: str, module: nn.Module, x: str) -> str:
        children = list(module.named_children())
        while children:
            child, first = children.pop(0)
            place = f"{name}.{child}" if name else child
            norm = children[0][1] if children else None
            if self.fold and isinstance(first, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                children.pop(0)
                x = self._convolution(place, first, x, *_folded(first, norm))
            else:
                x = self.add(place, first, x)
        return x

    def _convolution(
        self, name: str, module: nn.Conv2d, x: str, weight: Tensor, bias: Tensor | None
    ) -> str:
        inputs = [x, self.weight(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.weight(f"{name}.bias", bias))
        top, left = (int(side) for side in module.padding)
        padded: dict[str, Any] = {"pads": [top, left, top, left]}
        if isinstance(module, SamePadConv2d):
            padded = {"auto_pad": "SAME_UPPER"}
        return self.node(
            "Conv",
            name,
            inputs,
            kernel_shape=module.kernel_size,
            strides=module.stride,
            group=module.groups,
            **padded,
        )

    def node(self, kind: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node; return the name of its output."""
        made = self.onnx.helper.make_node(kind, inputs, [f"{name}.out"], name=name, **attributes)
        self.nodes.append(made)
        return f"{name}.out"

    def weight(self, name: str, value: Tensor) -> str:
        """Append a tensor; return its name."""
        array = value.detach().float().cpu().numpy()
        self.weights.append(self.onnx.numpy_helper.from_array(array, name))
        return name


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution that computes both, in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
