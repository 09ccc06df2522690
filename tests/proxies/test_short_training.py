"""Proxy `training`: real trainings, tiny, on made-up images."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.accuracy import Accuracy
from nas.data import ImageData
from nas.errors import Diverged
from nas.evaluation.executor import Task, run_task
from nas.evaluation.objective import make_objective
from nas.networks.architecture import efficientnet_b0
from nas.proxies.imagenet_predictor import ImagenetProxy
from nas.proxies.presets import (
    SCALED_RESOLUTION,
    default_settings,
    scaled_settings,
    training_settings,
)
from nas.proxies.protocol import Proxy, description
from nas.proxies.registry import known_proxy, proxy_capabilities
from nas.proxies.short_training import (
    TrainingProxy,
    TrainingSettings,
    _stratified_sample,
    seen_by_training,
)
from nas.spaces.budget import Budget
from nas.training.scoring import score
from tests.support.images import made_up, never

QUICK = TrainingSettings(resolution=16, images_seen=640, batch_size=32, checks=(0.5, 0.75))


def proxy_of(data: ImageData, settings: TrainingSettings = QUICK) -> TrainingProxy:
    proxy = TrainingProxy(data, settings)
    proxy.prepare(nas.load_space("tiny"), Budget("none"), Path())
    return proxy


@pytest.fixture(scope="module")
def network() -> nas.Architecture:
    space = nas.load_space("tiny")
    return space.decode({name: values[0] for name, values in space.choices.items()})


def test_learns_and_repeats_itself(network: nas.Architecture) -> None:
    proxy = proxy_of(made_up())
    one = proxy.evaluate(network, seed=1, report=never)
    assert one.mean > 0.8
    assert one.loss is not None
    assert one.loss < 0.9 * math.log(3)
    assert one == proxy.evaluate(network, seed=1, report=never)
    assert one == proxy_of(made_up()).evaluate(network, seed=1, report=never)
    assert one.loss != proxy.evaluate(network, seed=2, report=never).loss
    assert (one.n, one.seeds, one.proxy, one.predicted) == (1, (1,), "training", False)
    assert one.data == "made up (validation)"
    assert "640 training images at 16 px" in one.metric


def test_leaves_the_global_random_state_alone(network: nas.Architecture) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    proxy_of(made_up()).evaluate(network, seed=1, report=never)
    assert torch.equal(before, torch.random.get_rng_state())


def test_reports_steps_and_stops_when_told(network: nas.Architecture) -> None:
    proxy = proxy_of(made_up())
    told: list[tuple[int, float]] = []

    def note(step: int, value: float) -> bool:
        told.append((step, value))
        return False

    proxy.evaluate(network, seed=1, report=note)
    assert [step for step, _ in told] == [50, 75]
    assert all(0 < value <= 1 for _, value in told)

    outcome = run_task(proxy, Task(0, network, 1, {50: 1.1}))
    assert outcome.stopped
    assert outcome.accuracy is None
    assert outcome.steps == (told[0],)


def test_who_is_told_to_stop_is_not_scored_again(
    network: nas.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, scored = proxy_of(made_up()), 0
    score = TrainingProxy._score

    def count(*of: Any) -> Any:
        nonlocal scored
        scored += 1
        return score(*of)

    monkeypatch.setattr(TrainingProxy, "_score", count)
    run_task(proxy, Task(0, network, 1, {50: 1.1}))
    assert scored == 1
    proxy.evaluate(network, seed=1, report=never)
    assert scored == 1 + 3


@pytest.mark.parametrize("broken", ["rate", "statistics"])
def test_diverging_is_a_failed_trial(network: nas.Architecture, broken: str) -> None:
    data, settings = made_up(), QUICK
    if broken == "rate":
        settings = replace(QUICK, learning_rate=1e38)
    else:
        data = replace(data, mean=(math.nan,) * 3)
    proxy = proxy_of(data, settings)
    with pytest.raises(Diverged, match="diverged"):
        proxy.evaluate(network, seed=1, report=never)
    outcome = run_task(proxy, Task(0, network, 1))
    assert outcome.accuracy is None
    assert not outcome.stopped
    assert outcome.error.startswith("Diverged: the training diverged")


def test_test_images_are_used_by_test_alone(network: nas.Architecture) -> None:
    data = made_up()
    assert data.test_images is not None
    assert data.test_labels is not None
    poisoned = replace(
        data, test_images=torch.full_like(data.test_images, 255), test_labels=data.test_labels * 0
    )
    assert proxy_of(data).evaluate(network, seed=1, report=never) == proxy_of(poisoned).evaluate(
        network, seed=1, report=never
    )
    other = replace(
        data,
        validation_images=torch.zeros_like(data.validation_images),
        validation_labels=data.validation_labels * 0,
    )
    scored = proxy_of(data).test(network, seed=1)
    assert scored == proxy_of(other).test(network, seed=1)
    assert scored is not None
    assert scored.mean > 0.8
    assert scored.data == "made up (test)"
    assert scored != proxy_of(poisoned).test(network, seed=1)
    assert proxy_of(made_up(test=False)).test(network, seed=1) is None


def test_the_view_scales_and_takes_the_data_s_classes(network: nas.Architecture) -> None:
    proxy = proxy_of(made_up([8, 8], channels=1), replace(QUICK, width=0.5, resolution=16))
    view = proxy.reduced(network)
    assert network.resolution == 32
    assert (view.resolution, view.num_classes, view.in_channels) == (16, 2, 1)
    assert view.head.width == network.head.width // 2
    assert [s.layers for s in view.stages] == [s.layers for s in network.stages]
    assert proxy.reduced(replace(network, resolution=48)).resolution == 24
    assert view.name == network.name


def test_grey_images(network: nas.Architecture) -> None:
    accuracy = proxy_of(made_up(channels=1)).evaluate(network, seed=1, report=never)
    assert accuracy.mean > 0.7


def test_fewer_images_than_a_batch(network: nas.Architecture) -> None:
    proxy = proxy_of(made_up([5, 5, 5]), replace(QUICK, batch_size=64, images_seen=300))
    accuracy = proxy.evaluate(network, seed=1, report=never)
    assert accuracy.mean > 1 / 3
    pair = proxy_of(made_up([1, 1]), replace(QUICK, batch_size=64, images_seen=20))
    assert pair.evaluate(network, seed=1, report=never).loss is not None


def test_more_images_than_are_shown_are_drawn_in_the_classes_shares() -> None:
    labels = torch.cat([torch.zeros(900), torch.ones(100)]).long()
    picked = _stratified_sample(labels, 100, torch.Generator().manual_seed(0))
    assert len(picked.unique()) == 100
    assert abs(int((labels[picked] == 1).sum()) - 10) <= 1
    again = _stratified_sample(labels, 100, torch.Generator().manual_seed(1))
    assert set(picked.tolist()) != set(again.tolist())


def test_imbalance_is_weighed_out(network: nas.Architecture) -> None:
    data = made_up([200, 10])
    assert data.imbalance == 20
    accuracy = proxy_of(data).evaluate(network, seed=1, report=never)
    assert accuracy.mean > 0.7
    assert "every class weighing the same" in accuracy.metric


def test_scores() -> None:
    labels = torch.tensor([0] * 9 + [1])
    always_0 = torch.tensor([[5.0, -5.0]]).repeat(10, 1)
    even, weighed = score(always_0, labels, by_class=False), score(always_0, labels, by_class=True)
    assert even.accuracy == pytest.approx(0.9)
    assert even.standard_error == pytest.approx(math.sqrt(0.9 * 0.1 / 10))
    assert weighed.accuracy == pytest.approx(0.5)
    # An error of 0 would say that a few images know the accuracy exactly.
    for count in range(1, 60):
        for right in (1.0, -1.0):
            logits = torch.tensor([[right, -right]]).repeat(count, 1)
            found = score(logits, torch.zeros(count).long(), by_class=False)
            assert found.standard_error == pytest.approx(0.5 / count), count
            Accuracy(found.accuracy, found.standard_error)
    with pytest.raises(Diverged, match="not finite"):
        score(always_0 * math.nan, labels, by_class=False)


def test_is_a_proxy_that_ranks_by_loss() -> None:
    proxy = proxy_of(made_up())
    assert isinstance(proxy, Proxy)
    assert proxy.capabilities.rank_by == "loss"
    described = description(proxy)
    assert described["name"] == "training"
    assert described["images_seen"] == 640
    make_objective("accuracy", Budget("none"), proxy.capabilities.rank_by)


def test_settings_suit_the_data() -> None:
    tiny, large = nas.load_space("tiny"), nas.load_space("efficientnet")
    data = made_up()
    assert default_settings(data, tiny).images_seen == 4_000
    assert default_settings(data, replace(tiny, resolution=8)).resolution == 8
    scaled = scaled_settings(default_settings(data, large), large)
    assert scaled.resolution == SCALED_RESOLUTION
    assert scaled.images_seen == 4_000  # less would be at chance
    assert scaled_settings(TrainingSettings(images_seen=40_000), large).images_seen == 8_000
    timed = training_settings(data, tiny, 0.01, "cpu")
    assert timed.images_seen == 256
    # A short training is validated on no more than it saw: its time is for training.
    assert (timed.validation_images, timed.check_images) == (256, 64)
    longer = training_settings(data, tiny, 20, "cpu")
    assert longer.images_seen > 256
    assert longer.validation_images <= longer.images_seen


def test_proxies_by_name() -> None:
    space = nas.load_space("efficientnet")
    assert isinstance(known_proxy("imagenet", space), ImagenetProxy)
    with pytest.raises(nas.InputError, match="proxy 'trainin' is not accepted: supernet, training"):
        proxy_capabilities("trainin")
    for name in ("table:", "table:FILE", "table"):
        with pytest.raises(nas.InputError):
            known_proxy(name, space)


@pytest.mark.parametrize(("pixels", "same"), [(32, True), (96, False)])
def test_networks_that_a_training_cannot_tell_apart(pixels: int, same: bool) -> None:
    network = efficientnet_b0()
    *others, last = network.stages
    larger = replace(network, stages=(*others, replace(last, kernel=5)))
    seen = seen_by_training(TrainingSettings(resolution=pixels), network.resolution)
    assert (seen(network) == seen(larger)) is same
    assert seen(network) != seen(replace(network, stages=(*others, replace(last, layers=2))))
