"""Statistics of a reader study: what a table of answers shows, and what it could have shown.

m real and m synthetic cases are judged. Positive is "synthetic": sensitivity is the share of
synthetic cases that were called so, specificity the share of real cases that were called real.

The test against chance asks whether answers have anything to do with what was shown. If not, every
way of dealing m real and m synthetic cases to the given answers was equally likely, since the order
was drawn by chance: Fisher's exact test (two-sided), which holds however much a reader leans to one
answer. The binomial test of the accuracy against one half takes a reader who leans to know less
than he does: somebody who calls nearly all real, and is right each time that he does not, has an
accuracy near one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, fisher_exact, hypergeom
from sklearn.metrics import cohen_kappa_score

from scansmith.evaluate.spread import generator

LEVEL = 0.95
ALPHA = 0.05
POWER = 0.8
#: With three of each, all right, p is 2 / C(6, 3) = 0.1; with four, 2 / C(8, 4) = 0.029.
LEAST_CASES = 8
_RESAMPLES = 2000
EXCHANGES = 9999


@dataclass(frozen=True)
class Proportion:
    """k of n, with the exact 95 % interval.

    Source: Clopper and Pearson, Biometrika 1934; `scipy.stats.binomtest`.
    """

    right: int
    of: int

    @property
    def value(self) -> float:
        """k / n."""
        return self.right / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        found = binomtest(self.right, self.of).proportion_ci(LEVEL, method="exact")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Answers:
    """The 2 x 2 table of a reader: what was shown, and what it was taken for."""

    real_as_real: int
    real_as_synthetic: int
    synthetic_as_real: int
    synthetic_as_synthetic: int

    @property
    def accuracy(self) -> Proportion:
        """Right answers of all."""
        return Proportion(self.real_as_real + self.synthetic_as_synthetic, self.cases)

    @property
    def sensitivity(self) -> Proportion:
        """Synthetic cases that were called synthetic."""
        return Proportion(
            self.synthetic_as_synthetic, self.synthetic_as_real + self.synthetic_as_synthetic
        )

    @property
    def specificity(self) -> Proportion:
        """Real cases that were called real."""
        return Proportion(self.real_as_real, self.real_as_real + self.real_as_synthetic)

    @property
    def cases(self) -> int:
        """All answers."""
        return sum(vars(self).values())

    @property
    def called_synthetic(self) -> Proportion:
        """Answers "synthetic" of all: far from one half, the reader leans."""
        return Proportion(self.real_as_synthetic + self.synthetic_as_synthetic, self.cases)

    @property
    def p(self) -> float:
        """Fisher's exact test, two-sided: answers have nothing to do with what was shown."""
        table = [
            [self.real_as_real, self.real_as_synthetic],
            [self.synthetic_as_real, self.synthetic_as_synthetic],
        ]
        return float(fisher_exact(table).pvalue)

    @property
    def p_binomial(self) -> float:
        """Exact binomial test, two-sided: the accuracy is one half."""
        return float(binomtest(self.accuracy.right, self.cases).pvalue)


def exchange_p(
    called: Sequence[bool], synthetic: Sequence[bool], patients: Sequence[str], seed: int
) -> float:
    """p of a reader's answers where patients have several pictures, which are not independent.

    What a patient's pictures are, real or synthetic, is exchanged between patients as wholes; p is
    the share of exchanges that tell the sides as far apart as they are (two-sided, the shown one
    counted in), by the difference of the shares that are called synthetic.

    Args:
        called: of each picture, whether it was called synthetic.
        synthetic: whether it is.
        patients: whose it is; one with pictures of both sides counts as two.
    Source:
        Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 2010, for p.
    """
    names = [(bool(side), name) for side, name in zip(synthetic, patients, strict=True)]
    groups = {name: n for n, name in enumerate(dict.fromkeys(names))}
    at = np.array([groups[name] for name in names])
    size = np.bincount(at).astype(float)
    hits = np.bincount(at, weights=np.asarray(called, float))
    made = np.array([side for side, _ in groups], float)

    def apart(made: np.ndarray) -> np.ndarray:
        there, others = made @ size, (1 - made) @ size
        return np.abs(made @ hits / there - (1 - made) @ hits / others)

    rng = generator(seed, "reader study")
    drawn = apart(rng.permuted(np.tile(made, (EXCHANGES, 1)), axis=1))
    return float((1 + (drawn >= apart(made) - 1e-12).sum()) / (1 + EXCHANGES))


def rejected(real: int, synthetic: int, readers: int = 1) -> np.ndarray:
    """Which tables the test calls no chance: bool (synthetic + 1, real + 1).

    First axis: synthetic cases called synthetic; second: real cases called synthetic.

    Args:
        readers: with several, readers * p has to be below ALPHA, the first step of `holm`: what
            finds out a reader whatever the others answer.
    """
    found = np.zeros((synthetic + 1, real + 1), bool)
    for called in range(real + synthetic + 1):
        hits = np.arange(max(0, called - real), min(called, synthetic) + 1)
        shares = hypergeom.pmf(hits, real + synthetic, synthetic, called)
        # The sum over all tables that are no likelier; the slack is scipy's, for rounding.
        p = (shares[None] * (shares[None] <= shares[:, None] * (1 + 1e-7))).sum(axis=1)
        found[hits, called - hits] = readers * p < ALPHA
    return found


def power(accuracy: float, found_out: np.ndarray) -> float:
    """Chance that a reader of this accuracy on both sides gives one of the tables `found_out`."""
    synthetic, real = (side - 1 for side in found_out.shape)
    likely = np.outer(
        binom.pmf(np.arange(synthetic + 1), synthetic, accuracy),
        binom.pmf(np.arange(real + 1), real, 1 - accuracy),
    )
    return float(likely[found_out].sum())


def detectable(real: int, synthetic: int, readers: int = 1) -> float | None:
    """The accuracy, alike on both sides, that so many cases find out four times in five.

    Args:
        readers: how many share the one try in twenty that chance has (`rejected`).
    Returns:
        None if not even a reader who is always right would be found out.
    """
    found_out = rejected(real, synthetic, readers)
    if power(1.0, found_out) < POWER:
        return None
    return float(brentq(lambda accuracy: power(accuracy, found_out) - POWER, 0.5, 1.0, xtol=1e-6))


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several readers, so that chance has one try in twenty in all.

    Source: Holm, Scandinavian Journal of Statistics 1979.
    """
    order = np.argsort(p, kind="stable")
    found, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        found[place] = least
    return found


def cohen(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Cohen's kappa of two readers (`sklearn.metrics.cohen_kappa_score`).

    None where both gave one and the same answer throughout: chance alone would agree as much.
    """
    if len({*one, *other}) < 2:
        return None
    return float(cohen_kappa_score(list(one), list(other)))


def cohen_interval(one: Sequence[str], other: Sequence[str], seed: int) -> list[float] | None:
    """95 % percentile interval from resampling the cases; None where kappa has none."""
    words = sorted({*one, *other})
    if len(words) < 2:
        return None
    pairs = np.zeros((2, 2))
    for a, b in zip(one, other, strict=True):
        pairs[words.index(a), words.index(b)] += 1
    drawn = generator(seed, "kappa").multinomial(len(one), pairs.ravel() / len(one), _RESAMPLES)
    shares = drawn.reshape(-1, 2, 2) / len(one)
    by_chance = (shares.sum(axis=2) * shares.sum(axis=1)).sum(axis=1)
    defined = by_chance < 1
    agreed = shares[defined, 0, 0] + shares[defined, 1, 1]
    kappa = (agreed - by_chance[defined]) / (1 - by_chance[defined])
    low, high = np.quantile(kappa, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def fleiss(counts: np.ndarray) -> float | None:
    """Fleiss' kappa: agreement of all readers beyond chance.

    P_i = (sum_j n_ij^2 - n) / (n (n - 1)), kappa = (mean P_i - sum p_j^2) / (1 - sum p_j^2), with
    n readers and p_j the share of answer j among all answers.

    Args:
        counts: (cases, answers), how many readers gave each answer; rows sum to n.
    Returns:
        None where all answers are one and the same.
    Source:
        Fleiss, Psychological Bulletin 1971.
    """
    readers = counts.sum(axis=1)[0]
    agreed = ((counts**2).sum(axis=1) - readers) / (readers * (readers - 1))
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    if by_chance == 1.0:
        return None
    return (float(agreed.mean()) - by_chance) / (1 - by_chance)
