"""Classifiers: classes from label maps, training that finds and that repeats, scores by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scansmith.evaluate.classification import (
    Classification,
    ClassifierNumbers,
    Judge,
    balanced,
    train_classifier,
)
from scansmith.evaluate.classification_scores import scores, scores_by_patient
from scansmith.evaluate.lesion_rule import LesionRule
from scansmith.evaluate.segmentation import Labelled, shuffled
from scansmith.nets.classifier import VGG16
from scansmith.scan import Batch, DataError, RunError, SettingsError

SMALL = ClassifierNumbers(
    network="alexnet", width=1 / 8, learning_rate=1e-3, ema=0.9, device="cpu", threads=1
)
RULE = LesionRule((2,), least_pixels=3)


def slices(count=24, seed=0, side=64):
    """Noise in an organ; every second slice has a bright disc, labelled 2."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    images, labels = [], []
    for n in range(count):
        organ = (y - 32) ** 2 + (x - 32) ** 2 < 28**2
        map_ = organ.astype(np.uint8)
        if n % 2:
            cy, cx = rng.uniform(20, 44, 2)
            map_[(y - cy) ** 2 + (x - cx) ** 2 < 49] = 2
        image = 0.3 * organ + 1.0 * (map_ == 2) + 0.1 * rng.normal(size=map_.shape)
        images.append(image[None].astype(np.float32))
        labels.append(map_)
    return Labelled(images, labels)


def trained(samples, steps=3, seed=0, **options):
    options = {"numbers": SMALL, "augment": False} | options
    return train_classifier(samples, RULE, channels=1, steps=steps, seed=seed, **options)


def test_a_slice_with_enough_lesion_is_abnormal_and_one_with_a_speck_is_neither():
    labels = torch.zeros(4, 5, 5, dtype=torch.int64)
    labels[:, :3] = 1  # the organ is no lesion
    labels[1, 0, :3] = 2
    labels[2, 0, :2] = 2
    labels[3, 4, 4] = 2
    assert RULE.classes(labels).tolist() == [0, 1, -1, -1]
    assert LesionRule((2,)).classes(labels).tolist() == [0, 1, 1, 1]
    data = Labelled([np.zeros((1, 5, 5))] * 4, [one.numpy().astype(np.uint8) for one in labels])
    assert RULE.of_samples(data).tolist() == [0, 1, -1, -1]
    assert len(RULE.clear(data)) == 2
    assert len(RULE.side(data, 1)) == 1
    assert RULE.side(data, 1).labels[0].sum() == 12 + 3 * 2  # 15 organ pixels, 3 of them lesion
    assert RULE.of_samples(Labelled([], [])).tolist() == []


def test_the_lesion_is_found_by_name():
    structures = ("background", "liver", "tumour", "vessel")
    assert LesionRule.of(structures).lesion == (2,)
    for name in ("pancreatic tumor", "peritumoral edema", "hemorrhage", "lung cancer"):
        assert LesionRule.of(("background", "organ", name)).lesion == (2,)
    assert LesionRule.of(structures, ["vessel"], 5) == LesionRule((3,), 5)
    with pytest.raises(DataError, match="kidney"):
        LesionRule.of(structures, ["kidney"])
    for wrong in ((), (0,)):
        with pytest.raises(SettingsError, match="Name the lesion"):
            LesionRule(wrong)


def test_batches_are_half_normal_and_half_abnormal_however_rare_either_is():
    data = slices(20)
    rare = Labelled(data.images[:11], [*data.labels[:10:2], *data.labels[1:2], *data.labels[:10:2]])
    draw = balanced(rare, RULE, batch=6, seed=0)
    for step in range(1, 6):
        assert RULE.classes(draw(step).labels).tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(SettingsError, match="batch: found 3"):
        balanced(data, RULE, 3, 0)
    with pytest.raises(DataError, match="found no abnormal sample of 2"):
        balanced(Labelled(data.images[:2], data.labels[:1] * 2), RULE, 2, 0)


def test_the_loss_is_of_clear_samples_alone():
    game = Classification(VGG16(1, 2, width=1 / 64), RULE, SMALL, 10, None)
    values = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [9.0, -9.0]])
    # -log 1/2 and -log 1/4; the third is unclear.
    scene = {"values": values, "classes": torch.tensor([0, 1, -1])}
    assert float(game.loss(scene)["cross entropy"]) == pytest.approx(
        (math.log(2) + math.log(4)) / 2
    )
    scene["classes"] = torch.tensor([-1, -1, -1])
    assert float(game.loss(scene)["cross entropy"]) == 0


def test_a_classifier_finds_what_it_learned_to_find():
    judge = trained(balanced(slices(), RULE, 8, 0), steps=40)
    held_out = slices(20, seed=9)
    found = scores(RULE.of_samples(held_out), judge.predict(np.stack(held_out.images)))
    assert found["auc"] > 0.9
    assert found["accuracy"] > 0.8


def test_classes_are_those_of_the_maps_before_augmentation():
    """A lesion that is moved out of the picture does not turn a slice into a normal one."""
    game = Classification(VGG16(1, 2, width=1 / 64), RULE, SMALL, 10, None)
    data = slices(2)
    batch = shuffled(data, 2, 0)(1)
    assert sorted(game.play({"labelled": batch})["classes"].tolist()) == [0, 1]


def test_training_repeats_under_its_seed_and_differs_under_another():
    def weights(seed):
        torch.rand(seed + 1)  # whatever was drawn before
        network = trained(balanced(slices(4), RULE, 2, 0), seed=seed, augment=True).network
        return torch.cat([p.flatten() for p in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_a_folder_goes_on_and_refuses_another_training(tmp_path):
    first = trained(balanced(slices(4), RULE, 2, 0), run=tmp_path / "run", record={"data": "discs"})

    def nothing(step: int) -> Batch:
        raise AssertionError("trained again")

    again = trained(nothing, run=tmp_path / "run", record={"data": "discs"})
    image = np.stack(slices(4).images)
    np.testing.assert_array_equal(first.predict(image), again.predict(image))
    with pytest.raises(RunError, match=r"rule\.least_pixels was 3 and is now 1"):
        train_classifier(
            nothing,
            LesionRule((2,)),
            channels=1,
            steps=3,
            seed=0,
            numbers=SMALL,
            augment=False,
            run=tmp_path / "run",
            record={"data": "discs"},
        )


def test_samples_that_are_no_slices_or_too_small_are_refused():
    small = slices(4, side=48)
    with pytest.raises(DataError, match="found samples of 48 x 48, expected slices of 63 pixels"):
        trained(balanced(small, RULE, 2, 0))
    volumes = Labelled(
        [np.zeros((1, 4, 64, 64), np.float32)] * 2,
        [np.full((4, 64, 64), value, np.uint8) for value in (1, 2)],
    )
    with pytest.raises(DataError, match="found samples of 4 x 64 x 64, expected slices"):
        trained(balanced(volumes, RULE, 2, 0))


def test_probabilities_are_those_of_being_abnormal():
    class Sure(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, image):
            return torch.stack([torch.zeros(len(image)), image.flatten(1).amax(dim=1)], dim=1)

    images = np.array([0.0, math.log(3)], np.float32).reshape(2, 1, 1, 1)
    assert Judge(Sure(), RULE).predict(images) == pytest.approx([0.5, 0.75])
    assert Judge(Sure(), RULE).predict(images[:0]).shape == (0,)


def test_scores_by_hand():
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    chance = np.array([0.9, 0.8, 0.5, 0.2, 0.7, 0.4, 0.3, 0.1, 0.1, 0.0])
    # Called abnormal: .9, .8, .5 rightly and .7 wrongly; missed: .2.
    found = scores(truth, chance)
    assert found["accuracy"] == 0.8
    assert found["precision"] == 0.75
    assert found["recall"] == 0.75
    assert found["f1"] == pytest.approx(0.75)
    # Of 24 pairs the abnormal one is higher: .9 and .8 over 6 each, .5 over 5, .2 over 3.
    assert found["auc"] == pytest.approx(20 / 24)


def test_measures_without_a_value_are_none():
    nothing = scores(np.zeros(3, int), np.full(3, 0.1))
    assert nothing == {"accuracy": 1, "precision": None, "recall": None, "f1": None, "auc": None}
    missed = scores(np.array([1, 0]), np.array([0.4, 0.1]))
    assert missed == {"accuracy": 0.5, "precision": None, "recall": 0, "f1": 0, "auc": 1}


def test_slices_that_cannot_be_scored_are_refused():
    for truth, chance, text in (
        (np.array([1, -1]), np.array([0.1, 0.2]), "unclear slices"),
        (np.array([1, 0]), np.array([0.1, np.nan]), "no numbers"),
        (np.array([1, 0]), np.array([0.1]), r"\(2,\) classes and \(1,\) probabilities"),
        (np.array([]), np.array([]), "a slice at least"),
    ):
        with pytest.raises(DataError, match=text):
            scores(truth, chance)
    with pytest.raises(DataError, match="2 slices and 1 patients' names"):
        scores_by_patient(np.array([1, 0]), np.array([0.1, 0.2]), ["a"])


def test_each_patient_is_scored_and_patients_as_wholes():
    truth = np.array([1, 0, 0, 0, 1, 1])
    chance = np.array([0.9, 0.2, 0.6, 0.1, 0.3, 0.4])
    found = scores_by_patient(truth, chance, ["a", "a", "b", "b", "c", "c"])
    assert found["patients"]["a"]["accuracy"] == 1
    assert found["patients"]["b"] == {
        **{"accuracy": 0.5, "precision": 0, "recall": None, "f1": 0, "auc": None},
        **{"slices": 2, "abnormal": 0},
    }
    assert found["patients"]["c"]["recall"] == 0
    assert found["slices"]["accuracy"]["value"] == pytest.approx(3 / 6)
    # a .9 abnormal, b .6 normal, c .4 abnormal: one of three right, one of two pairs in order.
    assert found["whole_patients"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert found["whole_patients"]["auc"]["value"] == 0.5
    low, high = found["slices"]["accuracy"]["interval"]
    assert low <= 1 / 6  # c alone or nearly so: patients are drawn, not slices
    assert high >= 5 / 6


def test_a_patient_with_specks_alone_is_neither_normal_nor_abnormal():
    truth, chance = np.array([0, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2])
    names = ["speck", "speck", "both", "none"]
    found = scores_by_patient(truth, chance, names, unclear={"speck", "both", "specks alone"})
    # Of "both" and "none" both are right; "speck" (.9, not abnormal) would be wrong.
    assert found["whole_patients"]["accuracy"]["value"] == 1
    assert found["unclear_patients"] == 2
    assert found["slices"]["accuracy"]["value"] == pytest.approx(3 / 4)
    nobody = scores_by_patient(truth[:2], chance[:2], names[:2], unclear={"speck"})
    assert nobody["whole_patients"]["auc"] == {"value": None, "interval": None}


def test_intervals_come_from_patients_and_repeat():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    chance = np.clip(0.5 + 0.3 * (truth - 0.5) + 0.2 * rng.normal(size=200), 0, 1)
    names = [f"p{n // 10}" for n in range(200)]
    found = scores_by_patient(truth, chance, names, seed=1)
    assert found == scores_by_patient(truth, chance, names, seed=1)
    accuracy = found["slices"]["accuracy"]
    assert accuracy["interval"][0] < accuracy["value"] < accuracy["interval"][1]
    # Slices of a patient are independent here: about the binomial's width.
    half = 1.96 * math.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 200)
    assert accuracy["interval"][1] - accuracy["interval"][0] == pytest.approx(2 * half, rel=0.35)
    alone = scores_by_patient(truth, chance, ["one"] * 200)
    assert alone["slices"]["accuracy"]["interval"] is None
