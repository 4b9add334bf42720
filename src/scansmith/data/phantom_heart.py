"""Heart CT with contrast medium: the seven structures of MM-WHS in their own codes, 205 to 850."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scansmith.data.phantom_shapes import (
    Point,
    Space,
    Tube,
    common,
    cut,
    ellipsoid,
    make_space,
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
    back_of,
    make_scanner,
    make_wall,
    paint_lungs,
    paint_spine,
    paint_wall,
)  # fmt: skip

FIELD_MM = (230.4, 230.4, 154.0)
SIZE = (128, 128, 48)
SPINE_Y_MM = 68.0
CODES = {
    "myocardium": 205, "left atrium": 420, "left ventricle": 500, "right atrium": 550,
    "right ventricle": 600, "aorta": 820, "pulmonary artery": 850,
}  # fmt: skip

BASE = np.array([4.0, 2.0, 2.0])  # the mitral plane
LONG_AXIS = np.array([0.66, -0.56, -0.50]) / np.linalg.norm([0.66, -0.56, -0.50])


@dataclass(frozen=True, eq=False)
class Chambers:
    """Signed distances, already out of one another's way."""

    left_ventricle: np.ndarray
    myocardium: np.ndarray
    right_ventricle: np.ndarray
    left_atrium: np.ndarray
    right_atrium: np.ndarray
    aorta: np.ndarray
    pulmonary: np.ndarray
    veins: np.ndarray
    cavae: np.ndarray
    sac: np.ndarray


def _along(s: Space) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heart axes: t from base to apex, u towards the right ventricle, v up and to the left."""
    u = np.array([-0.62, -0.78, 0.06])
    u -= (u @ LONG_AXIS) * LONG_AXIS
    u /= np.linalg.norm(u)
    v = np.cross(LONG_AXIS, u)
    x, y, z = s.x - np.float32(BASE[0]), s.y - np.float32(BASE[1]), s.z - np.float32(BASE[2])
    return tuple(  # type: ignore[return-value]
        np.float32(a[0]) * x + np.float32(a[1]) * y + np.float32(a[2]) * z
        for a in (LONG_AXIS, u, v)
    )


def _chambers(s: Space, grid: Space, rng: np.random.Generator) -> Chambers:
    t, u, v = _along(s)
    axes = Space(t, u, v, s.spacing_mm)
    beat = rng.uniform(0.86, 1.1)  # systole to diastole
    long, short = 66 * rng.uniform(0.93, 1.06), 24.5 * beat
    wall = 10.5 * rng.uniform(0.85, 1.3) / beat
    crypts = 1.3 * noise(grid, 7, rng) * np.clip(t / 30, 0, 1)
    cavity = ellipsoid(axes, (4, 0, 0), (long, short, short)) + crypts
    cavity = common(cavity, 1.0 - t, 4)
    for side in (-0.5, 0.75):  # papillary muscles
        root = tuple(
            float(c) for c in (34, short * 0.62 * np.sin(side * 2), -short * 0.62 * np.cos(side))
        )
        tip = (16.0, root[1] * 0.55, root[2] * 0.55)
        cavity = cut(cavity, tubes(axes, [(root, tip, 4.2, 2.4)], 8), 2)  # type: ignore[list-item]
    outer = ellipsoid(axes, (4, 0, 0), (long + 0.8 * wall, short + wall, short + wall))
    outer = common(outer + 0.6 * noise(grid, 18, rng), -1.5 - t, 5)

    right = ellipsoid(axes, (20, 24, 4), (50, 32 * beat, 40), 0)
    right = common(right, 6 - t - 0.3 * u, 10)
    outflow = tubes(s, path([(2, -44, 2), (8, -42, 26), (14, -36, 40)], [17, 15, 13]), 25)
    right = union(right, outflow, 14) + 0.9 * noise(grid, 8, rng)
    right = cut(right, outer - 0.5, 3)

    left = union(
        ellipsoid(s, (4, 27, 16), (34 * rng.uniform(0.9, 1.1), 21, 24)),
        ellipsoid(s, (2, 16, 8), (20, 14, 17)), 12,
    ) + 1.2 * noise(grid, 20, rng)  # fmt: skip
    ear = tubes(s, path([(28, 16, 24), (42, 2, 28), (44, -12, 24)], [9, 8, 4]), 12)
    left = union(left, ear + 1.2 * noise(grid, 9, rng), 5)
    roots: list[Point] = [(-26, 34, 22), (-26, 36, 6), (33, 36, 24), (33, 38, 8)]
    ends: list[Point] = [(-66, 36, 36), (-64, 46, -6), (70, 38, 44), (68, 52, -4)]
    veins = tubes(s, [(a, b, 8.5, 5.5) for a, b in zip(roots, ends, strict=True)], 14)
    left = union(left, common(veins, np.abs(s.x - 3) - 45), 6)

    atrium = ellipsoid(s, (-42, 0, 2), (25, 27, 33)) + 1.4 * noise(grid, 18, rng)
    flap = tubes(s, path([(-36, -22, 18), (-18, -38, 26)], [12, 7]), 12)
    atrium = union(atrium, flap + 1.3 * noise(grid, 8, rng), 8)
    cavae = tubes(s, path([(-42, 6, 20), (-37, 4, 50), (-35, 4, 110)], [11, 10, 10]), 14)
    cavae = union(cavae, tubes(s, path([(-38, 14, -26), (-34, 22, -60), (-30, 26, -110)],
                                       [12.5, 12, 12]), 14))  # fmt: skip

    wide = rng.uniform(0.88, 1.15)
    ascending: list[Point] = [
        (2, -8, 8),
        (-8, -13, 26),
        (-17, -14, 46),
        (-14, -8, 64),
        (-2, 8, 76),
        (12, 30, 80),
    ]
    aorta = tubes(
        s,
        path(ascending, [13.5 * wide, 15.5 * wide, 15 * wide, 14.5 * wide, 13.5 * wide, 13 * wide]),
        25,
        4,
    )
    trunk = path([(14, -37, 38), (17, -26, 50), (15, -8, 56), (12, 4, 56)], [13, 13.5, 13, 11])
    trunk += path([(12, 2, 56), (-18, 10, 52), (-46, 14, 46)], [10.5, 9.8, 7.5])
    trunk += path([(14, 2, 56), (32, 20, 56), (46, 32, 50)], [10.5, 9.5, 7.5])
    pulmonary = tubes(s, trunk, 18, 4)

    aorta = cut(aorta, cavity - 0.5)
    pulmonary = cut(cut(pulmonary, aorta - 2.2, 2), right, 0)
    right = cut(right, aorta - 2.0, 2)
    left = cut(cut(cut(left, aorta - 2.0, 3), pulmonary - 2.0, 3), outer + 0.5, 2)
    cavae = cut(cavae, aorta - 2)
    atrium = cut(cut(cut(atrium, aorta - 2.0, 3), left - 2.2, 3), outer - 1.5, 3)
    cavae = cut(cavae, pulmonary - 1.8, 2)
    right = cut(right, atrium - 1.8, 3)
    muscle = cut(cut(outer, cavity), aorta - 1)
    sac = union(union(outer, right, 30), union(atrium, left, 20), 30)
    sac = (
        union(sac, common(union(aorta, pulmonary, 15), s.z - 55, 6), 25)
        - 5
        - 1.5 * noise(grid, 25, rng)
    )
    return Chambers(cavity, muscle, right, left, atrium, aorta, pulmonary, veins, cavae, sac)


def _labels(c: Chambers) -> np.ndarray:
    labels = np.zeros(c.sac.shape, np.int16)
    for shape, name in (
        (c.myocardium, "myocardium"), (c.right_ventricle, "right ventricle"),
        (c.right_atrium, "right atrium"), (c.left_atrium, "left atrium"),
        (c.pulmonary, "pulmonary artery"), (c.aorta, "aorta"),
        (c.left_ventricle, "left ventricle"),
    ):  # fmt: skip
        labels[shape < 0] = CODES[name]
    return labels


def _coronaries(rng: np.random.Generator) -> list[Tube]:
    """Right in its groove, left anterior descending along the septum, circumflex."""
    parts = path(
        [(-8, -20, 14), (-24, -30, 8), (-32, -24, -10), (-26, -6, -30)], [2.0, 1.9, 1.7, 1.3]
    )
    parts += path(
        [(12, -14, 20), (24, -30, 16), (36, -48, -4), (48, -58, -24)], [2.1, 1.9, 1.6, 1.1]
    )
    parts += path([(12, -14, 20), (32, -8, 16), (44, 8, 2), (36, 24, -16)], [2.0, 1.8, 1.5, 1.1])
    return parts


def _paint_heart(
    image: np.ndarray, s: Space, grid: Space, c: Chambers, rng: np.random.Generator
) -> None:
    soft = s.soft_mm
    left = rng.uniform(330, 460)
    right = left * rng.uniform(0.5, 0.98)
    lung = left * rng.uniform(0.7, 1.0)
    muscle = rng.uniform(92, 128)
    paint(image, c.sac - 1.2, 45.0, soft)
    paint(image, c.sac, FAT + 12 + 8 * noise(grid, 9, rng), soft)
    for shape, gap in ((c.right_ventricle, 2.6), (c.right_atrium, 1.8), (c.left_atrium, 1.6),
                       (c.aorta, 1.4), (c.pulmonary, 1.2), (c.cavae, 1.2)):  # fmt: skip
        paint(image, shape - gap, 62.0, soft)
    paint(image, _coronary_shape(s, c, rng), left * 0.9, 0.8 * soft)
    streams = 1 + 0.10 * noise(grid, 13, rng) * np.float32(left / right - 0.9)
    paint(image, common(c.veins, -c.left_atrium), left * 0.97, soft)
    paint(image, c.cavae, right * 0.9 * (1 + 0.12 * noise(grid, 12, rng)), soft)
    paint(image, c.right_atrium, right * streams, soft)
    paint(image, c.right_ventricle, right * (0.97 + 0.4 * (streams - 1)), soft)
    paint(image, c.left_atrium, left * (1 + 0.015 * noise(grid, 15, rng)), soft)
    paint(image, c.pulmonary, lung, soft)
    paint(image, c.myocardium, muscle + 6 * noise(grid, 7, rng) + 4 * noise(grid, 14, rng), soft)
    paint(image, c.aorta, left * 1.0, soft)
    paint(image, c.left_ventricle, left * 0.98, soft)


def _coronary_shape(s: Space, c: Chambers, rng: np.random.Generator) -> np.ndarray:
    blood = np.minimum(
        np.minimum(c.myocardium, c.right_ventricle), np.minimum(c.aorta, c.left_atrium)
    )
    return cut(tubes(s, _coronaries(rng), 5), np.minimum(blood, c.right_atrium) - 1)


def _paint_chest(
    image: np.ndarray, s: Space, grid: Space, wall_cavity: np.ndarray, c: Chambers,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Lungs and their vessels, mediastinum, airways, diaphragm with liver and stomach."""
    soft = s.soft_mm
    blood = float(rng.uniform(230, 330))
    middle = tubes(s, path([(0, 48, -110), (0, 44, 20), (0, 12, 90)], [22, 24, 34]), 60, 10)
    middle = union(middle, ellipsoid(s, (0, -36, 70), (22, 44, 50)), 14)
    middle = union(middle, c.sac, 10)
    right = -27 - 0.010 * ((s.x + 72) ** 2 + (s.y + 8) ** 2)
    left = -42 - 0.010 * ((s.x - 72) ** 2 + (s.y + 8) ** 2)
    under = -46 - 0.006 * ((s.x - 8) ** 2 + (s.y + 25) ** 2)  # below the heart
    dome = -union(union(-right, -left, 15), -under, 20) + 2 * noise(grid, 45, rng)
    over = (dome - s.z) * 0.8  # negative above the diaphragm
    lung = cut(common(common(wall_cavity + 2, over, 5), -middle, 6), c.sac - 2, 4)
    roots: list[Point] = [(-48, 20, 36), (50, 26, 38), (-50, 30, 8), (52, 34, 10)]
    paint(image, middle, FAT + 20 + 12 * noise(grid, 9, rng), soft)
    paint_lungs(image, s, grid, lung, rng, roots, 5, blood)
    belly = common(wall_cavity + 1, -over + 1)
    paint(image, cut(belly, c.sac - 2, 3), FAT + 5 * noise(grid, 9, rng), soft)
    liver = common(cut(belly, c.sac - 3, 6), s.x - 34 + 0.3 * s.y, 14)
    paint(image, liver + 2.5, 92 + 4 * noise(grid, 7, rng), soft)
    paint(image, cut(common(belly + 6, -s.x + 46, 12), c.sac - 4, 8), 70.0, soft)
    for side, end in ((-1, (-36, 32, 26)), (1, (42, 36, 28))):
        tube = path([(0, 38, 110), (side * 2.0, 36, 66), end], [8.5, 8, 5.5])
        bronchus = cut(tubes(s, tube, 8), np.minimum(c.aorta, c.pulmonary) - 2)
        bronchus = cut(bronchus, c.left_atrium - 2)
        paint(image, bronchus - 1.3, 40.0, soft)
        paint(image, bronchus, AIR + 20, soft)
    oesophagus = cut(tubes(s, path([(4, 46, 110), (6, 52, 0), (14, 42, -110)], [7, 6.5, 8]), 10),
                     np.minimum(c.left_atrium, c.aorta) - 1.5)  # fmt: skip
    paint(image, oesophagus, 45.0, soft)


def make_heart(
    size: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Space, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grid, image and twin (1, i, j, k), labels and region (i, j, k); there is no lesion."""
    grid = make_space(size, FIELD_MM)
    posed = pose(grid, rng, 2.5, 3.0)
    body = warp(posed, grid, rng, 3.0, 80)
    half = (float(rng.uniform(142, 165)), float(rng.uniform(117, 124)))
    middle = Space(body.x, body.y - 10, body.z, body.spacing_mm)
    wall = make_wall(
        middle, grid, rng, half, float(rng.uniform(6, 16)), wall_mm=15, shoulder=0.0004
    )
    turned = pose(body, rng, 5.0, 3.0)  # hearts lie steep in some people and flat in others
    scale = rng.uniform(0.93, 1.07)
    factors = tuple(float(scale * f) for f in rng.uniform(0.97, 1.03, 3))
    heart = stretch(warp(turned, grid, rng, 2.2, 30), factors)  # type: ignore[arg-type]
    c = _chambers(heart, grid, rng)
    descending = tubes(
        body, path([(20, 48, 110), (23, 51, 20), (14, 49, -110)], [12.5, 12, 11.5]), 12
    )
    c = replace(c, left_atrium=cut(c.left_atrium, descending - 2.5, 3),
                veins=cut(c.veins, descending - 2.5))  # fmt: skip
    image = np.full(grid.x.shape, AIR, np.float32)
    paint_wall(image, body, grid, wall, rng, lowest_rib_mm=-200)
    soft = grid.soft_mm
    back = back_of(body, SPINE_Y_MM)
    _paint_chest(image, heart, grid, cut(wall.cavity, back, 8), c, rng)
    paint_spine(image, body, grid, rng, SPINE_Y_MM, back=back, skin=wall.muscle,
                dense=float(rng.uniform(0.8, 1.2)))  # fmt: skip
    breastbone = ellipsoid(body, (0, -half[1] + 32, 30), (19, 6, 95))
    paint(image, breastbone, 420.0, soft)
    paint(image, breastbone + 2.5, 130.0, soft)
    _paint_heart(image, heart, grid, c, rng)
    paint(image, descending - 1.2, 55.0, soft)
    paint(
        image,
        descending,
        float(image[c.aorta < -3].mean()) if (c.aorta < -3).any() else 350.0,
        soft,
    )
    measure = make_scanner(grid, wall.body, rng, float(rng.uniform(14, 28)))
    seen = measure(image)[None]
    labels = _labels(c)
    return grid, seen, seen, labels, np.zeros(labels.shape, bool)
