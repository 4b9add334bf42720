"""Mixing plans: the counts of every row of the papers' tables, what is drawn when."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest

from scansmith.scan import DataError, SettingsError
from scansmith.settings import load_settings
from scansmith.studies.mix import Plan
from scansmith.studies.spec import BASELINES, find_spec

SLICES = 244 * 55  # x1 of the registered multimodal paper's published code
TOTAL = 100 * SLICES

# Row: real, synthetic and enhanced samples used; passes through what is there, in brackets in the
# published code; draws of each source in a training of 100 x 13,420 = 1,342,000.
TABLE_2 = {
    1: ((13420, 0, 0), [100], (1342000, 0, 0)),
    2: ((6710, 0, 0), [200], (1342000, 0, 0)),
    3: ((0, 13420, 0), [100], (0, 1342000, 0)),
    4: ((0, 26840, 0), [50], (0, 1342000, 0)),
    5: ((0, 40260, 0), [34], (0, 1342000, 0)),
    9: ((2684, 10736, 0), [100], (268400, 1073600, 0)),
    10: ((6710, 6710, 0), [100], (671000, 671000, 0)),
    11: ((10736, 2684, 0), [100], (1073600, 268400, 0)),
    # 1,342,000 x 1/1.2 = 1,118,333.3 and so on.
    12: ((13420, 2684, 0), [84], (1118333, 223667, 0)),
    13: ((13420, 6710, 0), [67], (894667, 447333, 0)),
    14: ((13420, 10736, 0), [56], (745556, 596444, 0)),
    15: ((13420, 13420, 0), [50], (671000, 671000, 0)),
    16: ((13420, 26840, 0), [34], (447333, 894667, 0)),
    17: ((13420, 40260, 0), [25], (335500, 1006500, 0)),
    18: ((13420, 0, 2684), [84], (1118333, 0, 223667)),
    19: ((13420, 0, 6710), [67], (894667, 0, 447333)),
    20: ((13420, 0, 10736), [56], (745556, 0, 596444)),
    21: ((13420, 0, 13420), [50], (671000, 0, 671000)),
    22: ((13420, 0, 26840), [34], (447333, 0, 894667)),
    23: ((13420, 0, 40260), [25], (335500, 0, 1006500)),
    24: ((13420, 13420, 0), [50, 50], (671000, 671000, 0)),
    25: ((13420, 13420, 0), [50, 50], (671000, 671000, 0)),
}
# Rows 6 to 8, whose schedule is told in two ways. Proportional: 1 / 1.1, 2 / 2.1 and 3 / 3.1 of
# all draws are synthetic; 90:10: 90, 45 and 30 passes, then 134,200 draws of 1,342 real ones.
PROPORTIONAL = {
    6: ((1342, 13420, 0), (122000, 1220000, 0)),
    7: ((1342, 26840, 0), (63905, 1278095, 0)),
    8: ((1342, 40260, 0), (43290, 1298710, 0)),
}
NINETY = {
    6: ((1342, 13420, 0), [90, 100], (134200, 1207800, 0)),
    7: ((1342, 26840, 0), [45, 100], (134200, 1207800, 0)),
    8: ((1342, 40260, 0), [30, 100], (134200, 1207800, 0)),
}


def plans_of(study, schedule="proportional"):
    """The arms of a paper's study as plans; the schedule is of those that draw in two parts.

    What stands beside the paper's arms, and what is augmented instead, is left out.
    """
    return {
        name: arm.plan.model_copy(update={"schedule": schedule})
        for name, arm in find_spec(study).arms.items()
        if arm.by not in BASELINES and name != "real, augmented"
    }


def registered_multimodal_table_2(schedule="proportional"):
    rows = plans_of("registered-multimodal/table-2", schedule)
    return {int(name.removeprefix("no ")): plan for name, plan in rows.items()}


def counted(mix):
    return tuple(mix.sizes.values()), tuple(mix.drawn.values())


@pytest.mark.parametrize("row", sorted(TABLE_2))
def test_a_row_of_the_registered_multimodal_table_has_its_counts(row):
    sizes, passes, drawn = TABLE_2[row]
    for schedule in ("proportional", "90:10") if row < 24 else ("proportional",):
        mix = registered_multimodal_table_2(schedule)[row].mix(SLICES, TOTAL, seed=0)
        assert counted(mix) == (sizes, drawn)
        assert [math.ceil(stage.epochs) for stage in mix.stages] == passes
        assert mix.draws == TOTAL


@pytest.mark.parametrize("row", [6, 7, 8])
def test_synthetic_first_rows_have_the_counts_of_both_schedules(row):
    mix = registered_multimodal_table_2()[row].mix(SLICES, TOTAL, seed=0)
    assert counted(mix) == PROPORTIONAL[row]
    assert [stage.pool[0][0] for stage in mix.stages] == ["synthetic", "real"]
    sizes, passes, drawn = NINETY[row]
    mix = registered_multimodal_table_2("90:10")[row].mix(SLICES, TOTAL, seed=0)
    assert counted(mix) == (sizes, drawn)
    assert [stage.epochs for stage in mix.stages] == passes


def test_the_table_has_25_rows_and_the_order_of_the_last_two():
    rows = registered_multimodal_table_2()
    assert list(rows) == list(range(1, 26))
    first = {n: rows[n].mix(SLICES, TOTAL, 0).stages[0].pool[0][0] for n in (24, 25)}
    assert first == {24: "real", 25: "synthetic"}
    assert {plan.order for n, plan in rows.items() if n not in (6, 7, 8, 24, 25)} == {"random"}


def test_mm_gans_tables_have_their_counts():
    # BraTS17: 285 patients; LIVER100: 80 of 100 are learned from. 200 passes through x1.
    brains = ((285, "mm-gan/table-1-unet"), (285, "mm-gan/table-1-cascade"))
    for patients, table in (*brains, (80, "mm-gan/table-2")):
        found = {
            name: counted(plan.mix(patients, 240 * patients, 0))
            for name, plan in plans_of(table).items()
        }
        n, draws = patients, 240 * patients
        assert found == {
            "100R": ((n, 0, 0), (draws, 0, 0)),
            "100F": ((0, n, 0), (0, draws, 0)),
            "100F+R": ((n, n, 0), (120 * n, 120 * n, 0)),
            "300F+R": ((n, 3 * n, 0), (60 * n, 180 * n, 0)),
            "500F+R": ((n, 5 * n, 0), (40 * n, 200 * n, 0)),
        }, table


@pytest.mark.parametrize(("half", "name"), [("unet", "Unet"), ("cascade", "Net")])
def test_mm_gan_fine_tunes_on_29_of_285_patients(half, name):
    plans = plans_of(f"mm-gan/figure-10-{half}", "90:10")
    assert counted(plans[f"{name}-R"].mix(285, 2850, 0)) == ((285, 0, 0), (2850, 0, 0))
    assert counted(plans[f"{name}-F"].mix(285, 2850, 0)) == ((0, 285, 0), (0, 2850, 0))
    # 10 % of 285 is 28.5, the paper's 29; 90 % of the draws come before.
    tuned = plans[f"{name}-FT"].mix(285, 2850, 0)
    assert counted(tuned) == ((29, 285, 0), (285, 2565, 0))
    assert [tuned.at(draw)[0] for draw in (0, 2564, 2565, 2849)] == ["synthetic"] * 2 + ["real"] * 2
    # Proportional: 2850 x 285 / 314 = 2586.8.
    proportional = plans_of(f"mm-gan/figure-10-{half}")[f"{name}-FT"].mix(285, 2850, 0)
    assert counted(proportional)[1] == (263, 2587, 0)


def test_magan_adds_865_subjects_to_131():
    plans = plans_of("magan/segmentation")
    found = [plan.mix(131, 996, 0) for plan in plans.values()]
    assert [counted(mix) for mix in found] == [
        ((131, 0, 0), (996, 0, 0)),
        ((131, 865, 0), (131, 865, 0)),  # 131 + 865 = 996: once through
    ]


def test_ant_gans_table_doubles_each_kind_of_its_50():
    # Table VII: A has 50 real ones of each kind, B as many synthetic ones of each besides.
    assert counted(Plan().mix(50, 1000, 0)) == ((50, 0, 0), (1000, 0, 0))
    assert counted(Plan(synthetic=1).mix(50, 1000, 0)) == ((50, 50, 0), (500, 500, 0))


@pytest.mark.parametrize("order", ["random", "real-first", "synthetic-first"])
def test_what_is_drawn_is_what_was_counted(order):
    mix = Plan(real=0.7, synthetic=1.5, enhanced=0.4, order=order).mix(10, 97, seed=3)
    drawn = [mix.at(draw) for draw in range(97)]
    assert Counter(source for source, _ in drawn) == {k: v for k, v in mix.drawn.items() if v}
    for source, size in mix.sizes.items():
        often = Counter(n for name, n in drawn if name == source)
        assert set(often) <= set(mix.used[source])
        assert len(often) == size == len(mix.used[source])
        assert max(often.values()) - min(often.values()) <= 1  # of a source, all alike


def test_an_epoch_takes_each_sample_once_and_the_next_in_another_order():
    mix = Plan(synthetic=1).mix(4, 24, seed=0)
    epochs = [[mix.at(draw) for draw in range(start, start + 8)] for start in (0, 8, 16)]
    everything = {(source, n) for source in ("real", "synthetic") for n in range(4)}
    assert all(set(epoch) == everything for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert any(epoch[0][0] == "synthetic" for epoch in epochs)  # in one pool, not in turns


def test_copies_of_real_samples_are_drawn_with_the_real_ones():
    mix = Plan(synthetic=1, enhanced=1, order="real-first").mix(4, 12, seed=0)
    assert [stage.draws for stage in mix.stages] == [8, 4]
    assert {mix.at(draw)[0] for draw in range(8)} == {"real", "enhanced"}
    assert {mix.at(draw)[0] for draw in range(8, 12)} == {"synthetic"}


def test_a_step_is_known_without_the_steps_before_it():
    plan = Plan(real=0.5, synthetic=1, order="synthetic-first")
    whole = [plan.mix(6, 40, seed=5).step(step, 4) for step in range(1, 11)]
    assert [plan.mix(6, 40, seed=5).step(step, 4) for step in range(10, 0, -1)] == whole[::-1]
    assert [plan.mix(6, 40, seed=6).step(step, 4) for step in range(1, 11)] != whole


def test_a_smaller_share_of_real_samples_is_part_of_a_larger_one():
    used = [set(Plan(real=share).mix(20, 20, seed=1).used["real"]) for share in (0.1, 0.5, 1)]
    assert [len(one) for one in used] == [2, 10, 20]
    assert used[0] < used[1] < used[2]
    assert used[1] != set(Plan(real=0.5).mix(20, 20, seed=2).used["real"])


def test_a_share_of_the_real_samples_is_taken_patient_by_patient():
    whose = [name for name in "abcde" for _ in range(4)]
    for seed in range(5):
        # 40 % of 20 slices: 8, which two patients have; 50 %: two whole patients and half of one.
        for share, patients in ((0.4, 2), (0.5, 3)):
            mix = Plan(real=share).mix(20, 20, seed, patients=whose)
            assert len(mix.used["real"]) == mix.sizes["real"] == 20 * share
            assert len({whose[n] for n in mix.used["real"]}) == patients
    with pytest.raises(ValueError, match="5 patients named for 20"):
        Plan().mix(20, 20, 0, patients="abcde")


def test_synthetic_sets_are_taken_a_block_after_the_other():
    # Three sets of 5: x1 is the first set, x1.4 the first and two of the second.
    plan = Plan(real=0, synthetic=1.4)
    used = plan.mix(5, 10, seed=0, synthetic=15).used["synthetic"]
    assert set(used[:5]) == set(range(5))
    assert len(used) == 7
    assert set(used[5:]) < set(range(5, 10))


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(SettingsError, match="0 samples"):
        Plan(real=0).mix(5, 10, 0)
    with pytest.raises(SettingsError, match="0 draws"):
        Plan().mix(5, 0, 0)
    with pytest.raises(SettingsError, match="copies without real samples"):
        Plan(real=0, enhanced=1).mix(5, 10, 0)
    with pytest.raises(DataError, match="found 9 synthetic samples, expected 10"):
        Plan(synthetic=2).mix(5, 10, 0, synthetic=9)
    with pytest.raises(SettingsError, match="draw 10, expected 0 to 9"):
        Plan().mix(5, 10, 0).at(10)


def test_a_share_that_comes_to_no_sample_is_refused():
    # 10 % of 5 is a half, which is one sample; of 4 it is none.
    assert Plan(real=0.1, synthetic=1).sizes(5)["real"] == 1
    with pytest.raises(DataError, match=r"found real: 0\.1 of 4 real samples, which comes to none"):
        Plan(real=0.1, synthetic=1).sizes(4)
    with pytest.raises(DataError, match=r"found synthetic: 0\.1, enhanced: 0\.02 of 4 real"):
        Plan(synthetic=0.1, enhanced=0.02).mix(4, 10, 0)


def test_a_stage_that_draws_nothing_is_refused():
    # Of 14 draws a real sample beside 30 has 14 / 31, which is less than half a one.
    with pytest.raises(SettingsError, match="14 draws in two stages of 30 and 1 samples"):
        Plan(synthetic=30, order="synthetic-first").mix(1, 14, 0)
    assert [s.draws for s in Plan(synthetic=30, order="synthetic-first").mix(1, 31, 0).stages] == [
        30,
        1,
    ]


def test_a_plan_is_read_from_a_file_and_its_mistakes_are_told():
    plan = load_settings(Plan, sets=["real=0.1", "synthetic=3", "order=synthetic-first"])
    assert plan == Plan(real=0.1, synthetic=3, order="synthetic-first")
    with pytest.raises(SettingsError, match="real"):
        load_settings(Plan, sets=["real=1.5"])


def test_shares_of_a_pool_are_kept_in_an_unfinished_epoch():
    # 5 draws of a pool of 6 + 3: 3.33 and 1.67, so 3 and 2.
    (stage,) = Plan(synthetic=0.5).mix(6, 14, seed=0).stages
    assert stage.epochs == Fraction(14, 9)
    assert stage.counts(5) == [3, 2]
    assert stage.counts(14) == [9, 5]  # 6 + 3, 3 + 2
