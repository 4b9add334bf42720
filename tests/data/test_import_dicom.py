"""Importing a series: a proper case, and nothing in its bytes that says who it is."""

from __future__ import annotations

import gzip
import importlib.util
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scansmith.data.check import check
from scansmith.data.import_dicom import import_dicom
from scansmith.data.layouts import find_layout
from scansmith.io import read_scan
from scansmith.io.atomic import alone
from scansmith.io.nifti import write_nifti
from scansmith.scan import DataError, RunError


@pytest.fixture(scope="session")
def dicom() -> ModuleType:
    path = Path(__file__).parents[1] / "io" / "dicom_series.py"
    spec = importlib.util.spec_from_file_location("dicom_series", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _masks(folder: Path, slices: int = 3, white: int = 255) -> Path:
    """A PNG a slice, named after the patient, with text chunks that name her too."""
    from PIL.PngImagePlugin import PngInfo

    folder.mkdir(parents=True)
    for number in range(1, slices + 1):
        mask = np.zeros((5, 4), dtype=np.uint8)
        mask[number, 1:3] = white
        text = PngInfo()
        text.add_text("Author", "Erika Mustermann 19470815")
        Image.fromarray(mask).save(folder / f"Mustermann_{number:03}.png", pnginfo=text)
    return folder


def test_a_series_becomes_a_case_that_lies_where_the_series_lay(
    tmp_path: Path, dicom: ModuleType
) -> None:
    series = dicom.write_series(tmp_path / "series")
    image = import_dicom(series, _masks(tmp_path / "masks"), tmp_path / "out")
    assert image == tmp_path / "out" / "imagesTr" / "case_0001_0000.nii.gz"
    found = find_layout(tmp_path / "out")
    assert (found.layout, found.modalities) == ("nnunet", ("ct",))
    scan = read_scan(found.cases[0], table=found.table)
    # Slice k of the body is file number 3 - k; its mask has a bar in row 3 - k.
    for k in range(3):
        np.testing.assert_array_equal(scan.image[0, :, :, k].T, dicom.stored(k).astype(int) - 1024)
        assert np.argwhere(scan.labels[:, :, k]).tolist() == [[1, 3 - k], [2, 3 - k]]
    np.testing.assert_allclose(scan.spacing_mm, (0.7, 0.5, 2.0), rtol=1e-6)
    np.testing.assert_allclose(scan.affine @ [3, 2, 1, 1], [7.9, 19.0, 32.0, 1], rtol=1e-6)


def _all_bytes(root: Path) -> bytes:
    """Names and contents of all files, as they are and decompressed in every way they may be."""
    found = b""
    for path in root.rglob("*"):
        found += str(path.relative_to(root)).encode() + b"\n"
        if not path.is_file():
            continue
        content = path.read_bytes()
        found += content
        if content[:2] == b"\x1f\x8b":
            found += gzip.decompress(content)
        for start in range(len(content)):
            if content[start : start + 1] == b"\x78":  # a zlib stream may start here
                try:
                    found += zlib.decompressobj().decompress(content[start:])
                except zlib.error:
                    continue
    return found


@pytest.mark.parametrize("form", ["png", "nifti", "dicom-seg"])
def test_no_name_date_id_or_uid_survives(tmp_path: Path, dicom: ModuleType, form: str) -> None:
    series = dicom.write_series(tmp_path / "Mustermann" / "19470815" / "series")
    masks = _masks(tmp_path / "Mustermann" / "masks")
    if form == "nifti":
        labels = np.zeros((4, 5, 3), dtype=np.uint8)
        labels[1, 2, 0] = 1
        affine = np.diag([-0.7, -0.5, 2.0, 1.0])
        affine[:3, 3] = (10, 20, 30)
        masks = write_nifti(tmp_path / "PID-4711.nii.gz", labels, affine, "Erika Mustermann")
    if form == "dicom-seg":
        masks = _segmentation(tmp_path / "PID-4711.dcm", series)
    out = tmp_path / "out"
    import_dicom(series, masks, out)
    written = _all_bytes(out)
    assert b"case_0001" in written
    for secret in (*dicom.SECRETS, dicom.UID, "SECRET OWNER", "1.2.4", "Erika"):
        for coded in (secret.encode(), secret.encode("utf-16-le"), secret.lower().encode()):
            assert coded not in written, secret


def test_the_search_for_secrets_would_find_them(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"ab" + zlib.compress(b"Mustermann") + b"c")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"19470815"))
    assert b"Mustermann" in _all_bytes(tmp_path)
    assert b"19470815" in _all_bytes(tmp_path)


def test_the_sidecar_holds_the_allowed_attributes_and_no_other(
    tmp_path: Path, dicom: ModuleType
) -> None:
    series = dicom.write_series(tmp_path / "series")
    import_dicom(series, _masks(tmp_path / "masks"), tmp_path / "out")
    sidecar = json.loads((tmp_path / "out" / "sidecars" / "case_0001.json").read_text())
    assert sidecar == {
        "Modality": "CT", "Manufacturer": "siemens", "PatientPosition": "HFS", "KVP": 120.0,
        "SliceThickness": 5.0, "spacing_mm": [0.7, 0.5, 2.0], "shape": [4, 5, 3],
    }  # fmt: skip


def test_an_id_in_the_place_of_an_allowed_number_does_not_pass(
    tmp_path: Path, dicom: ModuleType
) -> None:
    def disguise(k: int, one: Any) -> None:
        one.KVP, one.PatientPosition, one.Manufacturer = 20031225, "ERIKA", "Mustermann Inc"
        one.SliceThickness = 1 + k  # slices disagree: nothing can be said of the series

    series = dicom.write_series(tmp_path / "series", change=disguise)
    import_dicom(series, _masks(tmp_path / "masks"), tmp_path / "out")
    sidecar = json.loads((tmp_path / "out" / "sidecars" / "case_0001.json").read_text())
    assert set(sidecar) == {"Modality", "spacing_mm", "shape"}


def test_cases_are_numbered_and_share_one_label_table(tmp_path: Path, dicom: ModuleType) -> None:
    series = dicom.write_series(tmp_path / "series")
    masks, out = _masks(tmp_path / "masks"), tmp_path / "out"
    import_dicom(series, masks, out, structures={1: "Liver"})
    other = dicom.write_series(
        tmp_path / "other", change=lambda k, one: setattr(one, "RescaleIntercept", -1000)
    )
    image = import_dicom(other, masks, out)  # the data set knows that 1 is the liver
    assert image.name == "case_0002_0000.nii.gz"
    assert find_layout(out).table.names == {0: "background", 1: "liver"}
    assert check(out).ok


def test_a_data_set_that_another_process_begins_meanwhile_is_no_strange_folder(
    tmp_path: Path, dicom: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = dicom.write_series(tmp_path / "series")
    labels = np.zeros((4, 5, 3), dtype=np.uint8)
    labels[1, 2, 0] = 1
    affine = np.diag([-0.7, -0.5, 2.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    masks = write_nifti(tmp_path / "masks.nii.gz", labels, affine)
    import_dicom(series, masks, tmp_path / "other", {1: "liver"})
    begun, out = (tmp_path / "other" / "dataset.json").read_bytes(), tmp_path / "out"
    out.mkdir()
    iterdir = Path.iterdir

    def begins(path: Path) -> Iterator[Path]:
        if path == out:
            (out / "dataset.json").write_bytes(begun)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", begins)
    assert import_dicom(series, masks, out, {1: "liver"}).name == "case_0001_0000.nii.gz"


def test_imports_at_the_same_moment_become_cases_of_their_own(
    tmp_path: Path, dicom: ModuleType
) -> None:
    # Each has a structure of its own, in one voxel: at the end the table must hold all four, and
    # every case must be labelled with the one it was imported with.
    out, names = tmp_path / "out", ["liver", "spleen", "kidney", "aorta"]
    affine = np.diag([-0.7, -0.5, 2.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    parts = []
    for n in range(4):
        labels = np.zeros((4, 5, 3), dtype=np.uint8)
        labels[1, 2, 0] = 11 + n
        parts.append(write_nifti(tmp_path / f"{n}.nii.gz", labels, affine))
    series = [
        dicom.write_series(
            tmp_path / f"series_{n}",
            change=lambda k, one, n=n: setattr(one, "RescaleIntercept", -1000 - n),
        )
        for n in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(import_dicom, series[n], parts[n], out, {11 + n: names[n]})
            for n in range(4)
        ]
        images = [job.result() for job in jobs]
    assert sorted(image.name for image in images) == [
        f"case_000{n}_0000.nii.gz" for n in range(1, 5)
    ]
    found = find_layout(out)
    assert set(found.table.names.values()) == {"background", *names}
    seen = {}
    for files in found.cases:
        scan = read_scan(files, table=found.table)
        (value,) = set(np.unique(scan.labels)) - {0}
        seen[int(scan.image.min())] = found.table.names[int(value)]
    assert len(seen) == 4
    assert [seen[level] for level in sorted(seen, reverse=True)] == names
    assert not list(out.glob(".*"))


def test_a_data_set_that_is_always_busy_is_told(tmp_path: Path) -> None:
    (tmp_path / ".busy").touch()
    with pytest.raises(RunError, match=r"another process writes there.*remove the file \.busy"):  # noqa: SIM117
        with alone(tmp_path, patience_s=0.1):
            pass
    assert (tmp_path / ".busy").exists()


def test_codes_of_several_imports_become_the_same_consecutive_values(
    tmp_path: Path, dicom: ModuleType
) -> None:
    series, masks, out = dicom.write_series(tmp_path / "series"), tmp_path / "masks", tmp_path / "o"
    _masks(masks, white=126)
    picture = np.zeros((5, 4), dtype=np.uint8)
    picture[0, 0] = 63
    Image.fromarray(picture).save(masks / "Mustermann_001.png")
    for _ in range(2):
        import_dicom(series, masks, out)
    found = find_layout(out)
    assert found.table.names == {0: "background", 1: "label 63", 2: "label 126"}
    for files in found.cases:
        labels = read_scan(files, table=found.table).labels
        assert [int((labels == value).sum()) for value in (1, 2)] == [1, 4]


def test_names_that_contradict_the_data_set_are_refused(tmp_path: Path, dicom: ModuleType) -> None:
    series, masks = dicom.write_series(tmp_path / "series"), _masks(tmp_path / "masks")
    import_dicom(series, masks, tmp_path / "out", structures={1: "liver"})
    with pytest.raises(DataError, match="label 1 is 'spleen' here and 'liver' there"):
        import_dicom(series, masks, tmp_path / "out", structures={1: "spleen"})
    assert len(find_layout(tmp_path / "out").cases) == 1


def _nifti(path: Path, **codes: int) -> Path:
    """Masks on the series' grid with one voxel of each code, in row 2 of slice 1: column=code."""
    labels = np.zeros((4, 5, 3), dtype=np.uint8)
    for column, code in codes.items():
        labels["abcd".index(column), 2, 1] = code
    affine = np.diag([-0.7, -0.5, 2.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    return write_nifti(path, labels, affine)


def _structures(out: Path) -> list[list[str]]:
    """What lies in columns a to d of row 2 of slice 1, by name, in each case."""
    found = find_layout(out)
    scans = [read_scan(files, table=found.table) for files in found.cases]
    return [[found.table.names[value] for value in scan.labels[:, 2, 1]] for scan in scans]


def _series(dicom: ModuleType, folder: Path, number: int) -> Path:
    """Series that differ in their greys."""
    return dicom.write_series(
        folder, change=lambda k, one: setattr(one, "RescaleIntercept", -1000 - number)
    )


NONE = "background"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({}, {}, ("label 1", "label 2", "label 3")),
        ({1: "liver", 3: "tumour"}, {2: "vessel"}, ("liver", "vessel", "tumour")),
        ({1: "liver", 3: "tumour"}, {3: "tumor", 2: "liver"}, ("liver", "liver", "tumour")),
    ],
)
def test_values_mean_what_they_meant_in_earlier_masks(
    tmp_path: Path,
    dicom: ModuleType,
    first: dict[int, str],
    second: dict[int, str],
    expected: tuple[str, str, str],
) -> None:
    """The first masks hold 1 and 3 alone, which become 1 and 2 in the data set."""
    out = tmp_path / "out"
    import_dicom(
        _series(dicom, tmp_path / "a", 0), _nifti(tmp_path / "a.nii.gz", a=1, c=3), out, first
    )
    import_dicom(
        _series(dicom, tmp_path / "b", 1), _nifti(tmp_path / "b.nii.gz", a=1, b=2, c=3), out, second
    )
    assert _structures(out) == [[expected[0], NONE, expected[2], NONE], [*expected, NONE]]
    assert check(out).ok


def test_a_structure_that_is_alone_in_a_patients_pictures_keeps_its_name(
    tmp_path: Path, dicom: ModuleType
) -> None:
    out, names = tmp_path / "out", {1: "liver", 2: "tumour"}
    import_dicom(
        _series(dicom, tmp_path / "a", 0), _nifti(tmp_path / "a.nii.gz", a=1, b=2), out, names
    )
    masks = _masks(tmp_path / "masks", white=2)
    for given in (names, None):
        import_dicom(_series(dicom, tmp_path / str(given), len(given or ())), masks, out, given)
    found = find_layout(out)
    for files in found.cases[1:]:
        labels = read_scan(files, table=found.table).labels
        assert {found.table.names[value] for value in np.unique(labels)} == {NONE, "tumour"}


def test_white_that_earlier_masks_had_as_a_code_stays_that_code(
    tmp_path: Path, dicom: ModuleType
) -> None:
    out = tmp_path / "out"
    masks = _nifti(tmp_path / "a.nii.gz", a=1, b=255)
    import_dicom(_series(dicom, tmp_path / "a", 0), masks, out, {1: "liver", 255: "tumour"})
    import_dicom(_series(dicom, tmp_path / "b", 1), _masks(tmp_path / "masks"), out)
    assert _structures(out)[1] == [NONE, "tumour", "tumour", NONE]


def test_a_structure_that_was_renamed_since_is_still_the_same(
    tmp_path: Path, dicom: ModuleType
) -> None:
    out = tmp_path / "out"
    masks = _nifti(tmp_path / "a.nii.gz", a=7)
    import_dicom(_series(dicom, tmp_path / "a", 0), masks, out)
    text = (out / "dataset.json").read_text()
    (out / "dataset.json").write_text(text.replace("label 7", "spleen"))
    import_dicom(_series(dicom, tmp_path / "b", 1), masks, out)
    assert _structures(out) == [["spleen", NONE, NONE, NONE]] * 2


def test_a_data_set_that_does_not_tell_what_masks_values_mean_wants_names(
    tmp_path: Path, dicom: ModuleType
) -> None:
    out = tmp_path / "out"
    import_dicom(
        _series(dicom, tmp_path / "a", 0), _nifti(tmp_path / "a.nii.gz", a=5), out, {5: "liver"}
    )
    head = json.loads((out / "dataset.json").read_text())
    assert head.pop("mask_values") == {"5": 1}
    (out / "dataset.json").write_text(json.dumps(head))
    other, masks = _series(dicom, tmp_path / "b", 1), _nifti(tmp_path / "b.nii.gz", a=1, b=2)
    with pytest.raises(DataError) as caught:
        import_dicom(other, masks, out)
    assert [str(problem) for problem in caught.value.problems] == [
        f"masks: nothing says what label {value} is; named are none, the data set has liver. "
        f"Name it (--structure {value}=NAME)."
        for value in (1, 2)
    ]
    import_dicom(other, masks, out, {1: "tumour", 2: "Liver"})
    assert _structures(out) == [["liver", NONE, NONE, NONE], ["tumour", "liver", NONE, NONE]]


def test_names_of_which_none_occurs_are_refused(tmp_path: Path, dicom: ModuleType) -> None:
    series, masks = dicom.write_series(tmp_path / "series"), _masks(tmp_path / "m", white=128)
    with pytest.raises(DataError, match="nothing says what label 128 is; named are 1, the data"):
        import_dicom(series, masks, tmp_path / "out", {1: "liver"})
    assert not (tmp_path / "out").exists()


def test_segments_are_matched_by_their_terms_whatever_their_numbers(
    tmp_path: Path, dicom: ModuleType
) -> None:
    """In the masks 1 is a tumour; in the segmentation, whose numbers are its own, the liver."""
    out = tmp_path / "out"
    masks = _nifti(tmp_path / "a.nii.gz", a=1, b=2)
    import_dicom(_series(dicom, tmp_path / "a", 0), masks, out, {1: "tumour", 2: "liver"})
    series = _series(dicom, tmp_path / "b", 1)
    import_dicom(series, _segmentation(tmp_path / "seg.dcm", series), out)
    import_dicom(_series(dicom, tmp_path / "c", 2), masks, out)
    first = ["tumour", "liver", NONE, NONE]
    assert _structures(out) == [first, [NONE, NONE, "liver", NONE], first]


@pytest.mark.parametrize(
    ("labels", "codes", "told"),
    [
        ({"liver": 1}, {"1": 2}, "not of the form value in masks: label value"),
        ({"liver": 1}, [1], "not of the form value in masks: label value"),
        ({"liver": 1, "tumour": 4}, {"1": 1}, r"label values \[0, 1, 4\], expected 0, 1, 2"),
    ],
)
def test_a_data_set_file_that_cannot_be_is_refused(
    tmp_path: Path, dicom: ModuleType, labels: object, codes: object, told: str
) -> None:
    series, masks, out = dicom.write_series(tmp_path / "s"), _masks(tmp_path / "m"), tmp_path / "o"
    out.mkdir()
    head = {"channel_names": {"0": "CT"}, "labels": labels, "mask_values": codes}
    (out / "dataset.json").write_text(json.dumps(head))
    with pytest.raises(DataError, match=told):
        import_dicom(series, masks, out, {1: "liver"})
    assert json.loads((out / "dataset.json").read_text()) == head


def test_an_mr_series_does_not_join_a_ct_data_set(tmp_path: Path, dicom: ModuleType) -> None:
    series, masks = dicom.write_series(tmp_path / "series"), _masks(tmp_path / "masks")
    import_dicom(series, masks, tmp_path / "out")
    other = dicom.write_series(
        tmp_path / "other", change=lambda k, one: setattr(one, "Modality", "MR")
    )
    with pytest.raises(DataError, match="the data set has ct, the series mr"):
        import_dicom(other, masks, tmp_path / "out")


@pytest.mark.parametrize(
    ("slices", "white", "told"), [(2, 255, "2 masks for 3 slices"), (3, 0, "nothing is labelled")]
)
def test_nothing_is_written_when_the_masks_are_wrong(
    tmp_path: Path, dicom: ModuleType, slices: int, white: int, told: str
) -> None:
    series = dicom.write_series(tmp_path / "series")
    with pytest.raises(DataError, match=told):
        import_dicom(series, _masks(tmp_path / "masks", slices, white), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, dicom: ModuleType) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("do not touch")
    with pytest.raises(DataError, match="the folder holds other things"):
        import_dicom(
            dicom.write_series(tmp_path / "series"), _masks(tmp_path / "masks"), tmp_path / "out"
        )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_real_series_has_liver_where_the_masks_say(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "liver-dicom"
    import_dicom(source / "dicom", source / "mask", tmp_path / "out", structures={1: "liver"})
    found = find_layout(tmp_path / "out")
    scan = read_scan(found.cases[0], table=found.table)
    assert scan.image.shape == (1, 512, 512, 20)
    assert np.median(scan.image[0][scan.labels == 1]) == 144  # HU, as the data's manifest has it
    assert b"CHAOS" not in _all_bytes(tmp_path / "out" / "sidecars")


def _segmentation(path: Path, series: Path) -> Path:
    import highdicom
    from pydicom.sr.codedict import codes

    from scansmith.io.dicom import open_series

    slices = open_series(series).slices
    labels = np.zeros((3, 5, 4), dtype=np.uint8)
    labels[1, 2, 2] = 1
    segment = highdicom.seg.SegmentDescription(
        1, "Liver of Mustermann", codes.SCT.Organ, codes.SCT.Liver,
        highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )  # fmt: skip
    highdicom.seg.Segmentation(
        slices, labels, "BINARY", [segment], "1.2.4", 7, "1.2.5", 1, "maker", "model", "1", "0815",
        content_creator_name="Mustermann^Erika",
    ).save_as(path)  # fmt: skip
    return path
