"""Whole files or none: what is written appears under its name only when it is complete."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from scansmith.scan import RunError


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file so that no reader, and no crash, ever sees half of it.

    Raises:
        RunError: the disk is full, the folder is not writable.
    """
    path = Path(path)
    partial = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise RunError(
            f"{path}: could not be written ({error.strerror or error}). "
            "Free disk space or choose a folder that you may write to."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path
