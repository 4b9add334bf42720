"""What readers are given beside the cases: instructions, answer sheets, and a page to read at."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from scansmith.evaluate.pictures import encoded, upright
from scansmith.evaluate.reader_study.grid import Common, Greys
from scansmith.evaluate.reader_study.pictures import GAP, film, plain_png
from scansmith.io.atomic import write_bytes

COLUMNS = ("case", "answer", "comment")
#: A page with more than this in it is slow to open; volumes are then read in a viewer.
PAGE_BYTES = 120_000_000


class Pages:
    """Gathers the cases in their order, then writes what goes with them.

    Args:
        count: how many cases there will be.
    """

    def __init__(self, tag: str, grid: Common, greys: Sequence[Greys], count: int):
        self.tag, self.grid, self.greys = tag, grid, greys
        self.names: list[str] = []
        self.films: list[str] = []
        self.has_page = count * len(greys) * int(np.prod(grid.shape)) <= PAGE_BYTES

    def add(self, name: str, grey: np.ndarray) -> None:
        """The next case: uint8 (C, D, H, W)."""
        self.names.append(name)
        if self.has_page:
            if self.grid.dims == 3:
                grey = upright(grey, self.grid.axes)
            self.films.append(encoded(plain_png(film(grey))))

    def write(self, folder: Path, readers: int) -> None:
        """`INSTRUCTIONS.md`, `answers-reader-N.csv`, and `study.html` unless it would be huge."""
        for number in range(1, readers + 1):
            write_bytes(folder / f"answers-reader-{number}.csv", answer_sheet(self.names))
        told = {
            "tag": self.tag,
            "count": len(self.names),
            "modalities": [g.modality for g in self.greys],
            "volumes": self.grid.dims == 3,
            "has_page": self.has_page,
        }
        self._write(folder / "INSTRUCTIONS.md", "instructions.md.j2", told)
        if self.has_page:
            depth, height, width = self.grid.shape
            step = self.grid.spacing_mm
            size = {"depth": depth, "height": height, "width": width, "tall": step[1] / step[2]}
            study = {"names": self.names, "films": self.films, "gap": GAP, **size}
            self._write(folder / "study.html", "study.html.j2", {**told, "study": study})

    def _write(self, path: Path, template: str, values: dict[str, object]) -> None:
        environment = Environment(
            loader=PackageLoader("scansmith", "evaluate/reader_study"),
            autoescape=template.endswith(".html.j2"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        write_bytes(path, environment.get_template(template).render(values).encode())


def answer_sheet(names: Sequence[str]) -> bytes:
    """A CSV with a row for each case and no answers."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    rows.writerows((name, "", "") for name in names)
    return text.getvalue().encode()
