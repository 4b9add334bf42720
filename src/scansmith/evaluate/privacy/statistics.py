"""Numbers of the audit from distances alone: who is nearer to whom, and how sure that is.

Under the null hypothesis the synthetic cases do not depend on which real patients were trained on;
then training and hold-out patients, divided by chance, can be exchanged. Every test here is one of
exchanging them, patient by patient, with the synthetic cases as they are: exact for any sizes of
the sets and any dependence between synthetic cases. Numbers of cases a patient may differ between
patients, but not between the sides, for with more cases a patient is nearer to anything: `equal`
sees to that. Patients are exchanged for patients who take part in the same lines of evidence: so
every line keeps its numbers of both kinds, and a lesion that is commoner on one side is no leaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln
from scipy.stats import norm, rankdata

from scansmith.evaluate.spread import LEVEL
from scansmith.scan import DataError

PERMUTATIONS = 1999
_Z = float(norm.ppf((1 + LEVEL) / 2))
_RESAMPLES = 1000


def by_patient(distances: np.ndarray, patients: Sequence[str], order: Sequence[str]) -> np.ndarray:
    """Distance to the nearest case of each patient: (n, cases) to (n, patients)."""
    names = np.array(patients)
    return np.stack([distances[:, names == name].min(axis=1) for name in order], axis=1)


@dataclass(frozen=True)
class Ranked:
    """Patients of each row from the nearest to the farthest.

    Attributes:
        order: (n, P) numbers of the patients.
        counted: bool (n, P), in that order; False where the distance is inf.
    """

    order: np.ndarray
    counted: np.ndarray


def ranked(distances: np.ndarray) -> Ranked:
    """Rank (n, P) distances; inf where a patient is not to be counted."""
    order = np.argsort(distances, axis=1, kind="stable")
    return Ranked(order, np.isfinite(np.take_along_axis(distances, order, axis=1)))


def nearer_to_train(rows: Ranked, trained: np.ndarray) -> np.ndarray:
    """How likely each row's nearest patient was trained on, among equally many of both kinds.

    The larger side is thinned to the size of the smaller one in every possible way; the result
    is the exact share of the ways in which the nearest patient is a training patient. So 0.5 is
    what is to be expected, whatever the sizes.

    Args:
        trained: bool (P,).
    Returns:
        (n,) in 0..1; nan where a side has nobody.
    """
    here, there = trained[rows.order] & rows.counted, ~trained[rows.order] & rows.counted
    members, others = here.sum(1), there.sum(1)
    fewer = np.minimum(members, others)
    # How many of one side lie before the nearest of the other.
    before, behind = np.argmax(there, axis=1), np.argmax(here, axis=1)
    share = np.where(
        members >= others,
        1 - _chance_of_none(members, before, fewer),
        _chance_of_none(others, behind, fewer),
    )
    return np.where(fewer > 0, share, np.nan)


def expected_nearest(distances: np.ndarray, drawn: int) -> np.ndarray:
    """Mean distance to the nearest of `drawn` patients out of all finite ones of a row, (n,)."""
    ordered = np.sort(distances, axis=1)
    size = np.isfinite(ordered).sum(1)[:, None]
    after = size - 1 - np.arange(ordered.shape[1])[None]  # patients farther than this one
    count = np.minimum(drawn, size)
    usable = (after >= count - 1) & (count > 0)
    top = np.where(usable, after, count - 1)
    log = gammaln(top + 1.0) - gammaln(count + 0.0) - gammaln(top - count + 2.0)
    log -= gammaln(size + 1.0) - gammaln(count + 1.0) - gammaln(size - count + 1.0)
    weights = np.where(usable, np.exp(log), 0.0)
    return np.sum(weights * np.where(weights > 0, ordered, 0.0), axis=1)


def _chance_of_none(size: np.ndarray, special: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Probability that none of the special ones is among those drawn: hypergeometric at 0."""
    left = size - special - drawn
    safe = np.maximum(left, 0)
    log = gammaln(size - special + 1.0) - gammaln(safe + 1.0)
    log += gammaln(np.maximum(size - drawn, 0) + 1.0) - gammaln(size + 1.0)
    return np.where(left >= 0, np.exp(log), 0.0)


def share_with_interval(rows: np.ndarray, sd: float, groups: int) -> dict[str, Any]:
    """Mean of `nearer_to_train` with Wilson's (1927) interval.

    The trials are as many as give the standard deviation that exchanged patients show, so that
    patients to whom many cases are nearest count; at most the groups of synthetic cases.
    """
    value = float(np.mean(rows))
    trials = min(0.25 / sd**2, groups) if sd > 0 else groups
    return {"share": value, "interval": wilson(value, max(trials, 1.0)), "cases": len(rows)}


def wilson(share: float, trials: float) -> list[float]:
    """Wilson's score interval of a share, at LEVEL."""
    spread = _Z**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = np.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return [float(max(middle - half, 0.0)), float(min(middle + half, 1.0))]


def auc(scores: np.ndarray, member: np.ndarray) -> float:
    """Chance that a member's score is above a non-member's; ties count half (Mann-Whitney)."""
    return auc_of_ranks(rankdata(scores), member)


def auc_of_ranks(ranks: np.ndarray, member: np.ndarray) -> float:
    """The same from the ranks of the scores, 1 for the lowest."""
    n, m = int(member.sum()), int((~member).sum())
    return float((ranks[member].sum() - n * (n + 1) / 2) / (n * m))


def auc_with_interval(
    scores: np.ndarray, member: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """AUC with the percentiles of resampled patients, and the true positives at few false ones.

    The interval is None where a side has one patient, who says nothing of how patients vary.
    `found_at_5_percent`: share of training patients whose score is above that of 95 % of the
    hold-out patients. An attack that is sure of a few patients has an AUC near a half (Carlini
    et al. 2022, "Membership inference attacks from first principles", section III).
    """
    inside, outside = np.flatnonzero(member), np.flatnonzero(~member)
    both = np.arange(len(member)) < len(inside)
    drawn = [
        np.concatenate([rng.choice(inside, len(inside)), rng.choice(outside, len(outside))])
        for _ in range(_RESAMPLES)
    ]
    ranks = rankdata(scores[np.stack(drawn)], axis=1)
    ends = np.quantile(
        [auc_of_ranks(row, both) for row in ranks], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    )
    found = float((scores[inside] > np.quantile(scores[outside], 0.95)).mean())
    return {
        "auc": auc(scores, member),
        "interval": ends.tolist() if min(len(inside), len(outside)) > 1 else None,
        "found_at_5_percent": found,
        "patients": [len(inside), len(outside)],
    }


def gaps(distances: np.ndarray) -> np.ndarray:
    """log of the second nearest patient's distance over the nearest one's, (n,).

    High: the nearest patient is nearer than a stranger would be. Lowe's (2004) ratio of the
    nearest and the second nearest neighbour, as a logarithm.
    """
    if distances.shape[1] < 2:
        return np.zeros(len(distances))
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    known = np.isfinite(second)
    return np.where(known, np.log(np.where(known, second, 1.0) / np.where(known, first, 1.0)), 0.0)


def gap_limit(real_gaps: np.ndarray, tests: int, alpha: float) -> float:
    """The gap above which a case is too near to one patient to be anybody else.

    Between strangers gaps are exponential (the spacing of the two most extreme of many values
    whose tail is exponential: Renyi 1953; their mean is all that is to be known of them). The
    limit is passed by one of `tests` gaps with probability `alpha`. It is at least half as large
    again as any gap between real patients: two scans of one person would raise those.
    """
    usual = float(np.mean(real_gaps)) * np.log(tests / alpha)
    return max(usual, 1.5 * float(real_gaps.max()))


def authenticity(to_train: np.ndarray, among_train: np.ndarray) -> float:
    """Share of cases that are farther from their nearest training case than that one is from the
    nearest case of another training patient.

    Args:
        to_train: (n, m) distances to the training cases.
        among_train: (m,) distance of each of these to the nearest one of another patient.
    Source:
        Alaa et al. 2022, "How faithful is your synthetic data?", ICML, section 4.3: the
        hypothesis test of a sample's authenticity.
    """
    nearest = np.argmin(to_train, axis=1)
    return float(np.mean(to_train.min(axis=1) > among_train[nearest]))


def exchanged(
    statistics: Callable[[np.ndarray], np.ndarray],
    trained: np.ndarray,
    strata: np.ndarray,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> dict[str, Any]:
    """Are training patients nearer than chance allows? All statistics at once, one p value.

    Args:
        statistics: from bool (P,), who was trained on, to (k,) numbers that a leak makes larger.
        trained: who was.
        strata: int (P,); patients of one number alone are exchanged for each other.
    Returns:
        p: of the largest statistic in standard deviations, among exchanged patients (Westfall
        and Young 1993, single step: correct for k looks); each: the k single p values; mean, sd:
        of each among exchanged patients; critical: the largest one's 95th percentile.
    Raises:
        DataError: a statistic is not finite, so that nothing can be said about it.
    """
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]

    def exchange() -> np.ndarray:
        labels = trained.copy()
        for group in groups:
            labels[group] = rng.permutation(trained[group])
        return labels

    found = statistics(trained)
    null = np.array([statistics(exchange()) for _ in range(permutations)])
    if not (np.isfinite(found).all() and np.isfinite(null).all()):
        raise DataError(
            "exchange of patients: found a share, gap or AUC that is no finite number, expected "
            "finite ones. Look for cases whose voxels or features are not finite."
        )
    mean, sd = null.mean(0), null.std(0)
    sd = np.where(sd > 1e-12, sd, np.inf)
    largest, observed = ((null - mean) / sd).max(1), ((found - mean) / sd).max()
    tie = 1e-9  # the same division of the patients gives the same number but for rounding
    return {
        "p": float((1 + (largest >= observed - tie).sum()) / (permutations + 1)),
        "each": [float(p) for p in (1 + (null >= found - tie).sum(0)) / (permutations + 1)],
        "mean": mean.tolist(),
        "sd": [float(x) for x in np.where(np.isfinite(sd), sd, 0.0)],
        "critical": float(np.quantile(largest, LEVEL)),
    }
