"""The proxies by name, and what suits a user's data and time."""

from __future__ import annotations

from pathlib import Path

from nas.data import ImageData
from nas.errors import InputError
from nas.proxies.benchmark_table import read_table
from nas.proxies.protocol import Proxy
from nas.proxies.short_training import TrainingProxy, TrainingSettings
from nas.proxies.supernet import OnProgress, SupernetProxy
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace
from nas.training.supernet_trainer import SupernetSettings

PROXIES: dict[str, str] = {
    "supernet": "trains all networks at once, with shared weights; then scores each; ranks by loss",
    "training": "trains each candidate from scratch, narrow, at few pixels, briefly; ranks by loss",
    "imagenet": "predicts ImageNet top-1 after 16 epochs, from 5,138 real trainings; no images",
    "zero-cost:NAME": "scores without training, as baselines: synflow, naswot, flops, params",
    "table:FILE": "looks each candidate up in a benchmark table (JSON Lines); no images",
}
"""The proxies by name, a line each."""

TRAINING = "training"
SUPERNET = "supernet"
_TABLE = "table:"
_ZERO_COST = "zero-cost:"


def trains(name: str) -> bool:
    """Say whether the proxy of that name trains every candidate."""
    return name == TRAINING


def needs_images(name: str) -> bool:
    """Say whether the proxy of that name looks at images."""
    return name in (SUPERNET, TRAINING, f"{_ZERO_COST}naswot")


def default_proxy(space: SearchSpace, data: str | None) -> str:
    """Return the proxy that suits: a trained one for a user's data or a space nobody measured."""
    from nas.proxies.imagenet_surrogate import knows

    return "imagenet" if data is None and knows(space) else SUPERNET


def make_proxy(
    name: str,
    data: ImageData | None = None,
    settings: TrainingSettings | SupernetSettings | None = None,
    device: str = "cpu",
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Proxy:
    """Return a proxy by its name, not prepared yet.

    Args:
        name: of the catalogue.
        data: images, for a proxy that needs them.
        settings: how that one trains.
        device: where it does.
        seed: of what is trained once for all networks.
        on_progress: told how far that training is.

    Raises:
        InputError: unknown name, or a table that cannot be read.
    """
    check_proxy(name)
    assert data is not None or not needs_images(name), "the caller loads images where needed"
    if name.startswith(_ZERO_COST):
        from nas.proxies.zero_cost import ZeroCostProxy

        return ZeroCostProxy(name.removeprefix(_ZERO_COST), data, device)
    if data is not None and name == TRAINING:
        assert not isinstance(settings, SupernetSettings)
        return TrainingProxy(data, settings, device)
    if data is not None and name == SUPERNET:
        assert not isinstance(settings, TrainingSettings)
        return SupernetProxy(data, settings, device, seed, on_progress)
    if name.startswith(_TABLE):
        from nas.proxies.tabular import TableProxy

        return TableProxy(read_table(Path(name.removeprefix(_TABLE))))
    from nas.proxies.imagenet_surrogate import ImagenetProxy

    return ImagenetProxy()


def known_proxy(name: str, space: SearchSpace) -> Proxy:
    """Return a proxy that needs no images, ready for the space.

    Raises:
        InputError: unknown name, a table that cannot be read or is of another space, a space that
            the predictor does not know.
    """
    proxy = make_proxy(name)
    proxy.prepare(space, Budget("none"), Path())
    return proxy


def check_proxy(name: str) -> None:
    """Raise :class:`InputError` unless a proxy has that name."""
    if name.startswith(_TABLE) and name != _TABLE:
        return
    if name.startswith(_ZERO_COST):
        from nas.proxies.zero_cost import MEASURES

        if name.removeprefix(_ZERO_COST) in MEASURES:
            return
        raise InputError(
            f"proxy {name!r} is not accepted: "
            + ", ".join(f"{_ZERO_COST}{measure}" for measure in MEASURES)
        )
    if name not in PROXIES or name.startswith(_TABLE):
        raise InputError(f"proxy {name!r} is not accepted: {', '.join(PROXIES)}")


def check_data(name: str, data: str | None) -> None:
    """Raise :class:`InputError` where images are given to a proxy that looks at none."""
    if data is not None and not needs_images(name):
        raise InputError(f"--data {data}: not accepted: proxy {name} looks at no images")


def check_grid_proxy(name: str) -> None:
    """Raise :class:`InputError` unless that proxy can measure scaled networks."""
    check_proxy(name)
    if not trains(name):
        raise InputError(
            f"grid proxy {name!r} is not accepted: {TRAINING} (a predictor or a table knows "
            "nothing of scaled networks)"
        )
