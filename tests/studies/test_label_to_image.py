"""Label maps to images: what is refused, one scale of intensities, distances of one footing."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.scan import DataError
from scansmith.studies import label_to_image
from scansmith.studies.tables import Slice
from scansmith.workflow import prepare, train

LIVER = ["data.size=64,64", "data.split=0.5,0,0.5", "data.min_tumour_pixels=4"]


@pytest.fixture(scope="module")
def livers(tmp_path_factory):
    root = tmp_path_factory.mktemp("livers")
    return write_phantoms(root / "raw", "liver", 4, 1, (64, 64, 12))


def test_volumes_and_several_modalities_are_refused_and_both_are_named(tmp_path):
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (16, 16, 16))
    sets = ["data.size=16,16,16", "data.split=0.5,0,0.5", "data.modality=t1,flair"]
    store = prepare(tmp_path / "raw", tmp_path / "store", "mm-gan", sets=sets, workers=1)
    for work in (label_to_image.study, label_to_image.picture):
        with pytest.raises(DataError) as told:
            work(store, {})
        assert "found volumes (dims 3), expected slices (dims 2)" in str(told.value)
        assert "found 2 modalities (t1, flair), expected 1" in str(told.value)


def test_intensities_without_limits_are_refused_since_they_have_no_data_range(livers, tmp_path):
    sets = [*LIVER, "data.intensity=zscore"]
    store = prepare(livers, tmp_path / "store", "magan", sets=sets, workers=1)
    with pytest.raises(DataError, match="intensities from None to None, expected two limits"):
        label_to_image.study(store, {})


def test_a_window_of_minus_one_to_one_is_drawn_from_black_to_white(livers, tmp_path):
    sets = [*LIVER, "data.intensity=window"]
    store = prepare(livers, tmp_path / "store", "magan", sets=sets, workers=1)
    first = label_to_image.labelled_slices(store, "test")[0].image
    assert first.min() == -1
    shown = label_to_image.picture(store, {}, count=1)[:, 64:]  # labels, then the real slice
    np.testing.assert_array_equal(shown, np.uint8(255 * (first + 1) / 2))
    assert (shown[(first > -0.5) & (first < 0)] >= 63).all()  # above a quarter of the way
    assert label_to_image.study(store, {})["data_range"] == 2


def test_a_run_that_learned_from_test_patients_is_refused(tmp_path):
    write_phantoms(tmp_path / "raw", "heart", 4, 1, (32, 32, 8))
    sets = ["data.size=32,32", "data.intensity=minmax", "data.split=0.5,0,0.5", "method.patch=4"]
    stores = [
        prepare(tmp_path / "raw", tmp_path / f"store{seed}", "heart-gan",
                sets=[*sets, f"data.seed={seed}"], workers=1)
        for seed in (0, 1)
    ]  # fmt: skip
    assert set(stores[0].names("train")) & set(stores[1].names("test"))
    tiny = ["method.base=4", "method.patch=4", "train.steps=1"]
    train("heart-gan", tmp_path / "store0", tmp_path / "run", sets=tiny)
    runs = {"gan": [tmp_path / "run"]}
    assert label_to_image.picture(stores[0], runs, 1).any()
    for work in (label_to_image.study, label_to_image.picture):
        with pytest.raises(DataError, match=r"run: learned from 1 test patient\(s\) of the study"):
            work(stores[1], runs)


def test_ssim_counts_from_the_codecs_least_value():
    real, made = np.full((16, 16), 0.5, np.float32), np.zeros((16, 16), np.float32)
    one = Slice("a", "a", real, np.ones((16, 16), np.uint8))
    found = label_to_image.measured(one, made, (-1.0, 1.0))
    # 1.5 and 1 above black, both even: (2 * 1.5 + C1) / (1.5^2 + 1 + C1), C1 = (.01 * 2)^2.
    assert found["ssim"] == pytest.approx(3.0004 / 3.2504)
    assert found["ssim inside"] == pytest.approx(3.0004 / 3.2504)
    assert found["psnr"] == pytest.approx(10 * np.log10(4 / 0.25))
    assert found["mae inside"] == 0.5


def likeness(value, median, verdict):
    return {
        "value": value,
        "real_vs_real": {"median": 10.0, "interval": [6.0, 25.0]},
        "real_vs_synthetic": {"median": median, "interval": [5.0, 50.0]},
        "verdict": verdict,
    }


def result(control, gan):
    means = {
        key: {"mean": 2} for key in ("psnr", "ssim", "ssim inside", "mae", "mae inside", "mse")
    }
    return {
        "slices": {"test": 12},
        "test patients": list("abcd"),
        "data_range": 1.0,
        "made": {
            label_to_image.CONTROL: {**means, "frechet": [control]},
            "gan": {**means, "frechet": gan},
        },
    }


def test_what_stands_beside_real_against_real_is_of_halves_of_the_patients_too():
    """All slices are 5 apart, below the 10 of real halves; but halves of made slices are 30."""
    seeds = [likeness(4.0, 20.0, "close"), likeness(6.0, 40.0, "differs")]
    text = label_to_image.as_markdown(result(likeness(900.0, 950.0, "far"), seeds))
    assert "Halves of the patients, real against real: 10.0 (6.0 to 25.0); only the last" in text
    head, _, control, gan = text.splitlines()[2:]
    assert head.endswith("| Frechet, all slices | Frechet, halves |")
    assert control.endswith("| 900.0 | 950.0 (far) |")
    assert gan.endswith("| 5.0 | 30.0 (close, differs) |")
    near = label_to_image.as_markdown(
        result(likeness(900.0, 950.0, "far"), [likeness(1, 20, None)])
    )
    assert near.splitlines()[-1].endswith("| 1.0 | 20.0 (no verdict) |")


def test_without_patients_enough_for_halves_there_is_no_scale_and_why_is_said():
    alone = {**likeness(5.0, 0, None), "real_vs_real": None, "real_vs_synthetic": None}
    alone["reason"] = "1 real patients; 4 are needed to split them in halves"
    text = label_to_image.as_markdown(result(alone, [alone]))
    assert "No scale for the Frechet distances: 1 real patients; 4 are needed" in text
    assert text.splitlines()[-1].endswith("| 5.0 | - |")


def test_made_slices_that_are_real_ones_are_not_nearer_than_real_patients_are():
    """Both sets are of one kind. All 8 patients lie nearer to 8 others than 4 lie to 4."""
    rng = np.random.default_rng(0)
    real, made = ({f"{k}{n}": rng.normal(size=(6, 5)) for n in range(8)} for k in "ab")
    found = label_to_image.distance(real, made)
    among, matched = found["real_vs_real"]["median"], found["real_vs_synthetic"]["median"]
    assert found["value"] < 0.8 * among
    assert matched == pytest.approx(among, rel=0.2)
    assert found["verdict"] == "close"
