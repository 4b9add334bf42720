"""Fidelity: how near a made image comes to the real image that it was to be, voxel by voxel.

Arrays are (*S): (H, W), or (D, H, W) with the slices first. Every measure takes a `mask` (bool,
the same shape) and then looks inside it alone. Nothing here guesses a data range: the same two
images score 6 dB more for every doubling of it (`docs/measures.md`).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from scansmith.scan import DataError, SettingsError

# Wang et al. 2004, section III.B-C: Gaussian window of 11 samples, K1 = 0.01, K2 = 0.03.
SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
K1, K2 = 0.01, 0.03
# Wang, Simoncelli and Bovik 2003, section 4: exponents of the five scales, finest first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def mse(real: np.ndarray, made: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean squared error, in squared units of the images."""
    real, made = _inside(real, made, mask)
    return float(np.mean((made - real) ** 2))


def mae(real: np.ndarray, made: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute error, in units of the images."""
    real, made = _inside(real, made, mask)
    return float(np.mean(np.abs(made - real)))


def bias(real: np.ndarray, made: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean of the made image minus mean of the real one, in units of the images."""
    real, made = _inside(real, made, mask)
    return float(made.mean() - real.mean())


def sd_ratio(real: np.ndarray, made: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Standard deviation of the made image over that of the real one: 1 is right, below is flat.

    Returns:
        A ratio; nan if the real image is constant there.
    """
    real, made = _inside(real, made, mask)
    deviation = float(real.std())
    return float(made.std()) / deviation if deviation > 0 else float("nan")


def psnr(
    real: np.ndarray, made: np.ndarray, data_range: float, mask: np.ndarray | None = None
) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE).

    Args:
        real, made: (*S), the same units.
        data_range: width of the intensity range in those units, for example 400 for a CT window.
        mask: bool (*S); the mean squared error is taken inside it.
    Returns:
        Decibels. inf if the images are the same there.
    Raises:
        SettingsError: the data range is absent or not above 0.
        DataError: the shapes differ, the mask is empty, or a value is not finite.
    """
    data_range = declared(data_range)
    error = mse(real, made, mask)
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def ssim(
    real: np.ndarray,
    made: np.ndarray,
    data_range: float,
    mask: np.ndarray | None = None,
    *,
    black: float = 0.0,
    volume: bool = False,
) -> float:
    """Structural similarity, -1 to 1: slice by slice, since slices are often far apart.

    Args:
        real, made: (H, W) or (D, H, W), the same units.
        data_range: as for `psnr`.
        mask: mean of the SSIM map inside it. Without one: mean over all but a strip of 5 pixels
            at the borders, where the window is not filled (as scikit-image has it).
        black: the value that counts as zero, for example the low end of a CT window. SSIM
            compares local means by their ratio, so it is not indifferent to an offset.
        volume: use a window of three dimensions on (D, H, W).
    Source:
        Wang et al., IEEE Trans. Image Processing 13 (2004), eq. 13; equal to
        `skimage.metrics.structural_similarity(..., gaussian_weights=True,
        use_sample_covariance=False)` on each slice.
    """
    where = _checked(real, made, mask)
    similarity = ssim_map(real, made, data_range, black=black, volume=volume)
    return mean_of_map(similarity, where, volume=volume)


def ssim_map(
    real: np.ndarray,
    made: np.ndarray,
    data_range: float,
    *,
    black: float = 0.0,
    volume: bool = False,
) -> np.ndarray:
    """The SSIM of the window round each voxel, float64 (*S); borders are mirrored. See `ssim`."""
    data_range = declared(data_range)
    _checked(real, made, None)
    if volume or np.ndim(real) == 2:
        luminance, contrast = _ssim_terms(real, made, data_range, black, volume)
        return luminance * contrast
    # Slice by slice: a large volume in float64, several times over, would fill the memory.
    slices = zip(real, made, strict=True)
    return np.stack([ssim_map(x, y, data_range, black=black) for x, y in slices])


def mean_of_map(
    similarity: np.ndarray, mask: np.ndarray | None = None, *, volume: bool = False
) -> float:
    """Mean of an SSIM map inside a mask; without one, of all but the borders. See `ssim`."""
    if mask is not None:
        return float(similarity[mask].mean())
    return float(_interior(similarity, volume).mean())


def ms_ssim(
    real: np.ndarray,
    made: np.ndarray,
    data_range: float,
    *,
    black: float = 0.0,
    scales: int | None = None,
) -> float:
    """Multi-scale SSIM, slice by slice, mean over slices.

    Args:
        real, made, data_range, black: as for `ssim`.
        scales: how often the slice is halved, plus one. None: as many of the paper's five as
            leave the window room (`ms_ssim_scales`); fewer scales use the paper's first weights,
            made to sum to one, and are not comparable with five.
    Source:
        Wang, Simoncelli and Bovik, Asilomar 2003, eq. 7. Negative contrast terms count as 0.
    """
    data_range = declared(data_range)
    _checked(real, made, None)
    most = ms_ssim_scales(np.shape(real))
    scales = most if scales is None else scales
    if not 1 <= scales <= most:
        raise SettingsError(
            f"ms_ssim: {scales} scales do not fit slices of {np.shape(real)[-2:]}, "
            f"expected 1 to {most}. Ask for fewer scales."
        )
    real, made = (np.asarray(x).reshape(-1, *np.shape(x)[-2:]) for x in (real, made))
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    found = [
        _ms_ssim_of_slice(x, y, data_range, black, weights) for x, y in zip(real, made, strict=True)
    ]
    return float(np.mean(found))


def ms_ssim_scales(shape: tuple[int, ...]) -> int:
    """How many of the five scales leave room for one whole window in a slice of this shape."""
    side, scales = min(shape[-2:]), 0
    while scales < len(MS_SSIM_WEIGHTS) and side >= 2 * SSIM_RADIUS + 1:
        side, scales = side // 2, scales + 1
    return scales


def box_of(mask: np.ndarray) -> np.ndarray:
    """The bounding box of a mask, slice by slice: bool, the mask's shape (H, W) or (D, H, W)."""
    mask = np.asarray(mask, bool)
    if mask.ndim > 2:
        return np.stack([box_of(part) for part in mask])
    box = np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows):
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def declared(data_range: float | None) -> float:
    """The data range, if it is one. Raises SettingsError if it is absent or not above 0."""
    if data_range is None or not np.isfinite(data_range) or data_range <= 0:
        raise SettingsError(
            f"data range: found {data_range}, expected the width of the intensity range in the "
            "images' units. Pass the window's width (400 for a CT window of 400 HU)."
        )
    return float(data_range)


def _ms_ssim_of_slice(
    real: np.ndarray, made: np.ndarray, data_range: float, black: float, weights: np.ndarray
) -> float:
    """One slice (H, W), one weight for each scale, finest first."""
    product = 1.0
    for scale, weight in enumerate(weights):
        luminance, contrast = _ssim_terms(real, made, data_range, black, volume=False)
        last = scale == len(weights) - 1
        term = luminance * contrast if last else contrast
        product *= max(float(_interior(term, volume=False).mean()), 0.0) ** float(weight)
        if not last:
            real, made = _halved(real), _halved(made)
    return product


def _ssim_terms(
    real: np.ndarray, made: np.ndarray, data_range: float, black: float, volume: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Luminance term, and contrast times structure term (Wang 2004, eq. 6 and 13 with C3=C2/2)."""
    x = np.asarray(real, np.float64) - black
    y = np.asarray(made, np.float64) - black
    planes = x.ndim if volume else 2
    if x.ndim < 2 or min(x.shape[-planes:]) < 2 * SSIM_RADIUS + 1:
        raise DataError(
            f"ssim: image of {x.shape}, expected at least {2 * SSIM_RADIUS + 1} pixels along each "
            "axis of the window. Use MAE or PSNR for smaller images."
        )
    _refuse_broken(x, y)
    sigma = (0.0,) * (x.ndim - planes) + (SSIM_SIGMA,) * planes

    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, sigma, mode="reflect", radius=SSIM_RADIUS)

    mean_x, mean_y = local(x), local(y)
    variances = local(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def _interior(values: np.ndarray, volume: bool) -> np.ndarray:
    strip = slice(SSIM_RADIUS, -SSIM_RADIUS)
    return values[..., strip, strip] if not volume else values[(strip,) * values.ndim]


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd last row or column is left out. (H, W)."""
    h, w = image.shape
    even = np.asarray(image[: h // 2 * 2, : w // 2 * 2], np.float64)
    return even.reshape(h // 2, 2, w // 2, 2).mean(axis=(1, 3))


def _inside(
    real: np.ndarray, made: np.ndarray, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    where = _checked(real, made, mask)
    real, made = np.asarray(real, np.float64), np.asarray(made, np.float64)
    if where is not None:
        real, made = real[where], made[where]
    _refuse_broken(real, made)
    return real, made


def _refuse_broken(*images: np.ndarray) -> None:
    if not all(np.isfinite(image).all() for image in images):
        raise DataError("fidelity: a value is NaN or infinite. Mend the image before measuring it.")


def _checked(real: np.ndarray, made: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """The mask as bool, after its shape and contents were looked at."""
    if np.shape(real) != np.shape(made):
        raise DataError(
            f"fidelity: real image {np.shape(real)} and made image {np.shape(made)} differ. "
            "Compare them on one grid."
        )
    if np.size(real) == 0:
        raise DataError("fidelity: an image without a voxel, expected one at least.")
    if mask is None:
        return None
    if np.shape(mask) != np.shape(real):
        raise DataError(
            f"fidelity: mask {np.shape(mask)} and image {np.shape(real)} differ. "
            "Give the mask on the image's grid."
        )
    mask = np.asarray(mask, bool)
    if not mask.any():
        raise DataError("fidelity: the mask is empty. Leave out cases without the structure.")
    return mask
