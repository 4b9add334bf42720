"""Every layout is found by itself: its cases, modalities, patients and label names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scansmith.data.layouts import DataSet, find_layout
from scansmith.data.layouts_base import patient_of, standard_modality
from scansmith.evaluate.view import lesion_indices
from scansmith.io import read_scan
from scansmith.io.nifti import write_nifti
from scansmith.io.png import write_png
from scansmith.scan import DataError

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])


def _put(root: Path, *names: str, labels: tuple[int, ...] = (0, 1, 2)) -> None:
    """Small files under these names: labels where the name says so, else an image."""
    for number, name in enumerate(names):
        image = np.arange(4 * 3 * 2).reshape(4, 3, 2) + number
        is_label = any(word in name for word in ("seg", "label", "mask"))
        values = np.array(labels)[image % len(labels)] if is_label else image
        if name.endswith(".png"):
            write_png(root / name, values[:, :, 0].astype(np.uint8))
        else:
            write_nifti(root / name, values.astype(np.int16), AFFINE)


def _json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _whole(found: DataSet, layout: str, cases: list[str], modalities: tuple[str, ...]) -> None:
    """The data set is as expected, without problems, and each of its cases can be read."""
    assert found.problems == ()
    assert (found.layout, [files.case for files in found.cases]) == (layout, cases)
    assert found.modalities == modalities
    for files in found.cases:
        scan = read_scan(files, table=found.table)
        assert (scan.modalities, scan.labels is not None) == (modalities, True)


def _told(found: DataSet) -> list[tuple[str, str]]:
    return [(problem.where, problem.kind) for problem in found.problems]


def test_brats_folders_with_a_subset_of_modalities(tmp_path: Path) -> None:
    for case in ("BraTS20_Training_001", "BraTS20_Training_002"):
        _put(tmp_path / case, f"{case}_t1ce.nii.gz", f"{case}_flair.nii.gz", f"{case}_seg.nii.gz")
    found = find_layout(tmp_path)
    _whole(found, "brats", ["BraTS20_Training_001", "BraTS20_Training_002"], ("t1c", "flair"))
    assert found.table.names == {0: "background", 1: "necrosis", 2: "oedema", 4: "enhancing"}


def test_brats_2023_has_hyphens_time_points_and_another_coding(tmp_path: Path) -> None:
    case = "BraTS-GLI-00005-001"
    _put(tmp_path / case, *(f"{case}-{m}.nii.gz" for m in ("t1n", "t1c", "t2w", "t2f", "seg")))
    found = find_layout(tmp_path)
    _whole(found, "brats", [case], ("t1", "t1c", "t2", "flair"))
    assert found.cases[0].patient == "BraTS-GLI-00005"
    assert found.table.names[3] == "enhancing"


def test_brats_grades_in_folders_of_their_own(tmp_path: Path) -> None:
    _put(tmp_path / "HGG" / "Brats18_a_1", "Brats18_a_1_t1.nii.gz", "Brats18_a_1_seg.nii.gz")
    _put(tmp_path / "LGG" / "Brats18_b_1", "Brats18_b_1_t1.nii.gz", "Brats18_b_1_seg.nii.gz")
    _whole(find_layout(tmp_path), "brats", ["Brats18_a_1", "Brats18_b_1"], ("t1",))


def test_the_same_brats_case_in_two_folders_is_a_duplicate(tmp_path: Path) -> None:
    for grade in ("HGG", "LGG"):
        _put(tmp_path / grade / "Brats18_a_1", "Brats18_a_1_t1.nii.gz", "Brats18_a_1_seg.nii.gz")
    assert _told(find_layout(tmp_path)) == [("Brats18_a_1", "duplicate")] * 2


def test_twins_beside_the_cases_are_not_taken_for_cases(tmp_path: Path) -> None:
    _put(tmp_path / "brain_1", "brain_1_t1.nii.gz", "brain_1_seg.nii.gz")
    _put(tmp_path / "twins" / "brain_1", "brain_1_t1.nii.gz", "brain_1_seg.nii.gz")
    _whole(find_layout(tmp_path), "brats", ["brain_1"], ("t1",))


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ((0, 1), ["tumour"]),
        ((0, 1, 4), ["necrosis", "oedema", "enhancing"]),
        ((0, 1, 2, 3, 4), ["necrosis", "oedema", "non-enhancing", "enhancing"]),
        ((0, 1, 2, 3), ["label 1", "label 2", "label 3"]),
    ],
)
def test_brats_like_folders_are_coded_as_their_values_tell(
    tmp_path: Path, values: tuple[int, ...], names: list[str]
) -> None:
    _put(tmp_path / "ann", "ann_t1.nii.gz", "ann_seg.nii.gz", labels=values)
    assert list(find_layout(tmp_path).table.structures[1:]) == names


def test_brain_masks_are_no_modality(tmp_path: Path) -> None:
    _put(tmp_path / "ann", "ann_t1.nii.gz", "ann_brainmask.nii.gz", "ann_seg.nii.gz")
    _whole(find_layout(tmp_path), "brats", ["ann"], ("t1",))


def test_label_maps_alone_are_cases_without_images(tmp_path: Path) -> None:
    _put(tmp_path, "BraTS20_Training_001_seg.nii.gz", "BraTS20_Training_002_seg.nii.gz")
    _whole(find_layout(tmp_path), "brats", ["BraTS20_Training_001", "BraTS20_Training_002"], ())


def test_nnunet_version_2(tmp_path: Path) -> None:
    root = tmp_path / "Dataset027_ACDC"
    for case in ("patient001_frame01", "patient001_frame12"):
        _put(root, f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz")
    labels = {"background": 0, "RV": 1, "MYO": 2}
    _json(root / "dataset.json", {"channel_names": {"0": "cineMRI"}, "labels": labels})
    found = find_layout(tmp_path)  # one folder above will do
    _whole(found, "nnunet", ["patient001_frame01", "patient001_frame12"], ("mr",))
    assert {files.patient for files in found.cases} == {"patient001"}
    assert found.table.names == {0: "background", 1: "right ventricle", 2: "myocardium"}


def test_nnunet_channels_keep_their_order(tmp_path: Path) -> None:
    _put(tmp_path, *(f"imagesTr/a_000{c}.nii.gz" for c in (0, 1)), "labelsTr/a.nii.gz")
    channels = {"0": "T2w", "1": "T1"}
    _json(tmp_path / "dataset.json", {"channel_names": channels, "labels": {"a": 1, "b": 2}})
    found = find_layout(tmp_path)
    _whole(found, "nnunet", ["a"], ("t2", "t1"))
    assert found.cases[0].images["t1"].name == "a_0001.nii.gz"


def test_nnunet_pictures_and_listed_cases(tmp_path: Path) -> None:
    head = {"channel_names": {"0": "US"}, "labels": {"a": 1, "b": 2}, "file_ending": ".png"}
    _put(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    _json(tmp_path / "dataset.json", head)
    _whole(find_layout(tmp_path), "nnunet", ["a"], ("us",))
    listed = {"b": {"images": ["./imagesTr/a_0000.png"], "label": "./labelsTr/a.png"}}
    _json(tmp_path / "dataset.json", head | {"dataset": listed})
    _whole(find_layout(tmp_path), "nnunet", ["b"], ("us",))


def test_nnunet_version_1(tmp_path: Path) -> None:
    _put(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    listed = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    labels = {"0": "background", "1": "liver", "2": "cancer"}
    _json(
        tmp_path / "dataset.json", {"modality": {"0": "CT"}, "labels": labels, "training": listed}
    )
    found = find_layout(tmp_path)
    _whole(found, "nnunet", ["a"], ("ct",))
    assert found.table.structures == ("background", "liver", "tumour")


@pytest.mark.parametrize(
    ("labels", "names", "lesion"),
    [
        (
            {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "ET": [3]},
            ("label 1 in whole tumor", "label 2 in tumor core in whole tumor", "enhancing"),
            (1, 2, 3),
        ),
        (  # the inner region's name is no lesion's; the order of the regions says nothing
            {"core": [2, 3], "background": 0, "whole tumor": [1, 2, 3], "enhancing": 3},
            ("label 1 in whole tumor", "label 2 in core in whole tumor", "enhancing"),
            (1, 2, 3),
        ),
        ({"liver": [1, 2], "cancer": [2]}, ("label 1 in liver", "tumour"), (2,)),
    ],
)
def test_overlapping_regions_of_nnunet_name_only_what_is_certain(
    tmp_path: Path, labels: dict, names: tuple[str, ...], lesion: tuple[int, ...]
) -> None:
    _put(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    _json(tmp_path / "dataset.json", {"channel_names": {"0": "T1"}, "labels": labels})
    found = find_layout(tmp_path).table
    assert (found.values[1:], found.structures[1:]) == (tuple(range(1, len(names) + 1)), names)
    assert lesion_indices(found.structures, None) == lesion


def test_nnunets_ignore_label_is_no_structure(tmp_path: Path) -> None:
    _put(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    labels = {"background": 0, "liver": 1, "ignore": 2}
    _json(tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "labels": labels})
    (problem,) = find_layout(tmp_path).problems
    assert "label 2 is 'ignore': voxels that may be anything" in str(problem)
    # What the text proposes is taken.
    proposed = str(problem).partition("for example ")[2].partition(", and leave")[0]
    assert proposed == '{"1": "liver", "2": "background"}'
    (tmp_path / "labels.json").write_text(proposed)
    found = find_layout(tmp_path)
    _whole(found, "nnunet", ["a"], ("ct",))
    assert found.table.encode(np.array([0, 1, 2])).tolist() == [0, 1, 0]


def test_wrong_channels_of_nnunet_are_told(tmp_path: Path) -> None:
    _put(tmp_path, *(f"imagesTr/{name}.nii.gz" for name in ("a_0000", "a_0001", "b_0000", "c")))
    _put(tmp_path, "imagesTr/d_0000.nii.gz", "imagesTr/d_0001.nii.gz", "imagesTr/d_0002.nii.gz")
    _put(tmp_path, *(f"labelsTr/{name}.nii.gz" for name in "abd"))
    channels = {"0": "T1", "1": "T2"}
    _json(tmp_path / "dataset.json", {"channel_names": channels, "labels": {"a": 1, "b": 2}})
    told = _told(find_layout(tmp_path))
    assert told == [("c", "name"), ("d", "channels"), ("b", "modality")]


def test_the_decathlon_lists_its_cases(tmp_path: Path) -> None:
    _put(tmp_path, "imagesTr/h_1.nii.gz", "labelsTr/h_1.nii.gz", "imagesTr/h_2.nii.gz")
    listed = [{"image": "./imagesTr/h_1.nii.gz", "label": "./labelsTr/h_1.nii.gz"}]
    head = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "Anterior", "2": "x"}}
    _json(tmp_path / "dataset.json", head | {"training": listed, "test": ["./imagesTr/h_2.nii.gz"]})
    found = find_layout(tmp_path)
    _whole(found, "msd", ["h_1"], ("mr",))
    assert found.table.structures[1] == "anterior"


def test_the_decathlon_holds_several_modalities_in_one_file(tmp_path: Path) -> None:
    stack = np.arange(4 * 3 * 2 * 2).reshape(4, 3, 2, 2).astype(np.int16)
    write_nifti(tmp_path / "imagesTr" / "b.nii.gz", stack, AFFINE)
    _put(tmp_path, "labelsTr/b.nii.gz")
    listed = [{"image": "imagesTr/b.nii.gz", "label": "labelsTr/b.nii.gz"}]
    head = {"modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"1": "a", "2": "b"}}
    _json(tmp_path / "dataset.json", head | {"training": listed})
    found = find_layout(tmp_path)
    _whole(found, "msd", ["b"], ("flair", "t1"))
    np.testing.assert_array_equal(read_scan(found.cases[0]).image[1], stack[..., 1])


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("../outside.nii.gz", "path", "leaves the data set"),
        ("imagesTr/../../outside.nii.gz", "path", "leaves the data set"),
        ("..\\outside.nii.gz", "path", "leaves the data set"),
        ("/etc/hostname", "path", "is absolute"),
        ("C:\\scans\\a.nii.gz", "path", "is absolute"),
        ("imagesTr/link.nii.gz", "path", "through a symbolic link"),
        ("linked/outside.nii.gz", "path", "through a symbolic link"),
        ("imagesTr/nowhere.nii.gz", "missing", "does not exist"),
        (7, "json", "expected the path of a file"),
    ],
)
@pytest.mark.usefixtures("links")
def test_a_path_that_leaves_the_data_set_is_refused(
    tmp_path: Path, text: object, kind: str, why: str
) -> None:
    root = tmp_path / "set"
    _put(root, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    _put(tmp_path, "outside.nii.gz")
    (root / "imagesTr" / "link.nii.gz").symlink_to(tmp_path / "outside.nii.gz")
    (root / "linked").symlink_to(tmp_path, target_is_directory=True)
    good = {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}
    listed = [good, {"image": text, "label": "labelsTr/a.nii.gz"}]
    _json(
        root / "dataset.json", {"modality": {"0": "CT"}, "labels": {"1": "a"}, "training": listed}
    )
    found = find_layout(root)
    assert [files.case for files in found.cases] == ["a"]
    (problem,) = found.problems
    assert (problem.where, problem.kind) == ("dataset.json training[1].image", kind)
    assert why in problem.found


@pytest.mark.usefixtures("links")
def test_a_link_that_stays_inside_the_data_set_is_fine(tmp_path: Path) -> None:
    _put(tmp_path, "store/x_image.nii.gz", "store/x_label.nii.gz")
    for name in ("image", "label"):
        (tmp_path / f"{name}.nii.gz").symlink_to(tmp_path / "store" / f"x_{name}.nii.gz")
    listed = [{"image": "./image.nii.gz", "label": "./label.nii.gz"}]
    head = {"modality": {"0": "CT"}, "labels": {"1": "a", "2": "b"}, "training": listed}
    _json(tmp_path / "dataset.json", head)
    _whole(find_layout(tmp_path), "msd", ["image"], ("ct",))


def test_a_case_that_is_listed_twice_is_a_duplicate(tmp_path: Path) -> None:
    _put(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    listed = [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}] * 2
    head = {"modality": {"0": "CT"}, "labels": {"1": "a"}, "training": listed}
    _json(tmp_path / "dataset.json", head)
    assert set(_told(find_layout(tmp_path))) == {("a", "duplicate")}


@pytest.mark.parametrize("content", ["{", "[]", '{"training": [], "labels": {"x": "y"}}'])
def test_a_broken_dataset_json_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset.json: "):
        find_layout(tmp_path)


def test_lits_volumes_and_segmentations_together_or_apart(tmp_path: Path) -> None:
    _put(
        tmp_path / "one", "volume-0.nii", "segmentation-0.nii", "volume-1.nii", "segmentation-1.nii"
    )
    _put(tmp_path / "two" / "volume_pt1", "volume-0.nii", "volume-1.nii")
    _put(tmp_path / "two" / "segmentations", "segmentation-0.nii", "segmentation-1.nii")
    for root in (tmp_path / "one", tmp_path / "two"):
        found = find_layout(root)
        _whole(found, "lits", ["volume-0", "volume-1"], ("ct",))
        assert found.table.structures == ("background", "liver", "tumour")


def test_mmwhs_codes_are_named(tmp_path: Path) -> None:
    case = "ct_train_1001"
    _put(tmp_path, f"{case}_image.nii.gz", f"{case}_label.nii.gz", labels=(0, 205, 820))
    found = find_layout(tmp_path)
    _whole(found, "mmwhs", [case], ("ct",))
    assert found.table.names[820] == "aorta"


def test_ct_and_mr_together_lack_each_other(tmp_path: Path) -> None:
    _put(tmp_path, "ct_train_1001_image.nii.gz", "ct_train_1001_label.nii.gz")
    _put(tmp_path, "mr_train_1001_image.nii.gz", "mr_train_1001_label.nii.gz")
    told = _told(find_layout(tmp_path))
    assert told == [("ct_train_1001", "modality"), ("mr_train_1001", "modality")]


def test_png_slices_belong_to_patients(tmp_path: Path) -> None:
    for name in ("1001_007", "1001_008", "1002_001"):
        _put(tmp_path, f"images/{name}.png", f"labels/{name}.png")
    _json(tmp_path / "labels.json", {"0": "background", "1": "LV", "2": "aorta"})
    found = find_layout(tmp_path)
    _whole(found, "slices", ["1001_007", "1001_008", "1002_001"], ("image",))
    assert [files.patient for files in found.cases] == ["1001", "1001", "1002"]
    assert found.table.structures == ("background", "left ventricle", "aorta")


@pytest.mark.parametrize(
    "names",
    [
        ("images/a.nii.gz", "labels/a.nii.gz"),
        ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"),
        ("img/a_image.nii.gz", "masks/a_mask.nii.gz"),
        ("a_image.nii.gz", "a_label.nii.gz"),
        ("a.nii.gz", "a_seg.nii.gz"),
        ("a.nii", "a-segmentation.nii.gz"),
        ("a/image.nii.gz", "a/mask.nii.gz"),
    ],
)
def test_pairs_of_image_and_label(tmp_path: Path, names: tuple[str, str]) -> None:
    _put(tmp_path, *names)
    found = find_layout(tmp_path)
    _whole(found, "pairs", ["a"], ("image",))
    assert found.table.names == {0: "background", 1: "label 1", 2: "label 2"}


def test_a_scan_in_two_formats_is_a_duplicate(tmp_path: Path) -> None:
    _put(tmp_path, "images/a.nii", "images/a.nii.gz", "labels/a.nii.gz")
    assert _told(find_layout(tmp_path)) == [("a", "duplicate")]


def test_bids_derivatives_with_their_labels(tmp_path: Path) -> None:
    for subject in ("sub-01/ses-a", "sub-01/ses-b", "sub-02"):
        name = subject.replace("/", "_")
        _put(tmp_path / subject / "anat", f"{name}_T1w.nii.gz", f"{name}_FLAIR.nii.gz")
        there = tmp_path / "derivatives" / "lesions" / subject / "anat"
        _put(there, f"{name}_space-orig_desc-manual_dseg.nii.gz")
    table = "index\tname\tcolor\n1\tGray Matter\t#111111\n2\tlesion\t#ff0000\n"
    (tmp_path / "derivatives" / "lesions" / "dseg.tsv").write_text(table)
    found = find_layout(tmp_path)
    _whole(found, "bids", ["sub-01_ses-a", "sub-01_ses-b", "sub-02"], ("t1", "flair"))
    assert [files.patient for files in found.cases] == ["sub-01", "sub-01", "sub-02"]
    assert found.table.structures == ("background", "gray matter", "tumour")


def test_of_the_label_table_of_a_whole_atlas_what_occurs_is_taken(tmp_path: Path) -> None:
    there = tmp_path / "derivatives" / "x" / "sub-01" / "anat"
    _put(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    there.mkdir(parents=True)
    labels = np.array([0, 17, 1200, 2000], np.int16).reshape(2, 2, 1)
    write_nifti(there / "sub-01_dseg.nii.gz", labels, np.eye(4))
    rows = "".join(f"{n}\tregion {n}\n" for n in range(1300))
    (tmp_path / "derivatives" / "x" / "dseg.tsv").write_text("index\tname\n" + rows)
    table = find_layout(tmp_path).table
    assert table.names == {0: "background", 17: "region 17", 1200: "region 1200"}


@pytest.mark.parametrize(
    "table", [b"", b"index\n1\n", b"index\tname\none\tliver\n", b"\xff\xfe\x00"]
)
def test_a_bids_label_table_that_is_none_is_told(tmp_path: Path, table: bytes) -> None:
    _put(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "derivatives/x/sub-01/anat/sub-01_dseg.nii.gz")
    (tmp_path / "derivatives" / "x" / "dseg.tsv").write_bytes(table)
    with pytest.raises(DataError, match=r"dseg\.tsv: not a table with columns index and name"):
        find_layout(tmp_path)


def test_bids_images_beside_the_labels_come_first(tmp_path: Path) -> None:
    _put(tmp_path / "sub-01" / "anat", "sub-01_T1w.nii.gz")
    there = tmp_path / "derivatives" / "prep" / "sub-01" / "anat"
    _put(there, "sub-01_space-MNI_T1w.nii.gz", "sub-01_space-MNI_dseg.nii.gz")
    found = find_layout(tmp_path)
    _whole(found, "bids", ["sub-01"], ("t1",))
    assert found.cases[0].images["t1"].parent == there


def test_a_case_without_labels_among_labelled_ones_is_told(tmp_path: Path) -> None:
    _put(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz")
    assert _told(find_layout(tmp_path)) == [("b", "unlabelled")]


def test_a_missing_modality_in_one_case_is_told(tmp_path: Path) -> None:
    _put(tmp_path / "ann", "ann_t1.nii.gz", "ann_t2.nii.gz", "ann_seg.nii.gz")
    _put(tmp_path / "bob", "bob_t1.nii.gz", "bob_seg.nii.gz")
    (problem,) = find_layout(tmp_path).problems
    assert (problem.where, problem.kind) == ("bob", "modality")
    assert "modality t2 is missing, expected t1, t2, found t1" in problem.found


def test_the_users_names_and_patients_come_first(tmp_path: Path) -> None:
    _put(tmp_path / "ann", "ann_t1.nii.gz", "ann_seg.nii.gz")
    _json(tmp_path / "labels.json", {"1": "cyst", "2": "tumor"})
    _json(tmp_path / "patients.json", {"ann": "person 7"})
    found = find_layout(tmp_path)
    assert found.table.structures == ("background", "cyst", "tumour")
    assert found.cases[0].patient == "person 7"


def test_label_files_of_too_many_values_are_told(tmp_path: Path) -> None:
    _put(tmp_path, "images/a.nii.gz")
    write_nifti(tmp_path / "labels" / "a.nii.gz", np.arange(300).reshape(10, 10, 3), AFFINE)
    with pytest.raises(DataError, match="found 299 structures, expected at most 255"):
        find_layout(tmp_path)


def test_cases_that_patients_json_does_not_name_go_by_their_names(tmp_path: Path) -> None:
    _put(tmp_path, *(f"{side}/{case}.nii.gz" for side in ("images", "labels") for case in "abc"))
    _json(tmp_path / "patients.json", {"a": "ann", "b": "ann"})
    found = find_layout(tmp_path)
    _whole(found, "pairs", ["a", "b", "c"], ("image",))
    assert found.unmatched == ()
    assert [files.patient for files in found.cases] == ["ann", "ann", "c"]


@pytest.mark.parametrize(
    "key", ["a_0000.nii.gz", "a_0000", "imagesTr/a_0000.nii.gz", "a.nii.gz", "labelsTr/a.nii.gz"]
)
def test_a_file_in_patients_json_is_told_with_the_name_of_its_case(
    tmp_path: Path, key: str
) -> None:
    _put(tmp_path, *(f"imagesTr/{case}_0000.nii.gz" for case in "ab"), "labelsTr/a.nii.gz")
    _put(tmp_path, "labelsTr/b.nii.gz")
    head = {"channel_names": {"0": "CT"}, "labels": {"liver": 1, "tumour": 2}}
    _json(tmp_path / "dataset.json", head)
    _json(tmp_path / "patients.json", {key: "ann", "b": "ann"})
    (problem,) = find_layout(tmp_path).problems
    assert (problem.where, problem.kind) == ("patients.json", "patients")
    assert str(problem).endswith(f"names {key!r}, which is no case. Write 'a' in its place.")


def test_a_name_in_patients_json_that_is_no_case_at_all_is_kept_apart(tmp_path: Path) -> None:
    """ "image.nii.gz" is a file of both cases: nobody can tell which is meant."""
    _put(tmp_path, *(f"{case}/{name}.nii.gz" for case in "ab" for name in ("image", "mask")))
    _json(tmp_path / "patients.json", {"c": "ann", "a": "ann", "image.nii.gz": "bob"})
    found = find_layout(tmp_path)
    _whole(found, "pairs", ["a", "b"], ("image",))
    assert [str(problem) for problem in found.unmatched] == [
        f"patients.json: names {key!r}, which is no case, expected names such as 'a'. "
        "Correct the name, or take it out."
        for key in ("c", "image.nii.gz")
    ]


def test_a_folder_without_any_layout_is_told_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(DataError, match="no layout fits, expected one of nnunet, msd, bids"):
        find_layout(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find_layout(tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "bytes_"), [("1.DCM", b""), ("IM0001", bytes(128) + b"DICM")])
def test_a_folder_of_dicom_files_is_told_how_they_become_cases(
    tmp_path: Path, name: str, bytes_: bytes
) -> None:
    (tmp_path / "ann" / "ct").mkdir(parents=True)
    (tmp_path / "ann" / "ct" / name).write_bytes(bytes_)
    (tmp_path / "bob").mkdir()
    with pytest.raises(DataError, match=r"no layout fits.*scansmith data import-dicom") as told:
        find_layout(tmp_path)
    assert f"DICOM files (ann/ct/{name})" in str(told.value)


def test_images_of_other_kinds_are_named_with_what_to_do(tmp_path: Path) -> None:
    for name in ("images/a.nrrd", "images/b.nrrd", "labels/a.MHA", "images/c.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="no layout fits") as told:
        find_layout(tmp_path)
    assert str(told.value).endswith(
        ". It holds .nrrd files (images/a.nrrd), .jpg files (images/c.jpg), .mha files "
        "(labels/a.MHA). Convert them to NIfTI (PNG for pictures)."
    )
    with pytest.raises(DataError, match=r"\.mha files \(a\.MHA\)\. Convert them"):
        find_layout(tmp_path / "labels")


def test_hidden_files_are_no_cases(tmp_path: Path) -> None:
    _put(tmp_path, "images/a.nii.gz", "labels/a.nii.gz")
    (tmp_path / "images" / "._a.nii.gz").write_bytes(b"macOS")
    (tmp_path / ".cache").mkdir()
    _whole(find_layout(tmp_path), "pairs", ["a"], ("image",))


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("patient001_frame01", "patient001"),
        ("BraTS20_Training_001_lesion1", "BraTS20_Training_001"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("TCGA_DU_8166_19970322", "TCGA_DU_8166"),
        ("liver_000", "liver_000"),
    ],
)
def test_patients_are_told_from_the_names_of_known_sets(case: str, patient: str) -> None:
    assert patient_of(case) == patient


def test_modalities_go_by_short_names() -> None:
    given = ["T1w", "t1ce", "T1Gd", "T2-FLAIR", "cine MRI", "CT", "Some Scan"]
    names = ["t1", "t1c", "t1c", "flair", "mr", "ct", "some_scan"]
    assert [standard_modality(name) for name in given] == names


@pytest.mark.parametrize(
    ("folder", "layout", "cases", "patients", "modalities", "structures"),
    [
        ("brats-cubes", "brats", 249, 247, 4, "necrosis oedema enhancing"),
        ("brats15", "brats", 4, 4, 2, "necrosis oedema non-enhancing enhancing"),
        ("brats20-labelmaps", "brats", 295, 295, 0, "necrosis oedema enhancing"),
        ("heart-acdc", "nnunet", 160, 80, 1, "right_ventricle myocardium left_ventricle"),
        ("hippocampus-msd", "msd", 208, 208, 1, "anterior posterior"),
        ("lgg-tcga", "brats", 80, 80, 3, "tumour"),
        ("liver-lits", "nnunet", 25, 25, 1, "liver tumour"),
    ],
)
def test_real_data_sets_are_found(
    real_data: Path, folder: str, layout: str, cases: int, patients: int, modalities: int,
    structures: str,
) -> None:  # fmt: skip
    found = find_layout(real_data / folder)
    assert (found.layout, len(found.cases), len(found.modalities)) == (layout, cases, modalities)
    assert len({files.patient for files in found.cases}) == patients
    assert " ".join(s.replace(" ", "_") for s in found.table.structures[1:]) == structures
    assert found.problems == ()
    read_scan(found.cases[-1], table=found.table)


def test_real_slices_are_found(real_data: Path) -> None:
    found = find_layout(real_data / "heart-ct-slices")
    assert (found.layout, len(found.cases), len(found.table.values)) == ("slices", 24, 8)
    assert len({files.patient for files in found.cases}) == 5
