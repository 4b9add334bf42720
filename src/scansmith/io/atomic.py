"""Whole files or none: what is written appears under its name only when it is complete."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from scansmith.scan import RunError, SettingsError


def check_folder(out: Path, what: str) -> None:
    """Refuse what cannot become or is no folder that can be written to, before hours of work.

    Args:
        what: for which it is meant, as an error says it.
    Raises:
        SettingsError: it is a file or lies below one, or the folder that holds it is not writable.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise SettingsError(f"{there}: is a file, expected a folder. Choose another for {what}.")
    if not os.access(there, os.W_OK):
        raise SettingsError(f"{there}: cannot be written to. Choose another folder for {what}.")


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file so that no reader, and no crash, ever sees half of it.

    Raises:
        RunError: the disk is full, the folder is not writable.
    """
    return write_file(path, lambda file: file.write(content))


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """The same for what `write` puts into an open file.

    Raises:
        RunError: the disk is full, the folder is not writable.
    """
    path = Path(path)
    partial = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise RunError(
            f"{path}: could not be written ({error.strerror or error}). "
            "Free disk space or choose a folder that you may write to, then run it again."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


@contextmanager
def alone(folder: Path, patience_s: float = 60.0) -> Iterator[None]:
    """Work in a folder, made if need be, while nobody else does who asks in this way.

    Raises:
        RunError: somebody was at work all the time, or the folder is not writable.
    """
    lock, began, is_new = folder / ".busy", time.monotonic(), not folder.exists()
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            open(lock, "x").close()
            break
        except (FileExistsError, PermissionError, FileNotFoundError) as error:
            # On Windows a file that is just being removed refuses as one without permission does.
            if time.monotonic() - began >= patience_s or folder.is_file():
                raise RunError(
                    f"{folder}: another process writes there ({error.strerror}). Wait for it; if "
                    f"there is none, remove the file {lock.name} in that folder."
                ) from error
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):  # it holds something
                folder.rmdir()
