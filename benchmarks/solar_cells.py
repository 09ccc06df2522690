"""Write the photographs of solar cells of the package elpv-dataset as a folder of images.

    python benchmarks/solar_cells.py FOLDER

2,624 grey photographs of 300 x 300 pixels, two classes: a cell is defective where the experts'
probability of that is at least one half (Buerhop-Lutz et al. 2018; CC BY-NC-SA 4.0). Three fifths
of each class, drawn by a fixed seed, are for training, a fifth each for validation and test.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from elpv_dataset.utils import load_dataset
from PIL import Image

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def main() -> None:
    """Write the folder, which must be new."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True)
    images, probabilities, _ = load_dataset()
    rng = np.random.default_rng(0)
    for name, members in (
        ("defective", np.flatnonzero(probabilities >= 0.5)),
        ("functional", np.flatnonzero(probabilities < 0.5)),
    ):
        order = rng.permutation(members)
        ends = np.round(np.cumsum(list(SHARES.values())) * len(order)).astype(int)
        for part, chosen in zip(SHARES, np.split(order, ends[:-1]), strict=True):
            into = folder / part / name
            into.mkdir(parents=True)
            for index in chosen:
                Image.fromarray(images[index]).save(into / f"cell{index + 1:04}.png")
            print(f"{part:10} {name:10} {len(chosen):5}")


if __name__ == "__main__":
    main()
