import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from scansmith.data.prepare import prepare
from scansmith.data.store import Store
from scansmith.recipe import Draw, Edits, Intensity
from scansmith.scan import DataError, RunError, SettingsError


def content(folder):
    """Every file below a folder with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def image_of(root, case):
    return root / "imagesTr" / f"{case}_0000.nii.gz"


ZSCORE = Intensity(kind="zscore")
ANY = dict(needs=(), draws=(Draw(name="any"),))


# --- what comes out -------------------------------------------------------------------------------


def test_a_store_says_what_it_is(livers, tmp_path, recipe):
    store = prepare(livers, tmp_path / "store", recipe())
    assert store.recipe == recipe()
    assert store.facts.structures == ("background", "liver", "tumour")
    assert store.facts.modalities == ("ct",)
    assert store.facts.size == (16, 12)
    assert store.facts.codecs == (store.codec("liver_0"),)
    assert store.source["layout"] == "nnunet"
    assert store.cases["liver_4"].axis_codes == "RAS"
    assert sorted(content(store.path)) == sorted(
        ["store.json"]
        + [f"cases/liver_{n}/{f}.npy" for n in range(5) for f in ("counts", "image", "labels")]
    )


@pytest.mark.parametrize("rule", [ZSCORE, Intensity(kind="minmax", scope="case")])
def test_neither_workers_nor_place_nor_time_change_the_store(livers, tmp_path, recipe, rule):
    elsewhere = tmp_path / "copied" / "source"
    shutil.copytree(livers, elsewhere)
    one = prepare(livers, tmp_path / "one", recipe(intensity=rule), workers=1)
    other = prepare(elsewhere, tmp_path / "other", recipe(intensity=rule), workers=3)
    assert one.facts.fingerprint == other.facts.fingerprint
    first, second = content(one.path), content(other.path)
    first.pop("store.json"), second.pop("store.json")  # file times are noted there
    assert first == second


def test_other_voxels_give_another_fingerprint(livers, tmp_path, recipe):
    one = prepare(livers, tmp_path / "one", recipe(), workers=1)
    scan = nib.load(image_of(livers, "liver_2"))
    voxels = np.asarray(scan.dataobj).copy()
    voxels[0, 0, 0] += 1
    nib.save(nib.Nifti1Image(voxels, scan.affine), image_of(livers, "liver_2"))
    other = prepare(livers, tmp_path / "other", recipe(), workers=1)
    assert one.facts.fingerprint != other.facts.fingerprint


def test_a_data_sets_statistics_are_of_the_training_slices_that_a_draw_takes(
    livers, tmp_path, recipe
):
    store = prepare(livers, tmp_path / "store", recipe(intensity=ZSCORE), workers=1)
    values = [
        np.asarray(nib.load(image_of(livers, name)).dataobj)[:, :, 1:3]
        for name in store.names("train")
        if name != "liver_3"  # it has no tumour
    ]
    values = np.concatenate([v.ravel() for v in values]).astype(float)
    assert store.facts.codecs[0].offset == pytest.approx(values.mean())
    assert store.facts.codecs[0].scale == pytest.approx(values.std())
    assert {store.codec(name) for name in store.names("all")} == {store.facts.codecs[0]}
    image, _ = store.volume("liver_0")
    raw = np.asarray(nib.load(image_of(livers, "liver_0")).dataobj)
    expected = (raw[::-1, ::-1].transpose(2, 1, 0) - values.mean()) / values.std()
    np.testing.assert_allclose(image[:, 0], expected, atol=np.ptp(expected) / 60_000)


def test_a_cases_statistics_are_its_own(livers, tmp_path, recipe):
    rule = Intensity(kind="minmax", scope="case", target=(0, 1))
    store = prepare(livers, tmp_path / "store", recipe(intensity=rule), workers=1)
    for name in store.names("all"):
        raw = np.asarray(nib.load(image_of(livers, name)).dataobj)
        assert store.codec(name).offset == raw.min()
        assert store.codec(name).scale == np.ptp(raw)
        assert store.volume(name)[0].min() == 0
        assert store.volume(name)[0].max() == 1


def test_structures_that_are_not_kept_become_background(livers, tmp_path, recipe):
    store = prepare(livers, tmp_path / "store", recipe(structures=("tumor",), needs=()), workers=1)
    assert store.table.names == {0: "background", 2: "tumour"}
    assert store.counts("liver_0").tolist() == [[192, 0], [186, 6], [186, 6]]
    scan = store.scan("liver_0", *store.volume("liver_0"))
    assert np.unique(scan.labels).tolist() == [0, 2]


def test_volumes_are_one_sample(livers, tmp_path, recipe):
    store = prepare(livers, tmp_path / "s", recipe(dims=3, size=(4, 16, 12)), workers=1)
    image, labels = store.sample("liver_2", 0)
    assert image.shape == (1, 4, 16, 12)
    assert labels.shape == (4, 16, 12)
    assert store.cases["liver_2"].spacing_mm == pytest.approx((5, 1, 2), rel=0.01)


def test_modalities_come_in_the_recipes_order(tmp_path, recipe):
    rng = np.random.default_rng(0)
    for case in ("a", "b"):
        for add, name in enumerate(("t1", "t2", "flair", "seg")):
            voxels = rng.integers(0, 50, (6, 7, 8)).astype(np.int16) + 100 * add
            labels = (voxels % 2).astype(np.uint8)
            path = tmp_path / "src" / case / f"{case}_{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(labels if name == "seg" else voxels, np.eye(4)), path)
    (tmp_path / "src" / "a" / "a_t1.nii.gz").unlink()  # not wanted, so not missed
    plain = recipe(size=(7, 6), modalities=("flair", "t2"), channels=2, split=(1, 0, 0), **ANY)
    store = prepare(tmp_path / "src", tmp_path / "store", plain, workers=1)
    assert store.facts.modalities == ("flair", "t2")
    scan = store.scan("a", *store.volume("a"))
    assert scan.image[0].min() >= 199.9
    assert scan.image[1].max() <= 150.1


def test_images_without_labels_will_do_where_nobody_asks_for_labels(folder, tmp_path, recipe):
    rng = np.random.default_rng(0)
    for case in ("a", "b"):
        folder.add(case, rng.integers(0, 9, (6, 7, 8)).astype(np.int16))
    store = prepare(folder.root, tmp_path / "s", recipe(split=(1, 0, 0), **ANY), workers=1)
    assert not store.cases["a"].labelled
    assert store.volume("a")[1].max() == 0
    with pytest.raises(DataError, match="a: no labels, test learns from them"):
        prepare(folder.root, tmp_path / "t", recipe(), workers=1)


def test_cases_with_too_little_in_them_are_left_out(livers, tmp_path, recipe):
    scan = nib.load(image_of(livers, "liver_1"))
    voxels = np.zeros(scan.shape, dtype=np.int16)
    voxels[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(voxels, scan.affine), image_of(livers, "liver_1"))
    store = prepare(livers, tmp_path / "s", recipe(min_foreground=0.5, intensity=ZSCORE), workers=1)
    assert store.left_out == ("liver_1",)
    assert "liver_1" not in store.cases
    assert not (store.path / "cases" / "liver_1").exists()


def test_skull_stripped_images_with_negative_tissue_are_padded_and_filtered_by_their_zero(
    folder, tmp_path, recipe
):
    image = np.zeros((8, 8, 4), dtype=np.int16)
    image[2:6, 2:6, 1:3] = np.random.default_rng(0).integers(-50, 50, (4, 4, 2))
    folder.add("a", image, (image != 0).astype(np.uint8))
    rule = Intensity(kind="minmax", scope="case")
    plain = recipe(size=(10, 8), intensity=rule, min_foreground=0.1, split=(1, 0, 0), **ANY)
    store = prepare(folder.root, tmp_path / "s", plain, workers=1)
    assert store.cases["a"].samples == 2
    scan = store.scan("a", *store.volume("a"))
    np.testing.assert_allclose(scan.image[0, :, [0, -1]], 0, atol=0.01)


def test_a_resized_border_of_the_same_value_is_not_foreground(folder, tmp_path, recipe):
    image = np.full((30, 30, 3), -1024, dtype=np.int16)
    image[10:20, 10:20, 1] = 77
    folder.add("a", image, np.ones(image.shape, dtype=np.uint8), np.diag([1.3, 1.1, 4, 1]))
    rule = Intensity(kind="minmax", scope="case")
    plain = recipe(
        size=(17, 13), fit="resize", min_foreground=0.01, intensity=rule, split=(1, 0, 0), **ANY
    )
    assert prepare(folder.root, tmp_path / "s", plain).cases["a"].samples == 1


def test_progress_counts_every_step_and_ends_at_all(livers, tmp_path, recipe):
    told = []
    prepare(livers, tmp_path / "s", recipe(), workers=2, progress=lambda *step: told.append(step))
    assert [done for done, _, _ in told] == [*range(1, 11), 10]
    assert {total for _, total, _ in told} == {10}


# --- again and after an interruption --------------------------------------------------------------


def test_a_finished_store_is_returned_as_it_is(livers, tmp_path, recipe):
    first = prepare(livers, tmp_path / "s", recipe(), workers=1)
    times = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    again = prepare(livers, tmp_path / "s", recipe(), workers=1)
    assert again.facts == first.facts
    assert times == {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}


def test_a_store_of_another_recipe_is_not_overwritten(livers, tmp_path, recipe):
    prepare(livers, tmp_path / "s", recipe(), workers=1)
    with pytest.raises(SettingsError, match=r"size: \(16, 12\) there, \(8, 8\) asked"):
        prepare(livers, tmp_path / "s", recipe(size=(8, 8)), workers=1)


def test_a_copy_of_the_files_with_other_times_is_read_again_and_taken(livers, tmp_path, recipe):
    first = prepare(livers, tmp_path / "s", recipe(), workers=1)
    before = content(tmp_path / "s")
    os.utime(image_of(livers, "liver_0"), ns=(1, 1))
    again = prepare(livers, tmp_path / "s", recipe(), workers=1)
    assert again.facts == first.facts
    after = content(tmp_path / "s")
    assert [name for name in before if after[name] != before[name]] == ["store.json"]
    assert after.keys() == before.keys()
    assert again.source["files"]["liver_0"][2][0][2] == 1  # so that next time none is read
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_store_of_other_files_is_not_overwritten(livers, tmp_path, recipe):
    """The same name and size, and another voxel: zeros behind a gzip stream mean nothing."""
    path = image_of(livers, "liver_0")
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    size = path.stat().st_size + 1000

    def write(value):
        voxels[5, 5, 1] = value
        nib.save(nib.Nifti1Image(voxels, image.affine), path)
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))

    write(7)
    prepare(livers, tmp_path / "s", recipe(), workers=1)
    before = content(tmp_path / "s")
    write(70)
    assert path.stat().st_size == size
    with pytest.raises(DataError, match="a store of other files"):
        prepare(livers, tmp_path / "s", recipe(), workers=1)
    assert content(tmp_path / "s") == before
    write(7)
    assert prepare(livers, tmp_path / "s", recipe(), workers=1).names("all")


def test_a_folder_with_other_things_in_it_is_not_touched(livers, tmp_path, recipe):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(DataError, match="not empty, and not a store"):
        prepare(livers, tmp_path / "mine", recipe(), workers=1)
    assert content(tmp_path / "mine").keys() == {"thesis.txt"}


KILLED = """
import json, os, signal, sys
from scansmith.data.prepare import prepare
from scansmith.recipe import Recipe

def progress(done, total, what):
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

prepare(sys.argv[1], sys.argv[2], Recipe(**json.loads(sys.argv[3])), workers=2, progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.parametrize("step", [2, 8])  # of 10: while reading, while packing
def test_a_killed_prepare_leaves_no_store_and_goes_on_to_the_same_one(
    livers, tmp_path, recipe, step
):
    plain = recipe(intensity=ZSCORE)
    store = tmp_path / "store"
    words = [sys.executable, "-c", KILLED, str(livers), str(store), plain.model_dump_json()]
    ended = subprocess.run([*words, str(step)], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match=r"no finished store here.*it goes on"):
        Store.open(store)
    done = {path: path.stat().st_mtime_ns for path in store.glob("cases/*/labels.npy")}
    finished = [path.parent for path in store.glob("cases/*/case.json")]
    assert finished
    resumed = prepare(livers, store, plain, workers=1)
    for folder in finished:
        labels = folder / "labels.npy"
        assert labels.stat().st_mtime_ns == done[labels]  # taken over, not made again
    whole = prepare(livers, tmp_path / "whole", plain, workers=1)
    assert content(resumed.path) == content(whole.path)


def test_what_changed_since_the_interruption_is_read_again(livers, tmp_path, recipe, monkeypatch):
    plain = recipe(intensity=ZSCORE)

    def stop(done, total, what):
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(livers, tmp_path / "store", plain, workers=1, progress=stop)
    scan = nib.load(image_of(livers, "liver_1"))
    nib.save(
        nib.Nifti1Image(np.asarray(scan.dataobj) + 40, scan.affine), image_of(livers, "liver_1")
    )
    resumed = prepare(livers, tmp_path / "store", plain, workers=1)
    whole = prepare(livers, tmp_path / "whole", plain, workers=1)
    assert content(resumed.path) == content(whole.path)


def test_a_full_disk_is_told_and_the_work_goes_on_later(livers, tmp_path, recipe, monkeypatch):
    sync = os.fsync
    calls = []

    def full(number):
        calls.append(number)
        if len(calls) > 12:
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"No space left on device.*run it again"):
        prepare(livers, tmp_path / "store", recipe(), workers=1)
    monkeypatch.setattr(os, "fsync", sync)
    assert not (tmp_path / "store" / "store.json").exists()
    resumed = prepare(livers, tmp_path / "store", recipe(), workers=1)
    assert content(resumed.path) == content(prepare(livers, tmp_path / "w", recipe()).path)


# --- bad data -------------------------------------------------------------------------------------


def refused(livers, tmp_path, plain):
    """The problems for which a data set is refused; nothing may be left behind."""
    with pytest.raises(DataError) as caught:
        prepare(livers, tmp_path / "store", plain, workers=2)
    assert not (tmp_path / "store").exists()
    return caught.value.problems


def test_problems_of_all_cases_are_told_at_once_and_nothing_is_written(livers, tmp_path, recipe):
    whole = image_of(livers, "liver_0").read_bytes()
    image_of(livers, "liver_0").write_bytes(whole[: len(whole) // 2])
    scan = nib.load(image_of(livers, "liver_1"))
    voxels = np.asarray(scan.dataobj, dtype=np.float32)
    voxels[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(voxels, scan.affine), image_of(livers, "liver_1"))
    labels = livers / "labelsTr" / "liver_2.nii.gz"
    values = np.asarray(nib.load(labels).dataobj).copy()
    values[0, 0, 0] = 77
    nib.save(nib.Nifti1Image(values, scan.affine), labels)
    labels = livers / "labelsTr" / "liver_3.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((12, 16, 2), np.uint8), scan.affine), labels)
    problems = refused(livers, tmp_path, recipe())
    assert [p.where[:7] for p in problems] == ["liver_0", "liver_1", "liver_2", "liver_3"]
    assert all(problem.remedy for problem in problems)


def test_problems_of_names_and_of_contents_are_told_together(livers, tmp_path, recipe):
    (livers / "labelsTr" / "liver_2.nii.gz").unlink()
    image_of(livers, "liver_0").write_bytes(gzip.compress(b"no image at all"))
    problems = refused(livers, tmp_path, recipe(needs=("spleen",)))
    told = " ".join(map(str, problems))
    for word in ("no structure 'spleen'", "liver_2: no labels", "liver_0"):
        assert word in told
    assert len(problems) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (dict(channels=2), "1 modalities (ct), test takes 2"),
        (dict(modalities=("ct", "pet")), "ct, pet chosen, test takes 1"),
        (dict(modalities=("t2",)), "liver_0: no image of t2, found ct"),
        (dict(structures=("liver", "vessel")), "no structure 'vessel'"),
        (dict(draws=(Draw(name="x", lacks=("stent",)),)), "no structure 'stent'"),
        (dict(edits=Edits(kind="place", organ=("spleen",))), "no structure 'spleen'"),
        (dict(split=(0.9, 0.05, 0.05)), ""),
    ],
)
def test_what_the_recipe_needs_is_looked_for_first(livers, tmp_path, recipe, changes, told):
    if not told:
        for n in (2, 3, 4):
            image_of(livers, f"liver_{n}").unlink()
            (livers / "labelsTr" / f"liver_{n}.nii.gz").unlink()
        index = json.loads((livers / "dataset.json").read_text()) | {"numTraining": 2}
        (livers / "dataset.json").write_text(json.dumps(index))
        told = "2 patient(s) for train, validation, test"
    assert told in "\n".join(map(str, refused(livers, tmp_path, recipe(**changes))))


def test_label_maps_alone_are_refused(tmp_path, recipe):
    for case in "ab":
        path = tmp_path / "src" / f"{case}_seg.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(np.eye(6, dtype=np.uint8)[..., None], np.eye(4)), path)
    told = "\n".join(map(str, refused(tmp_path / "src", tmp_path, recipe(needs=(), draws=()))))
    assert "no images, only labels; test learns from both" in told


def test_a_draw_that_no_training_sample_serves_is_an_error(livers, tmp_path, recipe):
    draws = (Draw(name="big", has=("tumour",), min_pixels=7), Draw(name="none", lacks=("liver",)))
    problems = refused(livers, tmp_path, recipe(draws=draws))
    assert [str(p).split(". ")[0] for p in problems] == [
        "draw big: no training sample shows tumour (7 pixels at least)",
        "draw none: no training sample shows no liver",
    ]


def test_a_case_with_nothing_labelled_is_an_error_where_all_draws_want_something(
    livers, tmp_path, recipe
):
    labels = livers / "labelsTr" / "liver_2.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((12, 16, 5), np.uint8), nib.load(labels).affine), labels)
    (problem,) = refused(livers, tmp_path, recipe())
    assert str(problem).startswith("liver_2: nothing is labelled in the case")
    normal_too = (Draw(name="abnormal", has=("tumour",)), Draw(name="normal", lacks=("tumour",)))
    prepare(livers, tmp_path / "store", recipe(draws=normal_too), workers=1)


def test_the_same_scan_under_two_names_is_an_error(livers, tmp_path, recipe):
    for part, end in (("imagesTr", "_0000"), ("labelsTr", "")):
        shutil.copy(livers / part / f"liver_1{end}.nii.gz", livers / part / f"liver_1b{end}.nii.gz")
    index = json.loads((livers / "dataset.json").read_text()) | {"numTraining": 6}
    (livers / "dataset.json").write_text(json.dumps(index))
    (problem,) = refused(livers, tmp_path, recipe())
    assert str(problem).startswith("liver_1b: duplicate case: its image is the same as")


def test_training_images_with_a_flat_foreground_are_an_error(livers, tmp_path, recipe):
    for n in range(5):
        path = image_of(livers, f"liver_{n}")
        scan = nib.load(path)
        nib.save(
            nib.Nifti1Image((np.asarray(scan.dataobj) > 60).astype(np.int16), scan.affine), path
        )
    rule = Intensity(kind="zscore", foreground_only=True)
    (problem,) = refused(livers, tmp_path, recipe(intensity=rule))
    assert problem.found.startswith("found only 1 in the image")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (dict(size=(8, 8, 8)), r"data.size: found \(8, 8, 8\), expected H, W"),
        (dict(size=(8, 0)), r"data.size: found \(8, 0\)"),
        (dict(dims=3), r"expected D, H, W .* data.size=64,64,64"),
        (dict(fit="resize", spacing_mm=(1.0, 1.0)), "together with resizing"),
        (dict(spacing_mm=(1.0,)), r"spacing: found \(1.0,\), expected H, W in mm"),
        (dict(intensity=Intensity(kind="window", low=5, high=5)), "window from 5.0 to 5.0"),
        (dict(split=(0.5, 0.0, 0.0)), "add up to 1"),
    ],
)
def test_a_recipe_that_nobody_can_serve_is_refused(livers, tmp_path, recipe, changes, told):
    with pytest.raises(SettingsError, match=told):
        prepare(livers, tmp_path / "store", recipe(**changes), workers=1)
    assert not (tmp_path / "store").exists()


# --- real scans -----------------------------------------------------------------------------------


def test_a_real_heart_keeps_its_voxels(real_data, tmp_path, recipe):
    source = tmp_path / "two" / "hearts"
    root = real_data / "heart-acdc" / "Dataset027_ACDC"
    for case in ("patient001_frame01", "patient002_frame01"):
        for part, end in (("imagesTr", "_0000"), ("labelsTr", "")):
            (source / part).mkdir(parents=True, exist_ok=True)
            shutil.copy(root / part / f"{case}{end}.nii.gz", source / part)
    index = json.loads((root / "dataset.json").read_text()) | {"numTraining": 2}
    (source / "dataset.json").write_text(json.dumps(index))
    rule = Intensity(kind="minmax", scope="case", target=(0, 1))
    plain = recipe(
        size=(128, 128),
        intensity=rule,
        split=(0.5, 0, 0.5),
        needs=("myo",),
        draws=(Draw(name="labelled", has=("*",)),),
    )
    store = prepare(source, tmp_path / "store", plain)
    original = nib.load(image_of(source, "patient001_frame01"))
    scan = store.scan("patient001_frame01", *store.volume("patient001_frame01"))
    np.testing.assert_allclose(scan.affine, original.affine, atol=1e-4)
    np.testing.assert_allclose(scan.image[0], original.get_fdata(), atol=0.01)


# --- cut to a structure ---------------------------------------------------------------------------


def test_a_cut_scan_keeps_its_structure_where_it_was(livers, tmp_path, recipe):
    whole = prepare(livers, tmp_path / "whole", recipe(), workers=1)
    cut = prepare(livers, tmp_path / "cut", recipe(around=("liver", "tumour")), workers=1)
    for name in cut.cases:
        (_, before), (_, after) = whole.volume(name), cut.volume(name)
        for structure in (1, 2):
            assert (before == structure).sum() == (after == structure).sum()
            if not (before == structure).any():
                continue
            places = []
            for store, labels in ((whole, before), (cut, after)):
                at = np.argwhere(labels == structure).mean(axis=0)[::-1]  # W, H, D
                places.append((np.array(store.cases[name].affine) @ [*at, 1])[:3])
            np.testing.assert_allclose(places[1], places[0], atol=1e-4)
    # Beyond the box nothing is left but its 6 x 8 pixels in the aspect 16 x 12.
    image, labels = cut.volume("liver_0")
    air = image[:, 0] == image.min()
    assert air[labels > 0].sum() == 0
    assert (~air).sum() < 0.7 * (whole.volume("liver_0")[0] > image.min()).sum()


def test_a_scan_without_what_it_is_to_be_cut_to_is_told(livers, tmp_path, recipe):
    path = livers / "labelsTr" / "liver_2.nii.gz"
    labels = nib.load(path)
    voxels = np.asarray(labels.dataobj).copy()
    voxels[voxels == 2] = 1
    nib.save(nib.Nifti1Image(voxels, labels.affine), path)
    with pytest.raises(DataError, match=r"liver_2.*nothing labelled as tumour"):
        prepare(livers, tmp_path / "store", recipe(around=("tumour",)), workers=1)
    assert not (tmp_path / "store").exists()
