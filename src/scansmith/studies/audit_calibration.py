"""Does the audit find lesions that were pasted, and does it leave strangers alone? On real scans.

    python -m scansmith.studies.audit_calibration DATA --out DIR

Real patients are dealt out in thirds, many times: a third stands for synthetic cases, and owes
nothing to the others, so every copy that is called is a false alarm. Then lesions of some patients
are pasted into scans of others, as they are, mirrored, noisy, brighter, blurred, eroded, larger or
turned, and looked for. Both for the boxes round lesions and for their insides
(`scansmith.evaluate.privacy.cases`). With `--audits N`, N deals are audited as a whole as well: how
often strangers pass. Such an audit takes about a minute for a few hundred small scans.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.layouts import find_layout
from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.audit import measured
from scansmith.evaluate.privacy.cases import (
    Layout,
    Trace,
    lay_out,
    trace,
)
from scansmith.evaluate.privacy.lines import ALPHA, LINES, Pieces, Sides, lines_of
from scansmith.evaluate.privacy.verdict import judge
from scansmith.evaluate.view import View, files_of, oriented, share, view, with_slices
from scansmith.io import read_scan
from scansmith.io.atomic import write_bytes
from scansmith.scan import DataError
from scansmith.studies.command import command
from scansmith.studies.lesion_pasting import CHANGES, pasted
from scansmith.studies.tables import plain, table
from scansmith.train.checkpoint import write_json

REGIONS = ("lesion", "inside")
DEALS, PASTED = 200, 12
FEW = (12, 24)
LEAST_CASES = 9


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
        shared = with_slices(shared, found.cases)
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


@dataclass(frozen=True)
class Pairs:
    """What cases have of a region beside what others have: distances, and of whom both are."""

    distances: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    @staticmethod
    def of(queries: Sequence[Trace], references: Sequence[Trace], name: str, at: Layout) -> Pairs:
        """A patient is not compared with itself."""
        own, other = Pieces.of(queries, name), Pieces.of(references, name)
        found = own.distances(other, at.grid(name), same=True).distances
        return Pairs(found, own.patients, other.patients)

    def among(self, rows: Sequence[str], columns: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Of the rows of some patients to the nearest of each of others; and whose each row is."""
        at = [np.isin(one, some) for one, some in ((self.rows, rows), (self.columns, columns))]
        own = tuple(np.array(self.columns)[at[1]])
        left = self.distances[np.ix_(*at)]
        return statistics.by_patient(left, own, tuple(columns)), list(np.array(self.rows)[at[0]])

    def limit(self, patients: Sequence[str], looks: int) -> float:
        """The audit's limit of a gap, of real patients, for so many things looked at."""
        to_others, _ = self.among(patients, patients)
        return statistics.gap_limit(statistics.gaps(to_others), looks * len(LINES), ALPHA)


def false_alarms(cases: Cases, deals: int = DEALS, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Region -> patients, and the share of deals in which a stranger was called a copy.

    In deals of all patients, and ("few") of as many as `FEW` names, drawn anew for each deal.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in REGIONS:
        some = [cases.traces[n] for n in cases.with_region(name)]
        patients = np.array(sorted({case.patient for case in some}))
        if len(patients) < LEAST_CASES:
            continue
        pairs, rng = Pairs.of(some, some, name, cases.layout), np.random.default_rng(seed)

        def alarms(
            size: int, pairs: Pairs = pairs, rng: Any = rng, patients: np.ndarray = patients
        ) -> float:
            called = []
            for _ in range(deals):
                order = rng.permutation(patients)[:size].tolist()
                made, real = order[: size // 3], order[size // 3 :]
                found, looked = pairs.among(made, real)
                called.append((statistics.gaps(found) > pairs.limit(real, len(looked))).any())
            return float(np.mean(called))

        few = {size: alarms(size) for size in FEW if size < len(patients)}
        rows[name] = {"cases": len(some), "false alarms": alarms(len(patients)), "few": few}
    return rows


def verdicts(cases: Cases, deals: int, seed: int = 0) -> list[dict[str, Any]]:
    """How audits of strangers end: a third of the patients each is synthetic, train and hold-out.

    Returns:
        For each deal its verdict, the reasons and the p of the set as a whole. There are no files,
        so none that names a patient.
    """
    patients = sorted({case.patient for case in cases.traces})
    rng, no_files = np.random.default_rng(seed), {"identifying": 0, "unread": [], "unknown": []}
    rows = []
    for deal in range(deals):
        thirds = [set(part) for part in np.array_split(rng.permutation(patients), 3)]
        made, train, held_out = ([c for c in cases.traces if c.patient in part] for part in thirds)
        trained = np.arange(len(train) + len(held_out)) < len(train)
        sides = Sides(made, [*train, *held_out], trained)
        lines = lines_of(sides, cases.layout, lambda done, total, text: None)
        report = measured(sides, lines, seed)
        found = judge(report["lines"], report["exchange"], no_files)
        print(f"audit {deal + 1} of {deals}: {found['verdict']}", file=sys.stderr, flush=True)
        told = {what: found[what] for what in ("verdict", "reasons")}
        rows.append({**told, "p": report["exchange"]["p"]})
    return rows


def found_pastes(cases: Cases, most: int = PASTED, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Change -> region -> lesions pasted, called copies, and nearest to their donor."""
    order = np.random.default_rng(seed).permutation(len(cases.views))
    third = len(order) // 3
    recipients = [int(n) for n in order[:third]]
    donors = [int(n) for n in order[third:] if "inside" in cases.traces[n].coarse]
    whose = {cases.views[n].patient for n in recipients}
    donors = [n for n in donors if cases.views[n].patient not in whose]
    real = [cases.traces[n] for n in donors]
    among = {name: Pairs.of(real, real, name, cases.layout) for name in REGIONS}
    rows = {}
    for how, (change, keep) in CHANGES.items():
        made = [
            (donor, pasted(cases.views[one], cases.views[donor], change, cases.layout, keep=keep))
            for one, donor in zip(recipients, donors[:most], strict=False)
        ]
        traced = [(cases.views[n].patient, trace(one, cases.layout)) for n, one in made]
        rows[how] = {name: _told(traced, real, among[name], name, cases) for name in REGIONS}
    return rows


def _told(
    made: Sequence[tuple[str, Trace]], real: Sequence[Trace], among: Pairs, name: str, cases: Cases
) -> dict[str, int]:
    """Of cases with their donor's patient: a case is called by any of its lesions."""
    patients = tuple(dict.fromkeys(case.patient for case in real))
    looked = sum(len(case.coarse.get(name, ())) for _, case in made)
    limit, found = among.limit(patients, looked), {"pasted": 0, "called": 0, "nearest": 0}
    for donor, case in made:
        if name not in case.coarse:
            continue
        across, _ = Pairs.of([case], real, name, cases.layout).among([case.patient], patients)
        called = statistics.gaps(across) > limit
        nearest = [patients[n] == donor for n in across.argmin(axis=1)]
        found["pasted"] += 1
        found["called"] += bool(called.any())
        found["nearest"] += any(nearest)
    return {
        "pasted": found["pasted"],
        "called": found["called"],
        "nearest to the donor": found["nearest"],
    }


def study(data: Path, lesion: Sequence[str] | None = None, audits: int = 0) -> dict[str, Any]:
    """All questions; `audits`: how many deals are audited as a whole."""
    cases = Cases.of(data, lesion)
    return {
        "patients": len({case.patient for case in cases.traces}),
        "lesion": [cases.layout.shared.structures[n] for n in cases.layout.shared.lesion],
        "strangers": false_alarms(cases),
        "pasted": found_pastes(cases),
        "audits": verdicts(cases, audits),
    }


def as_markdown(result: Mapping[str, Any]) -> str:
    """Two tables, and how whole audits ended."""
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
    head = [
        "strangers",
        "cases",
        f"false alarms in {DEALS} deals",
        *(f"of {n} patients" for n in FEW),
    ]
    lines += table(head, rows)
    rows = [
        [how, *(_counts(row[name]) for name in REGIONS)] for how, row in result["pasted"].items()
    ]
    head = ["pasted lesion", *(f"{words[name]}: called copies" for name in REGIONS)]
    lines += ["", *table(head, rows)]
    if result["audits"]:
        ends = Counter(row["verdict"] for row in result["audits"])
        told = ", ".join(f"{count} {verdict}" for verdict, count in ends.most_common())
        lines += ["", f"Of {len(result['audits'])} whole audits of strangers: {told}."]
    return "\n".join([*lines, ""])


def _counts(row: Mapping[str, int]) -> str:
    return f"{row['called']} of {row['pasted']} (donor nearest: {row['nearest to the donor']})"


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="labelled data set on disk")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lesion", action="append", help="structure that is the lesion")
    parser.add_argument(
        "--audits", type=int, default=0, metavar="N", help="deals that are audited as a whole"
    )
    given = parser.parse_args(words)
    result = study(given.data, given.lesion, given.audits)
    write_json(given.out / "study.json", plain(result))
    write_bytes(given.out / "study.md", as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
