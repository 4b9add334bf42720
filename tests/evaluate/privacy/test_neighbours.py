"""Nearest neighbours with shifts and flips searched, against a search of everything."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.feature import match_template

from scansmith.evaluate.privacy.cases import Grid, hash_bits
from scansmith.evaluate.privacy.neighbours import (
    flipped,
    flips,
    nearness,
    standardised,
)

GRID = Grid((1, 24, 24), (1, 48, 48))
VOLUME = Grid((12, 12, 12), (24, 24, 24))


def patients(count, shape, seed=0):
    rng = np.random.default_rng(seed)
    return [gaussian_filter(rng.standard_normal(shape), 2.5)[None] for _ in range(count)]


def coarse(fine, grid):
    parts = [f // c for f, c in zip(grid.fine, grid.coarse, strict=True)]
    shape = [n for pair in zip(grid.coarse, parts, strict=True) for n in pair]
    return [image.reshape(1, *shape).mean(axis=(2, 4, 6)) for image in fine]


def near(queries, references, grid, **more):
    both = coarse(queries, grid), coarse(references, grid)
    return nearness(*both, (queries, references), grid, **more)


@pytest.mark.parametrize("grid", [GRID, VOLUME], ids=["picture", "volume"])
def test_a_flipped_shifted_and_rescaled_copy_is_found_and_turned_back(grid):
    real = patients(10, grid.fine)
    shift = (0, 5, -3) if grid is GRID else (2, -4, 2)
    copy = flipped(np.roll(real[6], shift, (1, 2, 3)), (2,)) * 40 - 700
    found = near([copy], real, grid)
    assert np.argmin(found.distances[0]) == 6
    assert found.distances[0, 6] < 0.05
    pose = found.poses[0, 6]
    assert pose.flip == (2,)
    assert pose.shift == tuple(-s for s in shift)


def test_the_climb_finds_what_a_search_of_every_shift_finds():
    query, real = patients(1, GRID.fine, seed=1)[0], patients(6, GRID.fine, seed=2)
    copy = np.roll(real[2], (0, 4, 3), (1, 2, 3)) + 0.5 * query
    found = near([copy], real, GRID)
    m = GRID.fine_margin[1]
    template = copy[0, 0, m:-m, m:-m]
    every = max(
        match_template(real[2][0, 0], flipped(template[None], flip)[0]).max()
        for flip in flips(GRID.fine)
    )
    assert found.distances[0, 2] == pytest.approx(np.sqrt(1 - every), abs=1e-3)


def test_likeness_is_the_mean_correlation_of_the_modalities():
    rng = np.random.default_rng(3)
    one, other = rng.random((2, 1, 2, 3, 4, 5))
    expected = np.mean([np.corrcoef(one[0, c].ravel(), other[0, c].ravel())[0, 1] for c in (0, 1)])
    assert (standardised(one) @ standardised(other).T)[0, 0] == pytest.approx(expected, abs=1e-6)
    assert not standardised(np.ones((1, 1, 2, 2, 2))).any()  # flat images are like nothing


def test_barred_pairs_are_at_infinity_and_all_others_have_a_place():
    real = patients(14, GRID.fine)
    barred = np.eye(14, dtype=bool)
    found = near(real, real, GRID, barred=barred)
    assert np.isinf(found.distances[barred]).all()
    assert np.isfinite(found.distances[~barred]).all()
    row, own = found.distances[0], found.aligned[0]
    forward = np.sort(row[own])
    assert own.sum() >= 8
    assert row[~own & ~barred[0]].min() > forward[-1]


def test_every_real_case_is_aligned_with_its_likeliest_queries():
    found = near(patients(20, GRID.fine, seed=4), patients(15, GRID.fine, seed=5), GRID)
    assert (found.aligned.sum(axis=0) >= 3).all()
    assert np.isfinite(found.to_reference()).all()


def test_an_axis_of_one_voxel_has_no_other_side():
    assert flips((1, 4, 4)) == [(), (1,), (2,), (1, 2)]
    assert len(flips((4, 4, 4))) == 8


def test_the_hash_of_a_flipped_picture_is_the_flipped_hash():
    from scipy.fft import dctn

    image = patients(1, (1, 32, 32), seed=6)[0][0]
    low, turned = (dctn(x, norm="ortho")[:1, :8, :8] for x in (image, image[:, ::-1]))
    assert (hash_bits(low, (1,)) == hash_bits(turned, ())).all()
    assert (hash_bits(low, ()) != hash_bits(turned, ())).any()
    assert (hash_bits(3 * low, ()) == hash_bits(low, ())).all()


def test_slices_of_one_patient_do_not_take_all_places():
    """Twelve slices of one patient are all more like a query than any slice of nine others."""
    rng = np.random.default_rng(6)
    one = rng.random((1, *GRID.fine))
    alike = [one + 0.05 * rng.random((1, *GRID.fine)) for _ in range(12)]
    others = patients(9, GRID.fine, seed=7)
    whose = ["p0"] * 12 + [f"p{n}" for n in range(1, 10)]
    real = [*alike, *others]
    plain = near([one], real, GRID, backward=False)
    assert plain.aligned[0, :12].sum() == 8
    assert not plain.aligned[0, 12:].any()
    found = near([one], real, GRID, whose=whose, backward=False)
    assert found.aligned[0, :12].sum() == 8
    assert found.aligned[0, 12:].sum() == 7  # of the eight likeliest patients one is p0
    # How far the next patient is is known now, and farther than what was made up for it.
    assert found.distances[0, 12:].min() > plain.distances[0, 12:].min() + 0.05
