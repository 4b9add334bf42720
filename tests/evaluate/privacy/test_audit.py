"""The audit on phantoms: generators that copy are caught, an independent sample passes."""

import json
import re
import shutil
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import shift

from scansmith.data.phantom import make_phantom
from scansmith.data.write import open_writer
from scansmith.evaluate import audit
from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.audit import audit_sets, measured
from scansmith.evaluate.privacy.cases import Trace, lay_out, trace
from scansmith.evaluate.privacy.lines import Sides, lines_of
from scansmith.evaluate.privacy.neighbours import LEAST_DISTANCE
from scansmith.evaluate.privacy.pairs import case_rows
from scansmith.evaluate.privacy.uncompared import lesions_uncompared, modalities_uncompared
from scansmith.evaluate.privacy.verdict import judge
from scansmith.evaluate.view import Shared, View, shared_labels
from scansmith.labels.table import KNOWN, LabelTable
from scansmith.scan import DataError, Scan, SettingsError
from scansmith.synthesize.make import synthesize
from scansmith.workflow import prepare
from scansmith.workflow import train as train_run

CLEAN = {"identifying": 0, "unread": [], "unknown": []}
SHARED = Shared(("ct",), ("background", "liver", "tumour"), (2,), "names like a lesion")
SIDE = 52  # patients of a side: enough for a pass


@pytest.fixture(scope="module")
def slices():
    """One slice of each of many phantom patients: (image (H, W), labels (H, W))."""
    found = []
    for seed in range(3 * SIDE):
        scan = make_phantom("liver", (7, seed), (24, 24, 8)).scan
        k = int(np.argmax((scan.labels == 2).sum(axis=(0, 1))))
        found.append((scan.image[0, :, :, k].T.astype(np.float32), scan.labels[:, :, k].T))
    return found


def seen(name, image, labels):
    return View(name, name, image[None, None], labels[None], (1.0, 13.0, 13.0))


def views(slices, first, prefix):
    return [seen(f"{prefix}{n}", *slices[first + n]) for n in range(SIDE)]


@pytest.fixture(scope="module")
def real(slices):
    """Views of training and hold-out patients, and the layout of the audit."""
    train, holdout = views(slices, 0, "t"), views(slices, SIDE, "h")
    layout = lay_out(SHARED, train + holdout, train)
    return [trace(case, layout) for case in train + holdout], layout


def searched(made, real, members=SIDE):
    """(verdict, rows, report) of synthetic views against the real ones, training cases first."""
    traces, layout = real
    trained = np.arange(len(traces)) < members
    sides = Sides([trace(case, layout) for case in made], traces, trained)
    lines = lines_of(sides, layout, lambda *words: None)
    report = measured(sides, lines, 0)
    hashes = np.zeros((len(made), len(traces)))
    rows = case_rows(sides, lines, report["lines"], hashes)
    return judge(report["lines"], report["exchange"], CLEAN), rows, report


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer exchanges: p can still be as low as 0.005."""
    monkeypatch.setattr(statistics.exchanged, "__defaults__", (199,))


def copies(slices, rng):
    """Name -> how a generator that remembers might give back its training slice n."""

    def louder(image):
        return 300 * ((image - image.min()) / np.ptp(image)) ** 0.8 + 50

    return {
        "exact": lambda image: image,
        "noise": lambda image: image + rng.normal(0, 0.1 * image.std(), image.shape),
        "flip": lambda image: image[:, ::-1],
        "shift": lambda image: shift(image, (2, -1), order=1, mode="nearest"),
        "brightness": louder,
        "all": lambda image: (
            louder(shift(image[:, ::-1], (-1, 2), order=1, mode="nearest"))
            + rng.normal(0, 5, image.shape)
        ),
    }


def test_a_few_copies_among_many_fresh_cases_are_caught_whatever_was_done_to_them(slices, real):
    fresh = views(slices, 2 * SIDE, "s")
    changes = copies(slices, np.random.default_rng(0))
    made = list(fresh[len(changes) :])
    for n, (name, change) in enumerate(changes.items()):
        image, labels = slices[3 * n]
        made.append(seen(name, change(image).astype(np.float32), labels))
    found, rows, report = searched(made, real)
    assert found["verdict"] == "leak"
    near = {row["case"]: row["train_case"] for row in rows if row["line"] == "whole"}
    caught = {row["case"] for row in rows if row["too_near"] and row["line"] == "whole"}
    assert {name: near[name] for name in changes} == {
        name: f"t{3 * n}" for n, name in enumerate(changes)
    }
    # All at once leave too little: the source is still the nearest, but not by as much.
    assert caught >= set(changes) - {"all"}
    assert report["lines"]["whole"]["copies"]["holdout"] == 0


def test_an_independent_sample_of_patients_passes(slices, real):
    found, rows, report = searched(views(slices, 2 * SIDE, "s"), real)
    assert found["verdict"] == "pass", found
    assert not any(row["too_near"] for row in rows)
    assert found["needed"] is None
    assert report["exchange"]["p"] >= 0.05
    # Features alone do not call a case a copy; the whole image does.
    for line, verdict in (("features", "pass"), ("whole", "leak")):
        report["lines"][line]["copies"]["train"] = 1
        assert judge(report["lines"], report["exchange"], CLEAN)["verdict"] == verdict


def test_a_copy_is_nearest_to_its_source_by_features_too(slices, real):
    made = views(slices, 2 * SIDE, "s")
    made[0], made[1] = seen("of t3", *slices[3]), seen("of h5", *slices[SIDE + 5])
    _, rows, report = searched(made, real)
    train, holdout = (row for row in rows if row["line"] == "features" and "of" in row["case"])
    assert (train["train_case"], train["train_distance"]) == ("t3", LEAST_DISTANCE)
    assert (holdout["holdout_case"], holdout["holdout_distance"]) == ("h5", LEAST_DISTANCE)
    assert (train["nearer_to_train"], holdout["nearer_to_train"]) == (True, False)
    assert train["too_near"]
    assert holdout["too_near"]
    copies = report["lines"]["features"]["copies"]
    assert (copies["train"], copies["holdout"]) == (1, 1)


def several(slices, first, each, prefix, patients=16):
    """Views of patients with so many cases each, which are as unlike as those of strangers."""
    return [
        replace(seen(f"{prefix}{n}", *slices[first + n]), patient=f"{prefix}{n // each}")
        for n in range(each * patients)
    ]


def counted(made, train, holdout):
    """(verdict, rows, report) where patients have several cases."""
    layout = lay_out(SHARED, train + holdout, made)
    return searched(made, ([trace(case, layout) for case in train + holdout], layout), len(train))


def test_strangers_are_no_leak_where_training_patients_have_more_cases(slices):
    """With five cases a patient is nearer to anything: 17 of 22 cases are nearest to such a one."""
    train, holdout = several(slices, 0, 5, "t"), several(slices, 80, 1, "h")
    found, rows, report = counted(several(slices, 100, 1, "s", 22), train, holdout)
    assert found["verdict"] == "inconclusive", found  # 16 patients are too few for a pass
    assert report["exchange"]["p"] > 0.1
    assert sum(row["nearer_to_train"] for row in rows if row["line"] == "whole") == 17
    assert report["lines"]["whole"]["nearer_to_train"]["share"] < 0.6
    # A copy of any of the five is found, also of those that are left out of the comparison.
    copied = [replace(case, case=f"of {case.case}") for case in train[:5]]
    found, rows, _ = counted([*copied, *several(slices, 105, 1, "s")], train, holdout)
    caught = {row["train_case"] for row in rows if row["too_near"] and row["line"] == "whole"}
    assert caught == {case.case for case in train[:5]}
    assert found["verdict"] == "leak"


def test_a_leaning_is_not_hidden_by_hold_out_patients_with_more_cases(slices):
    """Every synthetic case is half a training case; hold-out patients have five cases each."""
    train, holdout = several(slices, 0, 1, "t"), several(slices, 16, 5, "h")
    made = [
        seen(f"s{n}", 0.52 * slices[n % 16][0] + 0.48 * slices[100 + n][0], slices[100 + n][1])
        for n in range(22)
    ]
    found, rows, report = counted(made, train, holdout)
    assert not any(row["too_near"] for row in rows)
    assert report["exchange"]["p"] < 0.01
    assert found["verdict"] == "leak"


@pytest.mark.slow
def test_a_set_that_leans_on_its_training_patients_is_caught_without_a_single_copy(slices, real):
    rng = np.random.default_rng(1)
    made = []
    for n in range(SIDE):
        image = 0.6 * slices[n][0] + 0.4 * slices[(n + 1) % SIDE][0]
        made.append(
            seen(f"s{n}", (image + rng.normal(0, 30, image.shape)).astype(np.float32), slices[n][1])
        )
    found, _, report = searched(made, real)
    assert found["verdict"] == "leak"
    assert report["exchange"]["p"] < 0.01
    assert report["lines"]["whole"]["membership"]["interval"][0] > 0.5


def write(root, cases, prefix):
    writer = open_writer("slices", root, ("ct",), KNOWN["lits"])
    for n, (image, labels) in enumerate(cases):
        name = f"{prefix}{n}x"
        affine = np.diag([-13.0, -13.0, 1.0, 1.0])
        writer.write(Scan(name, image.T[None, :, :, None], affine, ("ct",), labels.T[:, :, None]))
    writer.close()
    return root


@pytest.fixture(scope="module")
def folders(slices, tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    flipped = [(image[:, ::-1], labels[:, ::-1]) for image, labels in slices[:6]]
    return {
        "train": write(root / "train", slices[:7], "t"),
        "holdout": write(root / "holdout", slices[7:12], "h"),
        "copies": write(root / "copies", flipped, "s"),
        "fresh": write(root / "fresh", slices[12:18], "s"),
    }


def test_too_few_cases_are_inconclusive_and_it_says_how_many_would_do(folders, tmp_path):
    out, steps = tmp_path / "out", []
    (out / "pairs").mkdir(parents=True)
    (out / "pairs" / "99_whole.png").write_bytes(b"of an earlier audit, of other pairs")
    found = audit(
        folders["fresh"], folders["train"], folders["holdout"], out,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert found["verdict"] == "inconclusive"
    assert min(found["needed"].values()) >= 20
    assert any("too few" in reason for reason in found["reasons"])
    text = (out / "audit.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == found
    assert steps[0][:2] == (0, 18)
    assert found["sets"]["training"]["patients_measured"] == 7
    page = (out / "audit.html").read_text()
    stripped = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.findall(r"(?:https?:|//[a-z]|<script|<link|@import|url\()", stripped)
    assert "no guarantee" in page
    assert "not a medical device" in page.lower()
    pictures = sorted(path.name for path in (out / "pairs").iterdir())
    assert len(pictures) == len(found["pairs"])
    assert page.count("data:image/png;base64,") == len(pictures)


def test_an_audit_that_is_stopped_leaves_no_numbers_beside_pictures_of_others(
    folders, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    audit(folders["fresh"], folders["train"], folders["holdout"], out)
    before = {path.name: path.read_bytes() for path in out.rglob("*.*")}
    module = import_module(audit_sets.__module__)
    write_bytes = module.write_bytes

    def stopped(path, content):
        if path.name.startswith("02"):
            raise KeyboardInterrupt
        return write_bytes(path, content)

    monkeypatch.setattr(module, "write_bytes", stopped)
    with pytest.raises(KeyboardInterrupt):
        audit(folders["copies"], folders["train"], folders["holdout"], out)
    assert (out / "pairs" / "01_whole.png").read_bytes() != before["01_whole.png"]
    assert (out / "pairs" / "02_whole.png").read_bytes() == before["02_whole.png"]
    assert not (out / "audit.json").exists()


def test_flipped_copies_are_a_leak_even_among_few(folders, tmp_path):
    found = audit(
        folders["copies"], folders["train"], folders["holdout"], tmp_path / "out", pictures=False
    )
    assert found["verdict"] == "leak"
    assert found["lines"]["whole"]["copies"]["train"] >= 5
    assert not (tmp_path / "out" / "pairs").exists()
    again = audit(folders["copies"], folders["train"], folders["holdout"])
    assert again == found


def test_all_cases_that_cannot_be_read_are_told_with_their_set(tmp_path, monkeypatch):
    """Broken are two synthetic cases, one training and one hold-out case, of five each."""
    module = import_module(audit_sets.__module__)
    rng = np.random.default_rng(0)

    def random_set(name, broken):
        writer = open_writer("nnunet", tmp_path / name, ("ct",), KNOWN["lits"])
        for n in range(5):
            image = rng.normal(0, 100, (1, 16, 16, 4)).astype(np.float32)
            writer.write(Scan(f"{name}_{n}", image, np.eye(4), ("ct",), np.zeros(image.shape[1:])))
        writer.close()
        for n in broken:
            (path,) = (tmp_path / name).rglob(f"{name}_{n}_0000.nii.gz")
            nib.save(nib.Nifti1Image(np.full((16, 16, 4), np.nan), np.eye(4)), path)
        return tmp_path / name

    sets = random_set("s", (1, 3)), random_set("t", (4,)), random_set("h", (0,))
    told = ["synthetic set, s_1", "synthetic set, s_3", "training set, t_4", "hold-out set, h_0"]
    for sampled in (12, 2, 1):  # all are asked for their size; first and last; the first of each
        monkeypatch.setattr(module, "_SAMPLED", sampled)
        with pytest.raises(DataError) as error:
            audit(*sets)
        assert [problem.where for problem in error.value.problems] == told


def test_patients_on_both_sides_are_refused(folders, slices, tmp_path):
    with pytest.raises(DataError, match=r"7 patients are in the training and in the hold-out set"):
        audit(folders["fresh"], folders["train"], folders["train"], tmp_path / "out")
    renamed = write(tmp_path / "renamed", slices[6:11], "h")
    with pytest.raises(DataError, match="h0x: hold-out and training case t6x are one image"):
        audit(folders["fresh"], folders["train"], renamed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("side", [1, 2])
def test_one_scan_under_two_patients_names_on_a_side_is_refused(folders, slices, tmp_path, side):
    """It would switch the search for copies off: between these two the gap is as large as any."""
    sets = [folders["fresh"], folders["train"], folders["holdout"]]
    first, last, prefix = [(0, 7, "t"), (7, 12, "h")][side - 1]
    twice = [*slices[first:last], slices[first + 2]]
    sets[side] = doubled = write(tmp_path / "doubled", twice, prefix)
    case, other = f"{prefix}2x", f"{prefix}{last - first}x"
    with pytest.raises(
        DataError, match=f"{other}: it and {case} of the .* set are one image"
    ) as error:
        audit(*sets)
    assert len(error.value.problems) == 1
    (doubled / "patients.json").write_text(json.dumps({other: case}))
    assert audit(*sets)["verdict"] in ("pass", "inconclusive")


def test_a_modality_that_not_both_real_sets_have_keeps_a_set_from_a_pass():
    shared = Shared(("t1",), ("background",), (), "any label")
    (said,) = modalities_uncompared((("t1", "t2"), ("t1", "t2"), ("t1",)), shared)
    assert said.startswith("The synthetic set has t2 besides, which not both real sets have")
    assert modalities_uncompared((("t1",), ("t1", "t2"), ("t1", "t2")), shared) == []


def test_an_audit_is_not_written_into_what_is_passed_on(folders):
    for out in (folders["fresh"], folders["fresh"] / "audit"):
        before = sorted(folders["fresh"].rglob("*"))
        with pytest.raises(SettingsError, match="lies in the synthetic set"):
            audit(folders["fresh"], folders["train"], folders["holdout"], out)
        assert sorted(folders["fresh"].rglob("*")) == before


def test_an_audit_measures_no_more_cases_than_its_limit(folders):
    found = audit(folders["fresh"], folders["train"], folders["holdout"], limit=3)
    sets = found["sets"].values()
    assert [(own["cases"], own["cases_measured"]) for own in sets] == [(6, 3), (7, 3), (5, 3)]


def test_cases_that_are_left_out_of_the_comparison_are_told(folders, tmp_path):
    """Two training patients have three cases each, one has one; five hold-out patients have one."""
    train = shutil.copytree(folders["train"], tmp_path / "train")
    whose = {f"t{n}x": "ab"[n // 3] for n in range(6)}
    (train / "patients.json").write_text(json.dumps(whose))
    found = audit(folders["fresh"], train, folders["holdout"], pictures=False)
    sets = found["sets"].values()
    assert [(own["cases_measured"], own["cases_compared"]) for own in sets] == [
        (6, 6),
        (7, 3),
        (5, 5),
    ]
    assert "4 of 7 training cases and 0 of 5 hold-out cases were left out" in found["reasons"][-1]
    alike = audit(folders["fresh"], folders["train"], folders["holdout"], pictures=False)
    assert not any("left out" in reason for reason in alike["reasons"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.json", '{"PatientName": "Jane Doe"}'),
        ("notes.jsonl", '{"note": "by M\\u00fcller^J\\u00fcrgen"}'),
        ("a.nrrd", "by DOE^JANE"),
    ],
)
def test_a_name_in_a_file_is_a_leak(folders, tmp_path, name, text):
    synthetic = shutil.copytree(folders["fresh"], tmp_path / "named")
    (synthetic / name).write_text(text)
    found = audit(synthetic, folders["train"], folders["holdout"])
    assert found["verdict"] == "leak"
    assert found["metadata"]["identifying"] == 1
    assert any("name a patient" in reason for reason in found["reasons"])


@pytest.fixture(scope="module")
def enough(slices, tmp_path_factory):
    """Sets with as many patients as a pass takes: synthetic, training, hold-out."""
    root = tmp_path_factory.mktemp("enough")
    parts = {name: slices[n * SIDE : (n + 1) * SIDE] for n, name in enumerate("ths")}
    return [write(root / name, parts[name], name) for name in "sth"]


def test_strangers_pass_from_end_to_end_and_files_of_unknown_kinds_are_told(enough, tmp_path):
    synthetic = shutil.copytree(enough[0], tmp_path / "made")
    (synthetic / "LICENSE").write_text("CC-BY")
    found = audit(synthetic, *enough[1:], tmp_path / "out")
    assert found["verdict"] == "pass", found["reasons"]
    assert found["sets"]["synthetic"]["cases_measured"] == SIDE
    assert found["metadata"]["unknown"] == ["LICENSE"]
    assert "1 file (LICENSE) " in found["reasons"][-1]
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "unknown kind, searched as text alone (1):</b> LICENSE<" in page
    assert "to the end (" not in page


@pytest.mark.parametrize(
    ("structures", "verdict", "told"),
    [
        (
            {1: "liver", 2: "mass"},
            "inconclusive",
            r"training set labels liver, tumour, but not all",
        ),
        (
            {1: "organ", 2: "mass"},
            "inconclusive",
            r"\(synthetic set organ, mass, hold-out set liver",
        ),
        ({}, "pass", "The synthetic set has no labels"),
    ],
)
def test_lesions_that_are_named_otherwise_keep_a_set_from_a_pass(
    enough, tmp_path, structures, verdict, told
):
    synthetic = shutil.copytree(enough[0], tmp_path / "made")
    if structures:
        (synthetic / "labels.json").write_text(json.dumps(structures))
    else:
        shutil.rmtree(synthetic / "labels")
        (synthetic / "labels.json").unlink()
    found = audit(synthetic, *enough[1:], pictures=False)
    assert found["verdict"] == verdict, found["reasons"]
    assert re.search(told, found["reasons"][-1])


def test_three_lesions_of_training_patients_are_too_few_to_compare():
    def case(name, lesion):
        regions = {"whole": [np.zeros(1)], **({"lesion": [np.zeros(1)]} if lesion else {})}
        return Trace(name, name, regions, regions, np.zeros(1), np.zeros(1))

    def told(made, train, held_out):
        real = [case(f"t{n}", n < train) for n in range(9)]
        real += [case(f"h{n}", n < held_out) for n in range(9)]
        synthetic = [case(f"s{n}", n < made) for n in range(9)]
        sides = Sides(synthetic, real, np.arange(18) < 9)
        return lesions_uncompared([SHARED.structures] * 3, SHARED, sides, [])

    words = "Lesions were not compared: 3 training patients, 9 hold-out patients and 5 synthetic"
    (doubt,), notes = told(5, 3, 9)
    assert doubt.startswith(words)
    assert notes == []
    assert told(0, 3, 9) == (
        [],
        ["No synthetic case shows a lesion: whole images alone were compared."],
    )
    assert told(5, 0, 9) == (
        [],
        ["No training patient has a lesion: whole images alone were compared."],
    )


def test_strangers_with_a_file_that_cannot_be_read_do_not_pass(enough, tmp_path):
    synthetic = shutil.copytree(enough[0], tmp_path / "made")
    (synthetic / "more.bin").write_bytes(bytes(range(256)))
    found = audit(synthetic, *enough[1:], tmp_path / "out", pictures=False)
    assert found["verdict"] == "inconclusive"
    (reason,) = found["reasons"]
    assert reason.startswith("1 file (more.bin) of the synthetic set could not be read")
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "not to the end (1):" in page
    assert "<li>more.bin: of a kind that is not known" in page


def phantoms(root, seeds, prefix, size=(24, 24, 12), change=lambda image: image):
    writer = open_writer("nnunet", root, ("ct",), KNOWN["lits"])
    for seed in seeds:
        scan = make_phantom("liver", (8, seed), size).scan
        name = f"{prefix}{seed:03d}"
        image, labels = change(scan.image), change(scan.labels[None])[0]
        writer.write(Scan(name, image, scan.affine, ("ct",), labels, patient=name))
    writer.close()
    return root


@pytest.mark.slow
def test_volumes_are_searched_as_slices_are(tmp_path):
    train = phantoms(tmp_path / "train", range(24), "t")
    holdout = phantoms(tmp_path / "holdout", range(24, 48), "h")
    copied = phantoms(tmp_path / "made", range(6), "s", change=lambda image: image[:, ::-1])
    found = audit(copied, train, holdout)
    assert found["verdict"] == "leak"
    assert found["lines"]["whole"]["copies"]["train"] == 6
    fresh = phantoms(tmp_path / "fresh", range(48, 72), "s")
    assert audit(fresh, train, holdout)["verdict"] != "leak"


@pytest.mark.slow
def test_a_generator_that_remembers_its_patients_is_caught_and_a_hardly_trained_one_is_not(
    tmp_path,
):
    train = phantoms(tmp_path / "train", range(3), "t", (32, 32, 8))
    holdout = phantoms(tmp_path / "holdout", range(3, 27), "h", (32, 32, 8))
    tiny = (
        "data.size=32,32", "data.split=1,0,0", "data.intensity=minmax", "method.base=8",
        "method.patch=8", "method.learning_rate=0.001", "train.batch=4", "train.sample_at=",
        "train.device=cpu", "train.threads=1",
    )  # fmt: skip
    store = prepare(train, tmp_path / "store", "heart-gan", sets=tiny, workers=1)

    def audited(steps):
        sets = [*tiny, f"train.steps={steps}", f"train.checkpoint_every={steps}"]
        run = train_run("heart-gan", store.path, tmp_path / f"run{steps}", sets=sets)
        out = tmp_path / f"made{steps}"
        # From the label maps of its own patients, unchanged.
        made = synthesize(run, out, cases=3, seed=0, edit=False, device="cpu")
        return audit(made, train, holdout)

    found = audited(1000)
    assert found["verdict"] == "leak"
    assert found["lines"]["whole"]["copies"]["train"] == 3
    near = {row["case"]: row["train_case"] for row in found["cases"] if row["line"] == "whole"}
    assert near == {f"t00{n}": f"t00{n}" for n in range(3)}
    assert audited(30)["verdict"] == "inconclusive"


def test_a_synthetic_lesion_is_not_held_against_a_tumour_that_real_sets_have_beside_it():
    real = LabelTable({1: "lesion", 2: "tumour"})
    sets = tuple(
        SimpleNamespace(table=table, modalities=("ct",), cases=())
        for table in (LabelTable({1: "lesion"}), real, real)
    )
    shared = import_module("scansmith.evaluate.privacy.audit")._shared(sets, None)
    assert shared.structures == ("background", "lesion")
    values = np.array([0, 1, 2], np.uint8)
    assert shared_labels(values, shared, real).tolist() == [0, 1, 0]
    assert shared_labels(values[:2], shared, sets[0].table).tolist() == [0, 1]


def test_a_lesion_that_not_all_sets_name_is_no_other_structure():
    training = LabelTable({1: "lesion", 2: "tumour"})
    tables = LabelTable({1: "lesion"}), training, LabelTable({1: "lesion"})
    sets = tuple(SimpleNamespace(table=own, modalities=("ct",), cases=()) for own in tables)
    shared_by = import_module("scansmith.evaluate.privacy.audit")._shared
    for name in ("tumour", "Tumor"):
        with pytest.raises(
            DataError, match=r"no structure tumour in all sets. Choose among lesion"
        ):
            shared_by(sets, (name,))
    chosen = shared_by(sets, ("Lesion",))
    assert [chosen.structures[index] for index in chosen.lesion] == ["lesion"]
    # Where no set has both, the two words are one structure.
    alike = shared_by((sets[0], sets[2], sets[2]), ("tumor",))
    assert [alike.structures[index] for index in alike.lesion] == ["tumour"]


def test_a_name_that_the_hold_out_table_lists_besides_does_not_keep_a_set_from_a_pass(
    enough, tmp_path
):
    named = {1: "liver", 2: "lesion"}
    sets = []
    for folder, table in zip(enough, (named, named, {**named, 3: "tumour"}), strict=True):
        sets.append(shutil.copytree(folder, tmp_path / folder.name))
        (sets[-1] / "labels.json").write_text(json.dumps(table))
    found = audit(*sets, pictures=False)
    assert found["settings"]["lesion"] == ["lesion"]
    assert "lesion" in found["lines"]
    assert found["verdict"] == "pass", found["reasons"]
