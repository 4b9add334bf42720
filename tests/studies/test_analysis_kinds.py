"""Every kind of analysis on tiny phantoms, from a specification to its results and pictures."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.studies import analysis_kinds, tumour_painting
from scansmith.studies.analyses import KINDS, options_of
from scansmith.studies.run import run_study
from scansmith.studies.spec import Analysis, DataPart, Generator
from scansmith.studies.sweep import points_of
from scansmith.studies.tables import Slice
from scansmith.studies.training_course import as_markdown, course, total
from scansmith.studies.tumour_painting import insertions
from scansmith.train.checkpoint import read_json
from scansmith.workflow import prepare


def analysis(kind, method, data, options=None, **generators):
    """A specification: generators are their further settings."""
    return Analysis(
        title="?",
        analysis=kind,
        data=DataPart(method=method, sets=data),
        options=options or {},
        generators={
            name: Generator(method=method, sets={**sets, "train.steps": 1})
            for name, sets in generators.items()
        },
    )


def shape_of(path):
    return np.asarray(Image.open(path)).shape


LIVER = {"data.size": [64, 64], "data.split": [0.5, 0, 0.5], "data.min_tumour_pixels": 4}
PAINTER = {"method.base": 4, "method.critic_crop": 0}


@pytest.fixture(scope="module")
def livers(tmp_path_factory):
    root = tmp_path_factory.mktemp("livers")
    write_phantoms(root / "raw", "liver", 6, 1, (64, 64, 12))
    return root


def test_painting_shows_held_out_tumours_and_new_ones(livers, tmp_path):
    spec = analysis("painting", "magan", LIVER, {"least_pixels": 4}, a=PAINTER, b=PAINTER)
    found = run_study(spec, livers / "raw", tmp_path, seeds=(0,))
    assert {"a", "b", *KINDS["painting"].beside} == set(found["rows"])
    assert set(KINDS["painting"].measures) == set(found["rows"]["a"])
    assert found["rows"]["oracle mean"]["inside bias"]["mean"] == pytest.approx(0, abs=1e-3)
    # Whitened, then output, composite and error of each, then real: 64 pixels each.
    assert shape_of(tmp_path / "painted.png")[1] == (1 + 2 * 3 + 1) * 64
    # Healthy, whitened, and painted by each.
    assert shape_of(tmp_path / "inserted.png")[1] == (2 + 2) * 64


@pytest.fixture(scope="module")
def ill(tmp_path_factory):
    """Livers of which every slice shows a tumour, as in the paper's data."""
    root = tmp_path_factory.mktemp("ill")
    write_phantoms(root / "raw", "liver", 6, 1, (64, 64, 12))
    for path in sorted((root / "raw" / "labelsTr").glob("*.nii.gz")):
        scan = nib.load(path)
        labels = np.asarray(scan.dataobj).astype(np.uint8)
        for z in range(labels.shape[2]):
            y, x = np.argwhere(labels[:, :, z] == 1)[0] if (labels[:, :, z] == 1).any() else (0, 0)
            some = labels[y : y + 3, x : x + 6, z]
            some[some == 1] = 2
        nib.save(nib.Nifti1Image(labels, scan.affine), path)
    return root


def test_painting_without_a_slice_to_paint_a_new_tumour_in_measures_the_others(ill, tmp_path):
    spec = analysis("painting", "magan", LIVER, {"least_pixels": 4}, a=PAINTER)
    found = run_study(spec, ill / "raw", tmp_path, seeds=(0,), tell=lambda line: None)
    assert {"a", *KINDS["painting"].beside} == set(found["rows"])
    (problem,) = found["problems"]
    assert problem.startswith("tumours painted into slices without any: ")
    assert "no test slice without tumour shows enough of the liver" in problem
    assert (tmp_path / "painted.png").is_file()
    assert not (tmp_path / "inserted.png").exists()
    page = (tmp_path / "results.md").read_text()
    assert f"* {problem}" in page.partition("Not done:")[2]
    assert "inserted.png" not in page
    assert "nan" not in page


def test_painting_without_a_tumour_large_enough_to_be_inserted_measures_the_others(
    livers, tmp_path
):
    """New tumours start from training tumours of 2.5 times the least pixels or more."""
    spec = analysis("painting", "magan", LIVER, {"least_pixels": 4}, a=PAINTER)
    run_study(spec, livers / "raw", tmp_path, seeds=(0,))
    store = Store.open(tmp_path / "store")
    largest = {
        split: max(store.counts(name)[:, 2].max() for name in store.names(split))
        for split in ("train", "test")
    }
    least = int(min(largest.values()))
    assert 2.5 * least > largest["train"]
    (tmp_path / "inserted.png").unlink()
    found = run_study(
        spec, livers / "raw", tmp_path, seeds=(0,), segmenter_sets=[f"least_pixels={least}"],
        tell=lambda line: None,
    )  # fmt: skip
    assert "a" in found["rows"]
    (problem,) = found["problems"]
    assert problem.startswith("tumours painted into slices without any: lesion bank: none of ")
    assert not (tmp_path / "inserted.png").exists()


def test_a_slice_that_holds_no_new_tumour_is_passed_over(livers, tmp_path, monkeypatch):
    def liver(width):
        labels = np.zeros((64, 64), np.uint8)
        labels[2:62, 4 : 4 + width] = 1
        return Slice("case", "patient", np.zeros((64, 64), np.float32), labels)

    ill = liver(40)
    ill.labels[20:26, 20:26] = 2
    # 40 * 4 pixels of liver are asked for: a strip of 3 has 180, but no room within its border.
    there = {"train": [ill], "test": [liver(3), liver(40)]}
    monkeypatch.setattr(
        tumour_painting, "slices_of",
        lambda store, split, keep: [one for one in there[split] if keep(one.labels)],
    )  # fmt: skip
    sets = [f"{name}={value}" for name, value in LIVER.items()]
    store = prepare(livers / "raw", tmp_path / "store", "magan", preset="cpu", sets=sets)
    (made,) = insertions(store, 1, 2, 45, 4)
    np.testing.assert_array_equal(made.labels > 0, there["test"][1].labels > 0)
    assert (made.labels == 2).any()
    there["test"].pop()
    with pytest.raises(DataError, match="0 of at least 1 lesions fit into structure"):
        insertions(store, 1, 2, 45, 4)


def test_blinded_pictures_are_made_once_and_refused_for_others(livers, tmp_path):
    data = {**LIVER, "data.split": [0.34, 0, 0.66]}  # four to be shown beside four synthetic ones
    spec = analysis("reader-study", "magan", data, {"cases": 8, "readers": 1}, a=PAINTER)
    found = run_study(spec, livers / "raw", tmp_path, seeds=(0,))
    made = found["found"]["all"]["a"]
    assert (made["folder"], made["key"]) == ("readers/a", "readers/a-key.json")
    key = read_json(tmp_path / made["key"])
    real = {case["case"] for case in key["cases"].values() if case["truth"] == "real"}
    tested = set(Store.open(tmp_path / "store").names("test"))
    assert real
    assert real <= tested
    assert not list((tmp_path / "readers" / "a").rglob("*key*"))
    assert made["cases"] == 8  # how many, and not what is what
    before = (tmp_path / made["key"]).stat().st_mtime_ns
    run_study(spec, livers / "raw", tmp_path, seeds=(0,))
    assert (tmp_path / made["key"]).stat().st_mtime_ns == before
    told = []
    again = run_study(spec, livers / "raw", tmp_path, seeds=(0, 1), tell=told.append)
    seen = "one training of each generator is looked at, that of seed 0"
    assert told == [f"reader-study: {seen}; no other is done."]
    assert again["found"] == found["found"]
    assert (again["seeds"], again["trained"]) == ([0], {"a": 1})
    assert [path.name for path in tmp_path.glob("generators/*/")] == ["a-seed0"]
    page = (tmp_path / "results.md").read_text()
    assert "seeds 0. Intervals" in page
    assert "half of the generator that was trained under seed 0. The key" in page
    with pytest.raises(RunError, match=r"was made from others \(differing: seed\)"):
        run_study(spec, livers / "raw", tmp_path, seeds=(0,), segmenter_sets=["seed=1"])


BRAIN = {"data.size": [32, 32], "data.split": [0.5, 0, 0.5], "data.min_pixels": 4}
HEALER = {"method.base": 4, "method.critic_base": 4, "method.blocks": 1}


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    root = tmp_path_factory.mktemp("brains")
    write_phantoms(root / "raw", "brain", 4, 3, (32, 32, 16))
    return root


def test_healing_draws_measures_against_a_setting(brains, tmp_path):
    spec = analysis(
        "healing", "ant-gan", {**BRAIN, "data.modality": "flair"},
        {"tsne": 4, "against": "method.lambda_am", "twins": str(brains / "raw" / "twins")},
        heavy={**HEALER, "method.lambda_am": 10}, light={**HEALER, "method.lambda_am": 0.1},
    )  # fmt: skip
    found = run_study(spec, brains / "raw", tmp_path, seeds=(0,))
    assert {"heavy", "light", *KINDS["healing"].beside} == set(found["rows"])
    assert set(KINDS["healing"].measures) <= set(found["rows"]["heavy"])
    for name in ("study", "features", "tsne", "drawn", "sweep"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    runs = {name: [tmp_path / "generators" / f"{name}-seed0"] for name in ("heavy", "light")}
    rows = {"heavy": {"n": 1}, "light": {"n": 2}}
    assert points_of(runs, "method.lambda_am", rows) == [(0.1, {"n": 2}), (10.0, {"n": 1})]
    with pytest.raises(SettingsError, match="which is 'add' in heavy, expected the name of a num"):
        points_of(runs, "method.shortcut", rows)


def test_modalities_are_healed_each_with_samples_of_its_own(brains, tmp_path):
    spec = analysis(
        "healing", "ant-gan", BRAIN, {"tsne": 2},
        T2={**HEALER, "data.modality": "t2"}, T1={**HEALER, "data.modality": "t1"},
    )  # fmt: skip
    found = run_study(spec, brains / "raw", tmp_path, seeds=(0,))
    assert {"T1", "T2", "unchanged (T1)", "unchanged (T2)"} <= set(found["rows"])
    assert found["rows"]["mean fill (T1)"] != found["rows"]["mean fill (T2)"]
    assert (tmp_path / "T1" / "study.png").is_file()


MODALITIES = {
    "data.size": [32, 32], "data.fit": "resize", "data.split": [0.5, 0, 0.5],
    "data.modality": ["t1", "flair"], "data.min_lesion_pixels": 1,
}  # fmt: skip
REGISTERED = {"method.base": 2, "method.base_images": 2, "method.latent": 16}
JUDGES = {"steps": 1, "cases": 1, "slices": 2, "numbers": {"base": 2, "depth": 1, "threads": 1}}


def stand_in(run, out, **asked):
    """What a trained generator would make: an untrained one holds no lesion."""
    if run.name.startswith("broken"):
        raise DataError("synthesis: a lesion lies inside none of 100 generated brains.")
    assert (asked["cases"], asked["task"], asked["resume"]) == (1, "unfiltered", out.exists())
    if not out.exists():
        write_phantoms(out, "brain", 1, 7, (32, 32, 8))
    return out


def test_guidance_and_registration_judge_the_sets_that_could_be_made(brains, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis_kinds, "synthesize", stand_in)
    schemes = {"ours": REGISTERED, "broken": {**REGISTERED, "method.scheme": "1seg"}}
    told = []
    for kind, options in (("lesion-guidance", JUDGES), ("registration", {"cases": 1, "slices": 2})):
        spec = analysis(kind, "registered-multimodal", MODALITIES, options, **schemes)
        found = run_study(spec, brains / "raw", tmp_path, seeds=(0,), tell=told.append)
        assert {"real", "ours"} <= set(found["rows"])
        assert "broken" not in found["rows"]
        assert found["problems"] == [
            "broken: synthesis: a lesion lies inside none of 100 generated brains."
        ]
        assert set(KINDS[kind].measures) <= set(found["rows"]["ours"])
    assert len(told) == 2
    assert (tmp_path / "registered.png").is_file()


def test_translations_stand_beside_what_knows_no_places(brains, tmp_path):
    spec = analysis("translation", "registered-multimodal", MODALITIES, {"slices": 1}, a=REGISTERED)
    found = run_study(spec, brains / "raw", tmp_path, seeds=(0,))
    assert set(found["rows"]) == {"unchanged", "grey values", "a"}


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("translation", {"slices": 0}, "slices: found 0"),
        ("reader-study", {"cases": 7}, "cases: found 7. Input should be a multiple of 2"),
        ("reader-study", {"cases": 6}, "cases: found 6"),
        ("lesion-classification", {"questions": ["chanel"]}, "questions.0: found 'chanel'"),
        ("lesion-classification", {"questions": []}, "questions: found "),
        ("lesion-classification", {"classifiers": {"batch": 7}}, "classifiers.batch: found 7"),
        ("lesion-classification", {"folds": 1, "shared_gan": True}, "found one fold"),
        ("healed-channel", {"folds": 1, "shared_gan": True}, "found one fold"),
        ("healing", {"layers": []}, "layers: found "),
        ("training", {"row": 40}, "row: found 40"),
    ],
)
def test_options_that_no_data_allow_are_refused(kind, options, words):
    with pytest.raises(SettingsError, match=words):
        options_of(analysis(kind, "ant-gan", {}, options, a={}))


FLAIR = {
    "data.size": [32, 32], "data.split": [0.5, 0, 0.5], "data.min_pixels": 4,
    "data.modality": "flair",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("healing", {"against": "method.lambda"}, ["against: found method.lambda, which is None"]),
        (
            "healing",
            {"against": "method.shortcut", "layers": ["conv9", "block2"], "twins": "nowhere"},
            [
                "twins: nowhere is no folder",
                "layers: found conv9, block2, which A2N of a does not have. Choose among conv1, "
                "conv2, conv3, block1, deconv1, deconv2, conv4.",
                "against: found method.shortcut, which is 'add' in a",
            ],
        ),
        (
            "reader-study",
            {"cases": 20, "per_case": 4},
            ["cases: found 20, half of them of test cases, which are 2, 4 slice(s) of each"],
        ),
        (
            "healed-channel",
            {"folds": 5, "segmenters": {"numbers": {"network": "cascade"}}},
            ["found network cascade for slices", "folds: found 4 patient(s) for 5 folds"],
        ),
        (
            "lesion-classification",
            {"folds": 5, "questions": ["channel"]},
            ["folds: found 4 patient(s) for 5 folds"],
        ),
        (
            "lesion-classification",
            {"folds": 2},
            ["fakes.network: found alexnet for slices of 32 x 32 pixels, expected 63 a side"],
        ),
        (
            "lesion-classification",
            {"folds": 2, "classifiers": {"fakes": {"network": "vgg16"}, "slices": 5000}},
            ["normal slices to learn from, expected 5000"],
        ),
        (
            "lesion-classification",
            {
                "folds": 2,
                "questions": ["channel"],
                "classifiers": {"channel": {"width": 0.02}, "channel_steps": 1, "batch": 2},
            },
            ["fold 1 has no normal slice in its test split, expected one at least"],
        ),
    ],
)
def test_options_that_the_data_or_generators_do_not_allow_are_refused_before_training(
    brains, tmp_path, kind, options, words
):
    spec = analysis(kind, "ant-gan", FLAIR, options, a=HEALER)
    with pytest.raises(SettingsError) as told:
        run_study(spec, brains / "raw", tmp_path, seeds=(0,))
    for line in words:
        assert line in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]  # nothing trained, nothing left


def test_names_of_arms_and_networks_for_volumes_are_refused_before_training(brains, tmp_path):
    asked = {"numbers": {"network": "cascade"}}
    for kind, method, data, options, names, words in (
        ("healed-channel", "ant-gan", FLAIR, {}, {"plain": HEALER}, "plain is the reference's"),
        ("lesion-classification", "ant-gan", FLAIR, {}, {"real": HEALER}, "real=: is an arm's"),
        ("lesion-guidance", "registered-multimodal", MODALITIES, asked, {"a": REGISTERED},
         "found network cascade for slices"),
    ):  # fmt: skip
        spec = analysis(kind, method, data, options, **names)
        with pytest.raises(SettingsError, match=words):
            run_study(spec, brains / "raw", tmp_path / kind, seeds=(0,))
        assert not (tmp_path / kind / "generators").exists()


def row(step, accuracy, loss):
    return {
        "step": step, "G.l1": loss, "G": loss, "running": {"G.l1": loss, "G": loss},
        "watch": {"D.accuracy_real": accuracy},
    }  # fmt: skip


def log_of(run, rows):
    run.mkdir()
    text = "".join(f"{one}\n" for one in rows)
    (run / "log.jsonl").write_text(text.replace("'", '"'))


def test_the_end_of_a_training_is_the_mean_of_its_last_tenth(tmp_path):
    # Of 20 rows the last two count: accuracies 0.5 and 0.7, losses 3 and 5.
    rows = [row(n, 0.0, 9.0) for n in range(1, 19)] + [row(19, 0.5, 3.0), row(20, 0.7, 5.0)]
    log_of(tmp_path / "run", [*rows[:10], {"step": 10, "note": "a word"}, *rows[10:]])
    found = course(tmp_path / "run")
    assert found["steps"] == 20
    assert found["accuracy"] == {"D.accuracy_real": pytest.approx(0.6)}
    assert found["losses"] == {"G.l1": 4.0, "G": 4.0}
    text = as_markdown({"ours": [found, found]})
    assert "| ours | 0.6, 0.6 |" in text
    assert "| ours | 4, 4 | 4, 4 |" in text


def test_magans_total_is_its_weighted_l1_and_the_critics_loss(tmp_path):
    """Fig. 12: 100 L1 + L_D. An L1 of 0.02 is logged as 2; with a critic's loss of 1.25, 3.25."""
    losses = {"G.L_L1": 2.0, "G.L_adv": 9.0, "D.L_D": 1.25}
    running = {"G.L_L1": 4.0, "G.L_adv": 9.0, "D.L_D": 1.0}
    rows = [{"step": 10, **losses, "running": running}, {"step": 10, "note": "a word"}]
    rows += [{"step": 20, **losses, "D.L_D": 2.25, "running": running}]
    assert total(rows) == [(10, 3.25, 5.0), (20, 4.25, 5.0)]
    log_of(tmp_path / "run", rows)
    assert course(tmp_path / "run")["losses"]["total"] == 4.25  # of one row of two
    assert total([row(1, 0.5, 3.0)]) == []
    log_of(tmp_path / "other", [row(1, 0.5, 3.0)])
    assert "total" not in course(tmp_path / "other")["losses"]


def test_the_total_is_drawn_of_magan_alone(livers, tmp_path):
    spec = analysis("training", "magan", LIVER, a=PAINTER)
    found = run_study(spec, livers / "raw", tmp_path, seeds=(0,))
    losses = found["found"]["all"]["a"][0]["losses"]
    assert losses["total"] == pytest.approx(losses["G.L_L1"] + losses["D.L_D"])
    assert (tmp_path / "a-total.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "results.md").read_text()
    assert "[a-total.png](a-total.png): G.L_L1 + D.L_D, raw (pale) and running, of a." in page


def test_a_training_that_logged_nothing_is_refused(tmp_path):
    log_of(tmp_path / "run", [{"step": 1, "note": "a word"}])
    with pytest.raises(RunError, match="no row of losses"):
        course(tmp_path / "run")


def test_a_course_is_drawn(brains, tmp_path):
    spec = analysis("training", "ant-gan", {**BRAIN, "data.modality": "flair"}, a=HEALER)
    found = run_study(spec, brains / "raw", tmp_path, seeds=(0,))
    assert found["found"]["all"]["a"][0]["steps"] == 1
    for name in ("curves", "accuracy", "evolution"):
        assert (tmp_path / f"a-{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "a-total.png").exists()
