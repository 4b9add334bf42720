"""The guidance study: what segmenters of each modality find in slices with lesions."""

import json

import numpy as np
import pytest
import torch

from scansmith.data.layouts import find_layout
from scansmith.data.phantom import write_phantoms
from scansmith.data.write import open_writer
from scansmith.evaluate.segmentation import SegmenterNumbers
from scansmith.io.scans import read_scan
from scansmith.labels.table import LabelTable
from scansmith.scan import DataError, RunError
from scansmith.studies import lesion_guidance
from scansmith.studies.lesion_guidance import Asked, scores, segmenters, study
from scansmith.studies.registration import Shown
from scansmith.workflow import prepare

BRATS = LabelTable({0: "background", 1: "necrosis", 2: "oedema", 4: "enhancing"})


class Brighter:
    """A stand-in for a segmenter: a class where the image is bright."""

    def __init__(self, index=2):
        self.index = index

    def predict(self, images):
        return np.where(images[:, 0] > 0.5, self.index, 0).astype(np.uint8)


def shown(patient="a", lesion=2):
    """8 x 8: brain in the left half, a lesion of 4 pixels, which the first modality alone shows."""
    images = np.zeros((2, 8, 8), dtype=np.float32)
    images[:, :, :4] = 0.25
    labels = np.zeros((8, 8), dtype=np.uint8)
    labels[2:4, 1:3] = lesion
    images[0, 2:4, 1:3] = 0.75
    return Shown(patient, images, labels)


def test_scores_are_of_label_numbers_and_of_each_modality():
    row = scores(shown(), [Brighter(), Brighter()], ["flair", "t1"], BRATS)
    # flair: all is found. t1: nothing is: 4 pixels of 64 are wrong by 2, so 4 * 4 / 64 = 0.25.
    assert row["MSE"] == pytest.approx((0 + 0.25) / 2)
    assert row["Dice"] == pytest.approx((1 + 0) / 2, abs=1e-6)
    assert row["Dice, flair"] == 1
    assert row["Dice, t1"] == 0
    assert row["contrast, flair"] == pytest.approx(0.75 - 0.25)
    assert row["contrast, t1"] == 0


def test_a_label_of_another_class_counts_half_right_in_the_paper_s_dice_only():
    row = scores(shown(lesion=1), [Brighter(), Brighter()], ["flair", "t1"], BRATS)
    # flair: 2 sum(1 2) / (sum 1 + sum 4) = 4 / 5 for each pixel; t1: 0
    assert row["Dice"] == pytest.approx((0.8 + 0) / 2, abs=1e-5)
    assert row["Dice, flair"] == 1


def test_labels_count_as_the_values_that_files_have():
    row = scores(shown(lesion=3), [Brighter(2), Brighter(3)], ["flair", "t1"], BRATS)
    # Enhancing is the third structure and 4 in files. flair: 2 for 4, t1: nothing for 4.
    assert row["MSE"] == pytest.approx((4 * 2**2 / 64 + 4 * 4**2 / 64) / 2)
    assert row["Dice"] == pytest.approx((2 * 2 * 4 / (2**2 + 4**2) + 0) / 2, abs=1e-5)


def test_segmenters_of_another_batch_are_refused(tmp_path):
    write_phantoms(tmp_path / "brain", "brain", 2, 1, (32, 32, 8))
    sets = ["data.size=32,32", "data.fit=resize", "data.split=0.5,0,0.5", "data.modality=t1,flair"]
    store = prepare(
        tmp_path / "brain", tmp_path / "store", "registered-multimodal", sets=sets, workers=1
    )
    numbers = SegmenterNumbers(base=2, depth=1, threads=1)
    first = segmenters(store, Asked(steps=1, batch=2, numbers=numbers), tmp_path)
    again = segmenters(store, Asked(steps=1, batch=2, numbers=numbers), tmp_path)
    for one, same in zip(first, again, strict=True):
        kept = one.network.state_dict()
        assert all(torch.equal(kept[k], value) for k, value in same.network.state_dict().items())
    with pytest.raises(RunError, match="batch"):
        segmenters(store, Asked(steps=1, batch=3, numbers=numbers), tmp_path)


def test_a_set_without_lesions_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"empty: no slice shows a lesion of 6 pixels"):
        study({"empty": []}, [], None, Asked(least_lesion=6))


def test_the_command_measures_sets_beside_the_stores_patients(tmp_path, capsys):
    write_phantoms(tmp_path / "brain", "brain", 3, 1, (32, 32, 8))
    for seed in (7, 8):
        write_phantoms(tmp_path / f"made{seed}", "brain", 1, seed, (32, 32, 8))
    sets = ["data.size=32,32", "data.fit=resize", "data.split=0.6,0,0.4"]
    store = prepare(
        tmp_path / "brain", tmp_path / "store", "registered-multimodal", sets=sets, workers=1
    )
    out = tmp_path / "out"
    made = f"{tmp_path / 'made7'},{tmp_path / 'made8'}"
    words = [str(store.path), "--out", str(out), "--steps", "2", f"4seg={made}", "--slices", "2"]
    words += ["--least-lesion", "1", "--set", "numbers.base=2", "--set", "numbers.depth=1"]
    lesion_guidance.main(words)
    found = json.loads((out / "study.json").read_text())["sets"]
    assert set(found) == {"real", "4seg"}
    assert found["4seg"]["patients"] == 2
    assert "| 4seg |" in capsys.readouterr().out
    # Both sets name their only case alike; still they are two.
    assert found["4seg"]["slices"] >= 2
    # enhancing is value 4 in files and the fourth index here: segmenters and labels agree on it
    assert store.table.values == (0, 1, 2, 4)
    slices = lesion_guidance.synthetic_slices(
        tmp_path / "made7", store, lesion_guidance.Options(slices=8)
    )
    assert max(one.labels.max() for one in slices) <= 3
    # nnU-Net numbers without gaps: enhancing is 3 in its files, and still the fourth index here.
    files = {case.case: case for case in find_layout(tmp_path / "made7").cases}
    writer = open_writer("nnunet", tmp_path / "anew", store.facts.modalities, store.table)
    for case in files.values():
        writer.write(read_scan(case))
    writer.close()
    anew = lesion_guidance.synthetic_slices(
        tmp_path / "anew", store, lesion_guidance.Options(slices=8)
    )
    for one, other in zip(slices, anew, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
