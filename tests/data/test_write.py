"""What a writer writes, the reader finds again, the same from any number of threads."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from scansmith.data.layouts import find_layout
from scansmith.data.write import LAYOUT_WRITERS, open_writer
from scansmith.io import read_scan
from scansmith.labels.table import KNOWN, LabelTable
from scansmith.scan import DataError, Scan, SettingsError

LPS = np.array([[-0.8, 0, 0, 90], [0, -0.8, 0, 120], [0, 0, 2.5, -40], [0, 0, 0, 1.0]])
TABLE = LabelTable({1: "liver", 2: "tumour"})


def _unpacked(path: Path) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)


def _scan(case: str, modalities: tuple[str, ...] = ("ct",), patient: str = "") -> Scan:
    number = sum(map(ord, case)) % 7
    image = np.arange(4 * 3 * 2).reshape(4, 3, 2) * 30 - 200 + number
    image = np.stack([image + c for c in range(len(modalities))]).astype(np.int16)
    labels = (np.arange(24).reshape(4, 3, 2) % 3).astype(np.uint8)
    notes = {"description": "made by hand"}
    return Scan(case, image, LPS, modalities, labels, patient or case, notes)


@pytest.mark.parametrize("layout", ["nnunet", "msd", "brats", "mmwhs"])
def test_a_volume_comes_back_from_every_layout(tmp_path: Path, layout: str) -> None:
    writer = open_writer(layout, tmp_path, ("ct",), TABLE, "hand-made")
    names = ("ct_train_1", "ct_train_2")
    for name in names:
        paths = writer.write(_scan(name, patient="ann"))
        assert all(path.is_file() for path in paths)
    writer.close({"note": "by hand"})
    found = find_layout(tmp_path)
    assert (found.layout, found.modalities, found.problems) == (layout, ("ct",), ())
    assert found.table == TABLE
    for files, name in zip(found.cases, names, strict=True):
        scan = read_scan(files, table=found.table)
        np.testing.assert_array_equal(scan.image, _scan(name).image)
        np.testing.assert_array_equal(scan.labels, _scan(name).labels)
        np.testing.assert_allclose(scan.affine, LPS, atol=1e-5)
        assert (files.case, files.patient) == (name, "ann")
        assert nib.load(next(iter(files.images.values()))).header["descrip"] == b"made by hand"
    heads = [json.loads(path.read_text()) for path in tmp_path.glob("d*.json")]
    assert [head["note"] for head in heads] == ["by hand"]


@pytest.mark.parametrize("layout", ["nnunet", "msd", "brats"])
def test_several_modalities_come_back_in_their_order(tmp_path: Path, layout: str) -> None:
    modalities = ("t1", "t1c", "flair")
    writer = open_writer(layout, tmp_path, modalities, TABLE)
    writer.write(_scan("ann", modalities))
    writer.close()
    found = find_layout(tmp_path)
    assert found.modalities == modalities
    np.testing.assert_array_equal(read_scan(found.cases[0]).image, _scan("ann", modalities).image)


def test_nnunet_gets_consecutive_values_under_the_same_names(tmp_path: Path) -> None:
    scan = _scan("ann")
    labels = np.array([0, 205, 820])[scan.labels]
    writer = open_writer("nnunet", tmp_path, ("ct",), KNOWN["mmwhs"])
    writer.write(Scan("ann", scan.image, LPS, ("ct",), labels))
    writer.close()
    head = json.loads((tmp_path / "dataset.json").read_text())
    assert list(head["labels"].values()) == list(range(8))
    found = find_layout(tmp_path)
    assert found.table.structures == KNOWN["mmwhs"].structures
    # Myocardium (205) is the first structure, the aorta (820) the sixth.
    back = read_scan(found.cases[0], table=found.table).labels
    np.testing.assert_array_equal(back, np.array([0, 1, 6])[scan.labels])


def test_a_name_that_mmwhs_would_not_find_gets_its_prefix(tmp_path: Path) -> None:
    writer = open_writer("mmwhs", tmp_path, ("ct",), KNOWN["mmwhs"])
    labels = np.where(_scan("heart_1").labels == 1, 820, 0)
    writer.write(Scan("heart_1", _scan("heart_1").image, LPS, ("ct",), labels))
    writer.close()
    found = find_layout(tmp_path)
    assert [files.case for files in found.cases] == ["ct_train_heart_1"]
    assert np.unique(read_scan(found.cases[0]).labels).tolist() == [0, 820]


def test_slices_are_axial_and_keep_raw_values_and_place(tmp_path: Path) -> None:
    scan = _scan("ann")
    # The same scan stored head first and left to right: RAI instead of LPS.
    turned = Scan(
        "ann", scan.image[:, ::-1, :, ::-1],
        LPS @ np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, -1, 1], [0, 0, 0, 1.0]]),
        ("ct",), scan.labels[::-1, :, ::-1],
    )  # fmt: skip
    writer = open_writer("slices", tmp_path, ("ct",), TABLE)
    writer.write(turned)
    writer.close()
    found = find_layout(tmp_path)
    assert (found.layout, found.modalities, found.table) == ("slices", ("ct",), TABLE)
    assert [(files.case, files.patient) for files in found.cases] == [
        ("ann_000", "ann"), ("ann_001", "ann"),
    ]  # fmt: skip
    for k, files in enumerate(found.cases):
        back = read_scan(files, table=TABLE)
        np.testing.assert_array_equal(back.image[0, :, :, 0], scan.image[0, :, :, k])
        np.testing.assert_array_equal(back.labels[:, :, 0], scan.labels[:, :, k])
        np.testing.assert_allclose(back.affine @ [1, 2, 0, 1], LPS @ [1, 2, k, 1])
    with Image.open(tmp_path / "images" / "ann_000.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.dtype == np.uint16
    assert pixels[0, 1] == scan.image[0, 1, 0, 0] + 1024  # second pixel of the first row, in HU


def test_eight_bit_slices_stay_eight_bit_and_keep_their_names(tmp_path: Path) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 4, 3, 1)
    affine = np.diag([-1.0, -1, 1, 1])
    writer = open_writer("slices", tmp_path, ("image",), TABLE)
    writer.write(Scan("1001_179", image, affine, ("image",), image[0] % 3))
    writer.close()
    with Image.open(tmp_path / "images" / "1001_179.png") as picture:
        assert picture.mode == "L"
    found = find_layout(tmp_path)
    assert [(files.case, files.patient) for files in found.cases] == [("1001_179", "1001")]


def test_fractions_in_slices_are_within_a_65535th_of_their_range(tmp_path: Path) -> None:
    image = np.linspace(-3, 5, 24, dtype=np.float32).reshape(1, 4, 3, 2)
    writer = open_writer("slices", tmp_path, ("mr",), TABLE)
    writer.write(Scan("ann", image, LPS, ("mr",)))
    back = read_scan(tmp_path / "images" / "ann_001.png").image[0, :, :, 0]
    np.testing.assert_allclose(back, image[0, :, :, 1], atol=8 / 65535)


def test_ct_is_stored_as_whole_hounsfield_units(tmp_path: Path) -> None:
    scan = _scan("ann")
    writer = open_writer("nnunet", tmp_path, ("ct",), TABLE)
    image, _ = writer.write(Scan("ann", scan.image + np.float32(0.4), LPS, ("ct",), scan.labels))
    assert nib.load(image).get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(nib.load(image).dataobj), scan.image[0])


def test_threads_write_the_same_bytes_as_one_after_another(tmp_path: Path) -> None:
    names = [f"case_{number}" for number in range(12)]
    for root, threads in (("one", 1), ("four", 4)):
        writer = open_writer("nnunet", tmp_path / root, ("ct",), TABLE, "set")
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(writer.write, map(_scan, names)))
        writer.close()
    for path in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
        other = tmp_path / "four" / path.relative_to(tmp_path / "one")
        if path.name.endswith(".gz"):  # says where, which the packed bytes do not
            differ = np.flatnonzero(np.not_equal(*map(_unpacked, (path, other))))
            assert not differ.size, f"{path.name}: byte {differ[0]} of {_unpacked(path).size}"
        assert path.read_bytes() == other.read_bytes(), path.name


def test_a_second_writer_describes_what_the_first_has_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        writer = open_writer("msd", tmp_path, ("ct",), TABLE)
        writer.write(_scan(name, patient="ann"))
        writer.close()
    head = json.loads((tmp_path / "dataset.json").read_text())
    assert head["numTraining"] == 2
    assert {files.patient for files in find_layout(tmp_path).cases} == {"ann"}


@pytest.mark.parametrize("layout", LAYOUT_WRITERS)
def test_unknown_values_and_modalities_are_refused_before_anything_is_written(
    tmp_path: Path, layout: str
) -> None:
    writer = open_writer(layout, tmp_path, ("ct",), TABLE)
    scan = _scan("ann")
    with pytest.raises(DataError, match="unknown value 9"):
        writer.write(Scan("ann", scan.image, LPS, ("ct",), scan.labels * 9))
    with pytest.raises(DataError, match="modalities t1, expected ct"):
        writer.write(_scan("ann", ("t1",)))
    for name in ("../ann", "a/b", "", ".hidden"):
        with pytest.raises(DataError, match="is no file name"):
            writer.write(Scan(name, scan.image, LPS, ("ct",), scan.labels))
    assert not list(tmp_path.iterdir())


def test_layouts_that_cannot_hold_the_data_say_so(tmp_path: Path) -> None:
    for layout in ("slices", "mmwhs"):
        with pytest.raises(DataError, match="one modality"):
            open_writer(layout, tmp_path, ("t1", "t2"), TABLE).write(_scan("a", ("t1", "t2")))
    with pytest.raises(SettingsError, match=r"'bids' cannot be written\. Choose one of nnunet"):
        open_writer("bids", tmp_path, ("ct",), TABLE)
