"""The healthy, skull-stripped brain of a phantom: outlines, folds, ventricles, tissues, vessels.

Anatomy is in millimetres about the middle of the brain (near the anterior commissure). Signals
are relative, white matter in T1 = 0.8, for T1, T1 with contrast, T2 and FLAIR.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scansmith.data.phantom_shapes import (
    FAR_MM,
    Lattice,
    Space,
    common,
    cover,
    cut,
    ellipsoid,
    noise,
    path,
    pose,
    stretch,
    tubes,
    union,
    warp,
)  # fmt: skip

# t1, t1c, t2, flair. Order of brightness as in any radiology text: CSF dark in T1 and FLAIR and
# brightest in T2; white above grey in T1, below it in T2 and FLAIR.
SIGNAL = {
    "csf": (0.20, 0.20, 1.00, 0.13),
    "grey": (0.56, 0.58, 0.60, 0.64),
    "white": (0.80, 0.82, 0.40, 0.50),
    "deep": (0.67, 0.69, 0.50, 0.58),
    "pallidum": (0.74, 0.76, 0.38, 0.47),
    "vessel": (0.35, 1.15, 0.35, 0.30),
    "plexus": (0.42, 0.98, 0.78, 0.42),
    "necrosis": (0.36, 0.38, 0.92, 0.52),
    "oedema": (0.58, 0.60, 0.84, 0.96),
    "enhancing": (0.56, 1.18, 0.66, 0.80),
}


@dataclass(frozen=True, eq=False)
class Head:
    """The healthy anatomy that a tumour has to respect."""

    space: Space
    mask: np.ndarray
    depth_mm: np.ndarray
    ventricles: np.ndarray
    white: np.ndarray
    cerebrum: np.ndarray
    images: np.ndarray


def _hull(s: Space) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cerebrum, its outline as if it had no base, cerebellum and brainstem, all without folds."""
    taper = 1 + 0.0009 * s.y - 0.000008 * s.y**2  # the front is narrower than the parietal part
    side = Space(np.abs(s.x) ** 1.06 / 1.26 / taper, s.y, s.z, s.spacing_mm)
    dome = ellipsoid(side, (0, -1, 2), (66.5, 83, 61))
    floor = -19 - s.z - 0.05 * s.y
    side = Space(np.abs(s.x), s.y, s.z, s.spacing_mm)
    temporal = ellipsoid(side, (43, -4, -26), (21, 42, 21), 12)
    cerebrum = union(common(dome, floor, 14), temporal, 7)
    cerebellum = union(
        ellipsoid(side, (24, 48, -41), (28, 31, 22)),
        ellipsoid(side, (0, 47, -38), (14, 26, 21)),
        10,
    )
    down = path([(0, 9, -27), (0, 14, -34), (0, 20, -46), (0, 26, -90)], [14, 15, 11.5, 8])
    peduncle = ellipsoid(side, (9.5, 3, -14), (7.5, 12, 18), -28)
    midbrain = union(peduncle, ellipsoid(s, (0, 16, -14), (13.5, 9, 18)), 5)
    stem = union(tubes(s, down, 60, 6), midbrain, 6)
    return cerebrum, union(dome, temporal, 7), cerebellum, stem


def _folds(s: Space, depth: np.ndarray, rng: np.random.Generator, width_mm: float) -> np.ndarray:
    """Distance to the nearest sulcus: sheets of a noise field that run inwards from the surface."""
    reach = np.sqrt((s.x / 67) ** 2 + ((s.y + 1) / 84) ** 2 + ((s.z - 2) / 61) ** 2) + 0.05
    pull = reach ** np.float32(-0.7)  # towards the surface: a sheet stands upright on it
    side = np.where(s.x > 0, 71.0, -71.0).astype(np.float32)  # the halves fold differently
    nearest = np.full(depth.shape, FAR_MM, np.float32)
    for scale, deepest in ((11.5, 24.0), (6.6, 11.0)):
        field = Lattice(240, scale, rng).at(s.x * pull + side, s.y * pull, s.z * pull)
        slopes = np.gradient(field, *s.spacing_mm)
        steep = np.sqrt(sum(g * g for g in slopes)) + np.float32(0.35 / scale)
        sheet = np.abs(field) / steep
        limit = deepest * rng.uniform(0.85, 1.15)
        nearest = np.minimum(nearest, sheet - width_mm + np.clip(depth - limit, 0, None))
    return nearest


def _ventricles(s: Space, rng: np.random.Generator, large: float) -> np.ndarray:
    shape = np.full(s.x.shape, FAR_MM, np.float32)
    for sign in (1, -1):
        size = large * rng.uniform(0.9, 1.1)

        def at(x: float, y: float, z: float, sign: int = sign) -> tuple[float, float, float]:
            return sign * x, y, z

        body = path(
            [at(12, -36, 6), at(8.5, -24, 13), at(8, -8, 19), at(10, 10, 21), at(17, 25, 17),
             at(24, 33, 7), at(24, 44, 4), at(21, 58, 3)],
            [2.0 * size, 4.6 * size, 4.8 * size, 4.8 * size, 5.6 * size, 6.6 * size, 4.2 * size,
             1.5 * size],
        )  # fmt: skip
        horn = path(
            [at(24, 33, 7), at(31, 20, -10), at(33, 2, -20), at(30, -8, -22)],
            [5.5 * size, 2.4 * size, 1.9 * size, 1.2 * size],
        )
        lateral = tubes(s, body + horn, 14, 3)
        caudate = ellipsoid(s, at(17.5, -22, 11), (7.5, 20, 11))
        lateral = cut(lateral, caudate, 2)
        shape = union(shape, common(lateral, 1.0 - sign * s.x))
    third = ellipsoid(s, (0, 3, 0), (2.0 * large, 15, 10))
    fourth = ellipsoid(s, (0, 33, -36), (6.5 * large**0.5, 5, 11))
    return union(union(shape, third, 2), fourth)


def _fissures(s: Space, bend: np.ndarray, width_mm: float) -> np.ndarray:
    """The cleft between the halves above the corpus callosum, and the Sylvian fissures."""
    arch = (np.sqrt(((s.y - 2) / 40) ** 2 + ((s.z + 2) / 29) ** 2) - 1) * 30
    between = np.abs(s.x + bend) - width_mm + np.clip(-arch, 0, None)
    slant = s.z + 9 - 0.33 * (s.y + 8) + 2.5 * bend
    sylvian = np.abs(slant) * 0.95 - width_mm * 1.5
    sylvian = (
        sylvian + np.clip(31 - np.abs(s.x), 0, None) + 0.5 * np.clip(np.abs(s.y + 2) - 30, 0, None)
    )
    insula = np.sqrt((np.abs(s.x) - 36 - bend) ** 2 + 0.0) - width_mm
    insula = insula + 0.8 * np.clip(np.abs(slant + 1) - 14, 0, None)
    insula = insula + 0.5 * np.clip(np.abs(s.y + 2) - 20, 0, None)
    return np.minimum(np.minimum(between, sylvian), insula)


def _filled(mask: np.ndarray) -> np.ndarray:
    """The largest piece, without holes in any axial slice."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return ndimage.binary_fill_holes(mask, np.pad(np.ones((3, 3, 1)), ((0, 0), (0, 0), (1, 1))))


def make_head(grid: Space, rng: np.random.Generator) -> Head:
    """One healthy head: size, pose, folds, age and vessels by chance."""
    scale = np.clip(rng.normal(1.0, 0.03, 3), 0.94, 1.05)
    posed = stretch(pose(grid, rng, 3.0, 1.5), (float(scale[0]), float(scale[1]), float(scale[2])))
    s = warp(warp(posed, grid, rng, 2.2, 38), grid, rng, 0.7, 13)
    age = float(rng.beta(2, 2.5))
    cerebrum, outline, cerebellum, stem = _hull(s)
    hull = union(union(cerebrum, cerebellum, 4), stem, 12) - 1.0
    gap = 1.6 + 1.3 * noise(grid, 12, rng)  # water round the midbrain, more of it in front
    water = union(stem - gap, ellipsoid(s, (0, -13, -17), (13, 10, 8)) - gap, 3)
    cerebrum = cut(cerebrum, common(water, s.z + 9, 5), 2)
    mask = _filled(hull + 0.7 * noise(grid, 7, rng) < 0)
    width = 0.5 + 0.8 * age
    bend = 1.2 * noise(grid, 26, rng)
    sulci = np.minimum(
        _folds(s, -np.minimum(outline, 0), rng, width), _fissures(s, bend, 0.7 + 0.7 * age)
    )
    ventricles = _ventricles(s, rng, 0.78 + 0.45 * age)
    pia = np.minimum(-cerebrum - 0.6, sulci)  # depth below the nearest surface of the cortex
    images = _tissue(s, grid, rng, pia, Parts(cerebrum, cerebellum, stem, ventricles))
    _old_age(images, grid, rng, pia, ventricles, age)
    _vessels(images, s, grid, rng, sulci, hull, ventricles)
    soft = s.soft_mm
    white = cover(3.9 - pia, soft) * cover(cerebrum, soft) * cover(-ventricles, soft)
    return Head(s, mask, -hull, ventricles, white, cerebrum, images)


@dataclass(frozen=True, eq=False)
class Parts:
    """Outlines, as signed distances."""

    cerebrum: np.ndarray
    cerebellum: np.ndarray
    stem: np.ndarray
    ventricles: np.ndarray


def _mix(images: np.ndarray, shape: np.ndarray, tissue: str, soft_mm: float) -> None:
    blend(images, cover(shape, soft_mm), SIGNAL[tissue])


def blend(images: np.ndarray, share: np.ndarray, signals: tuple[float, ...]) -> None:
    """Mix a share (i, j, k) of a tissue into all modalities, in place."""
    for image, signal in zip(images, signals, strict=True):
        image += share * (np.float32(signal) - image)


def _tissue(
    s: Space, grid: Space, rng: np.random.Generator, pia: np.ndarray, parts: Parts
) -> np.ndarray:
    """Clean signals of all modalities, (4, i, j, k)."""
    soft = s.soft_mm
    images = np.empty((4, *s.x.shape), np.float32)
    images[:] = np.array(SIGNAL["csf"], np.float32)[:, None, None, None]
    folia = s.z + 0.35 * np.abs(s.x) + 0.5 * (s.y - 50) + 2.0 * noise(grid, 12, rng)
    leaf = np.abs(((folia / 6.4) % 1) - 0.5) * 6.4
    skin = parts.cerebellum + 0.3
    _mix(images, common(skin, np.minimum(leaf - 2.8, skin + 4)), "grey", soft)
    _mix(images, common(skin + 4.5, leaf - 1.2), "white", 1.2 * soft)
    _mix(images, skin + 17, "white", 6.0)
    _mix(images, common(parts.cerebrum, -pia), "grey", soft)
    thick = 3.3 + 0.6 * noise(grid, 15, rng)
    _mix(images, common(parts.cerebrum, thick - pia), "white", soft)
    stem = common(parts.stem + 0.4, s.z + 2, 4)
    _mix(images, stem, "deep", soft)
    _mix(images, stem + 3, "white", 5.0)
    for sign in (1, -1):
        _mix(images, ellipsoid(s, (sign * 16, -20, 11), (5.5, 17, 10), -sign * 8), "deep", soft)
        _mix(images, ellipsoid(s, (sign * 25.5, -1, 1), (6.2, 17, 11), sign * 14), "deep", soft)
        _mix(images, ellipsoid(s, (sign * 20.5, 2, 0), (3.4, 9, 7), sign * 20), "pallidum", soft)
        _mix(images, ellipsoid(s, (sign * 10.5, 14, 5), (8.5, 14, 9), sign * 20), "deep", soft)
        _mix(images, ellipsoid(s, (sign * 29, 8, -23), (5, 16, 4.5), sign * 12), "grey", soft)
    _mix(images, parts.ventricles, "csf", soft)
    images *= 1 + 0.025 * noise(grid, 9, rng)
    return images


def _old_age(
    images: np.ndarray, grid: Space, rng: np.random.Generator, pia: np.ndarray,
    ventricles: np.ndarray, age: float,
) -> None:  # fmt: skip
    """Bright caps round the ventricles and a few spots in the white matter, in T2 and FLAIR."""
    caps = np.exp(-np.clip(ventricles, 0, None) / 3.0) * (ventricles > 0)
    caps = caps * np.clip(0.5 + 0.5 * noise(grid, 16, rng), 0, 1) * (0.1 + 0.5 * age)
    spots = np.clip(noise(grid, 5, rng) - 2.9 + 0.7 * age, 0, 0.6) * cover(6 - pia, 2.0)
    share = np.clip(caps + spots, 0, 0.8)
    for m, signal in ((0, 0.66), (1, 0.68), (2, 0.75), (3, 0.90)):
        images[m] += share * (pia > 3) * (np.float32(signal) - images[m])


def _vessels(
    images: np.ndarray, s: Space, grid: Space, rng: np.random.Generator, sulci: np.ndarray,
    hull: np.ndarray, ventricles: np.ndarray,
) -> None:  # fmt: skip
    """Cortical vessels in the sulci, the great sinus and choroid plexus: bright with contrast."""
    soft = s.soft_mm
    run = np.abs(noise(grid, 10, rng)) - 0.22
    veins = cover(sulci + 0.2, soft) * cover(run * 6, 1.5) * 0.6 * (hull < -0.5)
    back = [(0, 20, 62), (0, 55, 50), (0, 76, 26), (0, 83, 2), (0, 80, -12)]
    sinus = cover(tubes(s, path(back, [1.0, 1.8, 2.4, 2.8, 2.6]), 6), soft)
    artery = [((sign * 6, -14, -17), (sign * 34, -10, -12), 1.6, 1.3) for sign in (1, -1)]
    bright = cover(tubes(s, artery, 6), soft) * 0.8
    blend(images, np.maximum(np.maximum(veins, sinus * (hull < 1)), bright), SIGNAL["vessel"])
    plexus = [((sign * 24.5, 33, 5), (sign * 19, 28, 13), 2.1, 1.3) for sign in (1, -1)]
    _mix(images, common(tubes(s, plexus, 6), ventricles + 0.8), "plexus", soft)
