"""Does the audit find lesions that were pasted, and does it leave strangers alone? On real scans.

    python -m scansmith.studies.audit_calibration DATA --out DIR

Real patients are dealt out in thirds, many times: a third stands for synthetic cases, and owes
nothing to the others, so every copy that is called is a false alarm. Then lesions of some patients
are pasted into scans of others, as they are, mirrored, noisy, brighter, blurred, eroded, larger or
turned, and looked for. Both for the box round the largest lesion and for its inside
(`scansmith.evaluate.privacy.cases`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from scansmith.data.layouts import find_layout
from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.cases import (
    LEAST_INSIDE,
    Layout,
    Trace,
    largest_lesion,
    lay_out,
    trace,
)
from scansmith.evaluate.privacy.lines import ALPHA, LINES
from scansmith.evaluate.privacy.neighbours import nearness
from scansmith.evaluate.view import View, files_of, oriented, share, view
from scansmith.io import read_scan
from scansmith.io.atomic import write_bytes
from scansmith.scan import DataError
from scansmith.studies.tables import plain, table
from scansmith.train.checkpoint import write_json

REGIONS = ("lesion", "inside")
DEALS, PASTED = 200, 12
FEW = (12, 24)
LEAST_CASES = 9
Patch = tuple[np.ndarray, np.ndarray]
"""A lesion cut out: image (C, d, h, w), mask (d, h, w)."""


def _each(patch: Patch, image: Callable[[np.ndarray], np.ndarray], mask: Any = None) -> Patch:
    moved = np.stack([image(channel) for channel in patch[0]])
    return moved, patch[1] if mask is None else mask(patch[1].astype(np.uint8)) > 0


def _eroded(patch: Patch) -> Patch:
    smaller = ndimage.binary_erosion(patch[1], np.ones((1, 3, 3)))
    return patch[0], smaller if smaller.sum() >= LEAST_INSIDE else patch[1]


def _noisy(patch: Patch) -> Patch:
    rng = np.random.default_rng(0)
    return _each(patch, lambda x: x + rng.normal(0, 0.2 * x[patch[1]].std(), x.shape))


def _larger(patch: Patch) -> Patch:
    by = (1, 1.1, 1.1)
    return _each(
        patch, lambda x: ndimage.zoom(x, by, order=1), lambda m: ndimage.zoom(m, by, order=0)
    )


def _turned(patch: Patch) -> Patch:
    def turn(x: np.ndarray, order: int, mode: str) -> np.ndarray:
        return ndimage.rotate(x, 10, axes=(1, 2), order=order, mode=mode)

    return _each(patch, lambda x: turn(x, 1, "nearest"), lambda m: turn(m, 0, "constant"))


#: What may be done to a lesion that is pasted.
CHANGES: Mapping[str, Callable[[Patch], Patch]] = {
    "as it is": lambda patch: patch,
    "mirrored": lambda patch: (patch[0][..., ::-1], patch[1][..., ::-1]),
    "noise of 20 % of its sd": _noisy,
    "1.3 times as bright, and 20 more": lambda patch: (1.3 * patch[0] + 20, patch[1]),
    "blurred (sd 0.7 pixels)": lambda patch: _each(
        patch, lambda x: ndimage.gaussian_filter(x, (0, 0.7, 0.7))
    ),
    "without its outermost pixels": _eroded,
    "10 % larger": _larger,
    "turned by 10 degrees": _turned,
}


@dataclass(frozen=True)
class Cases:
    """Real cases, read and traced."""

    views: Sequence[View]
    traces: Sequence[Trace]
    layout: Layout

    @staticmethod
    def of(data: Path, lesion: Sequence[str] | None = None) -> Cases:
        """Every labelled case of a data set. Raises DataError if there are too few."""
        found = find_layout(data)
        shared = share((found.modalities,) * 2, (found.table,) * 2, lesion)
        views = [
            view(
                oriented(read_scan(files_of(files, shared.modalities), table=found.table)),
                shared,
                found.table,
            )
            for files in found.cases
            if files.labels is not None
        ]
        if len(views) < LEAST_CASES:
            raise DataError(
                f"{data}: found {len(views)} labelled cases, expected "
                f"{LEAST_CASES} at least, to deal out."
            )
        layout = lay_out(shared, views, views)
        return Cases(views, [trace(case, layout) for case in views], layout)

    def with_region(self, name: str) -> list[int]:
        """Which cases have a region."""
        return [n for n, case in enumerate(self.traces) if name in case.coarse]


def distances(
    queries: Sequence[Trace], references: Sequence[Trace], name: str, layout: Layout
) -> np.ndarray:
    """Of each query to each reference of another patient, (n, m)."""
    own, other = (np.array([case.patient for case in each]) for each in (queries, references))
    found = nearness(
        [case.coarse[name] for case in queries],
        [case.coarse[name] for case in references],
        ([case.fine[name] for case in queries], [case.fine[name] for case in references]),
        layout.grid(name),
        barred=own[:, None] == other[None],
        backward=False,
    )
    return found.distances


def false_alarms(cases: Cases, deals: int = DEALS, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Region -> cases, and the share of deals in which a stranger was called a copy.

    In deals of all cases, and ("few") of as many as `FEW` names, drawn anew for each deal.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in REGIONS:
        some = [cases.traces[n] for n in cases.with_region(name)]
        if len(some) < LEAST_CASES:
            continue
        all_pairs, rng = distances(some, some, name, cases.layout), np.random.default_rng(seed)

        def alarms(size: int, pairs: np.ndarray = all_pairs, rng: Any = rng) -> float:
            called = []
            for _ in range(deals):
                order = rng.permutation(len(pairs))[:size]
                made, real = order[: size // 3], order[size // 3 :]
                limit = _limit(pairs[np.ix_(real, real)], len(made))
                called.append((statistics.gaps(pairs[np.ix_(made, real)]) > limit).any())
            return float(np.mean(called))

        few = {size: alarms(size) for size in FEW if size < len(some)}
        rows[name] = {"cases": len(some), "false alarms": alarms(len(some)), "few": few}
    return rows


def found_pastes(cases: Cases, most: int = PASTED, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Change -> region -> lesions pasted, called copies, and nearest to their donor."""
    order = np.random.default_rng(seed).permutation(len(cases.views))
    third = len(order) // 3
    donors = [int(n) for n in order[third:] if "inside" in cases.traces[n].coarse]
    real = [cases.traces[n] for n in donors]
    among = {name: distances(real, real, name, cases.layout) for name in REGIONS}
    rows = {}
    for how, change in CHANGES.items():
        pairs = zip(order[:third], donors[:most], strict=False)
        made = {
            donor: trace(pasted(cases.views[one], cases.views[donor], change, cases), cases.layout)
            for one, donor in pairs
        }
        rows[how] = {name: _told(made, donors, real, among[name], name, cases) for name in REGIONS}
    return rows


def pasted(recipient: View, donor: View, change: Callable[[Patch], Patch], cases: Cases) -> View:
    """A scan whose own lesions are no longer labelled, with another's largest one in it."""
    lesion = cases.layout.shared.lesion
    whole = largest_lesion(donor, lesion)
    assert whole is not None  # donors have one
    assert recipient.labels is not None
    (box,) = ndimage.find_objects(whole.astype(np.uint8))
    patch, mask = change((donor.image[:, *box].astype(np.float32), whole[box]))
    size = recipient.labels.shape
    keep = tuple(slice(0, n) for n in size)  # what is larger than the scan is cut off
    patch, mask = patch[:, *keep], mask[keep]
    starts = [min(side.start, n - m) for side, n, m in zip(box, size, mask.shape, strict=True)]
    at = tuple(slice(max(0, a), max(0, a) + m) for a, m in zip(starts, mask.shape, strict=True))
    image, labels = recipient.image.astype(np.float32), recipient.labels.copy()
    labels[np.isin(labels, lesion)] = 0
    image[:, *at] = np.where(mask, patch, image[:, *at])
    labels[at] = np.where(mask, lesion[0], labels[at])
    return replace(recipient, image=image, labels=labels)


def _told(
    made: Mapping[int, Trace], donors: Sequence[int], real: Sequence[Trace], among: np.ndarray,
    name: str, cases: Cases,
) -> dict[str, int]:  # fmt: skip
    own = {donor: case for donor, case in made.items() if name in case.coarse}
    across = distances(list(own.values()), real, name, cases.layout)
    nearest = [donors[n] for n in across.argmin(axis=1)]
    return {
        "pasted": len(own),
        "called": int((statistics.gaps(across) > _limit(among, len(own))).sum()),
        "nearest to the donor": sum(a == b for a, b in zip(nearest, own, strict=True)),
    }


def _limit(among: np.ndarray, queries: int) -> float:
    """The audit's limit of a gap, with as many looks as it has."""
    return statistics.gap_limit(statistics.gaps(among), queries * len(LINES), ALPHA)


def study(data: Path, lesion: Sequence[str] | None = None) -> dict[str, Any]:
    """Both questions."""
    cases = Cases.of(data, lesion)
    return {
        "patients": len({case.patient for case in cases.traces}),
        "lesion": [cases.layout.shared.structures[n] for n in cases.layout.shared.lesion],
        "strangers": false_alarms(cases),
        "pasted": found_pastes(cases),
    }


def as_markdown(result: Mapping[str, Any]) -> str:
    """Two tables."""
    words = {"lesion": "box round the lesion", "inside": "lesion's inside"}
    rows = [
        [
            words[name],
            str(row["cases"]),
            f"{100 * row['false alarms']:.1f} %",
            *(f"{100 * row['few'][n]:.1f} %" if n in row["few"] else "-" for n in FEW),
        ]
        for name, row in result["strangers"].items()
    ]
    lines = [f"{result['patients']} patients, lesion: {', '.join(result['lesion'])}.", ""]
    head = ["strangers", "cases", f"false alarms in {DEALS} deals", *(f"of {n} cases" for n in FEW)]
    lines += table(head, rows)
    rows = [
        [how, *(_counts(row[name]) for name in REGIONS)] for how, row in result["pasted"].items()
    ]
    head = ["pasted lesion", *(f"{words[name]}: called copies" for name in REGIONS)]
    return "\n".join([*lines, "", *table(head, rows), ""])


def _counts(row: Mapping[str, int]) -> str:
    return f"{row['called']} of {row['pasted']} (donor nearest: {row['nearest to the donor']})"


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="labelled data set on disk")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lesion", action="append", help="structure that is the lesion")
    given = parser.parse_args(words)
    result = study(given.data, given.lesion)
    write_json(given.out / "study.json", plain(result))
    write_bytes(given.out / "study.md", as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == "__main__":
    main()
