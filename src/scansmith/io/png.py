"""PNG pictures: 8-bit or 16-bit grey images, and label maps.

A picture is read as array[x, y, 0] with the affine diag(-1, -1, 1, 1): x runs to the patient's
left, y to the back, one millimetre a pixel. Pictures written here carry their own affine and the
mapping from stored to raw values in a text chunk named "scansmith"; other programs ignore it.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from scansmith.io.atomic import write_bytes
from scansmith.scan import DataError, Problem

_CHUNK = "scansmith"
_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
_BROKEN = (SyntaxError, ValueError, TypeError, zlib.error, struct.error)
_UNREADABLE = (OSError, MemoryError, Image.DecompressionBombError, *_BROKEN)


class _Facts(NamedTuple):
    slope: float
    intercept: float
    affine: np.ndarray


def read_png(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture: values (x, y, 1) and its affine (4, 4).

    Grey pictures stored as colour with equal channels are taken; colours are refused.
    """
    picture, facts = _open(path)
    values = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    values = _one_channel(path, picture.mode, values).T[:, :, None]
    if (facts.slope, facts.intercept) != (1, 0):
        values = values * np.float32(facts.slope) + np.float32(facts.intercept)
    return values, facts.affine


def read_png_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A label map: values (x, y, 1), palette entries if it has a palette; its affine."""
    picture, facts = _open(path)
    values = _one_channel(path, picture.mode, np.asarray(picture))
    return values.T[:, :, None], facts.affine


def write_png(
    path: Path,
    array: np.ndarray,
    affine: np.ndarray | None = None,
    *,
    slope: float = 1,
    intercept: float = 0,
    description: str = "",
) -> Path:
    """Write stored values uint8 or uint16 (x, y) or (x, y, 1); raw = stored * slope + intercept."""
    array = np.asarray(array)
    if array.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{Path(path).name}: a PNG holds uint8 or uint16, not {array.dtype}. Scale it first."
        )
    facts = {"slope": float(slope), "intercept": float(intercept)}
    if affine is not None:
        facts["affine"] = np.asarray(affine, dtype=float).tolist()
    text = PngImagePlugin.PngInfo()
    text.add_text(_CHUNK, json.dumps(facts))
    if description:
        text.add_text("Description", description)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(array.reshape(array.shape[:2]).T))
    picture.save(buffer, "PNG", pnginfo=text, compress_level=3)
    return write_bytes(Path(path), buffer.getvalue())


def _open(path: Path) -> tuple[Image.Image, _Facts]:
    path = Path(path)
    try:
        with Image.open(path) as picture:
            if picture.format != "PNG":
                raise ValueError(f"it is a {picture.format} file")
            picture.load()
            chunk = getattr(picture, "text", {}).get(_CHUNK, "{}")
        facts = _facts(json.loads(chunk))
    except FileNotFoundError as error:
        raise DataError(Problem(path.name, "missing", "there is no such file", "Add it")) from error
    except _UNREADABLE as error:
        kind = "truncated" if "truncated" in str(error) else "unreadable"
        found = f"not a readable PNG picture ({error})"
        raise DataError(Problem(path.name, kind, found, "Copy it again from its source")) from error
    return picture, facts


def _facts(stated: dict) -> _Facts:
    """What a text chunk of ours says; ValueError if it cannot be."""
    if not isinstance(stated, dict):
        raise ValueError("its scansmith chunk is no object")
    affine = np.asarray(stated.get("affine", _AFFINE), dtype=np.float64)
    facts = _Facts(float(stated.get("slope", 1)), float(stated.get("intercept", 0)), affine)
    numbers = np.array([*affine.flat, facts.slope, facts.intercept])
    if affine.shape != (4, 4) or not np.isfinite(numbers).all():
        raise ValueError("its scansmith chunk holds no affine (4, 4), slope and intercept")
    return facts


def _one_channel(path: Path, mode: str, values: np.ndarray) -> np.ndarray:
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if values.ndim == 2:
        return values
    colours = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
    opacity = values[..., colours.shape[2] :]
    if (opacity != 255).any() or (colours != colours[..., :1]).any():
        found = f"a colour picture ({mode}, {values.shape[2]} channels), expected one grey channel"
        remedy = "Convert it to 8-bit or 16-bit grey"
        raise DataError(Problem(Path(path).name, "channels", found, remedy))
    return colours[..., 0]
