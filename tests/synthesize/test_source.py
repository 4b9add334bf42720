from dataclasses import replace

import numpy as np
import pytest

from scansmith.data.prepare import prepare
from scansmith.recipe import Draw, Edits, Regions
from scansmith.scan import DataError, SettingsError
from scansmith.settings import Settings
from scansmith.synthesize import source
from scansmith.synthesize.order import Order
from scansmith.synthesize.source import Sources, chance, check_source, grid_spacing_mm, lesion_bank


def test_only_training_cases_are_drawn_on_by_default(liver):
    sources = Sources(liver, seed=1)
    drawn = {sources.place(number)[0] for number in range(50)}
    assert drawn == set(liver.names("train"))
    assert not drawn & set(liver.names("test"))


def test_every_case_is_taken_once_before_any_is_taken_twice(liver):
    sources = Sources(liver, seed=1)
    count = len(sources)
    turns = [[sources.place(turn * count + n)[0] for n in range(count)] for turn in range(4)]
    assert all(sorted(turn) == sorted(sources.names) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


def test_a_source_depends_on_seed_and_number_alone(liver):
    forward = [Sources(liver, seed=4).take(number) for number in (0, 1, 2)]
    backward = [Sources(liver, seed=4).take(number) for number in (2, 1, 0)][::-1]
    other = Sources(liver, seed=5).take(0)
    for one, again in zip(forward, backward, strict=True):
        assert one.case == again.case
        assert one.edits == again.edits
        np.testing.assert_array_equal(one.labels, again.labels)
    assert not np.array_equal(forward[0].labels, other.labels)


def test_streams_of_different_purposes_differ():
    purposes = [chance(purpose, 3, 0).generate_state(2) for purpose in ("edit", "make", "order")]
    assert len({tuple(state) for state in purposes}) == 3


def test_a_placed_lesion_lies_in_what_was_organ_and_nothing_else_changes(liver, parts):
    for number in range(6):
        taken = Sources(liver, seed=2, lesions=(1, 1)).take(number)
        before = liver.volume(taken.case)[1]
        changed = taken.labels != before
        assert changed.any()
        assert (before[changed] == parts.LIVER).all()
        assert (taken.labels[changed] == parts.TUMOUR).all()
        assert len(taken.edits["lesions"]) == 1


def test_without_edits_labels_are_those_of_the_case(liver):
    taken = Sources(liver, seed=2, edit=False).take(1)
    np.testing.assert_array_equal(taken.labels, liver.volume(taken.case)[1])
    assert taken.edits == {}


def test_cases_without_lesion_are_preferred_if_there_are_three(tmp_path, parts):
    recipe = parts.Painter.recipe(Settings()).model_copy(update={"split": (1.0, 0.0, 0.0)})
    raw = parts.write_liver(tmp_path / "raw", cases=5, healthy=3)
    store = prepare(raw, tmp_path / "store", recipe, workers=1)
    assert Sources(store, seed=0).names == ("liver_000", "liver_001", "liver_002")
    assert len(Sources(store, seed=0, from_healthy=False)) == 5
    two_healthy = parts.write_liver(tmp_path / "raw2", cases=5, healthy=2)
    store = prepare(two_healthy, tmp_path / "store2", recipe, workers=1)
    assert len(Sources(store, seed=0)) == 5


def test_the_bank_holds_training_lesions_in_millimetres_of_the_prepared_grid(liver):
    bank = lesion_bank(liver)
    assert {lesion.case for lesion in bank} == set(liver.names("train"))
    assert {lesion.spacing_mm for lesion in bank} == {(4.0, 1.5, 1.5)}
    # 3 x 3 x 2 voxels and one more; the additional one touches in every case.
    assert {lesion.voxels for lesion in bank} == {19}
    assert grid_spacing_mm(liver, "liver_000") == (4.0, 1.5, 1.5)


def test_a_volume_method_has_its_labels_deformed_without_losing_a_structure(brains):
    taken = Sources(brains, seed=2).take(0)
    before = brains.volume(taken.case)[1]
    assert taken.labels.shape == before.shape == (1, 8, 16, 12)
    assert not np.array_equal(taken.labels, before)
    np.testing.assert_array_equal(np.unique(taken.labels), np.unique(before))
    weaker = Sources(brains, seed=2)
    weaker.edits = weaker.edits.model_copy(update={"strength": 0.25})
    assert weaker.take(0).edits["strength"] == 0.25 != taken.edits["strength"]


def test_the_frame_of_a_crop_stays_when_its_map_is_bent(parts, tmp_path):
    root = tmp_path / "raw"
    rng = np.random.default_rng(0)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for n in range(5):
        image = rng.integers(50, 99, (12, 16, 8)).astype(np.int16)
        image[:2], image[:, 13:] = 0, 0  # not scanned
        labels = np.zeros(image.shape, np.uint8)
        labels[4:9, 4:10, 2:6] = 1
        for modality in ("t1", "flair"):
            parts.write_nifti(root / f"b_{n}" / f"b_{n}_{modality}.nii.gz", image, affine)
        parts.write_nifti(root / f"b_{n}" / f"b_{n}_seg.nii.gz", labels, affine)
    rule = parts.VolumePainter.recipe(Settings())
    regions = Regions(kind="kmeans", classes=2)
    store = prepare(root, tmp_path / "store", rule.model_copy(update={"regions": regions}))
    for number in range(4):
        made = Sources(store, seed=2).take(number)
        _, before = store.volume(made.case)
        assert not np.array_equal(made.labels, before)
        np.testing.assert_array_equal(made.labels == 0, before == 0)


def test_an_empty_split_names_those_there_are(liver):
    with pytest.raises(DataError, match=r"no case in split 'validation', expected one of test, t"):
        Sources(liver, seed=0, split="validation")


def test_lesions_that_fit_nowhere_are_an_error_that_names_the_cases(liver, monkeypatch):
    def too_large(*args, **kwargs):
        raise DataError("labels: 0 of at least 1 lesions fit.")

    monkeypatch.setattr(source, "edit_labels", too_large)
    with pytest.raises(DataError, match=r"case number 3: no labels .* liver_.*0 of at least 1"):
        Sources(liver, seed=0).take(3)


def test_a_case_where_the_edit_fails_is_passed_over(liver, monkeypatch):
    sources = Sources(liver, seed=0)
    real, calls = source.edit_labels, []

    def fail_once(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise DataError("labels: none fits.")
        return real(*args, **kwargs)

    monkeypatch.setattr(source, "edit_labels", fail_once)
    assert sources.take(0).case == sources.place(1)[0] != sources.place(0)[0]


def test_a_store_with_other_structures_or_size_is_refused_with_all_differences(liver, parts):
    method = parts.painter(liver)
    facts = liver.facts.model_copy(update={"structures": ("background", "x"), "size": (8, 8)})
    with pytest.raises(DataError) as caught:
        check_source(method, replace(liver, facts=facts))
    text = str(caught.value)
    assert "size (8, 8), the run was trained on (16, 12)" in text
    assert "structures ('background', 'x')" in text


def test_an_order_lists_all_its_mistakes():
    with pytest.raises(SettingsError) as caught:
        Order(cases=0, seed=-1, layout="zip", lesions=(3, 1), shard=(9, 8))
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "cases",
        "seed",
        "layout",
        "lesions",
        "shard",
    ]


def with_edits(store, **changes):
    """The same store under a recipe with other edits."""
    return replace(store, recipe=store.recipe.model_copy(update=changes))


def test_single_samples_of_a_draw_can_be_sources(liver):
    tumours = Draw(name="tumours", has=("tumour",))
    keep = Edits(kind="keep", unit="sample", draw="tumours")
    sources = Sources(with_edits(liver, draws=(tumours,), edits=keep), seed=1)
    train = liver.names("train")
    assert len(sources) == sum(int((liver.counts(c)[:, 2] > 0).sum()) for c in train)
    taken = sources.take(0)
    image, labels = liver.sample(taken.case, taken.first)
    np.testing.assert_array_equal(taken.image[0], image)
    np.testing.assert_array_equal(taken.labels[0], labels)
    assert (taken.labels == 2).any()
    assert taken.edits == {}


def test_a_task_brings_its_own_edits_and_an_unknown_one_is_refused(liver):
    tasks = {"heal": Edits(kind="keep")}
    store = with_edits(liver, tasks=tasks)
    assert Sources(store, seed=1).kind == "place"
    assert Sources(store, seed=1, task="heal").kind == "keep"
    with pytest.raises(SettingsError, match=r"task 'heel': painter has heal"):
        Sources(store, seed=1, task="heel")


def test_one_sample_is_written_where_it_lies_in_its_case(liver):
    case = liver.names("train")[0]
    image, labels = liver.volume(case)
    whole = liver.scan(case, image, labels)
    for first in (0, 3):
        one = liver.scan(case, image[first : first + 1], labels[first : first + 1], "one", first)
        # millimetres of the slice's corner, in the whole scan and alone
        np.testing.assert_allclose(
            (one.affine @ [0, 0, 0, 1])[:3], (whole.affine @ [0, 0, first, 1])[:3]
        )
        np.testing.assert_array_equal(one.image[0, :, :, 0], whole.image[0, :, :, first])
    with pytest.raises(DataError, match="expected"):
        liver.scan(case, image, labels, "too many", first=1)


def test_a_cases_own_lesion_is_reshaped_within_its_organ(liver, parts):
    edits = Edits(kind="reshape", lesion=("tumour",), organ=("liver",))
    taken = Sources(with_edits(liver, edits=edits), seed=1).take(0)
    before = liver.volume(taken.case)[1]
    assert not np.array_equal(taken.labels, before)
    assert ((taken.labels == 0) == (before == 0)).all()  # nothing leaves the organ
    assert (taken.labels == parts.TUMOUR).any()
    assert taken.edits


def test_a_redrawn_sample_shows_its_lesion_alone_and_moved(liver, parts):
    tumours = Draw(name="tumours", has=("tumour",), min_pixels=6)
    edits = Edits(kind="redraw", lesion=("tumour",), unit="sample", draw="tumours")
    taken = Sources(with_edits(liver, draws=(tumours,), edits=edits), seed=1).take(0)
    before = liver.sample(taken.case, taken.first)[1]
    assert taken.labels.shape == (1, *before.shape)
    assert set(np.unique(taken.labels)) == {0, parts.TUMOUR}
    assert not np.array_equal(taken.labels[0] == parts.TUMOUR, before == parts.TUMOUR)
