"""What phantoms are made of: millimetre space, smooth noise, implicit shapes, tubes, soft paint.

A shape is its signed distance in millimetres, negative inside, at every voxel of a `Space`.
Axes: x to the patient's left, y to the back, z to the head (LPS), the origin in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

FAR_MM = 1e3
Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Space:
    """Where each voxel lies, in millimetres: three float32 arrays (i, j, k)."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    spacing_mm: tuple[float, float, float]

    @property
    def soft_mm(self) -> float:
        """Half the width of an edge: what one voxel in the plane blurs."""
        return 0.7 * self.spacing_mm[0]

    @cached_property
    def _reach(self) -> list[tuple[np.ndarray, np.ndarray]]:
        others = ((1, 2), (0, 2), (0, 1))
        return [
            (c.min(axis=o), c.max(axis=o))
            for c, o in zip((self.x, self.y, self.z), others, strict=True)
        ]

    def box(self, low: Sequence[float], high: Sequence[float]) -> tuple[slice, slice, slice]:
        """The smallest block of voxels that holds every point between two corners."""
        slices = []
        for (first, last), a, b in zip(self._reach, low, high, strict=True):
            inside = np.flatnonzero((last >= a) & (first <= b))
            slices.append(slice(inside[0], inside[-1] + 1) if inside.size else slice(0, 0))
        return slices[0], slices[1], slices[2]

    def part(self, box: tuple[slice, slice, slice]) -> Space:
        """The voxels of a block."""
        return Space(self.x[box], self.y[box], self.z[box], self.spacing_mm)


def make_space(size: tuple[int, int, int], field_mm: Point) -> Space:
    """A grid with square pixels in the plane, on which a field of view just fits."""
    pixel = max(field_mm[0] / size[0], field_mm[1] / size[1])
    spacing = (pixel, pixel, field_mm[2] / size[2])
    axes = [((np.arange(n) - (n - 1) / 2) * s) for n, s in zip(size, spacing, strict=True)]
    x, y, z = (np.ascontiguousarray(c, np.float32) for c in np.meshgrid(*axes, indexing="ij"))
    return Space(x, y, z, spacing)


def affine_of(space: Space) -> np.ndarray:
    """Voxel index to RAS+ millimetres, for voxels stored in the order left, back, head."""
    flip = np.array([-1.0, -1.0, 1.0])
    affine = np.diag([*(flip * space.spacing_mm), 1.0])
    affine[:3, 3] = flip * (space.x.flat[0], space.y.flat[0], space.z.flat[0])
    return affine


def pose(space: Space, rng: np.random.Generator, turn_deg: float, shift_mm: float) -> Space:
    """The same voxels seen from a patient who lies a little turned and off the middle."""
    angles = np.deg2rad(np.clip(rng.normal(0, turn_deg, 3), -2 * turn_deg, 2 * turn_deg))
    matrix = np.eye(3)
    for (a, b), angle in zip(((1, 2), (0, 2), (0, 1)), angles, strict=True):
        turn = np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    shift = np.clip(rng.normal(0, shift_mm, 3), -2 * shift_mm, 2 * shift_mm)
    c = [v - np.float32(s) for v, s in zip((space.x, space.y, space.z), shift, strict=True)]
    m = matrix.astype(np.float32)
    x, y, z = (m[r, 0] * c[0] + m[r, 1] * c[1] + m[r, 2] * c[2] for r in range(3))
    return Space(x, y, z, space.spacing_mm)


def stretch(space: Space, factors: Point) -> Space:
    """A patient larger by these factors along x, y, z."""
    return Space(
        space.x / np.float32(factors[0]),
        space.y / np.float32(factors[1]),
        space.z / np.float32(factors[2]),
        space.spacing_mm,
    )


def warp(space: Space, grid: Space, rng: np.random.Generator, mm: float, scale_mm: float) -> Space:
    """Bend space smoothly, so that no outline stays an ellipse."""
    bends = [mm * noise(grid, scale_mm, rng) for _ in range(3)]
    return Space(space.x + bends[0], space.y + bends[1], space.z + bends[2], space.spacing_mm)


def _spline(position: np.ndarray, count: int) -> np.ndarray:
    """Weights (n, count) of cubic B-splines at positions in lattice units."""
    distance = np.abs(position[:, None] - np.arange(count)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def branch(rng: np.random.Generator) -> np.random.Generator:
    """A generator of its own, for draws whose number depends on the grid."""
    return np.random.default_rng(int(rng.integers(2**62)))


def noise(grid: Space, scale_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth Gaussian noise, mean 0, deviation about 1, on an unbent grid.

    The lattice is in millimetres, so a finer grid shows the same field in more detail; where the
    voxels are larger than the lattice, the lattice is coarsened to them.
    """
    rng = branch(rng)
    weights = []
    for axis, coordinate in enumerate((grid.x[:, 0, 0], grid.y[0, :, 0], grid.z[0, 0, :])):
        step = max(scale_mm, 0.8 * grid.spacing_mm[axis])
        half = np.ceil((abs(coordinate[0]) + grid.spacing_mm[axis]) / step) + 2
        weights.append(_spline(coordinate / step + half, int(2 * half) + 1))
    field = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    field = np.tensordot(weights[0], field, (1, 0))
    field = np.moveaxis(np.tensordot(weights[1], field, (1, 1)), 0, 1)
    field = np.tensordot(field, weights[2], (2, 1))
    return np.ascontiguousarray(field / np.float32(0.332))  # 0.332: deviation the splines leave


class Lattice:
    """Smooth noise that can be asked at any point: for folds that follow a bent surface."""

    def __init__(self, reach_mm: float, scale_mm: float, rng: np.random.Generator):
        self.scale_mm = scale_mm
        self.half = int(np.ceil(reach_mm / scale_mm)) + 3
        self.values = branch(rng).standard_normal((2 * self.half + 1,) * 3, dtype=np.float32)

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The field at these points, mean 0, deviation about 1."""
        places = [c / np.float32(self.scale_mm) + np.float32(self.half) for c in (x, y, z)]
        field = ndimage.map_coordinates(
            self.values, places, order=3, prefilter=False, mode="grid-wrap", output=np.float32
        )
        return field / np.float32(0.332)


def ellipsoid(s: Space, centre: Point, radii: Point, turn_deg: float = 0.0) -> np.ndarray:
    """An ellipsoid, turned about z (from left towards back); distance to first order."""
    x, y, z = s.x - np.float32(centre[0]), s.y - np.float32(centre[1]), s.z - np.float32(centre[2])
    if turn_deg:
        cos, sin = (
            np.float32(np.cos(np.deg2rad(turn_deg))),
            np.float32(np.sin(np.deg2rad(turn_deg))),
        )
        x, y = cos * x + sin * y, cos * y - sin * x
    a, b, c = (np.float32(1 / r) for r in radii)
    x, y, z = x * a, y * b, z * c
    reach = np.sqrt(x * x + y * y + z * z)
    x, y, z = x * a, y * b, z * c
    slope = np.sqrt(x * x + y * y + z * z) + np.float32(1e-6)
    return reach * (reach - 1) / slope


def round_cone(s: Space, a: Point, b: Point, radius_a: float, radius_b: float) -> np.ndarray:
    """A tube from a to b whose radius changes evenly."""
    way = np.asarray(b, float) - np.asarray(a, float)
    length2 = float(way @ way) + 1e-9
    u, v, w = (np.float32(c) for c in way)
    x, y, z = s.x - np.float32(a[0]), s.y - np.float32(a[1]), s.z - np.float32(a[2])
    t = np.clip((x * u + y * v + z * w) * np.float32(1 / length2), 0, 1)
    x, y, z = x - t * u, y - t * v, z - t * w
    return np.sqrt(x * x + y * y + z * z) - (
        np.float32(radius_a) + t * np.float32(radius_b - radius_a)
    )


Tube = tuple[Point, Point, float, float]


def path(points: Sequence[Point], radii: Sequence[float]) -> list[Tube]:
    """The tubes of a bent line with a radius at each point."""
    return [(points[n], points[n + 1], radii[n], radii[n + 1]) for n in range(len(points) - 1)]


def tubes(
    s: Space, parts: Sequence[Tube], margin_mm: float = 6.0, melt_mm: float = 0.0
) -> np.ndarray:
    """The union of tubes; further than `margin_mm` outside it is only known to be far."""
    distance = np.full(s.x.shape, FAR_MM, np.float32)
    for a, b, radius_a, radius_b in parts:
        grow = max(radius_a, radius_b) + margin_mm
        low = [min(p, q) - grow for p, q in zip(a, b, strict=True)]
        high = [max(p, q) + grow for p, q in zip(a, b, strict=True)]
        box = s.box(low, high)
        near = distance[box]
        if near.size:
            own = round_cone(s.part(box), a, b, radius_a, radius_b)
            distance[box] = union(near, own, melt_mm)
    return distance


def union(a: np.ndarray, b: np.ndarray, melt_mm: float = 0.0) -> np.ndarray:
    """Both shapes, the crease between them filled over `melt_mm`."""
    both = np.minimum(a, b)
    if melt_mm:
        blend = np.clip(melt_mm - np.abs(a - b), 0, None) / np.float32(melt_mm)
        both = both - blend * blend * np.float32(melt_mm / 4)
    return both


def common(a: np.ndarray, b: np.ndarray, melt_mm: float = 0.0) -> np.ndarray:
    """What lies in both shapes, the edge rounded over `melt_mm`."""
    return -union(-a, -b, melt_mm)


def cut(a: np.ndarray, b: np.ndarray, melt_mm: float = 0.0) -> np.ndarray:
    """What lies in the first shape and not in the second."""
    return -union(-a, b, melt_mm)


def cover(shape: np.ndarray, soft_mm: float) -> np.ndarray:
    """How much of a voxel a shape fills, 0..1."""
    return np.clip(np.float32(0.5) - shape * np.float32(0.5 / soft_mm), 0, 1)


def paint(image: np.ndarray, shape: np.ndarray, value: np.ndarray | float, soft_mm: float) -> None:
    """Fill a shape with a value, in place, mixing at its edge."""
    share = cover(shape, soft_mm)
    image += share * (value - image)


def grow_tree(
    rng: np.random.Generator, start: Point, heading: Point, radius_mm: float, *,
    length_mm: float, generations: int, spread: float = 0.6, shrink: float = 0.76,
) -> list[Tube]:  # fmt: skip
    """A vessel that bends and forks; each child is thinner and shorter than its parent."""
    here, way = np.asarray(start, float), np.asarray(heading, float)
    way = way / np.linalg.norm(way)
    parts: list[Tube] = []
    radius = radius_mm
    for _ in range(3):
        bent = way + rng.normal(0, 0.16, 3)
        way = bent / np.linalg.norm(bent)
        there = here + way * length_mm / 3
        slim = max(radius * 0.95, 0.5)
        parts.append((_point(here), _point(there), radius, slim))
        here, radius = there, slim
    if generations <= 1:
        return parts
    side = np.cross(way, rng.normal(size=3))
    side /= np.linalg.norm(side) + 1e-9
    for sign in (1, -1):
        child = way + sign * side * spread * rng.uniform(0.7, 1.3)
        parts += grow_tree(
            rng, _point(here), _point(child), radius * shrink * rng.uniform(0.85, 1.1),
            length_mm=length_mm * rng.uniform(0.68, 0.9), generations=generations - 1,
            spread=spread, shrink=shrink,
        )  # fmt: skip
    return parts


def _point(p: np.ndarray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])
