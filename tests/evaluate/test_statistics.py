"""How lesions stand out. Their sizes and places: test_view.py."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.evaluate.statistics import lesions_of
from scansmith.evaluate.view import View


def _case(labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> View:
    return View("case", "case", np.zeros((1, *labels.shape)), labels, spacing_mm)


def test_contrast_is_the_lesion_minus_the_organ_within_five_millimetres() -> None:
    labels = np.ones((1, 9, 24), np.uint8)
    labels[0, 3:6, 0:2] = 2
    image = np.full(labels.shape, 100.0)
    image[0, :, 4:] = 500  # columns 4 and 5 are 2 mm x 3 and x 4 from the lesion: 6 and 8 mm
    image[labels == 2] = 70
    (lesion,) = lesions_of(_case(labels, (4.0, 2.0, 2.0)), labels == 2, {"ct": image})
    assert lesion.contrast == {"ct": -30.0}
    # At steps of 1 mm columns 4 to 6 are within 5 mm too, and bright.
    (lesion,) = lesions_of(_case(labels, (4.0, 1.0, 1.0)), labels == 2, {"ct": image})
    assert lesion.contrast["ct"] < -100


def test_what_is_not_organ_is_left_out_where_enough_is() -> None:
    labels = np.zeros((1, 9, 12), np.uint8)
    labels[0, :, 4:] = 1
    labels[0, 3:6, 4:6] = 2
    image = np.where(labels == 0, -900.0, 100.0)
    image[labels == 2] = 60
    case = _case(labels, (1.0, 1.0, 1.0))
    (lesion,) = lesions_of(case, labels == 2, {"ct": image})
    assert lesion.contrast == {"ct": -40.0}
    labels[labels == 1] = 0  # no organ: all that is round it
    (lesion,) = lesions_of(case, labels == 2, {"ct": image})
    assert lesion.contrast["ct"] > 0


def test_another_lesion_is_no_surroundings_and_a_coarse_grid_has_one_voxel_of_them() -> None:
    labels = np.ones((1, 7, 9), np.uint8)
    labels[0, 2:4, 2:4] = 2
    labels[0, 2:4, 5:7] = 2
    image = np.full(labels.shape, 10.0)
    image[0, 2:4, 2:4], image[0, 2:4, 5:7] = 30, 1000
    case = _case(labels, (20.0, 20.0, 20.0))
    first, second = lesions_of(case, labels == 2, {"mr": image, "other": 2 * image})
    assert sorted([first.contrast["mr"], second.contrast["mr"]]) == [20.0, 990.0]
    assert first.contrast["other"] == 2 * first.contrast["mr"]


def test_a_lesion_that_fills_the_image_has_no_contrast() -> None:
    labels = np.ones((1, 4, 4), np.uint8)
    (lesion,) = lesions_of(_case(labels, (1.0, 1.0, 1.0)), labels == 1, {"ct": labels})
    assert lesion.contrast == {}
    (lesion,) = lesions_of(_case(labels, (1.0, 1.0, 1.0)), labels == 1)
    assert lesion.volume_mm3 == pytest.approx(16)
