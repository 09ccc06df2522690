"""Small search spaces that have every form that a space can have."""

from __future__ import annotations

from functools import cache
from typing import Any

from nas.spaces.registry import load_space
from nas.spaces.search_space import SearchSpace
from nas.spaces.toml import space_from_dict

PLAIN: dict[str, Any] = {
    "op": "mbconv",
    "kernel": 3,
    "expansion": 2,
    "layers": 1,
    "width": 8,
    "stride": 1,
}
"""A stage with nothing to choose."""

JOINT: dict[str, Any] = {
    "width": 8,
    "stride": 1,
    "layers": 1,
    "block": [
        {"op": "skip"},
        {"op": "mbconv", "kernel": 3, "expansion": 2},
        {"op": "fused_mbconv", "kernel": 5, "expansion": 1},
    ],
}
"""A stage that chooses among whole blocks."""


def space_of(*stages: dict[str, Any]) -> SearchSpace:
    """Return a space of these stages, for images of 32 pixels and 10 classes."""
    return space_from_dict(
        {
            "schema": "nas-search-space/1",
            "name": "made up",
            "resolution": 32,
            "num_classes": 10,
            "activation": "relu",
            "stem": {"kernel": 3, "stride": 2, "width": 8},
            "head": {"width": 16, "dropout": 0.0},
            "stage": list(stages),
        }
    )


@cache
def small_spaces() -> dict[str, SearchSpace]:
    """Return the spaces by what is special about them."""
    return {
        "nothing to choose": space_of(PLAIN),
        "one choice": space_of(PLAIN | {"kernel": [3, 5]}),
        "a list of one value": space_of(PLAIN | {"kernel": [5], "expansion": [1, 2, 4]}),
        "joint blocks": space_of(JOINT, JOINT),
        "widths": space_of(PLAIN | {"width": [8, 12, 16]}, PLAIN | {"width": [8, 16], "stride": 2}),
        "every form": load_space("tiny"),
    }
