"""What is kept of a training on disk: tensors as safetensors, and beside them what they mean."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.errors import InputError
from nas.files import parse_json, read_bytes, read_text, validate, write_bytes, write_json

logger = logging.getLogger(__name__)

STATE_FILE = "state.json"

MAX_BYTES = 8 * 1024 * 1024 * 1024


class Step(Protocol):
    """A dataclass that says how far a training is, in steps among other things."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> int:
        """Steps done."""
        ...


P = TypeVar("P", bound=Step)


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")
    schema_: Annotated[str, Field(alias="schema")]
    identity: dict[str, Any]
    progress: dict[str, Any]
    tensors: str
    sha256: str


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class Checkpoints(Generic[P]):
    """A folder that holds the state of one training.

    The tensors are written first, under a name of their own, then the file that names them, and
    then what it named before goes. So whatever moment the process dies at, the state is whole.

    Args:
        folder: where; made when something is saved.
        identity: plain data that says which training it is; the state of another one is ignored,
            and overwritten.
        progress: what says how far it is: a dataclass.
        schema: of the file that says what the tensors mean.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], progress: type[P], schema: str
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._progress = TypeAdapter(progress)
        self._schema = schema

    def load(self, device: str) -> tuple[P, dict[str, Tensor]] | None:
        """Return progress and tensors of this training, or None if there are none.

        Raises:
            InputError: what is there is damaged; names the file.
        """
        path = self._folder / STATE_FILE
        if not os.path.lexists(path):
            return None
        state = validate(_STATE, parse_json(read_text(path), str(path)), str(path))
        if state.schema_ != self._schema:
            raise InputError(f"{path}: schema: {state.schema_!r} is not accepted: {self._schema}")
        if state.identity != self._identity:
            logger.info("%s: checkpoint of another training, ignored", path)
            return None
        file = self._folder / Path(state.tensors).name
        content = read_bytes(file, MAX_BYTES)
        try:
            if hashlib.sha256(content).hexdigest() != state.sha256:
                raise InputError(
                    f"{file}: not what {STATE_FILE} says; delete {self._folder} to train anew"
                )
            tensors = load(content)
        except SafetensorError as error:
            raise InputError(f"{file}: not safetensors: {error}") from None
        progress = validate(self._progress, state.progress, f"{path}: progress")
        logger.info("%s: resumed at step %d", path, progress.step)
        return progress, {name: tensor.to(device) for name, tensor in tensors.items()}

    def save(self, progress: P, tensors: dict[str, Tensor]) -> None:
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
                "schema": self._schema,
                "identity": self._identity,
                "progress": asdict(progress),
                "tensors": file.name,
                "sha256": hashlib.sha256(content).hexdigest(),
            },
        )
        logger.info("%s: checkpoint written at step %d", file, progress.step)
        for old in self._folder.glob("*step-*.safetensors*"):
            if old != file:
                old.unlink(missing_ok=True)
