"""Arrays on disk: .npy files that are read in parts and stay closed in between.

A mapped array would hold a file descriptor for as long as it lives, and a process may often have
1024 of them: too few for the cases of a large data set.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scansmith.scan import DataError


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """Where the numbers of a .npy file lie.

    Attributes:
        shape: (N, ...).
        start: bytes before the first number.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    @staticmethod
    def find(path: Path) -> ArrayFile:
        """The array in a file. Raises DataError: it cannot be read, or is not plain numbers."""
        try:
            with open(path, "rb") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):  # what np.save writes unless field names are long
                    raise ValueError(f"found .npy version {version}, expected (1, 0)")
                shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
                if dtype.hasobject or by_column or not shape:
                    raise ValueError("found Python objects or columns, expected numbers by row")
                return ArrayFile(path, shape, dtype, file.tell())
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error

    def __len__(self) -> int:
        """N."""
        return self.shape[0]

    def part(self, number: int) -> np.ndarray:
        """What lies at one place of the first axis; a copy.

        Raises:
            DataError: the file cannot be read, or ends too early.
        """
        return self._read(number, self.shape[1:])

    def whole(self) -> np.ndarray:
        """All of it; a copy. Raises DataError as `part` does."""
        return self._read(0, self.shape)

    def _read(self, first: int, shape: tuple[int, ...]) -> np.ndarray:
        array = np.empty(shape, self.dtype)
        left = array.reshape(-1).view(np.uint8).data
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self.start + first * array.nbytes)
                while len(left):  # one read gives 2 GiB at most
                    count = file.readinto(left)
                    if not count:
                        raise EOFError("it ends too early")
                    left = left[count:]
        except (OSError, EOFError) as error:
            raise unreadable(self.path, error) from error
        return array


def unreadable(path: Path, error: Exception) -> DataError:
    """What to say of a file of a store that cannot be read; a sound one must not be deleted."""
    found = f"{path}: cannot be read ({error})"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return DataError(
            f"{found}. The file itself may be sound. Close programs, or raise the limit of open "
            "files (ulimit -n), then run it again."
        )
    if isinstance(error, OSError):
        return DataError(
            f"{found}. Mend what keeps it from being read, or copy the store again; if it is lost, "
            "delete the store and prepare it again."
        )
    return DataError(f"{found}. Delete the store and prepare it again.")
