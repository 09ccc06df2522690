"""A synthetic set of fractal images, hard on purpose; needs no download.

After FractalDB (Kataoka et al. 2020, arXiv 2101.08515), where a class is one iterated function
system and a network tells them apart almost perfectly. A set that is easy says little about
architectures, so here a class is a family of three fractals: alike, not the same. Each image shows
one of the three, jittered, at any rotation, at some scale and place, with fore- and background
textured in colours that say nothing of the class, in every other image over a distractor fractal
that belongs to none.

How hard it is was tuned so that the `training` proxy gets somewhere: EfficientNet-B0 of half width,
at 32 px, has 15 % of the 20 classes right after 8,000 images (validation loss 2.60) and 31 % after
24,000 (1.96); chance is 5 % and 3.00. (With classes of three unrelated fractals, or with fractals
darker than the ground as often as brighter, the loss after 8,000 is about 2.95: next to no signal.)
A supernet trained on it ranks networks for photographs: 24 of about equal FLOPs, trained alone on
CIFAR-10, with τ 0.51 and 0.46 (two seeds; `results/joint-block`); nothing was tuned on those.

The same arguments give the same bytes on every run and machine: everything is drawn from
numpy generators seeded by (seed, class, image), and computed by additions and multiplications
only (no BLAS, no vectorised sin or exp, whose last bit depends on the processor). Compositions are
in units of the picture, so another resolution gives the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nas.data.images import ImageData, Part

Floats = NDArray[np.float32]

FRACTALS_PER_CLASS = 3
KINSHIP = 0.25  # how far, relative, the maps of a class's other fractals are from the first one's
VARIANTS = 8  # jittered versions of each fractal; an image takes one of them
DISTRACTORS = 48  # fractals of no class, shared by all images
JITTER = 0.05  # relative, of every parameter of the maps
SCALE = (0.36, 0.46)  # radius of the class's fractal, in units of the picture
DISTRACTOR_SCALE = (0.08, 0.18)
GROUND = (0.15, 0.45)  # brightness of the ground
CONTRAST = (0.3, 0.5)  # by how much a fractal is brighter
TEXTURE = (0.04, 0.14)  # strength of the textures
POINTS_PER_PIXEL = 3  # points of a fractal for each pixel of the picture
CHAINS = 512  # points iterated side by side
BURN_IN = 24  # steps until a chain is on the attractor
FILLED = (0.08, 0.7)  # accepted share of cells, of the fractal's bounding box, that it touches
OCTAVES = (4, 8, 16, 32)  # lattice points a side of each octave of the textures
CHUNK_PIXELS = 1 << 16  # images rendered together: about this many pixels

# Opacity of a pixel hit by 0, 1, 2 … points: 1 − e^(−count). Rounded, so that it is the same
# whichever library computed the exponential; likewise the table of directions.
_OPACITY = np.array([round(1 - math.exp(-count), 6) for count in range(32)], np.float32)
_DIRECTIONS = np.array(
    [
        (round(math.cos(2 * math.pi * i / 1024), 6), round(math.sin(2 * math.pi * i / 1024), 6))
        for i in range(1024)
    ],
    np.float32,
)

# What the streams of random numbers are for: the second number of their seeds.
_CLASS, _DISTRACTOR, _IMAGE = 0, 1, 2


def fractals(
    *,
    classes: int = 20,
    images_per_class: int = 400,
    resolution: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ImageData:
    """The built-in data set: `classes` × `images_per_class` RGB images of `resolution` pixels.

    Of every class an eighth (at least one image) is the validation part and another eighth the
    test part. Raises ValueError for fewer than 2 classes, 3 images a class or 16 pixels.
    `progress(done, total)` is called now and then, in images.
    """
    for what, value, least in (
        ("classes", classes, 2),
        ("images_per_class", images_per_class, 3),
        ("resolution", resolution, 16),
    ):
        if value < least:
            raise ValueError(f"{what} must be at least {least}, not {value}")
    total = classes * images_per_class
    generator = np.random.default_rng([seed, _DISTRACTOR])
    systems = [_random_system(generator) for _ in range(DISTRACTORS)]
    distractors = _shapes(generator, systems, 1, resolution)
    images = np.empty((classes, images_per_class, resolution, resolution, 3), np.uint8)
    chunk = max(1, CHUNK_PIXELS // resolution**2)
    for label in range(classes):
        # By class, so that the first classes of a larger set are those of a smaller one.
        generator = np.random.default_rng([seed, _CLASS, label])
        head = _random_system(generator)
        kin = [_random_system(generator, head) for _ in range(FRACTALS_PER_CLASS - 1)]
        shapes = _shapes(generator, [head, *kin], VARIANTS, resolution)
        for first in range(0, images_per_class, chunk):
            last = min(first + chunk, images_per_class)
            scenes = [
                _Scene.draw(np.random.default_rng([seed, _IMAGE, label, index]))
                for index in range(first, last)
            ]
            images[label, first:last] = _render(scenes, shapes, distractors, resolution)
            if progress is not None:
                progress(label * images_per_class + last, total)

    held_out = max(1, images_per_class // 8)
    bounds = (0, images_per_class - 2 * held_out, images_per_class - held_out, images_per_class)

    def part(first: int, last: int) -> Part:
        pixels = images[:, first:last].reshape(-1, resolution, resolution, 3)
        labels = torch.arange(classes).repeat_interleave(last - first)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), labels

    train, validation, test = (part(*bounds[i : i + 2]) for i in range(3))
    names = [f"fractals{label:02d}" for label in range(classes)]
    return ImageData.from_parts("fractals", names, train, validation, test)


def _shapes(
    generator: np.random.Generator,
    systems: list[NDArray[np.float64]],
    variants: int,
    resolution: int,
) -> Floats:
    """Points `[systems × variants, points, 2]` of the fractals and jittered versions of them,
    most within the unit circle."""
    jittered: list[NDArray[np.float64]] = []
    for system in systems:
        jittered.append(system)
        for _ in range(variants - 1):
            factors = 1 + JITTER * (2 * generator.random(system.shape) - 1)
            jittered.append(_contracting(system * factors))
    points = _iterate(jittered, generator, POINTS_PER_PIXEL * resolution**2)
    for first in range(0, len(points), variants):
        # All variants by the measure of the first: what differs between them stays visible. The
        # measure is of the first points only, which are the same at every resolution.
        measured = points[first, : POINTS_PER_PIXEL * 16**2].astype(np.float64)
        centre = measured.mean(0)
        square = np.sort(((measured - centre) ** 2).sum(1))[int(0.97 * len(measured))]
        group = points[first : first + variants]
        group -= centre.astype(np.float32)
        group *= np.float32(1 / math.sqrt(square))
    return points


def _random_system(
    generator: np.random.Generator, like: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """An iterated function system: maps `[2…5, 6]`, a row (a, b, c, d, e, f) for
    (x, y) → (ax + by + e, cx + dy + f), all contracting, whose fractal is neither dust nor a blot.
    With `like`, one whose parameters differ by at most the share KINSHIP from those of that system.
    """
    while True:  # a good part of the candidates passes
        candidates = []
        for _ in range(8):
            if like is None:
                maps = 2 * generator.random((int(generator.integers(2, 6)), 6)) - 1
            else:
                maps = like * (1 + KINSHIP * (2 * generator.random(like.shape) - 1))
            candidates.append(_contracting(maps, 0.9))
        points = _iterate(candidates, generator, 2048)
        for maps, shape in zip(candidates, points, strict=True):
            low, high = shape.min(0), shape.max(0)
            extent = high - low
            if extent.min() < 0.35 * extent.max():  # a line, whatever its other side
                continue
            cells = ((shape - low) / extent * 31.99).astype(np.int64)
            touched = np.bincount(cells[:, 0] * 32 + cells[:, 1], minlength=1024) > 0
            if FILLED[0] <= touched.mean() <= FILLED[1]:
                return maps


def _contracting(maps: NDArray[np.float64], limit: float = 0.95) -> NDArray[np.float64]:
    """The maps, those scaled down whose linear part stretches by more than `limit`."""
    a, b, c, d = maps[:, :4].T
    squares = a * a + b * b + c * c + d * d
    determinant = a * d - b * c
    # The larger singular value of a 2 × 2 matrix.
    gap = np.sqrt(np.maximum(squares * squares - 4 * determinant * determinant, 0))
    norm = np.sqrt((squares + gap) / 2)
    out = maps.copy()
    out[:, :4] *= np.minimum(1, limit / norm)[:, None]
    return out


def _iterate(
    systems: list[NDArray[np.float64]], generator: np.random.Generator, points: int
) -> Floats:
    """`[systems, points, 2]` of every system's fractal, by the chaos game in many chains at once.

    Asking for more points gives the same ones first.
    """
    most = max(len(maps) for maps in systems)
    table = np.zeros((len(systems), most, 6), np.float32)
    bounds = np.ones((len(systems), most), np.float32)  # upper bounds of each map's probability
    for position, maps in enumerate(systems):
        table[position, : len(maps)] = maps
        # Larger maps are taken more often (FractalDB), none never.
        weight = np.abs(maps[:, 0] * maps[:, 3] - maps[:, 1] * maps[:, 2]) + 0.02
        bounds[position, : len(maps) - 1] = (np.cumsum(weight) / weight.sum())[:-1]
    flat = table.reshape(-1, 6)
    offset = np.arange(len(systems))[:, None] * most
    # Its own stream: how many numbers are drawn depends on the resolution.
    stream = np.random.default_rng(generator.integers(0, 2**63))
    x = np.zeros((len(systems), CHAINS), np.float32)
    y = np.zeros_like(x)
    kept = -(-points // CHAINS)
    out = np.empty((len(systems), kept, CHAINS, 2), np.float32)
    for step in range(-BURN_IN, kept):
        # The same numbers for every system: variants of a fractal then differ by their maps alone.
        draw = stream.random(CHAINS, np.float32)
        chosen = np.zeros(x.shape, np.int64)
        for bound in range(most - 1):
            chosen += draw >= bounds[:, bound, None]
        a, b, c, d, e, f = np.moveaxis(flat[offset + chosen], 2, 0)
        x, y = a * x + b * y + e, c * x + d * y + f
        if step >= 0:
            out[:, step, :, 0] = x
            out[:, step, :, 1] = y
    return out.reshape(len(systems), -1, 2)[:, :points]


@dataclass(frozen=True)
class _Layer:
    """One fractal in a picture."""

    shape: float  # which of the point sets, as a share
    matrix: Floats  # [2, 2], rotation, mirroring and scale
    centre: Floats  # [2], in 0…1 of the picture
    colours: Floats  # [2, 3], the texture goes from one to the other

    @classmethod
    def draw(cls, random: Floats, scale: tuple[float, float], ground: float) -> _Layer:
        """From 16 random numbers; `ground` is the brightness of what lies behind."""
        cosine, sine = _DIRECTIONS[int(random[0] * len(_DIRECTIONS))]
        size = np.float32(_between(scale, random[1]))
        matrix = size * np.array([[cosine, -sine], [sine, cosine]], np.float32)
        room = np.float32(0.5) - np.float32(0.6) * size
        centre = np.float32(0.5) + (2 * random[2:4] - 1) * room
        level = ground + _between(CONTRAST, random[4])
        return cls(random[6], matrix, centre, _colours(level, random[8:16]))


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(share)


@dataclass(frozen=True)
class _Scene:
    """What is in one picture, apart from the resolution."""

    ground: Floats  # [2, 3], colours of the background
    layers: tuple[_Layer, ...]  # from the back to the front; the last one shows the class
    lattices: tuple[Floats, ...]  # an octave each [2, L, L], for back- and foreground

    @classmethod
    def draw(cls, generator: np.random.Generator) -> _Scene:
        random = generator.random(48, np.float32)
        level = _between(GROUND, random[0])
        main = _Layer.draw(random[16:32], SCALE, level)
        distractor = _Layer.draw(random[32:48], DISTRACTOR_SCALE, level)
        return cls(
            ground=_colours(level, random[8:16]),
            layers=(distractor, main) if random[1] < 0.5 else (main,),
            lattices=tuple(generator.random((2, side, side), np.float32) for side in OCTAVES),
        )


def _colours(level: float, random: Floats) -> Floats:
    """Two colours `[2, 3]` about one brightness, of any hue, from 8 random numbers."""
    tint = np.float32(0.5) * (random[0:3] - random[0:3].mean())
    texture = np.float32(_between(TEXTURE, random[6]))
    slope = texture * (np.float32(0.5) + random[3:6]) * np.float32(1 if random[7] < 0.5 else -1)
    return np.stack([level + tint - slope, level + tint + slope]).astype(np.float32)


def _render(
    scenes: list[_Scene], shapes: Floats, distractors: Floats, resolution: int
) -> NDArray[np.uint8]:
    """The pictures, uint8 `[scenes, resolution, resolution, 3]`."""
    octaves = [
        np.stack([scene.lattices[octave] for scene in scenes]) for octave in range(len(OCTAVES))
    ]
    textures = _noise(octaves, resolution)  # [scenes, 2, R, R]
    ground = np.stack([scene.ground for scene in scenes])
    canvas = _mix(ground, textures[:, 0])
    for depth in range(max(len(scene.layers) for scene in scenes)):
        members = [i for i, scene in enumerate(scenes) if depth < len(scene.layers)]
        opacity = np.empty((len(members), resolution, resolution), np.float32)
        for row, index in enumerate(members):
            layer = scenes[index].layers[depth]
            points = shapes if layer is scenes[index].layers[-1] else distractors
            opacity[row] = _opacity(layer, points, resolution)
        colours = np.stack([scenes[index].layers[depth].colours for index in members])
        paint = _mix(colours, textures[members, 1])
        canvas[members] += opacity[..., None] * (paint - canvas[members])
    canvas *= 255
    canvas += 0.5
    return np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)


def _mix(colours: Floats, texture: Floats) -> Floats:
    """From colours `[B, 2, 3]` and a texture `[B, R, R]` in 0…1, the picture `[B, R, R, 3]`."""
    first, last = colours[:, 0, None, None, :], colours[:, 1, None, None, :]
    return first + texture[..., None] * (last - first)


def _opacity(layer: _Layer, shapes: Floats, resolution: int) -> Floats:
    """How much of the fractal covers each pixel, `[R, R]` in 0…1."""
    points = shapes[int(layer.shape * len(shapes))]
    matrix = layer.matrix * np.float32(resolution)
    shift = layer.centre * np.float32(resolution)
    x, y = points[:, 0], points[:, 1]
    column = (matrix[0, 0] * x + matrix[0, 1] * y + shift[0]).astype(np.int32)
    row = (matrix[1, 0] * x + matrix[1, 1] * y + shift[1]).astype(np.int32)
    # Outliers beyond the picture; the cast goes towards zero, which moves the border by a pixel.
    inside = (column >= 0) & (column < resolution) & (row >= 0) & (row < resolution)
    hits = np.bincount((row * resolution + column)[inside], minlength=resolution**2)
    return _OPACITY[np.minimum(hits, len(_OPACITY) - 1)].reshape(resolution, resolution)


def _noise(octaves: list[Floats], resolution: int) -> Floats:
    """Value noise `[…, R, R]` about 0.5 from lattices `[…, L, L]`, each octave half as strong."""
    out: Floats = np.full(1, 0.5, np.float32)
    strength = np.float32(0.5)
    centres = (np.arange(resolution, dtype=np.float64) + 0.5) / resolution
    for lattice in octaves:
        position = centres * (lattice.shape[-1] - 1)
        low = position.astype(np.int64)
        share = (position - low).astype(np.float32)
        share = share * share * (3 - 2 * share)  # smooth at the lattice points
        rows = lattice[..., low, :]
        rows = rows + share[:, None] * (lattice[..., low + 1, :] - rows)
        values = rows[..., low]
        values = values + share * (rows[..., low + 1] - values)
        out = out + strength * (2 * values - 1)
        strength = strength / 2
    result: Floats = np.clip(out, 0, 1)
    return result
