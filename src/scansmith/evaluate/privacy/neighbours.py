"""Which real cases a case is nearest to, with shifts and flips searched.

Likeness is the correlation of two images after the best shift and flip (Pearson's, over the middle
of the query, mean over modalities): brightness and contrast do not matter. Distance is
sqrt(1 - correlation). Every pair is compared on the coarse grid at every shift and flip; the
likeliest pairs are then aligned on the fine grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product

import numpy as np

from scansmith.evaluate.privacy.cases import Grid

#: Real cases that a query is aligned with on the fine grid, and queries that a real case is.
CANDIDATES, BACKWARD = 8, 3
#: Distances below this are equal images, but for rounding.
LEAST_DISTANCE = 1e-3

Shift = tuple[int, int, int]
Flip = tuple[int, ...]


@dataclass(frozen=True)
class Pose:
    """How a query has to be turned to lie on a reference: flipped axes, then fine voxels."""

    flip: Flip
    shift: Shift


@dataclass(frozen=True)
class Nearness:
    """Distances of n queries to m references.

    Attributes:
        distances: (n, m). Pairs that were aligned have their distance; the others follow behind
            the farthest aligned one of their row, in the order of the coarse grid.
        aligned: bool (n, m).
        poses: of the aligned pairs.
    """

    distances: np.ndarray
    aligned: np.ndarray
    poses: dict[tuple[int, int], Pose]

    def to_reference(self) -> np.ndarray:
        """Distance of each reference to the nearest query that it was aligned with, (m,)."""
        return np.where(self.aligned, self.distances, np.inf).min(axis=0, initial=np.inf)


def flips(shape: Sequence[int]) -> list[Flip]:
    """Every set of axes to flip, none first; an axis of one voxel has no other side."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    return list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))


def flipped(images: np.ndarray, flip: Flip) -> np.ndarray:
    """Images (..., D, H, W) flipped along some of their last three axes."""
    return np.flip(images, tuple(axis - 3 for axis in flip)) if flip else images


def standardised(window: np.ndarray) -> np.ndarray:
    """(n, C, D, H, W) to (n, C D H W) whose dot products are mean correlations; 0 where flat."""
    flat = window.reshape(len(window), window.shape[1], -1).astype(np.float32)
    flat = flat - flat.mean(axis=2, keepdims=True)
    norm = np.linalg.norm(flat, axis=2, keepdims=True) * np.sqrt(window.shape[1])
    return (flat / np.where(norm > 1e-6, norm, np.inf)).reshape(len(window), -1)


def coarse_search(
    queries: np.ndarray, references: np.ndarray, margin: Shift
) -> tuple[np.ndarray, np.ndarray]:
    """Best correlation of each query with each reference over all shifts and flips.

    Args:
        queries, references: (n, C, *S) and (m, C, *S) on the coarse grid.
    Returns:
        float32 (n, m), and which pose of `coarse_poses` it was.
    """
    best = np.full((len(queries), len(references)), -np.inf, np.float32)
    which = np.zeros(best.shape, np.int32)
    sides = flips(queries.shape[2:])
    turned = [standardised(_window(flipped(queries, flip), margin, (0, 0, 0))) for flip in sides]
    for s, shift in enumerate(_shifts(margin)):
        here = standardised(_window(references, margin, shift)).T
        for f, query in enumerate(turned):
            found = query @ here
            better = found > best
            best[better] = found[better]
            which[better] = s * len(sides) + f
    return best, which


def nearness(
    queries: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    fine: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    grid: Grid,
    *,
    barred: np.ndarray | None = None,
    whose: Sequence[str] = (),
    backward: bool = True,
    advance: Callable[[int], None] = lambda done: None,
) -> Nearness:
    """Distances of queries to references.

    Which pairs are aligned on the fine grid depends on their likeness only, never on whether a
    reference was trained on: a permutation of that knowledge changes nothing here.

    Args:
        queries, references: (C, *S) each, on the coarse grid.
        fine: the same cases on the fine grid.
        barred: bool (n, m), pairs that are not to be compared; their distance is inf.
        whose: patients of the references: the likeliest of each of the likeliest patients are
            aligned too, or else slices of one patient might take all places, and how near the next
            patient is would not be known. (): each is of one of its own.
        backward: align the likeliest queries of each reference too, for `to_reference`.
        advance: called with the number of queries done.
    """
    likeness, which = coarse_search(np.stack(queries), np.stack(references), grid.margin)
    if barred is not None:
        likeness[barred] = -np.inf
    chosen = _likeliest(likeness, CANDIDATES, backward)
    if len(set(whose)) < len(whose):
        chosen |= _likeliest_of_each(likeness, CANDIDATES, whose)
    chosen &= np.isfinite(likeness)
    sides, shifts = flips(grid.coarse), _shifts(grid.margin)
    ratio = np.array(grid.fine) / np.array(grid.coarse)
    distances = np.full(likeness.shape, np.inf)
    poses: dict[tuple[int, int], Pose] = {}
    for row in range(len(likeness)):
        templates: dict[Flip, np.ndarray] = {}
        for column in np.flatnonzero(chosen[row]).tolist():
            flip = sides[which[row, column] % len(sides)]
            coarse_shift = shifts[which[row, column] // len(sides)]
            if flip not in templates:
                middle = _window(flipped(fine[0][row], flip), grid.fine_margin, (0, 0, 0))
                templates[flip] = standardised(middle[None])[0]
            start = np.rint(np.array(coarse_shift) * ratio).astype(int)
            found, shift = _aligned(templates[flip], fine[1][column], grid.fine_margin, start)
            distances[row, column] = max(np.sqrt(max(1.0 - found, 0.0)), LEAST_DISTANCE)
            poses[row, column] = Pose(flip, shift)
        advance(row + 1)
    _fill(distances, chosen, likeness)
    return Nearness(distances, chosen, poses)


def _aligned(
    template: np.ndarray, reference: np.ndarray, margin: Shift, start: np.ndarray
) -> tuple[float, Shift]:
    """Climb from a shift to the best one near it, in steps of two voxels, then of one."""
    known: dict[Shift, float] = {}

    def at(shift: Shift) -> float:
        if shift not in known:
            window = standardised(_window(reference, margin, shift)[None])[0]
            known[shift] = float(template @ window)
        return known[shift]

    d, h, w = (max(-m, min(int(s), m)) for m, s in zip(margin, start, strict=True))
    here = (d, h, w)
    steps = [axis for axis in range(3) if margin[axis]]
    for size in (2, 1):
        moved = True
        while moved:
            moved = False
            for axis, sign in product(steps, (-1, 1)):
                d, h, w = (n + sign * size * (own == axis) for own, n in enumerate(here))
                inside = all(-m <= n <= m for m, n in zip(margin, (d, h, w), strict=True))
                if inside and at((d, h, w)) > at(here):
                    here, moved = (d, h, w), True
    return at(here), here


def _likeliest(likeness: np.ndarray, most: int, backward: bool) -> np.ndarray:
    """bool (n, m): the `most` likeliest of each row, and a few of each column."""
    chosen = np.zeros(likeness.shape, bool)
    rows = np.argsort(-likeness, axis=1)[:, :most]
    np.put_along_axis(chosen, rows, True, axis=1)
    if backward:
        columns = np.argsort(-likeness, axis=0)[:BACKWARD]
        np.put_along_axis(chosen, columns, True, axis=0)
    return chosen


def _likeliest_of_each(likeness: np.ndarray, most: int, whose: Sequence[str]) -> np.ndarray:
    """bool (n, m): of each row the likeliest one of each of the `most` likeliest patients."""
    chosen, rows = np.zeros(likeness.shape, bool), np.arange(len(likeness))
    names = np.array(whose)
    columns = [np.flatnonzero(names == name) for name in dict.fromkeys(whose)]
    best = np.stack([own[likeness[:, own].argmax(axis=1)] for own in columns], axis=1)
    order = np.argsort(-likeness[rows[:, None], best], axis=1)[:, :most]
    chosen[rows[:, None], best[rows[:, None], order]] = True
    return chosen


def _fill(distances: np.ndarray, chosen: np.ndarray, likeness: np.ndarray) -> None:
    """Order what was not aligned behind what was; barred pairs stay at inf."""
    coarse = np.sqrt(np.clip(1.0 - likeness, 0.0, 2.0))
    for row, (own, rough) in enumerate(zip(chosen, coarse, strict=True)):
        left = ~own & np.isfinite(likeness[row])
        behind = distances[row, own].max(initial=0.0)
        if left.any():
            distances[row, left] = behind + 1e-6 + rough[left] - rough[left].min()


def _window(images: np.ndarray, margin: Shift, shift: Shift) -> np.ndarray:
    """The middle of images (..., D, H, W) without the margin, moved by a shift."""
    sizes = images.shape[-3:]
    d, h, w = (slice(m + s, n - m + s) for m, s, n in zip(margin, shift, sizes, strict=True))
    return images[..., d, h, w]


def _shifts(margin: Shift) -> list[Shift]:
    ranges = [range(-m, m + 1) for m in margin]
    return [(d, h, w) for d, h, w in product(*ranges)]
