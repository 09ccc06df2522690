"""An architecture as one Python file that needs torch alone."""

from __future__ import annotations

from nas.export.timm import plain
from nas.networks.architecture import Activation, Architecture
from nas.networks.cost import measure_cost

_ACTIVATIONS: dict[Activation, str] = {
    "relu": "nn.ReLU",
    "relu6": "nn.ReLU6",
    "silu": "nn.SiLU",
    "hardswish": "nn.Hardswish",
}

_TOP = '''"""{name}: {params:,} parameters; {flops:,} multiply-adds of convolutions and
linear layers at {resolution} × {resolution} pixels. Needs torch alone.

    network = build()                 # with fresh weights
    network = build("weights.pt")     # with the weights of a state dict
"""

import math

import torch
from torch import nn

RESOLUTION = {resolution}
IN_CHANNELS = {in_channels}
NUM_CLASSES = {num_classes}
DROPOUT = {dropout!r}


def activation():
    return {activation}(inplace=True)

{same_pad}
def conv(in_width, width, kernel, stride=1, groups=1, activate=True):
    """Convolution, batch norm and, unless it ends a block, an activation."""
    layers = [
        {conv}(in_width, width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width, eps={eps!r}, momentum={momentum!r}),
    ]
    return nn.Sequential(*layers, activation()) if activate else nn.Sequential(*layers)
'''

_SAME_PAD = '''

class Conv2d(nn.Conv2d):
    """Pads so that ceil(n / stride) outputs see all n inputs, one more at the end if need be."""

    def forward(self, x):
        pads = []
        for size in (x.shape[3], x.shape[2]):
            kernel, stride = self.kernel_size[0], self.stride[0]
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            pads += [total // 2, total - total // 2]
        x = nn.functional.pad(x, pads)
        return nn.functional.conv2d(x, self.weight, None, self.stride, groups=self.groups)

'''

_SQUEEZE_EXCITE = '''

class SqueezeExcite(nn.Module):
    """Gates each channel by what the mean of all channels says."""

    def __init__(self, width, squeeze):
        super().__init__()
        self.reduce = nn.Conv2d(width, squeeze, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(squeeze, width, 1)

    def forward(self, x):
        mean = x.mean((2, 3), keepdim=True)
        return x * self.expand(self.activation(self.reduce(mean))).sigmoid()
'''

_BLOCK = '''

class Block(nn.Module):
    """Some layers, and around them the identity where the shapes agree."""

    def __init__(self, layers, residual):
        super().__init__()
        self.branch = nn.Sequential(*layers)
        self.residual = residual

    def forward(self, x):
        return x + self.branch(x) if self.residual else self.branch(x)
'''

_MBCONV = '''

def mbconv(in_width, width, kernel, stride, expansion, squeeze):
    """Expand by 1 × 1, filter each channel by k × k, {gate}project by 1 × 1."""
    inner = in_width * expansion
    layers = [conv(in_width, inner, 1)] if expansion > 1 else []
    layers.append(conv(inner, inner, kernel, stride, groups=inner))
{excite}    layers.append(conv(inner, width, 1, activate=False))
    return Block(layers, residual=stride == 1 and in_width == width)
'''

_FUSED = '''

def fused_mbconv(in_width, width, kernel, stride, expansion, squeeze):
    """Expand by k × k, {gate}project by 1 × 1; one k × k convolution if nothing is expanded."""
    inner = in_width * expansion if expansion > 1 else width
    layers = [conv(in_width, inner, kernel, stride)]
{excite}    if expansion > 1:
        layers.append(conv(inner, width, 1, activate=False))
    return Block(layers, residual=stride == 1 and in_width == width)
'''

_EXCITE = """    if squeeze:
        layers.append(SqueezeExcite(inner, squeeze))
"""

_SKIP = '''

def skip(in_width, width, kernel, stride, expansion, squeeze):
    """Change the shape by 1 × 1 and do nothing else."""
    return conv(in_width, width, 1, stride, activate=False)
'''

_BOTTOM = '''

STAGES = [
    # block, kernel, stride, expansion, width, layers, squeeze-excite ratio of the block's input
{stages}
]


class Network(nn.Module):
    """Maps images (batch, {in_channels}, height, width) to logits (batch, {num_classes})."""

    def __init__(self, in_channels=IN_CHANNELS, num_classes=NUM_CLASSES):
        super().__init__()
        self.stem = conv(in_channels, {stem.width}, {stem.kernel}, {stem.stride})
        blocks, in_width = [], {stem.width}
        for block, kernel, stride, expansion, width, layers, ratio in STAGES:
            for index in range(layers):
                squeeze = max(1, int(in_width * ratio)) if ratio else 0
                step = stride if index == 0 else 1
                blocks.append(block(in_width, width, kernel, step, expansion, squeeze))
                in_width = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            conv(in_width, {head.width}, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(1),
            nn.Dropout(DROPOUT),
            nn.Linear({head.width}, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(max(module.in_features, module.out_features))
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def build(weights=None):
    """Return the network; ``weights``: the file of its state dict."""
    network = Network()
    if weights is not None:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network


if __name__ == "__main__":
    print(f"{{sum(p.numel() for p in build().parameters()):,}} parameters")
'''


def torch_source(architecture: Architecture) -> str:
    """Return the Python file; its state dict has the names of :func:`nas.build`.

    Only the blocks that the network has are in it, in stages as in the architecture.
    """
    plainer = architecture.canonical()
    ops = {stage.op for stage in plainer.stages}
    cost = measure_cost(plainer)
    parts = [
        _TOP.format(
            name=plain(plainer.name),
            params=cost.params,
            flops=cost.flops,
            resolution=plainer.resolution,
            in_channels=plainer.in_channels,
            num_classes=plainer.num_classes,
            dropout=plainer.head.dropout,
            activation=_ACTIVATIONS[plainer.activation],
            same_pad=_SAME_PAD if plainer.padding == "same" else "",
            conv="Conv2d" if plainer.padding == "same" else "nn.Conv2d",
            eps=plainer.norm.eps,
            momentum=plainer.norm.momentum,
        )
    ]
    excites = {stage.op for stage in plainer.stages if stage.se_ratio}
    parts += [_SQUEEZE_EXCITE] if excites else []
    parts += [_BLOCK] if ops - {"skip"} else []
    for op, text in (("mbconv", _MBCONV), ("fused_mbconv", _FUSED)):
        if op in ops:
            gate, excite = ("gate, ", _EXCITE) if op in excites else ("", "")
            parts.append(text.format(gate=gate, excite=excite))
    parts += [_SKIP] if "skip" in ops else []
    stages = "\n".join(
        f"    ({s.op}, {s.kernel}, {s.stride}, {s.expansion}, {s.width}, {s.layers}, {s.se_ratio}),"
        for s in plainer.stages
    )
    parts.append(
        _BOTTOM.format(
            stages=stages,
            in_channels=plainer.in_channels,
            num_classes=plainer.num_classes,
            stem=plainer.stem,
            head=plainer.head,
        )
    )
    return "".join(parts)
