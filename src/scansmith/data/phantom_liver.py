"""Livers in portal venous CT with none to three tumours: liver 1, tumour 2."""

from __future__ import annotations

import numpy as np

from scansmith.data.phantom_belly import Contrast, make_belly
from scansmith.data.phantom_shapes import (
    FAR_MM,
    Space,
    common,
    ellipsoid,
    make_space,
    noise,
    paint,
    union,
)
from scansmith.data.phantom_torso import make_scanner

FIELD_MM = (371.2, 371.2, 200.0)
SIZE = (128, 128, 40)
TUMOURS = (0.25, 0.32, 0.25, 0.18)  # how often 0, 1, 2, 3


def _tumours(
    s: Space, grid: Space, liver: np.ndarray, rng: np.random.Generator, count: int
) -> np.ndarray:
    """Signed distance of `count` tumours, none of them round, all of them within the liver."""
    shape: np.ndarray = np.full(s.x.shape, FAR_MM, np.float32)
    for _ in range(count):
        radius = float(np.clip(rng.lognormal(np.log(13), 0.42), 7, 34))
        radius = max(radius, 0.8 * s.spacing_mm[0], 0.55 * s.spacing_mm[2])
        room = np.flatnonzero(liver < -min(0.8 * radius, 12.0))
        room = room if room.size else np.flatnonzero(liver < 0)
        here = rng.choice(room)
        middle = np.array([s.x.flat[here], s.y.flat[here], s.z.flat[here]])
        own = shape
        for n in range(int(rng.integers(1, 4))):
            part = radius * (1.0 if n == 0 else rng.uniform(0.5, 0.75))
            at = middle + rng.normal(0, 0.5 * radius, 3) * (n > 0)
            radii = part * rng.uniform(0.75, 1.2, 3)
            own = union(
                own, ellipsoid(s, tuple(at), tuple(radii), rng.uniform(0, 180)), 0.3 * radius
            )  # type: ignore[arg-type]
        own = own + 0.14 * radius * noise(grid, max(0.7 * radius, 7), rng)
        shape = np.minimum(shape, own)
    shape = common(shape, liver + 1.2)
    return shape - max(0.0, float(shape.min()) + 0.5)  # coarse voxels: one at least is inside


def _paint_tumours(
    image: np.ndarray, s: Space, grid: Space, shape: np.ndarray, hu: Contrast,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    soft = s.soft_mm
    dark = rng.random() < 0.8
    away = -rng.uniform(28, 58) if dark else rng.uniform(22, 45)
    base = hu.liver + away + 5 * noise(grid, 8, rng) + 3 * noise(grid, 4, rng)
    if dark and rng.random() < 0.4:
        paint(image, shape, hu.liver + 14.0, soft)
        paint(image, shape + rng.uniform(2, 4), base, 1.5 * soft)
    else:
        paint(image, shape, base, 1.5 * soft)
    paint(image, shape + rng.uniform(8, 14), hu.liver + away - 14 + 6 * noise(grid, 6, rng), 5.0)


def make_liver(
    size: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Space, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grid, image and twin (1, i, j, k), labels and region (i, j, k)."""
    grid = make_space(size, FIELD_MM)
    belly = make_belly(grid, rng)
    liver = belly.shapes.liver
    labels = (liver < 0).astype(np.uint8)
    region = np.zeros(labels.shape, bool)
    diseased = belly.image.copy()
    count = int(rng.choice(len(TUMOURS), p=TUMOURS))
    if count:
        tumours = _tumours(belly.space, grid, liver, rng, count)
        _paint_tumours(diseased, belly.space, grid, tumours, belly.hu, rng)
        labels[tumours < 0] = 2
        region = tumours < 1.5 * grid.soft_mm + grid.spacing_mm[0]
    measure = make_scanner(grid, belly.body, rng, float(rng.uniform(8, 17)))
    twin = measure(belly.image)[None]
    seen = np.where(region, measure(diseased), twin)
    return grid, seen, twin, labels, region
