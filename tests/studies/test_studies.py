"""The studies on tiny real parts: measures by hand, tables that say what was found."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scansmith.data.phantom import write_phantoms
from scansmith.scan import RunError
from scansmith.studies import label_to_image, tumour_painting
from scansmith.studies.contrast import Contrast, contrast_of, textures
from scansmith.studies.contrast import fills as fills_of
from scansmith.studies.evolution import LABEL, evolution
from scansmith.studies.tables import Slice, by_scan, cell, over_scans, table
from scansmith.train.pictures import GAP, TITLE, save_grid
from scansmith.workflow import SHOWN, prepare, train

ORGAN, LESION = 1, 2


def liver_slice(value=60.0, case="liver_1"):
    image = np.full((16, 16), 100.0, np.float32)
    labels = np.ones((16, 16), np.uint8)
    labels[4:8, 4:8] = LESION
    image[4:8, 4:8] = value
    return Slice(case, case, image, labels)


def test_contrast_counts_scans_alike_however_many_slices_they_have():
    # Scan 1: three slices of contrast 40; scan 2: one of 20. Mean over scans: 30.
    slices = [liver_slice(60.0)] * 3 + [liver_slice(80.0, "liver_2")]
    contrast = contrast_of(slices, ORGAN, LESION)
    assert contrast.below == pytest.approx(30.0)
    assert contrast.sd == 0.0


def test_fills_are_what_their_names_say():
    one = liver_slice(70.0)
    fills = fills_of(Contrast(25.0, 0.0), ORGAN, LESION)
    inside = one.labels == LESION
    values = {name: set(fill(one)[inside].tolist()) for name, fill in fills.items()}
    assert values == {
        "fill, liver mean": {100.0},
        "fill, liver mean - contrast": {75.0},
        "fill + noise": {75.0},  # noise of sd 0
        "oracle mean": {70.0},
    }
    for fill in fills.values():
        np.testing.assert_array_equal(fill(one)[~inside], one.image[~inside])


def test_scores_inside_the_tumour_do_not_see_the_rest():
    one = liver_slice(60.0)
    made = np.where(one.labels == LESION, 70.0, 0.0).astype(np.float32)
    scores = tumour_painting.scores(one, made, LESION, data_range=200.0)
    assert scores["inside mae"] == pytest.approx(10.0)
    assert scores["inside bias"] == pytest.approx(10.0)
    assert scores["inside psnr"] == pytest.approx(20 * np.log10(200 / 10))
    assert scores["slice raw mae"] > 80
    assert scores["slice composite mae"] < scores["slice raw mae"]


def test_differences_pair_scans_of_the_same_run():
    magan = [{"a/a": {"inside psnr": 20.0}, "b/b": {"inside psnr": 10.0}}]
    other = [{"a/a": {"inside psnr": 18.0}, "b/b": {"inside psnr": 9.0}}]
    found = tumour_painting.differences(magan, other)
    assert found["inside psnr"]["mean"] == 1.5  # (2 + 1) / 2
    elsewhere = [{"c/c": {"inside psnr": 0.0}}]
    assert tumour_painting.differences(magan, elsewhere) is None


def test_textures_are_of_large_tumours_alone_and_a_scan_counts_once():
    labels = np.zeros((40, 40), np.uint8)
    labels[5:35, 5:35] = LESION
    small = np.zeros_like(labels)
    small[5:15, 5:15] = LESION
    board = np.indices((40, 40)).sum(axis=0) % 2 * 2.0 - 1
    slices = [Slice(c, c, board, x) for c, x in (("a", labels), ("a", labels), ("b", small))]
    assert list(textures(slices, None, LESION)) == ["a/a"]
    found = textures(slices, lambda one: 3 * one.image, LESION)["a/a"]
    assert found["sd"] == pytest.approx(3.0, rel=0.02)
    assert found["mesh"] == pytest.approx(1.0, abs=0.01)  # of period 2, so of 4 too


def test_class_means_know_each_structures_mean():
    one = liver_slice(60.0)
    filled = label_to_image.class_means([one], 3)(one)
    np.testing.assert_allclose(filled, one.image)  # constant structures have no spread


def test_a_scan_counts_once_however_many_slices_it_has():
    slices = [liver_slice(case="a")] * 3 + [liver_slice(case="b")]
    scans = by_scan(slices, [{"mae": 1.0}, {"mae": 2.0}, {"mae": 3.0}, {"mae": 6.0}])
    assert scans == {"a/a": {"mae": 2.0}, "b/b": {"mae": 6.0}}
    assert over_scans([scans])["mae"]["mean"] == 4.0  # over slices it would be 3


def test_a_cell_shows_the_mean_with_its_interval():
    assert cell({"mean": 18.304, "interval": [17.0, 19.5]}) == "18.30 (17.00 to 19.50)"
    assert cell({"mean": 0.65, "interval": None}) == "0.650"
    assert cell({"mean": None}) == "-"


def test_a_table_is_markdown():
    assert table(["a", "b"], [["1", "2"]]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]


def test_tumour_painting_measures_a_run_beside_the_baselines(tmp_path, capsys):
    write_phantoms(tmp_path / "liver", "liver", 6, 1, (64, 64, 12))
    store = prepare(
        tmp_path / "liver",
        tmp_path / "store",
        "magan",
        sets=["data.size=64,64", "data.split=0.5,0,0.5", "data.min_tumour_pixels=4"],
    )
    sets = ["train.steps=1", "method.base=4", "method.critic_crop=0"]
    run = train("magan", store.path, tmp_path / "run", sets=sets)
    out = tmp_path / "out"
    tumour_painting.main([f"tiny={run}", "--out", str(out), "--least-pixels", "4"])
    found = json.loads((out / "study.json").read_text())
    assert set(found["painted"]) >= {"oracle mean", "tiny"}
    assert found["painted"]["oracle mean"]["inside bias"]["mean"] == pytest.approx(0, abs=1e-3)
    assert found["inserted"]["tiny"]["slices"] > 0
    assert "| tiny |" in capsys.readouterr().out
    assert (out / "study.png").is_file()


def test_label_to_image_measures_a_run_beside_the_control(tmp_path, capsys):
    write_phantoms(tmp_path / "heart", "heart", 4, 1, (32, 32, 8))
    small = ["data.size=32,32", "data.split=0.5,0,0.5", "method.base=4", "method.patch=4"]
    store = prepare(tmp_path / "heart", tmp_path / "store", "heart-gan", sets=small)
    run = train("heart-gan", store.path, tmp_path / "run", sets=[*small, "train.steps=1"])
    out = tmp_path / "out"
    label_to_image.main([str(store.path), f"tiny={run}", "--out", str(out)])
    found = json.loads((out / "study.json").read_text())
    assert 0 <= found["made"]["tiny"]["mae"]["mean"] <= 1
    assert "| class means + noise |" in capsys.readouterr().out
    assert (out / "study.png").is_file()


def test_an_evolution_shows_one_sample_at_each_step(tmp_path):
    for step, grey in ((1, 0.0), (10, 1.0)):
        made = torch.full((SHOWN, 1, 128, 128), grey)
        real = torch.linspace(0, 1, SHOWN * 128 * 128).view(SHOWN, 1, 128, 128)
        save_grid({"made": made, "real": real}, tmp_path / "samples" / f"step_{step:06d}.png")
    picture = np.asarray(evolution(tmp_path, row=1))
    first = TITLE + GAP
    assert (picture[first : first + 128, LABEL : LABEL + 128] == 0).all()
    second = first + 128 + GAP
    assert (picture[second : second + 128, LABEL : LABEL + 128] == 255).all()


def test_a_run_without_grids_has_no_evolution(tmp_path):
    with pytest.raises(RunError, match=r"no samples/step_\*\.png"):
        evolution(tmp_path)
