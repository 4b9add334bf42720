"""Room for a lesion: where in an organ a shape can lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, signal

CLEARANCE_MM = 2.0  # our choice: about one voxel of the usual spacings
TRIES = 64


class Room:
    """The organ's part of a label map, and how far its voxels are from all that is not organ.

    The end of the grid is no border of the organ: what lies beyond is not known.

    Attributes:
        box: the organ's box in the map, one voxel wider.
        distance_mm: in that box, to the nearest voxel that is not organ.
    """

    def __init__(
        self, labels: np.ndarray, organ_indices: Sequence[int], spacing_mm: Sequence[float]
    ):
        self.labels = labels
        self.spacing_mm = spacing_mm
        organ = np.isin(labels, organ_indices)
        self.box = tuple(
            slice(max(0, int(along.min()) - 1), int(along.max()) + 2) if along.size else slice(0, 1)
            for along in np.nonzero(organ)
        )
        inside = organ[self.box]
        self.distance_mm = (
            np.full(inside.shape, np.inf)
            if inside.all()
            else ndimage.distance_transform_edt(inside, sampling=spacing_mm)
        )

    def with_lesion(
        self,
        shape: np.ndarray,
        rng: np.random.Generator,
        clearance_mm: float = CLEARANCE_MM,
        tries: int = TRIES,
    ) -> np.ndarray | None:
        """A copy of the labels with a shape (0: not lesion) set in; None if it fits nowhere."""
        start = self.position(shape, rng, clearance_mm, tries)
        if start is None:
            return None
        changed = self.labels.copy()
        corner = [s + b.start for s, b in zip(start, self.box, strict=True)]
        part = changed[tuple(slice(c, c + n) for c, n in zip(corner, shape.shape, strict=True))]
        part[shape != 0] = shape[shape != 0]
        return changed

    def position(
        self, shape: np.ndarray, rng: np.random.Generator, clearance_mm: float, tries: int
    ) -> tuple[int, ...] | None:
        """The corner (in the organ's box) of a random place where all of a shape is clear.

        First `tries` random places, with the shape's deepest voxel where the organ is as deep;
        then an exact search. Both draw evenly from the places that fit.
        """
        sizes = list(zip(shape.shape, self.distance_mm.shape, strict=True))
        if any(n > m for n, m in sizes):
            return None
        corners = tuple(m - n + 1 for n, m in sizes)
        free = self.distance_mm > clearance_mm
        mask = shape != 0
        hopeful = np.flatnonzero(self._deep_enough(mask, corners, clearance_mm))
        if not hopeful.size:
            return None
        for choice in rng.choice(hopeful, tries):
            start = tuple(int(i) for i in np.unravel_index(choice, corners))
            if _fits(free, mask, start):
                return start
        taken = signal.correlate(
            (~free).astype(np.float32), mask.astype(np.float32), mode="valid", method="auto"
        )
        for choice in rng.permutation(np.flatnonzero(taken < 0.5))[:tries]:
            start = tuple(int(i) for i in np.unravel_index(choice, corners))
            if _fits(free, mask, start):  # the search counts by Fourier transform, this exactly
                return start
        return None

    def _deep_enough(
        self, mask: np.ndarray, corners: tuple[int, ...], clearance_mm: float
    ) -> np.ndarray:
        """For each corner: whether the organ is as deep under the mask's deepest voxel as the mask.

        A ball of the mask's depth lies in the mask, so all that fits is among these.
        """
        depth_mm = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=self.spacing_mm)
        depth_mm = depth_mm[tuple(slice(1, -1) for _ in mask.shape)]
        deepest = np.unravel_index(np.argmax(depth_mm), mask.shape)
        under = self.distance_mm[
            tuple(slice(int(d), int(d) + n) for d, n in zip(deepest, corners, strict=True))
        ]
        return (under > clearance_mm) & (under >= depth_mm.max() * (1 - 1e-6))


def _fits(free: np.ndarray, mask: np.ndarray, start: tuple[int, ...]) -> bool:
    there = free[tuple(slice(s, s + n) for s, n in zip(start, mask.shape, strict=True))]
    return bool(there[mask].all())
