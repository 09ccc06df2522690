"""Importing Accel-NASBench (arXiv 2404.08005): its released archive as a benchmark table."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from nas.errors import InputError, one_line
from nas.files import decoded, parse_json, read_bytes, validate, write_text
from nas.spaces.registry import load_space

ACCEL_NASBENCH_SHA256 = "3520992d42e368b7c08c99fc3f6612855b5b366bf98668a7f19d49f3131aa4ae"
"""Of ``anb_dataset_jsons.tar.gz``: repository afzalxo/Accel-NASBench, commit 42603572."""

MAX_ARCHIVE_BYTES = 16 * 1024 * 1024
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
MAX_MEMBER_BYTES = 64 * 1024
MAX_MEMBERS = 20_000
_MEMBER = re.compile(r"(?:\./)?anb_dataset_jsons/result_([0-9]{1,6})\.json")
_STAGES = 7

_Percent = Annotated[float, Field(ge=0, le=100)]
_Measure = dict[str, Annotated[float, Field(allow_inf_nan=False)] | None]


class _Metrics(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    val_top1: _Percent
    val_top5: _Percent
    train_time: float


class _Info(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    macs: float
    params: float


class _Result(BaseModel):
    """One JSON of the archive."""

    model_config = ConfigDict(extra="forbid")
    architecture: dict[str, int | bool]
    metrics: _Metrics
    model_info: _Info
    platform_perf: dict[str, _Measure]


_RESULT: TypeAdapter[_Result] = TypeAdapter(_Result)


def import_accel_nasbench(
    archive: Path, out: Path, checksum: str = ACCEL_NASBENCH_SHA256
) -> tuple[int, int]:
    """Write the table of Accel-NASBench (arXiv 2404.08005) from its released archive.

    A row has the choices of space ``efficientnet``, ``accuracy`` (ImageNet top-1 after 16 epochs)
    and, under the names and in the units of the source, what else was measured: ``val_top5``
    (percent), ``train_time`` (seconds), ``macs`` and ``params`` (millions, by their counter), and
    each device's throughput or latency with its ``_std`` where there is one.

    Members are read as data and never extracted.

    Returns:
        How many rows, and how many different architectures.

    Raises:
        InputError: the archive is not the released one, or cannot be read; ``out`` cannot be
            written.
    """
    packed = _packed(archive, checksum)
    space = load_space("efficientnet")
    rows: dict[int, dict[str, Any]] = {}
    keys = set()
    for number, where, text in _members(archive, packed):
        result = validate(_RESULT, parse_json(text, where), where)
        choices = _choices(result.architecture, where)
        try:
            keys.add(space.decode(choices).key())
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if number in rows:
            raise InputError(f"{where}: occurs twice in the archive")
        rows[number] = {
            "choices": choices,
            "accuracy": round(result.metrics.val_top1 / 100, 8),
            "result": number,
            "val_top5": result.metrics.val_top5,
            "train_time": result.metrics.train_time,
            "macs": result.model_info.macs,
            "params": result.model_info.params,
            **_devices(result.platform_perf),
        }
    if not rows:
        raise InputError(f"{archive}: holds no anb_dataset_jsons/result_<n>.json")
    lines = (json.dumps(rows[number], allow_nan=False) for number in sorted(rows))
    write_text(out, "".join(f"{line}\n" for line in lines))
    return len(rows), len(keys)


def _packed(archive: Path, checksum: str) -> bytes:
    """Return the archive's bytes, which are the released ones."""
    packed = read_bytes(archive, MAX_ARCHIVE_BYTES)
    found = hashlib.sha256(packed).hexdigest()
    if found != checksum:
        raise InputError(
            f"{archive}: not the released archive: its SHA-256 is {found}, accepted: {checksum}"
        )
    return packed


def _members(archive: Path, packed: bytes) -> Iterator[tuple[int, str, str]]:
    """Yield number, name for messages, and text of each result."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            # At once and bounded, before anything in it says how much it is.
            unpacked = file.read(MAX_UNPACKED_BYTES + 1)
        if len(unpacked) > MAX_UNPACKED_BYTES:
            raise InputError(f"{archive}: unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB")
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
            for count, member in enumerate(tar, 1):
                where = f"{archive}: {member.name[:100]!r}"
                if count > MAX_MEMBERS:
                    raise InputError(f"{archive}: more than {MAX_MEMBERS:,} members, refused")
                if member.isdir():
                    continue
                name = _MEMBER.fullmatch(member.name)
                if name is None or not member.isreg() or member.issparse():
                    raise InputError(f"{where}: not a result of Accel-NASBench")
                if member.size > MAX_MEMBER_BYTES:
                    raise InputError(f"{where}: larger than {MAX_MEMBER_BYTES >> 10} KiB, refused")
                stream = tar.extractfile(member)
                assert stream is not None  # a regular file has one
                yield int(name[1]), where, decoded(stream.read(MAX_MEMBER_BYTES), where)
    except InputError:
        raise
    except Exception as error:  # whatever its readers trip over: the bytes may be anything
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{archive}: not an archive that can be read: {reason}") from None


def _choices(blocks: dict[str, int | bool], where: str) -> dict[str, int | float]:
    fields = {"kernel": "k", "expansion": "e", "layers": "l", "se_ratio": "se"}
    wanted = {f"block{i}_{letter}" for i in range(_STAGES) for letter in fields.values()}
    if set(blocks) != wanted:
        odd = sorted(set(blocks) ^ wanted)[0]
        raise InputError(f"{where}: architecture.{odd}: missing or unknown")
    choices: dict[str, int | float] = {}
    for index in range(_STAGES):
        for field, letter in fields.items():
            value = blocks[f"block{index}_{letter}"]
            if (field == "se_ratio") != isinstance(value, bool):
                raise InputError(f"{where}: block{index}_{letter}: {value!r} is not accepted")
            choices[f"stage{index + 1}.{field}"] = 0.25 * value if field == "se_ratio" else value
    return choices


def _devices(measured: dict[str, _Measure]) -> dict[str, float]:
    """Return ``throughput_a100``, ``throughput_a100_std`` and the like; what is null is left out.

    A null stands where a device could not be measured.
    """
    return {
        device + suffix: value
        for device, parts in measured.items()
        for part, suffix in (("_mean", ""), ("_std", "_std"))
        if (value := parts.get(device.split("_")[0] + part)) is not None
    }
