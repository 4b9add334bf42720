"""Each synthetic case beside its nearest training and hold-out case, and the worst as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from scansmith.evaluate.pictures import Picture, strip, upright
from scansmith.evaluate.privacy.cases import (
    Layout,
    inside_on,
    lesion_box,
    lesions,
    on_grid,
    whole_on,
)
from scansmith.evaluate.privacy.lines import Line, Sides
from scansmith.evaluate.privacy.neighbours import Pose, flipped
from scansmith.evaluate.privacy.statistics import gaps
from scansmith.evaluate.view import AXES, View

Row = dict[str, Any]
#: Worst pairs that are shown, of each line with pictures.
SHOWN = {"whole": 6, "lesion": 4, "inside": 4}
_PIXELS = 128


def case_rows(
    sides: Sides, lines: Sequence[Line], measured: dict[str, Any], hashes: np.ndarray
) -> list[Row]:
    """One row for each synthetic case and line: who is nearest, how near, and whether too near."""
    rows = []
    members = int(sides.trained.sum())
    for line in lines:
        limit = measured[line.name]["copies"]["gap_limit"]
        own_gaps = gaps(line.to_patients())
        trained = sides.trained[line.columns]
        for row, number in enumerate(line.rows):
            distances = line.synthetic.distances[row]
            at = [_nearest(distances, side) for side in (trained, ~trained)]
            real = [int(line.columns[place]) for place in at]
            pieces = [int(line.pieces[0][row]), *(int(line.pieces[1][place]) for place in at)]
            nearer = bool(distances[at[0]] <= distances[at[1]])
            found: Row = {
                "line": line.name,
                "case": sides.synthetic[number].case,
                "train_case": sides.real[real[0]].case,
                "train_distance": float(distances[at[0]]),
                "holdout_case": sides.real[real[1]].case,
                "holdout_distance": float(distances[at[1]]),
                "nearer_to_train": nearer,
                "gap": float(own_gaps[row]),
                "too_near": bool(own_gaps[row] > limit),
                "hash_bits": int(hashes[number, real[0]]),
                "numbers": [int(number), real[0], real[1] - members],
                "pieces": pieces,
                "poses": [_pose(line.synthetic.poses.get((row, place))) for place in at],
            }
            rows.append(found)
    return rows


def worst(rows: Sequence[Row]) -> list[Row]:
    """The pairs to look at: nearest to one training patient beside the next nearest patient."""
    found = []
    for name, most in SHOWN.items():
        own = [row for row in rows if row["line"] == name]
        own.sort(key=lambda row: (not row["nearer_to_train"], -row["gap"]))
        found += own[:most]
    return found


def pair_pictures(
    rows: Sequence[Row], read: Callable[[int, int], View], layout: Layout
) -> dict[str, bytes]:
    """A PNG for each pair: synthetic, nearest training case turned onto it, difference, nearest
    hold-out case. File name -> bytes.

    Args:
        read: (side, number of the case) -> the case; side 0 synthetic, 1 training, 2 hold-out.
    """
    found = {}
    for number, row in enumerate(rows, 1):
        cases = [read(side, row["numbers"][side]) for side in range(3)]
        shape = _large(layout, row["line"])
        pieces = [
            _piece_of(case, layout, row["line"], piece)
            for case, piece in zip(cases, row["pieces"], strict=True)
        ]
        grids = [
            _grid_of(case, piece, layout, row["line"], shape)
            for case, piece in zip(cases, pieces, strict=True)
        ]
        grid = layout.grid(row["line"])
        for side, pose in enumerate(row["poses"], 1):
            grids[side] = _turned(grids[side], pose, np.array(shape) / np.array(grid.fine))
        middle = shape[0] // 2
        size = _step_mm(cases[0], pieces[0], layout, row["line"])
        pictures = [
            _picture(case.case, upright(image[:, middle], cases[0].axes), size)
            for case, image in zip(cases, grids, strict=True)
        ]
        found[f"{number:02d}_{row['line']}.png"] = strip(pictures[0], pictures[1], pictures[2])
    return found


def pose_words(pose: Row | None) -> str:
    """How the real case was turned, in words."""
    if pose is None:
        return ""
    flip = [AXES[axis] for axis in pose["flip"]]
    words = [f"mirrored {' and '.join(flip)}"] if flip else []
    return ", ".join([*words, "shifted"] if any(pose["shift"]) else words)


def _nearest(distances: np.ndarray, side: np.ndarray) -> int:
    return int(np.argmin(np.where(side, distances, np.inf)))


def _pose(pose: Pose | None) -> Row | None:
    return None if pose is None else {"flip": list(pose.flip), "shift": list(pose.shift)}


def _large(layout: Layout, line: str) -> tuple[int, int, int]:
    return layout.grid(line).fine[0], _PIXELS, _PIXELS


def _piece_of(case: View, layout: Layout, line: str, number: int) -> np.ndarray | None:
    """The lesion that was compared, bool (D, H, W); None: the whole case was."""
    return None if line == "whole" else lesions(case, layout.shared.lesion)[number]


def _grid_of(
    case: View, piece: np.ndarray | None, layout: Layout, line: str, shape: tuple[int, int, int]
) -> np.ndarray:
    if piece is None:
        return whole_on(case, shape, layout.extent_mm)
    if line == "inside":
        return inside_on(case, piece, shape)
    return on_grid(case.image.astype(np.float32), *lesion_box(piece), shape)


def _turned(image: np.ndarray, pose: Row | None, ratio: np.ndarray) -> np.ndarray:
    """A real image as it lies on the query: flipped query [v] was likest real [v + shift]."""
    if pose is None:
        return image
    shift = [0.0, *(-np.array(pose["shift"]) * ratio)]
    moved = ndimage.shift(image, shift, order=1, mode="nearest")
    return flipped(moved, tuple(pose["flip"]))


def _step_mm(
    case: View, piece: np.ndarray | None, layout: Layout, line: str
) -> tuple[float, float]:
    if piece is None and layout.extent_mm is not None:
        return layout.extent_mm[1] / _PIXELS, layout.extent_mm[2] / _PIXELS
    extent = np.array(case.image.shape[1:], float)
    if piece is not None:
        extent = lesion_box(piece, 1.0)[1] if line == "inside" else lesion_box(piece)[1]
    h, w = (extent * np.array(case.spacing_mm))[1:] / _PIXELS
    return float(h), float(w)


def _picture(case: str, image: np.ndarray, step_mm: tuple[float, float]) -> Picture:
    """Each image in its own range: brightness and contrast are no part of likeness."""
    low, high = np.percentile(image, (1, 99), axis=(1, 2), keepdims=True)
    scaled = np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1).astype(np.float32)
    return Picture(case, scaled, None, step_mm, (1, 1))
