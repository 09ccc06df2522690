"""Which images a training sees, and in which order."""

import pytest
import torch

from nas.training.batches import BatchOrder, fixed_sample, shift_padding
from nas.training.random_numbers import isolated_rng, seeded_generator


def order(images: int, batch_size: int, *, drop_last: bool, seed: int = 0) -> BatchOrder:
    return BatchOrder(
        images, batch_size, lambda epoch: seeded_generator(seed, epoch), drop_last=drop_last
    )


@pytest.mark.parametrize("count", [64, 65, 96, 127, 128, 191])
def test_all_images_are_seen_in_every_epoch(count: int) -> None:
    """The images that the batch size leaves over come first in the next batch."""
    found = order(count, 64, drop_last=False)
    batches = [found[number] for number in range(20 * count // 64 + 1)]
    assert {len(batch) for batch in batches} == {64}
    seen = torch.cat(batches)
    epochs = [seen[epoch * count : (epoch + 1) * count] for epoch in range(20)]
    assert all(sorted(epoch.tolist()) == list(range(count)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize("count", [64, 65, 127, 128])
def test_images_that_do_not_fill_a_batch_are_left_out(count: int) -> None:
    found = order(count, 64, drop_last=True)
    per_epoch = count // 64
    for epoch in range(10):
        batches = [found[epoch * per_epoch + number] for number in range(per_epoch)]
        assert {len(batch) for batch in batches} == {64}
        assert torch.cat(batches).unique().numel() == 64 * per_epoch


@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_can_be_asked_for_in_any_order(drop_last: bool) -> None:
    found = order(50, 16, drop_last=drop_last)
    forwards = [found[number].tolist() for number in range(12)]
    backwards = [found[number].tolist() for number in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert forwards != [order(50, 16, drop_last=drop_last, seed=1)[n].tolist() for n in range(12)]


def test_a_batch_has_no_more_images_than_there_are() -> None:
    found = order(3, 4, drop_last=True)
    assert found.batch_size == 3
    assert sorted(found[7].tolist()) == [0, 1, 2]


def test_a_fixed_sample_is_always_the_same_and_not_the_first_images() -> None:
    found = fixed_sample(1_000, 100)
    assert torch.equal(found, fixed_sample(1_000, 100))
    assert found.unique().numel() == 100
    assert int(found.max()) > 900
    assert sorted(fixed_sample(5, 9).tolist()) == [0, 1, 2, 3, 4]


def test_only_images_that_are_seen_again_are_shifted() -> None:
    assert shift_padding(1_500, 1_000, 32) == 0
    assert shift_padding(1_501, 1_000, 32) == 4
    assert shift_padding(1_501, 1_000, 4) == 1


def test_the_global_random_state_is_restored() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with isolated_rng("cpu", 7):
        drawn = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with isolated_rng("cpu", 7):
        assert torch.equal(torch.rand(3), drawn)
