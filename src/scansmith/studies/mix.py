"""What a training learns from, and in which order, when real and synthetic samples are mixed.

A `Plan` says it in the papers' terms, as shares of N, the real samples that there are ("x1"):

    real       share of the N that is used, 0..1
    synthetic  multiple of N
    enhanced   multiple of N: classically augmented copies, made once from the real samples in use

`Plan.mix` counts it out for numbers of samples and of draws. The draws stay the same whatever is
mixed, so that no arm of a study is trained for longer: `draws` = steps x samples in a step, in
the paper's tables 100 x N. Every amount is rounded to the nearest whole number, halves up; one that
comes to no sample is refused, since the training would not be what it is called.

random           all sources in one pool, which is gone through in a new order each time
real-first       real and enhanced samples, then synthetic ones
synthetic-first  synthetic samples, then real and enhanced ones: with a small share of real ones,
                 training on synthetic data and fine-tuning on k % of the real

With one source after the other, each gets draws in proportion to its amount, or 90 % and 10 %.

Source: mixing modes and tables of the registered multimodal paper (arXiv 1909.01560, Table 2) and
of MM-GAN (Tables I, II, Fig. 10); `schedule`: the former's text says proportional, its published
code trains 90:10 where 10 % of the real samples come last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from scansmith.scan import DataError, SettingsError
from scansmith.settings import Section, number

Source = Literal["real", "synthetic", "enhanced"]
SOURCES: tuple[Source, ...] = ("real", "synthetic", "enhanced")


class Plan(Section):
    """What is mixed, in shares of the real samples that there are."""

    real: float = number(1.0, "share of the real samples", ge=0, le=1)
    synthetic: float = number(0.0, "synthetic samples, a multiple of the real ones", ge=0)
    enhanced: float = number(0.0, "classically augmented copies, a multiple likewise", ge=0)
    order: Literal["random", "real-first", "synthetic-first"] = number(
        "random", "one pool, or one source after the other"
    )
    schedule: Literal["proportional", "90:10"] = number(
        "proportional", "draws of what comes first and last, unless the order is random"
    )

    def sizes(self, real: int) -> dict[Source, int]:
        """How many samples of each source are used when there are `real` real ones.

        Raises:
            DataError: a source is asked for, and so little of it that it comes to no sample.
        """
        amounts = dict(zip(SOURCES, (self.real, self.synthetic, self.enhanced), strict=True))
        sizes = {source: _whole(Fraction(str(of)) * real) for source, of in amounts.items()}
        if none := [source for source, size in sizes.items() if amounts[source] and not size]:
            asked = ", ".join(f"{source}: {amounts[source]:g}" for source in none)
            raise DataError(
                f"mix: found {asked} of {real} real samples, which comes to none, expected one "
                "at least. Raise it, set it to 0, or learn from more patients."
            )
        return sizes

    def mix(
        self,
        real: int,
        draws: int,
        seed: int,
        *,
        synthetic: int | None = None,
        patients: Sequence[str] | None = None,
    ) -> Mix:
        """The plan counted out.

        Args:
            real: real samples that there are.
            draws: samples drawn in the whole training: steps x samples in a step.
            synthetic: synthetic samples that there are; None: as many as are asked for.
            patients: whose each real sample is. A share of them is then taken patient by patient,
                as if fewer had been labelled; None: each sample is a patient's only one.
        Raises:
            SettingsError: nothing is left to learn from, or copies are wanted of nothing.
            DataError: there are fewer synthetic samples than the plan asks for, or so few real ones
                that a share comes to none.
        """
        sizes = self.sizes(real)
        offered = sizes | {"real": real}
        if synthetic is not None:
            offered["synthetic"] = synthetic
        self._check(sizes, offered, draws)
        whose = tuple(patients) if patients is not None else tuple(map(str, range(real)))
        if len(whose) != real:
            raise ValueError(f"{len(whose)} patients named for {real} samples")
        return Mix(self, offered, sizes, self._stages(sizes, draws), seed, whose)

    def _check(
        self, sizes: Mapping[Source, int], offered: Mapping[Source, int], draws: int
    ) -> None:
        if draws < 1 or not sum(sizes.values()):
            raise SettingsError(
                f"mix: found {draws} draws from {sum(sizes.values())} samples "
                f"({offered['real']} real ones are there), expected one of each at least. Raise "
                "real, synthetic or the number of steps."
            )
        if sizes["enhanced"] and not sizes["real"]:
            raise SettingsError(
                "mix: found enhanced copies without real samples, expected some to copy. Raise "
                "real, or leave enhanced at 0."
            )
        if sizes["synthetic"] > offered["synthetic"]:
            raise DataError(
                f"mix: found {offered['synthetic']} synthetic samples, expected "
                f"{sizes['synthetic']} ({self.synthetic:g} for each of {offered['real']} real "
                "ones). Make more, or lower synthetic."
            )

    def _stages(self, sizes: Mapping[Source, int], draws: int) -> tuple[Stage, ...]:
        from_real: tuple[Source, ...] = ("real", "enhanced")
        groups: list[tuple[Source, ...]] = {
            "random": [SOURCES],
            "real-first": [from_real, ("synthetic",)],
            "synthetic-first": [("synthetic",), from_real],
        }[self.order]
        pools = [tuple((s, sizes[s]) for s in group if sizes[s]) for group in groups]
        pools = [pool for pool in pools if pool]
        if len(pools) == 1:
            return (Stage(pools[0], draws),)
        first, last = (sum(size for _, size in pool) for pool in pools)
        share = Fraction(first, first + last)
        if self.schedule == "90:10":
            share = Fraction(9, 10)
        early = _whole(draws * share)
        if early in (0, draws):
            raise SettingsError(
                f"mix: found {draws} draws in two stages of {first} and {last} samples, expected "
                "one at least in each. Give more steps, or another order."
            )
        return Stage(pools[0], early), Stage(pools[1], draws - early)


@dataclass(frozen=True)
class Stage:
    """A part of a training that draws from one pool.

    Attributes:
        pool: sources and how many samples of each.
        draws: samples drawn.
    """

    pool: tuple[tuple[Source, int], ...]
    draws: int

    @property
    def size(self) -> int:
        """Samples in the pool."""
        return sum(size for _, size in self.pool)

    @property
    def epochs(self) -> Fraction:
        """How often the pool is gone through."""
        return Fraction(self.draws, self.size)

    def counts(self, draws: int) -> list[int]:
        """How many of so many draws are of each source, as near to the pool's shares as can be."""
        exact = [Fraction(draws * size, self.size) for _, size in self.pool]
        counts = [math.floor(one) for one in exact]
        nearest = sorted(range(len(exact)), key=lambda n: (counts[n] - exact[n], n))
        for n in nearest[: draws - sum(counts)]:
            counts[n] += 1
        return counts


@dataclass(frozen=True)
class Mix:
    """A plan counted out: which sample is drawn when, a function of the draw's number alone.

    Attributes:
        offered: samples that there are of each source.
        sizes: samples in use.
        patients: whose each real sample is.
    """

    plan: Plan
    offered: Mapping[Source, int]
    sizes: Mapping[Source, int]
    stages: tuple[Stage, ...]
    seed: int
    patients: tuple[str, ...]

    @property
    def draws(self) -> int:
        """Samples drawn in the whole training."""
        return sum(stage.draws for stage in self.stages)

    @property
    def drawn(self) -> dict[Source, int]:
        """How often each source is drawn from in the whole training."""
        found: dict[Source, int] = dict.fromkeys(SOURCES, 0)
        for stage in self.stages:
            for (source, _), count in zip(stage.pool, stage.counts(stage.draws), strict=True):
                found[source] += count
        return found

    @cached_property
    def used(self) -> dict[Source, tuple[int, ...]]:
        """The samples in use, by source.

        The real ones of a smaller share are among those of a larger one with the same seed, and
        are of as few patients as can be.
        Synthetic samples are taken a block of N after the other, since the first N hold one for
        each real one when each was made that often. Who has them in another order, as a set on disk
        has them by name, shuffles them before (`makers`).
        """
        return {source: self._chosen(source) for source in SOURCES}

    def at(self, draw: int) -> tuple[Source, int]:
        """The source and index of a draw, counted from 0.

        Raises:
            SettingsError: the training has no such draw.
        """
        if not 0 <= draw < self.draws:
            raise SettingsError(
                f"mix: found draw {draw}, expected 0 to {self.draws - 1}. Plan as many draws as "
                "steps x samples in a step."
            )
        place = 0
        while draw >= self.stages[place].draws:
            draw -= self.stages[place].draws
            place += 1
        stage = self.stages[place]
        epoch, rank = divmod(draw, stage.size)
        source, turn = _order(stage, epoch, self.seed, place)[rank]
        return source, self.used[source][turn]

    def step(self, step: int, batch: int) -> list[tuple[Source, int]]:
        """The sources and indices of a step's batch; steps are counted from 1."""
        return [self.at(draw) for draw in range((step - 1) * batch, step * batch)]

    def _chosen(self, source: Source) -> tuple[int, ...]:
        size, offered, block = self.sizes[source], self.offered[source], self.offered["real"]
        if source == "enhanced":
            return tuple(range(size))
        rng = np.random.default_rng([self.seed, SOURCES.index(source)])
        if source == "real":
            _, group = np.unique(self.patients, return_inverse=True)
            group = rng.permutation(int(group.max(initial=-1)) + 1)[group]
        else:
            group = np.arange(offered) // max(block, 1)
        rank = np.lexsort((rng.permutation(offered), group))
        return tuple(int(n) for n in rank[:size])


@lru_cache(maxsize=4)
def _order(stage: Stage, epoch: int, seed: int, place: int) -> list[tuple[Source, int]]:
    """An epoch of a stage: sources and turns, shuffled.

    The last epoch of a stage may be a part of one; of each source it has its share, so that what is
    drawn in all does not hang on chance.
    """
    rng = np.random.default_rng([seed, len(SOURCES) + 1, place, epoch])
    left = min(stage.size, stage.draws - epoch * stage.size)
    entries = [
        (source, int(turn))
        for (source, size), count in zip(stage.pool, stage.counts(left), strict=True)
        for turn in rng.permutation(size)[:count]
    ]
    return [entries[n] for n in rng.permutation(len(entries))]


def _whole(amount: Fraction) -> int:
    """The nearest whole number, halves up: 10 % of 285 patients are 29."""
    return math.floor(amount + Fraction(1, 2))
