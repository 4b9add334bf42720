"""The healthy upper belly of a liver phantom, in HU: organs, bowel, vessels, chest above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scansmith.data.phantom_shapes import (
    FAR_MM,
    Point,
    Space,
    common,
    cut,
    ellipsoid,
    grow_tree,
    noise,
    paint,
    path,
    pose,
    stretch,
    tubes,
    union,
    warp,
)  # fmt: skip
from scansmith.data.phantom_torso import (
    AIR,
    FAT,
    MUSCLE,
    back_of,
    belly_tube,
    make_wall,
    paint_lungs,
    paint_spine,
    paint_table,
    paint_wall,
)  # fmt: skip

SPINE_Y_MM = 40.0


@dataclass(frozen=True)
class Contrast:
    """How this patient's organs take up contrast medium, in HU."""

    liver: float
    spleen: float
    vein: float
    artery: float
    cortex: float
    medulla: float


@dataclass(frozen=True, eq=False)
class Shapes:
    """The organs that have to make room for one another, as signed distances."""

    below: np.ndarray
    liver: np.ndarray
    spleen: np.ndarray
    stomach: np.ndarray
    gallbladder: np.ndarray
    kidneys: np.ndarray
    cava: np.ndarray


def _contrast(rng: np.random.Generator) -> Contrast:
    fatty = rng.random() < 0.15
    liver = rng.uniform(58, 78) if fatty else rng.uniform(92, 126)
    spleen = rng.uniform(105, 138)
    vein = max(liver, 95) + rng.uniform(42, 72)
    return Contrast(
        liver, spleen, vein, vein * rng.uniform(0.92, 1.3), rng.uniform(165, 215),
        rng.uniform(115, 165),
    )  # fmt: skip


def _below_diaphragm(s: Space, grid: Space, rng: np.random.Generator) -> np.ndarray:
    """Height above the two domes of the diaphragm; negative below them."""
    wave = 2.5 * noise(grid, 50, rng)
    right = 80 - 0.0105 * ((s.x + 68) ** 2 + (s.y + 12) ** 2)
    left = 70 - 0.0105 * ((s.x - 68) ** 2 + (s.y + 8) ** 2)
    middle = 58 - 0.0075 * (s.x**2 + (s.y + 25) ** 2)  # the heart lies on it
    dome = -union(union(-right, -left, 20), -middle, 20) + wave
    return (s.z - dome) * 0.75


def _liver(s: Space, grid: Space, cavity: np.ndarray, below: np.ndarray, rng: np.random.Generator,
           clear: np.ndarray) -> np.ndarray:  # fmt: skip
    low = rng.normal(-90, 14)
    front = rng.uniform(0.2, 0.4)
    right = ellipsoid(s, (-68, -4, -2), (92, 96, 92))
    under = low + 0.85 * (s.x + 110) + front * (s.y + 15) - s.z + 5 * noise(grid, 42, rng)
    right = common(right, under * 0.7, 22)
    tip = rng.uniform(40, 88)
    left = tubes(s, path([(-34, -38, 30), (15, -52, 30), (tip, -46, 38)], [40, 31, 11]), 60)
    caudate = ellipsoid(s, (-16, 2, 26), (17, 15, 24))
    shape = union(union(right, left, 22), caudate, 6)
    shape = common(common(shape, cavity + 3.5, 10), below + 2.5, 8)
    cleft = np.abs(s.x - 4 - 0.12 * (s.y + 60)) - 1.6 + 0.6 * np.clip(s.z - 28, 0, None)
    cleft = cleft + 0.8 * np.clip(s.y + 34, 0, None)
    porta = ellipsoid(s, (-18, -6, -2), (15, 9, 11), -20)
    venous = np.abs(s.y + 16 - 0.35 * s.x) - 1.5 + 0.8 * np.clip(np.abs(s.x) - 12, 0, None)
    venous = venous + 0.6 * np.clip(np.abs(s.z - 24) - 20, 0, None)
    for hole in (cleft, porta, venous):
        shape = cut(shape, hole, 4)
    return cut(shape, clear - 2.5, 5)


def _shapes(s: Space, grid: Space, cavity: np.ndarray, rng: np.random.Generator) -> Shapes:
    below = _below_diaphragm(s, grid, rng)
    inside = common(cavity + 3.5, below + 2.5, 6)
    kidneys = np.full(s.x.shape, FAR_MM, np.float32)
    for x, y, z, turn in ((-62, 38, -58, -28), (62, 34, -44, 28)):
        at = (x + rng.normal(0, 3), y + rng.normal(0, 3), z + rng.normal(0, 9))
        lean = Space(s.x - 0.22 * np.sign(x) * (at[2] - s.z), s.y, s.z, s.spacing_mm)
        kidney = ellipsoid(lean, at, (25, 29, 52), turn)
        hilum = ellipsoid(lean, (at[0] - np.sign(x) * 20, at[1] - 10, at[2]), (12, 11, 17), turn)
        kidneys = union(kidneys, cut(kidney, hilum, 6))
    kidneys = common(kidneys, inside, 5)
    cava = tubes(s, path([(-19, 12, -110), (-20, 10, 10), (-17, 0, 60), (-8, -12, 110)],
                         [10.5, 11, 12, 13]), 20)  # fmt: skip
    big = rng.uniform(0.75, 1.15)
    stomach = tubes(
        s,
        path([(64, 22, 46), (68, 0, 24), (52, -40, -6), (10, -58, -24), (-16, -46, -26)],
             [25 * big, 27 * big, 23 * big, 15, 9]), 25, 8,
    ) + 2.5 * noise(grid, 24, rng)  # fmt: skip
    stomach = common(stomach, inside, 6)
    spleen = ellipsoid(
        s, (100, 26, 24 + rng.normal(0, 6)), (36, 56, 46 * rng.uniform(0.8, 1.2)), -25
    )
    spleen = cut(common(spleen, inside, 8), ellipsoid(s, (62, 12, 18), (34, 48, 60)), 8)
    spleen = cut(cut(spleen, stomach - 3, 5), kidneys - 4, 5)
    gall = tubes(s, path([(-34, -24, -14), (-42, -46, -34)], [6, rng.uniform(9, 15)]), 20)
    if rng.random() < 0.2:
        gall = gall + FAR_MM  # taken out
    stomach = cut(stomach, kidneys - 4, 4)
    clear = np.minimum(np.minimum(kidneys - 2, gall), cava + 2.5)
    liver = _liver(s, grid, cavity, below, rng, clear) + 0.9 * noise(grid, 16, rng)
    stomach = cut(stomach, liver - 2.5, 5)
    return Shapes(below, liver, spleen, stomach, gall, kidneys, cava)


def _paint_kidneys(
    image: np.ndarray, s: Space, grid: Space, shape: np.ndarray, hu: Contrast,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    soft = s.soft_mm
    paint(image, shape, hu.cortex, soft)
    pyramids = shape + 7 + 2.5 * noise(grid, 8, rng)
    paint(image, pyramids, hu.medulla, soft)
    paint(image, shape + 15 + 2 * noise(grid, 7, rng), -60.0, soft)
    paint(image, shape + 19, 20.0, soft)


def _paint_bowel(
    image: np.ndarray, s: Space, grid: Space, cavity: np.ndarray, o: Shapes,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Stomach with its air, colon with gas and stool, duodenum and loops of small bowel."""
    soft = s.soft_mm
    keep = np.minimum(np.minimum(o.liver, o.spleen), np.minimum(o.kidneys, o.stomach))
    keep = np.maximum(np.minimum(keep, o.gallbladder), -1e2)
    keep = np.minimum(keep, -(cavity + 3))
    lumps = 2.2 * noise(grid, 14, rng)
    stool = np.where(noise(grid, 7, rng) + 0.02 * (-s.y - 40) > 0.1, -880.0, 25.0)
    colon: list[Point] = [
        (-98, 0, -105), (-96, -18, -78), (-60, -68, -76), (0, -84, -74), (60, -74, -52),
        (92, -18, -14), (100, 26, -38), (98, 30, -110),
    ]  # fmt: skip
    jitter = [
        tuple(float(c + e) for c, e in zip(p, rng.normal(0, 5, 3), strict=True)) for p in colon
    ]
    belly_tube(image, s, jitter, [19, 18, 17, 17, 16, 14, 14, 13], 55.0, stool, lumps, keep)  # type: ignore[arg-type]
    for _ in range(7):
        a = np.array([rng.uniform(-10, 75), rng.uniform(-55, 5), rng.uniform(-110, -55)])
        b, c = a + rng.normal(0, 22, 3), a + rng.normal(0, 30, 3)
        line = [tuple(float(v) for v in p) for p in (a, b, c)]
        fill = float(rng.choice([20.0, 35.0, 60.0]))
        belly_tube(image, s, line, [11, 12, 10], 95.0, fill, lumps * 0.6, keep, 2.4)  # type: ignore[arg-type]
    duodenum: list[Point] = [(-26, -34, -28), (-38, -10, -48), (-34, 0, -80), (0, 4, -92)]
    belly_tube(image, s, duodenum, [11, 12, 12, 11], 80.0, 22.0, lumps * 0.5, keep, 3.0)
    paint(image, o.stomach, 62.0, soft)
    food = rng.choice([12.0, 30.0, 210.0], p=[0.45, 0.4, 0.15]) + 6 * noise(grid, 8, rng)
    paint(image, o.stomach + 4.2 + 1.2 * noise(grid, 9, rng), food, soft)
    air = common(o.stomach + 4.2, s.y + rng.uniform(18, 50))
    paint(image, air, -960.0, soft)


def _paint_vessels(
    image: np.ndarray, s: Space, o: Shapes, hu: Contrast, rng: np.random.Generator
) -> None:
    soft = s.soft_mm
    cone = path([(12, 15, -110), (11, 13, 0), (9, 16, 110)], [9.5, 11, 12])
    paint(image, tubes(s, cone, 20) - 4.5 + 2 * (np.abs(s.x) > 14), MUSCLE, 2 * soft)  # crura
    paint(image, tubes(s, cone, 20), hu.artery, soft)
    paint(image, o.cava, hu.vein * 0.95, soft)
    artery = path([(11, 4, -14), (10, -8, -34), (6, -18, -110)], [4.5, 4, 3.4])
    artery += path([(11, 6, 0), (8, -8, 3), (-14, -10, 0)], [4.2, 3.6, 2.6])
    paint(image, tubes(s, artery, 8), hu.artery, soft)
    splenic = path([(0, -12, -30), (28, -2, -16), (54, 8, -6), (80, 22, 10)], [6.2, 5, 4.6, 4])
    main = path([(-4, -24, -110), (0, -12, -30), (-14, -9, -12), (-26, -8, 0)], [5.5, 7, 7.2, 6.8])
    renal = path([(-20, 12, -50), (-44, 30, -58)], [4.5, 4]) + path(
        [(-16, 10, -44), (14, 0, -42), (46, 26, -44)], [4.5, 4, 4]
    )
    free = cut(tubes(s, splenic + main + renal, 8), o.kidneys)
    paint(image, free, hu.vein, soft)
    tree = grow_tree(rng, (-26, -8, 0), (-1, 0.25, 0.1), 6.5, length_mm=42, generations=6)
    tree += grow_tree(rng, (-24, -8, 1), (0.6, -1.0, 1.1), 5.2, length_mm=34, generations=5)
    for tip in ((-92, 30, 20), (-52, -58, 18), (34, -44, 40)):
        way = np.array(tip, float) - (-17, 0, 64)
        tree += grow_tree(rng, (-17, 0, 64), tuple(way), 5.8,  # type: ignore[arg-type]
                          length_mm=float(np.linalg.norm(way)) * 0.55, generations=5)  # fmt: skip
    inside = common(tubes(s, tree, 5), o.liver + 3)
    paint(image, inside, hu.vein, soft)


@dataclass(frozen=True, eq=False)
class Belly:
    """A patient without tumours: bent space, outlines, uptake of contrast medium, clean image."""

    space: Space
    body: np.ndarray
    shapes: Shapes
    hu: Contrast
    image: np.ndarray


def make_belly(grid: Space, rng: np.random.Generator) -> Belly:
    """One patient's upper belly; organs grow with the body."""
    width = float(np.clip(rng.normal(147, 8), 130, 162))
    depth = float(np.clip(rng.normal(117, 7), 103, 130))
    posed = pose(grid, rng, 2.0, 3.0)
    outer = warp(posed, grid, rng, 3.0, 90)
    wall = make_wall(outer, grid, rng, (width, depth), float(rng.uniform(7, 24)), shoulder=-0.0004)
    growth = (width / 150, depth / 107, float(rng.uniform(0.9, 1.06)))
    s = stretch(warp(outer, grid, rng, 3.2, 34), growth)
    image = np.full(grid.x.shape, AIR, np.float32)
    if rng.random() < 0.7:
        paint_table(image, posed, depth + 8)
    paint_wall(image, outer, grid, wall, rng)
    back = back_of(s, SPINE_Y_MM)
    dense = float(rng.uniform(0.7, 1.2))
    paint_spine(image, s, grid, rng, SPINE_Y_MM, back=back, skin=wall.muscle, dense=dense)
    cavity = cut(wall.cavity, back, 8)
    hu = _contrast(rng)
    o = _shapes(s, grid, cavity, rng)
    _paint_organs(image, s, grid, cavity, o, hu, rng)
    _paint_chest(image, s, grid, cavity, o.below, hu, rng)
    return Belly(s, wall.body, o, hu, image)


def _paint_organs(
    image: np.ndarray, s: Space, grid: Space, cavity: np.ndarray, o: Shapes, hu: Contrast,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    soft = s.soft_mm
    for sign in (1, -1):
        psoas = tubes(s, path([(sign * 27, 38, -20), (sign * 36, 40, -110)], [5, 19]), 20)
        paint(image, psoas, MUSCLE + 4 * noise(grid, 7, rng), soft)
    _paint_kidneys(image, s, grid, o.kidneys, hu, rng)
    _paint_bowel(image, s, grid, cavity, o, rng)
    keep = np.minimum(np.minimum(o.stomach, o.kidneys), np.minimum(o.spleen, o.liver))
    pancreas: list[Point] = [
        (-24, -18, -44), (-4, -22, -30), (26, -12, -20), (56, 4, -6), (78, 16, 8),
    ]  # fmt: skip
    lobes = tubes(s, path(pancreas, [12, 9, 8.5, 8, 5]), 12, 3) + 2.2 * noise(grid, 7, rng)
    paint(image, cut(lobes, keep - 2), 92 + 8 * noise(grid, 5, rng), soft)
    paint(image, o.spleen, hu.spleen + 3 * noise(grid, 8, rng), soft)
    texture = 3 * noise(grid, 7, rng) + 2 * noise(grid, 40, rng)
    paint(image, o.liver, hu.liver + texture, soft)
    paint(image, common(o.gallbladder, o.below + 4), 9.0, soft)
    _paint_vessels(image, s, o, hu, rng)


def _paint_chest(
    image: np.ndarray, s: Space, grid: Space, cavity: np.ndarray, below: np.ndarray, hu: Contrast,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """The bases of the lungs and the heart between them."""
    middle = tubes(s, path([(0, 30, 40), (0, 30, 140)], [34, 34]), 20)
    heart = ellipsoid(s, (18, -36, 104), (58, 44, 40), -20)
    lung = cut(common(cavity + 1.0, 1.0 - below, 4), middle, 8)
    lung = cut(lung, heart - 3, 5)
    paint_lungs(image, s, grid, lung, rng, [(-60, 20, 118), (62, 22, 118)], 4)
    heart = common(heart, 4 - below)
    paint(image, heart - 3, FAT, s.soft_mm)
    paint(image, heart, 105.0, s.soft_mm)
    paint(image, heart + 10, hu.vein * 0.95, s.soft_mm)
