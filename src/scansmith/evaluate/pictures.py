"""Pictures of cases for the report: one slice, as PNG text that a page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from scansmith.evaluate.view import AXES, View
from scansmith.evaluate.windows import Window

_WIDTH = 200
_FILL = 0.25  # labels are a veil: what they lie on has to be seen
#: A difference of this share of the window is shown in full colour.
DIFFERENCE = 0.15


@dataclass(frozen=True)
class Picture:
    """One slice of a case, as it is looked at (`upright`).

    Attributes:
        images: (C, H, W), 0..1 within the windows.
        labels: uint8 (H, W), indices of the shared structures, or None.
        step_mm: of H and W, for pixels that are not square.
        number: which of the slices it is, from 1, and of how many.
    """

    case: str
    images: np.ndarray
    labels: np.ndarray | None
    step_mm: tuple[float, float]
    number: tuple[int, int]


def picture_of(
    case: View, windows: tuple[Window, ...], lesion: np.ndarray, number: int | None = None
) -> Picture:
    """The slice with most lesion, else most labels, else the middle one (or slice `number`)."""
    if number is None:
        number = _telling_slice(case, lesion)
    scaled = [
        np.clip((image[number] - w.low) / (w.high - w.low), 0, 1)
        for image, w in zip(case.image, windows, strict=True)
    ]
    images = upright(np.stack(scaled).astype(np.float32), case.axes)
    labels = None if case.labels is None else upright(case.labels[number], case.axes)
    step = case.spacing_mm[1], case.spacing_mm[2]
    place = (number + 1, case.image.shape[1])
    return Picture(case.case, images, labels, step, place)


def upright(image: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """Slices (..., H, W) as they are looked at: head or front above."""
    return image[..., ::-1, :] if axes[1] == AXES[0] else image


def grey(picture: Picture, channel: int) -> str:
    """One modality, as a data URI."""
    return _data_uri(_enlarged(picture, picture.images[channel]))


def labelled(picture: Picture, channel: int, colours: np.ndarray) -> str:
    """One modality under a veil of its labels with their outlines, as a data URI.

    Args:
        colours: (K, 3), 0..1.
    """
    image = _enlarged(picture, picture.images[channel])
    if picture.labels is not None:
        labels = _resized(picture.labels, image.shape[:2], Image.Resampling.NEAREST)
        for index in np.unique(labels[labels > 0]):
            mask = labels == index
            image[mask] = (1 - _FILL) * image[mask] + _FILL * colours[index]
            image[mask & ~binary_erosion(mask)] = colours[index]
    return _data_uri(image)


def difference(real: Picture, synthetic: Picture, channel: int) -> str:
    """Synthetic minus real: red is too bright, blue too dark, white equal. A data URI."""
    return _data_uri(_difference(real, synthetic, channel))


def strip(synthetic: Picture, nearest: Picture, other: Picture) -> bytes:
    """Synthetic, nearest real one, their difference, another real one; a row a modality. A PNG."""
    rows = []
    for channel in range(len(synthetic.images)):
        shown = [_enlarged(p, p.images[channel]) for p in (synthetic, nearest, other)]
        shown.insert(2, _difference(nearest, synthetic, channel))
        gap = np.ones((len(shown[0]), 6, 3))
        row = [part for image in shown for part in (image, gap)][:-1]
        rows += [np.concatenate(row, axis=1), np.ones((6, sum(p.shape[1] for p in row), 3))]
    return _png(np.concatenate(rows[:-1]))


def _difference(real: Picture, synthetic: Picture, channel: int) -> np.ndarray:
    gap = (synthetic.images[channel] - real.images[channel]) / DIFFERENCE
    gap = 2 * _enlarged(synthetic, (np.clip(gap, -1, 1) + 1) / 2)[..., :1] - 1
    red, blue = np.array([0.70, 0.09, 0.17]), np.array([0.13, 0.40, 0.67])
    return np.asarray(1 - np.abs(gap) * (1 - np.where(gap > 0, red, blue)))


def encoded(png: bytes) -> str:
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _enlarged(picture: Picture, values: np.ndarray) -> np.ndarray:
    """0..1 (H, W) as RGB with a longer side of 200 pixels, in the proportions of the body."""
    h, w = values.shape
    tall = h * picture.step_mm[0] / (w * picture.step_mm[1])
    width = max(round(_WIDTH / max(tall, 1.0)), 1)
    shape = max(round(width * tall), 1), width
    large = _resized(values.astype(np.float32), shape, Image.Resampling.BICUBIC)
    return np.repeat(large.clip(0, 1)[..., None], 3, -1)


def _resized(values: np.ndarray, shape: tuple[int, ...], how: Image.Resampling) -> np.ndarray:
    return np.array(Image.fromarray(values).resize((shape[1], shape[0]), how))


def _data_uri(image: np.ndarray) -> str:
    return encoded(_png(image))


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    pixels = np.rint(image * 255).astype(np.uint8)
    grey = (pixels == pixels[..., :1]).all()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(file, "PNG")
    return file.getvalue()


def _telling_slice(case: View, lesion: np.ndarray) -> int:
    for mask in (lesion, case.labels):
        if mask is not None and mask.any():
            return int(np.argmax((mask > 0).sum(axis=(1, 2))))
    return case.image.shape[1] // 2
