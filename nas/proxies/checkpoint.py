"""What is kept of a supernet on disk: tensors as safetensors, and beside them what they mean."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.errors import InputError
from nas.files import parse_json, read_text, validate, write_bytes, write_json

STATE_FILE = "state.json"


@dataclass(frozen=True)
class Progress:
    """How far a training is, and what was seen on the way.

    Attributes:
        step: steps done.
        rate: factor on the learning rate; halved each time the training diverged.
        losses: mean training loss of each interval so far.
        mendings: each time that it diverged: the step it went back to, and the interval's loss
            (None: not finite).
    """

    step: int = 0
    rate: float = 1.0
    losses: tuple[float, ...] = ()
    mendings: tuple[tuple[int, float | None], ...] = ()

    def after(self, step: int, loss: float) -> Progress:
        """Return the progress after a sound interval that ends at ``step``."""
        return replace(self, step=step, losses=(*self.losses, round(loss, 6)))

    def mended(self, loss: float) -> Progress:
        """Return the progress after an interval that was taken back."""
        seen = round(loss, 6) if math.isfinite(loss) else None
        return replace(self, rate=self.rate / 2, mendings=(*self.mendings, (self.step, seen)))


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")
    schema_: Annotated[Literal["nas-search-supernet/1"], Field(alias="schema")]
    identity: dict[str, Any]
    progress: Progress
    tensors: str
    sha256: str


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class Checkpoints:
    """A folder that holds the state of one training.

    The tensors are written first, under a name of their own, then the file that names them, and
    then what it named before goes. So whatever moment the process dies at, the state is whole.

    Args:
        folder: where; made when something is saved.
        identity: plain data that says which training it is; the state of another one is ignored,
            and overwritten.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder = folder
        self._identity = identity

    def load(self, device: str) -> tuple[Progress, dict[str, Tensor]] | None:
        """Return progress and tensors of this training, or None if there are none.

        Raises:
            InputError: what is there is damaged; names the file.
        """
        path = self._folder / STATE_FILE
        if not path.exists():
            return None
        state = validate(_STATE, parse_json(read_text(path), str(path)), str(path))
        if state.identity != self._identity:
            return None
        file = self._folder / Path(state.tensors).name
        try:
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() != state.sha256:
                raise InputError(
                    f"{file}: not what {STATE_FILE} says; delete {self._folder} to train anew"
                )
            tensors = load(content)
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None
        except SafetensorError as error:
            raise InputError(f"{file}: not safetensors: {error}") from None
        return state.progress, {name: tensor.to(device) for name, tensor in tensors.items()}

    def save(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        """Write a state in place of the last one.

        Raises:
            InputError: the folder cannot be written.
        """
        content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        file = self._folder / f"step-{progress.step}.safetensors"
        write_bytes(file, content)
        write_json(
            self._folder / STATE_FILE,
            {
                "schema": "nas-search-supernet/1",
                "identity": self._identity,
                "progress": asdict(progress),
                "tensors": file.name,
                "sha256": hashlib.sha256(content).hexdigest(),
            },
        )
        for old in self._folder.glob("*step-*.safetensors*"):
            if old != file:
                old.unlink(missing_ok=True)
