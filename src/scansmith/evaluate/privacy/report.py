"""The audit as one HTML page that needs nothing else, with the numbers of audit.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scansmith.evaluate.pictures import encoded
from scansmith.evaluate.privacy.pairs import pose_words
from scansmith.evaluate.privacy.verdict import words_of
from scansmith.evaluate.report import environment
from scansmith.io.atomic import write_bytes

_MEANING = {
    "pass": "No sign of training patients was found. That is no guarantee.",
    "leak": "The synthetic set gives away training patients.",
    "inconclusive": "There is too little to tell, or the comparison does not allow a verdict, or "
    "a file could not be read.",
}
_FINDINGS = 40


def write_page(path: Path, found: dict[str, Any], pictures: Mapping[str, bytes]) -> Path:
    """Write the page.

    Args:
        found: as in audit.json; every number of the page is from there.
        pictures: file name -> PNG, one for each of `found["pairs"]` in order, or none.
    """
    pairs = [
        {**row, "picture": encoded(png), "turned": pose_words(row["poses"][0])}
        for row, png in zip(found["pairs"], pictures.values(), strict=False)
    ]
    page = environment("evaluate/privacy").get_template("audit.html.j2")
    text = page.render(
        a=found,
        words=words_of(found["settings"]),
        meaning=_MEANING[found["verdict"]],
        pairs=pairs,
        shown=_FINDINGS,
    )
    return write_bytes(path, text.encode())
