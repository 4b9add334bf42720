"""The files of a reader study's cases: nothing in them tells one side from the other.

Pictures are compressed files as a rule, and a smooth picture makes a smaller one. Here nothing is
compressed, so that files of one study have one size.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scansmith.evaluate.reader_study.grid import Common
from scansmith.evaluate.view import AXES
from scansmith.io.atomic import write_bytes
from scansmith.io.nifti import write_nifti

#: Pictures smaller than this are enlarged by a whole number, for viewers that do not.
_SIDE = 512
#: Black pixels between modalities that stand side by side.
GAP = 4


def write_case(
    folder: Path, name: str, grey: np.ndarray, grid: Common, modalities: Sequence[str]
) -> list[Path]:
    """NAME.png with the modalities side by side, or NAME_MODALITY.nii of each.

    Args:
        grey: uint8 (C, D, H, W) on the grid.
    """
    if grid.dims == 2:
        large = np.concatenate(_spaced([_enlarged(c[0]) for c in grey]), axis=1)
        return [write_bytes(folder / f"{name}.png", plain_png(large))]
    # To (W, H, D): the patient's left, back and head, as the affine says.
    order = [grid.axes.index(axis) for axis in reversed(AXES)]
    left, back, head = (grid.spacing_mm[axis] for axis in order)
    affine = np.diag([-left, -back, head, 1.0])
    turned = np.transpose(grey, (0, *(axis + 1 for axis in order)))
    names = [f"{name}_{m}.nii" for m in modalities] if len(grey) > 1 else [f"{name}.nii"]
    return [
        write_nifti(folder / file, channel, affine)
        for file, channel in zip(names, turned, strict=True)
    ]


def film(grey: np.ndarray) -> np.ndarray:
    """All slices of a case below one another, modalities side by side: uint8 (D * H, ...)."""
    c, d, h, w = grey.shape
    return np.concatenate(_spaced(list(grey.reshape(c, d * h, w))), axis=1)


def plain_png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 (H, W) with no text in it and a size that its content has no part in."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def _spaced(panels: list[np.ndarray]) -> list[np.ndarray]:
    gap = np.zeros((len(panels[0]), GAP), np.uint8)
    return [part for panel in panels for part in (gap, panel)][1:]


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    times = max(1, _SIDE // max(pixels.shape))
    size = pixels.shape[1] * times, pixels.shape[0] * times
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
