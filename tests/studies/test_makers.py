"""Who makes synthetic samples: rounds that are made once and go on."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.data.write import LAYOUT_WRITERS
from scansmith.scan import DataError
from scansmith.studies.counterparts import real_cases
from scansmith.studies.makers import Makers
from scansmith.studies.mix import Plan
from scansmith.studies.place import Place
from scansmith.studies.spec import Arm, DataPart, Generator, OnDisk, Spec
from scansmith.synthesize.make import synthesize
from scansmith.workflow import prepare


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("makers")
    write_phantoms(root / "raw", "heart", 4, 1, (32, 32, 8))
    sets = {"data.size": [32, 32], "data.intensity": "minmax", "data.split": [0.5, 0, 0.5]}
    small = {"method.base": 4, "method.patch": 4, "train.steps": 1}
    spec = Spec(
        title="Hearts",
        data=DataPart(method="heart-gan", sets={**sets, "method.patch": 4}),
        generators={"gan": Generator(method="heart-gan", sets=small)},
        arms={"real": Arm(), "both": Arm(synthetic=1, by="gan")},
    )
    return Place(spec, root / "raw", root / "out")


@pytest.fixture
def makers(place):
    """New ones, that have made nothing yet."""

    def make():
        store = place.store()
        return Makers(place, store, real_cases(store, "train"), 0)

    return make


@pytest.mark.parametrize("by", ["gan", "class-means"])
def test_rounds_go_on_where_the_last_one_ended(makers, by):
    """One round and then two more are the three that are made at once, none of them twice."""
    stepwise, at_once = makers(), makers()
    first = stepwise.cases(by, 1)
    three, again = stepwise.cases(by, 3), at_once.cases(by, 3)
    assert three[: len(first)] == first  # kept, not made again
    assert len(three) == 3 * len(first)
    for one, other in zip(three, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert len({case.image.tobytes() for case in three}) == len(three)


def test_the_rounds_of_a_generator_are_what_it_makes_in_one_go(makers):
    mine = makers()
    whole = mine.maker("gan").edited(2, 0)
    for one, other in zip(mine.cases("gan", 2), whole, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_as_many_samples_as_wanted_are_made_and_no_more_rounds_than_that_takes(makers):
    mine = makers()

    def of_rounds(rounds):
        return sum(len(case.labels) for case in mine.cases("class-means", rounds))

    one = len(mine.samples("class-means", 1))
    assert len(mine.samples("class-means", one)) == one == of_rounds(1)
    assert len(mine.samples("class-means", one + 1)) == of_rounds(2) > one
    assert 12 * one <= len(mine.samples("class-means", 12 * one)) < 15 * one


@pytest.mark.parametrize("classes", [(0, 2), (2, 3)])
def test_a_generator_may_tell_more_context_apart_than_the_study(tmp_path, classes):
    """Its context has numbers that the study's table does not have, and is no finding either."""
    write_phantoms(tmp_path / "raw", "heart", 4, 1, (32, 32, 8))
    sets = {"data.size": [32, 32], "data.intensity": "minmax", "data.split": [0.5, 0, 0.5]}
    few, many = (
        {"data.context": "kmeans", "data.context_classes": n} if n else {} for n in classes
    )
    tiny = {"method.base": 4, "method.patch": 4, "train.steps": 1, "train.threads": 1}
    spec = Spec(
        data=DataPart(method="heart-gan", sets={**sets, **few, "method.patch": 4}),
        generators={"gan": Generator(method="heart-gan", sets={**tiny, **many})},
        arms={"real": Arm(), "both": Arm(synthetic=1, by="gan")},
    )
    place = Place(spec, tmp_path / "raw", tmp_path / "out")
    store, own = place.store(), place.store("gan")
    more = len(own.facts.structures) - len(store.facts.structures)
    assert more == classes[1] - classes[0]
    mine = Makers(place, store, real_cases(store, "train"), 0)
    made = mine.maker("gan").edited(1, 0)
    assert max(case.labels.max() for case in made) >= len(store.facts.structures)
    named = 8  # background and seven structures of the heart stand first in either table
    expected = [np.where(one < named, one, 0) for case in made for one in case.labels]
    found = mine.samples("gan", 1).labels
    assert sorted(map(np.ndarray.tolist, found)) == sorted(map(np.ndarray.tolist, expected))
    assert np.stack(found).any()


def test_what_a_generator_of_other_statistics_makes_is_as_bright_as_it_is(tmp_path):
    """Outside its mask MAGAN leaves a slice as it is: in HU it is the source's in either store."""
    write_phantoms(tmp_path / "raw", "liver", 6, 1, (64, 64, 8))
    sets = {"data.size": [64, 64], "data.split": [0.5, 0, 0.5], "data.intensity": "zscore"}
    # One patient of three has another mean and spread than they all.
    tiny = {"method.base": 4, "train.steps": 1, "train.threads": 1, "data.patients": 1}
    spec = Spec(
        data=DataPart(method="magan", sets=sets),
        generators={"gan": Generator(method="magan", sets=tiny)},
        arms={"real": Arm(), "both": Arm(synthetic=1, by="gan")},
    )
    place = Place(spec, tmp_path / "raw", tmp_path / "out")
    store, own = place.store(), place.store("gan")
    codec, theirs = store.facts.codecs[0], own.facts.codecs[0]
    assert codec.scale != pytest.approx(theirs.scale, rel=1e-3)
    found = Makers(place, store, real_cases(store, "train"), 0).cases("gan", 1)
    assert found
    for case in found:
        source = theirs.decode(own.volume(case.case)[0][list(case.numbers)])
        off_hu = np.abs(codec.decode(case.image) - source)
        assert np.median(off_hu) < 0.05  # read by its own codec it would be off by HU


def test_a_set_on_disk_is_as_dark_as_it_is_and_whole(tmp_path):
    """Of a data set's z-score, the mean and spread are the real training scans', not the set's."""
    write_phantoms(tmp_path / "raw", "liver", 6, 0, (64, 64, 8))
    write_phantoms(tmp_path / "made", "liver", 3, 5, (64, 64, 8))
    for path in sorted((tmp_path / "made").glob("*Tr/*")):
        path = path.rename(path.with_name(f"made_{path.name}"))  # not the real ones' names
        if path.parent.name == "imagesTr":
            scan = nib.load(path)
            darker = np.asanyarray(scan.dataobj) - 300
            nib.save(nib.Nifti1Image(darker.astype(np.int16), scan.affine), path)
    sets = {"data.size": [64, 64], "data.split": [0.5, 0, 0.5], "data.intensity": "zscore"}
    theirs = {"theirs": OnDisk(path=tmp_path / "made", learned=("nobody",))}
    arms = {"real": Arm(), "set": Arm(synthetic=1, by="theirs")}
    spec = Spec(data=DataPart(method="magan", sets=sets), sets=theirs, arms=arms)
    place = Place(spec, tmp_path / "raw", tmp_path / "out", extra=("data.patients=2",))
    store = place.store()
    codec, own = store.facts.codecs[0], place.store_of("theirs")
    found = Makers(place, store, real_cases(store, "train"), 0).cases("theirs", 1)
    assert len(found) == 3  # and not the two that are learned from
    for case in found:
        raw = own.codec(case.case).decode(own.volume(case.case)[0][list(case.numbers)])
        np.testing.assert_allclose(case.image, codec.encode(raw))
    livers = [
        np.concatenate([case.image[:, 0][case.labels > 0] for case in cases]).mean()
        for cases in (real_cases(store, "train"), found)
    ]
    assert livers[0] - livers[1] == pytest.approx(300 / codec.scale, rel=0.1)


def test_a_set_without_what_is_drawn_is_named_with_its_folder(tmp_path):
    """Healthy scans alone, all of them learned from: no seed could deal tumours out to them."""
    made = tmp_path / "healthy"
    write_phantoms(tmp_path / "raw", "liver", 4, 1, (32, 32, 8))
    write_phantoms(made, "liver", 2, 5, (32, 32, 8))
    for path in sorted((made / "labelsTr").iterdir()):
        scan = nib.load(path)
        liver = (np.asanyarray(scan.dataobj) > 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(liver, scan.affine), path)
    sets = {"data.size": [32, 32], "data.split": [0.5, 0, 0.5], "data.min_tumour_pixels": 1}
    theirs = {"theirs": OnDisk(path=made, learned=("nobody",))}
    arms = {"real": Arm(), "set": Arm(synthetic=1, by="theirs")}
    spec = Spec(data=DataPart(method="magan", sets=sets), sets=theirs, arms=arms)
    place = Place(spec, tmp_path / "raw", tmp_path / "out")
    store = place.store()
    with pytest.raises(DataError) as told:
        Makers(place, store, real_cases(store, "train"), 0).cases("theirs", 1)
    assert str(told.value).startswith(f"sets.theirs: {made}: draw abnormal: no training sample ")
    assert "Add such cases." in str(told.value)
    assert "data.seed" not in str(told.value)


@pytest.fixture(scope="module")
def large(place, tmp_path_factory):
    """A study of a set with far more samples than real ones, in the order of its cases' names."""
    made = tmp_path_factory.mktemp("large") / "set"
    write_phantoms(made, "heart", 8, 5, (32, 32, 8))
    for path in sorted(made.glob("ct_train_*")):
        path.rename(path.with_name(path.name.replace("ct_train_", "ct_train_made")))
    theirs = {"theirs": OnDisk(path=made, learned=("nobody",))}
    arms = {"real": Arm(), "set": Arm(synthetic=1, by="theirs")}
    spec = place.spec.model_copy(update={"sets": theirs, "arms": arms})
    return Place(spec, place.data, made.parent / "out")


def test_of_a_large_set_on_disk_samples_are_drawn_by_seed_and_not_by_name(large):
    store = large.store()
    real = real_cases(store, "train")
    wanted = sum(len(case.labels) for case in real)
    drawn = []
    for seed in (0, 1, 0):
        mine = Makers(large, store, real, seed)
        inside = [image.tobytes() for case in mine.cases("theirs", 1) for image in case.image]
        assert len(inside) > 2 * wanted
        found = mine.samples("theirs", wanted)
        assert sorted(image.tobytes() for image in found.images) == sorted(inside)  # all, once
        mix = Plan(synthetic=1).mix(wanted, 2 * wanted, seed, synthetic=len(found))
        used = [found.images[n].tobytes() for n in mix.used["synthetic"]]
        assert len(used) == wanted
        more = Plan(synthetic=2).mix(wanted, 3 * wanted, seed, synthetic=len(found))
        assert {found.images[n].tobytes() for n in more.used["synthetic"]} > set(used)
        # The last quarter of the names, of eight equal hearts, is as good as the first.
        quarter = set(inside[-len(inside) // 4 :])
        assert quarter & set(used)
        drawn.append(set(used))
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]


def test_labels_stay_with_their_images_when_samples_are_drawn(large):
    store = large.store()
    mine = Makers(large, store, real_cases(store, "train"), 0)
    of = {
        image.tobytes(): labels
        for case in mine.cases("theirs", 1)
        for image, labels in zip(case.image, case.labels, strict=True)
    }
    found = mine.samples("theirs", 1)
    for image, labels in zip(found.images, found.labels, strict=True):
        np.testing.assert_array_equal(labels, of[image.tobytes()])


@pytest.mark.parametrize("layout", LAYOUT_WRITERS)
def test_a_set_of_every_layout_that_can_be_written_can_be_learned_from(
    place, makers, tmp_path, layout
):
    """And its label maps are those that the run makes without a detour over files."""
    direct = makers().samples("gan", 1).labels
    run = place.trained("gan", 0)
    synthesize(run, tmp_path / "set", cases=2, seed=0, layout=layout)
    ours = {"ours": OnDisk(path=tmp_path / "set")}
    arms = {"real": Arm(), "set": Arm(synthetic=1, by="ours")}
    spec = place.spec.model_copy(update={"sets": ours, "arms": arms})
    study = Place(spec, place.data, tmp_path / "out")
    store = study.store()
    mine = Makers(study, store, real_cases(store, "train"), 0)
    found = mine.samples("ours", 1).labels
    assert sorted(map(bytes, found)) == sorted(map(bytes, direct))


def test_a_set_on_disk_knows_no_patient_that_the_segmenters_may_not_see(place, tmp_path):
    """Its generator learned from two patients, of whom a study of one patient knows one."""
    run = place.trained("gan", 0)
    synthesize(run, tmp_path / "set", cases=2, seed=0)
    ours = {"ours": OnDisk(path=tmp_path / "set", runs=(run,))}
    arms = {"real": Arm(), "set": Arm(synthetic=1, by="ours")}
    spec = place.spec.model_copy(update={"sets": ours, "arms": arms})
    for patients in (0, 1):
        study = Place(spec, place.data, tmp_path / f"out{patients}", patients)
        store = study.store()
        mine = Makers(study, store, real_cases(store, "train"), 0)
        if patients:
            with pytest.raises(DataError, match=r"1 patient\(s\) of the data .* expected 1 pat"):
                mine.cases("ours", 1)
        else:
            assert len(mine.cases("ours", 2)) == 2


def test_all_cases_are_drawn_on_though_some_have_no_lesion(tmp_path):
    """With three free ones `synthesize` would draw on these alone: a quarter of what is wanted."""
    write_phantoms(tmp_path / "raw", "liver", 16, 1, (32, 32, 8))
    spec = Spec(
        data=DataPart(method="magan", sets={"data.size": [32, 32], "data.split": [0.75, 0, 0.25]}),
        arms={"real": Arm(), "both": Arm(synthetic=1, by="class-means")},
    )
    place = Place(spec, tmp_path / "raw", tmp_path / "out")
    store = place.store()
    names = store.names("train")
    free = [name for name in names if not store.counts(name)[:, 2].sum()]
    assert 3 <= len(free) < len(names) == 12
    real = real_cases(store, "train")
    made = Makers(place, store, real, 0).cases("class-means", 1)
    assert {case.case for case in made} == set(names)
    wanted = sum(len(case.labels) for case in real)
    assert sum(len(case.labels) for case in made) == pytest.approx(wanted, rel=0.2)


def test_where_lesions_lie_anywhere_slices_without_one_are_learned_from_and_tested_on(tmp_path):
    """Brains have no organ that is labelled: the lesion's absence is told by the rest of a scan."""
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (32, 32, 12))
    sets = ["data.size=32,32", "data.split=0.5,0,0.5"]
    store = prepare(tmp_path / "raw", tmp_path / "store", "registered-multimodal", sets=sets)
    for split in ("train", "test"):
        for case in real_cases(store, split):
            stored = store.cases[case.case]
            drawable = [n for n in range(stored.samples) if n not in stored.left_out]
            assert list(case.numbers) == drawable
    found = [bool(labels.any()) for case in real_cases(store, "test") for labels in case.labels]
    assert 0 < sum(found) < len(found)
    # nothing of a scan is labelled: its slices may just not be
    name = store.names("test")[0]
    store.cases[name] = replace(store.cases[name], labelled=False)
    (kept,) = (case for case in real_cases(store, "test") if case.case == name)
    assert all(labels.any() for labels in kept.labels)


def test_a_patient_of_whom_no_sample_says_what_it_shows_may_be_learned_from(place):
    """The generator saw him, the segmenters cannot: that is no leak."""
    store = place.store()
    real = real_cases(store, "train")
    fewer = [case for case in real if case.patient != real[0].patient]
    assert fewer
    assert Makers(place, store, fewer, 0).maker("gan").run


def test_the_first_of_many_samples_are_of_many_patients(place, makers):
    """As many as one patient has: in the order of names they would all be that patient's."""
    store = place.store()
    cases = makers().cases("class-means", 1)
    whose = {image.tobytes(): case.patient for case in cases for image in case.image}
    made = [makers().samples("class-means", 1) for _ in range(2)]
    first = [whose[image.tobytes()] for image in made[0].images[: len(cases[0].image)]]
    assert len(set(first)) > 1
    np.testing.assert_array_equal(np.stack(made[0].images), np.stack(made[1].images))
    # a second round leaves the first where it is
    more = makers().samples("class-means", len(made[0]) + 1)
    np.testing.assert_array_equal(np.stack(more.images[: len(made[0])]), np.stack(made[0].images))
    assert len(store.names("train")) > 1
