"""Brains with a glioma in T1, T1 with contrast, T2 and FLAIR, and the scanner that measures them.

Labels as in BraTS: necrosis 1, oedema 2, enhancing 4. Each modality of each case has a gain, a
bias field and Rician noise of its own; scan and twin share them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from scansmith.data.phantom_head import SIGNAL, Head, blend, make_head
from scansmith.data.phantom_shapes import (
    FAR_MM,
    Space,
    common,
    cover,
    ellipsoid,
    make_space,
    noise,
    union,
)

MODALITIES = ("t1", "t1c", "t2", "flair")
FIELD_MM = (182.4, 212.8, 153.6)
SIZE = (96, 112, 64)


def _centre(head: Head, rng: np.random.Generator, radius_mm: float) -> tuple[int, ...]:
    """A voxel of cerebral white matter, far enough from the surface for a core of that radius."""
    deep = (head.white > 0.6) & (head.cerebrum < -0.75 * radius_mm) & (head.ventricles > 3)
    deep &= head.mask & (np.abs(head.space.x) > 0.6 * radius_mm)
    places = np.flatnonzero(deep)
    if not places.size:
        places = np.flatnonzero(head.mask & (head.cerebrum < -0.5 * radius_mm))
    return tuple(int(c) for c in np.unravel_index(rng.choice(places), deep.shape))


def _tumour(head: Head, grid: Space, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Signed distances of core, necrosis and oedema."""
    s = head.space
    radius = float(np.clip(rng.lognormal(np.log(15), 0.32), 9, 27))
    radius = max(radius, 1.2 * s.spacing_mm[0], 0.7 * s.spacing_mm[2])
    here = _centre(head, rng, radius)
    core: np.ndarray = np.full(s.x.shape, FAR_MM, np.float32)
    for n in range(int(rng.integers(1, 4))):
        part = radius * (1.0 if n == 0 else rng.uniform(0.45, 0.8))
        off = rng.normal(0, 0.55 * radius, 3) * (n > 0)
        middle = tuple(float(c[here] + o) for c, o in zip((s.x, s.y, s.z), off, strict=True))
        radii = tuple(part * rng.uniform(0.75, 1.25, 3))
        blob = ellipsoid(s, middle, radii, rng.uniform(0, 180))  # type: ignore[arg-type]
        core = union(core, blob, 0.4 * radius)
    rough = noise(grid, max(0.75 * radius, 6), rng) * 0.2 * radius + noise(grid, 6, rng) * 0.9
    core = core + rough
    across = np.clip(-s.x * np.sign(s.x[here]), 0, None)  # the falx holds a tumour back
    stay = np.maximum(3.0 - head.depth_mm, 1.5 - head.ventricles)
    core = common(core + 0.8 * across, stay, 3)
    core = core - max(0.0, float(core.min()) + 0.5)  # coarse voxels: one at least is inside
    rim = rng.uniform(0.16, 0.5) * radius * np.clip(1 + 0.45 * noise(grid, 9, rng), 0.25, 2)
    necrosis = core + np.clip(rim, 1.6, None)
    reach = rng.uniform(4, 15) * np.clip(1 + 0.45 * noise(grid, 20, rng), 0.1, 1.9)
    oedema = core - reach + 11 * (1 - head.white) + 1.0 * across + noise(grid, 7, rng) * 1.2
    oedema = common(oedema, np.maximum(1.5 - head.depth_mm, 0.5 - head.ventricles))
    return core, necrosis, oedema


def _diseased(
    head: Head, grid: Space, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean signals with the tumour, its labels (1, 2, 4) and the region it touches."""
    core, necrosis, oedema = _tumour(head, grid, rng)
    soft = head.space.soft_mm
    images = head.images.copy()
    watery = cover(oedema, 1.6 * soft) * np.float32(rng.uniform(0.8, 1.0))
    watery = watery * np.clip(0.86 - 0.012 * core + 0.07 * noise(grid, 9, rng), 0.5, 1)
    blend(images, watery, SIGNAL["oedema"])
    wild = 1 + 0.10 * noise(grid, 4.5, rng)
    for shape, tissue in ((core, "enhancing"), (necrosis, "necrosis")):
        share = cover(shape, soft)
        for image, signal in zip(images, SIGNAL[tissue], strict=True):
            image += share * (np.float32(signal) * wild - image)
    labels = np.zeros(core.shape, np.uint8)
    labels[oedema < 0] = 2
    labels[core < 0] = 4
    labels[(necrosis < 0) & (core < 0)] = 1
    labels[~head.mask] = 0
    touched = (np.minimum(core, oedema) < 1.6 * soft) & head.mask
    return images, labels, touched


def _scanner(
    grid: Space, mask: np.ndarray, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """What one session does to any clean signals: gain, bias field, Rician noise."""
    shape = (4, *mask.shape)
    gains = rng.uniform(550, 1100, 4)
    fields = np.stack([np.exp(0.07 * noise(grid, 95, rng)) for _ in range(4)])
    levels = rng.uniform(0.014, 0.034, (4, 1, 1, 1)).astype(np.float32)
    real, other = (
        ndimage.gaussian_filter(
            rng.standard_normal(shape, dtype=np.float32), (0, 0.45, 0.45, 0), truncate=2
        ) * levels * 1.5
        for _ in range(2)
    )  # fmt: skip

    def measure(clean: np.ndarray) -> np.ndarray:
        seen = np.hypot(clean * fields + real, other) * gains[:, None, None, None]
        return np.where(mask, np.clip(np.rint(seen), 1, 32000), 0).astype(np.int16)

    return measure


def make_brain(
    size: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Space, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grid, image and twin (4, i, j, k), labels and region (i, j, k)."""
    grid = make_space(size, FIELD_MM)
    head = make_head(grid, rng)
    images, labels, region = _diseased(head, grid, rng)
    measure = _scanner(grid, head.mask, rng)
    twin = measure(head.images)
    image = np.where(region, measure(images), twin)
    return grid, image, twin, labels, region
