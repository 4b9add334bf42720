"""A case as the audit keeps it: on a coarse and a fine grid that all cases share, in three regions.

Whole images lie on one grid in millimetres, each round its own centre. Where the sets' fields of
view differ too much for that (a set whose spacing was lost), each field of view is stretched onto
the grid instead. A lesion is one of the four largest connected pieces in a box half as large again;
its inside is that piece alone, all else made its mean, in its own box: of a lesion that was pasted
into another patient only this is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.fft import dctn
from scipy.ndimage import find_objects, label

from scansmith.data.resample import Axis, resample_image, surroundings
from scansmith.evaluate.cases import Network, network_features
from scansmith.evaluate.features import case_features
from scansmith.evaluate.pairs import lesion_mask
from scansmith.evaluate.statistics import LEAST_VOXELS
from scansmith.evaluate.view import Shared, View
from scansmith.evaluate.windows import Window

#: Intensities outside these percentiles of a case are clipped: one bright vessel is no likeness.
_CLIP = (0.5, 99.5)
_AROUND = 1.5  # the lesion's crop, in lengths of its box
_LEAST_CROP = 6.0  # voxels
#: Largest lesions of a case that are compared; one pasted beside its own may not be the largest.
MOST_LESIONS = 4
#: Voxels of a lesion whose inside is compared: a few voxels are alike by chance.
LEAST_INSIDE = 40
# Fields of view that differ by more than this along an axis were not scanned alike.
_SAME_VIEW = 1.25
_SLICES = 4  # of a case, for its features: the mean over them is what is compared
_THIN = 8  # fewer slices than this are kept one by one
_HASH = 4  # lowest frequencies along each axis of a volume; 8 of a picture: 64 of either


@dataclass(frozen=True)
class Grid:
    """Two sizes of the grid (D, H, W) of a region, and how far a copy may be shifted on each."""

    coarse: tuple[int, int, int]
    fine: tuple[int, int, int]

    @property
    def margin(self) -> tuple[int, int, int]:
        """Coarse voxels by which shifts are searched, both ways: about a sixth of the axis."""
        d, h, w = (n // 6 if n >= 12 else 1 if n >= _THIN else 0 for n in self.coarse)
        return d, h, w

    @property
    def fine_margin(self) -> tuple[int, int, int]:
        """The same on the fine grid."""
        sizes = zip(self.margin, self.fine, self.coarse, strict=True)
        d, h, w = (m * fine // coarse for m, fine, coarse in sizes)
        return d, h, w


@dataclass(frozen=True)
class Layout:
    """Where every case of an audit is laid.

    Attributes:
        extent_mm: of the grid of whole images along D, H, W; None: each field of view is
            stretched onto it.
    """

    shared: Shared
    whole: Grid
    lesion: Grid
    extent_mm: tuple[float, float, float] | None
    network: Network | None = None

    def grid(self, region: str) -> Grid:
        """Of "whole", "lesion" or "inside"."""
        return self.whole if region == "whole" else self.lesion


@dataclass(frozen=True)
class Trace:
    """What is kept of a case.

    Attributes:
        coarse, fine: float32 (C, D, H, W) of each region: of "whole" one, of "lesion" one for each
            lesion, the largest first, of "inside" those of the lesions that are large enough. A
            region of which there is none is not there.
        embedding: (d,) radiomics-like features, or those of a feature network.
        frequencies: (n, n, n) or (1, n, n) lowest cosine frequencies, for the perceptual hash.
    """

    case: str
    patient: str
    coarse: dict[str, list[np.ndarray]] = field(repr=False)
    fine: dict[str, list[np.ndarray]] = field(repr=False)
    embedding: np.ndarray = field(repr=False)
    frequencies: np.ndarray = field(repr=False)


def lay_out(
    shared: Shared,
    real: Sequence[View],
    synthetic: Sequence[View],
    network: Network | None = None,
) -> Layout:
    """The grids for some sampled cases of both sides."""
    slices = int(np.median([case.image.shape[1] for case in real]))
    seen = [np.median([_extent_mm(case) for case in side], axis=0) for side in (real, synthetic)]
    ratio = np.maximum(seen[1] / seen[0], seen[0] / seen[1])
    alike = bool((ratio <= _SAME_VIEW).all())
    d, h, w = (float(e) for e in seen[0])
    if slices == 1:
        whole, lesion = Grid((1, 24, 24), (1, 64, 64)), Grid((1, 18, 18), (1, 36, 36))
    elif slices < _THIN:
        whole = Grid((slices, 16, 16), (slices, 40, 40))
        lesion = Grid((slices, 12, 12), (slices, 24, 24))
    else:
        deep = min(slices, 32)
        whole = Grid((min(deep, 12), 12, 12), (deep, 32, 32))
        lesion = Grid((min(deep, 12), 12, 12), (min(deep, 24), 24, 24))
    return Layout(shared, whole, lesion, (d, h, w) if alike else None, network)


def trace(case: View, layout: Layout) -> Trace:
    """Reduce one case to what is compared."""
    pieces, shape, clipped = lesions(case, layout.shared.lesion), layout.lesion.fine, _clipped(case)
    found = {
        "whole": [whole_on(case, layout.whole.fine, layout.extent_mm)],
        "lesion": [on_grid(clipped, *lesion_box(piece), shape) for piece in pieces],
        "inside": [inside_on(case, p, shape) for p in pieces if p.sum() >= LEAST_INSIDE],
    }
    fine = {name: images for name, images in found.items() if images}
    coarse = {
        name: [_coarser(image, layout.grid(name).coarse) for image in images]
        for name, images in fine.items()
    }
    frequencies = np.mean([_frequencies(channel) for channel in fine["whole"][0]], axis=0)
    return Trace(case.case, case.patient, coarse, fine, _embedding(case, layout), frequencies)


def whole_on(
    case: View, shape: tuple[int, int, int], extent_mm: tuple[float, float, float] | None
) -> np.ndarray:
    """The whole image on a grid of this shape, float32 (C, *shape)."""
    size = np.array(case.image.shape[1:], float)
    extent = size if extent_mm is None else np.array(extent_mm) / np.array(case.spacing_mm)
    return on_grid(_clipped(case), size / 2 - 0.5, extent, shape)


def on_grid(
    image: np.ndarray, centre: np.ndarray, extent: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """A box of an image (C, D, H, W), given by centre and extent in voxels, on a grid."""
    axes = []
    for old, middle, length, new in zip(image.shape[1:], centre, extent, shape, strict=True):
        step = float(length) / new
        axes.append(Axis(old, new, step, float(middle) - step * (new - 1) / 2))
    return resample_image(image, axes, surroundings(image))


def lesions(case: View, lesion: tuple[int, ...]) -> list[np.ndarray]:
    """The largest connected pieces of lesion, each bool (D, H, W), the largest first.

    Beside the largest those alone that are large enough to be compared inside: the box round a
    speck shows next to nothing, and one is like another.
    """
    pieces, _ = label(lesion_mask(case, lesion), np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:MOST_LESIONS]
    least = [LEAST_VOXELS, *[LEAST_INSIDE] * (len(order) - 1)]
    return [
        pieces == number for number, few in zip(order, least, strict=True) if sizes[number] >= few
    ]


def lesion_box(piece: np.ndarray, around: float = _AROUND) -> tuple[np.ndarray, np.ndarray]:
    """Centre and extent, in voxels, of the box round a lesion, so many times as long as it is."""
    (box,) = find_objects(piece.astype(np.uint8))
    first = np.array([part.start for part in box], float)
    size = np.array([part.stop - part.start for part in box], float)
    extent = np.maximum(around * size, _LEAST_CROP)
    if len(piece) == 1:
        extent[0] = 1.0
    return first + (size - 1) / 2, extent


def inside_on(case: View, piece: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A lesion alone on a grid of this shape, float32 (C, *shape): all else is its mean."""
    image = case.image.astype(np.float32)
    mean = image[:, piece].mean(axis=1).reshape(-1, 1, 1, 1)
    return on_grid(np.where(piece, image, mean), *lesion_box(piece, 1.0), shape)


def hash_bits(frequencies: np.ndarray, flip: tuple[int, ...]) -> np.ndarray:
    """Perceptual hash: which of the lowest cosine frequencies are above their median, bool (63,).

    Flipping an image along an axis changes the sign of its odd frequencies along it.

    Source: Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010,
    section 3.2.1 (DCT based hash), here of any number of dimensions.
    """
    signed = frequencies.copy()
    for axis in flip:
        odd = [slice(None)] * signed.ndim
        odd[axis] = slice(1, None, 2)
        signed[tuple(odd)] *= -1
    values = signed.ravel()[1:]
    return values > np.median(values)


def _frequencies(channel: np.ndarray) -> np.ndarray:
    low = 2 * _HASH if channel.shape[0] < _HASH else _HASH
    deep = 1 if channel.shape[0] < _HASH else _HASH
    return dctn(channel, norm="ortho")[:deep, :low, :low]


def _embedding(case: View, layout: Layout) -> np.ndarray:
    """Means over slices, each modality in a window of its own: no common scale is needed."""
    found = []
    for image in case.image:
        low, high = (float(end) for end in np.percentile(image, _CLIP))
        high = max(high, low + 1e-6)
        if layout.network is not None:
            window = Window(low, high, high - low, True, "of the case")
            rows = network_features(image, window, layout.network)
        else:
            whole = {"whole": np.ones(image.shape, bool)}
            rows = case_features(image, whole, (low, high), _SLICES)["whole"]
        found.append(rows.mean(axis=0))
    return np.concatenate(found)


def _coarser(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    size = np.array(image.shape[1:], float)
    return on_grid(image, size / 2 - 0.5, size, shape)


def _clipped(case: View) -> np.ndarray:
    image = case.image
    low, high = np.percentile(image, _CLIP, axis=(1, 2, 3), keepdims=True)
    return np.clip(image.astype(np.float32), low, np.maximum(high, low + 1e-6), dtype=np.float32)


def _extent_mm(case: View) -> np.ndarray:
    return np.array(case.image.shape[1:]) * np.array(case.spacing_mm)
