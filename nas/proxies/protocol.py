"""What a proxy must offer, what it may declare, and what it may offer besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

from nas.accuracy import Accuracy, RankBy
from nas.errors import InputError
from nas.networks.architecture import Architecture
from nas.spaces.budget import Budget
from nas.spaces.search_space import SearchSpace

Report = Callable[[int, float], bool]
"""``report(step, value)``, higher values better; returns True when the evaluation should stop."""


@runtime_checkable
class Proxy(Protocol):
    """A way of measuring accuracy that costs less than full training. Users write their own.

    These two methods are all that is needed. What else a proxy can do, it declares in an attribute
    ``capabilities`` (:class:`ProxyCapabilities`). It may also have a ``name``, and ``describe()``
    that returns its settings: they are part of a run's identity, so that other settings are
    another run. Further optional methods are the small protocols of ``nas.proxies.protocol``.

    To run in parallel processes (``jobs > 1``) a proxy must be picklable.
    """

    def prepare(self, space: SearchSpace, budget: Budget, folder: Path) -> None:
        """Do once, before the first evaluation, what all evaluations share.

        It may be called again with the same arguments, and should then do nothing.
        """
        ...

    def evaluate(self, arch: Architecture, *, seed: int, report: Report) -> Accuracy:
        """Return the accuracy of one architecture; raise any exception to fail the trial.

        Call ``report`` after each step, and return early when it returns True.
        """
        ...


@dataclass(frozen=True)
class ProxyCapabilities:
    """What a proxy can do and what it needs; the defaults hold for one that declares nothing.

    Attributes:
        rank_by: what ranks networks: ``"accuracy"``, the mean accuracy, or ``"loss"``, exp(-loss);
            then every accuracy that the proxy returns must have a loss.
        partial: knows only part of a search space, as a benchmark table does, so that many failed
            trials in a row do not end a search.
        needs_images: is made of images (``--data``, or else the built-in ones).
        trains_candidates: trains every candidate, so that an evaluation takes seconds or more.
            A search then has fewer trials by default, and runs several at once.
        shares_weights: trains one set of weights for all candidates in ``prepare``, which then has
            its own share of the time.

    Raises:
        InputError: ``rank_by`` is neither of the two.
    """

    rank_by: RankBy = "accuracy"
    partial: bool = False
    needs_images: bool = False
    trains_candidates: bool = False
    shares_weights: bool = False

    def __post_init__(self) -> None:
        if self.rank_by not in get_args(RankBy):
            raise InputError(f"rank_by {self.rank_by!r} is not accepted: accuracy, loss")


@runtime_checkable
class Declares(Protocol):
    """A proxy that declares its capabilities."""

    @property
    def capabilities(self) -> ProxyCapabilities:
        """What it can do; an attribute of the class serves as well."""
        ...


@runtime_checkable
class Named(Protocol):
    """A proxy with a name of its own, for files and messages; otherwise its class's name serves."""

    @property
    def name(self) -> str:
        """The name; an attribute of the class serves as well."""
        ...


@runtime_checkable
class Described(Protocol):
    """A proxy with settings. They are part of a run's identity: other settings, another run."""

    def describe(self) -> dict[str, Any]:
        """Return the settings as plain data, ready for JSON."""
        ...


@runtime_checkable
class CorrectsSelection(Protocol):
    """A predictor that knows by how much the best of many predictions is too high."""

    def corrected(self, arch: Architecture) -> Accuracy:
        """Return what is to be expected of a network that was chosen as the best of many."""
        ...

    def nearest(self, arch: Architecture) -> list[dict[str, Any]]:
        """Return the measured networks that are nearest to ``arch``, ready for JSON."""
        ...


@runtime_checkable
class FittedToTable(Protocol):
    """A proxy that was made from a benchmark table, and must not be judged by the same rows."""

    @property
    def held_out(self) -> str:
        """What it reaches on networks that it was not fitted on, in words; empty if unknown."""
        ...

    def in_sample(self, table_sha256: str, arch: Architecture) -> bool:
        """Return whether a network's row in the table of that hash went into the proxy."""
        ...


def capabilities_of(proxy: Proxy | type[Proxy]) -> ProxyCapabilities:
    """Return what a proxy declares, or the defaults where it declares nothing.

    Raises:
        InputError: its attribute ``capabilities`` is something else.
    """
    if not isinstance(proxy, Declares):
        return ProxyCapabilities()
    declared: object = proxy.capabilities
    if isinstance(declared, ProxyCapabilities):
        return declared
    owner = proxy if isinstance(proxy, type) else type(proxy)
    raise InputError(
        f"proxy {owner.__name__}: capabilities: {type(declared).__name__} is not accepted: "
        "a ProxyCapabilities"
    )


def description(proxy: Proxy) -> dict[str, Any]:
    """Return a proxy's name and settings as plain data."""
    name = proxy.name if isinstance(proxy, Named) else type(proxy).__name__
    return {"name": name, **(proxy.describe() if isinstance(proxy, Described) else {})}
