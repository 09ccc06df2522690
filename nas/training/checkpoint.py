"""Checkpoints of a training: a JSON file with its state, and its tensors as safetensors."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
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
"""A larger file of tensors is refused."""


class ResumableState(Protocol):
    """A dataclass with what a training has to know to resume, besides its tensors."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> int:
        """Number of steps done."""
        ...


S = TypeVar("S", bound=ResumableState)


class _StateFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    schema_: Annotated[str, Field(alias="schema")]
    identity: dict[str, Any]
    state: dict[str, Any]
    tensors: str
    sha256: str


_STATE_FILE: TypeAdapter[_StateFile] = TypeAdapter(_StateFile)


class CheckpointFolder(Generic[S]):
    """A folder that holds the last checkpoint of one training.

    The tensors are written to a new file, then the JSON file that names it is replaced, and then
    the old tensors are deleted: a process that is killed at any moment leaves a whole checkpoint.

    Args:
        folder: its path; created when something is saved.
        identity: plain data that identifies the training; a checkpoint of another training is
            ignored, and overwritten.
        state: the dataclass of the state.
        schema: of the JSON file.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], state: type[S], schema: str) -> None:
        self._folder = folder
        self._identity = identity
        self._state = TypeAdapter(state)
        self._schema = schema

    def load(self, device: str) -> tuple[S, dict[str, Tensor]] | None:
        """Return the state and the tensors of this training; None: there are none.

        Args:
            device: of the tensors.

        Raises:
            InputError: the checkpoint is damaged; names the file.
        """
        path = self._folder / STATE_FILE
        if not os.path.lexists(path):
            return None
        found = validate(_STATE_FILE, parse_json(read_text(path), str(path)), str(path))
        if found.schema_ != self._schema:
            raise InputError(f"{path}: schema: {found.schema_!r} is not accepted: {self._schema}")
        if found.identity != self._identity:
            logger.info("%s: checkpoint of another training, ignored", path)
            return None
        file = self._folder / Path(found.tensors).name
        content = read_bytes(file, MAX_BYTES)
        try:
            if hashlib.sha256(content).hexdigest() != found.sha256:
                raise InputError(
                    f"{file}: does not match its hash in {STATE_FILE}; delete {self._folder} to "
                    "train from the beginning"
                )
            tensors = load(content)
        except SafetensorError as error:
            raise InputError(f"{file}: not safetensors: {error}") from None
        state = validate(self._state, found.state, f"{path}: state")
        logger.info("%s: resumed at step %d", path, state.step)
        return state, {name: tensor.to(device) for name, tensor in tensors.items()}

    def save(self, state: S, tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint in place of the last one.

        Raises:
            InputError: the folder cannot be written.
        """
        content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        file = self._folder / f"step-{state.step}.safetensors"
        write_bytes(file, content)
        write_json(
            self._folder / STATE_FILE,
            {
                "schema": self._schema,
                "identity": self._identity,
                "state": asdict(state),
                "tensors": file.name,
                "sha256": hashlib.sha256(content).hexdigest(),
            },
        )
        logger.info("%s: checkpoint written at step %d", file, state.step)
        for old in self._folder.glob("*step-*.safetensors*"):
            if old != file:
                old.unlink(missing_ok=True)


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under ``<prefix>/<name>``, to be saved beside those of others."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those tensors that :func:`with_prefix` has put under a prefix, by their own names."""
    start = f"{prefix}/"
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
