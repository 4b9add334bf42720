"""Segmenters: the loss by hand, what is seen how often, training that finds and that repeats."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from scansmith.evaluate.overlap import dice
from scansmith.evaluate.segmentation import (
    Labelled,
    Segmentation,
    SegmenterNumbers,
    shuffled,
    together,
    train_segmenter,
)
from scansmith.scan import Batch, DataError, RunError, SettingsError
from scansmith.settings import Augmentation
from scansmith.train.checkpoint import load_weights

STRUCTURES = ("background", "disc")
SMALL = SegmenterNumbers(base=4, depth=2, learning_rate=1e-2, ema=0.9, device="cpu", threads=1)


def discs(count=12, side=20, seed=0):
    """Bright discs of random place and size, in noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    images, labels = [], []
    for _ in range(count):
        cy, cx = rng.uniform(6, side - 6, 2)
        disc = (y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(3, 5) ** 2
        images.append((disc + 0.2 * rng.normal(size=disc.shape))[None].astype(np.float32))
        labels.append(disc.astype(np.uint8))
    return Labelled(images, labels)


def trained(samples, steps=3, seed=0, **options):
    return train_segmenter(
        samples,
        dims=2,
        structures=STRUCTURES,
        channels=1,
        steps=steps,
        seed=seed,
        numbers=options.pop("numbers", SMALL),
        **options,
    )


def test_the_learning_rate_falls_to_zero_by_the_power():
    game = Segmentation(torch.nn.Identity(), SegmenterNumbers(fall=0.9), 100, None)
    rate = game.players()[0].rate
    assert rate(1) == 1.0
    assert rate(51) == pytest.approx(math.exp(0.9 * math.log(0.5)))
    assert 0 < rate(100) < 0.02


def test_an_epoch_takes_every_sample_once_and_the_next_in_another_order():
    draw = shuffled(discs(6), batch=2, seed=0)
    epochs = [[n for step in range(e, e + 3) for n in draw(step).samples] for e in (1, 4, 7)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(6))] * 3
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert draw(5).samples == shuffled(discs(6), 2, 0)(5).samples  # of the step alone
    assert any(draw(n).samples != shuffled(discs(6), 2, 1)(n).samples for n in range(1, 7))


def test_adding_synthetic_samples_takes_no_real_one_away():
    real, synthetic = shuffled(discs(5), 2, 0), shuffled(discs(9, seed=1), 2, 0)
    both = together(real, synthetic)
    for step in range(1, 8):
        torch.testing.assert_close(both(step).image[:2], real(step).image)
        torch.testing.assert_close(both(step).labels[2:], synthetic(step).labels)


def test_a_batch_is_what_the_loop_takes():
    batch = shuffled(discs(3), 2, 0)(1)
    assert batch.image.dtype == torch.float32
    assert batch.labels.dtype == torch.int64
    assert batch.image.shape == (2, 1, 20, 20)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="no sample to learn from"):
        shuffled(Labelled([], []), 2, 0)


def test_a_segmenter_finds_what_it_learned_to_find():
    held_out = discs(8, seed=9)
    found = trained(shuffled(discs(), 4, 0), steps=40).predict(np.stack(held_out.images))
    scores = [
        dice(true, pred, STRUCTURES)["disc"]
        for true, pred in zip(held_out.labels, found, strict=True)
    ]
    assert found.dtype == np.uint8
    assert np.mean(scores) > 0.85


def test_training_repeats_under_its_seed_and_differs_under_another():
    def weights(seed):
        torch.rand(seed + 1)  # whatever was drawn before
        return torch.cat(
            [p.flatten() for p in trained(shuffled(discs(), 2, 0), seed=seed).network.parameters()]
        )

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_kidneys_are_not_mirrored_left_to_right():
    options = dict(dims=2, channels=1, steps=1, seed=0, numbers=SMALL)
    options["structures"] = ("background", "left kidney", "right kidney")
    with pytest.raises(SettingsError, match=r"axis 1, .*: left kidney, right kidney\."):
        train_segmenter(pytest.fail, augment=Augmentation(flips=(0, 1)), **options)
    train_segmenter(shuffled(discs(4), 2, 0), augment=Augmentation(flips=(0,)), **options)


def test_precision_does_not_change_what_is_learned_from():
    drawn = shuffled(discs(4, side=64), 4, 0)(1)
    seen = []
    for on in (False, True):
        network = torch.nn.Identity()
        network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        game = Segmentation(network, SMALL, 10, Augmentation(flips=(1,)), (1.0, 2.0))
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
            game.play({"labelled": drawn})
    assert torch.equal(*seen)


def test_the_averaged_weights_are_used_unless_there_are_none(tmp_path):
    for decay in (0.9, 0.0):
        run = tmp_path / str(decay)
        numbers = SMALL.model_copy(update={"ema": decay})
        segmenter = trained(shuffled(discs(), 2, 0), run=run, numbers=numbers)
        used = segmenter.network.state_dict()["end.weight"]
        last = load_weights(run)["network.end.weight"]
        average = load_weights(run, ema=True)["network.end.weight"]
        assert torch.equal(used, average)
        assert torch.equal(average, last) == (decay == 0)


def test_a_finished_folder_is_read_and_not_trained_again(tmp_path):
    first = trained(shuffled(discs(), 2, 0), run=tmp_path / "run", record={"data": "discs"})

    def nothing(step: int) -> Batch:
        raise AssertionError("trained again")

    again = trained(nothing, run=tmp_path / "run", record={"data": "discs"})
    image = np.stack(discs(4).images)
    np.testing.assert_array_equal(first.predict(image), again.predict(image))


def test_a_folder_of_another_training_is_refused(tmp_path):
    trained(shuffled(discs(), 2, 0), run=tmp_path / "run", record={"data": "discs"})
    with pytest.raises(RunError, match=r"samples\.data was \"discs\" and is now \"squares\""):
        trained(shuffled(discs(), 2, 0), run=tmp_path / "run", record={"data": "squares"})
    with pytest.raises(RunError, match=r"training\.steps was 3 and is now 4"):
        trained(shuffled(discs(), 2, 0), steps=4, run=tmp_path / "run", record={"data": "discs"})


def test_volumes_and_two_modalities_are_segmented_too():
    rng = np.random.default_rng(0)
    data = Labelled(
        [rng.normal(size=(2, 6, 9, 8)).astype(np.float32) for _ in range(2)],
        [rng.integers(0, 3, (6, 9, 8)).astype(np.uint8) for _ in range(2)],
    )
    segmenter = train_segmenter(
        shuffled(data, 1, 0),
        dims=3,
        structures=("background", "a", "b"),
        channels=2,
        steps=2,
        seed=0,
        spacing_mm=(3.0, 1.0, 1.0),
        numbers=SMALL,
    )
    assert segmenter.predict(np.stack(data.images)).shape == (2, 6, 9, 8)


def test_large_scans_are_predicted_in_parts_alike(monkeypatch):
    segmenter = trained(shuffled(discs(), 2, 0))
    image = np.stack(discs(5).images)
    whole = segmenter.predict(image)
    monkeypatch.setattr(sys.modules[Labelled.__module__], "CHUNK", 2 * 20 * 20)
    np.testing.assert_array_equal(segmenter.predict(image), whole)
