"""A user's own scan through a run: on its own grid, in its own units, with nothing else touched."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from scansmith import workflow
from scansmith.data.layouts import find_layout
from scansmith.recipe import Codec
from scansmith.scan import DataError, RunError, Scan, SettingsError
from scansmith.synthesize import rework
from scansmith.synthesize.rework import _as_type, _on_grid_of, _through, fit_to, heal, translate

TINY = (
    "data.size=16,16", "data.modality=flair", "data.min_pixels=1", "method.base=2",
    "method.critic_base=2", "method.blocks=1", "train.steps=1", "train.batch=1",
    "train.sample_at=", "data.min_foreground=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    root = tmp_path_factory.mktemp("ant")
    raw = parts.write_brains(root / "raw")
    workflow.prepare(raw, root / "store", "ant-gan", sets=TINY, workers=1)
    return workflow.train("ant-gan", root / "store", root / "run", sets=TINY)


@pytest.fixture
def flair(run):
    return next(iter(find_layout(run.parent / "raw").cases)).images["flair"]


def test_a_healed_scan_is_the_scan_plus_the_change_on_its_own_grid(run, flair, tmp_path):
    out = heal(run, flair, tmp_path / "out", device="cpu")
    name = flair.name.removesuffix(".nii.gz")
    before = nib.load(flair)
    healed, change = (nib.load(out / f"{name}_{w}.nii.gz") for w in ("healed", "change"))
    for made in (healed, change):
        assert made.shape == before.shape
        np.testing.assert_allclose(made.affine, before.affine, atol=1e-5)
        assert b"SYNTHETIC" in bytes(made.header["descrip"])
    assert healed.get_data_dtype() == before.get_data_dtype()
    difference = np.asarray(healed.dataobj, float) - np.asarray(before.dataobj)
    np.testing.assert_array_equal(difference, change.dataobj)
    assert np.abs(difference).max() > 0
    said = json.loads((out / "heal.json").read_text())
    assert said["Synthetic"] is True
    assert said["method"] == "ant-gan"
    assert (out / "preview.png").stat().st_size > 0


@pytest.mark.parametrize(("kind", "change"), [(np.uint8, 200.4), (np.uint16, -300.0)])
def test_the_change_is_that_of_the_written_scan_where_its_type_ends(
    run, flair, tmp_path, monkeypatch, kind, change
):
    before = nib.load(flair)
    values = np.clip(before.dataobj, 0, 250).astype(kind)
    nib.save(nib.Nifti1Image(values, before.affine), tmp_path / "one.nii.gz")
    monkeypatch.setattr(
        rework, "_on_grid_of", lambda scan, *_, **__: np.full(scan.image.shape, change, np.float32)
    )
    out = heal(run, tmp_path / "one.nii.gz", tmp_path / "out", device="cpu")
    healed, told = (
        np.asarray(nib.load(out / f"one_{what}.nii.gz").dataobj) for what in ("healed", "change")
    )
    np.testing.assert_array_equal(told, healed.astype(float) - values)
    assert len(np.unique(told)) > 2  # the type's end is nearer to some values than to others


def test_a_run_of_cut_scans_wants_to_know_where_the_organ_is(parts, tmp_path):
    sets = (
        "data.size=16,16", "data.organ=liver", "data.lesion=tumour", "data.cut_to_organ=true",
        "data.margin_mm=2", "data.intensity=window", "data.min_pixels=1", "method.base=2",
        "method.critic_base=2", "method.blocks=1", "train.steps=1", "train.sample_at=",
    )  # fmt: skip
    raw = parts.write_liver(tmp_path / "raw", healthy=2)
    workflow.prepare(raw, tmp_path / "store", "ant-gan", sets=sets, workers=1)
    run = workflow.train("ant-gan", tmp_path / "store", tmp_path / "run", sets=sets)
    files = next(iter(find_layout(raw).cases))
    scan = files.images["ct"]
    with pytest.raises(DataError, match=r"cut to liver and tumour.*--labels"):
        heal(run, scan, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
    out = heal(run, scan, tmp_path / "out", labels=files.labels, device="cpu")
    change = np.asarray(nib.load(next(out.glob("*_change.nii.gz"))).dataobj)
    labels = np.asarray(nib.load(files.labels).dataobj)
    assert change.shape == labels.shape
    assert np.abs(change[labels > 0]).max() > 0
    held = np.argwhere(labels > 0)
    far = np.ones(labels.shape, dtype=bool)  # beyond the box, its margin and its aspect
    reach = np.ptp(held, axis=0).max() + 4
    low, high = held.min(axis=0) - reach, held.max(axis=0) + reach + 1
    far[tuple(slice(max(0, a), b) for a, b in zip(low, high, strict=True))] = False
    assert np.abs(change[far]).max(initial=0) == 0


def test_what_a_method_does_not_change_comes_back_to_the_bit(liver, parts):
    # 9 mm slices of 3 mm pixels, turned: prepared onto a grid of 16 x 12 and brought back
    rng = np.random.default_rng(0)
    image = rng.integers(-150, 200, (1, 20, 22, 5)).astype(np.int16)
    affine = np.array([[0, 3.0, 0, 5], [-3.0, 0, 0, 2], [0, 0, 9.0, -4], [0, 0, 0, 1]])
    scan = Scan("one", image, affine, ("ct",))
    fitted = fit_to(parts.painter(liver), scan)
    assert fitted.network.shape == (5, 1, 16, 12)
    same = _on_grid_of(scan, fitted, fitted.network, less=True)
    assert same.shape == image.shape
    assert np.abs(same).max() == 0
    # window -200..250 to -1..1: 0.04 of the network range are 9 HU
    more = _on_grid_of(scan, fitted, fitted.network + 0.04, less=True)
    inside = more > 8.99
    assert inside.sum() == 16 * 12 * 5  # the crop's pixels, and no other
    np.testing.assert_allclose(more[inside], 9, atol=1e-3)
    np.testing.assert_array_equal(more[~inside], 0)
    back = _on_grid_of(scan, fitted, fitted.network)
    np.testing.assert_allclose(back[inside], image[inside], atol=0.01)


def test_whole_numbers_are_rounded_and_limited_to_the_files_type():
    made = _as_type(np.array([-1.6, 3.5, 254.4, 300.0]), np.dtype(np.uint8))
    assert made.tolist() == [0, 4, 254, 255]
    assert _as_type(np.array([1.25]), np.dtype(np.float32)).tolist() == [1.25]


def test_one_modality_fills_only_its_own_channel(brains, parts):
    method = parts.painter(brains, parts.VolumePainter)
    image = np.random.default_rng(1).integers(1, 90, (1, 12, 16, 8)).astype(np.int16)
    scan = Scan("one", image, np.diag([-1.0, -1.2, 3.0, 1.0]), ("flair",))
    fitted = fit_to(method, scan, modality=1)
    assert fitted.network.shape[1] == 2
    assert np.ptp(fitted.network[:, 0]) == 0
    assert np.ptp(fitted.network[:, 1]) > 1
    assert [type(codec) for codec in fitted.codecs] == [Codec]
    doubled = _through(method, fitted, lambda x: 2 * x[:, 1:])
    np.testing.assert_allclose(doubled, 2 * fitted.network[:, 1:])


def test_mistakes_are_told_and_nothing_is_written(run, flair, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SettingsError, match="cannot translate"):
        translate(run, flair, "flair", out, device="cpu")
    with pytest.raises(SettingsError, match="expected one of flair"):
        translate(run, flair, "t2", out, device="cpu")
    with pytest.raises(DataError, match="none of flair"):
        heal(run, {"t1": flair}, out, device="cpu")
    with pytest.raises(DataError):
        heal(run, tmp_path / "nothing.nii.gz", out, device="cpu")
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("here")
    with pytest.raises(RunError, match="not an empty folder"):
        heal(run, flair, out, device="cpu")
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_run_that_cannot_heal_says_who_can(liver, parts):
    with pytest.raises(SettingsError, match="Use a run of ant-gan"):
        parts.painter(liver).heal(torch.zeros(1, 1, 4, 4))
