"""Slices in, means with intervals and tables out: what every study does with its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.store import Store
from scansmith.evaluate.spread import mean_of_patients
from scansmith.io.atomic import write_bytes
from scansmith.train.checkpoint import write_json

#: What is nearer to 0 is told as 0: what sums leave in floating point.
NOTHING = 1e-6


@dataclass(frozen=True)
class Slice:
    """One slice, in raw units or in network range.

    Attributes:
        image: float32 (H, W).
        labels: uint8 (H, W), structure indices.
        named: structures from this index on are regions that preparing added.
    """

    case: str
    patient: str
    image: np.ndarray
    labels: np.ndarray
    named: int = 256

    @property
    def inside(self) -> np.ndarray:
        """Where something is labelled, bool (H, W)."""
        return (self.labels > 0) & (self.labels < self.named)


def slices_of(
    store: Store, split: str, keep: Callable[[np.ndarray], bool], *, raw: bool = True
) -> list[Slice]:
    """The slices of a split whose labels are kept by `keep`; `raw`: decoded to raw units."""
    found, named = [], len(store.table.written.values)
    for name in store.names(split):
        images, labels = store.volume(name)
        codec, patient = store.codec(name), store.cases[name].patient
        found += [
            Slice(name, patient, codec.decode(image[0]) if raw else image[0], label, named)
            for image, label in zip(images, labels, strict=True)
            if keep(label)
        ]
    return found


def by_scan(
    slices: Sequence[Slice], rows: Sequence[dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Mean scores of each scan, "patient/case" -> measure -> value: a scan counts once.

    A slice without a value (nan) is left out of its scan. An infinite one (the PSNR of a slice that
    is right in every pixel) makes its scan's mean infinite, and `summary` leaves that scan out and
    counts it: over its other slices it would be paired with other slices of the same scan.
    """
    grouped: dict[str, list[dict[str, float]]] = {}
    for one, row in zip(slices, rows, strict=True):
        grouped.setdefault(f"{one.patient}/{one.case}", []).append(row)
    return {
        case: {name: _mean_of_known([row[name] for row in found]) for name in found[0]}
        for case, found in grouped.items()
    }


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def over_scans(runs: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Means over the scans of all runs (see `by_scan`), with intervals over patients."""
    pairs = [(case.rpartition("/")[0], row) for run in runs for case, row in run.items()]
    return summary([row for _, row in pairs], [patient for patient, _ in pairs])


def summary(
    rows: Sequence[dict[str, float]], patients: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Mean of each measure with its 95 % bootstrap interval over patients.

    Returns:
        What `mean_of_patients` tells of each, and `infinite`: how many of those that it left out
        have a value that no mean can hold. The others that it left out have none.
    """
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        told = mean_of_patients(values, patients, np.random.default_rng(seed))
        found[name] = {**told, "infinite": int(np.isinf(values).sum())}
    return found


def plain(tree: Any) -> Any:
    """For JSON, which has no infinity and no nan (the PSNR of what was not changed): null."""
    if isinstance(tree, dict):
        return {name: plain(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(value) for value in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree


def save_study(folder: Path, result: Mapping[str, Any], text: str) -> None:
    """study.json and study.md of a study that is run by itself.

    Raises:
        RunError: they cannot be written.
    """
    write_json(folder / "study.json", plain(result))
    write_bytes(folder / "study.md", text.encode())


def data_line(told: Mapping[str, Any]) -> str:
    """What data a study was given, and what it asks for.

    Args:
        told: given, layout, needs, cut.
    """
    needs = f" The study asks for {told['needs']}." if told["needs"] else ""
    return f"Data: {told['given']} ({told['layout']}).{needs} {told['cut']}".rstrip()


def cell(found: Mapping[str, Any]) -> str:
    """A mean, its interval and how many infinite values it leaves out, as a table has them."""
    if found["mean"] is None:
        return "-"
    values = [found["mean"], *(found.get("interval") or ())]
    digits = _digits(3 if abs(found["mean"]) < 1 else 2, *values)
    text, *ends = (f"{value:z.{digits}f}" for value in values)
    if ends:
        text += f" ({' to '.join(ends)})"
    without = found.get("infinite")
    return f"{text}, {without} infinite left out" if without else text


def signed(value: float) -> str:
    """+0.012, with a true minus sign; no sign where there is nothing."""
    if abs(value) < NOTHING:
        return "0.000"
    return f"{value:+.{_digits(3, value)}f}".replace("-", "−")


def _digits(least: int, *values: float) -> int:
    """Decimals with which nothing that lies above or below 0 reads as 0."""
    there = [value for value in values if abs(value) >= NOTHING and np.isfinite(value)]
    digits = least
    while not all(round(value, digits) for value in there):
        digits += 1
    return digits


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def published(
    told: Mapping[str, Any], ours: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> list[str]:
    """The lines of a paper's table, which is of other data, its numbers beside ours.

    Args:
        told: item, data, measure, arms (arm -> measure -> value), cited, of what is not done here,
            and sd, the paper's spread of these.
        ours: arm -> measure -> mean with interval.
    Returns:
        No lines if the paper has no numbers.
    """
    cited, spread = told.get("cited", {}), told.get("sd", {})
    rows = {**told["arms"], **cited}
    if not rows:
        return []
    measures = list(dict.fromkeys(name for row in rows.values() for name in row))
    beside = [m for m in measures if any(m in row for row in told["arms"].values())]
    lines = []
    for arm, row in rows.items():
        mine = {} if arm in cited else ours.get(arm) or {}
        words = [arm]
        for measure in measures:
            sd = spread.get(arm, {}).get(measure)
            value = f"{row[measure]:g}" if measure in row else ""
            words.append(value if sd is None else f"{value} ± {sd:g}")
            if measure in beside:
                words.append(cell(mine[measure]) if measure in row and measure in mine else "")
        lines.append(words)
    head = [""]
    for measure in measures:
        head += [f"{measure}, paper"] + [f"{measure}, here"] * (measure in beside)
    text = f"{told['item']}, as published. Other data ({told['data']}): {told['measure']}."
    return [text, "", *table(head, lines)]
