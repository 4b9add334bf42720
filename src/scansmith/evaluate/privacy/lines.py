"""Lines of evidence of the audit: whole image, lesion, its inside, features; numbers of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.cases import Layout, Trace, hash_bits
from scansmith.evaluate.privacy.neighbours import LEAST_DISTANCE, Nearness, flips, nearness
from scansmith.evaluate.spread import generator

#: Chance of a false alarm over all cases and lines together.
ALPHA = 0.01
ALIGNED = ("whole", "lesion", "inside")
LINES = (*ALIGNED, "features")
#: Fewer patients of a side, or cases, with a lesion, and the lesion is no line of evidence.
LEAST = 4

Advance = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sides:
    """The traced cases. `real` holds training cases first, then hold-out cases."""

    synthetic: Sequence[Trace]
    real: Sequence[Trace]
    trained: np.ndarray  # bool, one for each of `real`


@dataclass(frozen=True)
class Line:
    """Distances of one line of evidence.

    Attributes:
        synthetic: distances of the synthetic cases `rows` to the real cases `columns`.
        real: distances of those real cases to each other; a patient to itself is inf.
        to_synthetic: of each of those real cases to the nearest synthetic case.
        patients: names, each once; `trained` says on which side each is.
    """

    name: str
    rows: np.ndarray
    columns: np.ndarray
    synthetic: Nearness
    real: np.ndarray
    to_synthetic: np.ndarray
    own: tuple[str, ...]
    patients: tuple[str, ...]
    trained: np.ndarray

    def to_patients(self) -> np.ndarray:
        """Distance of each synthetic case to the nearest case of each patient."""
        return statistics.by_patient(self.synthetic.distances, self.own, self.patients)

    def among_patients(self) -> np.ndarray:
        """Distance of each patient's nearest case to each other patient, symmetric not needed."""
        to_others = statistics.by_patient(self.real, self.own, self.patients)
        return statistics.by_patient(to_others.T, self.own, self.patients).T

    def scores(self) -> np.ndarray:
        """How near each patient is to a synthetic case; larger is nearer."""
        return -statistics.by_patient(self.to_synthetic[None], self.own, self.patients)[0]


def lines_of(sides: Sides, layout: Layout, advance: Advance) -> list[Line]:
    """Measure every line that there is data for."""
    found = []
    for name in ALIGNED:
        rows = np.array([name in case.coarse for case in sides.synthetic])
        columns = np.array([name in case.coarse for case in sides.real])
        patients = [
            len(
                {
                    case.patient
                    for case, here in zip(sides.real, columns & side, strict=True)
                    if here
                }
            )
            for side in (sides.trained, ~sides.trained)
        ]
        if name != "whole" and min(rows.sum(), *patients) < LEAST:
            continue
        found.append(
            _aligned_line(
                name, sides, np.flatnonzero(rows), np.flatnonzero(columns), layout, advance
            )
        )
    return [*found, _feature_line(sides)]


def _aligned_line(
    name: str, sides: Sides, rows: np.ndarray, columns: np.ndarray, layout: Layout, advance: Advance
) -> Line:
    made, real = [sides.synthetic[i] for i in rows], [sides.real[i] for i in columns]
    grid = layout.grid(name)
    coarse = [[case.coarse[name] for case in side] for side in (made, real)]
    fine = [[case.fine[name] for case in side] for side in (made, real)]
    total = len(made) + len(real)
    across = nearness(
        coarse[0], coarse[1], (fine[0], fine[1]), grid,
        advance=lambda done: advance(done, total, f"neighbours, {name}"),
    )  # fmt: skip
    among = nearness(
        coarse[1], coarse[1], (fine[1], fine[1]), grid,
        barred=_same_patient(real), backward=False,
        advance=lambda done: advance(len(made) + done, total, f"neighbours, {name}"),
    )  # fmt: skip
    return _line(name, sides, rows, columns, across, among.distances, across.to_reference())


def _feature_line(sides: Sides) -> Line:
    """Euclidean distances of features, each in standard deviations of the real cases."""
    real = np.stack([case.embedding for case in sides.real])
    made = np.stack([case.embedding for case in sides.synthetic])
    mean, sd = real.mean(0), real.std(0)
    varies = sd > 1e-9
    real, made = ((x - mean)[:, varies] / sd[varies] for x in (real, made))
    across, among = (np.maximum(cdist(x, real), LEAST_DISTANCE) for x in (made, real))
    among[_same_patient(sides.real)] = np.inf
    everything = Nearness(across, np.ones(across.shape, bool), {})
    rows, columns = np.arange(len(made)), np.arange(len(real))
    return _line("features", sides, rows, columns, everything, among, across.min(axis=0))


def _line(
    name: str, sides: Sides, rows: np.ndarray, columns: np.ndarray,
    across: Nearness, among: np.ndarray, to_synthetic: np.ndarray,
) -> Line:  # fmt: skip
    own = tuple(sides.real[i].patient for i in columns)
    side = dict(zip(own, sides.trained[columns].tolist(), strict=True))
    patients = tuple(side)
    trained = np.array([side[name] for name in patients])
    return Line(name, rows, columns, across, among, to_synthetic, own, patients, trained)


def measure(line: Line, groups: int, tests: int, sd: dict[str, float], seed: int) -> dict[str, Any]:
    """Numbers of one line, for audit.json.

    Args:
        groups: how many synthetic volumes (or independent slices) there are.
        tests: gaps that are looked at in all lines together.
        sd: of "share" and "auc" among exchanged patients.
    """
    to_patients, among = line.to_patients(), line.among_patients()
    trained, fewer = line.trained, int(min(line.trained.sum(), (~line.trained).sum()))
    rng = generator(seed, "audit", line.name)
    limit = statistics.gap_limit(statistics.gaps(among), tests, ALPHA)
    own = statistics.gaps(to_patients)
    near_train = trained[np.argmin(to_patients, axis=1)]
    usual = float(statistics.gaps(among).max())
    thinned = {
        side: float(np.median(statistics.expected_nearest(to_patients[:, mask], fewer)))
        for side, mask in (("train", trained), ("holdout", ~trained))
    }
    within = among[np.ix_(trained, trained)].min(axis=1)
    held_out = among[np.ix_(~trained, trained)]
    rows = statistics.nearer_to_train(statistics.ranked(to_patients), trained)
    real_rows = statistics.nearer_to_train(statistics.ranked(among), trained)
    return {
        "cases": len(line.rows),
        "patients": {"train": int(trained.sum()), "holdout": int((~trained).sum())},
        "nearest_median": thinned,
        "nearer_to_train": statistics.share_with_interval(rows, sd["share"], groups),
        "holdout_nearer_to_train": float(np.nanmean(real_rows[~trained])),
        "train_nearer_to_train": float(np.nanmean(real_rows[trained])),
        "membership": statistics.auc_with_interval(line.scores(), trained, rng),
        "sd_of_chance": {"share": sd["share"], "auc": sd["auc"]},
        "authenticity": {
            "synthetic": statistics.authenticity(to_patients[:, trained], within),
            "holdout": statistics.authenticity(held_out, within),
        },
        "copies": {
            "gap_limit": limit,
            "train": int(((own > limit) & near_train).sum()),
            "holdout": int(((own > limit) & ~near_train).sum()),
            "largest_real_gap": usual,
            "above_real_train": int(((own > usual) & near_train).sum()),
            "above_real_holdout": int(((own > usual) & ~near_train).sum()),
        },
    }


def exchange_tests(lines: Sequence[Line], seed: int) -> dict[str, Any]:
    """Are synthetic cases nearer to training patients, and are real ones, than chance allows?"""
    names = list(dict.fromkeys(name for line in lines for name in line.patients))
    side = {n: bool(t) for line in lines for n, t in zip(line.patients, line.trained, strict=True)}
    trained = np.array([side[name] for name in names])
    places = [np.array([names.index(name) for name in line.patients]) for line in lines]
    looks = [_looks(line) for line in lines]

    def all_of(labels: np.ndarray) -> np.ndarray:
        return np.concatenate([look(labels[at]) for look, at in zip(looks, places, strict=True)])

    across = statistics.exchanged(all_of, trained, generator(seed, "audit exchange"))
    titles = [f"{line.name}: {what}" for line in lines for what in ("share", "gaps", "auc")]
    reals = [line.among_patients() for line in lines]

    def among(labels: np.ndarray) -> np.ndarray:
        return np.array([_own_side(m, labels[at]) for m, at in zip(reals, places, strict=True)])

    real = statistics.exchanged(among, trained, generator(seed, "audit real"))
    return {
        "p": across["p"],
        "critical": across["critical"],
        "each": dict(zip(titles, across["each"], strict=True)),
        "sd": dict(zip(titles, across["sd"], strict=True)),
        "p_train_unlike_holdout": real["p"],
        "permutations": statistics.PERMUTATIONS,
    }


def _looks(line: Line) -> Callable[[np.ndarray], np.ndarray]:
    """What a leak makes larger, as a function of who was trained on."""
    distances, ranks = line.to_patients(), rankdata(line.scores())
    gaps, nearest = statistics.gaps(distances), np.argmin(distances, axis=1)
    rows = statistics.ranked(distances)

    def look(trained: np.ndarray) -> np.ndarray:
        share = np.nanmean(statistics.nearer_to_train(rows, trained))
        return np.array([share, gaps @ trained[nearest], statistics.auc_of_ranks(ranks, trained)])

    return look


def _own_side(among: np.ndarray, trained: np.ndarray) -> float:
    """Share of real patients whose nearest other patient is on their own side.

    Source: Schilling 1986, "Multivariate two-sample tests based on nearest neighbors".
    """
    return float(np.mean(trained[np.argmin(among, axis=1)] == trained))


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
    names = np.array([case.patient for case in cases])
    return names[:, None] == names[None]
