"""The parts of a report, read from disk; all that is wrong with them is told at once."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from scansmith.scan import DataError
from scansmith.studies.cells import Scores
from scansmith.studies.downstream_report import Found
from scansmith.studies.spec import Spec


class Reader:
    """Reads the parts, and remembers all that is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def json(self, folder: Path | None, name: str, what: str, *keys: str) -> dict[str, Any] | None:
        """What a file of a folder holds, if it has these keys; None without a folder."""
        if folder is None:
            return None
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            lacking = [key for key in keys if key not in found]
        except (OSError, ValueError, TypeError) as error:
            self.problems.append(
                f"{folder / name}: cannot be read ({type(error).__name__}), expected {what}. Name "
                "the folder that it was written to."
            )
            return None
        if lacking:
            self.problems.append(
                f"{folder / name}: lacks {', '.join(lacking)}, expected {what} of this version. "
                "Make it again."
            )
            return None
        return dict(found)

    def arms(
        self, folder: Path | None, results: Mapping[str, Any] | None
    ) -> tuple[Spec | None, Found | None]:
        """What a study asked, and every score that it found."""
        if folder is None or results is None:
            return None, None
        try:
            spec = Spec.model_validate(results["spec"])
            return spec, read_scores(folder / "patients.csv", results)
        except (OSError, ValueError, KeyError, ValidationError) as error:
            self.problems.append(
                f"{folder}: its results.json and patients.csv cannot be read together "
                f"({error!r:.120}), expected those of one study of this version. Run the study "
                "again in its folder; what is done is kept."
            )
            return None, None

    def raise_problems(self) -> None:
        """Raise DataError with all that was wrong, if anything was."""
        if self.problems:
            raise DataError("\n".join(self.problems))


def read_scores(path: Path, results: Mapping[str, Any]) -> Found:
    """A study's scores of every arm under every seed, from its table of patients."""
    seeds = [str(seed) for seed in results["seeds"]]
    found: dict[str, list[Scores | None]] = {a: [None] * len(seeds) for a in results["arms"]}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            arm, seed = row.pop("arm"), seeds.index(row.pop("seed"))
            key = f"{row.pop('patient')}/{row.pop('case')}"
            scores = found[arm][seed]
            if scores is None:
                scores = found[arm][seed] = {}
            scores[key] = {name: float(v) if v else np.nan for name, v in row.items()}
    return found
