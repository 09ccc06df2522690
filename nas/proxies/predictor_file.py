"""The two files of a predictor: its arrays (safetensors), and its metadata (JSON)."""

from __future__ import annotations

import hashlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from nas.errors import InputError
from nas.files import parse_json, read_bytes, read_text, to_json, validate, write_bytes, write_text
from nas.proxies.predictor import Predictor, PredictorArrays, PredictorMetadata
from nas.spaces.search_space import SearchSpace

MAX_ARRAY_BYTES = 64 * 1024 * 1024
_METADATA: TypeAdapter[PredictorMetadata] = TypeAdapter(PredictorMetadata)


def write_predictor(predictor: Predictor, folder: Path, name: str) -> int:
    """Write ``<name>.safetensors`` and ``<name>.json``; return the size of both in bytes.

    Raises:
        InputError: a file cannot be written.
    """
    from safetensors.numpy import save

    arrays = predictor.arrays
    plain: dict[str, npt.NDArray[Any]] = {}
    for key in PredictorArrays.__dataclass_fields__:
        value = getattr(arrays, key)
        if isinstance(value, tuple):
            plain |= {f"{key}.{i}": part.astype(np.float32) for i, part in enumerate(value)}
        elif key == "rows":
            plain[key] = value.astype(np.int32)
        else:
            plain[key] = value.astype(np.float64 if value.size < 1_000 else np.float32)
    packed = save({key: np.ascontiguousarray(value) for key, value in plain.items()})
    described = predictor.metadata.model_copy(
        update={"arrays_sha256": hashlib.sha256(packed).hexdigest()}
    )
    text = to_json(described.model_dump(by_alias=True))
    write_bytes(folder / f"{name}.safetensors", packed)
    write_text(folder / f"{name}.json", text)
    return len(packed) + len(text.encode())


def read_predictor(folder: Path, name: str, space: SearchSpace) -> Predictor:
    """Return a predictor from its two files.

    Raises:
        InputError: they cannot be read, or are not a predictor's of this space.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path, packed = folder / f"{name}.json", folder / f"{name}.safetensors"
    metadata = validate(_METADATA, parse_json(read_text(path), str(path)), str(path))
    content = read_bytes(packed, MAX_ARRAY_BYTES)
    if hashlib.sha256(content).hexdigest() != metadata.arrays_sha256:
        raise InputError(f"{packed}: does not match the SHA-256 in {path.name}")
    stages = range(len(space.stages))
    try:
        plain = load(content)
        parts: dict[str, Any] = {
            key: tuple(plain[f"{key}.{i}"] for i in stages)
            if key in ("embeddings", "sums")
            else plain[key]
            for key in PredictorArrays.__dataclass_fields__
        }
        arrays = PredictorArrays(**parts)
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{packed}: not a predictor's arrays: {error}") from None
    expected = [prod(map(len, stage.values().values())) for stage in space.stages]
    if [len(table) for table in arrays.embeddings] != expected:
        raise InputError(f"{packed}: not arrays for space {space.name!r}")
    return Predictor(metadata, arrays, space)
