"""The studies on tiny real parts: measures by hand, tables that say what was found."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from scansmith.data.phantom import write_phantoms
from scansmith.scan import RunError
from scansmith.studies import label_to_image, tumour_painting
from scansmith.studies.contrast import Contrast, contrast_of, textures
from scansmith.studies.contrast import fills as fills_of
from scansmith.studies.evolution import LABEL, evolution
from scansmith.studies.tables import Slice, by_scan, cell, over_scans, save_study, signed, table
from scansmith.train.pictures import GAP, TITLE, rows_of_grid, save_grid
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
    scores = tumour_painting.scores(one, made, LESION, 200.0, float(one.image.min()))
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


def test_runs_of_one_seed_stand_beside_each_other(tmp_path):
    def run(name, seed):
        (tmp_path / name).mkdir()
        record = {"settings": {"train": {"seed": seed}}}
        (tmp_path / name / "run.json").write_text(json.dumps(record))
        return tmp_path / name

    runs = {"a": [run(f"a{n}", n) for n in (0, 1, 2)], "b": [run(f"b{n}", n) for n in (2, 1)]}
    found = {"a": ["a0", "a1", "a2"], "b": ["b2", "b1"]}  # seed 0 of b failed
    assert tumour_painting.of_one_seed(runs, found, "a", "b") == (["a1", "a2"], ["b1", "b2"])
    # trained under one seed, or under other seeds: in their order
    runs["b"] = [run("c", 7), run("d", 8)]
    assert tumour_painting.of_one_seed(runs, found, "a", "b") == (found["a"], found["b"])
    runs["b"] = [run("e", 1), run("f", 1)]
    assert tumour_painting.of_one_seed(runs, found, "a", "b") == (found["a"], found["b"])


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


def test_a_patient_may_have_a_slash_in_the_name():
    row = {"mae": 1.0}
    told = over_scans([{"site/p0/c0": row, "site/p0/c1": row, "site/p1/c2": {"mae": 4.0}}])["mae"]
    assert (told["patients"], told["cases"], told["mean"]) == (2, 3, 2.0)


def test_a_scan_with_a_perfect_slice_is_left_out_of_a_mean_and_told():
    slices = [liver_slice(case="a")] * 2 + [liver_slice(case="b"), liver_slice(case="c")]
    rows = [{"psnr": np.inf}, {"psnr": 20.0}, {"psnr": 30.0}, {"psnr": np.nan}]
    told = over_scans([by_scan(slices[:3], rows[:3])])["psnr"]
    assert (told["mean"], told["cases"], told["infinite"]) == (30.0, 1, 1)
    assert cell(told) == "30.00, 1 infinite left out"
    # What has no value at all is left out too, but is no infinite one.
    undefined = over_scans([by_scan(slices[2:3], rows[2:3]) | {"c/c": {"psnr": np.nan}}])["psnr"]
    assert (undefined["left_out"], undefined["infinite"]) == (1, 0)
    assert cell(undefined) == "30.00"


def strict(path):
    """JSON as other programs read it: without NaN and Infinity."""

    def refuse(word):
        raise ValueError(f"{path}: holds {word}, which is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_a_study_is_written_without_nan_and_infinity(tmp_path):
    found = {"psnr": [float("inf"), 20.5], "told": {"mean": float("nan"), "cases": 0}}
    save_study(tmp_path / "out", found, "# none\n")
    expected = {"psnr": [None, 20.5], "told": {"mean": None, "cases": 0}}
    assert strict(tmp_path / "out" / "study.json") == expected
    assert (tmp_path / "out" / "study.md").read_text() == "# none\n"


def test_a_cell_shows_the_mean_with_its_interval():
    assert cell({"mean": 18.304, "interval": [17.0, 19.5]}) == "18.30 (17.00 to 19.50)"
    assert cell({"mean": 0.65, "interval": None}) == "0.650"
    assert cell({"mean": None}) == "-"
    # Who reads "0.000" beside "helps" must not wonder; what is no more than rounding is 0.
    assert cell({"mean": 0.0004, "interval": [0.0002, 0.0071]}) == "0.0004 (0.0002 to 0.0071)"
    assert cell({"mean": -1e-17, "interval": [-0.25, 0.25]}) == "0.000 (-0.250 to 0.250)"
    assert [signed(v) for v in (0.0124, -0.0003, 0.0, 1e-17)] == [
        "+0.012",
        "−0.0003",
        *["0.000"] * 2,
    ]


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


def test_tumour_painting_of_even_tumours_is_written_as_json(tmp_path):
    """The oracle fills an even tumour without any error: a PSNR of infinity, a spread of none."""
    write_phantoms(tmp_path / "liver", "liver", 4, 1, (64, 64, 12))
    for path in sorted((tmp_path / "liver").rglob("imagesTr/*.nii.gz")):
        image = nibabel.load(path)
        labels = path.parent.parent / "labelsTr" / path.name.replace("_0000", "")
        tumour = np.asarray(nibabel.load(labels).dataobj) == LESION
        values = np.where(tumour, 60, np.asarray(image.dataobj)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, image.affine), path)
    size = ["data.size=64,64", "data.split=0.5,0,0.5", "data.min_tumour_pixels=4"]
    store = prepare(tmp_path / "liver", tmp_path / "store", "magan", sets=size)
    sets = ["train.steps=1", "method.base=4", "method.critic_crop=0"]
    run = train("magan", store.path, tmp_path / "run", sets=sets)
    out = tmp_path / "out"
    tumour_painting.main([f"tiny={run}", "--out", str(out), "--least-pixels", "4"])
    found = strict(out / "study.json")
    assert found["painted"]["oracle mean"]["inside mae"]["mean"] == pytest.approx(0, abs=1e-3)


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


@pytest.mark.parametrize("samples", [1, 2, 3, 8])
def test_a_grid_of_any_number_of_samples_is_cut_between_them(tmp_path, samples):
    # Sample n is light in its upper n + 1 lines alone, so that a strip tells which one it is.
    made = torch.zeros(samples, 1, 128, 128)
    for n in range(samples):
        made[n, :, : n + 1] = 1.0
    for step in (1, 10):
        save_grid({"made": made}, tmp_path / "samples" / f"step_{step:06d}.png")
    for row in range(samples):
        picture = np.asarray(evolution(tmp_path, row))
        assert picture.shape == (TITLE + GAP + 2 * (128 + GAP), LABEL + 128 + GAP, 3)
        for top in (TITLE + GAP, TITLE + GAP + 128 + GAP):
            strip = picture[top : top + 128, LABEL : LABEL + 128]
            assert (strip[: row + 1] == 255).all()
            assert (strip[row + 1 :] == 0).all()
    with pytest.raises(RunError, match=f"row {samples} of a grid with {samples}, expected 0 to"):
        evolution(tmp_path, row=samples)
    with pytest.raises(RunError, match="row -1"):
        evolution(tmp_path, row=-1)


def test_volumes_of_uneven_sides_are_cut_between_samples_too(tmp_path):
    """Panels are not equally high, and the labels' empty places are no gaps."""
    volumes = torch.rand(2, 1, 20, 40, 30)
    save_grid({"labels": torch.zeros(2, 24, 24).long(), "made": volumes}, tmp_path / "grid.png")
    rows = rows_of_grid(np.asarray(Image.open(tmp_path / "grid.png")))
    assert len(rows) == 2
    assert rows[0].shape == rows[1].shape


def test_a_picture_that_is_no_grid_has_no_evolution(tmp_path):
    (tmp_path / "samples").mkdir()
    white = Image.fromarray(np.full((200, 100, 3), 255, np.uint8))
    white.save(tmp_path / "samples" / "step_000001.png")
    with pytest.raises(RunError, match="is no sample grid"):
        evolution(tmp_path)


def test_a_run_without_grids_has_no_evolution(tmp_path):
    with pytest.raises(RunError, match=r"no samples/step_\*\.png"):
        evolution(tmp_path)
