"""Lines of evidence of the audit: whole image, lesion, its inside, features; numbers of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.cases import Grid, Layout, Trace, hash_bits
from scansmith.evaluate.privacy.equal import evened
from scansmith.evaluate.privacy.neighbours import LEAST_DISTANCE, Nearness, flips, nearness
from scansmith.evaluate.spread import generator

#: Chance of a false alarm over all cases and lines together.
ALPHA = 0.01
ALIGNED = ("whole", "lesion", "inside")
LINES = (*ALIGNED, "features")
#: Fewer patients of a side, or cases, with a lesion, and the lesion is no line of evidence.
LEAST = 4
#: Fewer real patients, and no case is called a copy: a gap between real patients takes three.
LEAST_FOR_COPIES = 3

Advance = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sides:
    """The traced cases. `real` holds training cases first, then hold-out cases."""

    synthetic: Sequence[Trace]
    real: Sequence[Trace]
    trained: np.ndarray  # bool, one for each of `real`


@dataclass(frozen=True)
class Line:
    """Distances of one line of evidence, of whole cases or of each of their lesions.

    Attributes:
        rows, columns: the case of each thing that is compared, synthetic and real.
        pieces: the number of each in its case, of rows and of columns.
        synthetic: distances of `rows` to `columns`.
        real: distances of `columns` to each other; a patient to itself is inf.
        to_synthetic: of each of `columns` to the nearest of `rows`.
        patients: names, each once; `trained` says on which side each is.
        thinned: the same line of as many cases of each patient on both sides; None: it is so.
    """

    name: str
    rows: np.ndarray
    columns: np.ndarray
    pieces: tuple[np.ndarray, np.ndarray]
    synthetic: Nearness
    real: np.ndarray
    to_synthetic: np.ndarray
    own: tuple[str, ...]
    patients: tuple[str, ...]
    trained: np.ndarray
    thinned: Line | None = None

    @property
    def even(self) -> Line:
        """Where the sides are compared: with more cases a patient is nearer to anything."""
        return self.thinned or self

    def to_patients(self) -> np.ndarray:
        """Distance of each of `rows` to the nearest of each patient."""
        return statistics.by_patient(self.synthetic.distances, self.own, self.patients)

    def to_others(self) -> np.ndarray:
        """Distance of each of `columns` to the nearest of each other patient."""
        return statistics.by_patient(self.real, self.own, self.patients)

    def among_patients(self) -> np.ndarray:
        """Distance of each patient's nearest to each other patient, symmetric not needed."""
        return statistics.by_patient(self.to_others().T, self.own, self.patients).T

    def scores(self) -> np.ndarray:
        """How near each patient is to a synthetic case; larger is nearer."""
        return -statistics.by_patient(self.to_synthetic[None], self.own, self.patients)[0]


def lines_of(sides: Sides, layout: Layout, advance: Advance) -> list[Line]:
    """Measure every line that there is data for."""
    found = []
    for name in ALIGNED:
        made = sum(name in case.coarse for case in sides.synthetic)
        patients = [
            len(
                {
                    c.patient
                    for c, here in zip(sides.real, side, strict=True)
                    if here and name in c.coarse
                }
            )
            for side in (sides.trained, ~sides.trained)
        ]
        if name == "whole" or min(made, *patients) >= LEAST:
            found.append(_aligned_line(name, sides, layout, advance))
    return [*found, _feature_line(sides)]


@dataclass(frozen=True)
class Pieces:
    """What cases have of a region, one after the other.

    Attributes:
        case, number: of each, the case and its number there.
        patients: whose it is.
        coarse, fine: its images.
    """

    case: np.ndarray
    number: np.ndarray
    patients: tuple[str, ...]
    coarse: list[np.ndarray]
    fine: list[np.ndarray]

    @staticmethod
    def of(cases: Sequence[Trace], region: str) -> Pieces:
        """All of a region in these cases; cases without it are left out."""
        found = [
            (n, k) for n, one in enumerate(cases) for k in range(len(one.coarse.get(region, ())))
        ]
        return Pieces(
            np.array([n for n, _ in found], int),
            np.array([k for _, k in found], int),
            tuple(cases[n].patient for n, _ in found),
            [cases[n].coarse[region][k] for n, k in found],
            [cases[n].fine[region][k] for n, k in found],
        )

    def some(self, kept: np.ndarray) -> Pieces:
        """Those that are kept, by bool (n,)."""
        at = np.flatnonzero(kept).tolist()
        return Pieces(
            self.case[at],
            self.number[at],
            tuple(self.patients[n] for n in at),
            [self.coarse[n] for n in at],
            [self.fine[n] for n in at],
        )

    def distances(
        self,
        other: Pieces,
        grid: Grid,
        *,
        same: bool = False,
        advance: Callable[[int], None] | None = None,
    ) -> Nearness:
        """Of each to each of the other's.

        Args:
            same: both are of the real cases, where a patient is not compared with itself.
        """
        whose = {"whose": other.patients}
        more: dict[str, Any] = whose | {
            "barred": _equal(self.patients, other.patients),
            "backward": False,
        }
        more = (more if same else whose) | ({"advance": advance} if advance else {})
        images = self.fine, other.fine
        return nearness(self.coarse, other.coarse, images, grid, **more)


def _aligned_line(name: str, sides: Sides, layout: Layout, advance: Advance) -> Line:
    made, everything = Pieces.of(sides.synthetic, name), Pieces.of(sides.real, name)
    grid = layout.grid(name)

    def compared(kept: np.ndarray) -> Line:
        real = everything.some(kept)
        total = len(made.case) + len(real.case)
        across = made.distances(
            real, grid, advance=lambda done: advance(done, total, f"neighbours, {name}")
        )
        among = real.distances(
            real, grid, same=True,
            advance=lambda done: advance(len(made.case) + done, total, f"neighbours, {name}"),
        )  # fmt: skip
        cases, pieces = (made.case, real.case), (made.number, real.number)
        to_synthetic = across.to_reference()
        return _line(name, sides, cases, pieces, across, among.distances, to_synthetic)

    return _with_even(compared, everything.case, sides)


def _with_even(compared: Callable[[np.ndarray], Line], cases: np.ndarray, sides: Sides) -> Line:
    """A line of all cases, and beside it one of as many of each patient on both sides.

    It is compared anew: which pairs are aligned hangs on all that there are.

    Args:
        compared: from bool (n,), what is kept of the real things that are compared.
        cases: the case of each of these.
    """
    people: tuple[dict[str, list[int]], ...] = ({}, {})
    for case in np.unique(cases).tolist():
        people[int(sides.trained[case])].setdefault(sides.real[case].patient, []).append(case)
    line, kept = compared(np.ones(len(cases), bool)), np.isin(cases, evened(*people))
    return line if kept.all() else replace(line, thinned=compared(kept))


def _feature_line(sides: Sides) -> Line:
    """Euclidean distances of features, each in standard deviations of the real cases."""
    real = np.stack([case.embedding for case in sides.real])
    made = np.stack([case.embedding for case in sides.synthetic])
    mean, sd = real.mean(0), real.std(0)
    varies = sd > 1e-9
    real, made = ((x - mean)[:, varies] / sd[varies] for x in (real, made))
    across, among = (np.maximum(cdist(x, real), LEAST_DISTANCE) for x in (made, real))
    among[_same_patient(sides.real)] = np.inf

    def compared(kept: np.ndarray) -> Line:
        here = across[:, kept]
        cases = np.arange(len(made)), np.flatnonzero(kept)
        only = np.zeros(len(made), int), np.zeros(kept.sum(), int)
        everything = Nearness(here, np.ones(here.shape, bool), {})
        within = among[np.ix_(kept, kept)]
        return _line("features", sides, cases, only, everything, within, here.min(axis=0))

    return _with_even(compared, np.arange(len(real)), sides)


def _line(
    name: str, sides: Sides, cases: tuple[np.ndarray, np.ndarray],
    pieces: tuple[np.ndarray, np.ndarray],
    across: Nearness, among: np.ndarray, to_synthetic: np.ndarray,
) -> Line:  # fmt: skip
    rows, columns = cases
    own = tuple(sides.real[i].patient for i in columns)
    side = dict(zip(own, sides.trained[columns].tolist(), strict=True))
    patients = tuple(side)
    trained = np.array([side[name] for name in patients])
    return Line(name, rows, columns, pieces, across, among, to_synthetic, own, patients, trained)


def measure(
    line: Line, groups: int, tests: int, chance: dict[str, dict[str, float]], seed: int
) -> dict[str, Any]:
    """Numbers of one line, for audit.json: copies among all cases, what compares the two sides with
    as many cases of each patient on both.

    Args:
        groups: how many synthetic volumes (or independent slices) there are.
        tests: gaps that are looked at in all lines together.
        chance: "mean" and "sd" of "share" and "auc" among exchanged patients.
    """
    to_patients, sd, even = line.to_patients(), chance["sd"], line.even
    trained, fewer = line.trained, int(min(line.trained.sum(), (~line.trained).sum()))
    rng = generator(seed, "audit", line.name)
    # Gaps of real lesions one by one, as those of synthetic ones are: a patient's nearest of
    # several is steadier than each of them.
    real_gaps = statistics.gaps(line.to_others())
    limit, usual = statistics.gap_limit(real_gaps, tests, ALPHA), float(real_gaps.max())
    if len(line.patients) < LEAST_FOR_COPIES:
        limit = usual = np.inf
    own = statistics.gaps(to_patients)
    near_train = trained[np.argmin(to_patients, axis=1)]
    equally, among = even.to_patients(), even.among_patients()
    thinned = {
        side: float(np.median(statistics.expected_nearest(equally[:, mask], fewer)))
        for side, mask in (("train", trained), ("holdout", ~trained))
    }
    rows = statistics.nearer_to_train(statistics.ranked(equally), trained)
    real_rows = statistics.nearer_to_train(statistics.ranked(among), trained)
    return {
        "cases": len(np.unique(line.rows)),
        "compared": len(line.rows),
        "patients": {"train": int(trained.sum()), "holdout": int((~trained).sum())},
        "nearest_median": thinned,
        "nearer_to_train": statistics.share_with_interval(rows, sd["share"], groups),
        "holdout_nearer_to_train": _known_mean(real_rows[~trained]),
        "train_nearer_to_train": _known_mean(real_rows[trained]),
        "membership": statistics.auc_with_interval(even.scores(), trained, rng),
        "mean_of_chance": chance["mean"],
        "sd_of_chance": sd,
        "authenticity": _authenticity(even) if fewer > 1 else {"synthetic": None, "holdout": None},
        "copies": {
            "gap_limit": limit,
            "train": int(((own > limit) & near_train).sum()),
            "holdout": int(((own > limit) & ~near_train).sum()),
            "largest_real_gap": usual,
            "above_real_train": int(((own > usual) & near_train).sum()),
            "above_real_holdout": int(((own > usual) & ~near_train).sum()),
        },
    }


def _known_mean(rows: np.ndarray) -> float | None:
    """Mean of what is not nan; None where all is."""
    known = rows[~np.isnan(rows)]
    return float(known.mean()) if len(known) else None


def _authenticity(line: Line) -> dict[str, float]:
    """Of synthetic and of hold-out cases. All case by case: the nearest of several cases of a
    patient is nearer than each of them.
    """
    member = dict(zip(line.patients, line.trained.tolist(), strict=True))
    mine = np.array([member[name] for name in line.own])
    within = line.to_others()[np.ix_(mine, line.trained)].min(axis=1)
    return {
        "synthetic": statistics.authenticity(line.synthetic.distances[:, mine], within),
        "holdout": statistics.authenticity(line.real[np.ix_(~mine, mine)], within),
    }


def hashes(sides: Sides) -> dict[str, Any]:
    """Copies by perceptual hash: bits of 63 that differ, the least over all flips.

    A synthetic case counts as a copy if fewer bits differ than between any two real patients.
    """
    sets = flips((2,) * sides.real[0].frequencies.ndim)
    real = np.stack([hash_bits(case.frequencies, ()) for case in sides.real])
    turned = [
        [np.stack([hash_bits(case.frequencies, flip) for case in side]) for flip in sets]
        for side in (sides.synthetic, sides.real)
    ]
    across, among = (
        np.min([cdist(own, real, "cityblock") for own in side], axis=0) for side in turned
    )
    among[_same_patient(sides.real)] = np.inf
    least = float(among.min())
    nearest = across.min(axis=1)
    near_train = across[:, sides.trained].min(axis=1) <= nearest
    return {
        "bits": real.shape[1],
        "least_between_patients": int(least),
        "copies_train": int(((nearest < least) & near_train).sum()),
        "copies_holdout": int(((nearest < least) & ~near_train).sum()),
        "distances": across,
    }


def _same_patient(cases: Sequence[Trace]) -> np.ndarray:
    names = [case.patient for case in cases]
    return _equal(names, names)


def _equal(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    return np.array(first)[:, None] == np.array(second)[None]
