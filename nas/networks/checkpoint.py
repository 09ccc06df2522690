"""The state dict within a checkpoint: whatever it is wrapped in, and its names are prefixed by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.errors import InputError, one_line

if TYPE_CHECKING:
    from torch import Tensor

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
"""Keys of the moving average of the weights, which is better than the weights of the last step."""

PLAIN = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params")
"""Keys of the weights themselves."""

_DEPTH = 3
"""Dictionaries around a state dict, at most."""

_COUNTERS = ("n_averaged",)
"""What wrappers for averaging add, and no network has."""

_SHOWN = 3


@dataclass(frozen=True)
class StateDict:
    """A network's tensors.

    Attributes:
        tensors: by name.
        steps: how they were found, for messages: ``"the entry 'state_dict'"``.
    """

    tensors: Mapping[str, Tensor]
    steps: tuple[str, ...] = ()


def find_state_dict(content: object, source: str) -> StateDict:
    """Return the state dict in what a file holds: itself, or one of the entries that have one.

    A moving average is taken before the weights of the last step.

    Args:
        content: what the file holds.
        source: name of the file, for messages.

    Raises:
        InputError: there is none.
    """
    import torch

    steps: list[str] = []
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping):
            break
        keys: Mapping[Any, Any] = content
        inner = next((key for key in (*AVERAGED, *PLAIN) if _has_tensors(keys.get(key))), "")
        if not inner:
            break
        average = ", a moving average," if inner in AVERAGED else ""
        steps.append(f"the entry {inner!r}{average} of the checkpoint is used")
        content = keys[inner]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{source}: not a state dict: accepted: dense tensors by name")
    wrong = next(
        (
            name
            for name, value in content.items()
            if not isinstance(name, str)
            or not isinstance(value, torch.Tensor)
            or value.layout is not torch.strided
            or value.device.type != "cpu"
        ),
        None,
    )
    if wrong is not None:
        known = ", ".join((*AVERAGED, *PLAIN))
        raise InputError(
            f"{source}: not a state dict: {one_line(repr(wrong))[:60]} is no dense tensor; "
            f"accepted: dense tensors by name, or a dictionary with such a one as {known}"
        )
    return StateDict(dict(content), tuple(steps))


def _has_tensors(entry: object, depth: int = _DEPTH) -> bool:
    """Return whether an entry is a dictionary with tensors in it, or in one of its own."""
    import torch

    if not isinstance(entry, Mapping) or not depth:
        return False
    return any(
        isinstance(value, torch.Tensor) or _has_tensors(value, depth - 1)
        for value in entry.values()
    )


def without_prefix(found: StateDict, firsts: Mapping[str, object], source: str) -> StateDict:
    """Return a state dict without what wrappers put before the names (``module.``).

    Args:
        found: the state dict.
        firsts: names of the first tensor in the known libraries.
        source: name of the file, for messages.

    Raises:
        InputError: no tensor has one of these names, whatever stands before it.
    """
    names = found.tensors
    prefixes = {
        name.removesuffix(first)
        for name in names
        for first in firsts
        if name == first or name.endswith(f".{first}")
    }
    if not prefixes:
        shown = ", ".join(one_line(name) for name in list(names)[:_SHOWN])
        tried = "; ".join((*found.steps, "any prefix of names"))
        raise InputError(
            f"{source}: not the weights of a known network: its first tensors are {shown}; "
            f"accepted: {', '.join(f'{lib}: {first}' for first, lib in firsts.items())} "
            f"(tried: {tried})"
        )
    # Without a prefix first; then moving averages, which wrappers keep beside the network.
    prefix = min(prefixes, key=lambda text: (text != "", "ema" not in text.lower(), len(text)))
    if not prefix:
        return found
    others = {other for other in prefixes if other and other != prefix}
    tensors = {}
    for name, tensor in names.items():
        if name.startswith(prefix):
            tensors[name.removeprefix(prefix)] = tensor
        elif name not in _COUNTERS and not name.startswith(tuple(others)):
            tensors[name] = tensor
    return StateDict(tensors, (*found.steps, f"{prefix!r} before the names is removed"))
