"""What a synthetic data set says about itself: a row and a sidecar for each case, a data card."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scansmith.labels.table import LabelTable
from scansmith.scan import CaseFiles

Row = dict[str, Any]
_KEPT = 0.001  # of the voxels: some may be equal by chance
_BLOCK = 1 << 20  # bytes hashed at a time
_EDITS = {
    "place": """New lesions were placed in the labels before drawing, reshaped from lesions of
training patients; `provenance.jsonl` says which, and where.
Lesions that the source case had were grown by an irregular rim, and are drawn anew as well.""",
    "deform": """The labels were moved and bent before drawing; `provenance.jsonl` says how.""",
    "reshape": """Lesions of the source cases were flipped, turned, scaled and bent in their labels
before drawing; `provenance.jsonl` says how.""",
    "redraw": """Lesion labels of training patients were moved, turned or shrunk before drawing;
`provenance.jsonl` says how.""",
    "keep": """The method made image and labels from source images; labels say what it changed.""",
    "none": """Labels are those of the source cases, unchanged: each case is a reconstruction of
one real case, is called like it, and is of its patient (`patients.json` says who that is where the
name does not). Keep it on the same side of a split as that patient.""",
}


@dataclass(frozen=True)
class Origin:
    """The run that made a data set.

    Attributes:
        run: name of the run folder.
        weights: fingerprint of the weights.
        method, title, paper: as in `scansmith.methods.METHODS`.
        trained_on: fingerprint of the store that the method was trained on.
        metrics: what the run's validation measured, if it did.
    """

    run: str
    weights: str
    method: str
    title: str = ""
    paper: str = ""
    trained_on: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def mark(method: str) -> str:
    """What the header of every synthetic NIfTI file says (79 bytes are all it holds)."""
    return f"SYNTHETIC scansmith {method}"[:79]


def sha256(path: Path) -> str:
    """The hash of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_rows(path: Path) -> list[Row]:
    """The whole rows of a provenance file; a line torn by a kill in mid-write is not one."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    rows = []
    for line in text.split(b"\n"):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            continue
        if isinstance(row, dict) and {"case", "number", "files"} <= row.keys():
            rows.append(row)
    return rows


def rows_by_file(rows: Sequence[Row]) -> dict[str, Row]:
    """Each file that rows list, by its path in the data set -> its row."""
    found: dict[str, Row] = {}
    for row in rows:
        files = row.get("files")
        listed = files if isinstance(files, dict | list) else ()
        found |= {name: row for name in listed if isinstance(name, str)}
    return found


def row_of(case: CaseFiles, root: Path, listed: Mapping[str, Row]) -> Row | None:
    """The row of a case as a reader finds it, which some layouts call otherwise than its row.

    Args:
        root: the data set's folder.
        listed: from `rows_by_file`.
    Returns:
        None unless one row lists all files of the case.
    """
    paths = [*case.images.values(), *([] if case.labels is None else [case.labels])]
    found = [listed.get(path.relative_to(root).as_posix()) for path in paths]
    return found[0] if found and all(row is found[0] for row in found) else None


def append_row(path: Path, row: Row) -> None:
    """Add a row, and have it on the disk before returning."""
    with path.open("ab") as file:
        file.write(row_line(row).encode())
        file.flush()
        os.fsync(file.fileno())


def row_line(row: Row) -> str:
    """A row as a line of a provenance file."""
    return json.dumps(row, sort_keys=True, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file and have it on the disk before returning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_sidecar(path: Path, row: Row) -> None:
    """What a case says about itself beside its files: a row without the hashes of the files."""
    said = {"Synthetic": True, "IntendedUse": "research, not a medical device"}
    said |= {name: value for name, value in row.items() if name not in ("files", "synthetic")}
    write_text(path, json.dumps(said, indent=2, sort_keys=True, allow_nan=False) + "\n")


def kept_words(rows: Sequence[Row]) -> str:
    """Whether images hold parts of real scans, which the word synthetic would hide."""
    shares = [row.get("source_kept", 0.0) for row in rows]
    parts = sum(share > _KEPT for share in shares)
    if not parts:
        return (
            "No image holds parts of its source scan as they were. Anatomy and labels still\n"
            "derive from source scans: this is no anonymisation."
        )
    return f"""**{parts} of {len(rows)} images hold parts of their source scan as they were**, up to
{max(shares):.0%} of its voxels (`"source_kept"` in `provenance.jsonl`): this method paints into
scans. If the source is a patient, handle these images as data of that patient."""


def held_out_words(rows: Sequence[Row]) -> str:
    """How many cases are drawn from patients that the run's training had not seen, or may not."""
    splits = [row.get("source_split") for row in rows]
    held_out = [row for row in rows if row.get("source_split") in ("validation", "test")]
    words = []
    if held_out:
        sources = len({row["source_case"] for row in held_out})
        words.append(
            f"**{len(held_out)} of {len(rows)} cases are drawn from patients who were held out of "
            f'the run\'s training (real cases used: {sources}; `"source_split"` in '
            "`provenance.jsonl`). Do not train with these cases what is then tested on those "
            "patients.**"
        )
    if "none" in splits:
        words.append(
            f"{splits.count('none')} of {len(rows)} cases are drawn from patients whose names the "
            "run's data do not hold; whether they are held-out patients under other names is not "
            "known."
        )
    if None in splits:
        words.append(
            f"Whether {splits.count(None)} of {len(rows)} cases are drawn from patients who were "
            "held out of the run's training is not known: the data that it was trained on were not "
            "at hand."
        )
    return "\n".join(words) or "All source cases are of patients in the run's training split."


def data_card(
    origin: Origin, plan: Mapping[str, Any], table: LabelTable, rows: Sequence[Row]
) -> str:
    """README.md of a synthetic data set whose cases have these rows."""
    labels = "\n".join(f"| {value} | {name} |" for value, name in table.names.items())
    measured = "\n".join(f"- {name}: {value:.4g}" for name, value in origin.metrics.items())
    content = f"{len(rows)} of {plan['cases']} cases, layout {plan['layout']}, modalities "
    content += ", ".join(plan["modalities"]) + "."
    return f"""# Synthetic images: {plan["dataset"]}

**Every image here was made or changed by a computer program; none is a scan as it was taken.**
The header of each file says `{mark(origin.method)}`; each case has a sidecar in `sidecars/` with
`"Synthetic": true`.

{kept_words(rows)}

## Source

- Method: {origin.method}{f" ({origin.title})" if origin.title else ""}
- Paper: {origin.paper or "see the method's page"}
- Run: {origin.run}, weights {origin.weights or "not known"}
- Trained on: data with fingerprint {origin.trained_on or "not known"}
- Drawn from: split "{plan["split"]}" of data with fingerprint {plan["source"]}
- Seed {plan["seed"]}; made with {", ".join(f"{k} {v}" for k, v in plan["versions"].items())}

{held_out_words(rows)}

## Content

{content}
{_EDITS[plan["edits"]]}

| label | structure |
|---|---|
{labels}

`provenance.jsonl` has a row for each case: run, seed, number, source case, changes of the labels,
and the sha256 of each file. `synthesis.json` holds what was asked for.

## Intended use

Research: to train or test image analysis beside real scans, to augment small data sets, to study
the method. Research use only; not a medical device; not for diagnosis or any decision on a patient.

## Limits

- The images have the faults of the method and the biases of the data it was trained on (scanner,
  protocol, population, disease). What is rare there is rarer or wrong here.
- Labels say what was asked to be drawn. Whether it was drawn must be measured.
- Grid, field of view and intensity range are those that the method was trained at, in the
  orientation and units of the source. What lay outside them is not there.
- A generator can remember training images. Do not publish without a check of nearest neighbours.
- The terms of the source data bind what is derived from it. Check its licence before sharing.

## Known measurements of the run

{measured or "None recorded with the run. Measure with `scansmith evaluate REAL THIS`."}
"""
