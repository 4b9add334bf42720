"""Scores of two arms in pairs: by case, patient and seed."""

import math

import pytest

from scansmith.studies.downstream_report import verdict
from scansmith.studies.healed_channel import summarise as summarise_healed
from scansmith.studies.label_use_report import summarise as summarise_label_use
from scansmith.studies.paired_scores import deciding, in_common, minus, over_seeds, paired, share

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


def organ_and_tumour(organ, *tumours):
    """A case of each patient: the organ alike, a tumour Dice each, and their mean if it has one."""
    return {
        f"p{n}/p{n}": {
            "organ": organ,
            "tumour": tumour,
            "mean": organ if math.isnan(tumour) else (organ + tumour) / 2,
        }
        for n, tumour in enumerate(tumours)
    }


def test_a_mean_over_organ_and_tumour_does_not_stand_beside_one_over_the_organ_alone():
    """Both find the organs alike; in four of eight patients the others find a tumour not there."""
    quiet = organ_and_tumour(0.8, *[0.5] * 4, *[NOTHING] * 4)
    loud = organ_and_tumour(0.8, *[0.5] * 4, *[0.0] * 4)
    told = paired([quiet] * 2, [loud] * 2, "quiet")
    # of the four with a tumour .65 - .65; of the others organ against organ, not .8 against .4
    assert told["above"]["mean"]["mean"] == 0
    assert told["above"]["mean"]["patients"] == 8
    assert told["above"]["tumour"]["patients"] == 4
    assert told["false alarms"] == [0, 4]
    assert verdict(told) == "no worse"
    # counted as in BraTS: (.8 + 1) / 2 - (.8 + 0) / 2 = .5 in four of eight
    assert told["counting alarms"]["mean"] == pytest.approx(0.25)
    # a study that goes by the tumour compares the four who have one
    by_tumour = paired([quiet], [loud], "quiet", ["tumour"])
    assert by_tumour["above"]["mean"]["patients"] == 4
    assert by_tumour["counting alarms"]["mean"] == pytest.approx(0.5)
    # and one that goes by the organ knows of no alarm
    assert paired([quiet], [loud], "quiet", ["organ"])["false alarms"] == [0, 0]


def test_false_alarms_withhold_a_verdict_where_they_would_undo_the_gain():
    """.2 more in nine with a tumour; one without in whom it alone finds one, or three."""
    real = organ_and_tumour(0.8, *[0.4] * 9, *[NOTHING] * 3)

    def told(*alarms):
        return paired([organ_and_tumour(0.8, *[0.6] * 9, *alarms)], [real], "mine", ["tumour"])

    one, three = told(0.0, NOTHING, NOTHING), told(0.0, 0.0, 0.0)
    assert one["above"]["mean"]["mean"] == three["above"]["mean"]["mean"] == pytest.approx(0.2)
    # (9 * .2 - 1) / 10 and (9 * .2 - 3) / 12
    assert one["counting alarms"]["mean"] == pytest.approx(0.08)
    assert three["counting alarms"]["mean"] == pytest.approx(-0.1)
    assert verdict(told(NOTHING, NOTHING, NOTHING)) == "helps"
    assert verdict(one) == verdict(three) == "no evidence"  # one of ten: -.17 to .2
    # in a hundred patients one alarm takes .01 of .2
    many = [0.4] * 100
    quiet = organ_and_tumour(0.8, *many, NOTHING)
    found = paired([organ_and_tumour(0.8, *[0.6] * 100, 0.0)], [quiet], "mine", ["tumour"])
    assert found["false alarms"] == [1, 0]
    assert verdict(found) == "helps"


def test_the_mean_is_over_structures_not_over_regions_or_label_values():
    brats = ["necrosis", "oedema", "enhancing", "whole tumour", "tumour core", "enhancing tumour"]
    assert deciding([*brats, "label MSE", "label Dice", "mean"]) == brats[:3]
    assert deciding(["liver", "whole tumour", "mean"]) == ["liver", "whole tumour"]  # no BraTS
    assert deciding([*brats, "mean"], ["tumour core"]) == ["tumour core"]
    assert deciding(["mean"]) == []
