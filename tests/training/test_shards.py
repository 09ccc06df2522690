"""Batches in shards: what each computes, and that the number of cores changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas.data import preprocess
from nas.networks.modules import Network, build
from nas.training.recipe import Recipe
from nas.training.schedule import TrainingSchedule
from nas.training.shards import (
    MIN_IMAGES,
    Replicas,
    balanced_parts,
    default_shards,
    split,
)
from nas.training.threads import compute_threads, in_order
from nas.training.trainer import Trainer
from tests.support.colours import made_up

DATA = made_up()
PLAIN = Recipe(
    batch_size=33, flip=False, shift=0.0, label_smoothing=0.0, progressive_resizing=((0.0, 1.0),)
)
RANDOM = Recipe(batch_size=32, stochastic_depth=0.3, cutmix=0.5, shards=3)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network(dropout: float, stochastic_depth: float = 0.0) -> Network:
    space = nas.load_space("tiny")
    found = space.decode({name: values[-1] for name, values in space.choices.items()})
    found = replace(found, resolution=16, num_classes=3, head=replace(found.head, dropout=dropout))
    torch.manual_seed(0)
    return build(found, stochastic_depth=stochastic_depth)


def trainer(of: Network, recipe: Recipe, steps: int = 4) -> Trainer:
    schedule = TrainingSchedule(steps, steps, steps, ((0, 16),))
    return Trainer(of, DATA, recipe, schedule, (DATA.mean, DATA.std), 5, "cpu")


@given(st.integers(2, 300), st.integers(1, 9))
def test_shards_are_about_equal_and_not_too_small(images: int, shards: int) -> None:
    parts = split(torch.arange(images), shards)
    assert torch.equal(torch.cat(parts), torch.arange(images))
    sizes = [len(part) for part in parts]
    assert len(sizes) <= shards
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == 1 or min(sizes) >= MIN_IMAGES
    assert len(sizes) == shards or images < shards * MIN_IMAGES


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(1, 5))
def test_parts_hold_everything_once_and_are_balanced(sizes: list[int], parts: int) -> None:
    groups = balanced_parts(sizes, parts)
    assert sorted(position for group in groups for position in group) == list(range(len(sizes)))
    sums = [sum(sizes[position] for position in group) for group in groups]
    assert max(sums) - min(sums) <= max(sizes) or len(groups) < parts


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_a_step_averages_the_gradients_and_statistics_of_its_shards(shards: int) -> None:
    """Against networks of their own that see a shard each."""
    own = network(dropout=0.0)
    trained = trainer(own, replace(PLAIN, shards=shards))
    before = copy.deepcopy(own).train()
    loss = trained.step(0, in_order)

    indices = trained._batches[0]
    expected, total = {}, torch.zeros(())
    statistics: dict[str, torch.Tensor] = {}
    for part in split(indices, shards):
        alone, share = copy.deepcopy(before), len(part) / len(indices)
        inputs = preprocess(DATA.train_images[part], 16, DATA.mean, DATA.std)
        found = share * F.cross_entropy(alone(inputs), DATA.train_labels[part])
        total += found.detach()
        found.backward()
        for name, parameter in alone.named_parameters():
            expected[name] = expected.get(name, 0) + parameter.grad
        for name, buffer in alone.named_buffers():
            if buffer.is_floating_point():
                statistics[name] = statistics.get(name, 0) + share * buffer
    torch.testing.assert_close(loss, total)
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)
    for name, value in statistics.items():
        torch.testing.assert_close(own.get_buffer(name), value)


def test_the_number_of_cores_changes_nothing(threads: None) -> None:
    """Dropout, stochastic depth and augmentation included."""
    found = []
    for cores in (1, 2, 3):
        torch.set_num_threads(cores)
        torch.manual_seed(cores)  # the global generator is not used
        own = network(dropout=0.5, stochastic_depth=0.3)
        trained = trainer(own, RANDOM)
        with trained.workers() as workers:
            for step in range(4):
                trained.step(step, workers)
        assert torch.get_num_threads() == cores
        found.append({**own.state_dict(), **trained.average.state_dict(prefix="average.")})
    for other in found[1:]:
        for name, value in found[0].items():
            assert torch.equal(value, other[name]), name


def test_replicas_share_weights_and_draw_random_numbers_of_their_own() -> None:
    own = network(dropout=0.5)
    replicas = Replicas(own, 3, "cpu")
    images = torch.randn(4, 3, 16, 16)
    first, second = replicas.seeded(0, 7), replicas.seeded(1, 7)
    assert first is own
    assert all(a is b for a, b in zip(own.parameters(), second.parameters(), strict=True))
    drawn = first(images)
    assert torch.equal(drawn, second(images))
    assert not torch.equal(drawn, replicas.seeded(2, 8)(images))
    own.get_buffer("stem.1.running_mean").fill_(3.0)
    replicas.spread_buffers()
    assert float(second.get_buffer("stem.1.running_mean").min()) == 3.0


def test_threads_share_out_the_cores(threads: None) -> None:
    torch.set_num_threads(4)
    for count, cores in ((8, 1), (4, 1), (2, 2), (1, 4)):
        with compute_threads("cpu", count) as workers:
            items = list(range(20))
            assert workers(lambda item: (item, torch.get_num_threads()), items) == [
                (item, cores) for item in items
            ]
        assert torch.get_num_threads() == 4
    with compute_threads("cuda", 2) as workers:
        assert workers is in_order


def test_gpus_compute_a_batch_whole_unless_asked() -> None:
    assert [default_shards(device) for device in ("cpu", "cuda:1", "mps")] == [2, 1, 1]
