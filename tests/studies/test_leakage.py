"""The leakage guard, on a real tiny synthetic set: what enters a study, what is refused and why."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from scansmith.data.layouts import LAYOUTS, find_layout
from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.data.write import LAYOUT_WRITERS, open_writer
from scansmith.io.nifti import write_nifti
from scansmith.labels.table import KNOWN
from scansmith.scan import DataError, Scan
from scansmith.studies.leakage import check_leakage
from scansmith.synthesize.make import synthesize
from scansmith.workflow import prepare, train

SMALL = ["method.base=4", "method.patch=4"]
SPLIT = ["data.size=32,32", "data.split=0.5,0,0.5"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four hearts split in two ways, a run on the first, what it makes of both of its halves."""
    root = tmp_path_factory.mktemp("hearts")
    write_phantoms(root / "raw", "heart", 4, 1, (32, 32, 8))
    for name, seed in (("store", 0), ("other", 1)):
        sets = [*SMALL, *SPLIT, f"data.seed={seed}"]
        prepare(root / "raw", root / name, "heart-gan", sets=sets, workers=1)
    train("heart-gan", root / "store", root / "run", sets=[*SMALL, "train.steps=1"])
    synthesize(root / "run", root / "made", cases=2, seed=0, device="cpu")
    synthesize(root / "run", root / "of-all", cases=4, seed=0, split="all", device="cpu")
    return root


@pytest.fixture
def made(root, tmp_path):
    """A copy of the synthetic set, to be changed."""
    return shutil.copytree(root / "made", tmp_path / "made")


def people(store, split):
    return {store.cases[name].patient for name in store.names(split)}


def rewritten(made, change):
    path = made / "provenance.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def test_a_set_of_training_patients_alone_enters(root):
    store = Store.open(root / "store")
    cleared = check_leakage(root / "made", store)
    assert cleared.cases == 2
    assert cleared.learned == people(store, "train")
    assert cleared.drawn == people(store, "train")


def whose(made):
    """The set's files as readers find them: case -> a file of it, by its path in the set."""
    found = find_layout(made).cases
    return {c.case: next(iter(c.images.values())).relative_to(made).as_posix() for c in found}


# One heart of 8 slices is 8 cases of PNG slices; MM-WHS wants "ct_train_" before a case's name.
READ_AS = {
    "nnunet": (2, "synth_000000"),
    "msd": (2, "synth_000000"),
    "brats": (2, "synth_000000"),
    "slices": (16, "synth_000000_000"),
    "mmwhs": (2, "ct_train_synth_000000"),
}


@pytest.mark.parametrize("layout", LAYOUT_WRITERS)
def test_a_set_of_every_layout_is_let_in_or_refused_by_what_its_rows_say(root, tmp_path, layout):
    store = Store.open(root / "store")
    made = synthesize(root / "run", tmp_path / "in", cases=2, seed=0, layout=layout, device="cpu")
    cases, first = READ_AS[layout]
    assert (len(whose(made)), min(whose(made))) == (cases, first)
    cleared = check_leakage(made, store)
    assert cleared.cases == 2  # as they were made, however many files readers take for one
    assert cleared.drawn == people(store, "train")
    word = check_leakage(made, store, learned=people(store, "train"))
    assert word.cases == 2

    order = {"cases": 4, "seed": 0, "split": "all", "layout": layout, "device": "cpu"}
    of_all = synthesize(root / "run", tmp_path / "of-all", **order)
    with pytest.raises(DataError, match="2 of 4 cases hold something of patients"):
        check_leakage(of_all, store)
    whole = (made / "provenance.jsonl").read_text()
    rewritten(made, lambda rows: rows[1:])
    gone = len([name for name in whose(made) if "synth_000000" in name])
    with pytest.raises(DataError, match=rf"{gone} case\(s\) without a row .* {first} among them"):
        check_leakage(made, store)
    (made / "provenance.jsonl").write_text(whole)


def test_a_picture_that_no_row_lists_is_refused_whatever_it_is_called(root, tmp_path):
    store = Store.open(root / "store")
    order = {"cases": 2, "seed": 0, "layout": "slices", "device": "cpu"}
    made = synthesize(root / "run", tmp_path / "made", **order)
    for folder in ("images", "labels"):  # a ninth slice of an eight-slice heart, from elsewhere
        shutil.copy(made / folder / "synth_000000_000.png", made / folder / "synth_000000_008.png")
    with pytest.raises(DataError, match=r"1 case\(s\) without a row .* synth_000000_008 among"):
        check_leakage(made, store)
    assert check_leakage(made, store, learned=["nobody"]).cases == 3  # two rows, one beside them
    for folder in ("images", "labels"):
        (made / folder / "synth_000000_008.png").unlink()
    (made / "labels" / "synth_000001_000.png").rename(made / "labels" / "synth_000001_008.png")
    # Neither an image whose labels have gone nor labels under another number are of a row.
    with pytest.raises(DataError, match=r"1 case\(s\) without a row .* synth_000001_008 among"):
        check_leakage(made, store)


def test_a_generator_that_learned_from_a_test_patient_is_refused(root):
    other = Store.open(root / "other")
    learned = people(Store.open(root / "store"), "train")
    shared = sorted(learned & people(other, "test"))
    assert shared  # the two splits differ
    with pytest.raises(DataError, match="whom it learned from is not known") as error:
        check_leakage(root / "made", other)
    assert "synth_000000 was made by the run 'run'" in str(error.value)
    with pytest.raises(DataError) as error:
        check_leakage(root / "made", other, runs=[root / "run"])
    assert f"learned from {len(shared)} patient(s) that the study tests on" in str(error.value)
    assert shared[0] in str(error.value)


def test_a_study_may_hold_out_others_than_the_split_does(root):
    store = Store.open(root / "store")
    (first, *_) = sorted(people(store, "train"))
    with pytest.raises(DataError, match=rf"learned from 1 patient.*{first} among them"):
        check_leakage(root / "made", store, held_out={first})
    check_leakage(root / "made", store, held_out=people(store, "test"))


def test_cases_drawn_from_test_patients_are_refused(root):
    store = Store.open(root / "store")
    with pytest.raises(DataError, match="2 of 4 cases hold something of patients") as error:
        check_leakage(root / "of-all", store)
    assert "generator learned" not in str(error.value)  # it did not: they were only drawn from


def test_a_lesion_of_a_test_patient_is_refused(root, made):
    store = Store.open(root / "store")
    case = store.names("test")[0]

    def place(rows):
        # As the editing of labels writes it.
        rows[1]["edits"] = {"kind": "place", "lesions": [{"lesion": 3, "case": case}]}
        return rows

    rewritten(made, place)
    with pytest.raises(DataError, match=f"1 of 2 cases .* synth_000001 of {case} among them"):
        check_leakage(made, store)


def test_a_set_that_does_not_say_where_it_comes_from_needs_a_word_for_it(root, made):
    store = Store.open(root / "store")
    (made / "provenance.jsonl").unlink()
    with pytest.raises(DataError, match=r"found no provenance\.jsonl.* --learned of classify"):
        check_leakage(made, store)
    cleared = check_leakage(made, store, learned=people(store, "train"))
    assert cleared.learned == people(store, "train")
    with pytest.raises(DataError, match="learned from 1 patient"):
        check_leakage(made, store, learned=[sorted(people(store, "test"))[0]])


def test_a_word_for_a_set_does_not_let_test_patients_in_under_their_own_names(root, made):
    store = Store.open(root / "store")
    with pytest.raises(DataError, match="2 of 4 cases have the name of a patient") as error:
        check_leakage(root / "raw", store, learned=["nobody"])  # the real scans themselves
    assert sorted(people(store, "test"))[0] in str(error.value)
    (made / "provenance.jsonl").unlink()
    cases = [files.case for files in find_layout(made).cases]

    def written(split):
        """Say whose the cases are, which are called otherwise."""
        whose = dict(zip(cases, sorted(people(store, split)), strict=True))
        (made / "patients.json").write_text(json.dumps(whose))

    written("train")
    assert check_leakage(made, store, learned=["nobody"]).drawn == people(store, "train")
    written("test")
    with pytest.raises(DataError, match="2 of 2 cases have the name of a patient"):
        check_leakage(made, store, learned=["nobody"])


def test_who_is_named_has_to_be_a_patient_of_the_data(root, made):
    store = Store.open(root / "store")
    known = sorted(people(store, "train"))
    (made / "provenance.jsonl").unlink()
    with pytest.raises(DataError, match=r"found 1 name\(s\) .*, Ann among them, .*\[nobody\] if"):
        check_leakage(made, store, learned=[*known, "Ann"])
    cleared = check_leakage(made, store, learned=["nobody"])
    assert (cleared.cases, cleared.learned) == (2, set())


def test_every_case_must_have_a_row_and_a_source(root, made):
    store = Store.open(root / "store")
    whole = (made / "provenance.jsonl").read_text()
    rewritten(made, lambda rows: rows[:1])
    with pytest.raises(DataError, match=r"1 case\(s\) without a row .* synth_000001 among them"):
        check_leakage(made, store)
    (made / "provenance.jsonl").write_text(whole)
    rewritten(made, lambda rows: [rows[0], {**rows[1], "source_case": ""}])
    with pytest.raises(DataError, match=r"1 row\(s\) .* name no source case, synth_000001"):
        check_leakage(made, store)


def test_other_weights_than_the_runs_are_not_taken_for_them(root, made):
    other = Store.open(root / "other")
    rewritten(made, lambda rows: [{**row, "weights": "0123456789abcdef"} for row in rows])
    with pytest.raises(DataError, match="with weights 0123456789abcdef, and whom it learned"):
        check_leakage(made, other, runs=[root / "run"])


def test_a_run_whose_store_was_replaced_says_nothing(root, tmp_path):
    run = shutil.copytree(root / "run", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    third = prepare(
        root / "raw", tmp_path / "third", "heart-gan", sets=[*SMALL, "data.size=32,32"], workers=1
    )
    (run / "run.json").write_text(json.dumps({**record, "store": str(third.path)}))
    with pytest.raises(DataError, match=r"is not the store that .* was trained on any more"):
        check_leakage(root / "made", Store.open(root / "other"), runs=[run])


@pytest.mark.parametrize(
    "hidden",
    [
        {"source_case": ["{train}", "{test}"]},
        {"source_case": "{test}.nii.gz"},
        {"source_case": "imagesTr/{test}_0000.nii.gz"},
        {"donor": "{test}"},
        {"donor": "{test}_image.nii.gz"},
        {"donor": "{test}-seg.nii.gz"},
        {"donor": "/data/{test}/img.dcm"},
        {"note": "as large as the tumour of {test}, moved"},
        {"made": {"from": ["{train}", {"{test}": 1}]}},
        {"edits": {"{test}": 1}},
        {"trained_on": ["{test}"]},
    ],
    ids=str,
)
def test_whoever_wrote_the_rows_a_test_patient_in_them_is_found(root, made, hidden):
    store = Store.open(root / "store")
    names = {split: store.names(split)[0] for split in ("train", "test")}
    text = json.dumps(hidden)
    for split, name in names.items():
        text = text.replace(f"{{{split}}}", name)
    # As another program may write them: a case, and whatever it pleases.
    rewritten(made, lambda rows: [{"case": r["case"], "files": None} for r in rows[:1]])
    assert check_leakage(made, store, learned=["nobody"]).drawn == set()
    rewritten(made, lambda rows: [*rows, {"case": "synth_000001", **json.loads(text)}])
    with pytest.raises(DataError, match="cases hold something of patients") as error:
        check_leakage(made, store, learned=["nobody"])
    assert f"synth_000001 of {names['test']} among them" in str(error.value)


@pytest.mark.parametrize("learned", [None, ["nobody"]])
@pytest.mark.parametrize("line", ['{"case": "synth', "[1, 2]", '{"source_case": "a"}', "null"])
def test_what_cannot_be_read_as_rows_lets_nobody_in(root, made, line, learned):
    store, path = Store.open(root / "store"), made / "provenance.jsonl"
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(DataError, match=r"provenance\.jsonl: found 1 line\(s\) .* line 4 among"):
        check_leakage(made, store, learned=learned)
    # A whole file of several lines, as a person would write JSON.
    path.write_text(json.dumps({"case": "a", "source_case": store.names("test")[0]}, indent=1))
    with pytest.raises(DataError, match=r"found 4 line\(s\) that are no rows, line 1 among them"):
        check_leakage(made, store, learned=learned)


def test_all_rows_of_a_case_count(root, made):
    store = Store.open(root / "store")
    tested = store.names("test")[0]
    rewritten(made, lambda rows: [{**rows[0], "source_case": tested}, *rows])
    with pytest.raises(DataError, match=f"1 of 2 cases .* of {tested} among them"):
        check_leakage(made, store)


# Where layouts that are only read have image and labels of a case.
NAMED = {
    "bids": ("sub-{}/anat/sub-{}_T1w.nii.gz", "derivatives/by/sub-{}/anat/sub-{}_dseg.nii.gz"),
    "lits": ("volume-{}.nii", "segmentation-{}.nii"),
    "pairs": ("{}/image.nii.gz", "{}/label.nii.gz"),
}


def two_patients(root, layout, names):
    """A store of two patients in a layout, and the files of each, by their paths in the data."""
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 4)).astype(np.float32)
    labels = np.zeros((32, 32, 4), np.uint8)
    labels[8:24, 8:24] = 1
    if layout in NAMED:
        for name, image in zip(names, images, strict=True):
            for place, array in zip(NAMED[layout], (image, labels), strict=True):
                path = root / "data" / place.format(name, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_nifti(path, array, np.eye(4))
    else:
        table = KNOWN["mmwhs" if layout == "mmwhs" else "lits"]
        values = np.array(table.values[:2])[labels]
        writer = open_writer(layout, root / "data", ("ct",), table)
        for name, image in zip(names, images, strict=True):
            writer.write(Scan(name, image[None], np.eye(4), ("ct",), values))
        writer.close()
    found = find_layout(root / "data")
    assert found.layout == layout
    files: dict[str, set[str]] = {}
    for case in found.cases:
        paths = {path.relative_to(found.root) for path in (*case.images.values(), case.labels)}
        files.setdefault(case.patient, set()).update(path.as_posix() for path in paths)
    sets = [*SMALL, *SPLIT, "data.intensity=minmax"]
    return prepare(root / "data", root / "store", "heart-gan", sets=sets, workers=1), files


@pytest.mark.parametrize(
    ("layout", "names"),
    [*((layout, ("1", "10")) for layout in LAYOUTS)]
    + [(layout, ("X1", "X10")) for layout in LAYOUTS if layout != "lits"],  # which has numbers
)
def test_the_files_of_a_test_patient_are_known_in_every_layout(root, made, tmp_path, layout, names):
    store, files = two_patients(tmp_path, layout, names)
    assert len(files) == 2
    for patient, other in (tuple(files), tuple(files)[::-1]):
        (first, *_) = sorted(files[patient])
        told = {*files[patient], *("/data/" + name for name in files[patient])}
        told |= {name.replace("/", "\\") for name in told}
        if layout != "pairs":  # there all patients' files are called alike
            told.add(first.rpartition("/")[2])
        for word in told:
            rewritten(made, lambda rows, said=word: [{"case": rows[0]["case"], "donor": said}])
            with pytest.raises(DataError, match=f"hold something .* of {patient} among them"):
                check_leakage(made, store, held_out={patient}, learned=["nobody"])
            cleared = check_leakage(made, store, held_out={other}, learned=["nobody"])
            assert cleared.drawn == {patient}


@pytest.mark.parametrize(
    ("tested", "honest"),
    [
        ("liver_014", ["liver_014_2", "liver_014_2_0000.nii.gz", "liver_0140", "xliver_014.nii"]),
        ("1", ["2020-01-01", "1.2.840.1", "lesion 1 of 3", "a_1", "case_1.nii.gz", "1-fold"]),
        ("t1", ["synth_t1.nii.gz", "0001/flair_t1", "t1-weighted"]),
    ],
)
def test_a_training_patient_of_a_like_name_is_nobody_else(made, tmp_path, tested, honest):
    store, _ = two_patients(tmp_path, "nnunet", (tested, "liver_014_2"))
    rewritten(made, lambda rows: [{"case": rows[0]["case"], "donor": honest}])
    drawn = check_leakage(made, store, held_out={tested}, learned=["nobody"]).drawn
    assert drawn == ({"liver_014_2"} if tested == "liver_014" else set())
    rewritten(made, lambda rows: [{"case": rows[0]["case"], "donor": [*honest, tested]}])
    with pytest.raises(DataError, match=f"hold something .* of {tested} among them"):
        check_leakage(made, store, held_out={tested}, learned=["nobody"])
