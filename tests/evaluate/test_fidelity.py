from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from scansmith.evaluate import fidelity
from scansmith.scan import DataError, SettingsError


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    real = rng.normal(50, 30, (3, 40, 33))
    return real, real + rng.normal(0, 10, real.shape)


def test_psnr_of_an_error_of_a_tenth_of_the_range_is_20_db() -> None:
    real = np.zeros((2, 4, 4))
    assert fidelity.psnr(real, real + 40, 400) == pytest.approx(20.0)
    # Twice the declared range is 20 log10(2) = 6.02 dB more for the same images.
    assert fidelity.psnr(real, real + 40, 800) == pytest.approx(20.0 + 20 * math.log10(2))


def test_psnr_mae_and_mse_are_those_of_torchmetrics(pair) -> None:
    import torch
    from torchmetrics.functional import mean_absolute_error, mean_squared_error
    from torchmetrics.functional.image import peak_signal_noise_ratio

    real, made = pair
    peers = torch.from_numpy(made), torch.from_numpy(real)
    psnr = peak_signal_noise_ratio(*peers, data_range=400.0)
    assert fidelity.psnr(real, made, 400) == pytest.approx(float(psnr), abs=1e-4)
    assert fidelity.mae(real, made) == pytest.approx(float(mean_absolute_error(*peers)))
    assert fidelity.mse(real, made) == pytest.approx(float(mean_squared_error(*peers)))


def test_masked_measures_look_inside_the_mask_alone() -> None:
    real = np.zeros((1, 2, 4))
    made = np.array([[[10.0, 20, 0, 0], [0, 0, 0, 0]]])
    mask = made > 0
    assert fidelity.mae(real, made, mask) == 15.0
    assert fidelity.mse(real, made, mask) == 250.0  # (100 + 400) / 2
    assert fidelity.mse(real, made, ~mask) == 0.0
    assert fidelity.mse(real, made) == 62.5  # 500 / 8
    assert fidelity.psnr(real, made, 100, mask) == pytest.approx(10 * math.log10(10000 / 250))
    assert fidelity.psnr(real, made, 100, ~mask) == math.inf
    assert fidelity.bias(real, made, mask) == 15.0


def test_sd_ratio_says_that_a_flat_fill_is_flat() -> None:
    real = np.array([[0.0, 10, 20, 30]])
    assert fidelity.sd_ratio(real, np.full((1, 4), 15.0)) == 0.0
    assert fidelity.sd_ratio(real, 100 + real / 2) == pytest.approx(0.5)
    assert math.isnan(fidelity.sd_ratio(np.ones((1, 4)), real))


@pytest.mark.parametrize("absent", [None, 0, -1, math.nan, math.inf])
def test_an_absent_data_range_is_an_error(absent: float, pair) -> None:
    for measure in (fidelity.psnr, fidelity.ssim, fidelity.ms_ssim):
        with pytest.raises(SettingsError, match="data range: found"):
            measure(*pair, absent)


def test_ssim_is_that_of_scikit_image_slice_by_slice(pair) -> None:
    real, made = pair
    expected = [
        structural_similarity(
            x + 140,
            y + 140,
            data_range=400,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
        for x, y in zip(real, made, strict=True)
    ]
    assert fidelity.ssim(real, made, 400, black=-140) == pytest.approx(np.mean(expected))
    assert fidelity.ssim(real[0], made[0], 400, black=-140) == pytest.approx(expected[0])


def test_ssim_of_two_constants_is_the_luminance_term() -> None:
    # No contrast: (2 a b + c1) / (a^2 + b^2 + c1), c1 = (0.01 * 100)^2 = 1.
    real, made = np.full((12, 12), 10.0), np.full((12, 12), 20.0)
    assert fidelity.ssim(real, made, 100) == pytest.approx(401 / 501)
    mask = np.zeros((12, 12), bool)
    mask[0, 0] = True
    assert fidelity.ssim(real, made, 100, mask) == pytest.approx(401 / 501)


def test_ssim_inside_a_mask_sees_only_windows_centred_there() -> None:
    real = np.random.default_rng(1).normal(0, 1, (1, 40, 40))
    made = real.copy()
    made[0, :, :10] = 0
    left, right = np.zeros((2, 1, 40, 40), bool)
    left[0, :, :10], right[0, :, 20:] = True, True
    assert fidelity.ssim(real, made, 6, right) == pytest.approx(1.0)
    assert fidelity.ssim(real, made, 6, left) < 0.5


def test_ms_ssim_of_one_scale_is_ssim_and_agrees_with_torchmetrics_at_five() -> None:
    import torch
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as peer,
    )

    rng = np.random.default_rng(2)
    real = rng.normal(100, 30, (1, 192, 176))
    made = real + rng.normal(0, 20, real.shape)
    assert fidelity.ms_ssim(real, made, 400, scales=1) == pytest.approx(
        fidelity.ssim(real, made, 400)
    )
    other = peer(torch.tensor(made)[None], torch.tensor(real)[None], data_range=400.0)
    # torchmetrics also counts the windows that reach over the border.
    assert fidelity.ms_ssim(real, made, 400) == pytest.approx(float(other), abs=2e-3)


@pytest.mark.parametrize(
    ("shape", "scales"), [((10, 300), 0), ((11, 11), 1), ((9, 64, 43), 2), ((176, 180), 5)]
)
def test_ms_ssim_uses_the_scales_that_fit(shape: tuple[int, ...], scales: int) -> None:
    assert fidelity.ms_ssim_scales(shape) == scales


def test_the_box_of_a_mask_is_taken_slice_by_slice() -> None:
    mask = np.zeros((2, 3, 4), bool)
    mask[0, 0, 1] = mask[0, 2, 2] = True
    box = fidelity.box_of(mask)
    assert box[0].tolist() == [[False, True, True, False]] * 3
    assert not box[1].any()


@pytest.mark.parametrize(
    ("real", "made", "mask", "text"),
    [
        (np.zeros((4, 4)), np.zeros((4, 5)), None, r"\(4, 4\) and made image \(4, 5\) differ"),
        (np.zeros((4, 4)), np.zeros((4, 4)), np.ones((4, 5)), r"mask \(4, 5\)"),
        (np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4)), "mask is empty"),
        (np.zeros((4, 4)), np.full((4, 4), np.nan), None, "NaN"),
        (np.zeros((0, 4)), np.zeros((0, 4)), None, "without a voxel"),
    ],
)
def test_what_cannot_be_compared_is_refused(real, made, mask, text: str) -> None:
    with pytest.raises(DataError, match=text):
        fidelity.mae(real, made, mask)


def test_a_slice_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(DataError, match="at least 11 pixels"):
        fidelity.ssim(np.zeros((20, 10, 30)), np.zeros((20, 10, 30)), 1)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("measure", [fidelity.ssim, fidelity.ms_ssim])
def test_a_broken_image_is_no_more_similar_than_any(measure, broken: float) -> None:
    image = np.random.default_rng(0).random((32, 32))
    worse = image.copy()
    worse[3, 4] = broken
    for pair in ((image, worse), (worse, image)):
        with pytest.raises(DataError, match="NaN or infinite"):
            measure(*pair, 1.0)
