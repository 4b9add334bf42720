"""What the CT phantoms share: skin, fat, chest and belly wall, ribs, spine, the scanner's noise.

Values are Hounsfield units. Axes as in `phantom_shapes`: x left, y back, z head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scansmith.data.phantom_shapes import (
    Space,
    common,
    cover,
    cut,
    ellipsoid,
    grow_tree,
    noise,
    paint,
    path,
    tubes,
    union,
)  # fmt: skip

AIR, LUNG, FAT, MUSCLE, WATER, MARROW, BONE, CARTILAGE = -1000, -850, -105, 58, 8, 190, 620, 105


@dataclass(frozen=True, eq=False)
class Wall:
    """The body's outline and what lies within its wall, as signed distances."""

    body: np.ndarray
    muscle: np.ndarray
    cavity: np.ndarray
    wall_mm: np.ndarray


def make_wall(
    s: Space, grid: Space, rng: np.random.Generator, half_mm: tuple[float, float], fat_mm: float,
    wall_mm: float = 13.0, shoulder: float = 0.0,
) -> Wall:  # fmt: skip
    """A body of half-axes `half_mm` (x, y); `shoulder` is the growth of its width with z."""
    a = half_mm[0] * (1 + np.float32(shoulder) * s.z)
    b = half_mm[1] * np.where(s.y > 0, np.float32(0.95), np.float32(1.0))
    groove = 6.0 * np.exp(-((s.x / 16) ** 2)) * (s.y > 0)
    y = s.y + groove
    power = np.float32(2.35)
    norm = ((np.abs(s.x) / a) ** power + (np.abs(y) / b) ** power) ** (1 / power) + 1e-3
    reach = np.sqrt(s.x * s.x + y * y)
    body = (reach * (1 - 1 / norm)).astype(np.float32)
    side = np.abs(s.x) / (reach + 1)
    fat = fat_mm * (0.75 + 0.45 * side + 0.25 * (s.y > 0) * (1 - side)) + 2.0 * noise(grid, 45, rng)
    fat = np.clip(fat, 4, None)
    thick = wall_mm * np.clip(1 + 0.12 * noise(grid, 40, rng), 0.7, 1.4)
    return Wall(body, body + fat, body + fat + thick, thick)


def paint_wall(
    image: np.ndarray, s: Space, grid: Space, wall: Wall, rng: np.random.Generator, *,
    rib_step_mm: float = 30.0, lowest_rib_mm: float = -55.0,
) -> None:  # fmt: skip
    """Skin, fat with its septa, muscle and ribs; the cavity is left as fat."""
    soft = s.soft_mm
    paint(image, wall.body, -15.0, soft)
    texture = FAT + 5 * noise(grid, 9, rng)
    paint(image, wall.body + 1.8, texture, soft)
    sheets = np.abs(noise(grid, 14, rng)) < 0.07  # thin fat planes between muscle layers
    meat = MUSCLE + 7 * noise(grid, 7, rng) - np.float32(55) * sheets
    paint(image, wall.muscle, meat, soft)
    paint(image, wall.cavity, FAT + 6 * noise(grid, 11, rng), soft)
    around = np.abs(np.arctan2(s.x, s.y + 10))  # 0 at the spine, pi at the breastbone
    drop = 84 * around - 76 * np.clip(around - 2.0, 0, None) ** 2
    phase = (s.z + drop + rng.uniform(0, rib_step_mm)) / rib_step_mm
    along = (phase - np.round(phase)) * rib_step_mm * 0.82
    across = wall.cavity - 0.42 * wall.wall_mm
    rib = np.sqrt((across / 3.2) ** 2 + (along / 4.7) ** 2 + 0.02) * 3.7 - 3.7
    rib = common(rib, lowest_rib_mm + 22 * (around - 1.5) - s.z, 4)
    front = cover(s.y + 45 + 0.35 * s.z, 12.0)
    paint(image, rib, BONE * (1 - front) + CARTILAGE * front, soft)
    paint(image, rib + 2.2, 1.3 * MARROW * (1 - front) + CARTILAGE * front, soft)


def back_of(s: Space, y_mm: float) -> np.ndarray:
    """Where spine and back muscles are, and no lung or bowel can be."""
    muscles = ellipsoid(s, (0, y_mm + 44, 0), (71, 27, 1e4))
    return union(muscles, ellipsoid(s, (0, y_mm + 12, 0), (22, 26, 1e4)), 8)


def paint_spine(
    image: np.ndarray, s: Space, grid: Space, rng: np.random.Generator, y_mm: float, *,
    back: np.ndarray, skin: np.ndarray, dense: float = 1.0,
) -> None:  # fmt: skip
    """Vertebrae with discs, canal and processes, and the muscles of the back beside them."""
    soft = s.soft_mm
    step = 31.0
    phase = (s.z + rng.uniform(0, step)) / step
    level = (phase - np.round(phase)) * step  # 0 in the middle of a vertebra
    waist = 1.8 * (1 - (level / (step / 2)) ** 2)
    body = ellipsoid(Space(s.x, s.y, 0 * s.z, s.spacing_mm), (0, y_mm, 0), (20, 15.5, 99))
    body = cut(body + waist, ellipsoid(s, (0, y_mm + 20, 0), (11, 8, 1e4)), 2)
    canal = ellipsoid(s, (0, y_mm + 23, 0), (9.5, 8.5, 1e4))
    hollow = common(back, skin)
    paint(image, hollow, FAT + 6 * noise(grid, 9, rng), 2 * soft)
    mottled = MUSCLE + 8 * noise(grid, 6, rng) - 60 * (np.abs(noise(grid, 12, rng)) < 0.09)
    paint(image, hollow + 3.0, mottled, 1.4 * soft)
    for sign in (1, -1):
        muscle = ellipsoid(s, (sign * 31, y_mm + 33, 0), (27, 19, 1e4), sign * 14)
        muscle = common(muscle, np.abs(s.y - y_mm - 30) - 24, 6)
        paint(image, common(muscle - 2.5, skin), FAT + 15.0, soft)
        paint(image, common(muscle, skin), MUSCLE + 9 * noise(grid, 6, rng), soft)
    arch = cut(canal - 5.5, canal)
    arch = common(arch, np.abs(level + 3) - 11)
    spine = common(np.abs(s.x) - 2.6, np.abs(s.y - y_mm - 46) - 15)
    spine = common(spine, np.abs(level + 6) - 9, 3)
    wing = common(np.abs(s.y - y_mm - 21 - 0.18 * np.abs(s.x)) - 4.0, np.abs(s.x) - 34)
    wing = common(wing, np.abs(level - 2) - 7, 4)
    posterior = common(cut(union(union(arch, spine, 3), wing, 4), canal), skin)
    paint(image, posterior, 420 * dense, soft)
    paint(image, posterior + 3.2, 230 * dense, soft)
    paint(image, canal, 28.0, soft)
    shell = 480 * dense + 200 * (np.abs(level) > step / 2 - 5)
    paint(image, body, shell, soft)
    paint(image, body + 2.2, (MARROW * dense + 28 * noise(grid, 5, rng)), soft)
    disc = common(np.abs(np.abs(level) - step / 2) - 3.6, body)
    paint(image, disc, 85.0, soft)


def paint_table(image: np.ndarray, s: Space, y_mm: float) -> None:
    """The curved couch top below the patient."""
    top = s.y - y_mm + 0.00075 * s.x * s.x
    inside = common(np.abs(top - 9) - 9, np.abs(s.x) - 205)
    paint(image, inside, -940.0, s.soft_mm)
    paint(image, common(np.abs(top) - 1.4, inside - 2), -350.0, s.soft_mm)


def paint_lungs(
    image: np.ndarray, s: Space, grid: Space, lung: np.ndarray, rng: np.random.Generator,
    roots: list[tuple[float, float, float]], generations: int, vessel_hu: float = 60.0,
) -> None:  # fmt: skip
    """Air with faint texture, denser at the back, and vessels that fork away from the roots."""
    soft = s.soft_mm
    tone = LUNG + 16 * noise(grid, 10, rng) + 0.35 * s.y
    paint(image, lung, tone, soft)
    parts = []
    for root in roots:
        side = np.sign(root[0])
        for _ in range(5):
            heading = (side * rng.uniform(0.3, 1), rng.normal(0, 0.8), rng.normal(0, 0.8))
            parts += grow_tree(
                rng,
                root,
                heading,
                3.8,
                length_mm=31,
                generations=generations,
                spread=0.6,
                shrink=0.82,
            )
    vessel = common(tubes(s, parts, 4.0), lung + 1.5)
    paint(image, vessel, vessel_hu, soft)


def belly_tube(
    image: np.ndarray, s: Space, points: list[tuple[float, float, float]], radii: list[float],
    wall: float, content: np.ndarray | float, lumps: np.ndarray, keep_out: np.ndarray,
    thick_mm: float = 3.0,
) -> np.ndarray:  # fmt: skip
    """A hollow organ along a bent line, out of the way of what lies beside it."""
    shape = cut(tubes(s, path(points, radii), 12, 3) + lumps, keep_out - 2.5, 3)
    paint(image, shape, wall, s.soft_mm)
    paint(image, shape + thick_mm, content, s.soft_mm)
    return shape


def make_scanner(
    grid: Space, body: np.ndarray, rng: np.random.Generator, level_hu: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Blur of the reconstruction, then correlated noise that is strongest in the middle."""
    raw = rng.standard_normal(body.shape, dtype=np.float32)
    grain = ndimage.gaussian_filter(raw, (0.62, 0.62, 0.35), truncate=3)
    grain -= 0.8 * ndimage.gaussian_filter(raw, (1.9, 1.9, 0.35), truncate=3)
    grain /= grain.std()
    depth = np.clip(-body, 0, 110) / 110
    grain *= level_hu * (0.45 + 0.75 * depth)

    def measure(clean: np.ndarray) -> np.ndarray:
        seen = ndimage.gaussian_filter(clean, (0.35, 0.35, 0), truncate=3) + grain
        return np.clip(np.rint(seen), -1024, 3071).astype(np.int16)

    return measure
