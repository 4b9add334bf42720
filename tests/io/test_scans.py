"""Reading a case: all its problems at once, and nothing but its problems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scansmith.io import read_scan, write_scan
from scansmith.io.nifti import write_nifti
from scansmith.labels.table import LabelTable
from scansmith.scan import CaseFiles, DataError, Scan

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])
TABLE = LabelTable({1: "liver", 2: "tumour"})


def _image(channel: int = 0) -> np.ndarray:
    return (np.arange(4 * 3 * 2).reshape(4, 3, 2) + channel).astype(np.int16)


def _labels() -> np.ndarray:
    return (_image() % 3).astype(np.uint8)


def _case(folder: Path, **arrays: np.ndarray) -> CaseFiles:
    """A case of T1 and T2 with labels; `arrays` take the place of the good ones."""
    good = {"t1": _image(), "t2": _image(1), "labels": _labels()}
    paths = {
        name: write_nifti(folder / f"a_{name}.nii.gz", array, AFFINE)
        for name, array in (good | arrays).items()
    }
    return CaseFiles("a", {"t1": paths["t1"], "t2": paths["t2"]}, paths["labels"], "ann")


def _problems(files: CaseFiles) -> list[tuple[str, str]]:
    with pytest.raises(DataError) as caught:
        read_scan(files, table=TABLE)
    assert {problem.where for problem in caught.value.problems} == {"a"}
    return [(problem.kind, problem.found) for problem in caught.value.problems]


def test_a_whole_case_is_read_onto_one_grid(tmp_path: Path) -> None:
    scan = read_scan(_case(tmp_path), table=TABLE)
    assert (scan.case, scan.patient, scan.modalities) == ("a", "ann", ("t1", "t2"))
    np.testing.assert_array_equal(scan.image, np.stack([_image(), _image(1)]))
    np.testing.assert_array_equal(scan.labels, _labels())
    np.testing.assert_allclose(scan.spacing_mm, (0.8, 0.8, 2.5), rtol=1e-6)


def test_all_problems_of_a_case_are_told_at_once(tmp_path: Path) -> None:
    infinite = _image().astype(np.float32)
    infinite[0, 0, 0] = np.inf
    files = _case(tmp_path, t1=infinite, t2=np.full((4, 3, 2), 7), labels=_labels()[:3] + 5)
    assert _problems(files) == [
        ("nonfinite", "a_t1.nii.gz: 1 voxels of 24 are NaN or infinite, expected finite numbers"),
        ("constant", "a_t2.nii.gz: the image is constant, every voxel is 7"),
        ("label-value", "a_labels.nii.gz: unknown label value 5, 6, 7, expected 0, 1, 2"),
        ("grid", "t1 image grid (4, 3, 2) and labels grid (3, 3, 2) differ"),
    ]


def test_an_affine_that_is_off_by_a_millimetre_is_told(tmp_path: Path) -> None:
    files = _case(tmp_path)
    moved = AFFINE.copy()
    moved[2, 3] = 1.0
    write_nifti(tmp_path / "a_labels.nii.gz", _labels(), moved)
    ((kind, found),) = _problems(files)
    assert kind == "affine"
    assert "labels differ, by up to 1 mm at a corner" in found


def test_an_affine_that_differs_by_rounding_is_fine(tmp_path: Path) -> None:
    files = _case(tmp_path)
    write_nifti(tmp_path / "a_labels.nii.gz", _labels(), AFFINE + 1e-4 * (AFFINE != 0))
    read_scan(files, table=TABLE)


def test_whole_numbers_stored_as_floats_are_labels(tmp_path: Path) -> None:
    scan = read_scan(_case(tmp_path, labels=_labels().astype(np.float32)), table=TABLE)
    assert scan.labels.dtype == np.uint8
    np.testing.assert_array_equal(scan.labels, _labels())


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_fractions_are_no_labels(tmp_path: Path, value: float) -> None:
    labels = _labels().astype(np.float32)
    labels[1, 1, 1] = value
    ((kind, found),) = _problems(_case(tmp_path, labels=labels))
    assert kind == "labels"
    assert f"label value {value:g} is not a whole number" in found


def test_a_4d_file_where_3d_is_expected_is_refused(tmp_path: Path) -> None:
    ((kind, found),) = _problems(_case(tmp_path, t2=np.stack([_image()] * 5, axis=-1)))
    assert kind == "dimensions"
    assert "the file is 4D, (4, 3, 2, 5), expected one volume" in found


def test_one_file_may_hold_all_modalities(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.stack([_image(), _image(1)], axis=-1), AFFINE)
    scan = read_scan(CaseFiles("a", {"t1": path, "t2": path}))
    np.testing.assert_array_equal(scan.image, np.stack([_image(), _image(1)]))
    assert scan.labels is None


def test_a_wrong_number_of_channels_in_one_file_is_told(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.stack([_image()] * 3, axis=-1), AFFINE)
    ((kind, found),) = _problems(CaseFiles("a", {"t1": path, "t2": path}))
    assert kind == "channels"
    assert "(4, 3, 2, 3), expected 4D with 2 channels last (t1, t2)" in found


def test_a_kind_of_file_that_nobody_reads_is_told_with_those_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(b"ObjectType = Image")
    ((kind, found),) = _problems(CaseFiles("a", {"t1": tmp_path / "a.mha"}))
    assert kind == "unreadable"
    assert "expected .nii.gz, .nii, .png" in found


def test_single_files_are_read_by_their_paths(tmp_path: Path) -> None:
    _case(tmp_path)
    scan = read_scan(tmp_path / "a_t1.nii.gz", tmp_path / "a_labels.nii.gz")
    assert (scan.case, scan.modalities) == ("a_t1", ("image",))
    np.testing.assert_array_equal(scan.labels, _labels())


def test_labels_without_an_image_are_a_scan_without_channels(tmp_path: Path) -> None:
    files = CaseFiles("a", {}, _case(tmp_path).labels)
    scan = read_scan(files)
    assert scan.image.shape == (0, 4, 3, 2)
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-6)


def test_a_scan_is_written_as_one_file_a_modality_or_as_one_file(tmp_path: Path) -> None:
    scan = Scan(
        "a", np.stack([_image(), _image(1)]), AFFINE, ("t1", "t2"), _labels(),
        notes={"description": "by hand"},
    )  # fmt: skip
    paths = {"t1": tmp_path / "x_t1.nii", "t2": tmp_path / "x_t2.nii"}
    assert write_scan(scan, paths, tmp_path / "x_seg.nii") == [
        *paths.values(),
        tmp_path / "x_seg.nii",
    ]
    back = read_scan(CaseFiles("a", paths, tmp_path / "x_seg.nii"))
    np.testing.assert_array_equal(back.image, scan.image)
    write_scan(scan, tmp_path / "both.nii.gz")
    both = read_scan(CaseFiles("a", dict.fromkeys(scan.modalities, tmp_path / "both.nii.gz")))
    np.testing.assert_array_equal(both.image, scan.image)


def test_a_modality_without_a_path_is_told_before_anything_is_written(tmp_path: Path) -> None:
    scan = Scan("a", np.zeros((2, 3, 4, 5), np.int16), np.eye(4), ("t1", "t2"))
    with pytest.raises(DataError, match="a: no path for t2, expected one for each of t1, t2"):
        write_scan(scan, {"t1": tmp_path / "t1.nii"})
    assert list(tmp_path.iterdir()) == []
