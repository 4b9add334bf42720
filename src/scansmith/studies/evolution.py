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
from scansmith.train.pictures import GAP, TITLE
from scansmith.workflow import SHOWN

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
    height = (pictures[0].shape[0] - TITLE) // SHOWN - GAP
    top = TITLE + row * (height + GAP)
    if not 0 <= row < SHOWN:
        raise RunError(f"{run}: row {row} of {SHOWN} in the sample grids. Ask for another.")
    rows = [pictures[0][:TITLE], *(picture[top : top + height] for picture in pictures)]
    strips = [np.pad(part, ((0, GAP), (LABEL, 0), (0, 0)), constant_values=24) for part in rows]
    image = Image.fromarray(np.concatenate(strips))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default()
    for number, path in enumerate(grids):
        y = TITLE + GAP + number * (height + GAP) + height // 2
        step = int(path.stem.removeprefix("step_"))
        pen.text((4, y), f"{step:,}".replace(",", " "), fill=(235, 235, 235), font=font)
    return image


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--row", type=int, default=0)
    given = parser.parse_args(words)
    evolution(given.run, given.row).save(given.out)


if __name__ == "__main__":
    main()
