"""The test of the set as a whole: training and hold-out patients exchanged, all lines at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.lines import Line
from scansmith.evaluate.spread import generator


def exchange_tests(lines: Sequence[Line], seed: int) -> dict[str, Any]:
    """Are synthetic cases nearer to training patients, and are real ones, than chance allows?

    Patients with a lesion are exchanged for each other, and those without: were all who have one on
    one side, the lines of lesions would have nobody to compare. Each line has as many cases of each
    patient on both sides.
    """
    lines = [line.even for line in lines]
    names = list(dict.fromkeys(name for line in lines for name in line.patients))
    taking_part = np.array([[name in line.patients for line in lines] for name in names])
    strata = np.unique(taking_part, axis=0, return_inverse=True)[1].ravel()
    side = {n: bool(t) for line in lines for n, t in zip(line.patients, line.trained, strict=True)}
    trained = np.array([side[name] for name in names])
    places = [np.array([names.index(name) for name in line.patients]) for line in lines]
    looks = [_looks(line) for line in lines]

    def all_of(labels: np.ndarray) -> np.ndarray:
        return np.concatenate([look(labels[at]) for look, at in zip(looks, places, strict=True)])

    across = statistics.exchanged(all_of, trained, strata, generator(seed, "audit exchange"))
    titles = [f"{line.name}: {what}" for line in lines for what in ("share", "gaps", "auc")]
    reals = [line.among_patients() for line in lines]

    def among(labels: np.ndarray) -> np.ndarray:
        return np.array([_own_side(m, labels[at]) for m, at in zip(reals, places, strict=True)])

    real = statistics.exchanged(among, trained, strata, generator(seed, "audit real"))
    return {
        "p": across["p"],
        "critical": across["critical"],
        "each": dict(zip(titles, across["each"], strict=True)),
        "mean": dict(zip(titles, across["mean"], strict=True)),
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
        share = statistics.nearer_to_train(rows, trained).mean()
        return np.array([share, gaps @ trained[nearest], statistics.auc_of_ranks(ranks, trained)])

    return look


def _own_side(among: np.ndarray, trained: np.ndarray) -> float:
    """Share of real patients whose nearest other patient is on their own side.

    Source: Schilling 1986, "Multivariate two-sample tests based on nearest neighbors".
    """
    return float(np.mean(trained[np.argmin(among, axis=1)] == trained))
