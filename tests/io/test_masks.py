"""Masks find their slices, whatever form they come in."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from scansmith.io.dicom import Series, open_series
from scansmith.io.masks import read_masks
from scansmith.io.nifti import write_nifti
from scansmith.scan import DataError


@pytest.fixture
def series(tmp_path: Path, dicom: ModuleType) -> Series:
    return open_series(dicom.write_series(tmp_path / "series"))


def _labels() -> np.ndarray:
    """(4 columns, 5 rows, 3 slices), different in each slice and along each axis."""
    labels = np.zeros((4, 5, 3), dtype=np.uint8)
    labels[0, 0, 0] = labels[3, 0, 1] = labels[1:3, 4, 2] = 1
    return labels


def _pictures(folder: Path, labels: np.ndarray, names: list[str]) -> Path:
    folder.mkdir()
    for k, name in enumerate(names):
        Image.fromarray(labels[:, :, k].T.copy()).save(folder / name)
    return folder


def test_pictures_find_their_slices_by_the_number_in_both_names(
    tmp_path: Path, series: Series
) -> None:
    # Slice k of the series is Mustermann_{3 - k:04},0000b.dcm.
    names = [f"liver_GT_{3 - k:03}.png" for k in range(3)]
    labels, coded = read_masks(_pictures(tmp_path / "m", _labels() * 255, names), series)
    np.testing.assert_array_equal(labels, _labels())
    assert coded == {}


def test_pictures_find_their_slices_by_instance_number(tmp_path: Path, series: Series) -> None:
    renamed = Series(series.scan, ("x.dcm", "y.dcm", "z.dcm"), (11, 12, 13), series.slices)
    names = ["mask11.png", "mask12.png", "mask13.png"]
    labels, _ = read_masks(_pictures(tmp_path / "m", _labels() * 255, names), renamed)
    np.testing.assert_array_equal(labels, _labels())


def test_codes_in_pictures_are_kept(tmp_path: Path, series: Series) -> None:
    coded = _labels()
    coded[0, 1, 1] = 2
    names = ["1.png", "2.png", "3.png"]
    labels, _ = read_masks(_pictures(tmp_path / "m", coded[:, :, ::-1], names), series)
    np.testing.assert_array_equal(labels, coded)


@pytest.mark.parametrize("code", [1, 2, 128, 254])
def test_a_code_that_occurs_alone_is_kept(tmp_path: Path, series: Series, code: int) -> None:
    folder = _pictures(tmp_path / "m", _labels() * code, ["1.png", "2.png", "3.png"])
    labels, _ = read_masks(folder, series)
    np.testing.assert_array_equal(labels, _labels()[:, :, ::-1] * code)


def test_white_is_a_code_where_it_is_known_as_one(tmp_path: Path, series: Series) -> None:
    folder = _pictures(tmp_path / "m", _labels() * 255, ["1.png", "2.png", "3.png"])
    assert read_masks(folder, series, named=(1, 255))[0].max() == 255
    assert read_masks(folder, series, named=(1, 2))[0].max() == 1


def test_a_one_bit_picture_is_zero_and_one(tmp_path: Path, series: Series) -> None:
    folder = _pictures(tmp_path / "m", _labels() > 0, ["1.png", "2.png", "3.png"])
    labels, _ = read_masks(folder, series)
    np.testing.assert_array_equal(labels, _labels()[:, :, ::-1])


def test_numbers_that_fit_nothing_are_refused(tmp_path: Path, series: Series) -> None:
    folder = _pictures(tmp_path / "m", _labels(), ["7.png", "8.png", "9.png"])
    with pytest.raises(DataError, match="fit neither the slices' names nor InstanceNumber"):
        read_masks(folder, series)


def test_a_missing_picture_is_refused(tmp_path: Path, series: Series) -> None:
    folder = _pictures(tmp_path / "m", _labels(), ["1.png", "2.png"])
    with pytest.raises(DataError, match="2 masks for 3 slices, expected one each"):
        read_masks(folder, series)


def test_pictures_of_another_size_are_refused_all_at_once(tmp_path: Path, series: Series) -> None:
    names = ["1.png", "2.png", "3.png"]
    folder = _pictures(tmp_path / "m", np.ones((4, 4, 3), dtype=np.uint8), names)
    with pytest.raises(DataError) as caught:
        read_masks(folder, series)
    assert len(caught.value.problems) == 3


def test_a_nifti_mask_with_flipped_and_swapped_axes_is_turned(
    tmp_path: Path, series: Series
) -> None:
    flipped = _labels().transpose(1, 0, 2)[:, ::-1]
    # New axes: (row, column from the last, slice). Column 3 is where index 0 of axis 1 lies.
    turn = np.array([[0, -1, 0, 3], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    path = write_nifti(tmp_path / "m.nii.gz", flipped, series.scan.affine @ turn)
    labels, _ = read_masks(path, series)
    np.testing.assert_array_equal(labels, _labels())


def test_a_nifti_mask_between_the_voxels_is_refused(tmp_path: Path, series: Series) -> None:
    moved = series.scan.affine.copy()
    moved[0, 3] += 0.35
    write_nifti(tmp_path / "m.nii.gz", _labels(), moved)
    with pytest.raises(DataError, match="is not that of the series"):
        read_masks(tmp_path / "m.nii.gz", series)


def test_a_dicom_segmentation_is_read_with_its_coded_names(tmp_path: Path, series: Series) -> None:
    two = _labels()
    two[3, 3, 1] = 2
    labels, names = read_masks(_segmentation(tmp_path / "seg.dcm", two, series), series)
    np.testing.assert_array_equal(labels, two)
    # The free text of the segments names a person; the terminology's own words are taken.
    assert names == {1: "Liver", 2: "label 2"}


def test_a_segmentation_of_another_body_is_refused(
    tmp_path: Path, series: Series, dicom: ModuleType
) -> None:
    def elsewhere(k: int, one: object) -> None:
        one.FrameOfReferenceUID = "1.2.3"

    other = open_series(dicom.write_series(tmp_path / "other", change=elsewhere))
    path = _segmentation(tmp_path / "seg.dcm", _labels(), other)
    with pytest.raises(DataError, match="another frame of reference"):
        read_masks(path, series)


def test_a_slice_of_the_series_is_no_segmentation(tmp_path: Path, series: Series) -> None:
    with pytest.raises(DataError, match="not a DICOM segmentation"):
        read_masks(tmp_path / "series" / "Mustermann_0001,0000b.dcm", series)


def _segmentation(path: Path, labels: np.ndarray, series: Series) -> Path:
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    kinds = [codes.SCT.Liver, Code("Mustermann", "99LOCAL", "Erika")]
    segments = [
        highdicom.seg.SegmentDescription(
            number, f"Mustermann {number}", codes.SCT.Organ, kinds[number - 1],
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, labels.max() + 1)
    ]  # fmt: skip
    made = highdicom.seg.Segmentation(
        series.slices, labels.transpose(2, 1, 0), "BINARY", segments, "1.2.4", 7, "1.2.5", 1,
        "maker", "model", "1", "0815",
    )  # fmt: skip
    made.save_as(path)
    return path
