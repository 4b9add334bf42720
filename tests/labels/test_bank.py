"""The lesion bank: what is cut, drawn, saved, and what a crafted file meets."""

from __future__ import annotations

import contextlib
import io
import zipfile

import numpy as np
import pytest

from scansmith.labels.bank import Lesion, LesionBank, cropped, cut_lesions, same_shape
from scansmith.scan import DataError

SPACING_MM = (5.0, 1.0, 2.0)  # 10 mm3 a voxel


def map_with_two_lesions():
    labels = np.full((4, 9, 9), 1, dtype=np.uint8)  # all organ
    labels[1, 1:4, 1:4] = 2
    labels[1, 2, 2] = 3  # a core in a rim
    labels[2, 4, 4] = 2  # touches the first by a corner
    labels[2, 7, 6:9] = 3  # at the end of the grid
    return labels


def small_bank():
    return LesionBank(
        cut_lesions(map_with_two_lesions(), (2, 3), SPACING_MM, "case_é"),
        ("background", "organ", "rim", "core"),
    )


def test_lesions_are_cut_with_their_structures_and_corners_connect():
    first, second = cut_lesions(map_with_two_lesions(), (2, 3), SPACING_MM, "a")
    assert first.labels.shape == (2, 4, 4)
    assert first.labels[0].tolist() == [[2, 2, 2, 0], [2, 3, 2, 0], [2, 2, 2, 0], [0, 0, 0, 0]]
    assert first.labels[1, 3, 3] == 2
    assert first.voxels == 10
    assert first.volume_mm3 == 100.0
    assert second.labels.tolist() == [[[3, 3, 3]]]
    assert second.spacing_mm == SPACING_MM
    assert second.case == "a"


def test_a_neighbour_inside_the_box_of_a_lesion_is_not_cut_with_it():
    labels = np.zeros((5, 5), dtype=np.uint8)
    labels[0, :] = labels[:, 0] = 1
    labels[3, 3] = 1
    first, _ = cut_lesions(labels, (1,), (1.0, 1.0), "a")
    assert first.voxels == 9


def test_lesions_cut_off_by_the_end_of_the_grid_can_be_left_out():
    whole = cut_lesions(map_with_two_lesions(), (2, 3), SPACING_MM, "a", whole_only=True)
    assert [lesion.voxels for lesion in whole] == [10]


def test_no_lesion_gives_an_empty_list():
    assert cut_lesions(np.ones((4, 4), dtype=np.uint8), (2,), (1.0, 1.0), "a") == []


def test_the_box_of_nothing_is_empty():
    assert cropped(np.zeros((3, 4))).shape == (0, 0)


def test_drawing_by_size_keeps_to_the_size():
    bank = small_bank()
    rng = np.random.default_rng(0)
    assert {bank.sample(rng, 50.0).voxels for _ in range(5)} == {10}
    assert {bank.sample(rng, 0.0, 50.0).voxels for _ in range(5)} == {3}
    assert bank.of_size().tolist() == [0, 1]
    with pytest.raises(DataError, match="none of 2 lesions has 500 to inf mm3"):
        bank.sample(rng, 500.0)


def test_drawing_is_a_function_of_the_generator():
    bank = small_bank()
    draws = [[bank.sample(np.random.default_rng(s)).voxels for s in range(9)] for _ in range(2)]
    assert draws[0] == draws[1]


def test_mirrored_turned_and_moved_shapes_are_the_same_and_one_voxel_more_is_not():
    shape = np.zeros((6, 5), dtype=bool)
    shape[1:4, 1] = shape[3, 2] = True  # an L
    moved = np.zeros((9, 9), dtype=bool)
    moved[4, 5:8] = moved[5, 5] = True  # turned and moved
    assert same_shape(shape, moved)
    moved[5, 6] = True
    assert not same_shape(shape, moved)
    straight = np.ones((4, 1), dtype=bool)
    assert not same_shape(shape, straight)


def test_the_bank_knows_its_shapes():
    bank = small_bank()
    assert bank.holds(np.ones((3, 1, 1)))
    assert not bank.holds(np.ones((4, 1, 1)))


def test_a_bank_has_one_dimension_and_no_empty_lesion():
    flat = Lesion(np.ones((2, 2), np.uint8), (1.0, 1.0), "a")
    solid = Lesion(np.ones((2, 2, 2), np.uint8), (1.0, 1.0, 1.0), "a")
    with pytest.raises(DataError, match="2 and of 3 dimensions"):
        LesionBank([flat, solid])
    with pytest.raises(DataError, match="without a voxel"):
        LesionBank([Lesion(np.zeros((2, 2), np.uint8), (1.0, 1.0), "a")])


@pytest.mark.parametrize("bank", [small_bank(), LesionBank([], ("background",))])
def test_a_saved_bank_comes_back_as_it_was(bank, tmp_path):
    loaded = LesionBank.load(bank.save(tmp_path / "bank.npz"))
    assert loaded.structures == bank.structures
    assert len(loaded) == len(bank)
    for lesion, original in zip(loaded, bank, strict=True):
        assert np.array_equal(lesion.labels, original.labels)
        assert lesion.labels.dtype == np.uint8
        assert (lesion.spacing_mm, lesion.case) == (original.spacing_mm, original.case)
    assert [path.name for path in tmp_path.iterdir()] == ["bank.npz"]


def crafted(tmp_path, **changes):
    """A saved bank with some arrays exchanged; None leaves one out."""
    path = small_bank().save(tmp_path / "bank.npz")
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"labels": None}, "no array labels"),
        ({"format": np.array("bank 2")}, "another format"),
        ({"shapes": np.array([[2, 4, 4], [-1, -1, 3]])}, "box has no size"),
        ({"shapes": np.array([[2, 4, 4], [1, 1, 4]])}, "boxes and labels differ"),
        ({"shapes": np.array([[1 << 20] * 3, [1 << 20] * 3])}, "boxes and labels differ"),
        ({"shapes": np.array([[2, 4, 4]])}, "differ in number"),
        ({"spacing_mm": np.array([[1.0, 1, 1], [1, np.nan, 1]])}, "spacing is not"),
        ({"spacing_mm": np.array([[1.0, 1, 1], [1, 0, 1]])}, "spacing is not"),
        ({"labels": np.zeros(35, dtype=np.float32)}, "of type float32"),
        ({"labels": np.zeros(35, dtype=np.uint8)}, "without a voxel"),
        ({"cases": np.array([b"a", b"b"])}, "cases is of type"),
        ({"cases": np.array(["a", "b"], dtype=object)}, "[Oo]bject arrays"),
    ],
)
def test_a_crafted_bank_is_refused_with_what_was_found(changes, found, tmp_path):
    with pytest.raises(DataError, match=found):
        LesionBank.load(crafted(tmp_path, **changes))


def test_a_file_that_is_no_bank_is_refused(tmp_path):
    path = small_bank().save(tmp_path / "bank.npz")
    whole = path.read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for content in (b"", b"no bank", whole[: len(whole) // 2], array.getvalue()):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a lesion bank"):
            LesionBank.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels", b"not an array")
    with pytest.raises(DataError, match="not a lesion bank"):
        LesionBank.load(path)
    with pytest.raises(DataError, match="no such file"):
        LesionBank.load(tmp_path / "elsewhere.npz")


def test_damaged_bytes_never_raise_anything_but_a_data_error(tmp_path):
    path = small_bank().save(tmp_path / "bank.npz")
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = whole.copy()
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(DataError):
            LesionBank.load(path)
