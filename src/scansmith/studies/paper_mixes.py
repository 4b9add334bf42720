"""The mixes of the papers' tables, as plans.

The papers hold the number of iterations constant (registered multimodal, 2.6: 100 passes through
x1) or do not say (MM-GAN stops when nothing is gained any more; MAGAN; ANT-GAN). Here it is
constant in every table.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from scansmith.studies.mix import Plan

Schedule = Literal["proportional", "90:10"]


def registered_multimodal_table_2(schedule: Schedule = "proportional") -> dict[int, Plan]:
    """Table 2 of the registered multimodal paper: its 25 rows by number.

    Args:
        schedule: of rows 6 to 8, which learn from synthetic samples and then from 10 % of the real
            ones. The text says proportional; the published code gives the real ones 10 % of all
            draws. Nothing else in the table differs between the two.
    """
    rows = {
        1: Plan(),
        2: Plan(real=0.5),
        3: Plan(real=0, synthetic=1),
        4: Plan(real=0, synthetic=2),
        5: Plan(real=0, synthetic=3),
        9: Plan(real=0.2, synthetic=0.8),
        10: Plan(real=0.5, synthetic=0.5),
        11: Plan(real=0.8, synthetic=0.2),
        24: Plan(synthetic=1, order="real-first"),
        25: Plan(synthetic=1, order="synthetic-first"),
    }
    for times in (1, 2, 3):
        rows[5 + times] = fine_tuned(0.1, times, schedule)
    for place, amount in enumerate((0.2, 0.5, 0.8, 1, 2, 3)):
        rows[12 + place] = Plan(synthetic=amount)
        rows[18 + place] = Plan(enhanced=amount)
    return dict(sorted(rows.items()))


def mm_gan_tables() -> dict[str, Plan]:
    """Tables I and II of MM-GAN: R is real, F synthetic, 100 as many as there are patients."""
    both = {f"{100 * times}F+R": Plan(synthetic=times) for times in (1, 3, 5)}
    return {"100R": Plan(), "100F": Plan(real=0, synthetic=1), **both}


def mm_gan_figure_10(schedule: Schedule = "proportional") -> dict[str, Plan]:
    """Fig. 10 of MM-GAN: real, synthetic, synthetic then fine-tuned on 10 % of the patients."""
    tables = mm_gan_tables()
    return {"R": tables["100R"], "F": tables["100F"], "FT": fine_tuned(0.1, 1, schedule)}


def magan_segmentation() -> dict[str, Plan]:
    """MAGAN 3.4: 131 real subjects without and with 865 synthetic ones."""
    return {"131 real": Plan(), "131 real + 865 synthetic": Plan(synthetic=float(MAGAN_MULTIPLE))}


def ant_gan_table_7() -> dict[str, Plan]:
    """Table VII of ANT-GAN, for normal and abnormal samples alike.

    A has 50 real ones of each kind, B 50 synthetic ones of each kind more. Mix each kind by itself,
    so that B has the table's 4 x 50 whichever kind is drawn.
    """
    return {"A": Plan(), "B": Plan(synthetic=1)}


MAGAN_MULTIPLE = Fraction(865, 131)


def fine_tuned(real: float, synthetic: float, schedule: Schedule = "proportional") -> Plan:
    """Pre-train on a multiple of synthetic samples, fine-tune on a share of the real ones."""
    return Plan(real=real, synthetic=synthetic, order="synthetic-first", schedule=schedule)
