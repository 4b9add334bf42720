"""Does it help: verdicts worked out by hand, and what is said of parts that are not there."""

from __future__ import annotations

import pytest

from scansmith.studies.report.convergence import convergence_note, convergence_of
from scansmith.studies.report.help import help_of, overall, twins_of
from scansmith.studies.report.verdicts import faithful_word, verdicts
from scansmith.studies.report.wording import deciding, sentence
from scansmith.studies.spec import Arm, Generator, Segmenters, Spec

REAL = [0.5, 0.6, 0.7, 0.8] * 2
NAN = float("nan")
BOTH = Arm(synthetic=1, by="gan")


def study(*, hold: str = "real", classical: str = "", **arms: Arm) -> Spec:
    return Spec(
        generators={"gan": Generator()},
        arms={"real": Arm(), "both": BOTH, **arms},
        classical=classical,
        segmenters=Segmenters(hold=hold),
    )


def scores(values):
    return {f"p{n}/p{n}": {"a": value, "mean": value} for n, value in enumerate(values)}


def above(*differences):
    """Scores of one seed, so much above those of real scans; of eight patients, two alike."""
    return [scores([value + d for value, d in zip(REAL, differences * 2, strict=True)])]


def told(spec, **found):
    found = {"real": above(0, 0, 0, 0), **found}
    return help_of(spec, found, "both", range(len(found["real"])))


def test_it_helps_where_it_beats_real_scans_that_trained_as_long():
    spec = study(longer=Arm(times=2))
    assert spec.relative_steps == {"real": 1, "both": 2, "longer": 2}
    found = told(spec, both=above(0.1, 0.1, 0.1, 0.1), longer=above(0.01, 0.01, 0.01, 0.01))
    assert (found["word"], found["why"]) == ("helps", "beaten")
    # the reference saw each real scan as often, and is not told a second time for it
    assert [row["role"] for row in found["comparisons"]] == ["reference", "twin"]
    twin = found["comparisons"][1]
    assert (twin["role"], twin["against"]) == ("twin", "longer")
    assert twin["above"]["mean"] == pytest.approx(0.09)
    assert twin["each_seed"] == [pytest.approx(0.09)]
    assert "Nothing simpler than a trained generator stood beside it" in sentence(found)


def test_a_gain_that_the_longer_trained_twin_has_too_is_no_evidence():
    # 0.1 above real scans, and as often below as above the twin: -0.03, 0.03, -0.02, 0.02
    found = told(
        study(longer=Arm(times=2)),
        both=above(0.1, 0.1, 0.1, 0.1),
        longer=above(0.13, 0.07, 0.12, 0.08),
    )
    assert found["comparisons"][0]["verdict"] == "helps"
    assert found["comparisons"][1]["above"]["mean"] == pytest.approx(0)
    assert (found["word"], found["why"]) == ("no evidence", "explained")
    assert "longer training explains it" in sentence(found)


def test_a_gain_with_twice_the_steps_and_no_twin_is_no_evidence():
    gain = above(0.1, 0.1, 0.1, 0.1)
    found = told(study(), both=gain)
    assert (found["word"], found["why"]) == ("no evidence", "longer")
    assert "trained 2 times as long" in sentence(found)
    shorter = told(study(longer=Arm(times=1.5)), both=gain, longer=above(0, 0, 0, 0))
    assert shorter["why"] == "longer"  # 1.5 times the steps are not as long as twice
    even = told(study(hold="iterations"), both=gain)
    assert (even["word"], even["steps"]) == ("helps", 1)


def test_a_twin_without_augmentation_is_none_of_an_arm_with_it():
    spec = study(longer=Arm(times=2, augment=False))
    found = told(spec, both=above(0.1, 0.1, 0.1, 0.1), longer=above(0, 0, 0, 0))
    assert found["why"] == "longer"


def test_an_arm_that_saw_each_real_scan_as_often_is_told_and_has_to_be_beaten_too():
    # one to one at equal steps: every real scan is seen half as often
    spec = study(hold="iterations", half=Arm(times=0.5))
    assert spec.relative_exposure == {"real": 1, "both": 0.5, "half": 0.5}
    found = told(spec, both=above(0, 0, 0, 0), half=above(-0.1, -0.1, -0.1, -0.1))
    assert [(row["role"], row["against"]) for row in found["comparisons"]] == [
        ("reference", "real"),
        ("as often", "half"),
    ]
    assert (found["word"], found["why"]) == ("no evidence", "chance")
    assert "seen as often, against “half” +0.100 Dice" in sentence(found)
    assert deciding([found]).startswith("“both” against “real”")
    gain = above(0.1, 0.1, 0.1, 0.1)
    undone = told(spec, both=gain, half=[None])
    assert (undone["word"], undone["why"]) == (None, "failed")
    briefer = told(spec, both=gain, half=above(0.12, 0.12, 0.12, 0.12))
    assert (briefer["word"], briefer["why"]) == ("no evidence", "alone")
    assert "in no more steps, “half” is better" in sentence(briefer)


OTHERWISE = {
    "shown": Arm(times=2, showing=("a",)),
    "copies": Arm(enhanced=1),
    "plain": Arm(times=2, augment=False),
}


@pytest.mark.parametrize("other", OTHERWISE)
@pytest.mark.parametrize(("gain", "stands"), [(0.2, "is better"), (0.1, "may do as well")])
def test_nothing_helps_that_another_use_of_the_real_scans_does_as_well(other, gain, stands):
    """.1 above real scans and their twin; as many steps bring the other arm .2, or .1 +- .03."""
    spec = study(longer=Arm(times=2), **{other: OTHERWISE[other]})
    assert spec.relative_steps[other] == spec.relative_steps["both"] == 2
    spread = (0.03, -0.03, 0.02, -0.02) if gain == 0.1 else (0, 0, 0, 0)
    beside = above(*[gain + one for one in spread])
    gained = {"both": above(*[0.1] * 4), "longer": above(0, 0, 0, 0)}
    found = told(spec, **gained, **{other: beside})
    assert [row["role"] for row in found["comparisons"]] == ["reference", "twin", "alone"]
    assert (found["word"], found["why"]) == ("no evidence", "alone")
    assert f"of real scans alone, in no more steps, “{other}” {stands} (" in sentence(found)
    assert f"against “{other}” {'−0.100' if gain == 0.2 else '0.000'} Dice" in sentence(found)
    assert deciding([found]).startswith(f"“both” against “{other}”")
    beaten = told(spec, **gained, **{other: above(0, 0, 0, 0)})
    assert beaten["word"] == "helps"
    assert f"against “{other}” +0.100 Dice" in sentence(beaten)
    assert "everything" not in sentence(beaten)


def test_real_scans_that_trained_longer_and_are_better_still_are_told():
    """Four times the steps: .2 above real scans, and so .1 above the arm that takes twice."""
    spec = study(longer=Arm(times=2), longest=Arm(times=4))
    gained = {"both": above(*[0.1] * 4), "longer": above(0, 0, 0, 0)}
    found = told(spec, **gained, longest=above(*[0.2] * 4))
    assert [row["role"] for row in found["comparisons"]] == ["reference", "twin", "longer"]
    assert found["word"] == "helps"
    assert "Trained longer on real scans alone, “longest” is better still: against “longest” " in (
        sentence(found)
    )
    assert "longest" not in sentence(told(spec, **gained, longest=above(0, 0, 0, 0)))
    fewer = study(longer=Arm(times=2), fewer=Arm(real=0.5))
    roles = told(fewer, **gained, fewer=above(*[0.3] * 4))["comparisons"]
    assert "fewer" not in [row["against"] for row in roles]  # half the real scans: another question


def test_how_often_a_real_scan_is_seen():
    """Draws of a pool over its size: at 90:10, nine tenths of them go through what comes first."""
    third = Arm(synthetic=3, by="gan")
    late = Arm(real=0.1, synthetic=1, by="gan", order="synthetic-first", schedule="90:10")
    copies = Arm(enhanced=1)
    alone = Arm(real=0, synthetic=1, by="gan")
    spec = study(hold="iterations", third=third, late=late, copies=copies, alone=alone)
    seen = spec.relative_exposure
    assert seen["third"] == pytest.approx(1 / 4)
    assert seen["late"] == pytest.approx(0.1 / 0.1)
    assert seen["copies"] == pytest.approx(1 / 2)
    assert seen["alone"] == 0
    kept = study(hold="real", third=third).relative_exposure
    assert kept == {"real": 1, "both": 1, "third": 1}


def test_it_harms_where_it_is_worse_than_any_arm_of_real_scans():
    worse = told(study(), both=above(-0.1, -0.1, -0.1, -0.1))
    assert (worse["word"], worse["why"]) == ("harms", "harmed")
    # better than the reference, but the twin gained more without synthetic scans
    spec = study(longer=Arm(times=2))
    found = told(spec, both=above(0.05, 0.05, 0.05, 0.05), longer=above(0.1, 0.1, 0.1, 0.1))
    assert found["word"] == "harms"


def test_a_twin_that_trained_longer_still_may_be_beaten_but_does_not_make_a_loss():
    """.05 above real scans in twice their steps; four times the steps bring .1, or .01."""
    spec = study(longest=Arm(times=4))
    gain = above(0.05, 0.05, 0.05, 0.05)
    assert twins_of(spec, "both") == ["longest"]
    found = told(spec, both=gain, longest=above(0.1, 0.1, 0.1, 0.1))
    assert found["comparisons"][1]["verdict"] == "harms"
    assert (found["word"], found["why"]) == ("no evidence", "outlasted")
    assert "training longer still on real scans alone" in sentence(found)
    less = told(spec, both=gain, longest=above(0.01, 0.01, 0.01, 0.01))
    assert (less["word"], less["why"]) == ("helps", "beaten")


def test_a_difference_that_may_be_chance_is_no_evidence():
    found = told(study(hold="iterations"), both=above(-0.1, 0.1, -0.05, 0.1))
    assert (found["word"], found["why"]) == ("no evidence", "chance")
    even = told(study(hold="iterations"), both=above(0, 0, 0, 0))
    assert even["comparisons"][0]["verdict"] == "no worse"
    assert "worse by 0.005 at most" in sentence(even)


def test_better_than_plain_training_but_not_than_augmentation_is_no_evidence():
    spec = study(hold="iterations", classical="augmented", augmented=Arm())
    gain = above(0.1, 0.1, 0.1, 0.1)
    found = told(spec, both=gain, augmented=above(0.13, 0.07, 0.12, 0.08))
    assert (found["word"], found["why"]) == ("no evidence", "classical")


def test_a_comparison_that_was_not_done_leaves_no_verdict():
    found = told(study(longer=Arm(times=2)), both=above(0.1, 0.1, 0.1, 0.1), longer=[None])
    assert (found["word"], found["why"]) == (None, "failed")
    assert found["comparisons"][1]["above"] is None
    assert "no verdict" in sentence(found)


def test_false_alarms_that_the_interval_does_not_know_of_keep_an_arm_from_helping():
    """Six with a tumour gain .06 each; four have none, and in three the arm alone finds one."""
    spec = study(hold="iterations", augmented=Arm(augment=False), classical="augmented")
    real = scores([*REAL[:6], *[NAN] * 4])
    loud = scores([*(value + 0.06 for value in REAL[:6]), 0, 0, 0, NAN])
    silent = scores([*(value + 0.06 for value in REAL[:6]), *[NAN] * 4])
    seeds = {"real": [real] * 2, "augmented": [scores([*REAL[:6], *[0] * 4])] * 2}
    found = told(spec, **seeds, both=[loud, silent])
    against_real, against_augmented = found["comparisons"]
    assert against_real["above"]["mean"] == pytest.approx(0.06)
    assert against_real["above"]["interval"][0] > 0
    # three alarms under the first seed and none under the second; "augmented" raises four always
    assert against_real["false_alarms"] == [1.5, 0]
    assert against_augmented["false_alarms"] == [0, 2.5]
    assert against_augmented["verdict"] == "helps"
    assert (found["word"], found["why"]) == ("no evidence", "withheld")
    text = sentence(found)
    assert text.startswith(
        "“both”: no evidence: against “real”, false alarms: it alone finds what is not there in "
        "1.5 test patient(s), the other alone in 0 (against “real” +0.060 Dice over 6 of 10 "
    )
    assert told(spec, **seeds, both=[silent] * 2)["word"] == "helps"
    # an alarm of each is one of neither alone, and who is worse harms, however loud
    both = scores([*REAL[:6], 0, NAN, NAN, NAN])
    even = told(study(hold="iterations"), real=[both], both=[loud])
    assert even["comparisons"][0]["false_alarms"] == [2, 0]
    worse = scores([*(value - 0.06 for value in REAL[:6]), 0, 0, 0, 0])
    assert told(study(hold="iterations"), real=[real], both=[worse])["word"] == "harms"


def test_a_seed_that_failed_leaves_no_evidence_and_is_named():
    spec = study(hold="iterations", augmented=Arm(augment=False), classical="augmented")
    gain, loss = above(*[0.1] * 4) * 3, above(*[-0.1] * 4) * 3
    even = above(0, 0, 0, 0) * 3
    diverged = [even[0], None, even[0]]

    def seen(both, augmented):
        found = {"real": even, "both": both, "augmented": augmented}
        return help_of(spec, found, "both", [3, 5, 8])

    assert seen(gain, even)["word"] == "helps"
    found = seen(gain, diverged)
    assert [row["failed"] for row in found["comparisons"]] == [[], [5]]
    assert (found["word"], found["why"]) == ("no evidence", "withheld")
    assert "against “augmented”, of 3 seeds 1 failed" in sentence(found)
    assert sentence(found).endswith(" Failed: seed 5.")
    assert seen([*loss[:2], None], even)["word"] == "no evidence"
    assert seen(loss, diverged)["word"] == "harms"  # against "real", of which none failed


@pytest.mark.parametrize(("patients", "word"), [(5, "no evidence"), (6, "helps")])
def test_fewer_than_six_patients_are_no_evidence(patients, word):
    # by their signs alone 2 / 2**6 = .03 are significant at 5 %, 2 / 2**5 = .06 are not
    spec = study(hold="iterations")
    gain = [scores([value + 0.1 for value in REAL[:patients]])]
    found = told(spec, real=[scores(REAL[:patients])], both=gain)
    assert found["word"] == word
    if word == "no evidence":
        assert "no evidence: 5 test patient(s), 6 are needed" in sentence(found)
    worse = told(spec, real=gain, both=[scores(REAL[:patients])])
    assert worse["word"] == {"helps": "harms"}.get(word, word)


def test_a_twin_learns_from_the_same_real_samples_in_the_same_way():
    """The weaker arm of as many steps comes first by the alphabet, and is no twin."""
    weaker = {"lesions": Arm(times=2, showing=("a",)), "enhanced": Arm(times=1, enhanced=1)}
    spec = study(**weaker, longer=Arm(times=2))
    assert spec.relative_steps == {"real": 1, "both": 2, "lesions": 2, "enhanced": 2, "longer": 2}
    assert twins_of(spec, "both") == ["longer"]
    shown = Arm(synthetic=1, by="gan", showing=("a",))
    assert twins_of(study(**weaker, shown=shown), "shown") == ["lesions"]


def test_an_arm_has_to_beat_every_twin_of_as_many_steps():
    spec = study(again=Arm(times=2), longer=Arm(times=2), longest=Arm(times=3))
    assert twins_of(spec, "both") == ["again", "longer"]
    gain, even = above(0.1, 0.1, 0.1, 0.1), above(0, 0, 0, 0)
    found = told(spec, again=even, longest=even, both=gain, longer=above(0.13, 0.07, 0.12, 0.08))
    deciding_on = [row["against"] for row in found["comparisons"] if row["role"] != "longer"]
    assert deciding_on == ["real", "again", "longer"]
    assert (found["word"], found["why"]) == ("no evidence", "explained")
    assert "against “longer” 0.000 Dice" in sentence(found)
    beaten = told(spec, both=gain, again=even, longer=even, longest=even)
    assert beaten["word"] == "helps"


def test_cautions_are_of_the_patients_and_seeds_that_were_compared():
    """Twelve are tested on, of whom seven have what is compared; of two seeds one failed."""
    spec = study(hold="iterations")
    real, both = ([scores([*REAL[:7], *[NAN] * 5])] * 2 for _ in range(2))

    def notes(*seeds):
        found = {"real": real, "both": list(seeds)}
        part = {
            "help": [help_of(spec, found, "both", [0, 1])], "seeds": [0, 1], "test_patients": 12,
            "convergence": None, "reference": "real", "measure": "mean",
            "arms": {"real": {"dice": {"mean": {"mean": 0.6}}}},
            "not_judged": {"evaluate": [], "audit": []},
        }  # fmt: skip
        rest = {"evaluations": [], "audits": [], "reader_study": None}
        return " ".join(verdicts({"study": part, **rest})["verdicts"]["helps"]["notes"])

    assert "Compared in 7 of 12 test patients" in notes(*both)
    assert "One seed alone" not in notes(*both)
    assert "One seed alone" in notes(both[0], None)
    assert "test patients" not in notes(None, None)  # nothing was compared


def test_a_baseline_that_does_as_well_is_named_beside_a_gain():
    spec = study(hold="iterations", means=Arm(synthetic=1, by="class-means"))
    gain = above(0.1, 0.1, 0.1, 0.1)
    alike = told(spec, both=gain, means=above(0.13, 0.07, 0.12, 0.08))
    assert alike["word"] == "helps"
    assert "not shown to be better than what needs no generator: “means”" in sentence(alike)
    better = told(spec, both=gain, means=above(0, 0, 0, 0))
    assert "better than what needs no generator too" in sentence(better)


def test_synthetic_scans_alone_are_another_question_than_adding_them():
    spec = study(hold="iterations", synthetic=Arm(real=0, synthetic=1, by="gan"))
    found = {
        "real": above(0, 0, 0, 0),
        "both": above(0.1, 0.1, 0.1, 0.1),
        "synthetic": above(-0.3, -0.3, -0.3, -0.3),
    }
    rows = [help_of(spec, found, name, [0]) for name in ("both", "synthetic")]
    assert [row["question"] for row in rows] == ["added", "instead"]
    assert [row["word"] for row in rows] == ["helps", "harms"]
    assert overall(rows) == "helps"
    assert overall(rows[1:]) == "harms"


def test_the_headline_rests_on_the_comparison_that_says_least_for_the_best_arm():
    """Constant differences, so that each interval is the difference itself.

    Above real and above its longer twin: "both" .10 and .09, "more" .12 and .11; "less" harms.
    """
    spec = study(
        hold="iterations", more=BOTH, less=BOTH, classical="augmented", augmented=Arm(augment=False)
    )
    found = {"real": above(0, 0, 0, 0), "augmented": above(*[0.01] * 4)}
    found |= {"both": above(*[0.1] * 4), "more": above(*[0.12] * 4), "less": above(*[-0.2] * 4)}
    rows = {name: help_of(spec, found, name, [0]) for name in ("both", "more", "less")}
    text = deciding([rows["both"], rows["more"]])
    assert text == "“more” against “augmented”: +0.110 Dice (95 % interval +0.110 to +0.110)"
    assert deciding([rows["less"]]).startswith("“less” against “augmented”: −0.210 Dice")
    assert deciding(list(rows.values())) == ""  # mixed: no single one decides


@pytest.mark.parametrize(
    ("shorter", "words"),
    [
        ((-0.02, -0.02, -0.02, -0.02), "had not converged when the shorter of these ended"),
        ((0.02, 0.02, 0.02, 0.02), "made segmenters of real scans alone worse"),
        ((0.02, -0.02, 0.03, -0.03), "brought real scans alone nothing that can be told"),
    ],
)
def test_longer_training_of_real_scans_tells_whether_the_segmenters_had_converged(shorter, words):
    spec = study(half=Arm(times=0.5), most=Arm(times=0.7), plain=Arm(times=0.1, augment=False))
    found = {
        "real": above(0, 0, 0, 0),
        "both": above(0, 0, 0, 0),
        "half": above(*shorter),
        "most": above(0.3, 0.3, 0.3, 0.3),  # 1 / 0.7 is less than one and a half times
        "plain": above(0.4, 0.4, 0.4, 0.4),  # another training, not a shorter one
    }
    told = convergence_of(spec, found)
    assert (told["longer"], told["shorter"], told["steps"]) == ("real", "half", [1, 0.5])
    assert told["above"]["mean"] == pytest.approx(-sum(shorter) / 4)
    assert words in convergence_note(told)


def test_few_patients_failed_seeds_and_seeds_that_disagree_do_not_tell_of_convergence():
    """Longer training brings .02: of five patients; of one seed of two; of .06 and -.02."""
    spec, flat = study(half=Arm(times=0.5)), above(0, 0, 0, 0)

    def note(real, half):
        return convergence_note(convergence_of(spec, {"real": real, "both": real, "half": half}))

    few = note([scores(REAL[:5])], [scores([value - 0.02 for value in REAL[:5]])])
    assert "cannot be told (“real” against “half”: +0.020 Dice" in few
    assert "5 test patient(s), 6 are needed" in few
    lower = above(*[-0.02] * 4)
    failed = note(flat * 2, [*lower, None])
    assert "of 2 seeds 1 failed" in failed
    seeds = note(flat * 2, [*above(*[-0.06] * 4), *above(*[0.02] * 4)])
    assert "+0.020 Dice (95 % interval +0.020 to +0.020)): its seeds disagree" in seeds
    for text in (few, failed, seeds):
        assert "had not converged" not in text
        assert "worse" not in text
    assert "had not converged" in note(flat * 2, lower * 2)


def test_an_arm_that_was_not_done_does_not_hide_that_others_tell_of_convergence():
    spec = study(half=Arm(times=0.5), twice=Arm(times=2.0))
    found = {"real": above(0, 0, 0, 0), "both": above(0, 0, 0, 0), "half": above(*[-0.02] * 4)}
    told = convergence_of(spec, {**found, "twice": [None]})
    assert (told["longer"], told["shorter"]) == ("real", "half")
    assert convergence_of(spec, {name: [None] for name in (*found, "twice")}) is None


def test_nothing_is_rested_on_where_the_word_is_not_known():
    spec = study(hold="iterations", twice=Arm(times=2.0))
    found = {"real": above(0, 0, 0, 0), "both": above(*[0.1] * 4), "twice": [None]}
    row = help_of(spec, found, "both", [0])
    assert deciding([row]) != ""
    assert deciding([{**row, "word": None}]) == ""


def test_without_an_arm_of_other_steps_nobody_knows_whether_segmenters_had_converged():
    found = {"real": above(0, 0, 0, 0), "both": above(0, 0, 0, 0)}
    assert convergence_of(study(), found) is None
    failed = convergence_of(study(half=Arm(times=0.5)), {**found, "half": [None]})
    assert failed is None
    assert "Nothing here says whether the segmenters had converged" in convergence_note(failed)


def test_arms_that_help_and_arms_that_harm_are_mixed():
    def row(word):
        return {"word": word, "question": "added"}

    assert overall([row("helps"), row("harms")]) == "mixed"
    assert overall([row("helps"), row("no evidence")]) == "helps"
    assert overall([row("no evidence"), row(None)]) == "no evidence"
    assert overall([row(None)]) is None


@pytest.mark.parametrize(
    ("structures", "word"),
    [
        (["close", "close"], "faithful"),
        (["close", "differs"], "partly"),
        (["close", None], "partly"),
        (["differs", "far"], "not faithful"),
        ([None, None], None),
        ([], None),
    ],
)
def test_faithfulness_is_that_of_the_worst_structure(structures, word):
    found = {"structures": {str(n): {"verdict": v} for n, v in enumerate(structures)}}
    assert faithful_word(found) == word
    assert faithful_word(None) is None


def test_parts_that_are_not_there_are_told_and_the_worst_audit_counts():
    audits = [
        {"name": n, "verdict": n, "reasons": ["since"]} for n in ("pass", "leak", "inconclusive")
    ]
    nothing = {"study": None, "evaluations": [], "audits": [], "reader_study": None}
    told = verdicts(nothing)
    assert len(told["missing"]) == 4
    words = {name: v and v["word"] for name, v in told["verdicts"].items()}
    assert words == {
        "helps": "not known", "faithful": "not known", "leaks": "not known", "readers": None
    }  # fmt: skip
    some = verdicts({**nothing, "audits": audits})
    assert some["verdicts"]["leaks"]["word"] == "leak"
    assert len(some["missing"]) == 3
    assert verdicts({**nothing, "audits": audits[::2]})["verdicts"]["leaks"]["word"] == (
        "inconclusive"
    )
