"""Who makes synthetic samples: rounds that are made once and go on."""

import nibabel as nib
import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.scan import DataError
from scansmith.studies.counterparts import real_cases
from scansmith.studies.makers import ROUNDS, Makers
from scansmith.studies.place import Place
from scansmith.studies.spec import Arm, DataPart, Generator, OnDisk, Spec
from scansmith.synthesize.make import synthesize


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
    assert len(mine.samples("class-means", 10**6)) == of_rounds(ROUNDS)


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
