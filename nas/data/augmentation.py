"""Which augmentations the training images of a data set get, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from nas.errors import InputError

AUGMENTATIONS = ("flip", "shift", "crop", "color", "randaugment")
"""Names, in the order in which they are done."""

NONE = "none"

DEFAULT_AUGMENTATION = ("flip", "shift")
"""Of images that a user gives."""

# Words that an image and its mirror image differ in.
_SIDES = frozenset(
    (
        *("left", "right", "east", "west", "eastward", "westward"),
        *("clockwise", "anticlockwise", "counterclockwise"),
    )
)


def parse_augmentation(text: str) -> tuple[str, ...]:
    """Return the augmentations that a text such as ``flip,color`` names, in a fixed order.

    Raises:
        InputError: a name is unknown or occurs twice, or ``none`` stands beside another.
    """
    names = [name.strip() for name in text.split(",")]
    if names == [NONE]:
        return ()
    for name in names:
        if name not in AUGMENTATIONS or names.count(name) > 1:
            fault = "is there twice" if name in AUGMENTATIONS else "is not accepted"
            raise InputError(
                f"augment: {name!r} {fault}: {NONE}, or some of {', '.join(AUGMENTATIONS)}, "
                "separated by commas"
            )
    return tuple(name for name in AUGMENTATIONS if name in names)


def mirrored_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes whose names suggest that mirroring changes the class; often none.

    Names of sides (``left``, ``arrow-right``), and single characters where all classes are such.
    """
    sides = [name for name in classes if _SIDES & set(re.split(r"[^a-z]+", name.lower()))]
    if sides:
        return tuple(sides)
    return tuple(classes) if all(_is_character(name) for name in classes) else ()


def augmentation_notes(names: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Return what a user should know of the augmentations of a data set."""
    chosen = tuple(names)
    told = f"augmentation of training images: {', '.join(chosen) or NONE}"
    if "flip" not in chosen:
        return [told]
    notes = [f"{told}; flip mirrors half of them"]
    sensitive = mirrored_classes(classes)
    if sensitive:
        without = ",".join(name for name in chosen if name != "flip") or NONE
        notes.append(
            f"classes such as {', '.join(map(repr, sensitive[:2]))} may differ by being mirrored: "
            f"--augment {without} trains without that"
        )
    return notes


def _is_character(name: str) -> bool:
    """Return whether a class is a letter or a digit, perhaps with a word (``digit 7``)."""
    words = [word for word in re.split(r"[\W_]+", name) if word]
    others = {"digit", "number", "letter", "character", "char", "class"}
    last = [word for word in words if word.lower() not in others]
    numerals = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return len(last) == 1 and (len(last[0]) == 1 or last[0].lower() in numerals)
