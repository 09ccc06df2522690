"""Published accuracies of scaled networks: the table, and the trainings that are fitted."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import InputError, one_line
from nas.files import decoded, read_bytes
from nas.proxies.scaling_model import REFERENCE_FLOPS, REFERENCE_RESOLUTION, Floats

MAX_BYTES = 16 * 1024 * 1024

COLUMNS = (
    "group",
    "base",
    "block",
    "depth",
    "width",
    "resolution_train",
    "resolution_test",
    "top1",
    "macs_millions",
    "source",
    "notes",
)
"""Columns that are read; others may stand beside them."""

TYPICAL_TRAININGS = 8
"""A group of so many trainings, all of depthwise-separable blocks, is typical. In smaller groups
recipes are more often mixed."""

TYPICAL_BLOCKS = ("inverted_residual", "mbconv_se", "depthwise_separable", "hbo")
"""Beginnings of the names of blocks whose FLOPs are mostly those of depthwise-separable layers."""

_FAMILIES = {
    # The beginning of a base's name, letters and digits only: networks left out together.
    "mobilenetv3small": "mobilenet_v3_small",
    "mobilenetv3large": "mobilenet_v3_large",
    "mobilenetv2": "mobilenet_v2",
    "mobilenext": "mobilenext",
    "mobilenet": "mobilenet_v1",
    "fdmobilenet": "mobilenet_v1",
    "efficientnetv2": "efficientnet_v2",
    "efficientnet": "efficientnet",
    "mnasnet": "mnasnet",
    "mixnet": "mixnet",
    "rexnet": "rexnet",
    "ghostnet": "ghostnet",
    "lcnet": "lcnet",
    "pplcnet": "lcnet",
    "resnet": "resnet",
    "hbonet": "hbonet",
}


@dataclass(frozen=True)
class ScalingRow:
    """One published accuracy.

    Attributes:
        group: networks of one base and one recipe; only these are compared.
        base: what was scaled; ``block``: of which blocks it is made.
        depth: multiplier of the layers, or their number; ``width``: multiplier.
        resolution_train: pixels a side in training; ``resolution_test``: in the test.
        top1: ImageNet top-1 accuracy, per cent.
        flops: multiply-adds at ``resolution_test``; None: not published.
        digitised: read off a figure.
        source: where it was published.
    """

    group: str
    base: str
    block: str
    depth: float
    width: float
    resolution_train: float
    resolution_test: float
    top1: float
    flops: float | None
    digitised: bool
    source: str


@dataclass(frozen=True)
class ScalingTable:
    """The rows of a table whose multipliers are published.

    Attributes:
        path: the file; ``sha256``: of its bytes; ``lines``: how many rows it has in all.
        rows: those that can be used.
    """

    path: Path
    sha256: str
    lines: int
    rows: tuple[ScalingRow, ...]


@dataclass(frozen=True, eq=False)
class ScalingTrainings:
    """Trainings of scaled networks as arrays: G groups, n trainings.

    Attributes:
        groups: names; ``families``: of the base of each group; bases of one family are left out
            together.
        base_size: ln(FLOPs of a group's base over those of B0) less what its resolution says, (G,).
        base_pixels: 2 ln(resolution of a group's base / 224), (G,).
        typical: of each group whether it is typical, (G,); see :data:`TYPICAL_TRAININGS`.
        group: of each training, (n,).
        growth: relative to the group's base, in log FLOPs of each dimension, (n, 3).
        log_error: ln(1 - top-1), (n,).
        log_flops: ln FLOPs as published, (n,); NaN: not published.
        digitised: read off a figure, (n,).
    """

    groups: tuple[str, ...]
    families: tuple[str, ...]
    base_size: Floats
    base_pixels: Floats
    typical: npt.NDArray[np.bool_]
    group: npt.NDArray[np.integer[Any]]
    growth: Floats
    log_error: Floats
    log_flops: Floats
    digitised: npt.NDArray[np.bool_]

    def place(self, size_share: float) -> Floats:
        """Return where each training lies relative to B0, (n, 3); see ``base_offset``."""
        half = size_share * self.base_size / 2
        offsets = np.stack([half, half, self.base_pixels], axis=1)
        places: Floats = offsets[self.group] + self.growth
        return places


def read_scaling_table(path: Path | str) -> ScalingTable:
    """Return a table of published accuracies (CSV with a heading).

    Rows without a multiplier or resolution are counted and left out.

    Raises:
        InputError: the file cannot be read, a column is missing, or a value is not accepted; names
            the line, the column and the value.
    """
    path = Path(path)
    content = read_bytes(path, MAX_BYTES)
    reader = csv.reader(io.StringIO(decoded(content, str(path)), newline=""), strict=True)
    rows: list[ScalingRow] = []
    lines = 0
    try:
        heading = next(reader, [])
        if len(set(heading)) != len(heading):
            raise InputError(f"{path}: line 1: a column stands twice; accepted: each once")
        if missing := [name for name in COLUMNS if name not in heading]:
            raise InputError(
                f"{path}: line 1: column {missing[0]!r} is missing; accepted: {', '.join(COLUMNS)}"
            )
        for cells in reader:
            if not cells:
                continue
            where = f"{path}: line {reader.line_num}"
            if len(cells) != len(heading):
                raise InputError(
                    f"{where}: {len(cells)} values are not accepted: one a column, {len(heading)}"
                )
            lines += 1
            if (row := _row(dict(zip(heading, cells, strict=True)), where)) is not None:
                rows.append(row)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: not CSV: {error}") from None
    if not rows:
        raise InputError(f"{path}: holds no rows")
    return ScalingTable(path, hashlib.sha256(content).hexdigest(), lines, tuple(rows))


def _row(cells: dict[str, str], where: str) -> ScalingRow | None:
    for name in ("group", "base", "block", "source"):
        if not cells[name].strip():
            raise InputError(f"{where}: {name}: an empty value is not accepted: a name")
    needed = ("depth", "width", "resolution_train", "resolution_test")
    known = {name: _number(cells[name], name, where) for name in (*needed, "top1", "macs_millions")}
    top1, flops = known["top1"], known["macs_millions"]
    if top1 is None or top1 >= 100:
        raise InputError(f"{where}: top1: {cells['top1']!r} is not accepted: per cent, below 100")
    depth, width, train, test = (known[name] for name in needed)
    if depth is None or width is None or train is None or test is None:
        return None
    return ScalingRow(
        group=cells["group"],
        base=cells["base"],
        block=cells["block"],
        depth=depth,
        width=width,
        resolution_train=train,
        resolution_test=test,
        top1=top1,
        flops=None if flops is None else flops * 1e6,
        digitised="digitised" in cells["notes"],
        source=cells["source"],
    )


def _number(cell: str, name: str, where: str) -> float | None:
    """Return a positive number; None of an empty cell."""
    if not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 < value < 1e9):
        shown = one_line(cell, 40)
        raise InputError(f"{where}: {name}: {shown!r} is not accepted: a number above 0, or empty")
    return value


def family_of(base: str) -> str:
    """Return the family of a base: bases of one family are left out together."""
    plain = re.sub(r"[^a-z0-9]", "", base.lower())
    return next((name for start, name in _FAMILIES.items() if plain.startswith(start)), base)


def trainings_of(table: ScalingTable) -> ScalingTrainings:
    """Return the trainings of a table: groups of at least two.

    Rows that differ in their test resolution alone are one training, and the one whose test
    resolution is nearest to that of training stands for it. A group's base is the network with the
    smallest multipliers in absolute logarithms.

    Raises:
        InputError: no group has two trainings.
    """
    found: dict[str, dict[tuple[float, float, float], ScalingRow]] = {}
    for row in table.rows:
        own = found.setdefault(row.group, {})
        key = (row.depth, row.width, row.resolution_train)
        if key not in own or _gap(row) < _gap(own[key]):
            own[key] = row
    groups = {name: list(own.values()) for name, own in found.items() if len(own) > 1}
    if not groups:
        raise InputError(f"{table.path}: no group has two trainings; accepted: at least two")
    bases = {name: min(rows, key=_distance) for name, rows in groups.items()}
    sizes = {name: _size(base) for name, base in bases.items()}
    families = {name: family_of(base.base) for name, base in bases.items()}
    rows = [row for own in groups.values() for row in own]
    return ScalingTrainings(
        groups=tuple(groups),
        families=tuple(families.values()),
        base_size=np.array([_known(name, sizes, families) for name in groups]),
        base_pixels=np.array([_pixels(base) for base in bases.values()]),
        typical=np.array(
            [
                len(own) >= TYPICAL_TRAININGS
                and all(row.block.startswith(TYPICAL_BLOCKS) for row in own)
                for own in groups.values()
            ]
        ),
        group=np.repeat(np.arange(len(groups)), [len(own) for own in groups.values()]),
        growth=np.concatenate([_growths(own, bases[name]) for name, own in groups.items()]),
        log_error=np.array([math.log1p(-row.top1 / 100) for row in rows]),
        log_flops=np.array(
            [math.nan if row.flops is None else math.log(row.flops) for row in rows]
        ),
        digitised=np.array([row.digitised for row in rows]),
    )


def _gap(row: ScalingRow) -> float:
    return abs(row.resolution_test - row.resolution_train)


def _pixels(row: ScalingRow) -> float:
    return 2 * math.log(row.resolution_train / REFERENCE_RESOLUTION)


def _distance(row: ScalingRow) -> tuple[float, bool]:
    nominal = abs(math.log(row.depth)) + abs(2 * math.log(row.width)) + abs(_pixels(row))
    return nominal, row.flops is None


def _size(base: ScalingRow) -> float | None:
    if base.flops is None:
        return None
    pixels = 2 * math.log(base.resolution_test / REFERENCE_RESOLUTION)
    return math.log(base.flops / REFERENCE_FLOPS) - pixels


def _known(name: str, sizes: dict[str, float | None], families: dict[str, str]) -> float:
    """Return a base's size; not published: the mean of its family, or B0's where that has none."""
    own = sizes[name]
    if own is not None:
        return own
    theirs = [
        size
        for other, size in sizes.items()
        if size is not None and families[other] == families[name]
    ]
    return math.fsum(theirs) / len(theirs) if theirs else 0.0


def _growths(rows: list[ScalingRow], base: ScalingRow) -> Floats:
    """Return what each dimension multiplied the FLOPs by, in logarithms, (rows, 3).

    Multipliers are rounded to whole layers and channels (B1's 1.1 times the layers are 1.44 times
    as many), so growth is taken from the published FLOPs. Those of resolution are exact. The rest
    belongs to the one of depth and width that was scaled. Where both were, a network of the group
    that has the same depth and the base's width says what depth costs; without one, the dimension
    that rounding changes more is given the rest: depth where it grows, width where it shrinks.
    """
    grown = np.array(
        [
            [
                math.log(row.depth / base.depth),
                2 * math.log(row.width / base.width),
                _pixels(row) - _pixels(base),
            ]
            for row in rows
        ]
    )
    rest = [_beyond_resolution(row, base) for row in rows]
    alone: dict[float, list[float]] = {}
    for row, beyond in zip(rows, rest, strict=True):
        if row.width == base.width and row.depth != base.depth and beyond is not None:
            alone.setdefault(row.depth, []).append(beyond)
    for place, (row, beyond) in enumerate(zip(rows, rest, strict=True)):
        depth, width, _ = grown[place]
        if beyond is None or (depth == 0 and width == 0):
            continue
        if depth == 0:
            grown[place, 1] = beyond
        elif width == 0:
            grown[place, 0] = beyond
        elif row.depth in alone:
            grown[place, 0] = math.fsum(alone[row.depth]) / len(alone[row.depth])
            grown[place, 1] = beyond - grown[place, 0]
        elif depth > 0:
            grown[place, 0] = beyond - width
        else:
            grown[place, 1] = beyond - depth
    return grown


def _beyond_resolution(row: ScalingRow, base: ScalingRow) -> float | None:
    if row.flops is None or base.flops is None:
        return None
    pixels = 2 * math.log(row.resolution_test / base.resolution_test)
    return math.log(row.flops / base.flops) - pixels
