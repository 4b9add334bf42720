"""NIfTI: what is written comes back, the same bytes each time; what is broken is named."""

from __future__ import annotations

import gzip
import struct
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scansmith.io.nifti import read_nifti, write_nifti
from scansmith.scan import DataError, RunError

AFFINE = np.array([[-0.8, 0, 0, 90], [0, -0.8, 0, 120], [0, 0, 2.5, -40], [0, 0, 0, 1.0]])


def _volume(dtype: type = np.int16) -> np.ndarray:
    return np.arange(4 * 3 * 2).reshape(4, 3, 2).astype(dtype)


def _kind(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_nifti(path)
    (problem,) = caught.value.problems
    assert problem.where == path.name
    return problem.kind


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_a_volume_comes_back_as_it_was_written(tmp_path: Path, name: str, dtype: type) -> None:
    path = write_nifti(tmp_path / name, _volume(dtype), AFFINE)
    array, affine = read_nifti(path)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, _volume(dtype))
    np.testing.assert_allclose(affine, AFFINE, atol=1e-5)


def test_nibabel_reads_what_we_write_and_we_read_what_nibabel_writes(tmp_path: Path) -> None:
    theirs = nib.load(write_nifti(tmp_path / "ours.nii.gz", _volume(), AFFINE, "made by hand"))
    np.testing.assert_array_equal(np.asarray(theirs.dataobj), _volume())
    assert theirs.header["descrip"].item() == b"made by hand"
    assert theirs.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(theirs.header.get_qform(), AFFINE, atol=1e-4)
    nib.save(nib.Nifti2Image(_volume(np.float64), AFFINE), tmp_path / "theirs.nii.gz")
    array, affine = read_nifti(tmp_path / "theirs.nii.gz")
    np.testing.assert_array_equal(array, _volume())
    np.testing.assert_allclose(affine, AFFINE)


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_volume(), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(image, tmp_path / "old.nii")
    array, _ = read_nifti(tmp_path / "old.nii")
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, _volume())


def test_slope_and_intercept_of_the_header_are_applied(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scaled.nii", _volume(np.int16) - 1, AFFINE)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", 2, -1024)  # scl_slope, scl_inter
    path.write_bytes(content)
    np.testing.assert_array_equal(read_nifti(path)[0], (_volume() - 1) * 2.0 - 1024)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one = write_nifti(tmp_path / "one.nii.gz", _volume(), AFFINE, "text").read_bytes()
    other = write_nifti(tmp_path / "other.nii.gz", _volume(), AFFINE, "text").read_bytes()
    assert one == other


@pytest.mark.parametrize("noise", [0.0, 1e-17, -1e-17, 1e-300, -1e-300])
def test_a_half_turn_is_written_with_one_sign(tmp_path: Path, noise: float) -> None:
    # AFFINE turns by 180 degrees round the third axis: q = (0, 0, 0, 1), and -q is the same turn.
    affine = AFFINE.copy()
    affine[0, 2] = noise
    header = nib.load(write_nifti(tmp_path / "a.nii", _volume(), affine)).header
    quaternion = header["quatern_b"], header["quatern_c"], header["quatern_d"]
    assert [np.float32(value).tobytes() for value in quaternion] == [
        np.float32(value).tobytes() for value in (0, 0, 1)
    ]
    np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 1e-17, -1e-17])
def test_a_half_turn_round_a_diagonal_has_one_sign_too(tmp_path: Path, noise: float) -> None:
    # Round u = (1, -1, 0) / sqrt 2: 2 u u^T - 1; the quaternion is (0, u), b above 0.
    turn = [[noise, -1, noise, 5], [-1, -noise, 0, 6], [0, noise, -1, 7], [0, 0, 0, 1.0]]
    header = nib.load(write_nifti(tmp_path / "a.nii", _volume(), np.array(turn))).header
    quaternion = [header["quatern_b"], header["quatern_c"], header["quatern_d"]]
    np.testing.assert_allclose(quaternion, [0.5**0.5, -(0.5**0.5), 0], atol=1e-6)
    np.testing.assert_allclose(header.get_qform(), turn, atol=1e-5)


def test_any_other_turn_keeps_its_sign(tmp_path: Path) -> None:
    # By 190 degrees round the first axis: a half turn and ten degrees, cos 190 = -cos 10.
    cos, sin = np.cos(np.deg2rad(190)), np.sin(np.deg2rad(190))
    turn = [[1, 0, 0, 5], [0, cos, -sin, 6], [0, sin, cos, 7], [0, 0, 0, 1.0]]
    header = nib.load(write_nifti(tmp_path / "a.nii", _volume(), np.array(turn))).header
    # a = cos 95 is below zero, so -q is written: b = -sin 95.
    assert header["quatern_b"] == pytest.approx(-np.sin(np.deg2rad(95)), abs=1e-6)
    np.testing.assert_allclose(header.get_qform(), turn, atol=1e-5)


def test_wide_whole_numbers_take_the_smallest_type_and_bools_become_bytes(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii"
    for array, expected in [
        (_volume(np.int64), np.uint8),
        (_volume(np.int64) - 1000, np.int16),
        (_volume(np.uint32) * 10**6, np.int32),
        (_volume() > 5, np.uint8),
        (_volume(np.float64), np.float32),
    ]:
        assert read_nifti(write_nifti(path, array, AFFINE))[0].dtype == expected


def test_a_description_that_does_not_fit_the_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="80 bytes, a NIfTI header holds 79"):
        write_nifti(tmp_path / "scan.nii", _volume(), AFFINE, "x" * 80)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [10, 200, -30, -4])
def test_a_truncated_gzip_file_is_told_as_such(tmp_path: Path, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (9, 8, 7)).astype(np.int16)
    path = write_nifti(tmp_path / "scan.nii.gz", noise, AFFINE)
    path.write_bytes(path.read_bytes()[:keep])
    assert _kind(path) == "truncated"


def test_a_short_uncompressed_file_is_told_as_truncated(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii", _volume(), AFFINE)
    path.write_bytes(path.read_bytes()[:-1])
    assert _kind(path) == "truncated"


def test_a_flipped_bit_in_a_gzip_file_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (9, 8, 7)).astype(np.int16)
    path = write_nifti(tmp_path / "scan.nii.gz", noise, AFFINE)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum at the end
    path.write_bytes(content)
    assert _kind(path) == "unreadable"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is a letter, not a scan" * 40,
        gzip.compress(b"nor is this" * 99),
        b"\x5c\x01\0\0",
    ],
    ids=["empty", "text", "gzipped text", "start of a header"],
)
@pytest.mark.parametrize("name", ["letter.nii", "letter.nii.gz"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert _kind(tmp_path / name) in ("unreadable", "truncated")


def test_a_volume_without_slices_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii", _volume(), AFFINE)
    content = bytearray(path.read_bytes())
    content[46:48] = struct.pack("<h", 0)  # dim[3]
    path.write_bytes(content)
    assert _kind(path) == "empty"


def test_coloured_voxels_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((4, 3, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, AFFINE), tmp_path / "colour.nii.gz")
    assert _kind(tmp_path / "colour.nii.gz") == "channels"


def test_an_affine_without_volume_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "flat.nii", _volume(), AFFINE)
    content = bytearray(path.read_bytes())
    content[312:328] = struct.pack("<ffff", 0, 0, 0, 0)  # third row of the sform
    path.write_bytes(content)
    assert _kind(path) == "geometry"


def test_a_file_that_is_not_there_is_told_as_missing(tmp_path: Path) -> None:
    assert _kind(tmp_path / "nowhere.nii.gz") == "missing"


def test_a_folder_in_the_way_leaves_no_half_written_file(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz" / "inside").mkdir(parents=True)
    with pytest.raises(RunError, match="could not be written"):
        write_nifti(tmp_path / "scan.nii.gz", _volume(), AFFINE)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_a_reader_never_sees_half_a_file_while_another_thread_writes(tmp_path: Path) -> None:
    path, stop = tmp_path / "scan.nii.gz", threading.Event()
    write_nifti(path, _volume(), AFFINE)

    def rewrite() -> None:
        while not stop.is_set():
            write_nifti(path, _volume(), AFFINE)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(20):
            np.testing.assert_array_equal(read_nifti(path)[0], _volume())
    finally:
        stop.set()
        writer.join()
    assert [each.name for each in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_a_header_that_lies_about_its_size_is_refused_without_taking_memory(tmp_path: Path) -> None:
    for name in ("scan.nii", "scan.nii.gz"):
        path = write_nifti(tmp_path / "plain.nii", _volume(), AFFINE)
        content = bytearray(path.read_bytes())
        content[42:48] = struct.pack("<hhh", 32767, 32767, 32767)  # 64 terabytes of int16
        packed = gzip.compress(content) if name.endswith("gz") else bytes(content)
        (tmp_path / name).write_bytes(packed)
        assert _kind(tmp_path / name) == "truncated"


def test_no_damage_to_a_header_escapes_as_another_error(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "scan.nii"
    whole = write_nifti(path, _volume(), AFFINE).read_bytes()
    refused = 0
    for _ in range(200):
        content = bytearray(whole)
        for place in rng.integers(0, 348, 4):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            read_nifti(path)
        except DataError:
            refused += 1
    assert refused > 20
