"""PNG: x first, grey values only, geometry and raw units kept in pictures of our own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scansmith.io.png import read_png, read_png_labels, write_png
from scansmith.scan import DataError

GREY = np.array([[0, 10, 20], [30, 40, 255]], dtype=np.uint8)  # 2 rows of 3 pixels


def _save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def _kind(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_png(path)
    return caught.value.problems[0].kind


def test_the_first_axis_runs_along_a_row_and_points_to_the_left(tmp_path: Path) -> None:
    array, affine = read_png(_save(tmp_path / "slice.png", GREY))
    assert array.shape == (3, 2, 1)
    assert array[2, 0, 0] == 20  # third pixel of the first row
    assert array[0, 1, 0] == 30  # first pixel of the second row
    np.testing.assert_array_equal(affine, np.diag([-1, -1, 1, 1]))


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    array, _ = read_png(_save(tmp_path / "slice.png", GREY.astype(np.uint16) * 257))
    assert array.max() == 65535
    assert array.dtype == np.uint16


def test_grey_stored_as_colour_is_taken(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA", "LA"):
        array, _ = read_png(_save(tmp_path / f"{mode}.png", GREY, mode))
        np.testing.assert_array_equal(array[:, :, 0].T, GREY)


def test_a_colour_picture_is_refused_and_its_channels_are_named(tmp_path: Path) -> None:
    colour = np.stack([GREY, GREY, GREY // 2], axis=-1)
    path = _save(tmp_path / "photo.png", colour)
    assert _kind(path) == "channels"
    with pytest.raises(DataError, match=r"photo.png: a colour picture \(RGB, 3 channels\)"):
        read_png_labels(path)


def test_a_transparent_picture_is_refused(tmp_path: Path) -> None:
    faint = np.stack([GREY, GREY, GREY, GREY], axis=-1)
    assert _kind(_save(tmp_path / "faint.png", faint)) == "channels"


def test_a_coloured_palette_is_a_label_map_but_no_image(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "labels.png")
    labels, _ = read_png_labels(tmp_path / "labels.png")
    assert labels[:, :, 0].T.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert _kind(tmp_path / "labels.png") == "channels"


def test_a_one_bit_mask_is_zero_and_one(tmp_path: Path) -> None:
    labels, _ = read_png_labels(_save(tmp_path / "mask.png", GREY > 15))
    assert labels[:, :, 0].T.tolist() == [[0, 0, 1], [1, 1, 1]]


def test_raw_values_and_affine_survive_in_our_own_pictures(tmp_path: Path) -> None:
    hu = np.array([[-1000.0, 0], [40, 1500]])
    affine = np.array([[-0.7, 0, 0, 3], [0, -0.7, 0, 4], [0, 0, 2.5, -5], [0, 0, 0, 1]])
    stored = (hu + 1024).astype(np.uint16)
    path = write_png(tmp_path / "ct.png", stored, affine, intercept=-1024, description="by hand")
    array, back = read_png(path)
    np.testing.assert_array_equal(array[:, :, 0], hu)
    np.testing.assert_array_equal(back, affine)
    with Image.open(path) as picture:
        assert picture.text["Description"] == "by hand"


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_truncated_picture_is_refused(tmp_path: Path, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 20)).astype(np.uint8)
    path = _save(tmp_path / "slice.png", noise)
    path.write_bytes(path.read_bytes()[:keep])
    assert _kind(path) in ("truncated", "unreadable")


def test_other_formats_under_the_name_of_png_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.png").write_bytes((tmp_path / "photo.jpg").read_bytes())
    assert _kind(tmp_path / "photo.png") == "unreadable"


def test_values_that_a_png_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="uint8 or uint16, not float32"):
        write_png(tmp_path / "slice.png", GREY.astype(np.float32))
