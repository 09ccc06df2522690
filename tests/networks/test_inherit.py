"""Inherited weights: the function is preserved where the target contains the source."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from nas.export.random_network import random_network
from nas.networks.architecture import Architecture, Head, Norm, Stage, Stem
from nas.networks.inherit import inherited, of_kernel
from nas.networks.modules import build


def random_source(rng: random.Random) -> Architecture:
    stages = []
    width = rng.randint(4, 9)
    stem = Stem(rng.choice([1, 3, 5]), rng.choice([1, 2]), width)
    for _ in range(rng.randint(1, 4)):
        op = rng.choice(["mbconv", "mbconv", "fused_mbconv"])
        expansion = rng.choice([1, 2, 3, 4])
        se = rng.choice([0.0, 0.25, 0.5]) if op == "mbconv" or expansion > 1 else 0.0
        width = rng.choice([width, rng.randint(4, 12)])
        stages.append(
            Stage(
                op,
                rng.choice([1, 3, 5]),
                rng.choice([1, 2]),
                expansion,
                width,
                rng.randint(1, 3),
                se,
            )
        )
    return Architecture(
        "source",
        17,
        3,
        5,
        rng.choice(["relu", "relu6", "silu", "hardswish"]),
        Norm(),
        stem,
        tuple(stages),
        Head(rng.randint(4, 12), 0.1),
    )


def containing(source: Architecture, rng: random.Random) -> Architecture:
    """Return a network that contains another one; inputs are added at the same layers."""
    width = source.stem.width + rng.choice([0, 0, 1, 4])
    stem = Stem(source.stem.kernel + rng.choice([0, 2]), source.stem.stride, width)
    stages, before = [], source.stem.width
    for stage in source.stages:
        more = rng.choice([0, 0, 1, 5])
        wider = width if stage.width == before and stage.stride == 1 else stage.width + more
        if wider == width and stage.width != before and stage.stride == 1:
            wider += 1
        expansion = stage.expansion + (0 if stage.expansion == 1 else rng.choice([0, 0, 1, 2]))
        can_gate = stage.op == "mbconv" or expansion > 1
        se = stage.se_ratio or (rng.choice([0.0, 0.25]) if can_gate else 0.0)
        se = se + rng.choice([0.0, 0.25]) if se else se
        stages.append(
            replace(
                stage,
                kernel=stage.kernel + rng.choice([0, 2, 4]),
                width=wider,
                expansion=expansion,
                layers=stage.layers + rng.choice([0, 0, 1, 2]),
                se_ratio=se,
            )
        )
        before, width = stage.width, wider
    head = Head(source.head.width + rng.choice([0, 3]), 0.1)
    return replace(source, name="target", stem=stem, stages=tuple(stages), head=head)


@pytest.mark.parametrize("block", range(10))
def test_a_network_that_contains_another_computes_the_same_function(block):
    """In double precision, whether all channels are sorted by importance or not."""
    for number in range(20 * block, 20 * block + 20):
        rng = random.Random(number)
        known = random_source(rng)
        wanted = containing(known, rng)
        ordered = number % 2 == 1
        source = random_network(known, number).double().eval()
        target = build(wanted, zero_init_residual=True).double().eval()
        target.load_state_dict(
            inherited(source.state_dict(), known, wanted, target.state_dict(), ordered=ordered)
        )
        images = torch.rand(4, 3, known.resolution, known.resolution, dtype=torch.float64)
        with torch.no_grad():
            expected, got = source(images), target(images)
        error = (got - expected).abs().max() / expected.abs().max()
        assert error < 1e-4, (number, known, wanted)


def test_channels_are_kept_by_importance():
    """Of a network whose second half of inner channels does nothing, half suffices."""
    known = Architecture(
        "source", 16, 3, 5, "relu", Norm(), Stem(3, 1, 8),
        (Stage("mbconv", 3, 1, 4, 8, 2, 0.25),), Head(12, 0.0),
    )  # fmt: skip
    source = random_network(known, 0).double().eval()
    silent = torch.randperm(32, generator=torch.Generator().manual_seed(1))[:16]
    with torch.no_grad():
        for block in source.blocks:
            block.branch[3][0].weight[:, silent] = 0
            block.branch[2].reduce.weight[:, silent] = 0
    wanted = replace(known, stages=(replace(known.stages[0], expansion=2),))
    target = build(wanted, zero_init_residual=True).double().eval()
    target.load_state_dict(inherited(source.state_dict(), known, wanted, target.state_dict()))
    images = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(target(images), source(images), atol=1e-9)


@pytest.mark.parametrize("kernels", [(3, 7), (7, 3), (5, 5), (1, 3)])
def test_kernels_are_cropped_or_padded_at_the_centre(kernels):
    have, want = kernels
    weight = torch.arange(float(have * have)).view(1, 1, have, have) + 1
    found = of_kernel(weight, want)
    assert found.shape[-1] == want
    assert found[0, 0, want // 2, want // 2] == weight[0, 0, have // 2, have // 2]
    assert (found.sum() == weight.sum()) == (want >= have)
