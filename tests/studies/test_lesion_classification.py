"""Classifiers with ANT-GAN's help: what A and B hold, who is kept apart, what goes on."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

from scansmith.data import batches
from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.evaluate.lesion_rule import ABNORMAL, NORMAL
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.settings import load_settings
from scansmith.studies import lesion_classification, lesion_classifiers
from scansmith.studies.healed_folds import CrossValidation, Fold, Folds
from scansmith.studies.healed_slices import Images
from scansmith.studies.lesion_classification import Asked, Study, _own_seed, study
from scansmith.studies.lesion_classification_report import as_markdown, summarise
from scansmith.studies.lesion_classifiers import RULE, Kinds, Sample, Training, judged
from scansmith.studies.tables import cell as written
from scansmith.workflow import prepare, train

TINY = ["method.base=4", "method.critic_base=4", "method.blocks=1", "train.steps=1"]
NETS = [
    f"{question}.{name}"
    for question in lesion_classification.QUESTIONS
    for name in ("width=0.02", "threads=1", "device=cpu")
]
STEPS = ["channel_steps=2", "fakes_steps=2", "batch=2", "slices=3", "repeats=2"]
SMALL = load_settings(Asked, sets=[*NETS, *STEPS])
RUNS = "ant-gan"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four phantoms, their store and an ANT-GAN trained on half of them."""
    folder = tmp_path_factory.mktemp("classified")
    write_phantoms(folder / "raw", "brain", 4, 3, (64, 64, 16))
    sets = ["data.size=64,64", "data.modality=flair", "data.split=0.5,0,0.5", "data.min_pixels=4"]
    sets += ["data.min_foreground=0.05"]  # the ends of the head are its normal slices
    store = prepare(folder / "raw", folder / "store", "ant-gan", sets=sets)
    train("ant-gan", store.path, folder / "run", sets=TINY)
    return folder


@pytest.fixture(scope="module")
def done(root):
    return study(
        {RUNS: [root / "run"]}, root / "out", cross_validation=CrossValidation(folds=2), asked=SMALL
    )


@pytest.fixture(scope="module")
def one(root, tmp_path_factory):
    """The classifiers on the store's own split."""
    out = tmp_path_factory.mktemp("one")
    folds = Folds(Store.open(root / "store"), {RUNS: [root / "run"]}, out, CrossValidation(folds=1))
    return Study(folds, SMALL)


def test_b_is_a_and_as_many_fakes_made_of_the_same_slices(one):
    a, b = one.sample("real", 0, 0), one.sample(RUNS, 0, 0)
    assert list(a.classes) == [NORMAL] * 3 + [ABNORMAL] * 3
    assert list(b.classes) == [NORMAL] * 3 + [ABNORMAL] * 3 + [ABNORMAL] * 3 + [NORMAL] * 3
    assert len(b.images) == 12
    for n in range(6):
        np.testing.assert_array_equal(b.images[n], a.images[n])
    assert a.patients == b.patients
    # A2N and N2A change slices, and each fake is made of the real one at its place.
    for n in range(6):
        assert 0 < np.abs(b.images[6 + n] - a.images[n]).mean() < 2
    assert all(image.dtype == np.float32 for image in b.images)


def test_copies_are_made_of_the_same_slices_without_a_generator(one):
    """The normal ones with a lesion of the other patient, the abnormal ones with theirs filled."""
    store, drawn = one.folds.store, Kinds(one.folds.all[0], "train").drawn(3, _own_seed(0, 0))[0]
    a, copies = one.sample("real", 0, 0), one.sample("copies", 0, 0)
    made = len(copies.images) - 9
    assert 0 < made <= 3  # of a normal slice whose patient alone has lesions there is none
    assert list(copies.classes) == [*a.classes, *[ABNORMAL] * made, *[NORMAL] * 3]
    for mine, real in zip(copies.images[:6], a.images, strict=True):
        np.testing.assert_array_equal(mine, real)
    normal = list(a.images)[:3]
    for copy in copies.images[6 : 6 + made]:  # one of them but for a part
        assert any(0.5 < (copy == real).mean() < 1 for real in normal)
    for place, filled in zip(drawn[3:], copies.images[6 + made :], strict=True):
        image, labels = store.sample(place.case, place.sample)
        np.testing.assert_array_equal(filled[:, labels == 0], image[:, labels == 0])
        assert len(np.unique(filled[0][labels > 0])) == 1
    assert copies.patients == a.patients


def test_repeats_draw_other_slices_under_each_seed_and_the_same_ones_again(one):
    def drawn(repeat, seed):
        return np.stack(list(one.sample("real", repeat, seed).images))

    np.testing.assert_array_equal(drawn(0, 0), drawn(0, 0))
    assert not np.array_equal(drawn(0, 0), drawn(1, 0))
    assert not np.array_equal(drawn(0, 0), drawn(0, 1))


def test_all_real_holds_every_slice_that_ant_gan_learned_from(one):
    fold = one.folds.all[0]
    kinds = Kinds(fold, "train")
    sample = one.sample("all real", 0, 0)
    assert len(sample.images) == len(kinds.of[NORMAL]) + len(kinds.of[ABNORMAL])
    assert sample.patients == fold.patients("train")


def test_classes_are_those_of_the_store_s_draws(one):
    fold = one.folds.all[0]
    lesion = [k for k, name in enumerate(fold.store.facts.structures) if k]
    for kind, places in Kinds(fold, "test").of.items():
        for place in places:
            labels = fold.store.sample(place.case, place.sample)[1]
            pixels = int(np.isin(labels, lesion).sum())
            assert pixels >= 4 if kind == ABNORMAL else pixels == 0
    data = one.sample(RUNS, 0, 0).labelled()
    assert RULE.of_samples(data).tolist() == list(one.sample(RUNS, 0, 0).classes)


def test_every_seed_repeats_table_vii_through_all_folds(root, tmp_path, monkeypatch):
    """As many repeats as folds, as the defaults have it: no seed may be left out."""
    trainings = []
    monkeypatch.setattr(
        lesion_classification, "judged", lambda out, asked, *_: trainings.append(asked) or {}
    )
    monkeypatch.setattr(Study, "_maker", lambda self, name, fold, seed: f"{name} of seed {seed}")
    cross_validation = CrossValidation(folds=4, seeds=(0, 7))
    folds = Folds(Store.open(root / "store"), {RUNS: []}, tmp_path, cross_validation)
    found = Study(folds, SMALL.model_copy(update={"repeats": 4})).found("fakes", [])
    assert {arm: len(each) for arm, each in found.items()} == dict.fromkeys(found, 2 * 4)
    fakes = [one for one in trainings if one.facts["arm"] == f"real + {RUNS}"]
    wanted = [(f"{RUNS} of seed {seed}", fold) for seed in (0, 7) for fold in (1, 2, 3, 4)]
    assert [(one.facts["made by"], one.fold.number) for one in fakes] == wanted
    assert len({one.seed for one in fakes}) == 2 * 4  # no two of "all real" are the same training


def test_every_patient_is_tested_once_and_never_learned_from(root, done):
    everybody = {case.patient for case in Store.open(root / "store").cases.values()}
    assert sorted(name for fold in done["folds"] for name in fold) == sorted(everybody)
    rows = list(csv.DictReader((root / "out" / "slices.csv").read_text().splitlines()))
    asked = [row for row in rows if row["question"] == "channel"]
    assert {row["arm"] for row in asked} == {"plain", RUNS}
    slices = [(row["arm"], row["patient"], row["case"], row["slice"]) for row in asked]
    assert len(slices) == len(set(slices))
    assert {row["patient"] for row in asked} == everybody
    arms = {row["arm"] for row in rows if row["question"] == "fakes"}
    assert arms == {
        *("real", "real, augmented", "all real", "real + copies", "real + copies, augmented"),
        *(f"real + {RUNS}", f"real + {RUNS}, augmented"),
    }
    for repeat, tested in enumerate(done["folds"]):  # two repeats, two folds
        there = {row["patient"] for row in rows if row["question"] == "fakes"
                 and row["training"] == str(repeat)}  # fmt: skip
        assert there == set(tested)


def test_the_answer_stands_beside_the_paper_s(root, done):
    text = (root / "out" / "results.md").read_text()
    assert text.count("as published. Other data (BraTS 2018") == 2
    recall = written(done["channel"]["arms"]["ant-gan"]["recall"])
    assert re.search(rf"\| ant-gan \| 0.9235 \| [^|]+ \| 0.9096 \| {re.escape(recall)} \|", text)
    assert re.search(r"\| real \+ ant-gan \| 0.7719 \| [^|]+ \| 0.7794 \| [^|]+ \| 0.776", text)
    assert done["channel"]["trainings"] == 1
    assert done["fakes"]["trainings"] == 2
    assert "1 training(s) an arm, 1 under each seed; (x, x)" in text
    assert "2 training(s) an arm, 2 under each seed; all arms" in text


def test_what_is_finished_is_not_done_again_and_another_study_is_refused(root, done):
    cells = sorted((root / "out" / "cells").glob("*.json"))
    assert len(cells) == 2 * 2 + 7 * 2  # arms x folds, arms x repeats
    before = [path.stat().st_mtime_ns for path in cells]
    cells[0].unlink()
    runs, cross_validation = {RUNS: [root / "run"]}, CrossValidation(folds=2)
    assert study(runs, root / "out", cross_validation=cross_validation, asked=SMALL) == done
    assert [path.stat().st_mtime_ns for path in cells[1:]] == before[1:]
    other = SMALL.model_copy(update={"slices": 2})
    with pytest.raises(RunError, match=r"another study \(differing: slices\)"):
        study(
            runs, root / "out", cross_validation=cross_validation, asked=other, questions=("fakes",)
        )


def test_a_sample_of_a_test_patient_is_refused(one, tmp_path):
    fold = one.folds.all[0]
    tested = Kinds(fold, "test").of[NORMAL][:1] + Kinds(fold, "test").of[ABNORMAL][:1]
    leaky = Sample.of(Images(fold.store, tested), [NORMAL, ABNORMAL], tested)
    training = Training("leaky", fold, 0, SMALL.fakes, 1, 2, None, {})
    with pytest.raises(DataError, match=r"classifier 'leaky' learned from \d patient"):
        judged(tmp_path, training, lambda: leaky, lambda part: Images(fold.store, part))
    assert not (tmp_path / "cells").exists()


def test_too_few_slices_are_told(one, root, tmp_path):
    fold = one.folds.all[0]
    with pytest.raises(DataError, match=r"normal slices to learn from, expected 5000\. Add"):
        Kinds(fold, "train").drawn(5000, 0)
    with pytest.raises(DataError, match="has no normal slice in its validation split"):
        _ = Kinds(Fold(1, fold.store), "validation").of
    many = SMALL.model_copy(update={"slices": 5000})
    runs, out = {RUNS: [root / "run"]}, tmp_path / "out"
    with pytest.raises(DataError, match="expected 5000"):  # before the other question's cells
        study(runs, out, cross_validation=CrossValidation(folds=2), asked=many)
    assert not (out / "cells").exists()
    for name in ("all real", "copies"):
        with pytest.raises(SettingsError, match=f"{name}=: is an arm's name"):
            study({name: []}, "nowhere")


@pytest.fixture
def lopsided(root, tmp_path, monkeypatch):
    """One patient in each fold; the last one's slices all show a lesion."""
    folds = Folds(Store.open(root / "store"), {RUNS: []}, tmp_path, CrossValidation(folds=4))
    (tested,) = folds.all[-1].patients("test")

    def without(store, split, draw):
        found = batches.places(store, split, draw)
        if draw.name != "normal":
            return found
        return [group for group in found if store.cases[group[0][0]].patient != tested]

    monkeypatch.setattr(lesion_classifiers, "places", without)
    return folds


def test_test_patients_without_a_class_are_told_before_anything_is_trained(lopsided):
    none = r"fold 4 has no normal slice in its test split, expected one at least\. Add patients"
    for questions in (("channel",), ("channel", "fakes")):
        with pytest.raises(DataError, match=none):
            Study(lopsided, SMALL).check(questions)
    four = SMALL.model_copy(update={"repeats": 4})
    with pytest.raises(DataError, match=none):
        Study(lopsided, four).check(("fakes",))
    Study(lopsided, SMALL).check(("fakes",))  # two repeats test on folds 1 and 2 alone


def test_a_classifier_that_nobody_could_test_is_not_trained(lopsided):
    fold, asked = lopsided.all[-1], []
    training = Training("untested", fold, 0, SMALL.fakes, 1, 2, None, {})
    with pytest.raises(DataError, match="no normal slice in its test split"):
        judged(lopsided.out, training, lambda: asked.append(1), lambda part: part)
    assert not asked


def row(abnormal, chance):
    return {"abnormal": abnormal, "chance": chance}


def test_the_summary_by_hand():
    plain = {"a/a/0": row(1, 0.9), "a/a/1": row(0, 0.8), "b/b/0": row(1, 0.1), "b/b/1": row(0, 0.2)}
    other = {**plain, "b/b/0": row(1, 0.7)}
    told = summarise("channel", {"plain": [plain], "ant-gan": [other]})
    assert told["test slices"] == {"normal": 2, "abnormal": 2}
    assert told["test patients"] == 2
    assert told["arms"]["plain"]["f1"]["mean"] == pytest.approx(0.5)  # 1 found, 1 wrong, 1 missed
    assert told["arms"]["ant-gan"]["recall"]["mean"] == 1
    assert told["arms"]["ant-gan"]["precision"]["mean"] == pytest.approx(2 / 3)
    assert told["above"]["ant-gan"]["f1"]["mean"] == pytest.approx(0.3)  # 2 * 2 / (4 + 1) - 0.5


def test_the_command_answers_one_question_on_the_store_s_split(root, tmp_path, capsys):
    words = [f"ant-gan={root / 'run'}", "--out", str(tmp_path / "out"), "--folds", "1"]
    words += ["--preset", "cpu", "--only", "fakes"]
    for word in [*NETS, *STEPS]:
        words += ["--set", word]
    lesion_classification.main(words)
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert "channel" not in result
    assert result["fakes"]["trainings"] == 2
    assert as_markdown(result) in capsys.readouterr().out
