from __future__ import annotations

import numpy as np
import pytest

from scansmith.evaluate.grids import one_grid
from scansmith.scan import DataError, Scan

LPS = np.diag([-1.0, -2.0, 3.0, 1.0])


def _scan(image: np.ndarray, affine: np.ndarray, labels: np.ndarray | None = None) -> Scan:
    return Scan("case", image, affine, ("ct",), labels)


def _moved(voxels: list[float], steps: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """LPS begun at another voxel, with longer steps."""
    affine = LPS @ np.diag([*steps, 1.0])
    affine[:3, 3] = LPS[:3, :3] @ voxels
    return affine


def test_a_crop_is_cut_out_and_not_interpolated() -> None:
    image = np.arange(120).reshape(1, 4, 5, 6)
    made = _scan(np.zeros((1, 2, 3, 6)), _moved([1, 2, 0]))
    real, same, resampled = one_grid(_scan(image, LPS, image[0]), made)
    np.testing.assert_array_equal(real.image, image[:, 1:3, 2:5])
    np.testing.assert_array_equal(real.labels, image[0, 1:3, 2:5])
    np.testing.assert_allclose(real.affine, made.affine)
    assert same.image.shape == made.image.shape
    assert not resampled


def test_a_padded_synthetic_grid_is_cut_to_where_the_real_one_has_voxels() -> None:
    image = np.arange(120.0).reshape(1, 4, 5, 6)
    padded = np.full((1, 8, 5, 6), -1.0)
    padded[:, 2:6] = image
    real, made, resampled = one_grid(_scan(image, LPS), _scan(padded, _moved([-2, 0, 0])))
    np.testing.assert_array_equal(real.image, image)
    np.testing.assert_array_equal(made.image, image)
    np.testing.assert_allclose(made.affine, LPS)
    assert not resampled


def test_the_real_image_is_averaged_onto_a_coarser_grid_and_labels_take_the_nearest() -> None:
    # Steps of 2 along i, 1 along j and k. Coarse voxel n lies at 2n + 0.5: between 2n and 2n + 1.
    # The triangle of half-width 2 there reaches 2n - 1 to 2n + 2 with weights 1/4, 3/4, 3/4, 1/4,
    # over 2; at the first voxel -1 is missing, so 3/4, 3/4, 1/4 over 1.75.
    along_i = np.array([0.0, 8, 16, 0, 40, 0])
    image = np.broadcast_to(along_i[None, :, None, None], (1, 6, 3, 2)).copy()
    labels = np.broadcast_to(np.array([0, 1, 2, 0, 3, 0])[:, None, None], (6, 3, 2)).copy()
    made = _scan(np.zeros((1, 3, 3, 2)), _moved([0.5, 0, 0], (2, 1, 1)))
    real, same, resampled = one_grid(_scan(image, LPS, labels), made)
    assert resampled
    expected = [
        (0.75 * 0 + 0.75 * 8 + 0.25 * 16) / 1.75,
        (0.25 * 8 + 0.75 * 16 + 0.75 * 0 + 0.25 * 40) / 2,
        (0.25 * 0 + 0.75 * 40 + 0.75 * 0) / 1.75,
    ]
    np.testing.assert_allclose(real.image[0, :, 1, 1], expected, rtol=1e-6)
    # 0.5, 2.5 and 4.5 are as near to both neighbours: the upper one, as in preparing.
    assert real.labels is not None
    assert real.labels[:, 0, 0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(real.affine, made.affine)
    assert same.image.shape == real.image.shape


def test_a_coarser_grid_padded_to_a_square_is_cut_before_it_is_compared() -> None:
    # 4 x 8 voxels of 1 x 2 mm are 4 x 16 mm; as 4 x 4 pixels of 4 mm, of which i holds 1 real one.
    real = _scan(np.full((1, 4, 8, 2), 7.0), LPS)
    made = np.full((1, 4, 4, 2), -1000.0)
    made[:, 1] = 7
    affine = LPS @ np.diag([4.0, 2.0, 1.0, 1.0])
    affine[:3, 3] = LPS[:3, :3] @ [1.5 - 4, 0.5, 0]  # pixel 1 lies at the middle of i = 0..3
    there, here, resampled = one_grid(real, _scan(made, affine))
    assert resampled
    assert there.image.shape == here.image.shape == (1, 1, 4, 2)
    np.testing.assert_allclose(there.image, 7, rtol=1e-6)
    np.testing.assert_allclose(here.image, 7)


@pytest.mark.parametrize(
    ("affine", "shape", "text"),
    [
        (_moved([1.5, 2, 0]), (2, 3, 6), "are shifted by part of a voxel"),
        (_moved([3, 0, 0]), (4, 5, 6), "show different places"),
        (_moved([90, 0, 0], (2, 2, 1)), (2, 3, 6), "show different places"),
        (LPS[[1, 0, 2, 3]], (4, 5, 6), "are turned against each other"),
    ],
)
def test_grids_that_cannot_be_one_are_refused(
    affine: np.ndarray, shape: tuple[int, int, int], text: str
) -> None:
    real = _scan(np.zeros((1, 4, 5, 6)), LPS)
    with pytest.raises(DataError, match=text) as error:
        one_grid(real, _scan(np.zeros((1, *shape)), affine))
    assert error.value.problems[0].kind == "grid"
