"""Scores of two arms in pairs: by case, patient and seed."""

import math

import pytest

from scansmith.studies.downstream_report import paired
from scansmith.studies.healed_channel import summarise as summarise_healed
from scansmith.studies.label_use_report import summarise as summarise_label_use
from scansmith.studies.paired_scores import in_common, minus, over_seeds, share

NOTHING = math.nan


def scores(**patients):
    """A case of each patient, with its mean Dice."""
    return {f"{name}/1": {"mean": value} for name, value in patients.items()}


def test_the_share_of_real_is_a_ratio_of_means_and_pairs_patients():
    real = {f"p{n}": {"mean": 0.5 + 0.1 * n} for n in range(4)}
    half = {name: {"mean": row["mean"] / 2} for name, row in real.items()}
    found = share(half, real, "half")
    # Every resample of pairs has the same ratio, however much patients differ.
    assert found["mean"] == pytest.approx(50)
    assert found["interval"] == pytest.approx([50, 50])
    other = {f"p{n}": {"mean": v} for n, v in enumerate((0.5, 0.0, 0.7, 0.0))}
    found = share(other, real, "other")
    assert found["mean"] == pytest.approx(100 * 1.2 / 2.6)
    assert found["interval"][0] < found["mean"] < found["interval"][1]


def test_false_alarms_of_different_seeds_make_no_pair():
    """Five gain .1; in one without a tumour the arms raise an alarm, each under another seed."""
    five = {f"p{n}": 0.5 for n in range(5)}
    better = {f"p{n}": 0.6 for n in range(5)}
    real = [scores(**five, healthy=NOTHING), scores(**five, healthy=0.0)]
    other = [scores(**better, healthy=0.0), scores(**better, healthy=NOTHING)]
    told = paired(other, real, "other")
    above = told["above"]["mean"]
    assert (above["patients"], above["left_out"]) == (5, 1)
    # averaged apart, healthy had 0 - 0 and the mean was .5 / 6
    assert above["mean"] == pytest.approx(0.1)
    assert told["each seed"] == pytest.approx([0.1, 0.1])
    assert told["false alarms"] == [0.5, 0.5]
    assert told["share"]["mean"] == pytest.approx(120)
    use = summarise_label_use({"real": real, "other": other}, {}, {})["real test"]["other"]
    assert use["above real"]["mean"]["mean"] == pytest.approx(0.1)
    assert use["share of real"]["mean"] == pytest.approx(120)
    # an arm's own mean knows nothing of the other: (5 * .6 + 0) / 6
    assert use["dice"]["mean"]["mean"] == pytest.approx(0.5)
    healed = summarise_healed({"plain": real, "other": other})
    assert healed["above plain"]["other"]["mean"]["mean"] == pytest.approx(0.1)


def test_a_seed_without_a_pair_leaves_the_other_seeds_pair():
    mine = [scores(a=0.9), scores(a=0.4)]
    theirs = [scores(a=NOTHING), scores(a=0.3)]
    rows, others = in_common(mine, theirs)
    assert rows == {"a": {"mean": 0.4}}
    assert others == {"a": {"mean": 0.3}}
    assert minus(rows, others)["a"]["mean"] == pytest.approx(0.1)
    assert over_seeds(mine)["a"]["mean"] == pytest.approx(0.65)


def test_cases_of_a_patient_are_paired_before_they_are_averaged():
    """Ann has a tumour in the first scan; in the second, without one, the other finds one."""
    mine = {"ann/1": {"mean": 0.6}, "ann/2": {"mean": NOTHING}}
    theirs = {"ann/1": {"mean": 0.5}, "ann/2": {"mean": 0.0}}
    told = paired([mine], [theirs], "mine")
    assert told["above"]["mean"]["mean"] == pytest.approx(0.1)  # not .6 - .25
    assert told["false alarms"] == [0, 1]
    twice = {"ann/1": {"mean": 0.0}, "ann/2": {"mean": 0.0}}
    none = {"ann/1": {"mean": NOTHING}, "ann/2": {"mean": NOTHING}}
    assert paired([twice], [none], "mine")["false alarms"] == [1, 0]  # patients, not scans
