"""Arrays on disk are read in parts, and anything but plain numbers by row is refused."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from scansmith.data.arrays import ArrayFile, unreadable
from scansmith.scan import DataError

NUMBERS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def _saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def test_a_part_and_the_whole_are_what_was_saved(tmp_path: Path) -> None:
    array = ArrayFile.find(_saved(tmp_path / "a.npy", NUMBERS))
    assert (len(array), array.shape, array.dtype) == (2, (2, 3, 4), np.int16)
    assert array.part(1).tolist() == [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]
    np.testing.assert_array_equal(array.whole(), NUMBERS)
    assert array.whole().dtype == np.int16


def test_an_array_without_a_row_is_read_too(tmp_path: Path) -> None:
    array = ArrayFile.find(_saved(tmp_path / "a.npy", NUMBERS[:0]))
    assert array.whole().shape == (0, 3, 4)


@pytest.mark.parametrize(
    "array", [np.asfortranarray(NUMBERS), np.array([{}], dtype=object), np.int16(3)]
)
def test_what_is_no_plain_numbers_by_row_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = _saved(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=r"a\.npy: cannot be read.*expected numbers by row"):
        ArrayFile.find(path)


@pytest.mark.parametrize("kept", [0, 40, 140])
def test_a_file_that_was_cut_off_is_told(tmp_path: Path, kept: int) -> None:
    """Of 128 bytes of header and 48 of numbers: nothing, half the header, 12 bytes of the first."""
    path = _saved(tmp_path / "a.npy", NUMBERS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.npy: cannot be read.*prepare it again"):
        ArrayFile.find(path).part(0)


@pytest.mark.parametrize(
    ("error", "told", "deletes"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n", False),
        (OSError(errno.ENFILE, "Too many open files in system"), "ulimit -n", False),
        (PermissionError(errno.EACCES, "Permission denied"), "Mend what keeps it", True),
        (ValueError("no array"), "prepare it again", True),
    ],
)
def test_only_a_store_that_may_be_broken_is_to_be_deleted(
    error: Exception, told: str, deletes: bool
) -> None:
    text = str(unreadable(Path("a.npy"), error))
    assert text.startswith(f"a.npy: cannot be read ({error}). ")
    assert told in text
    assert ("elete the store" in text) == deletes
