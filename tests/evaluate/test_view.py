from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scansmith.evaluate.statistics import body, lesions_of, volumes_mm3
from scansmith.evaluate.view import (
    AXES,
    View,
    lesion_indices,
    oriented,
    share,
    shared_labels,
    slice_axis,
    view,
    with_slices,
)
from scansmith.io.nifti import write_nifti
from scansmith.labels.table import LabelTable
from scansmith.scan import CaseFiles, DataError, Scan

LIVER = LabelTable({1: "liver", 2: "tumour"})
LPS = np.diag([-1.0, -1.0, 3.0, 1.0])


def _scan(image: np.ndarray, affine: np.ndarray, labels: np.ndarray | None = None) -> Scan:
    return Scan("case", image, affine, ("ct",), labels)


def test_scans_of_any_orientation_look_alike() -> None:
    image = np.arange(24.0).reshape(1, 2, 3, 4)
    straight = _scan(image, LPS, image[0].astype(int))
    # The same voxels stored head first, with the first two axes swapped and one turned round.
    turned = image[0].transpose(1, 0, 2)[::-1, :, ::-1]
    affine = np.array([[0.0, -1, 0, 0], [1, 0, 0, -2], [0, 0, -3, 9], [0, 0, 0, 1]])
    other = oriented(_scan(turned[None], affine, turned.astype(int)))
    np.testing.assert_array_equal(other.image, image)
    np.testing.assert_array_equal(other.labels, straight.labels)
    np.testing.assert_allclose(other.affine, LPS)


def test_a_view_has_slices_first_and_labels_by_shared_name() -> None:
    # The other set names the tumour 5 and has no liver.
    shared = share((("ct",), ("ct",)), (LIVER, LabelTable({5: "tumor"})), None)
    assert shared.structures == ("background", "tumour")
    assert (shared.lesion, shared.lesion_by) == ((1,), "names like a lesion")
    assert shared.notes == ("Only the real set has structure liver: not compared.",)
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[1, 2, 3], labels[0, 0, 0] = 2, 1
    found = view(_scan(np.zeros((1, 2, 3, 4)), LPS, labels), shared, LIVER)
    assert found.image.shape == (1, 4, 3, 2)
    assert found.spacing_mm == (3.0, 1.0, 1.0)
    assert np.argwhere(found.labels == 1).tolist() == [[3, 2, 1]]
    assert found.labels.sum() == 1


def test_slices_are_those_that_were_scanned() -> None:
    # Steps along D, H, W. Sagittal slices; thin axial ones on a coarse grid, whose two long axes
    # say nothing; steps 1.9 times as long, which is no slice yet.
    assert slice_axis([(1, 1, 5)]) == 2
    assert slice_axis([(1, 5, 5)]) == slice_axis([(1, 1, 1.9)]) == slice_axis([]) == 0
    # By the median: one scan of three is another's.
    assert slice_axis([(1, 1, 5), (5, 1, 1), (1.2, 1, 4)]) == 2
    # Single slices: all coronal, two coronal ones beside a volume, two that disagree.
    inf = float("inf")
    assert slice_axis([(1, inf, 1), (1, inf, 1)]) == 1
    assert slice_axis([(1, inf, 1), (1, inf, 1), (1, 1, 5)]) == 1
    assert slice_axis([(inf, 1, 1), (1, inf, 1)]) == 0


def test_every_scan_is_seen_across_the_axis_that_the_real_set_was_scanned(tmp_path) -> None:
    shared = share((("ct",), ("ct",)), (LIVER, LIVER), None)
    sagittal = np.diag([-5.0, -1.0, 1.0, 1.0])
    files = [CaseFiles(f"c{n}", {"ct": tmp_path / f"c{n}.nii.gz"}) for n in range(2)]
    scan = np.arange(24.0).reshape(2, 3, 4).astype(np.float32)
    write_nifti(files[0].images["ct"], scan, sagittal)
    files[1].images["ct"].write_bytes(b"no scan")  # is told where all are read
    shared = with_slices(shared, files)
    assert shared.slices == 2
    found = view(_scan(np.zeros((1, 2, 3, 4)), sagittal), shared, LIVER)
    assert found.image.shape == (1, 2, 4, 3)
    assert found.spacing_mm == (5.0, 1.0, 1.0)
    assert found.axes == (AXES[2], AXES[0], AXES[1])
    # A generator's grid that is as coarse in plane as between slices is seen across the same axis.
    coarse = view(_scan(np.zeros((1, 2, 3, 4)), np.diag([-5.0, -4.0, 4.0, 1.0])), shared, LIVER)
    assert coarse.axes == found.axes
    # A single slice has no other axis than its own.
    single = view(_scan(np.zeros((1, 2, 3, 1)), sagittal), shared, LIVER)
    assert single.image.shape == (1, 1, 3, 2)


@pytest.mark.parametrize("across", [0, 1, 2])
def test_a_single_slice_is_seen_across_its_own_axis(tmp_path, across: int) -> None:
    shape = tuple(1 if axis == across else n for axis, n in enumerate((4, 3, 5)))  # D, H, W
    spacing = tuple(2.0 if axis == across else 1.5 for axis in range(3))
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    files = CaseFiles("a", {"ct": tmp_path / "a.nii.gz"})
    write_nifti(files.images["ct"], image.T, affine)
    shared = with_slices(share((("ct",), ("ct",)), (LIVER, LIVER), None), [files])
    assert shared.slices == across
    # So it is, too, where the volumes of the set were scanned across another axis.
    for slices in range(3):
        found = view(_scan(image.T[None], affine), replace(shared, slices=slices), LIVER)
        assert found.image.shape == (1, 1, *np.delete(shape, across))
        assert found.axes == (AXES[across], *np.delete(AXES, across))
        assert found.spacing_mm == (2.0, 1.5, 1.5)


def test_all_that_stands_against_a_comparison_is_said_at_once() -> None:
    with pytest.raises(DataError) as error:
        share((("ct",), ("t1", "t2")), (LIVER, LabelTable({1: "aorta"})), ["tumour"])
    text = str(error.value)
    assert "modalities: the real set has ct, the synthetic t1, t2" in text
    assert "labels: the real set labels liver, tumour, the synthetic aorta" in text
    assert len(error.value.problems) == 3


def test_the_lesion_can_be_named_and_falls_back_to_any_label() -> None:
    both = (LIVER, LIVER)
    assert share((("ct",), ("ct",)), both, ["Liver"]).lesion == (1,)
    heart = LabelTable({1: "left ventricle", 2: "myocardium"})
    found = share((("mr",), ("mr",)), (heart, heart), None)
    assert (found.lesion, found.lesion_by) == ((1, 2), "any label")
    with pytest.raises(DataError, match="no structure kidney"):
        share((("ct",), ("ct",)), both, ["kidney"])


TWO = LabelTable({1: "lesion", 2: "tumour"})  # both go by "tumour", were they not together


@pytest.mark.parametrize(
    ("tables", "names", "values"),
    [
        ((TWO, TWO), ("lesion", "tumour"), ([0, 1, 2], [0, 1, 2])),
        ((TWO, LabelTable({1: "Lesion"})), ("lesion",), ([0, 1, 0], [0, 1])),
        ((LabelTable({1: "lesion"}), TWO), ("lesion",), ([0, 1], [0, 1, 0])),
        ((TWO, LabelTable({1: "cancer"})), ("tumour",), ([0, 0, 1], [0, 1])),
        ((LabelTable({1: "tumor"}), LabelTable({1: "lesion"})), ("tumour",), ([0, 1], [0, 1])),
    ],
)
def test_two_lesions_of_one_set_are_not_taken_for_each_other(
    tables: tuple[LabelTable, LabelTable],
    names: tuple[str, ...],
    values: tuple[list[int], list[int]],
) -> None:
    shared = share((("ct",), ("ct",)), tables, None)
    assert shared.structures == ("background", *names)
    for table, expected in zip(tables, values, strict=True):
        assert shared_labels(np.array(table.values), shared, table).tolist() == expected


def test_a_lesion_goes_by_its_plain_name_before_the_standard_one() -> None:
    apart = LabelTable({1: "tumor", 2: "cancer"})
    ct = ("ct",), ("ct",)
    assert share(ct, (TWO, TWO), ["lesion"]).lesion == (1,)
    assert share(ct, (TWO, TWO), ["tumor"]).lesion == (2,)  # no plain name: the standard one
    assert share(ct, (apart, apart), ["Tumor"]).lesion == (1,)
    with pytest.raises(DataError, match=r"no structure lesion in both sets. Choose among tumour"):
        share(ct, (TWO, LabelTable({1: "cancer"})), ["lesion"])
    assert lesion_indices(TWO.structures, ["lesion"]) == (1,)


def _case(labels: np.ndarray) -> View:
    return View("case", "case", np.zeros((1, *labels.shape)), labels, (3.0, 0.5, 2.0))


def test_lesions_are_counted_and_measured_in_cubic_millimetres() -> None:
    labels = np.zeros((4, 10, 10), np.uint8)
    labels[:, 1:9, 0:9] = 1  # liver: rows 1 to 8, columns 0 to 8, all slices
    labels[0, 2, 2:6] = 2  # 4 voxels of 3 mm3
    labels[1, 3, 6] = 2  # touches the first at a corner: one lesion of 5
    labels[3, 5:7, 4:7] = 2  # 6 voxels
    labels[2, 8, 0] = 2  # a speck of one voxel
    case = _case(labels)
    found = lesions_of(case, labels == 2)
    assert [lesion.volume_mm3 for lesion in found] == [18.0, 15.0]
    # Centre (3, 5.5, 5) in the box (0..3, 1..8, 0..8).
    place = found[0].position
    assert place["feet to head"] == 1.0
    assert place["front to back"] == pytest.approx(4.5 / 7)
    assert place["right to left"] == pytest.approx(5 / 8)
    assert volumes_mm3(case, ("background", "liver", "tumour"))["tumour"] == 36.0


def test_without_an_organ_positions_are_relative_to_the_body() -> None:
    labels = np.zeros((2, 20, 20), np.uint8)
    labels[0, 10:12, 10:12] = 1
    image = np.zeros((1, 2, 20, 20))
    image[0, :, 5:16, 0:20] = np.random.default_rng(0).normal(9, 1, (2, 11, 20))
    case = View("case", "case", image, labels, (1.0, 1.0, 1.0))
    (lesion,) = lesions_of(case, labels == 1)
    assert lesion.position["front to back"] == pytest.approx((10.5 - 5) / 10)
    assert lesion.position["feet to head"] == 0.0


def test_the_body_is_what_is_not_background() -> None:
    brain = np.zeros((1, 10, 10))
    brain[0, 2:8, 2:8] = np.random.default_rng(0).normal(0, 20, (6, 6))  # z-scores: half below 0
    assert body(brain).sum() == 36
    ct = np.random.default_rng(1).normal(-1000, 5, (1, 10, 10))
    ct[0, 3:6, 3:6] += 1040
    assert body(ct).sum() == 9
    assert body(np.full((1, 3, 3), 7.0)).all()
