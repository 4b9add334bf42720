"""Sample grids: samples as rows, panels (labels, made, real, ...) as columns, one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from scansmith.train.checkpoint import write_atomic

GAP, TITLE = 4, 18
EMPTY = 24  # grey level where no sample is
SMALLEST = 128  # pixels that a small sample is enlarged to, about
MOST_SAMPLES, MOST_MODALITIES = 8, 4
COLOURS = np.array(
    [
        (0, 0, 0),
        (86, 180, 233),
        (230, 97, 0),
        (0, 158, 115),
        (240, 228, 66),
        (204, 121, 167),
        (93, 58, 155),
        (213, 94, 0),
        (153, 221, 255),
        (119, 170, 51),
        (255, 174, 185),
        (136, 136, 136),
        (170, 68, 0),
        (0, 85, 170),
        (187, 187, 85),
        (255, 255, 255),
    ],
    dtype=np.uint8,
)
"""Of labels 0, 1, 2, ...; told apart by colour-blind readers as far as sixteen can be."""


def save_grid(panels: Mapping[str, Tensor], path: Path, modalities: Sequence[str] = ()) -> None:
    """Write a sample grid.

    Args:
        panels: title -> images (B, C, *S), or integer labels (B, *S). An image is grey, from the
            least to the greatest value of its modality in the panel "real", else in all panels
            with as many modalities. A volume is shown as the middle slice of each axis.
        modalities: their names, for panels with so many; others are numbered.
    Raises:
        RunError: it cannot be written.
    """
    columns = [
        column
        for title, panel in panels.items()
        for column in _columns(title, panel, panels, modalities)
    ]
    if not columns:
        return
    samples = min(min(len(tiles) for _, tiles in columns), MOST_SAMPLES)
    height = max(tile.shape[0] for _, tiles in columns for tile in tiles)
    widths = [max(tile.shape[1] for tile in tiles) for _, tiles in columns]
    total = (samples * (height + GAP) + TITLE, sum(widths) + GAP * len(widths))
    canvas = np.full((*total, 3), EMPTY, dtype=np.uint8)
    left = 0
    for (_, tiles), width in zip(columns, widths, strict=True):
        for row, tile in enumerate(tiles[:samples]):
            top = TITLE + row * (height + GAP)
            canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        left += width + GAP
    image = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default()
    left = 0
    for (title, _), width in zip(columns, widths, strict=True):
        pen.text((left + 2, 3), title[: width // 6], fill=(235, 235, 235), font=font)
        left += width + GAP
    write_atomic(path, lambda temporary: image.save(temporary, format="PNG"))


def rows_of_grid(grid: np.ndarray) -> list[np.ndarray]:
    """The samples of a grid that `save_grid` wrote, without the gap below each.

    The file does not say how many there are. They are equally high with an empty gap below each, so
    the greatest number with a gap wherever one has to be is theirs: more would cut a sample, and no
    label and hardly an image is empty from left to right where it is cut.

    Args:
        grid: uint8 (h, w, 3), with its titles.
    Returns:
        uint8 (height, w, 3) each; none if this is no grid.
    """
    body = grid[TITLE:]
    for count in range(MOST_SAMPLES, 0, -1):
        if len(body) % count or len(body) // count <= GAP:
            continue
        rows = np.split(body, count)
        if all((row[-GAP:] == EMPTY).all() for row in rows):
            return [row[:-GAP] for row in rows]
    return []


def _columns(
    title: str, panel: Tensor, panels: Mapping[str, Tensor], modalities: Sequence[str]
) -> list[tuple[str, list[np.ndarray]]]:
    """The columns of a panel, each with a uint8 (h, w, 3) tile for each sample."""
    panel = panel.detach().cpu()
    if not panel.is_floating_point():
        labels = panel.long().numpy()
        return [(title, [_tile(COLOURS[sample % len(COLOURS)]) for sample in labels])]
    image = panel.float().numpy()
    shown = min(image.shape[1], MOST_MODALITIES)
    count = image.shape[1]
    names = modalities if len(modalities) == count else range(1, count + 1)
    columns = []
    for modality, name in zip(range(shown), names, strict=False):
        low, high = _limits(modality, panel, panels)
        grey = np.clip((image[:, modality] - low) / max(high - low, 1e-6), 0, 1)
        bytes_ = (grey * 255 + 0.5).astype(np.uint8)[..., None]
        tiles = [_tile(np.repeat(sample, 3, axis=-1)) for sample in bytes_]
        columns.append((title if shown == 1 else f"{title} {name}", tiles))
    return columns


def _limits(modality: int, panel: Tensor, panels: Mapping[str, Tensor]) -> tuple[float, float]:
    alike = {
        title: other
        for title, other in panels.items()
        if other.is_floating_point() and other.shape[1] == panel.shape[1]
    }
    chosen = [alike["real"]] if "real" in alike else list(alike.values())
    values = torch.cat([other[:, modality].detach().float().cpu().flatten() for other in chosen])
    return float(values.min()), float(values.max())


def _tile(sample: np.ndarray) -> np.ndarray:
    """(H, W, 3) or (D, H, W, 3) as a picture: axial, coronal and sagittal beside each other.

    D runs from feet to head, so that it is turned over for a standing patient.
    """
    times = max(1, round(SMALLEST / max(sample.shape[:-1])))
    if sample.ndim == 4:
        d, h, w = (size // 2 for size in sample.shape[:3])
        slices = [sample[d], sample[::-1, h], sample[::-1, :, w]]
        height = max(part.shape[0] for part in slices)
        parts = [np.pad(p, ((0, height - p.shape[0]), (0, 0), (0, 0))) for p in slices]
        sample = np.concatenate(parts, axis=1)
    return np.kron(sample, np.ones((times, times, 1), dtype=np.uint8))
