"""The samples of a mix: what batches hold, lesions drawn more often, copies, resuming."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scansmith.evaluate.segmentation import Labelled, SegmenterNumbers, train_segmenter
from scansmith.scan import DataError
from scansmith.settings import Augmentation
from scansmith.studies.mix import Plan
from scansmith.studies.mixed import Favour, enhanced, favoured, mixed


def flat(count, value=0.0):
    """Samples whose pixels say who they are."""
    images = [np.full((1, 8, 8), value + n, np.float32) for n in range(count)]
    return Labelled(images, [np.full((8, 8), n % 2, np.uint8) for n in range(count)])


def test_a_batch_shows_the_samples_that_the_mix_names():
    sources = {"real": flat(4), "synthetic": flat(8, 100.0)}
    mix = Plan(synthetic=1).mix(4, 16, seed=0, synthetic=8)
    draw = mixed(mix, sources, batch=4)
    for step in range(1, 5):
        batch = draw(step)
        wanted = [100.0 * (source == "synthetic") + n for source, n in mix.step(step, 4)]
        assert batch.image[:, 0, 0, 0].tolist() == wanted
        assert batch.labels[:, 0, 0].tolist() == [n % 2 for n in batch.samples]
        assert list(zip(batch.cases, batch.samples, strict=True)) == mix.step(step, 4)
    assert batch.image.dtype == torch.float32
    assert batch.labels.dtype == torch.int64


def test_sources_have_as_many_samples_as_the_mix_was_planned_for():
    with pytest.raises(DataError, match="found 2 real samples, expected 3"):
        mixed(Plan().mix(3, 6, 0), {"real": flat(2)}, 2)
    with pytest.raises(DataError, match="found no synthetic samples, expected 3"):
        mixed(Plan(synthetic=1).mix(3, 6, 0), {"real": flat(3)}, 2)


def test_lesions_are_drawn_more_often_and_each_source_keeps_its_share():
    # Real samples 1 and 3, and every second synthetic one, show structure 1 (see `flat`).
    sources = {"real": flat(4), "synthetic": flat(8, 100.0)}
    plan = Plan(synthetic=1).mix(4, 400, seed=0, synthetic=8)  # 4 of the 8 are in use
    draw = mixed(plan, sources, 4, Favour((1,), 0.75))
    alike = mixed(plan, sources, 4)
    for step in range(1, 101):
        batch, before = draw(step), alike(step)
        assert batch.cases == before.cases  # who a sample is of stays
        assert (batch.labels.flatten(1) == 1).any(dim=1).sum() >= 3
        taken = zip(batch.cases, batch.samples, strict=True)
        assert {n for source, n in taken if source == "synthetic"} <= set(plan.used["synthetic"])
        assert torch.equal(batch.image, draw(step).image)  # a function of the step alone


def test_a_step_that_lacks_lesions_gets_them_of_the_same_source_or_stays():
    rng = np.random.default_rng(0)
    step = [("real", 0), ("synthetic", 5), ("real", 1), ("real", 2)]
    # One of four shows it (real 1), two are wanted: the last that lacks it is exchanged.
    found = favoured(step, {"real": [1], "synthetic": []}, 2, rng)
    assert found == [("real", 0), ("synthetic", 5), ("real", 1), ("real", 1)]
    assert favoured(step, {"real": [1], "synthetic": []}, 1, rng) == step  # enough already
    # No synthetic sample shows it, so that three of four is all that there can be.
    found = favoured(step, {"real": [1], "synthetic": []}, 4, rng)
    assert found == [("real", 1), ("synthetic", 5), ("real", 1), ("real", 1)]


def test_enhanced_copies_are_of_the_real_samples_in_use_and_stay_as_they_are():
    rng = np.random.default_rng(0)
    images = [rng.normal(10 * n, 1, (1, 8, 8)).astype(np.float32) for n in range(6)]
    real = Labelled(images, [np.full((8, 8), n, np.uint8) for n in range(6)])
    mix = Plan(real=0.5, enhanced=1).mix(6, 12, seed=0)
    relit = Augmentation(degrees=0, scale=0, shift=0, bend=0, gain=0, offset=0.1, noise=0)
    torch.manual_seed(1)
    copies = enhanced(real, mix, relit)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))  # chance of the training is left alone
    assert len(copies) == 6
    # Labels name the originals: the three in use, twice each, in turn.
    assert [int(label[0, 0]) for label in copies.labels] == [*mix.used["real"]] * 2
    for copy, label in zip(copies.images, copies.labels, strict=True):
        original = images[label[0, 0]]
        assert copy.shape == original.shape
        assert 0 < abs(copy - original).max() <= 0.1 * original.std(ddof=1) + 1e-5
    again = enhanced(real, mix, relit)
    assert all(np.array_equal(a, b) for a, b in zip(copies.images, again.images, strict=True))
    assert not np.array_equal(copies.images[0] - copies.images[3], np.zeros((1, 8, 8)))


def test_every_enhanced_copy_is_moved_also_where_augmentation_moves_some_alone():
    labels = np.zeros((8, 8), np.uint8)
    labels[2:5, 1:7] = 1
    real = Labelled([labels[None].astype(np.float32)] * 12, [labels] * 12)
    turned = Augmentation(
        moved=0.5, degrees=0, scale=0, bend=0, shift=0.4, gain=0, offset=0, noise=0
    )
    copies = enhanced(real, Plan(enhanced=1).mix(12, 12, seed=0), turned)
    assert all((image[0] != labels).any() for image in copies.images)


def test_a_segmenter_that_is_stopped_goes_on_with_the_mix_as_if_it_was_not(tmp_path):
    sources = {"real": flat(4), "synthetic": flat(4, 50.0)}
    numbers = SegmenterNumbers(base=2, depth=1, ema=0, device="cpu", threads=1)

    def train(run, samples):
        return train_segmenter(
            samples,
            dims=2,
            structures=("background", "odd"),
            channels=1,
            steps=6,
            seed=0,
            numbers=numbers,
            run=run,
        )

    draw = mixed(Plan(synthetic=1, order="synthetic-first").mix(4, 12, seed=0), sources, 2)

    def until_four(step):
        if step == 4:
            raise KeyboardInterrupt
        return draw(step)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", until_four)
    stopped = train(tmp_path / "stopped", draw).network.state_dict()
    whole = train(tmp_path / "whole", draw).network.state_dict()
    assert all(torch.equal(stopped[name], whole[name]) for name in whole)
