"""From the labels of a source to classes, and to numbers counted from 0."""

from __future__ import annotations

import math
from typing import Any

import torch

from nas.data.images import Part
from nas.data.source import Label, Source, row_name
from nas.errors import InputError


def label_parts(
    source: Source,
    pixels: dict[str, torch.Tensor],
    labels: dict[str, list[Label]],
    notes: list[str],
) -> tuple[tuple[str, ...], dict[str, Part]]:
    """The classes, and the parts with labels counted from 0."""
    for split in ("validation", "test"):
        # The hub's way of keeping test labels secret.
        if split in labels and all(label in (None, -1) for label in labels[split]):
            notes.append(f"the {split} split has no labels and is left out")
            del labels[split], pixels[split]
    if not labels["train"]:
        raise InputError(f"{source.name}: no training images")
    for split, values in labels.items():
        labels[split] = values = [_plain_label(source, split, *item) for item in enumerate(values)]
        for row, label in enumerate(values):
            if label is None or label == -1:
                raise InputError(
                    f"{row_name(source, split, row)}: the label "
                    f"({source.label_column!r}) is {'missing' if label is None else label}"
                )
    if source.classes is not None:
        classes = source.classes
        numbers: dict[Any, int] = {i: i for i in range(len(classes))}
        if source.names:
            notes.append(
                "the label numbers of the splits count the classes in different orders: they are "
                "matched by name"
            )
    else:
        # One column has one type: integers in their order, text in its own.
        values_found = sorted(set(labels["train"]), key=lambda v: (str(type(v)), v))
        classes = tuple(map(str, values_found))
        numbers = {value: i for i, value in enumerate(values_found)}
    parts: dict[str, Part] = {}
    for split, values in labels.items():
        own = numbers
        names = source.names.get(split)
        if names is not None:
            by_name = {name: number for number, name in enumerate(classes)}
            own = {i: by_name[name] for i, name in enumerate(names) if name in by_name}
        for row, label in enumerate(values):
            if label not in own:
                called = ""
                if names is not None and isinstance(label, int) and 0 <= label < len(names):
                    called = f", {names[label]!r},"
                raise InputError(
                    f"{row_name(source, split, row)}: the label ({source.label_column!r}) "
                    f"{label!r}{called} is none of the {len(classes)} classes of the training "
                    "images"
                )
        parts[split] = pixels[split], torch.tensor([own[v] for v in values])
    return classes, parts


def _plain_label(source: Source, split: str, row: int, label: Label) -> Label:
    """A label as an integer, a truth value or text; None where it is missing."""
    if not isinstance(label, float):
        return label
    if math.isnan(label):
        return None
    if not label.is_integer():
        raise InputError(
            f"{row_name(source, split, row)}: the label ({source.label_column!r}) {label!r} is "
            "not accepted: a whole number"
        )
    return int(label)
