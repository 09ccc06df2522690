"""Every proxy fulfils the contract that users' own are tested by."""

import json
from functools import cache
from pathlib import Path

import pytest

import nas
from nas.data import ImageData
from nas.proxies.imagenet_predictor import ImagenetProxy
from nas.proxies.protocol import Proxy
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.proxies.supernet import SupernetProxy
from nas.proxies.tabular import TableProxy
from nas.proxies.zero_cost import MEASURES, ZeroCostProxy
from nas.testing import ProxyContract, ToyProxy
from nas.training.supernet_trainer import SupernetSettings
from tests.support.images import made_up


@cache
def data() -> ImageData:
    return made_up()


class TestToy(ProxyContract):
    def make(self) -> Proxy:
        return ToyProxy(steps=3)


class TestTraining(ProxyContract):
    def make(self) -> Proxy:
        return TrainingProxy(
            data(), TrainingSettings(resolution=16, images_seen=128, batch_size=32)
        )


class TestSupernet(ProxyContract):
    def make(self) -> Proxy:
        settings = SupernetSettings(
            resolution=16,
            images_seen=64,
            batch_size=8,
            recalibration_images=32,
            validation_images=48,
        )
        return SupernetProxy(data(), settings)


class TestImagenet(ProxyContract):
    def make(self) -> Proxy:
        return ImagenetProxy()

    def space(self) -> nas.SearchSpace:
        return nas.load_space("efficientnet")


@pytest.mark.parametrize("measure", MEASURES)
class TestZeroCost(ProxyContract):
    @pytest.fixture(autouse=True)
    def _measured_by(self, measure: str) -> None:
        self.measure = measure

    def make(self) -> Proxy:
        return ZeroCostProxy(self.measure, data() if self.measure == "naswot" else None)


class TestTable(ProxyContract):
    @pytest.fixture(autouse=True)
    def _written(self, tmp_path: Path) -> None:
        self.path = tmp_path / "table.jsonl"
        rows = [
            {"choices": self.space().encode(network), "accuracy": 0.5 + 0.1 * index}
            for index, network in enumerate(self.networks())
        ]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(self) -> Proxy:
        return TableProxy(nas.read_table(self.path))
