"""When a training counts as diverged."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.errors import Diverged


def check_finite(values: Tensor, what: str) -> None:
    """Raise an error if a training has come to values that are infinite or not a number.

    On a GPU this waits until the values are computed.

    Args:
        values: of any shape, such as a sum of losses.
        what: what they are, for the message: "the loss at step 3 of 10".

    Raises:
        Diverged: not all of them are finite.
    """
    if not bool(torch.isfinite(values).all()):
        raise Diverged(f"the training diverged: {what} is not finite")
