"""How the pictures of a run grew: one sample at every step that a grid was saved of.

    python -m scansmith.studies.evolution RUN --out FILE.png [--row 0]

The papers' figures of samples at iterations 1, 10, 100, ... are this picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scansmith.scan import RunError
from scansmith.studies.command import command
from scansmith.train.pictures import EMPTY, GAP, TITLE, rows_of_grid

LABEL = 56  # pixels for the step's number


def evolution(run: Path, row: int = 0) -> Image.Image:
    """A row of every sample grid of a run, the earliest step at the top.

    Raises:
        RunError: the run has no sample grids, or not so many rows.
    """
    grids = sorted((run / "samples").glob("step_*.png"))
    if not grids:
        raise RunError(f"{run}: no samples/step_*.png here. Give the folder that train wrote.")
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in grids]
    samples = [_sample(path, picture, row) for path, picture in zip(grids, pictures, strict=True)]
    height = len(samples[0])
    rows = [pictures[0][:TITLE], *samples]
    strips = [np.pad(part, ((0, GAP), (LABEL, 0), (0, 0)), constant_values=EMPTY) for part in rows]
    image = Image.fromarray(np.concatenate(strips))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default()
    for number, path in enumerate(grids):
        y = TITLE + GAP + number * (height + GAP) + height // 2
        step = int(path.stem.removeprefix("step_"))
        pen.text((4, y), f"{step:,}".replace(",", " "), fill=(235, 235, 235), font=font)
    return image


def _sample(path: Path, picture: np.ndarray, row: int) -> np.ndarray:
    rows = rows_of_grid(picture)
    if not rows:
        raise RunError(
            f"{path}: is no sample grid, expected one that train wrote. Remove it, or give the "
            "folder of another run."
        )
    if not 0 <= row < len(rows):
        raise RunError(
            f"{path}: asked for row {row} of a grid with {len(rows)}, expected 0 to "
            f"{len(rows) - 1}. Ask for one of these."
        )
    return rows[row]


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--row", type=int, default=0)
    given = parser.parse_args(words)
    evolution(given.run, given.row).save(given.out)


if __name__ == "__main__":
    command(main)
