"""Phantoms: equal to their twins outside the lesion, the same from a seed, plausible in numbers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from scansmith.data.layouts import find_layout
from scansmith.data.phantom import ORGANS, make_phantom, region_path, write_phantoms
from scansmith.data.phantom_head import SIGNAL
from scansmith.io.nifti import read_nifti
from scansmith.scan import DataError, SettingsError

SMALL = (48, 48, 12)


@pytest.fixture(scope="module")
def brains():
    return [make_phantom("brain", seed, (48, 56, 32)) for seed in range(3)]


@pytest.fixture(scope="module")
def livers():
    return [make_phantom("liver", seed, SMALL) for seed in range(12)]


@pytest.fixture(scope="module")
def hearts():
    return [make_phantom("heart", seed, (64, 64, 24)) for seed in range(2)]


@pytest.mark.parametrize("organ", ORGANS)
def test_a_phantom_is_the_same_from_the_same_seed_and_another_from_another(organ):
    one, again, other = (make_phantom(organ, seed, SMALL) for seed in (3, 3, 4))
    assert np.array_equal(one.scan.image, again.scan.image)
    assert np.array_equal(one.scan.labels, again.scan.labels)
    assert np.array_equal(one.twin.image, again.twin.image)
    assert (one.scan.image != other.scan.image).mean() > 0.2
    assert not np.array_equal(one.scan.labels, other.scan.labels)


@pytest.mark.parametrize("organ", ORGANS)
def test_pixels_are_square_slices_are_thicker_and_axes_run_left_back_head(organ):
    scan = make_phantom(organ, 1, (40, 48, 10)).scan
    i, j, k = scan.spacing_mm
    assert i == j
    assert k > 1.5 * i
    assert scan.image.shape == (len(scan.modalities), 40, 48, 10)
    assert scan.image.dtype == np.int16
    assert np.all(np.sign(np.diag(scan.affine)) == (-1, -1, 1, 1))
    middle = scan.affine @ (19.5, 23.5, 4.5, 1)  # the grid's middle is the origin
    assert np.abs(middle[:3]).max() < 1e-4


def test_twins_are_equal_to_the_bit_outside_the_region_and_differ_inside(brains, livers):
    diseased = [p for p in [*brains, *livers] if p.region.any()]
    assert len(diseased) > 6
    for p in diseased:
        differ = (p.scan.image != p.twin.image).any(axis=0)
        assert not (differ & ~p.region).any()
        lesion = p.scan.labels != p.twin.labels
        assert lesion.any()
        assert not (lesion & ~p.region).any()
        assert differ[lesion].mean() > 0.9


def test_the_region_is_not_much_more_than_the_lesion(brains):
    for p in brains:
        lesion = p.scan.labels > 0
        near = ndimage.binary_dilation(lesion, iterations=3)
        assert (p.region & ~near).sum() < 0.1 * p.region.sum()


def test_a_phantom_without_a_lesion_is_its_own_twin(livers, hearts):
    healthy = [p for p in livers if not (p.scan.labels == 2).any()]
    assert healthy
    for p in [*healthy, *hearts]:
        assert not p.region.any()
        assert np.array_equal(p.scan.image, p.twin.image)
        assert np.array_equal(p.scan.labels, p.twin.labels)


def test_the_signals_keep_the_order_that_every_reader_knows():
    t1, t1c, t2, flair = ({name: s[m] for name, s in SIGNAL.items()} for m in range(4))
    assert t1["csf"] < t1["grey"] < t1["white"]
    assert t2["white"] < t2["grey"] < t2["csf"]
    assert flair["csf"] < flair["white"] < flair["grey"] < flair["oedema"]
    assert t1c["enhancing"] > 1.3 * t1c["white"]
    assert t1c["enhancing"] > 2 * t1["enhancing"] * 0.9
    assert t2["oedema"] > 1.5 * t2["white"]


def test_lesions_look_in_each_modality_as_they_should(brains):
    for p in brains:
        # gain, bias field and noise are the twin's, so the ratio is the tissue's alone
        ratio = dict(
            zip(p.scan.modalities, p.scan.image / np.maximum(p.twin.image, 1), strict=True)
        )
        labels = p.scan.labels
        assert np.median(ratio["flair"][labels == 2]) > 1.3
        assert np.median(ratio["t2"][labels == 2]) > 1.2
        assert np.median(ratio["t1"][labels == 2]) < 0.95
        assert np.median(ratio["t1c"][labels == 4]) > 1.2
        assert np.median(ratio["t1"][labels == 4]) < 1.0
        assert np.median(ratio["t1"][labels == 1]) < 0.9
        assert np.median(ratio["t2"][labels == 1]) > 1.2


def test_the_background_of_a_brain_is_zero_and_nothing_else_is(brains):
    for p in brains:
        outside = p.scan.image[0] == 0
        assert 0.4 < outside.mean() < 0.9
        assert all(np.array_equal(image == 0, outside) for image in p.scan.image)
        assert all(np.array_equal(image == 0, outside) for image in p.twin.image)
        assert not p.scan.labels[outside].any()


def test_brain_tumours_nest_vary_in_place_and_leave_slices_free(brains):
    places = []
    for p in brains:
        labels = p.scan.labels
        assert set(np.unique(labels)) == {0, 1, 2, 4}
        core = np.isin(labels, (1, 4))
        around = ndimage.binary_dilation(labels == 1)
        assert np.isin(labels[around], (1, 4)).mean() > 0.7  # necrosis lies within the rim
        places.append(np.mean(np.nonzero(core), axis=1) * p.scan.spacing_mm)
        assert not labels.any(axis=(0, 1)).all()
    assert min(np.linalg.norm(a - b) for a, b in pairwise(places)) > 10


def test_tumours_are_not_ellipses(brains):
    for p in brains:
        whole = p.scan.labels > 0
        points = np.argwhere(whole) * p.scan.spacing_mm
        centred = points - points.mean(axis=0)
        inverse = np.linalg.inv(np.cov(centred.T))
        # in an ellipsoid of the same second moments every point has r2 <= 5
        beyond = (np.einsum("na,ab,nb->n", centred, inverse, centred) > 5).mean()
        assert beyond > 0.02


def test_livers_have_none_to_three_tumours_all_inside(livers):
    with_tumour = sum((p.scan.labels == 2).any() for p in livers)
    assert 6 <= with_tumour < 12  # about three in four
    for p in livers:
        labels = p.scan.labels
        healthy = p.twin.labels == 1
        assert set(np.unique(p.twin.labels)) == {0, 1}
        assert healthy[labels == 2].all()
        tumour_slices = (labels == 2).any(axis=(0, 1))
        assert (healthy.any(axis=(0, 1)) & ~tumour_slices).any()
        _, count = ndimage.label(labels == 2, np.ones((3, 3, 3)))
        assert count <= 4  # coarse voxels may part one of three


def test_hounsfield_units_are_those_of_the_tissues(livers):
    contrasts = []
    for p in livers:
        image, labels = p.scan.image[0].astype(float), p.scan.labels
        inner = ndimage.binary_erosion(p.twin.labels == 1) & (labels == 1) & ~p.region
        if inner.sum() > 20:
            assert 45 < np.median(image[inner]) < 150
        assert -1024 <= image.min() < -950  # air around the patient
        assert (image[:4, :4] < -900).all()
        assert ((image > -130) & (image < -80)).mean() > 0.04  # fat
        assert 250 < np.percentile(image, 99.9) < 1500  # bone
        if (labels == 2).sum() > 8 and inner.any():
            contrasts.append(image[labels == 2].mean() - np.median(image[inner]))
    assert min(contrasts) < -10
    assert np.std(contrasts) > 5


def test_livers_are_as_large_as_livers(livers):
    volumes = [(p.twin.labels == 1).sum() * np.prod(p.scan.spacing_mm) / 1000 for p in livers]
    assert min(volumes) > 800  # ml
    assert max(volumes) < 2600
    assert np.std(volumes) > 30


def test_hearts_have_seven_structures_with_blood_brighter_than_muscle(hearts):
    for p in hearts:
        image, labels = p.scan.image[0].astype(float), p.scan.labels
        assert set(np.unique(labels)) == {0, 205, 420, 500, 550, 600, 820, 850}
        level = {code: np.median(image[labels == code]) for code in np.unique(labels)}
        assert 60 < level[205] < 160
        assert all(level[code] > level[205] + 40 for code in (420, 500, 550, 600, 820, 850))
        assert level[500] > 280
        for code in (420, 500, 820):  # of one blood: nothing else was painted over them
            inner = image[ndimage.binary_erosion(labels == code)]
            assert np.abs(inner - level[code]).mean() < 45
        at = {c: np.mean(np.argwhere(labels == c), axis=0) for c in np.unique(labels)}
        assert at[550][0] < at[500][0]  # the right atrium lies to the patient's right
        assert at[420][1] > at[600][1]  # the left atrium behind the right ventricle
        assert at[820][2] > at[500][2]  # the aorta above the left ventricle
        inside = labels == 500
        shell = ndimage.binary_dilation(inside) & ~inside
        assert (labels[shell] == 205).mean() > 0.4


def test_a_finer_grid_shows_the_same_patient():
    coarse = make_phantom("liver", 8, (32, 32, 10))
    fine = make_phantom("liver", 8, (64, 64, 20))
    sampled = fine.twin.labels.reshape(32, 2, 32, 2, 10, 2).mean(axis=(1, 3, 5)) > 0.5
    both = (sampled & (coarse.twin.labels == 1)).sum()
    assert 2 * both / (sampled.sum() + (coarse.twin.labels == 1).sum()) > 0.85


def test_a_written_data_set_is_found_read_and_equal_to_what_was_made(tmp_path):
    calls: list[tuple[int, int]] = []
    for organ, layout in (("brain", "brats"), ("liver", "nnunet"), ("heart", "mmwhs")):
        out = write_phantoms(
            tmp_path / organ, organ, 2, 5, SMALL, progress=lambda *c: calls.append(c)
        )
        found = find_layout(out)
        assert found.layout == layout
        assert not found.problems
        assert len(found.cases) == len({c.patient for c in found.cases}) == 2
        assert found.table == ORGANS[organ].table
        made = make_phantom(organ, (5, 1), SMALL)
        second = found.cases[1]
        for name, path in second.images.items():
            image, affine = read_nifti(path)
            assert image.dtype == np.int16
            assert np.array_equal(image, made.scan.image[found.modalities.index(name)])
            assert np.allclose(affine, made.scan.affine, atol=1e-4)
        assert np.array_equal(read_nifti(second.labels)[0], made.scan.labels)
        assert (out / "twins").is_dir() == (organ != "heart")
        if organ != "heart":
            assert [c.case for c in find_layout(out / "twins").cases] == [
                c.case for c in found.cases
            ]
            region, _ = read_nifti(region_path(out, second.case))
            assert np.array_equal(region.astype(bool), made.region)
    assert calls == [(1, 2), (2, 2)] * 3


def test_a_case_does_not_depend_on_how_many_are_made(tmp_path):
    few = write_phantoms(tmp_path / "few", "liver", 1, 9, SMALL)
    more = write_phantoms(tmp_path / "more", "liver", 2, 9, SMALL)
    name = Path("imagesTr") / "liver_0001_0000.nii.gz"
    assert (few / name).read_bytes() == (more / name).read_bytes()


def test_interrupted_writing_leaves_nothing_behind(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", "heart", 2, 1, SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".set.unfinished").mkdir()  # what a killed process leaves
    (tmp_path / ".set.unfinished" / "half").write_text("x")
    out = write_phantoms(tmp_path / "set", "heart", 1, 1, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert not (out / "half").exists()


def test_a_folder_with_something_in_it_is_refused_and_an_empty_one_is_not(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("x")
    with pytest.raises(DataError, match="something in it already"):
        write_phantoms(tmp_path / "full", "liver", 1, 0, SMALL)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.doc"]
    (tmp_path / "empty").mkdir()
    assert (write_phantoms(tmp_path / "empty", "liver", 1, 0, SMALL) / "dataset.json").is_file()


@pytest.mark.parametrize(
    ("organ", "seed", "size", "word"),
    [
        ("lung", 0, SMALL, "brain, liver, heart"),
        ("brain", 0, (48, 48), "three whole numbers"),
        ("brain", 0, (48, 48, 2), "8 or more"),
        ("heart", -1, SMALL, "negative"),
    ],
)
def test_what_cannot_be_made_is_said(organ, seed, size, word):
    with pytest.raises(SettingsError, match=word):
        make_phantom(organ, seed, size)


def test_no_cases_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="too few"):
        write_phantoms(tmp_path / "out", "liver", 0, 0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("organ", ORGANS)
@pytest.mark.parametrize("size", [(8, 8, 8), (32, 20, 9), (17, 23, 8)])
def test_odd_grids_work(organ, size):
    for seed in range(3):
        p = make_phantom(organ, seed, size)
        assert p.scan.image.shape[1:] == size
        assert p.region.shape == size
        if organ == "brain":
            assert (p.scan.labels > 0).any()
