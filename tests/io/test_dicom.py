"""A DICOM series: Hounsfield units, geometry worked by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scansmith.io.dicom import read_series
from scansmith.scan import DataError


def _problems(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(DataError) as caught:
        read_series(folder)
    return [(problem.kind, problem.found) for problem in caught.value.problems]


def test_values_are_hounsfield_units_in_the_order_of_the_body(
    tmp_path: Path, dicom: ModuleType
) -> None:
    scan = read_series(dicom.write_series(tmp_path / "series"))
    assert scan.image.shape == (1, 4, 5, 3)  # columns, rows, slices
    assert scan.image.dtype == np.int16
    for k in range(3):
        np.testing.assert_array_equal(scan.image[0, :, :, k].T, dicom.stored(k).astype(int) - 1024)
    assert scan.modalities == ("ct",)


def test_spacing_comes_from_positions_and_not_from_slice_thickness(
    tmp_path: Path, dicom: ModuleType
) -> None:
    scan = read_series(dicom.write_series(tmp_path / "series"))
    # PixelSpacing is (0.5 between rows, 0.7 between columns); thickness says 5, positions 2.
    np.testing.assert_allclose(scan.spacing_mm, (0.7, 0.5, 2.0))


def test_the_affine_of_an_axial_series_is_as_worked_by_hand(
    tmp_path: Path, dicom: ModuleType
) -> None:
    scan = read_series(dicom.write_series(tmp_path / "series"))
    # Column i=3, row j=2, slice k=1 lies at LPS (-10 + 3 * 0.7, -20 + 2 * 0.5, 30 + 2), so at
    # RAS (7.9, 19, 32).
    np.testing.assert_allclose(scan.affine @ [3, 2, 1, 1], [7.9, 19.0, 32.0, 1])


def test_the_affine_of_a_coronal_series_is_as_worked_by_hand(
    tmp_path: Path, dicom: ModuleType
) -> None:
    def coronal(k: int, one: Any) -> None:
        one.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]  # rows to the left, columns to the feet
        one.ImagePositionPatient = [-10, -20 + 3 * k, 50]

    scan = read_series(dicom.write_series(tmp_path / "series", change=coronal))
    # The normal is (1,0,0) x (0,0,-1) = (0,1,0), to the back: slice 0 is the first.
    np.testing.assert_array_equal(scan.image[0, :, :, 0].T, dicom.stored(0).astype(int) - 1024)
    # i=1, j=2, k=2 lies at LPS (-10 + 0.7, -20 + 6, 50 - 2 * 0.5), so at RAS (9.3, 14, 49).
    np.testing.assert_allclose(scan.affine @ [1, 2, 2, 1], [9.3, 14.0, 49.0, 1])


def test_slices_recorded_from_head_to_feet_are_turned_feet_first(
    tmp_path: Path, dicom: ModuleType
) -> None:
    def downwards(k: int, one: Any) -> None:
        one.ImagePositionPatient = [-10, -20, 30 - 2 * k]

    scan = read_series(dicom.write_series(tmp_path / "series", change=downwards))
    np.testing.assert_array_equal(scan.image[0, :, :, 0].T, dicom.stored(2).astype(int) - 1024)
    np.testing.assert_allclose(scan.affine[:3, 3], [10, 20, 26])


def test_nothing_in_the_scan_says_who_it_is(tmp_path: Path, dicom: ModuleType) -> None:
    scan = read_series(dicom.write_series(tmp_path / "series"))
    assert (scan.case, scan.patient, dict(scan.notes)) == ("series", "", {})


def test_a_missing_slice_is_told_with_its_neighbours(tmp_path: Path, dicom: ModuleType) -> None:
    folder = dicom.write_series(tmp_path / "series", slices=6)
    (folder / "Mustermann_0003,0000b.dcm").unlink()
    ((kind, found),) = _problems(folder)
    assert kind == "missing-slice"
    assert "0004,0000b.dcm and Mustermann_0002,0000b.dcm lie 4 mm apart, others 2 mm" in found


def test_a_doubled_slice_and_an_uneven_one_are_told_together(
    tmp_path: Path, dicom: ModuleType
) -> None:
    heights = (0, 2, 2, 4, 6.5, 8)

    def move(k: int, one: Any) -> None:
        one.ImagePositionPatient = [-10, -20, heights[k]]

    kinds = [kind for kind, _ in _problems(dicom.write_series(tmp_path / "s", 6, move))]
    assert kinds == ["duplicate-slice", "uneven-slices", "uneven-slices"]


def test_a_tilted_gantry_is_refused(tmp_path: Path, dicom: ModuleType) -> None:
    def tilt(k: int, one: Any) -> None:
        one.ImagePositionPatient = [-10, -20 + 0.6 * k, 30 + 2 * k]

    ((kind, _),) = _problems(dicom.write_series(tmp_path / "series", change=tilt))
    assert kind == "tilt"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PhotometricInterpretation", "MONOCHROME1", "is MONOCHROME1, expected MONOCHROME2"),
        ("PhotometricInterpretation", "RGB", "is RGB, expected MONOCHROME2"),
        ("BurnedInAnnotation", "YES", "text is burnt into the pixels"),
        ("Modality", "US", "modality is neither CT nor MR"),
        ("NumberOfFrames", 2, "several frames in one file"),
        ("ImagePositionPatient", None, "ImagePositionPatient missing in the header"),
        ("RescaleIntercept", None, "CT without RescaleIntercept"),
    ],
)
def test_slices_that_cannot_be_used_are_refused(
    tmp_path: Path, dicom: ModuleType, name: str, value: Any, told: str
) -> None:
    ((kind, found),) = _problems(
        dicom.write_series(tmp_path / "s", change=lambda k, one: setattr(one, name, value))
    )
    assert kind == "dicom"
    assert told in found
    assert "3 files" in found


def test_two_series_in_a_folder_are_refused(tmp_path: Path, dicom: ModuleType) -> None:
    def other(k: int, one: Any) -> None:
        if k == 2:
            one.SeriesInstanceUID = "1.2.3"

    assert _problems(dicom.write_series(tmp_path / "series", change=other)) == [
        ("series", "2 series are in this folder, expected one")
    ]


def test_a_localiser_among_the_slices_is_refused(tmp_path: Path, dicom: ModuleType) -> None:
    def localiser(k: int, one: Any) -> None:
        if k == 0:
            one.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    ((kind, found),) = _problems(dicom.write_series(tmp_path / "series", change=localiser))
    assert kind == "series"
    assert "ImageOrientationPatient differs between slices" in found


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    assert [kind for kind, _ in _problems(tmp_path)] == ["empty"]


def test_a_truncated_slice_is_refused(tmp_path: Path, dicom: ModuleType) -> None:
    folder = dicom.write_series(tmp_path / "series")
    path = folder / "Mustermann_0001,0000b.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    ((kind, _),) = _problems(folder)
    assert kind == "unreadable"


def test_the_real_series_lies_2_mm_apart_although_it_says_3(real_data: Path) -> None:
    scan = read_series(real_data / "liver-dicom" / "dicom")
    assert scan.image.shape == (1, 512, 512, 20)
    np.testing.assert_allclose(scan.spacing_mm, (0.7265625, 0.7265625, 2.0))
