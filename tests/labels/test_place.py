"""Placed lesions: the size in mm, the room, no overlap, and nobody's own shape."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from scansmith.labels.bank import FEW_VOXELS, Lesion, LesionBank, cut_lesions, same_shape
from scansmith.labels.place import edit_labels, place_lesion
from scansmith.labels.reshape import Motion, _deepest, reshape_lesion, smooth_union
from scansmith.labels.warp import affine_points
from scansmith.scan import DataError

QUICK = settings(max_examples=12, deadline=None, derandomize=True)
ORGAN, RIM, CORE = 1, 2, 3


def ball(shape, spacing_mm, radius_mm):
    middle = (np.array(shape) - 1) / 2
    offset = affine_points(shape, spacing_mm, np.eye(len(shape)), middle)
    return (offset**2).sum(axis=0) <= radius_mm**2


def ragged(seed, dims=3, size=9, spacing_mm=(3.0, 1.0, 1.0), case="p"):
    """A lesion of irregular outline with a core."""
    noise = np.random.default_rng(seed).normal(size=(size,) * dims)
    blurred = ndimage.gaussian_filter(noise, 1.2) * 4
    middle = np.indices(blurred.shape) - (size - 1) / 2
    field = blurred - np.sqrt((middle**2).sum(axis=0)) / size * 4
    labels = np.where(field > -1.2, RIM, 0).astype(np.uint8)
    labels[field > -0.5] = CORE
    (one, *_) = sorted(
        cut_lesions(labels, (RIM, CORE), spacing_mm[-dims:], case), key=lambda x: -x.voxels
    )
    return one


def bank_of(dims=3, count=6):
    return LesionBank([ragged(s, dims, case=f"p{s}") for s in range(count)])


def liver(dims=3):
    """An organ of 40 mm radius with one lesion in it."""
    shape, spacing_mm = ((30, 48, 48), (3.0, 2.0, 2.0)) if dims == 3 else ((64, 48), (1.5, 2.0))
    labels = ball(shape, spacing_mm, 40.0).astype(np.uint8)
    labels[tuple(slice(n // 2, n // 2 + 3) for n in shape)] = RIM
    return labels, spacing_mm


def placed(labels, changed, lesion=(RIM, CORE)):
    """Where the lesions are that the map did not have; its own have grown where they lay."""
    parts, _ = ndimage.label(np.isin(changed, lesion))
    own = np.unique(parts[np.isin(labels, lesion)])
    return (parts > 0) & ~np.isin(parts, own)


def place(labels, spacing_mm, bank, seed, **more):
    return edit_labels(
        labels, spacing_mm, kind="place", lesion=(RIM, CORE), organ=(ORGAN,), bank=bank,
        rng=np.random.default_rng(seed), **more,
    )  # fmt: skip


def test_a_ball_cut_from_5_mm_slices_is_the_same_ball_on_2_5_mm_slices():
    coarse, fine = (5.0, 1.0, 1.0), (2.5, 0.7, 0.7)
    lesion = Lesion(ball((9, 33, 33), coarse, 14.0).astype(np.uint8), coarse, "p")
    made = reshape_lesion(lesion, None, fine, Motion.none(3))
    assert made.spacing_mm == fine
    assert made.volume_mm3 == pytest.approx(lesion.volume_mm3, abs=2.5 * 0.7 * 0.7)
    found = np.nonzero(made.labels)
    lengths_mm = [(np.ptp(along) + 1) * s for along, s in zip(found, fine, strict=True)]
    assert lengths_mm[1] == pytest.approx(28.0, abs=1.5)
    assert lengths_mm[2] == pytest.approx(28.0, abs=1.5)
    assert lengths_mm[0] == pytest.approx(28.0, abs=5.0)  # as far as 5 mm slices tell


def test_turning_a_lesion_keeps_its_volume_and_structures():
    lesion = ragged(4)
    still = Motion.none(3)
    turn = Motion(still.flips, (73.0, 15.0, -12.0), 1.2, still.controls, (0.3, 0.0, -0.2))
    made = reshape_lesion(lesion, None, (1.0, 1.0, 1.0), turn)
    assert made.volume_mm3 == pytest.approx(lesion.volume_mm3 * 1.2**3, rel=0.03)
    assert set(np.unique(made.labels)) - {0} == {RIM, CORE}


def test_a_motion_of_nothing_leaves_the_shape_as_it_is():
    lesion = ragged(2)
    assert np.array_equal(reshape_lesion(lesion, motion=Motion.none(3)).labels, lesion.labels)


@QUICK
@given(seed=st.integers(0, 10**6), shrink=st.sampled_from([0.05, 0.3, 1.0]))
def test_a_reshaped_lesion_is_never_empty_and_hangs_together(seed, shrink):
    rng = np.random.default_rng(seed)
    made = reshape_lesion(ragged(seed % 7), rng, (10.0, 1.5, 1.5), shrink=shrink)
    _, parts = ndimage.label(made.labels, structure=np.ones((3, 3, 3)))
    assert parts == 1


def dumbbell(spacing_mm=(1.0, 1.0)):
    """Two squares of 7 x 7 and 5 x 5 pixels on a bridge of one pixel's width and nine's length."""
    labels = np.zeros((7, 21), np.uint8)
    labels[:, :7] = labels[1:6, 16:] = RIM
    labels[3, 7:16] = RIM
    return Lesion(labels, spacing_mm, "p")


def test_a_lesion_with_a_thin_neck_keeps_its_volume():
    lesion = dumbbell()
    assert lesion.voxels == 49 + 25 + 9
    still = Motion.none(2)
    # Off the grid by half a pixel the neck is thinner than any square is deep, and breaks.
    moved = Motion(still.flips, (30.0,), 1.0, still.controls, (0.5, 0.5))
    made = reshape_lesion(lesion, None, (1.0, 1.0), moved)
    assert made.voxels == lesion.voxels
    coarse = reshape_lesion(lesion, None, (1.5, 1.5), moved)
    assert coarse.voxels == round(83 / 1.5**2)  # 36.9
    for one in (made, coarse):
        _, parts = ndimage.label(one.labels, structure=np.ones((3, 3)))
        assert parts == 1


def test_what_is_added_is_the_deepest_that_touches():
    # Of 5 values the three deepest are 1, 2 and 3, apart; the part of two is kept. Then its
    # neighbours are 9 and 4: 4 is added, though it is not as deep as 3 behind it.
    depth = np.array([[9.0, 1.0, 2.0, 4.0, 3.0, 9.0]])
    assert _deepest(depth, 3).tolist() == [[False, True, True, True, False, False]]
    # The fourth is then 3, which now touches.
    assert _deepest(depth, 4).tolist() == [[False, True, True, True, True, False]]
    assert _deepest(depth, 6).all()
    assert _deepest(depth, 99).all()  # there are no more


@QUICK
@given(seed=st.integers(0, 10**6), shrink=st.sampled_from([0.3, 0.8, 1.0]))
def test_a_reshaped_lesion_has_its_volume_to_a_voxel(seed, shrink):
    spacing_mm = (4.0, 1.0, 1.0)
    lesion, motion = ragged(seed % 7), Motion.draw(np.random.default_rng(seed), 3)
    made = reshape_lesion(lesion, None, spacing_mm, motion, shrink)
    wanted_mm3 = max(4.0, lesion.volume_mm3 * (motion.scale * shrink) ** 3)
    assert made.volume_mm3 == pytest.approx(wanted_mm3, abs=2.0)  # half a voxel of 4 mm3


def test_a_union_is_one_lesion_larger_than_either_and_smaller_than_both():
    rng = np.random.default_rng(0)
    for dims in (2, 3):
        first, second = ragged(1, dims), ragged(2, dims)
        both = smooth_union(first, second, rng)
        _, parts = ndimage.label(both.labels, structure=np.ones([3] * dims))
        assert parts == 1
        assert max(first.voxels, second.voxels) < both.voxels
        assert both.voxels < 1.1 * (first.voxels + second.voxels)
        assert set(np.unique(both.labels)) == {0, RIM, CORE}


def test_a_lesion_is_found_the_one_place_where_it_fits():
    labels = np.zeros((3, 40, 40), dtype=np.uint8)
    labels[:, 5:8, :] = ORGAN  # too narrow for 5 rows with 1 voxel round them
    labels[:, 20:27, 10:17] = ORGAN  # 7 x 7: only the middle fits
    lesion = Lesion(np.full((1, 5, 5), RIM, np.uint8), (3.0, 1.0, 1.0), "p")
    placed = place_lesion(
        labels,
        lesion,
        [ORGAN],
        (3.0, 1.0, 1.0),
        np.random.default_rng(0),
        clearance_mm=1.0,
        tries=1,
    )
    assert placed is not None
    rows = np.argwhere(placed == RIM)
    assert rows[:, 1:].min(axis=0).tolist() == [21, 11]
    assert rows[:, 1:].max(axis=0).tolist() == [25, 15]


def test_a_lesion_that_fits_nowhere_is_not_placed():
    labels = np.zeros((3, 40, 40), dtype=np.uint8)
    labels[:, 20:27, 10:17] = ORGAN
    lesion = Lesion(np.full((1, 6, 5), RIM, np.uint8), (3.0, 1.0, 1.0), "p")
    rng = np.random.default_rng(0)
    assert place_lesion(labels, lesion, [ORGAN], (3.0, 1.0, 1.0), rng, clearance_mm=1.0) is None
    assert place_lesion(labels * 0, lesion, [ORGAN], (3.0, 1.0, 1.0), rng) is None


def test_every_place_is_equally_likely():
    labels = np.full((1, 6), ORGAN, dtype=np.uint8)
    lesion = Lesion(np.full((1, 3), RIM, np.uint8), (1.0, 1.0), "p")
    rng = np.random.default_rng(0)
    starts = [
        int(np.flatnonzero(place_lesion(labels, lesion, [ORGAN], (1.0, 1.0), rng) == RIM)[0] // 1)
        for _ in range(400)
    ]
    counts = np.bincount(starts, minlength=4)
    assert counts.size == 4
    assert counts.min() > 70  # 100 expected; 70 is 3.5 standard deviations off


@QUICK
@given(seed=st.integers(0, 10**6), dims=st.sampled_from([2, 3]))
def test_a_new_lesion_lies_in_the_organ_clear_of_all_else_and_is_nobody_elses(seed, dims):
    labels, spacing_mm = liver(dims)
    before = labels.copy()
    bank = bank_of(dims)
    changed, record = place(labels, spacing_mm, bank, seed)
    new = placed(labels, changed)
    assert np.array_equal(labels, before)
    assert np.all(labels[changed != labels] == ORGAN)
    room = (labels == ORGAN) & ((changed == ORGAN) | new)
    room_mm = ndimage.distance_transform_edt(room, sampling=spacing_mm)
    assert room_mm[new].min() > 2.0
    made = cut_lesions(np.where(new, changed, 0), (RIM, CORE), spacing_mm, "made")
    assert len(made) == len(record["lesions"])
    assert sorted(x.voxels for x in made) == sorted(x["voxels"] for x in record["lesions"])
    for lesion in made:
        if lesion.voxels >= FEW_VOXELS:
            assert not any(same_shape(lesion.labels, original.labels) for original in bank)
    assert json.loads(json.dumps(record)) == record


@QUICK
@given(seed=st.integers(0, 10**6))
def test_a_placed_lesion_differs_from_its_originals_brought_to_the_same_grid(seed):
    labels, spacing_mm = liver()
    bank = bank_of(count=2)
    changed, _ = place(labels, spacing_mm, bank, seed, lesions=(1, 1))
    new = np.where(changed != labels, changed, 0)
    for original in bank:
        plain = reshape_lesion(original, None, spacing_mm, Motion.none(3))
        assert plain.voxels < FEW_VOXELS or not same_shape(new, plain.labels)


def test_a_shape_of_the_bank_is_refused_even_if_chance_makes_it(monkeypatch):
    labels, _ = liver()
    bank = bank_of(count=1)
    draws = [Motion.none(3), Motion.none(3)]
    draw = Motion.draw

    def first_none_then_random(rng, dims):
        return draws.pop() if draws else draw(rng, dims)

    monkeypatch.setattr(Motion, "draw", staticmethod(first_none_then_random))
    changed, record = place(labels, (3.0, 1.0, 1.0), bank, 1, lesions=(1, 1))
    assert len(draws) < 2
    assert record["lesions"][0]["shrink"] < 1
    assert not bank.holds(np.where(changed != labels, changed, 0))


def test_the_same_seed_places_the_same_lesions():
    labels, spacing_mm = liver()
    first, record = place(labels, spacing_mm, bank_of(), 11)
    again, record_again = place(labels, spacing_mm, bank_of(), 11)
    other, _ = place(labels, spacing_mm, bank_of(), 12)
    assert np.array_equal(first, again)
    assert record == record_again
    assert not np.array_equal(first, other)


def test_the_record_says_where_the_lesion_lies_and_how_large_it_is():
    labels, spacing_mm = liver()
    changed, record = place(labels, spacing_mm, bank_of(), 3, lesions=(1, 1))
    (lesion,) = record["lesions"]
    where = np.argwhere(placed(labels, changed))
    assert lesion["centre_voxel"] == pytest.approx(where.mean(axis=0).tolist(), abs=0.01)
    assert lesion["volume_mm3"] == len(where) * 12.0  # 3 x 2 x 2 mm
    assert lesion["sources"][0]["case"] == f"p{lesion['sources'][0]['lesion']}"


def test_a_lesion_too_large_for_the_organ_is_made_smaller():
    spacing_mm = (1.0, 1.0)
    labels = ball((40, 40), spacing_mm, 12.0).astype(np.uint8)
    bank = LesionBank([ragged(3, 2, size=41)])
    assert bank.lesions[0].volume_mm3 > np.count_nonzero(labels)
    changed, record = place(labels, spacing_mm, bank, 0, lesions=(1, 1))
    assert record["lesions"][0]["shrink"] < 1
    assert np.count_nonzero(changed > ORGAN) >= 1


def test_an_organ_without_room_is_an_error_and_never_an_unchanged_map():
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[5:8, 5:8] = ORGAN
    with pytest.raises(DataError, match=r"0 of at least 1 lesions fit.*9 voxels.*Ask for fewer"):
        place(labels, (1.0, 1.0), bank_of(2), 0)


def test_a_crumb_gives_its_volume_and_not_its_shape():
    line = Lesion(np.full((1, 10), RIM, np.uint8), (1.0, 1.0), "p")
    labels = np.full((64, 64), ORGAN, dtype=np.uint8)
    lengths = []
    for seed in range(12):
        changed, _ = place(labels, (0.25, 0.25), LesionBank([line]), seed, lesions=(1, 1))
        found = np.nonzero(changed == RIM)
        lengths.append(max(np.ptp(found[0]), np.ptp(found[1])) * 0.25)
    assert max(lengths) < 8.0  # two discs of 10 mm2 x 1.3^2 grown together; a line would be 13


def test_crumbs_are_left_out_while_there_are_lesions_unless_asked_for():
    crumb = Lesion(np.full((1, 2), RIM, np.uint8), (1.0, 1.0), "crumb")
    bank = LesionBank([crumb, ragged(0, 2)])
    labels, spacing_mm = liver(2)
    for seed in range(6):
        _, record = place(labels, spacing_mm, bank, seed)
        assert {s["lesion"] for x in record["lesions"] for s in x["sources"]} == {1}
    _, record = place(labels, spacing_mm, bank, 0, sizes_mm3=(0.0, 5.0))
    assert {s["case"] for x in record["lesions"] for s in x["sources"]} == {"crumb"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"bank": None}, "no lesions in it"),
        ({"bank": LesionBank([])}, "no lesions in it"),
        ({"bank": bank_of(2)}, "lesions of 2 axes for labels of 3"),
        ({"organ": ()}, "expected an organ apart"),
        ({"organ": (ORGAN, RIM)}, "expected an organ apart"),
        ({"lesion": (RIM,)}, r"structures \[3\] are none of the lesion's"),
        ({"kind": "paint"}, "expected 'place' or 'deform'"),
        ({"lesions": (3, 1)}, "rising range"),
        ({"spacing_mm": (1.0, 1.0)}, "3 axes and 2 spacings"),
    ],
)
def test_a_bank_or_a_choice_that_does_not_suit_is_an_error(changes, found):
    labels, spacing_mm = liver()
    asked = dict(
        labels=labels, spacing_mm=spacing_mm, kind="place", lesion=(RIM, CORE), organ=(ORGAN,),
        bank=bank_of(), rng=np.random.default_rng(0),
    )  # fmt: skip
    with pytest.raises(DataError, match=found):
        edit_labels(**(asked | changes))


def deformed(labels, spacing_mm, seed, lesion=(RIM, CORE), **more):
    return edit_labels(
        labels, spacing_mm, kind="deform", lesion=lesion, organ=(), bank=None,
        rng=np.random.default_rng(seed), **more,
    )  # fmt: skip


@QUICK
@given(seed=st.integers(0, 10**6), dims=st.sampled_from([2, 3]))
def test_a_deformed_map_keeps_its_structures_and_no_lesion_keeps_its_shape(seed, dims):
    labels, spacing_mm = liver(dims)
    labels[tuple(slice(n // 3, n // 3 + 1) for n in labels.shape)] = CORE  # one voxel
    changed, record = deformed(labels, spacing_mm, seed)
    assert np.array_equal(np.unique(changed), np.unique(labels))
    cubes = [x for x in cut_lesions(labels, (RIM, CORE), spacing_mm, "") if x.voxels >= FEW_VOXELS]
    for lesion in cut_lesions(changed, (RIM, CORE), spacing_mm, ""):
        assert not any(same_shape(lesion.labels, cube.labels) for cube in cubes)
    assert json.loads(json.dumps(record)) == record


def test_half_the_strength_moves_half_as_far():
    labels, spacing_mm = liver(3)
    _, whole = deformed(labels, spacing_mm, 3, lesion=())
    _, half = deformed(labels, spacing_mm, 3, lesion=(), strength=0.5)
    assert half["degrees"] == pytest.approx([a / 2 for a in whole["degrees"]], abs=1e-3)
    assert half["shift_mm"] == pytest.approx([s / 2 for s in whole["shift_mm"]], abs=1e-3)
    assert half["scale"] - 1 == pytest.approx((whole["scale"] - 1) / 2, abs=1e-4)
    # The limit that keeps a field from folding cuts the stronger one more.
    assert whole["bend_rms_mm"] / 2 <= half["bend_rms_mm"] < whole["bend_rms_mm"]


def test_an_empty_map_deformed_stays_empty():
    changed, record = deformed(np.zeros((8, 8), dtype=np.uint8), (1.0, 1.0), 0)
    assert not changed.any()
    assert record["kind"] == "deform"


def test_real_livers_take_new_tumours_from_a_real_bank(real_data):
    nibabel = pytest.importorskip("nibabel")
    files = sorted((real_data / "liver-lits").glob("*/labelsTr/*.nii.gz"))
    files = sorted(files, key=lambda path: path.stat().st_size)[3:6]
    if not files:
        pytest.skip("no liver scans at hand")
    scans = [nibabel.load(path) for path in files]
    maps = [np.asarray(scan.dataobj).astype(np.uint8).transpose(2, 1, 0) for scan in scans]
    steps = [tuple(float(s) for s in scan.header.get_zooms()[2::-1]) for scan in scans]
    lesions = [
        lesion
        for n, (labels, step) in enumerate(zip(maps, steps, strict=True))
        for lesion in cut_lesions(labels, (2,), step, f"scan {n}")
    ]
    bank = LesionBank(lesions)
    for labels, step in zip(maps, steps, strict=True):
        changed, record = edit_labels(
            labels, step, kind="place", lesion=(2,), organ=(1,), bank=bank,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        assert np.all(labels[changed != labels] == 1)
        made = cut_lesions(np.where(placed(labels, changed, (2,)), changed, 0), (2,), step, "")
        assert len(made) == len(record["lesions"])
        every = cut_lesions(changed, (2,), step, "")
        assert not any(x.voxels >= FEW_VOXELS and bank.holds(x.labels) for x in every)
